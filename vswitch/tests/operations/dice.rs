//! Choices made by bytes.

/// Reads choices from bytes. Bytes that have run out are zeros, so that any input is good, and smaller bytes are
/// simpler choices, so that shrinking bytes shrinks what they mean.
#[derive(Clone, Debug)]
pub struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Zero to `n - 1`.
    pub fn below(&mut self, n: u16) -> u16 {
        if n <= 256 { u16::from(self.byte()) % n } else { self.word() % n }
    }

    /// True `n` times in 256; never when bytes have run out.
    pub fn chance(&mut self, n: u8) -> bool {
        u16::from(self.byte()) + u16::from(n) > 255
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.below(from.len() as u16))]
    }

    /// Something, `n` times in 256.
    pub fn maybe<T>(&mut self, n: u8, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(n).then(|| make(self))
    }

    /// Up to `max` things.
    pub fn list<T>(&mut self, max: u16, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let n = self.below(max + 1);
        (0..n).map(|_| make(self)).collect()
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}
