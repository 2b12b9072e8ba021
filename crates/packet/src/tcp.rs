//! TCP headers with options (RFC 9293).

use crate::bytes::{be16, be32, put, put16};
use crate::error::room_for;
use crate::{EmitError, Layer, ParseError};

/// Size in bytes of the header without options.
pub const MIN_HEADER_LEN: usize = 20;
/// Size in bytes of the longest header.
pub const MAX_HEADER_LEN: usize = 60;
/// Bytes from the header to its checksum.
pub const CHECKSUM_AT: usize = 16;

/// Control bits (RFC 9293 §3.1), the reserved and the AE bit among them: twelve bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x001);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// Reset.
    pub const RST: Self = Self(0x004);
    /// Push.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x080);

    /// All bits of `other` are set.
    #[inline(always)]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of `self` that are not in `other`.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// The header and as much of the payload as there is.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; MIN_HEADER_LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// Truncated, or a data offset below five words or past the end.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let Some((header, rest)) = bytes.split_first_chunk::<MIN_HEADER_LEN>() else {
            return Err(ParseError::Truncated(Layer::Tcp));
        };
        let n_options = (usize::from(header[12] >> 4) * 4).wrapping_sub(MIN_HEADER_LEN);
        match rest.split_at_checked(n_options) {
            Some((options, payload)) => Ok(Self { header, options, payload }),
            None => Err(ParseError::HeaderLength(Layer::Tcp)),
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

    /// Sequence number.
    #[inline(always)]
    pub fn seq(&self) -> u32 {
        be32(self.header, 4)
    }

    /// Acknowledgement number.
    #[inline(always)]
    pub fn ack(&self) -> u32 {
        be32(self.header, 8)
    }

    /// Bytes of header and options.
    #[inline(always)]
    pub fn header_len(&self) -> usize {
        MIN_HEADER_LEN + self.options.len()
    }

    /// Control bits.
    #[inline(always)]
    pub fn flags(&self) -> Flags {
        Flags(be16(self.header, 12) & 0xfff)
    }

    /// Window, unscaled.
    #[inline(always)]
    pub fn window(&self) -> u16 {
        be16(self.header, 14)
    }

    /// The checksum as it stands.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        be16(self.header, 16)
    }

    /// Urgent pointer.
    #[inline(always)]
    pub fn urgent(&self) -> u16 {
        be16(self.header, 18)
    }

    /// The options as bytes; a multiple of four, 40 at most.
    #[inline(always)]
    pub fn option_bytes(&self) -> &'a [u8] {
        self.options
    }

    /// The options one by one.
    pub fn options(&self) -> Options<'a> {
        Options { rest: self.options }
    }

    /// The payload, as far as it is in the head.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Maximum segment size (RFC 9293 §3.7.1).
    MaxSegmentSize(u16),
    /// Shift of the window (RFC 7323 §2).
    WindowScale(u8),
    /// Selective acknowledgement may be used (RFC 2018 §2).
    SackPermitted,
    /// Timestamp and its echo (RFC 7323 §3).
    Timestamps(u32, u32),
    /// Any other: kind and what follows the length.
    Other(u8, &'a [u8]),
}

/// Options in order; ends at the first end-of-options or after an error.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<TcpOption<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.rest {
                [] | [0, ..] => return None,
                [1, ref rest @ ..] => self.rest = rest,
                [kind, len, ..] if len >= 2 && usize::from(len) <= self.rest.len() => {
                    let (option, rest) = self.rest.split_at(usize::from(len));
                    self.rest = rest;
                    return Some(Ok(known(kind, &option[2..])));
                }
                _ => {
                    self.rest = &[];
                    return Some(Err(ParseError::Option(Layer::Tcp)));
                }
            }
        }
    }
}

fn known(kind: u8, data: &[u8]) -> TcpOption<'_> {
    match (kind, data) {
        (2, &[a, b]) => TcpOption::MaxSegmentSize(u16::from_be_bytes([a, b])),
        (3, &[shift]) => TcpOption::WindowScale(shift),
        (4, []) => TcpOption::SackPermitted,
        (8, &[a, b, c, d, e, f, g, h]) => {
            TcpOption::Timestamps(u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        }
        _ => TcpOption::Other(kind, data),
    }
}

/// A segment to be changed in place. The checksum is the caller's matter ([`crate::checksum::adjust`]).
#[derive(Debug)]
pub struct ViewMut<'a> {
    header: &'a mut [u8; MIN_HEADER_LEN],
    options: &'a mut [u8],
    payload: &'a mut [u8],
}

impl<'a> ViewMut<'a> {
    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// As [`View::parse`].
    #[inline(always)]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, ParseError> {
        let Some((header, rest)) = bytes.split_first_chunk_mut::<MIN_HEADER_LEN>() else {
            return Err(ParseError::Truncated(Layer::Tcp));
        };
        let n_options = (usize::from(header[12] >> 4) * 4).wrapping_sub(MIN_HEADER_LEN);
        match rest.split_at_mut_checked(n_options) {
            Some((options, payload)) => Ok(Self { header, options, payload }),
            None => Err(ParseError::HeaderLength(Layer::Tcp)),
        }
    }

    /// The same bytes, to be read.
    #[inline(always)]
    pub fn view(&self) -> View<'_> {
        View { header: self.header, options: self.options, payload: self.payload }
    }

    /// The options, to be changed.
    #[inline(always)]
    pub fn option_bytes_mut(&mut self) -> &mut [u8] {
        self.options
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

    /// Sets the sequence number.
    #[inline(always)]
    pub fn set_seq(&mut self, seq: u32) {
        put(self.header, 4, seq.to_be_bytes());
    }

    /// Sets the acknowledgement number.
    #[inline(always)]
    pub fn set_ack(&mut self, ack: u32) {
        put(self.header, 8, ack.to_be_bytes());
    }

    /// Sets the control bits, the data offset stays.
    #[inline(always)]
    pub fn set_flags(&mut self, flags: Flags) {
        let offset = be16(self.header, 12) & 0xf000;
        put16(self.header, 12, offset | flags.0 & 0xfff);
    }

    /// Sets the checksum.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        put16(self.header, 16, checksum);
    }
}

/// A header as a value. Options are bytes, padded to a multiple of four.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Control bits.
    pub flags: Flags,
    /// Window, unscaled.
    pub window: u16,
    /// Checksum as it stands on the wire.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options, 40 bytes at most.
    pub options: Vec<u8>,
}

impl Header {
    /// Reads the header at the beginning of `bytes`, its checksum unchecked.
    ///
    /// # Errors
    /// As [`View::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let view = View::parse(bytes)?;
        Ok(Self {
            src_port: view.src_port(),
            dst_port: view.dst_port(),
            seq: view.seq(),
            ack: view.ack(),
            flags: view.flags(),
            window: view.window(),
            checksum: view.checksum(),
            urgent: view.urgent(),
            options: view.option_bytes().to_vec(),
        })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub fn header_len(&self) -> usize {
        MIN_HEADER_LEN + self.options.len().next_multiple_of(4)
    }

    /// Writes the header, returns the bytes written.
    ///
    /// # Errors
    /// [`EmitError`] when `out` is shorter than the header or the options exceed 40 bytes.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let len = self.header_len();
        if len > MAX_HEADER_LEN {
            return Err(EmitError { wanted: len, room: MAX_HEADER_LEN });
        }
        let out = room_for(out, len)?;
        let (header, options) = out.split_first_chunk_mut::<MIN_HEADER_LEN>().expect("20 bytes and more");
        put16(header, 0, self.src_port);
        put16(header, 2, self.dst_port);
        put(header, 4, self.seq.to_be_bytes());
        put(header, 8, self.ack.to_be_bytes());
        put16(header, 12, (len as u16 / 4) << 12 | self.flags.0 & 0xfff);
        put16(header, 14, self.window);
        put16(header, 16, self.checksum);
        put16(header, 18, self.urgent);
        options.fill(0);
        options[..self.options.len()].copy_from_slice(&self.options);
        Ok(len)
    }
}
