//! Ethernet II and 802.3 headers (IEEE 802.3 §3.2). No frame check sequence: it never reaches us.

use crate::bytes::{array, be16, put, put16};
use crate::error::room;
use crate::vlan::{self, Tags};
use crate::{EmitError, EtherType, Layer, MacAddr, ParseError};

/// Size in bytes of the header without tags.
pub const HEADER_LEN: usize = 14;
/// Least size in bytes of a frame on a wire (minFrameSize of IEEE 802.3 §4.4.2, less the frame check sequence).
pub const MIN_LEN: usize = 60;

/// The header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below 14 bytes.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        match bytes.split_first_chunk() {
            Some((header, payload)) => Ok(Self { header, payload }),
            None => Err(ParseError::Truncated(Layer::Ethernet)),
        }
    }

    /// Destination address.
    #[inline(always)]
    pub fn dst(&self) -> MacAddr {
        MacAddr(array(self.header, 0))
    }

    /// Source address.
    #[inline(always)]
    pub fn src(&self) -> MacAddr {
        MacAddr(array(self.header, 6))
    }

    /// What follows the header; a VLAN tag's type if there is one.
    #[inline(always)]
    pub fn ethertype(&self) -> EtherType {
        EtherType(be16(self.header, 12))
    }

    /// Bytes after the header, tags included.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Walks the tags, outermost first.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] within a tag, [`ParseError::TooManyTags`].
    #[inline]
    pub fn tags(&self) -> Result<Tags, ParseError> {
        Tags::walk(self.ethertype(), self.payload)
    }
}

/// The header and what follows it, to be changed.
#[derive(Debug)]
pub struct ViewMut<'a> {
    header: &'a mut [u8; HEADER_LEN],
    payload: &'a mut [u8],
}

impl<'a> ViewMut<'a> {
    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below 14 bytes.
    #[inline(always)]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, ParseError> {
        match bytes.split_first_chunk_mut() {
            Some((header, payload)) => Ok(Self { header, payload }),
            None => Err(ParseError::Truncated(Layer::Ethernet)),
        }
    }

    /// The same bytes, to be read.
    #[inline(always)]
    pub fn view(&self) -> View<'_> {
        View { header: self.header, payload: self.payload }
    }

    /// Bytes after the header, tags included.
    #[inline(always)]
    pub fn into_payload(self) -> &'a mut [u8] {
        self.payload
    }

    /// Sets the destination.
    #[inline(always)]
    pub fn set_dst(&mut self, addr: MacAddr) {
        put(self.header, 0, addr.0);
    }

    /// Sets the source.
    #[inline(always)]
    pub fn set_src(&mut self, addr: MacAddr) {
        put(self.header, 6, addr.0);
    }

    /// Sets the type field next to the addresses.
    #[inline(always)]
    pub fn set_ethertype(&mut self, ethertype: EtherType) {
        put16(self.header, 12, ethertype.0);
    }
}

/// An Ethernet header with its tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
    /// Tags, outermost first.
    pub tags: vlan::TagList,
    /// What follows the last tag.
    pub ethertype: EtherType,
}

impl Header {
    /// Reads addresses, tags and the type after them.
    ///
    /// # Errors
    /// As [`View::parse`] and [`View::tags`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let view = View::parse(bytes)?;
        let tags = view.tags()?;
        Ok(Self { dst: view.dst(), src: view.src(), tags: tags.list, ethertype: tags.ethertype })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub fn len(&self) -> usize {
        HEADER_LEN + vlan::TAG_LEN * self.tags.len()
    }

    /// Never: a header has 14 bytes at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the header and its tags, returns the bytes written.
    ///
    /// # Errors
    /// [`EmitError`] when `out` is shorter than [`len`](Self::len).
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let len = self.len();
        let out = crate::error::room_for(out, len)?;
        put(room::<12>(out)?, 0, self.dst.0);
        put(room::<12>(out)?, 6, self.src.0);
        let mut at = 12;
        for tag in self.tags.iter() {
            out[at..at + vlan::TAG_LEN].copy_from_slice(&tag.to_bytes());
            at += vlan::TAG_LEN;
        }
        out[at..at + 2].copy_from_slice(&self.ethertype.0.to_be_bytes());
        Ok(len)
    }
}
