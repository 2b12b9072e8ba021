//! What a function has seen: frames and bytes for each flow and direction, bounded.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use packet::layout::Layout;
use packet::{EtherType, Frame, Instant, IpProtocol, ParseError, ipv4, ipv6};

/// Flows kept; the frames of further ones are counted together.
pub const MAX_FLOWS: usize = 4096;

/// Which way a frame goes through a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From interface `in` to interface `out`.
    Inbound,
    /// From interface `out` to interface `in`.
    Outbound,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "in",
            Self::Outbound => "out",
        })
    }
}

/// What tells flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// After the VLAN tags.
    pub ethertype: EtherType,
    /// None unless IP.
    pub protocol: Option<IpProtocol>,
    /// None unless IP.
    pub src: Option<IpAddr>,
    /// None unless IP.
    pub dst: Option<IpAddr>,
    /// None unless TCP or UDP, and in fragments after the first.
    pub src_port: Option<u16>,
    /// As `src_port`.
    pub dst_port: Option<u16>,
}

impl Default for FlowKey {
    fn default() -> Self {
        Self { ethertype: EtherType(0), protocol: None, src: None, dst: None, src_port: None, dst_port: None }
    }
}

impl FlowKey {
    /// The flow of a frame.
    ///
    /// # Errors
    /// When its headers are malformed.
    pub fn of(frame: &Frame) -> Result<Self, ParseError> {
        let layout = Layout::of(frame)?;
        let mut key = Self { ethertype: layout.ethertype, ..Self::default() };
        let Some(transport) = layout.transport else { return Ok(key) };
        let rest = frame.head().get(layout.network_at..).unwrap_or(&[]);
        let available = frame.len() - layout.network_at;
        (key.src, key.dst) = if layout.ethertype == EtherType::IPV4 {
            let view = ipv4::View::parse_head(rest, available)?;
            (Some(IpAddr::V4(view.src())), Some(IpAddr::V4(view.dst())))
        } else {
            let view = ipv6::View::parse_head(rest, available)?;
            (Some(IpAddr::V6(view.src())), Some(IpAddr::V6(view.dst())))
        };
        key.protocol = Some(transport.protocol);
        if matches!(transport.protocol, IpProtocol::TCP | IpProtocol::UDP)
            && !transport.is_later_fragment
            && let Some(&[a, b, c, d]) = frame.head().get(transport.at..transport.at + 4)
        {
            key.src_port = Some(u16::from_be_bytes([a, b]));
            key.dst_port = Some(u16::from_be_bytes([c, d]));
        }
        Ok(key)
    }

    /// ARP, or ICMPv6 neighbour discovery (RFC 4861 §4): without it nothing else gets through.
    pub fn is_address_resolution(&self, frame: &Frame) -> bool {
        let nd_type = || {
            let transport = Layout::of(frame).ok()?.transport?;
            frame.head().get(transport.at).copied()
        };
        self.ethertype == EtherType::ARP
            || (self.protocol == Some(IpProtocol::ICMPV6)
                && nd_type().is_some_and(|t| (133..=137).contains(&t)))
    }
}

/// What was seen of one flow in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Frames; a super-frame is one.
    pub n_frames: u64,
    /// Bytes from the Ethernet header on.
    pub bytes: u64,
    /// Clock of the first frame: the order of the functions of a chain shows in it.
    pub first: Instant,
    /// Clock of the last frame.
    pub last: Instant,
}

/// A bounded table of flows.
#[derive(Debug, Default)]
pub struct FlowTable {
    flows: HashMap<(Direction, FlowKey), Seen>,
    n_frames_beyond: u64,
}

impl FlowTable {
    /// Counts one frame.
    pub fn count(&mut self, now: Instant, direction: Direction, key: FlowKey, bytes: usize) {
        let id = (direction, key);
        if self.flows.len() >= MAX_FLOWS && !self.flows.contains_key(&id) {
            self.n_frames_beyond += 1;
            return;
        }
        let seen = self.flows.entry(id).or_insert(Seen { n_frames: 0, bytes: 0, first: now, last: now });
        seen.n_frames += 1;
        seen.bytes += bytes as u64;
        seen.last = now;
    }

    /// All flows, in the order of their first frames.
    pub fn in_order(&self) -> Vec<(Direction, FlowKey, Seen)> {
        let mut all: Vec<_> = self.flows.iter().map(|(&(d, k), &s)| (d, k, s)).collect();
        all.sort_by_key(|(_, _, seen)| seen.first);
        all
    }

    /// Frames of flows that found the table full.
    pub fn n_frames_beyond(&self) -> u64 {
        self.n_frames_beyond
    }
}
