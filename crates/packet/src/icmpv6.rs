//! ICMPv6 (RFC 4443). Neighbour discovery is in [`nd`](crate::nd).

use core::net::Ipv6Addr;

use crate::bytes::{array, be16, put, put16};
use crate::error::room;
use crate::{EmitError, IpProtocol, Layer, ParseError, checksum};

/// Size in bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Bytes from the header to its checksum.
pub const CHECKSUM_AT: usize = 2;
/// Most bytes of an error message, IPv6 header included (RFC 4443 §2.4 (c)).
pub const MAX_ERROR_LEN: usize = 1280;

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
            None => Err(ParseError::Truncated(Layer::Icmpv6)),
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

    /// Identifier of an echo.
    #[inline(always)]
    pub fn id(&self) -> u16 {
        be16(self.header, 4)
    }

    /// Sequence number of an echo.
    #[inline(always)]
    pub fn seq(&self) -> u16 {
        be16(self.header, 6)
    }

    /// Bytes four to seven.
    #[inline(always)]
    pub fn rest(&self) -> [u8; 4] {
        array(self.header, 4)
    }

    /// An error about a packet that [`payload`](Self::payload) quotes (RFC 4443 §2.1).
    #[inline(always)]
    pub fn is_error(&self) -> bool {
        self.kind() < 128
    }

    /// Router or neighbour solicitation or advertisement, or redirect (RFC 4861 §4).
    #[inline(always)]
    pub fn is_nd(&self) -> bool {
        matches!(self.kind(), 133..=137)
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
            None => Err(ParseError::Truncated(Layer::Icmpv6)),
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

/// The first eight bytes of a message as a value; the data or the quoted packet follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 1: code 0 no route, 1 prohibited, 2 beyond scope, 3 address, 4 port.
    DestinationUnreachable {
        /// Code.
        code: u8,
    },
    /// Type 2.
    PacketTooBig {
        /// MTU of the next hop in bytes.
        mtu: u32,
    },
    /// Type 3: code 0 in transit, 1 in reassembly.
    TimeExceeded {
        /// Code.
        code: u8,
    },
    /// Type 4: code 0 erroneous field, 1 unknown next header, 2 unknown option.
    ParameterProblem {
        /// Code.
        code: u8,
        /// Byte of the quoted packet.
        pointer: u32,
    },
    /// Type 128.
    EchoRequest {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Type 129.
    EchoReply {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
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
    /// Reads a message that is all in `bytes` and whose checksum is right for its addresses.
    ///
    /// # Errors
    /// As [`View::parse`], and [`ParseError::Checksum`].
    pub fn parse(src: Ipv6Addr, dst: Ipv6Addr, bytes: &[u8]) -> Result<Self, ParseError> {
        let view = View::parse(bytes)?;
        if pseudo(src, dst, bytes.len()).bytes(bytes).finish() != 0 {
            return Err(ParseError::Checksum(Layer::Icmpv6));
        }
        Ok(Self::from_view(&view))
    }

    /// The value of a view, its checksum unchecked.
    pub fn from_view(view: &View<'_>) -> Self {
        let (kind, code, rest) = (view.kind(), view.code(), view.rest());
        let number = u32::from_be_bytes(rest);
        match (kind, code) {
            (1, _) => Self::DestinationUnreachable { code },
            (2, _) => Self::PacketTooBig { mtu: number },
            (3, _) => Self::TimeExceeded { code },
            (4, _) => Self::ParameterProblem { code, pointer: number },
            (128, 0) => Self::EchoRequest { id: view.id(), seq: view.seq() },
            (129, 0) => Self::EchoReply { id: view.id(), seq: view.seq() },
            _ => Self::Other { kind, code, rest },
        }
    }

    /// Writes the eight bytes with a checksum over pseudo header, them and `payload`, which the caller writes after
    /// them. Returns the bytes written: eight.
    ///
    /// # Errors
    /// [`EmitError`] below eight bytes.
    pub fn emit(
        &self,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, EmitError> {
        let header = room::<HEADER_LEN>(out)?;
        let echo = |id: u16, seq: u16| (u32::from(id) << 16 | u32::from(seq)).to_be_bytes();
        let (kind, code, rest) = match *self {
            Self::DestinationUnreachable { code } => (1, code, [0; 4]),
            Self::PacketTooBig { mtu } => (2, 0, mtu.to_be_bytes()),
            Self::TimeExceeded { code } => (3, code, [0; 4]),
            Self::ParameterProblem { code, pointer } => (4, code, pointer.to_be_bytes()),
            Self::EchoRequest { id, seq } => (128, 0, echo(id, seq)),
            Self::EchoReply { id, seq } => (129, 0, echo(id, seq)),
            Self::Other { kind, code, rest } => (kind, code, rest),
        };
        (header[0], header[1]) = (kind, code);
        put16(header, 2, 0);
        put(header, 4, rest);
        let sum = pseudo(src, dst, HEADER_LEN + payload.len()).bytes(header).bytes(payload).finish();
        put16(header, 2, sum);
        Ok(HEADER_LEN)
    }
}

fn pseudo(src: Ipv6Addr, dst: Ipv6Addr, len: usize) -> checksum::Sum {
    checksum::pseudo_v6(src, dst, IpProtocol::ICMPV6, len as u32)
}

/// What an error message quotes of `packet`, which begins with its IPv6 header: as much as fits 1280 bytes in all.
pub fn quote(packet: &[u8]) -> &[u8] {
    let max = MAX_ERROR_LEN - crate::ipv6::HEADER_LEN - HEADER_LEN;
    packet.get(..max).unwrap_or(packet)
}
