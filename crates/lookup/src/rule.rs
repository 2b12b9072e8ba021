//! Rules of the classifier: conditions on words, and a rank.

use std::sync::Arc;

/// A condition on one word of a key: the bits of `mask` equal those of `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cond {
    /// Which word.
    pub word: u8,
    /// The bits; zero outside the mask.
    pub value: u64,
    /// The bits that count; never zero.
    pub mask: u64,
}

/// Words and the bits of them that count, in ascending order of words, each word at most once.
pub type Masks = [(u8, u64)];

/// Conditions in ascending order of words, each word at most once. Many rules look at the same bits, so what they look
/// at can be shared and each keeps the values alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conds {
    masks: Arc<Masks>,
    values: Box<[u64]>,
}

impl Default for Conds {
    fn default() -> Self {
        Self { masks: Arc::from([]), values: Box::default() }
    }
}

impl FromIterator<Cond> for Conds {
    /// The conditions come in ascending order of words, each word at most once.
    fn from_iter<I: IntoIterator<Item = Cond>>(conds: I) -> Self {
        let (masks, values): (Vec<_>, Vec<_>) =
            conds.into_iter().map(|c| ((c.word, c.mask), c.value)).unzip();
        Self { masks: masks.into(), values: values.into() }
    }
}

impl Conds {
    /// Each of them.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Cond> + '_ {
        self.masks.iter().zip(&self.values).map(|(&(word, mask), &value)| Cond { word, value, mask })
    }

    /// The condition on a word.
    #[inline]
    pub fn get(&self, word: u8) -> Option<Cond> {
        self.iter().find(|c| c.word == word)
    }

    /// Every key satisfies them.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The bits they look at.
    #[inline]
    pub fn masks(&self) -> &Arc<Masks> {
        &self.masks
    }

    /// A key that satisfies them; what they do not look at is zero.
    pub fn key(&self) -> Vec<u64> {
        let mut key = Vec::new();
        for cond in self.iter() {
            key.resize(usize::from(cond.word) + 1, 0);
            key[usize::from(cond.word)] = cond.value;
        }
        key
    }

    /// Exchanges the bits they look at for an equal list that others have, too.
    pub fn share_masks(&mut self, share: impl FnOnce(&Arc<Masks>) -> Arc<Masks>) {
        let shared = share(&self.masks);
        debug_assert_eq!(shared, self.masks);
        self.masks = shared;
    }

    /// `key` satisfies every condition. Words that are missing satisfy none.
    #[inline(always)]
    pub fn match_key(&self, key: &[u64]) -> bool {
        self.masks.iter().zip(&self.values).all(|(&(word, mask), value)| {
            key.get(word as usize).is_some_and(|&found| (found ^ value) & mask == 0)
        })
    }
}

/// What a key must look like, and which rule wins if several do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<T> {
    /// The highest wins; no two rules of a table have the same.
    pub rank: u64,
    /// What a key must look like.
    pub conds: Conds,
    /// What the rule stands for.
    pub value: T,
}

impl<T> Rule<T> {
    /// `key` satisfies every condition.
    #[inline(always)]
    pub fn matches(&self, key: &[u64]) -> bool {
        self.conds.match_key(key)
    }
}
