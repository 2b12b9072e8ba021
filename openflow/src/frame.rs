//! Splits a byte stream into messages (§7.1.1).

use crate::codec::{HEADER_LEN, Header};

/// The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message says that it is {0} bytes long, less than its header")]
pub struct Desynchronised(pub u16);

/// Bytes received and not yet taken. Holds at most what one call added beside one incomplete message.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    taken: usize,
}

impl Framer {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), taken: 0 }
    }

    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, header included.
    ///
    /// # Errors
    /// [`Desynchronised`] for a length less than a header's: where the next message starts cannot be known.
    pub fn take(&mut self) -> Result<Option<&[u8]>, Desynchronised> {
        let rest = &self.bytes[self.taken..];
        let Some(header) = Header::parse(rest) else { return Ok(None) };
        let len = usize::from(header.len);
        if len < HEADER_LEN {
            return Err(Desynchronised(header.len));
        }
        if rest.len() < len {
            return Ok(None);
        }
        let start = self.taken;
        self.taken += len;
        Ok(Some(&self.bytes[start..start + len]))
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_whatever_the_pieces() {
        let stream = [&[4, 2, 0, 9, 0, 0, 0, 1, 7][..], &[4, 0, 0, 8, 0, 0, 0, 2]].concat();
        for piece in 1..=stream.len() {
            let mut framer = Framer::new();
            let mut lens = Vec::new();
            for bytes in stream.chunks(piece) {
                framer.push(bytes);
                while let Some(message) = framer.take().expect("in step") {
                    lens.push(message.len());
                }
            }
            assert_eq!(lens, [9, 8], "pieces of {piece}");
            assert!(framer.is_empty());
        }
    }

    #[test]
    fn a_length_below_the_header_ends_it() {
        let mut framer = Framer::new();
        framer.push(&[4, 2, 0, 7, 0, 0, 0, 1]);
        assert_eq!(framer.take(), Err(Desynchronised(7)));
    }
}
