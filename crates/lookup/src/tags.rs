//! Values by a hash, for those who know by themselves which of a few is the right one: a cache line holds seven values
//! with a tag and a grade of each, so what is not there, or not good enough, is as a rule found out with one line, and
//! nothing else is touched.

/// Values of a bucket.
const WAYS: usize = 7;
/// Where the words of tags hold one each.
const ONES: u64 = 0x0001_0001_0001_0001;
/// In [`Hits`] the place of the bit that says that there may be more in the next bucket.
const SPILLED: usize = 63;

/// A cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// Of each place 16 bits of the hash; zero if it is empty.
    tags: [u64; 2],
    values: [u32; WAYS],
    grades: [u16; WAYS],
    /// Values that went on to the next bucket because this one was full.
    n_passed: u16,
    /// For each of them the bit that its tag names.
    passed: u16,
}

/// Places in a bucket that may hold a hash, and whether the next bucket may.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hits {
    /// Bit `16 * (n % 4) + n / 4` for place `n`.
    flags: u64,
    bucket: u32,
    n_passed: u32,
}

/// The grade of what may be several values.
pub(crate) const ANY_GRADE: u32 = 1 << 16;

/// Values by hash; several may have the same.
#[derive(Debug)]
pub(crate) struct Tags {
    buckets: Vec<Bucket>,
    len: usize,
}

impl Bucket {
    fn tag(&self, place: usize) -> u16 {
        (self.tags[place / 4] >> (place % 4 * 16)) as u16
    }

    fn set_tag(&mut self, place: usize, tag: u16) {
        let shift = place % 4 * 16;
        let word = &mut self.tags[place / 4];
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }

    /// Notes a value with this tag that goes on to the next bucket.
    fn pass(&mut self, tag: u16) {
        self.n_passed = self.n_passed.saturating_add(1);
        self.passed |= 1 << (tag % 16);
    }

    fn unpass(&mut self) {
        // Of too many to be counted none is ever forgotten.
        if self.n_passed < u16::MAX {
            self.n_passed -= 1;
        }
        if self.n_passed == 0 {
            self.passed = 0;
        }
    }

    fn find(&self, tag: u16, value: u32) -> Option<usize> {
        (0..WAYS).find(|&place| self.tag(place) == tag && self.values[place] == value)
    }

    /// All at once, without a branch.
    #[inline(always)]
    fn flags(&self, tag: u16) -> u64 {
        let wanted = ONES * u64::from(tag);
        let low = ONES * 0x7fff;
        // The highest bit of each part of a word that is zero: no carry leaves its part.
        let zeros = |word: u64| !((((word ^ wanted) & low) + low) | (word ^ wanted) | low);
        let [a, b] = self.tags;
        let spilled = u64::from(self.passed >> (tag % 16)) << SPILLED;
        zeros(a) >> 15 | zeros(b) >> 14 | spilled
    }
}

/// Zero is for empty places.
#[inline(always)]
fn tag_of(hash: u32) -> u16 {
    (hash as u16).max(1)
}

impl Tags {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![Bucket::default()], len: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 < self.buckets.len() { bucket + 1 } else { 0 }
    }

    /// Where values of this hash may be.
    #[inline(always)]
    pub(crate) fn look(&self, hash: u32) -> Hits {
        let home = self.home(hash);
        let flags = self.buckets.get(home).map_or(0, |bucket| bucket.flags(tag_of(hash)));
        Hits { flags, bucket: home as u32, n_passed: 0 }
    }

    /// The grade of the only value that there may be, zero for none, more than any grade for several.
    #[inline(always)]
    pub(crate) fn grade(&self, hits: Hits) -> u32 {
        let at = hits.flags.trailing_zeros() as usize;
        let bucket = self.buckets.get(hits.bucket as usize);
        let grade = bucket.and_then(|bucket| bucket.grades.get(at / 16 + at % 16 * 4));
        let several = hits.flags & hits.flags.wrapping_sub(1) != 0;
        if several { ANY_GRADE } else { grade.map_or(hits.flags.min(1) as u32 * ANY_GRADE, |&g| g.into()) }
    }

    /// The next value that may be of this hash.
    #[inline(always)]
    pub(crate) fn next(&self, hash: u32, hits: &mut Hits) -> Option<u32> {
        loop {
            let at = hits.flags.trailing_zeros() as usize;
            let bucket = self.buckets.get(hits.bucket as usize)?;
            if at < SPILLED {
                hits.flags &= hits.flags - 1;
                return bucket.values.get(at / 16 + at % 16 * 4).copied();
            }
            // As many buckets at most as there are.
            if hits.flags == 0 || hits.n_passed as usize + 1 >= self.buckets.len() {
                return None;
            }
            let next = self.after(hits.bucket as usize);
            let flags = self.buckets.get(next)?.flags(tag_of(hash));
            *hits = Hits { flags, bucket: next as u32, n_passed: hits.n_passed + 1 };
        }
    }

    /// Adds a value and its grade; `hash_of` tells the hash of any that was added before.
    pub(crate) fn insert(&mut self, hash: u32, value: (u32, u16), hash_of: impl Fn(u32) -> u32) {
        // Three quarters full, few buckets overflow.
        if (self.len + 1) * 4 > self.buckets.len() * WAYS * 3 {
            self.grow(hash_of);
        }
        self.put(hash, value);
        self.len += 1;
    }

    fn put(&mut self, hash: u32, (value, grade): (u32, u16)) {
        let mut at = self.home(hash);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = (0..WAYS).find(|&place| bucket.tag(place) == 0) {
                bucket.set_tag(place, tag_of(hash));
                (bucket.values[place], bucket.grades[place]) = (value, grade);
                return;
            }
            bucket.pass(tag_of(hash));
            at = self.after(at);
        }
    }

    /// By half: what is empty is memory, too.
    fn grow(&mut self, hash_of: impl Fn(u32) -> u32) {
        let n = self.buckets.len() * 3 / 2 + 1;
        let old = core::mem::replace(&mut self.buckets, vec![Bucket::default(); n]);
        for bucket in old {
            for place in (0..WAYS).filter(|&place| bucket.tag(place) != 0) {
                let value = bucket.values[place];
                self.put(hash_of(value), (value, bucket.grades[place]));
            }
        }
    }

    /// Bucket and place of a value.
    fn find(&self, hash: u32, value: u32) -> Option<(usize, usize)> {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            if let Some(place) = self.buckets[at].find(tag_of(hash), value) {
                return Some((at, place));
            }
            at = self.after(at);
        }
        None
    }

    /// Puts a value in the place of another with the same hash.
    pub(crate) fn replace(&mut self, hash: u32, old: u32, (new, grade): (u32, u16)) {
        if let Some((bucket, place)) = self.find(hash, old) {
            let bucket = &mut self.buckets[bucket];
            (bucket.values[place], bucket.grades[place]) = (new, grade);
        }
    }

    pub(crate) fn remove(&mut self, hash: u32, value: u32) {
        let Some((bucket, place)) = self.find(hash, value) else { return };
        self.buckets[bucket].set_tag(place, 0);
        self.len -= 1;
        let mut at = self.home(hash);
        while at != bucket {
            self.buckets[at].unpass();
            at = self.after(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(tags: &Tags, hash: u32) -> Vec<u32> {
        let mut hits = tags.look(hash);
        core::iter::from_fn(|| tags.next(hash, &mut hits)).collect()
    }

    #[test]
    fn a_bucket_is_a_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }

    proptest! {
        /// Few hashes, some of one home and of one tag, so that buckets overflow into each other.
        #[test]
        fn finds_what_is_there(ops in prop::collection::vec((0u8..4, 0u32..40, 0u32..4), 1..600)) {
            let hash = |of: u32, home: u32| (home << 30) | ((of % 5) << 20) | (of % 3);
            let grade = |value: u32| value as u16 % 5 + 1;
            let mut hashes: Vec<u32> = Vec::new();
            let mut there: Vec<u32> = Vec::new();
            let mut tags = Tags::new();
            for (op, of, home) in ops {
                if op == 0 && !there.is_empty() {
                    let gone = there.swap_remove(of as usize % there.len());
                    tags.remove(hashes[gone as usize], gone);
                } else if op == 1 && !there.is_empty() {
                    let at = of as usize % there.len();
                    let old = hashes[there[at] as usize];
                    hashes.push(old);
                    let new = hashes.len() as u32 - 1;
                    tags.replace(old, there[at], (new, grade(new)));
                    there[at] = new;
                } else {
                    hashes.push(hash(of, home));
                    let new = hashes.len() as u32 - 1;
                    tags.insert(hashes[new as usize], (new, grade(new)), |value| hashes[value as usize]);
                    there.push(new);
                }
            }
            for &value in &there {
                let found = all(&tags, hashes[value as usize]);
                prop_assert!(found.contains(&value));
                let graded = tags.grade(tags.look(hashes[value as usize]));
                prop_assert!(graded == ANY_GRADE || found == [value] && graded == grade(value).into());
            }
            for of in 0..15 {
                for found in all(&tags, hash(of, 3)) {
                    prop_assert!(there.contains(&found));
                }
            }
            prop_assert_eq!(tags.len, there.len());
            there.iter().for_each(|&value| tags.remove(hashes[value as usize], value));
            prop_assert!(tags.is_empty());
            prop_assert!(tags.buckets.iter().all(|bucket| bucket.tags == [0; 2] && bucket.passed == 0), "nothing is counted any more");
        }
    }
}
