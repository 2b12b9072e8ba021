//! IPv4 headers with options (RFC 791).

use core::net::Ipv4Addr;

use crate::bytes::{array, be16, put, put16};
use crate::checksum::{Delta, Sum};
use crate::error::room_for;
use crate::{EmitError, IpProtocol, Layer, ParseError};

/// Size in bytes of the header without options.
pub const MIN_HEADER_LEN: usize = 20;
/// Size in bytes of the longest header.
pub const MAX_HEADER_LEN: usize = 60;

/// The header and as much of the payload as there is.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; MIN_HEADER_LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

/// Checks version and lengths; returns header length and total length.
#[inline(always)]
fn check(header: &[u8; MIN_HEADER_LEN], available: usize) -> Result<(usize, usize), ParseError> {
    if header[0] >> 4 != 4 {
        return Err(ParseError::Version(Layer::Ipv4));
    }
    let header_len = usize::from(header[0] & 15) * 4;
    let total_len = usize::from(be16(header, 2));
    if header_len < MIN_HEADER_LEN {
        return Err(ParseError::HeaderLength(Layer::Ipv4));
    }
    if total_len < header_len || total_len > available {
        return Err(ParseError::Length(Layer::Ipv4));
    }
    Ok((header_len, total_len))
}

impl<'a> View<'a> {
    /// Reads a packet that is all in `bytes`; what follows it is padding.
    ///
    /// # Errors
    /// As [`parse_head`](Self::parse_head).
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_head(bytes, bytes.len())
    }

    /// Reads a packet of which `head` is the contiguous beginning, `available` bytes following from the first byte of
    /// the header to the end of the frame, tail included.
    ///
    /// # Errors
    /// Truncated header, wrong version, impossible header length, total length beyond `available`.
    #[inline(always)]
    pub fn parse_head(head: &'a [u8], available: usize) -> Result<Self, ParseError> {
        let Some((header, rest)) = head.split_first_chunk::<MIN_HEADER_LEN>() else {
            return Err(ParseError::Truncated(Layer::Ipv4));
        };
        let (header_len, total_len) = check(header, available)?;
        let Some((options, payload)) = rest.split_at_checked(header_len - MIN_HEADER_LEN) else {
            return Err(ParseError::Truncated(Layer::Ipv4));
        };
        let payload = payload.get(..total_len - header_len).unwrap_or(payload);
        Ok(Self { header, options, payload })
    }

    /// Reads what an ICMP error quotes: a header and perhaps less payload than its length field says.
    ///
    /// # Errors
    /// As [`parse_head`](Self::parse_head), but the length may reach past the end.
    pub fn parse_quoted(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_head(bytes, usize::from(u16::MAX))
    }

    /// Bytes of header and options.
    #[inline(always)]
    pub fn header_len(&self) -> usize {
        MIN_HEADER_LEN + self.options.len()
    }

    /// Differentiated services code point, six bits (RFC 2474).
    #[inline(always)]
    pub fn dscp(&self) -> u8 {
        self.header[1] >> 2
    }

    /// Explicit congestion notification, two bits (RFC 3168).
    #[inline(always)]
    pub fn ecn(&self) -> u8 {
        self.header[1] & 3
    }

    /// Bytes of header and payload, as the header says.
    #[inline(always)]
    pub fn total_len(&self) -> u16 {
        be16(self.header, 2)
    }

    /// Bytes of payload as the header says; part of them may be in the tail of the frame.
    #[inline(always)]
    pub fn payload_len(&self) -> usize {
        usize::from(self.total_len()).saturating_sub(self.header_len())
    }

    /// Identification of the fragments of one packet.
    #[inline(always)]
    pub fn identification(&self) -> u16 {
        be16(self.header, 4)
    }

    /// The DF bit.
    #[inline(always)]
    pub fn dont_fragment(&self) -> bool {
        self.header[6] & 0x40 != 0
    }

    /// The MF bit.
    #[inline(always)]
    pub fn more_fragments(&self) -> bool {
        self.header[6] & 0x20 != 0
    }

    /// Place of this fragment in units of eight bytes.
    #[inline(always)]
    pub fn fragment_offset(&self) -> u16 {
        be16(self.header, 6) & 0x1fff
    }

    /// Part of a packet only.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        be16(self.header, 6) & 0x3fff != 0
    }

    /// A fragment other than the first: its payload has no transport header.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment_offset() != 0
    }

    /// Time to live.
    #[inline(always)]
    pub fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// What the payload is.
    #[inline(always)]
    pub fn protocol(&self) -> IpProtocol {
        IpProtocol(self.header[9])
    }

    /// The header checksum as it stands.
    #[inline(always)]
    pub fn header_checksum(&self) -> u16 {
        be16(self.header, 10)
    }

    /// The header checksum is right.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        Sum::new().bytes(self.header).bytes(self.options).finish() == 0
    }

    /// Source address.
    #[inline(always)]
    pub fn src(&self) -> Ipv4Addr {
        Ipv4Addr::from(array::<4, MIN_HEADER_LEN>(self.header, 12))
    }

    /// Destination address.
    #[inline(always)]
    pub fn dst(&self) -> Ipv4Addr {
        Ipv4Addr::from(array::<4, MIN_HEADER_LEN>(self.header, 16))
    }

    /// The options, as bytes; a multiple of four, 40 at most.
    #[inline(always)]
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// The payload without padding, as far as it is in the head.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A header to be changed in place. Every setter keeps the header checksum: right stays right, wrong stays wrong.
#[derive(Debug)]
pub struct ViewMut<'a> {
    header: &'a mut [u8; MIN_HEADER_LEN],
    options: &'a mut [u8],
    payload: &'a mut [u8],
}

impl<'a> ViewMut<'a> {
    /// Reads a packet that is all in `bytes`.
    ///
    /// # Errors
    /// As [`View::parse_head`].
    #[inline(always)]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, ParseError> {
        let available = bytes.len();
        Self::parse_head(bytes, available)
    }

    /// Reads a packet of which `head` is the beginning, as [`View::parse_head`].
    ///
    /// # Errors
    /// As [`View::parse_head`].
    #[inline(always)]
    pub fn parse_head(head: &'a mut [u8], available: usize) -> Result<Self, ParseError> {
        let Some((header, rest)) = head.split_first_chunk_mut::<MIN_HEADER_LEN>() else {
            return Err(ParseError::Truncated(Layer::Ipv4));
        };
        let (header_len, total_len) = check(header, available)?;
        let Some((options, payload)) = rest.split_at_mut_checked(header_len - MIN_HEADER_LEN) else {
            return Err(ParseError::Truncated(Layer::Ipv4));
        };
        let in_head = payload.len().min(total_len - header_len);
        Ok(Self { header, options, payload: &mut payload[..in_head] })
    }

    /// As [`View::parse_quoted`].
    ///
    /// # Errors
    /// As [`View::parse_quoted`].
    pub fn parse_quoted(bytes: &'a mut [u8]) -> Result<Self, ParseError> {
        Self::parse_head(bytes, usize::from(u16::MAX))
    }

    /// The same bytes, to be read.
    #[inline(always)]
    pub fn view(&self) -> View<'_> {
        View { header: self.header, options: self.options, payload: self.payload }
    }

    /// The payload without padding, as far as it is in the head.
    #[inline(always)]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }

    /// As [`payload_mut`](Self::payload_mut), for as long as the bytes live.
    #[inline(always)]
    pub fn into_payload(self) -> &'a mut [u8] {
        self.payload
    }

    #[inline(always)]
    fn change(&mut self, at: usize, old: u16, new: u16) {
        put16(self.header, at, new);
        let sum = Delta::NONE.word(old, new).apply(be16(self.header, 10));
        put16(self.header, 10, sum);
    }

    /// Sets the differentiated services code point, cut to six bits.
    #[inline(always)]
    pub fn set_dscp(&mut self, dscp: u8) {
        let old = be16(self.header, 0);
        self.change(0, old, old & 0xff03 | u16::from(dscp & 0x3f) << 2);
    }

    /// Sets explicit congestion notification, cut to two bits.
    #[inline(always)]
    pub fn set_ecn(&mut self, ecn: u8) {
        let old = be16(self.header, 0);
        self.change(0, old, old & 0xfffc | u16::from(ecn & 3));
    }

    /// Sets the total length; the caller answers for it being true.
    #[inline(always)]
    pub fn set_total_len(&mut self, len: u16) {
        self.change(2, be16(self.header, 2), len);
    }

    /// Sets the identification.
    #[inline(always)]
    pub fn set_identification(&mut self, id: u16) {
        self.change(4, be16(self.header, 4), id);
    }

    /// Sets the time to live.
    #[inline(always)]
    pub fn set_ttl(&mut self, ttl: u8) {
        let old = be16(self.header, 8);
        self.change(8, old, u16::from(ttl) << 8 | old & 0xff);
    }

    /// Sets the source address; pseudo headers of transports are the caller's matter ([`crate::checksum::adjust`]).
    #[inline(always)]
    pub fn set_src(&mut self, addr: Ipv4Addr) {
        self.change_addr(12, addr);
    }

    /// Sets the destination address, as [`set_src`](Self::set_src).
    #[inline(always)]
    pub fn set_dst(&mut self, addr: Ipv4Addr) {
        self.change_addr(16, addr);
    }

    #[inline(always)]
    fn change_addr(&mut self, at: usize, new: Ipv4Addr) {
        let old = Ipv4Addr::from(array::<4, MIN_HEADER_LEN>(self.header, at));
        put(self.header, at, new.octets());
        let sum = Delta::NONE.ipv4(old, new).apply(be16(self.header, 10));
        put16(self.header, 10, sum);
    }

    /// Computes the header checksum afresh.
    #[inline]
    pub fn fill_checksum(&mut self) {
        put16(self.header, 10, 0);
        let sum = Sum::new().bytes(self.header).bytes(self.options).finish();
        put16(self.header, 10, sum);
    }
}

/// Options as bytes: a multiple of four, 40 at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Options {
    bytes: [u8; MAX_HEADER_LEN - MIN_HEADER_LEN],
    len: u8,
}

impl Options {
    /// No options.
    pub const NONE: Self = Self { bytes: [0; MAX_HEADER_LEN - MIN_HEADER_LEN], len: 0 };

    /// A copy of `bytes`, padded to a multiple of four with end-of-options; none if they exceed 40.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut options = Self::NONE;
        options.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        options.len = bytes.len().next_multiple_of(4) as u8;
        Some(options)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl core::fmt::Debug for Options {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_bytes().fmt(f)
    }
}

/// A header as a value. The checksum is not part of it: [`emit`](Self::emit) computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Differentiated services code point, six bits.
    pub dscp: u8,
    /// Explicit congestion notification, two bits.
    pub ecn: u8,
    /// Identification of the fragments of one packet.
    pub identification: u16,
    /// The DF bit.
    pub dont_fragment: bool,
    /// The MF bit.
    pub more_fragments: bool,
    /// Place of this fragment in units of eight bytes, 13 bits.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: IpProtocol,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Options.
    pub options: Options,
    /// Bytes of payload; with the header 65,535 at most.
    pub payload_len: u16,
}

impl Header {
    /// An unfragmented packet of TTL 64 with DF set.
    pub const fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: IpProtocol, payload_len: u16) -> Self {
        Self {
            dscp: 0,
            ecn: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            src,
            dst,
            options: Options::NONE,
            payload_len,
        }
    }

    /// Reads a header whose packet is all in `bytes` and whose checksum is right.
    ///
    /// # Errors
    /// As [`View::parse`], and [`ParseError::Checksum`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let view = View::parse(bytes)?;
        if !view.verify_checksum() {
            return Err(ParseError::Checksum(Layer::Ipv4));
        }
        Ok(Self::from_view(&view))
    }

    /// The values of a view, its checksum unchecked.
    pub fn from_view(view: &View<'_>) -> Self {
        Self {
            dscp: view.dscp(),
            ecn: view.ecn(),
            identification: view.identification(),
            dont_fragment: view.dont_fragment(),
            more_fragments: view.more_fragments(),
            fragment_offset: view.fragment_offset(),
            ttl: view.ttl(),
            protocol: view.protocol(),
            src: view.src(),
            dst: view.dst(),
            options: Options::new(view.options()).unwrap_or(Options::NONE),
            payload_len: view.payload_len() as u16,
        }
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub fn header_len(&self) -> usize {
        MIN_HEADER_LEN + usize::from(self.options.len)
    }

    /// Writes the header with its checksum, returns the bytes written. The reserved bit is sent as zero.
    ///
    /// # Errors
    /// [`EmitError`] when `out` is shorter than the header or header and payload exceed 65,535 bytes.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let len = self.header_len();
        let out = room_for(out, len)?;
        let total = len + usize::from(self.payload_len);
        let Ok(total_len) = u16::try_from(total) else {
            return Err(EmitError { wanted: total, room: usize::from(u16::MAX) });
        };
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let (header, options) = out.split_first_chunk_mut::<MIN_HEADER_LEN>().expect("20 bytes and more");
        header[0] = 0x40 | (len / 4) as u8;
        header[1] = self.dscp << 2 | self.ecn & 3;
        put16(header, 2, total_len);
        put16(header, 4, self.identification);
        put16(header, 6, flags | self.fragment_offset & 0x1fff);
        header[8] = self.ttl;
        header[9] = self.protocol.0;
        put(header, 12, self.src.octets());
        put(header, 16, self.dst.octets());
        options.copy_from_slice(self.options.as_bytes());
        ViewMut { header, options, payload: &mut [] }.fill_checksum();
        Ok(len)
    }
}
