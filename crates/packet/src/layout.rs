//! Where the headers of a frame are.

use crate::{EtherType, Frame, IpProtocol, Layer, ParseError, ethernet, ipv4, ipv6};

/// Places of the network and transport headers, found in one walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Type after the last VLAN tag.
    pub ethertype: EtherType,
    /// Bytes from the beginning of the frame to the network header.
    pub network_at: usize,
    /// The transport; none when the frame is not IP.
    pub transport: Option<Transport>,
}

/// Where the payload of an IP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// What it is.
    pub protocol: IpProtocol,
    /// Bytes from the beginning of the frame to it.
    pub at: usize,
    /// Bytes of it, head and tail, without Ethernet padding.
    pub len: usize,
    /// The packet is a fragment.
    pub is_fragment: bool,
    /// A fragment other than the first: at [`at`](Self::at) is no header.
    pub is_later_fragment: bool,
}

impl Layout {
    /// Walks the head of a frame.
    ///
    /// # Errors
    /// What the headers themselves refuse, up to the network header and IPv6 extension headers.
    #[inline]
    pub fn of(frame: &Frame) -> Result<Self, ParseError> {
        Self::parse(frame.head(), frame.len())
    }

    /// Walks `head`, the contiguous beginning of a frame of `len` bytes.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    #[inline]
    pub fn parse(head: &[u8], len: usize) -> Result<Self, ParseError> {
        let tags = ethernet::View::parse(head)?.tags()?;
        let at = tags.payload_at;
        let rest = head.get(at..).ok_or(ParseError::Truncated(Layer::Ethernet))?;
        let available = len.saturating_sub(at);
        let transport = match tags.ethertype {
            EtherType::IPV4 => Some(Transport::of_ipv4(&ipv4::View::parse_head(rest, available)?, at)),
            EtherType::IPV6 => Some(Transport::of_ipv6(&ipv6::View::parse_head(rest, available)?, at)?),
            _ => None,
        };
        Ok(Self { ethertype: tags.ethertype, network_at: at, transport })
    }
}

impl Transport {
    #[inline(always)]
    fn of_ipv4(view: &ipv4::View<'_>, at: usize) -> Self {
        Self {
            protocol: view.protocol(),
            at: at + view.header_len(),
            len: view.payload_len(),
            is_fragment: view.is_fragment(),
            is_later_fragment: view.is_later_fragment(),
        }
    }

    #[inline(always)]
    fn of_ipv6(view: &ipv6::View<'_>, at: usize) -> Result<Self, ParseError> {
        let extensions = view.extensions()?;
        Ok(Self {
            protocol: extensions.protocol,
            at: at + ipv6::HEADER_LEN + extensions.len,
            len: view.payload_len() - extensions.len,
            // An atomic fragment is a whole packet (RFC 6946 §4).
            is_fragment: extensions.fragment.is_some_and(|f| f.more || f.offset != 0),
            is_later_fragment: extensions.is_later_fragment(),
        })
    }
}
