//! Why bytes are not what they claim to be.

use core::fmt;

/// The header that was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// IEEE 802.3.
    Ethernet,
    /// IEEE 802.1Q tag.
    Vlan,
    /// RFC 826.
    Arp,
    /// RFC 791.
    Ipv4,
    /// RFC 8200, the fixed header.
    Ipv6,
    /// RFC 8200 §4, an extension header.
    Ipv6Extension,
    /// RFC 792.
    Icmpv4,
    /// RFC 4443.
    Icmpv6,
    /// RFC 4861 §4.6, an option of neighbour discovery.
    NdOption,
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl Layer {
    /// The usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "Ethernet",
            Self::Vlan => "VLAN",
            Self::Arp => "ARP",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Ipv6Extension => "IPv6 extension",
            Self::Icmpv4 => "ICMPv4",
            Self::Icmpv6 => "ICMPv6",
            Self::NdOption => "ND option",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a header was refused. Small and `Copy`, so that a drop counter can be indexed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// The bytes end before the header does.
    #[error("{0} header is cut short")]
    Truncated(Layer),
    /// The version field is not that of the protocol.
    #[error("{0} header has the version of another protocol")]
    Version(Layer),
    /// The header says it is shorter than it can be, or longer than the packet.
    #[error("{0} header length is impossible")]
    HeaderLength(Layer),
    /// The packet says it is longer than the bytes there are, or shorter than its header.
    #[error("{0} length field lies")]
    Length(Layer),
    /// Not Ethernet/IPv4 (ARP hardware or protocol type and size).
    #[error("{0} is for another kind of address")]
    AddressType(Layer),
    /// An option with a length of zero or past the end.
    #[error("{0} option is malformed")]
    Option(Layer),
    /// The checksum is wrong.
    #[error("{0} checksum is wrong")]
    Checksum(Layer),
    /// More VLAN tags than [`MAX_TAGS`](crate::vlan::MAX_TAGS).
    #[error("too many VLAN tags")]
    TooManyTags,
    /// More IPv6 extension headers than [`MAX_EXTENSIONS`](crate::ipv6::MAX_EXTENSIONS).
    #[error("too many IPv6 extension headers")]
    TooManyExtensions,
    /// A type that the value form does not know where one is needed.
    #[error("{0} type is unknown")]
    Type(Layer),
}

/// The buffer cannot take what was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes are needed, the buffer has {room}")]
pub struct EmitError {
    /// Bytes that would be written.
    pub wanted: usize,
    /// Bytes there are.
    pub room: usize,
}

/// The first `N` bytes of `out`, or why not.
pub(crate) fn room<const N: usize>(out: &mut [u8]) -> Result<&mut [u8; N], EmitError> {
    let room = out.len();
    out.first_chunk_mut::<N>().ok_or(EmitError { wanted: N, room })
}

/// The first `n` bytes of `out`, or why not.
pub(crate) fn room_for(out: &mut [u8], n: usize) -> Result<&mut [u8], EmitError> {
    let room = out.len();
    out.get_mut(..n).ok_or(EmitError { wanted: n, room })
}
