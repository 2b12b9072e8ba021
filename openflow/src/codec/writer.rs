//! Writing of big-endian fields.

use super::EncodeError;
use crate::Name;

/// Appends fields to a message under construction.
pub(crate) trait Put {
    fn u8(&mut self, v: u8);
    fn u16(&mut self, v: u16);
    fn u32(&mut self, v: u32);
    fn u64(&mut self, v: u64);
    fn bytes(&mut self, v: &[u8]);
    fn zeros(&mut self, n: usize);
    /// The low `n` bytes of `v`.
    fn uint(&mut self, v: u128, n: usize);
    /// A name in its field, with the zero bytes behind it.
    fn name<const N: usize>(&mut self, v: &Name<N>);
    /// Sets the 16-bit field at `at` to the bytes written from `from` on.
    fn patch_len(&mut self, at: usize, from: usize) -> Result<(), EncodeError>;
    /// Fills up with zeros so that a multiple of 8 bytes stands from `from` on.
    fn pad8(&mut self, from: usize);
}

impl Put for Vec<u8> {
    fn u8(&mut self, v: u8) {
        self.push(v);
    }

    fn u16(&mut self, v: u16) {
        self.extend_from_slice(&v.to_be_bytes());
    }

    fn u32(&mut self, v: u32) {
        self.extend_from_slice(&v.to_be_bytes());
    }

    fn u64(&mut self, v: u64) {
        self.extend_from_slice(&v.to_be_bytes());
    }

    fn bytes(&mut self, v: &[u8]) {
        self.extend_from_slice(v);
    }

    fn zeros(&mut self, n: usize) {
        self.resize(self.len() + n, 0);
    }

    fn uint(&mut self, v: u128, n: usize) {
        self.extend_from_slice(&v.to_be_bytes()[16 - n..]);
    }

    fn name<const N: usize>(&mut self, v: &Name<N>) {
        self.bytes(v.as_bytes());
        self.zeros(N - v.as_bytes().len());
    }

    fn patch_len(&mut self, at: usize, from: usize) -> Result<(), EncodeError> {
        let len = u16::try_from(self.len() - from).map_err(|_| EncodeError::TooLong)?;
        self[at..at + 2].copy_from_slice(&len.to_be_bytes());
        Ok(())
    }

    fn pad8(&mut self, from: usize) {
        let odd = (self.len() - from) % 8;
        if odd != 0 {
            self.zeros(8 - odd);
        }
    }
}
