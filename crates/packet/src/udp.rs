//! UDP headers (RFC 768).

use crate::bytes::{be16, put16};
use crate::error::room;
use crate::{EmitError, Layer, ParseError};

/// Size in bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Bytes from the header to its checksum.
pub const CHECKSUM_AT: usize = 6;

/// The header and as much of the payload as there is.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads a datagram that is all in `bytes`.
    ///
    /// # Errors
    /// As [`parse_head`](Self::parse_head).
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_head(bytes, bytes.len())
    }

    /// Reads a datagram of which `head` is the contiguous beginning; `available` is the payload length of its IP packet.
    ///
    /// # Errors
    /// Truncated header, or a length below eight or beyond `available`.
    #[inline(always)]
    pub fn parse_head(head: &'a [u8], available: usize) -> Result<Self, ParseError> {
        let view = Self::parse_ports(head)?;
        let len = usize::from(view.len());
        if len < HEADER_LEN || len > available {
            return Err(ParseError::Length(Layer::Udp));
        }
        Ok(Self { payload: view.payload.get(..len - HEADER_LEN).unwrap_or(view.payload), ..view })
    }

    /// Reads the header without asking whether its length is true: for what matches on ports only, and quoted packets.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below eight bytes.
    #[inline(always)]
    pub fn parse_ports(head: &'a [u8]) -> Result<Self, ParseError> {
        match head.split_first_chunk() {
            Some((header, payload)) => Ok(Self { header, payload }),
            None => Err(ParseError::Truncated(Layer::Udp)),
        }
    }

    /// Source port.
    #[inline(always)]
    pub fn src_port(&self) -> u16 {
        be16(self.header, 0)
    }

    /// Destination port.
    #[inline(always)]
    pub fn dst_port(&self) -> u16 {
        be16(self.header, 2)
    }

    /// Bytes of header and payload, as the header says.
    #[inline(always)]
    #[expect(
        clippy::len_without_is_empty,
        reason = "the name of the field in RFC 768; a datagram has a header"
    )]
    pub fn len(&self) -> u16 {
        be16(self.header, 4)
    }

    /// The checksum as it stands; zero is none.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        be16(self.header, 6)
    }

    /// The payload, as far as it is in the head.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A datagram to be changed in place. The checksum is the caller's matter ([`crate::checksum::adjust`]).
#[derive(Debug)]
pub struct ViewMut<'a> {
    header: &'a mut [u8; HEADER_LEN],
    payload: &'a mut [u8],
}

impl<'a> ViewMut<'a> {
    /// Reads the header at the beginning of `head`, its length unchecked.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below eight bytes.
    #[inline(always)]
    pub fn parse(head: &'a mut [u8]) -> Result<Self, ParseError> {
        match head.split_first_chunk_mut() {
            Some((header, payload)) => Ok(Self { header, payload }),
            None => Err(ParseError::Truncated(Layer::Udp)),
        }
    }

    /// The same bytes, to be read.
    #[inline(always)]
    pub fn view(&self) -> View<'_> {
        View { header: self.header, payload: self.payload }
    }

    /// Sets the source port.
    #[inline(always)]
    pub fn set_src_port(&mut self, port: u16) {
        put16(self.header, 0, port);
    }

    /// Sets the destination port.
    #[inline(always)]
    pub fn set_dst_port(&mut self, port: u16) {
        put16(self.header, 2, port);
    }

    /// Sets the length.
    #[inline(always)]
    pub fn set_len(&mut self, len: u16) {
        put16(self.header, 4, len);
    }

    /// Sets the checksum.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        put16(self.header, 6, checksum);
    }
}

/// A header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of payload, 65,527 at most.
    pub payload_len: u16,
    /// Checksum as it stands on the wire.
    pub checksum: u16,
}

impl Header {
    /// Reads a header whose datagram is all in `bytes`, its checksum unchecked.
    ///
    /// # Errors
    /// As [`View::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let view = View::parse(bytes)?;
        Ok(Self {
            src_port: view.src_port(),
            dst_port: view.dst_port(),
            payload_len: view.len() - HEADER_LEN as u16,
            checksum: view.checksum(),
        })
    }

    /// Writes the header, returns the bytes written.
    ///
    /// # Errors
    /// [`EmitError`] below eight bytes, or when header and payload exceed 65,535.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let header = room::<HEADER_LEN>(out)?;
        let total = HEADER_LEN + usize::from(self.payload_len);
        let Ok(len) = u16::try_from(total) else {
            return Err(EmitError { wanted: total, room: usize::from(u16::MAX) });
        };
        put16(header, 0, self.src_port);
        put16(header, 2, self.dst_port);
        put16(header, 4, len);
        put16(header, 6, self.checksum);
        Ok(HEADER_LEN)
    }
}
