//! ICMP for IPv4 (RFC 792, RFC 1191).

use core::net::Ipv4Addr;

use crate::bytes::{array, be16, put, put16};
use crate::error::room;
use crate::{EmitError, Layer, ParseError, checksum};

/// Size in bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Bytes from the header to its checksum.
pub const CHECKSUM_AT: usize = 2;
/// Most bytes of an error message, IP header included (RFC 1812 §4.3.2.3).
pub const MAX_ERROR_LEN: usize = 576;

/// The header and as much of what follows as there is.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below eight bytes.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        match bytes.split_first_chunk() {
            Some((header, payload)) => Ok(Self { header, payload }),
            None => Err(ParseError::Truncated(Layer::Icmpv4)),
        }
    }

    /// Type.
    #[inline(always)]
    pub fn kind(&self) -> u8 {
        self.header[0]
    }

    /// Code.
    #[inline(always)]
    pub fn code(&self) -> u8 {
        self.header[1]
    }

    /// The checksum as it stands.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        be16(self.header, 2)
    }

    /// Identifier of an echo or another query.
    #[inline(always)]
    pub fn id(&self) -> u16 {
        be16(self.header, 4)
    }

    /// Sequence number of an echo or another query.
    #[inline(always)]
    pub fn seq(&self) -> u16 {
        be16(self.header, 6)
    }

    /// An error about a packet that [`payload`](Self::payload) quotes (RFC 1122 §3.2.2).
    #[inline(always)]
    pub fn is_error(&self) -> bool {
        matches!(self.kind(), 3 | 4 | 5 | 11 | 12)
    }

    /// What follows the eight bytes: data of an echo, the quoted packet of an error.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A message to be changed in place. The checksum is the caller's matter.
#[derive(Debug)]
pub struct ViewMut<'a> {
    header: &'a mut [u8; HEADER_LEN],
    payload: &'a mut [u8],
}

impl<'a> ViewMut<'a> {
    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below eight bytes.
    #[inline(always)]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, ParseError> {
        match bytes.split_first_chunk_mut() {
            Some((header, payload)) => Ok(Self { header, payload }),
            None => Err(ParseError::Truncated(Layer::Icmpv4)),
        }
    }

    /// The same bytes, to be read.
    #[inline(always)]
    pub fn view(&self) -> View<'_> {
        View { header: self.header, payload: self.payload }
    }

    /// What follows the eight bytes.
    #[inline(always)]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }

    /// Sets the type.
    #[inline(always)]
    pub fn set_kind(&mut self, kind: u8) {
        self.header[0] = kind;
    }

    /// Sets the code.
    #[inline(always)]
    pub fn set_code(&mut self, code: u8) {
        self.header[1] = code;
    }

    /// Sets the identifier.
    #[inline(always)]
    pub fn set_id(&mut self, id: u16) {
        put16(self.header, 4, id);
    }

    /// Sets the checksum.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        put16(self.header, 2, checksum);
    }
}

/// Why a destination cannot be reached (type 3; RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Code 0.
    Network,
    /// Code 1.
    Host,
    /// Code 2.
    Protocol,
    /// Code 3.
    Port,
    /// Code 4: too big and DF is set; the MTU of the next hop in bytes (RFC 1191 §4).
    FragmentationNeeded(u16),
    /// Code 13: forbidden by a filter.
    Prohibited,
    /// Any other code.
    Other(u8),
}

impl Unreachable {
    fn from_wire(code: u8, mtu: u16) -> Self {
        match code {
            0 => Self::Network,
            1 => Self::Host,
            2 => Self::Protocol,
            3 => Self::Port,
            4 => Self::FragmentationNeeded(mtu),
            13 => Self::Prohibited,
            other => Self::Other(other),
        }
    }

    fn to_wire(self) -> (u8, u16) {
        match self {
            Self::Network => (0, 0),
            Self::Host => (1, 0),
            Self::Protocol => (2, 0),
            Self::Port => (3, 0),
            Self::FragmentationNeeded(mtu) => (4, mtu),
            Self::Prohibited => (13, 0),
            Self::Other(code) => (code, 0),
        }
    }
}

/// The first eight bytes of a message as a value; the data or the quoted packet follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 8: identifier and sequence number.
    EchoRequest {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Type 0.
    EchoReply {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Type 3.
    DestinationUnreachable(Unreachable),
    /// Type 5: a better gateway.
    Redirect {
        /// 0 network, 1 host.
        code: u8,
        /// Where to send instead.
        gateway: Ipv4Addr,
    },
    /// Type 11: code 0 in transit, 1 in reassembly.
    TimeExceeded {
        /// Code.
        code: u8,
    },
    /// Type 12.
    ParameterProblem {
        /// Byte of the quoted header.
        pointer: u8,
    },
    /// Any other: type, code, bytes four to seven.
    Other {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Bytes four to seven.
        rest: [u8; 4],
    },
}

impl Message {
    /// Reads a message that is all in `bytes` and whose checksum is right.
    ///
    /// # Errors
    /// As [`View::parse`], and [`ParseError::Checksum`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let view = View::parse(bytes)?;
        if checksum::checksum(bytes) != 0 {
            return Err(ParseError::Checksum(Layer::Icmpv4));
        }
        Ok(Self::from_view(&view))
    }

    /// The value of a view, its checksum unchecked.
    pub fn from_view(view: &View<'_>) -> Self {
        let (kind, code) = (view.kind(), view.code());
        let rest = array::<4, HEADER_LEN>(view.header, 4);
        match (kind, code) {
            (0, 0) => Self::EchoReply { id: view.id(), seq: view.seq() },
            (3, _) => Self::DestinationUnreachable(Unreachable::from_wire(code, view.seq())),
            (5, _) => Self::Redirect { code, gateway: Ipv4Addr::from(rest) },
            (8, 0) => Self::EchoRequest { id: view.id(), seq: view.seq() },
            (11, _) => Self::TimeExceeded { code },
            (12, 0) => Self::ParameterProblem { pointer: rest[0] },
            _ => Self::Other { kind, code, rest },
        }
    }

    /// Writes the eight bytes with a checksum over them and `payload`, which the caller writes after them.
    /// Returns the bytes written: eight.
    ///
    /// # Errors
    /// [`EmitError`] below eight bytes.
    pub fn emit(&self, payload: &[u8], out: &mut [u8]) -> Result<usize, EmitError> {
        let header = room::<HEADER_LEN>(out)?;
        let words = |a: u16, b: u16| {
            let (a, b) = (a.to_be_bytes(), b.to_be_bytes());
            [a[0], a[1], b[0], b[1]]
        };
        let (kind, code, rest) = match *self {
            Self::EchoReply { id, seq } => (0, 0, words(id, seq)),
            Self::DestinationUnreachable(why) => {
                let (code, mtu) = why.to_wire();
                (3, code, words(0, mtu))
            }
            Self::Redirect { code, gateway } => (5, code, gateway.octets()),
            Self::EchoRequest { id, seq } => (8, 0, words(id, seq)),
            Self::TimeExceeded { code } => (11, code, [0; 4]),
            Self::ParameterProblem { pointer } => (12, 0, [pointer, 0, 0, 0]),
            Self::Other { kind, code, rest } => (kind, code, rest),
        };
        (header[0], header[1]) = (kind, code);
        put16(header, 2, 0);
        put(header, 4, rest);
        let sum = checksum::Sum::new().bytes(header).bytes(payload).finish();
        put16(header, 2, sum);
        Ok(HEADER_LEN)
    }
}

/// What an error message quotes of `packet`, which begins with its IP header: as much as fits 576 bytes in all.
pub fn quote(packet: &[u8]) -> &[u8] {
    let max = MAX_ERROR_LEN - crate::ipv4::MIN_HEADER_LEN - HEADER_LEN;
    packet.get(..max).unwrap_or(packet)
}
