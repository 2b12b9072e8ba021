//! Checked reading of big-endian fields.

use crate::{ErrorKind, Name};

/// What a decoder returns: the error the standard wants for what it found.
pub(crate) type Decoded<T> = Result<T, ErrorKind>;

/// A cursor over the bytes of one structure. Reading past its end is the error it was made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    short: ErrorKind,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], short: impl Into<ErrorKind>) -> Self {
        Self { bytes, short: short.into() }
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The error for a wrong length.
    pub fn short(&self) -> ErrorKind {
        self.short
    }

    pub fn take(&mut self, n: usize) -> Decoded<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(n).ok_or(self.short)?;
        self.bytes = tail;
        Ok(head)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(self.short)?;
        self.bytes = tail;
        Ok(*head)
    }

    pub fn skip(&mut self, n: usize) -> Decoded<()> {
        self.take(n).map(drop)
    }

    pub fn u8(&mut self) -> Decoded<u8> {
        self.array().map(|[b]| b)
    }

    pub fn u16(&mut self) -> Decoded<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number of up to 16 bytes.
    pub fn uint(&mut self, n: usize) -> Decoded<u128> {
        Ok(self.take(n)?.iter().fold(0, |value, &b| (value << 8) | u128::from(b)))
    }

    /// A name in a field of `N` bytes.
    pub fn name<const N: usize>(&mut self) -> Decoded<Name<N>> {
        self.array().map(|field: [u8; N]| Name::from_field(&field))
    }

    /// A structure of `n` bytes inside this one, whose wrong length is `short`.
    pub fn sub(&mut self, n: usize, short: impl Into<ErrorKind>) -> Decoded<Reader<'a>> {
        Ok(Reader::new(self.take(n)?, short))
    }

    /// Nothing may be left.
    pub fn finish(&self) -> Decoded<()> {
        if self.is_empty() { Ok(()) } else { Err(self.short) }
    }

    /// Structures one after the other until the end.
    pub fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Decoded<T>) -> Decoded<Vec<T>> {
        let mut all = Vec::new();
        while !self.is_empty() {
            all.push(one(self)?);
        }
        Ok(all)
    }
}
