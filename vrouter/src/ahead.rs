//! What the packets of a batch will need, looked for in all of them before the first one is worked on: so that they wait
//! for memory together and not one after the other. Headers are read where they are if they are right; who uses what was
//! found compares it with what he wants.

use core::net::IpAddr;

use conntrack::{Address, By, End, Endpoint, Packets, Passage, Shard, Side, Tracker, Tuple, Wanted};
use packet::{Frame, Instant, IpProtocol, MacAddr, PortNo, ethernet, ipv4, ipv6, tcp};

use crate::fib::{Fib, SetId, VrfId};
use crate::shards::Shards;
use crate::snapshot::{IfIndex, Snapshot};

/// Packets of a batch that are looked at.
const MAX_AHEAD: usize = 64;

/// What was looked up before it is asked for: the VRF, the address, and the set that it leads to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Foreseen(Option<(VrfId, IpAddr, Option<SetId>)>);

impl Foreseen {
    /// The set that `addr` leads to from `vrf`, if that was foreseen.
    #[inline]
    pub(crate) fn set(&self, vrf: VrfId, addr: IpAddr) -> Option<Option<SetId>> {
        self.0.filter(|(v, a, _)| *v == vrf && *a == addr).map(|(.., set)| set)
    }
}

/// The untagged frames of one port, and what is asked of all of them alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    pub interface: IfIndex,
    pub vrf: VrfId,
    mac: MacAddr,
    /// Packets belong to connections.
    pub is_tracked: bool,
    /// Replies may belong to connections that are not translated.
    has_rules: bool,
    /// Nothing is asked but what [`Short`] answers, and what the walk of a packet before it has shown.
    pub is_plain: bool,
}

impl Lane {
    fn of(s: &Snapshot, frame: &Frame) -> Option<Self> {
        let interface = s.interface_at(frame.meta.in_port, (None, None))?;
        let config = s.interface(interface);
        Some(Self {
            interface,
            vrf: config.vrf,
            mac: config.mac,
            is_tracked: !s.nat.is_empty() || !s.firewall.is_empty(),
            has_rules: !s.firewall.is_empty(),
            is_plain: s.is_plain(interface) && s.policy.is_empty() && !s.nat.has_redirects(),
        })
    }

    /// What passages of its packets were remembered under.
    #[inline(always)]
    pub(crate) fn by(&self, s: &Snapshot) -> By {
        (s.generation as u16, self.interface)
    }
}

/// An address of a family that is routed.
pub(crate) trait Family: Address {
    /// Bytes of a header without options.
    const HEADER_LEN: usize;
    /// The sets that addresses lead to, each in the place of its address.
    fn sets(fib: &Fib, vrf: VrfId, addrs: impl Iterator<Item = Self>, found: &mut [Option<SetId>]);
    /// The set that one leads to.
    fn set(self, fib: &Fib, vrf: VrfId) -> Option<SetId>;
}

impl Family for u32 {
    const HEADER_LEN: usize = ipv4::MIN_HEADER_LEN;
    #[inline(always)]
    fn sets(fib: &Fib, vrf: VrfId, addrs: impl Iterator<Item = Self>, found: &mut [Option<SetId>]) {
        fib.sets_v4(vrf, addrs, found);
    }
    #[inline(always)]
    fn set(self, fib: &Fib, vrf: VrfId) -> Option<SetId> {
        fib.set_v4(vrf, self)
    }
}

impl Family for u128 {
    const HEADER_LEN: usize = ipv6::HEADER_LEN;
    #[inline(always)]
    fn sets(fib: &Fib, vrf: VrfId, addrs: impl Iterator<Item = Self>, found: &mut [Option<SetId>]) {
        fib.sets_v6(vrf, addrs, found);
    }
    #[inline(always)]
    fn set(self, fib: &Fib, vrf: VrfId) -> Option<SetId> {
        fib.set_v6(vrf, self)
    }
}

/// A whole packet without options to another station than this router, as far as its headers say: no group, no source
/// that cannot be one, no fragment, TTL left, IPv4 checksum right. Of IPv6, TCP and UDP alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short<A> {
    pub src: End<A>,
    pub dst: End<A>,
    pub protocol: IpProtocol,
    /// Bytes from the IP header on; the frame may be padded.
    pub len: u16,
    /// Control bits of TCP.
    pub flags: tcp::Flags,
    /// The side of its connection to look at first.
    pub likely: Side,
    /// It may come from the outside as well.
    pub has_sides: bool,
    /// How it goes on, as far as its connection was found, and in which shard.
    pub passage: Option<Passage<A>>,
    pub shard: u16,
    /// Where it goes: its own destination, or what a connection will probably make of that.
    goes_to: A,
    /// Where that leads.
    set: u32,
}

/// In the place of a set: nobody has looked, or there is none.
const NOT_ASKED: u32 = u32::MAX;
const NO_SET: u32 = u32::MAX - 1;

impl<A: Family> Short<A> {
    #[inline(always)]
    fn new(
        (src, dst): (A, A),
        protocol: IpProtocol,
        (ports, flags): ([u16; 2], tcp::Flags),
        len: u16,
    ) -> Self {
        let (src, dst) = ((src, ports[0]), (dst, ports[1]));
        let (likely, has_sides, passage, goes_to) = (Side::Inside, false, None, dst.0);
        Self { src, dst, protocol, len, flags, likely, has_sides, passage, shard: 0, goes_to, set: NOT_ASKED }
    }

    /// The set that this destination leads to, if it was looked up.
    #[inline(always)]
    pub(crate) fn set(&self, dst: A) -> Option<Option<SetId>> {
        match self.set {
            _ if self.goes_to != dst => None,
            NOT_ASKED => None,
            NO_SET => Some(None),
            set => Some(Some(set)),
        }
    }

    #[inline(always)]
    pub(crate) fn tuple(&self, zone: u16) -> Tuple<A> {
        Tuple { zone, protocol: self.protocol, src: self.src, dst: self.dst }
    }

    /// The sides that it may come from, in the order in which they are asked for.
    #[inline(always)]
    pub(crate) fn sides(&self) -> impl Iterator<Item = Side> + use<A> {
        core::iter::once(self.likely).chain(self.has_sides.then_some(Side::Outside))
    }

    /// What the long way is told.
    fn foreseen(&self, vrf: VrfId) -> Foreseen {
        Foreseen(self.set(self.goes_to).map(|set| (vrf, self.goes_to.ip(), set)))
    }

    /// The shard that has its connection, if it comes from this side of it.
    #[inline(always)]
    pub(crate) fn shard(&self, s: &Snapshot, shards: &Shards, lane: &Lane, side: Side) -> u16 {
        // There are at most sixteen.
        if shards.len() == 1 { 0 } else { self.shard_of_several(s, shards, lane, side) as u16 }
    }

    fn shard_of_several(&self, s: &Snapshot, shards: &Shards, lane: &Lane, side: Side) -> u32 {
        let (zone, n_shards) = (lane.vrf, shards.len() as u32);
        let endpoint = |(addr, port): End<A>| Endpoint::new(addr.ip(), port);
        match side {
            Side::Inside => shards.index_of_inside(zone, endpoint(self.src)),
            Side::Outside if self.likely == Side::Inside => shards.index_of_inside(zone, endpoint(self.dst)),
            Side::Outside => match s.nat.forward(zone, self.protocol, endpoint(self.dst)) {
                Some((vrf, inside)) => shards.index_of_inside(vrf, inside),
                None => Shard::of_port(self.dst.1, n_shards),
            },
        }
    }
}

/// Which packet a frame has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Glance {
    /// One that takes more than a glance, or none.
    Long,
    /// By its place among those of its family.
    V4(u8),
    V6(u8),
}

/// What is known of a batch.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pub lane: Option<Lane>,
    glances: Vec<Glance>,
    pub v4: Vec<Short<u32>>,
    pub v6: Vec<Short<u128>>,
    wanted: Vec<Wanted>,
}

impl Ahead {
    /// Looks at the untagged packets of the first frame's port.
    pub(crate) fn look(&mut self, now: Instant, s: &Snapshot, shards: &Shards, batch: &[Frame]) {
        self.glances.clear();
        self.v4.clear();
        self.v6.clear();
        self.lane = batch.first().and_then(|first| Lane::of(s, first));
        let (Some(lane), Some(first)) = (self.lane, batch.first()) else { return };
        let port = first.meta.in_port;
        self.read_each(&batch[..batch.len().min(MAX_AHEAD)], port, lane.mac);
        if lane.is_tracked {
            let by = (s, shards, &lane);
            fetch(now, by, &mut self.v4, &mut self.wanted);
            fetch(now, by, &mut self.v6, &mut self.wanted);
        }
        look_up(s, lane.vrf, &mut self.v4);
        look_up(s, lane.vrf, &mut self.v6);
    }

    /// Which packet the frame in this place of the batch has.
    #[inline(always)]
    pub(crate) fn glance(&self, at: usize) -> Glance {
        self.glances.get(at).copied().unwrap_or(Glance::Long)
    }

    pub(crate) fn foreseen(&self, at: usize) -> Foreseen {
        let vrf = self.lane.map_or(0, |lane| lane.vrf);
        match self.glance(at) {
            Glance::Long => Foreseen::default(),
            Glance::V4(at) => self.v4[usize::from(at)].foreseen(vrf),
            Glance::V6(at) => self.v6[usize::from(at)].foreseen(vrf),
        }
    }

    /// Reads those frames that came by this port and are for this station.
    fn read_each(&mut self, frames: &[Frame], port: PortNo, mac: MacAddr) {
        for frame in frames {
            let glance = if frame.meta.in_port == port { self.read(frame, mac) } else { None };
            self.glances.push(glance.unwrap_or(Glance::Long));
        }
    }

    /// Reads a frame for this station.
    #[inline(always)]
    fn read(&mut self, frame: &Frame, mac: MacAddr) -> Option<Glance> {
        let head = frame.head();
        if frame.len() != head.len() || frame.meta.gso.is_some() || frame.meta.hops >= packet::MAX_HOPS {
            return None;
        }
        let (link, packet) = head.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
        if link[..6] != mac.0 {
            return None;
        }
        match [link[12], link[13]] {
            [0x08, 0x00] => {
                read_v4(packet, &mut self.v4)?;
                Some(Glance::V4(self.v4.len() as u8 - 1))
            }
            [0x86, 0xdd] => {
                read_v6(packet, &mut self.v6)?;
                Some(Glance::V6(self.v6.len() as u8 - 1))
            }
            _ => None,
        }
    }
}

#[inline(always)]
fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn read_v4(packet: &[u8], shorts: &mut Vec<Short<u32>>) -> Option<()> {
    let header = packet.first_chunk::<{ ipv4::MIN_HEADER_LEN }>()?;
    let len = usize::from(be16(header, 2));
    let (words, _) = header.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    // Neither more fragments nor an offset.
    let is_whole = header[6] & 0x3f | header[7] == 0;
    let is_sound = header[0] == 0x45 && len >= ipv4::MIN_HEADER_LEN && len <= packet.len() && sum == 0xffff;
    let is_station = |first: u8| first != 0 && first != 127 && first < 224;
    if !is_sound || !is_whole || header[8] <= 1 || !is_station(header[12]) || !is_station(header[16]) {
        return None;
    }
    let addr = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let transport = packet.get(ipv4::MIN_HEADER_LEN..len)?;
    let (protocol, len) = (IpProtocol(header[9]), len as u16);
    let (ports, flags) = read_transport(protocol, transport)?;
    shorts.push(Short::new((addr(12), addr(16)), protocol, (ports, flags), len));
    Some(())
}

#[inline(always)]
fn read_v6(packet: &[u8], shorts: &mut Vec<Short<u128>>) -> Option<()> {
    let header = packet.first_chunk::<{ ipv6::HEADER_LEN }>()?;
    let len = ipv6::HEADER_LEN + usize::from(be16(header, 4));
    let protocol = IpProtocol(header[6]);
    let has_ports = matches!(protocol, IpProtocol::TCP | IpProtocol::UDP);
    if header[0] >> 4 != 6 || len > packet.len() || header[7] <= 1 || !has_ports {
        return None;
    }
    let addr = |at: usize| header[at..at + 16].first_chunk::<16>().map(|addr| u128::from_be_bytes(*addr));
    let (src, dst) = (addr(8)?, addr(24)?);
    // Global and unique local unicast: what is in neither begins with a zero byte or with 0xfe and more.
    if !(1..0xfe).contains(&header[8]) || !(1..0xfe).contains(&header[24]) {
        return None;
    }
    let (ports, flags) = read_transport(protocol, packet.get(ipv6::HEADER_LEN..len)?)?;
    shorts.push(Short::new((src, dst), protocol, (ports, flags), len as u16));
    Some(())
}

/// Ports and control bits of a transport header.
#[inline(always)]
fn read_transport(protocol: IpProtocol, bytes: &[u8]) -> Option<([u16; 2], tcp::Flags)> {
    let mut flags = tcp::Flags::default();
    let ports = match protocol {
        IpProtocol::UDP if bytes.len() >= packet::udp::HEADER_LEN => [be16(bytes, 0), be16(bytes, 2)],
        IpProtocol::TCP if bytes.len() >= tcp::MIN_HEADER_LEN => {
            flags = tcp::Flags(bytes[13].into());
            [be16(bytes, 0), be16(bytes, 2)]
        }
        IpProtocol::UDP | IpProtocol::TCP => return None,
        _ => [0; 2],
    };
    Some((ports, flags))
}

/// Looks up where packets lead.
#[inline(always)]
fn look_up<A: Family>(s: &Snapshot, vrf: VrfId, shorts: &mut [Short<A>]) {
    if shorts.is_empty() {
        return;
    }
    let mut sets = [None; MAX_AHEAD];
    A::sets(&s.fib, vrf, shorts.iter().map(|short| short.goes_to), &mut sets[..shorts.len()]);
    shorts.iter_mut().zip(sets).for_each(|(short, set)| short.set = set.unwrap_or(NO_SET));
}

/// Looks for the connections of packets of TCP and UDP, by the shard that has them.
#[inline(always)]
fn fetch<A: Family>(
    now: Instant,
    (s, shards, lane): (&Snapshot, &Shards, &Lane),
    shorts: &mut [Short<A>],
    wanted: &mut Vec<Wanted>,
) {
    wanted.clear();
    for (at, short) in (0..).zip(&mut *shorts) {
        if !matches!(short.protocol, IpProtocol::TCP | IpProtocol::UDP) {
            continue;
        }
        let is_inbound = s.nat.may_be_outside(short.dst.0.ip());
        if is_inbound {
            short.likely = Side::Outside;
        }
        short.has_sides = lane.has_rules && !is_inbound;
        for side in short.sides() {
            let hash = Tracker::hash_of(&shards.keys, side, &short.tuple(lane.vrf));
            wanted.push(Wanted::new((side, hash), short.shard(s, shards, lane, side), at));
        }
    }
    if shards.len() > 1 {
        wanted.sort_unstable_by_key(|wanted| wanted.tracker);
    }
    let mut found = Found { zone: lane.vrf, shorts };
    for wanted in wanted.chunk_by_mut(|a, b| a.tracker == b.tracker) {
        if let Some(tracker) = wanted.first().and_then(|first| shards.tracker(first.tracker.into())) {
            tracker.fetch(now, wanted, lane.by(s), &mut found);
        }
    }
}

/// Packets of one zone that are told of their connections.
struct Found<'a, A> {
    zone: VrfId,
    shorts: &'a mut [Short<A>],
}

impl<A: Family> Packets<A> for Found<'_, A> {
    #[inline(always)]
    fn tuple(&self, packet: u8) -> Tuple<A> {
        self.shorts[usize::from(packet)].tuple(self.zone)
    }

    #[inline(always)]
    fn found(&mut self, wanted: &Wanted, passage: Passage<A>) {
        let short = &mut self.shorts[usize::from(wanted.packet)];
        // Of both sides the inside goes first.
        if short.passage.is_some() && passage.side == Side::Outside {
            return;
        }
        if short.likely == Side::Outside && passage.zone == self.zone {
            short.goes_to = passage.end.0;
        }
        (short.passage, short.shard) = (Some(passage), wanted.tracker);
    }
}
