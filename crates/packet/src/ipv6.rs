//! IPv6 headers and the walk over extension headers (RFC 8200).

use core::net::Ipv6Addr;

use crate::bytes::{array, be16, be32, put, put16};
use crate::error::room;
use crate::{EmitError, IpProtocol, Layer, ParseError};

/// Size in bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Most extension headers that are walked; what has more is refused.
pub const MAX_EXTENSIONS: usize = 8;

/// The fixed header and as much of the payload as there is.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

#[inline(always)]
fn check(header: &[u8; HEADER_LEN], available: usize) -> Result<usize, ParseError> {
    if header[0] >> 4 != 6 {
        return Err(ParseError::Version(Layer::Ipv6));
    }
    let payload_len = usize::from(be16(header, 4));
    if HEADER_LEN + payload_len > available {
        return Err(ParseError::Length(Layer::Ipv6));
    }
    Ok(payload_len)
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
    /// Truncated header, wrong version, payload length beyond `available`. Jumbograms (RFC 2675) are not known: a
    /// payload length of zero is no payload.
    #[inline(always)]
    pub fn parse_head(head: &'a [u8], available: usize) -> Result<Self, ParseError> {
        let Some((header, rest)) = head.split_first_chunk::<HEADER_LEN>() else {
            return Err(ParseError::Truncated(Layer::Ipv6));
        };
        let payload_len = check(header, available)?;
        Ok(Self { header, payload: rest.get(..payload_len).unwrap_or(rest) })
    }

    /// Reads what an ICMPv6 error quotes: a header and perhaps less payload than its length field says.
    ///
    /// # Errors
    /// As [`parse_head`](Self::parse_head), but the length may reach past the end.
    pub fn parse_quoted(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_head(bytes, HEADER_LEN + usize::from(u16::MAX))
    }

    /// Traffic class: DSCP and ECN.
    #[inline(always)]
    pub fn traffic_class(&self) -> u8 {
        (be16(self.header, 0) >> 4) as u8
    }

    /// Differentiated services code point, six bits.
    #[inline(always)]
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// Explicit congestion notification, two bits.
    #[inline(always)]
    pub fn ecn(&self) -> u8 {
        self.traffic_class() & 3
    }

    /// Flow label, 20 bits.
    #[inline(always)]
    pub fn flow_label(&self) -> u32 {
        be32(self.header, 0) & 0xf_ffff
    }

    /// Bytes after the fixed header as it says; part of them may be in the tail of the frame.
    #[inline(always)]
    pub fn payload_len(&self) -> usize {
        usize::from(be16(self.header, 4))
    }

    /// What follows the fixed header; see [`extensions`](Self::extensions) for the transport.
    #[inline(always)]
    pub fn next_header(&self) -> IpProtocol {
        IpProtocol(self.header[6])
    }

    /// Hop limit.
    #[inline(always)]
    pub fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    /// Source address.
    #[inline(always)]
    pub fn src(&self) -> Ipv6Addr {
        Ipv6Addr::from(array::<16, HEADER_LEN>(self.header, 8))
    }

    /// Destination address.
    #[inline(always)]
    pub fn dst(&self) -> Ipv6Addr {
        Ipv6Addr::from(array::<16, HEADER_LEN>(self.header, 24))
    }

    /// Bytes after the fixed header, extension headers included, as far as they are in the head.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Walks the extension headers to the upper-layer header.
    ///
    /// # Errors
    /// As [`Extensions::walk`].
    #[inline(always)]
    pub fn extensions(&self) -> Result<Extensions, ParseError> {
        Extensions::walk(self.next_header(), self.payload)
    }
}

/// A fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Place of this fragment in units of eight bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification of the fragments of one packet.
    pub identification: u32,
}

/// What the walk over extension headers found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// What the upper layer is: the first number that is not a walked extension header (ESP ends the walk).
    pub protocol: IpProtocol,
    /// Bytes from the end of the fixed header to the upper layer.
    pub len: usize,
    /// The fragment header, if there was one.
    pub fragment: Option<Fragment>,
    kinds: [IpProtocol; MAX_EXTENSIONS],
    n: u8,
}

impl Extensions {
    /// Walks hop-by-hop options, routing, fragment, authentication and destination options, starting at `first` with
    /// `bytes` after the fixed header. A later fragment ends the walk: what follows is not a header.
    ///
    /// # Errors
    /// An extension header that passes the end of `bytes`, or more of them than [`MAX_EXTENSIONS`].
    #[inline(always)]
    pub fn walk(first: IpProtocol, bytes: &[u8]) -> Result<Self, ParseError> {
        let start =
            Self { protocol: first, len: 0, fragment: None, kinds: [IpProtocol(0); MAX_EXTENSIONS], n: 0 };
        if is_extension(first) { start.walk_on(bytes) } else { Ok(start) }
    }

    fn walk_on(mut self, bytes: &[u8]) -> Result<Self, ParseError> {
        const CUT: ParseError = ParseError::Truncated(Layer::Ipv6Extension);
        while is_extension(self.protocol) {
            let header = bytes.get(self.len..).and_then(|b| b.first_chunk::<8>()).ok_or(CUT)?;
            *self.kinds.get_mut(usize::from(self.n)).ok_or(ParseError::TooManyExtensions)? = self.protocol;
            self.n += 1;
            let len = match self.protocol {
                IpProtocol::FRAGMENT => 8,
                // RFC 4302 §2.2: in units of four bytes, minus two.
                IpProtocol::AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
                _ => (usize::from(header[1]) + 1) * 8,
            };
            if bytes.len() - self.len < len {
                return Err(CUT);
            }
            self.len += len;
            let kind = self.protocol;
            self.protocol = IpProtocol(header[0]);
            if kind == IpProtocol::FRAGMENT {
                let field = be16(header, 2);
                let fragment =
                    Fragment { offset: field >> 3, more: field & 1 != 0, identification: be32(header, 4) };
                self.fragment = Some(fragment);
                if fragment.offset != 0 {
                    break;
                }
            }
        }
        Ok(self)
    }

    /// The extension headers in order.
    pub fn kinds(&self) -> impl Iterator<Item = IpProtocol> + '_ {
        self.kinds.iter().take(usize::from(self.n)).copied()
    }

    /// A fragment other than the first: there is no upper-layer header.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        matches!(self.fragment, Some(Fragment { offset: 1.., .. }))
    }
}

#[inline(always)]
const fn is_extension(protocol: IpProtocol) -> bool {
    matches!(
        protocol,
        IpProtocol::HOP_BY_HOP
            | IpProtocol::ROUTING
            | IpProtocol::FRAGMENT
            | IpProtocol::AUTHENTICATION
            | IpProtocol::DESTINATION_OPTIONS
    )
}

/// A fixed header to be changed in place.
#[derive(Debug)]
pub struct ViewMut<'a> {
    header: &'a mut [u8; HEADER_LEN],
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
        let Some((header, rest)) = head.split_first_chunk_mut::<HEADER_LEN>() else {
            return Err(ParseError::Truncated(Layer::Ipv6));
        };
        let payload_len = check(header, available)?;
        let in_head = rest.len().min(payload_len);
        Ok(Self { header, payload: &mut rest[..in_head] })
    }

    /// As [`View::parse_quoted`].
    ///
    /// # Errors
    /// As [`View::parse_quoted`].
    pub fn parse_quoted(bytes: &'a mut [u8]) -> Result<Self, ParseError> {
        Self::parse_head(bytes, HEADER_LEN + usize::from(u16::MAX))
    }

    /// The same bytes, to be read.
    #[inline(always)]
    pub fn view(&self) -> View<'_> {
        View { header: self.header, payload: self.payload }
    }

    /// Bytes after the fixed header, as far as they are in the head.
    #[inline(always)]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }

    /// As [`payload_mut`](Self::payload_mut), for as long as the bytes live.
    #[inline(always)]
    pub fn into_payload(self) -> &'a mut [u8] {
        self.payload
    }

    /// Sets the traffic class.
    #[inline(always)]
    pub fn set_traffic_class(&mut self, class: u8) {
        let old = be16(self.header, 0);
        put16(self.header, 0, old & 0xf00f | u16::from(class) << 4);
    }

    /// Sets the differentiated services code point, cut to six bits.
    #[inline(always)]
    pub fn set_dscp(&mut self, dscp: u8) {
        let ecn = self.view().ecn();
        self.set_traffic_class(dscp << 2 | ecn);
    }

    /// Sets explicit congestion notification, cut to two bits.
    #[inline(always)]
    pub fn set_ecn(&mut self, ecn: u8) {
        let class = self.view().traffic_class();
        self.set_traffic_class(class & !3 | ecn & 3);
    }

    /// Sets the flow label, cut to 20 bits.
    #[inline(always)]
    pub fn set_flow_label(&mut self, label: u32) {
        let old = be32(self.header, 0);
        put(self.header, 0, (old & 0xfff0_0000 | label & 0xf_ffff).to_be_bytes());
    }

    /// Sets the payload length; the caller answers for it being true.
    #[inline(always)]
    pub fn set_payload_len(&mut self, len: u16) {
        put16(self.header, 4, len);
    }

    /// Sets the hop limit.
    #[inline(always)]
    pub fn set_hop_limit(&mut self, limit: u8) {
        self.header[7] = limit;
    }

    /// Sets the source address; pseudo headers are the caller's matter ([`crate::checksum::adjust`]).
    #[inline(always)]
    pub fn set_src(&mut self, addr: Ipv6Addr) {
        put(self.header, 8, addr.octets());
    }

    /// Sets the destination address, as [`set_src`](Self::set_src).
    #[inline(always)]
    pub fn set_dst(&mut self, addr: Ipv6Addr) {
        put(self.header, 24, addr.octets());
    }
}

/// A fixed header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Bytes after the fixed header.
    pub payload_len: u16,
    /// What follows the fixed header.
    pub next_header: IpProtocol,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
}

impl Header {
    /// A packet of hop limit 64.
    pub const fn new(src: Ipv6Addr, dst: Ipv6Addr, next_header: IpProtocol, payload_len: u16) -> Self {
        Self { traffic_class: 0, flow_label: 0, payload_len, next_header, hop_limit: 64, src, dst }
    }

    /// Reads a header whose packet is all in `bytes`.
    ///
    /// # Errors
    /// As [`View::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        View::parse(bytes).map(|view| Self::from_view(&view))
    }

    /// The values of a view.
    pub fn from_view(view: &View<'_>) -> Self {
        Self {
            traffic_class: view.traffic_class(),
            flow_label: view.flow_label(),
            payload_len: view.payload_len() as u16,
            next_header: view.next_header(),
            hop_limit: view.hop_limit(),
            src: view.src(),
            dst: view.dst(),
        }
    }

    /// Writes the header, returns the bytes written.
    ///
    /// # Errors
    /// [`EmitError`] below 40 bytes.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let header = room::<HEADER_LEN>(out)?;
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        put(header, 0, first.to_be_bytes());
        put16(header, 4, self.payload_len);
        header[6] = self.next_header.0;
        header[7] = self.hop_limit;
        put(header, 8, self.src.octets());
        put(header, 24, self.dst.octets());
        Ok(HEADER_LEN)
    }
}
