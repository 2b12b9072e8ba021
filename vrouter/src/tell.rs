//! What a sender is told about a packet that goes no further: one vocabulary for ICMP (RFC 792, RFC 1812 §5.2.7) and
//! ICMPv6 (RFC 4443 §3).

use core::net::IpAddr;

use packet::{build, icmpv4, icmpv6};

/// Why a packet goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// TTL or hop limit used up.
    TimeExceeded,
    /// No route.
    NoRoute,
    /// The destination, or the neighbour before it, cannot be reached.
    Host,
    /// Forbidden by a rule.
    Prohibited,
    /// Nothing listens on the port.
    Port,
    /// Nothing speaks the protocol; for IPv6, which byte of the packet names it.
    Protocol(u32),
    /// Forbidden by a rule: to TCP its connection is reset.
    Reset,
    /// Too big for the next link of this MTU.
    TooBig(u16),
    /// A link-local source cannot be answered beyond its link.
    BeyondScope,
}

impl Tell {
    fn v4(self) -> icmpv4::Message {
        use icmpv4::Unreachable as U;
        let why = match self {
            Self::TimeExceeded => return icmpv4::Message::TimeExceeded { code: 0 },
            Self::NoRoute => U::Network,
            Self::Host | Self::BeyondScope => U::Host,
            Self::Prohibited | Self::Reset => U::Prohibited,
            Self::Port => U::Port,
            Self::Protocol(_) => U::Protocol,
            Self::TooBig(mtu) => U::FragmentationNeeded(mtu),
        };
        icmpv4::Message::DestinationUnreachable(why)
    }

    fn v6(self) -> icmpv6::Message {
        let code = match self {
            Self::TimeExceeded => return icmpv6::Message::TimeExceeded { code: 0 },
            Self::TooBig(mtu) => return icmpv6::Message::PacketTooBig { mtu: mtu.into() },
            Self::Protocol(pointer) => return icmpv6::Message::ParameterProblem { code: 1, pointer },
            Self::NoRoute => 0,
            Self::Prohibited | Self::Reset => 1,
            Self::BeyondScope => 2,
            Self::Host => 3,
            Self::Port => 4,
        };
        icmpv6::Message::DestinationUnreachable { code }
    }

    /// The frame that tells it from `own`; none where no error may be sent about `offending`.
    pub(crate) fn frame(self, link: build::Link, own: IpAddr, offending: &[u8]) -> Option<Vec<u8>> {
        match own {
            IpAddr::V4(own) => link.icmpv4_error(own, &self.v4(), offending),
            IpAddr::V6(own) => link.icmpv6_error(own, &self.v6(), offending),
        }
    }
}
