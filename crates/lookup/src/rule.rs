//! Rules of the classifier: conditions on words, and a rank.

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

/// What a key must look like, and which rule wins if several do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<T> {
    /// The highest wins; no two rules of a table have the same.
    pub rank: u64,
    /// In ascending order of words, each word at most once.
    pub conds: Box<[Cond]>,
    /// What the rule stands for.
    pub value: T,
}

impl<T> Rule<T> {
    /// `key` satisfies every condition. Words that are missing satisfy none.
    #[inline(always)]
    pub fn matches(&self, key: &[u64]) -> bool {
        self.conds
            .iter()
            .all(|c| key.get(c.word as usize).is_some_and(|&word| (word ^ c.value) & c.mask == 0))
    }
}

/// The masks alone.
pub(crate) type Mask = Box<[(u8, u64)]>;

pub(crate) fn mask_of(conds: &[Cond]) -> Mask {
    conds.iter().map(|c| (c.word, c.mask)).collect()
}
