//! What the packets of a batch will need, looked for in all of them before the first one is worked on: so that they wait
//! for memory together and not one after the other. Headers are read where they are if they are right; who uses what was
//! found compares it with what he wants.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use conntrack::{Endpoint, Shard, Side, Tracker};
use packet::{Frame, IpProtocol, ethernet, ipv4, ipv6};

use crate::fib::{SetId, VrfId};
use crate::shards::Shards;
use crate::snapshot::{IfIndex, Snapshot};

/// Packets of a batch that are looked at.
const MAX_FORESEEN: usize = 64;

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

/// Addresses of one family, with the places of their frames in a batch.
#[derive(Debug)]
struct Together<A> {
    addrs: [A; MAX_FORESEEN],
    places: [u8; MAX_FORESEEN],
    n: usize,
}

impl<A: Copy> Together<A> {
    fn new(zero: A) -> Self {
        Self { addrs: [zero; MAX_FORESEEN], places: [0; MAX_FORESEEN], n: 0 }
    }

    fn push(&mut self, place: usize, addr: A) {
        (self.addrs[self.n], self.places[self.n]) = (addr, place as u8);
        self.n += 1;
    }

    fn addrs(&self) -> &[A] {
        &self.addrs[..self.n]
    }

    fn with<'a>(&'a self, sets: &'a [Option<SetId>]) -> impl Iterator<Item = (usize, Option<SetId>, A)> + 'a {
        let each = self.places[..self.n].iter().zip(sets).zip(&self.addrs);
        each.map(|((place, set), addr)| (usize::from(*place), *set, *addr))
    }
}

/// Looks at the untagged packets of the first frame's port, for each frame in its place.
pub(crate) fn foresee(s: &Snapshot, shards: &Shards, batch: &[Frame]) -> [Foreseen; MAX_FORESEEN] {
    let mut foreseen = [Foreseen::default(); MAX_FORESEEN];
    let Some(first) = batch.first() else { return foreseen };
    let port = first.meta.in_port;
    let Some(interface) = s.interface_at(port, (None, None)) else { return foreseen };
    let batch = &batch[..batch.len().min(MAX_FORESEEN)];
    let alike = batch.iter().enumerate().filter(|(_, frame)| frame.meta.in_port == port);
    let vrf = s.interface(interface).vrf;
    let (mut v4, mut v6) = (Together::new(Ipv4Addr::UNSPECIFIED), Together::new(Ipv6Addr::UNSPECIFIED));
    for (at, frame) in alike {
        match destination(frame.head()) {
            Some(IpAddr::V4(dst)) => v4.push(at, dst),
            Some(IpAddr::V6(dst)) => v6.push(at, dst),
            None => {}
        }
    }
    let mut sets = [None; MAX_FORESEEN];
    s.fib.sets_v4(vrf, v4.addrs(), &mut sets[..v4.n]);
    for (at, set, dst) in v4.with(&sets) {
        foreseen[at] = Foreseen(Some((vrf, dst.into(), set)));
    }
    s.fib.sets_v6(vrf, v6.addrs(), &mut sets[..v6.n]);
    for (at, set, dst) in v6.with(&sets) {
        foreseen[at] = Foreseen(Some((vrf, dst.into(), set)));
    }
    if !s.nat.is_empty() || !s.firewall.is_empty() {
        fetch_connections(s, shards, batch, interface);
    }
    foreseen
}

/// The destination of an untagged frame, if it is IP.
#[inline(always)]
fn destination(frame: &[u8]) -> Option<IpAddr> {
    match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, 8, 0, packet @ ..] => {
            let dst: &[u8; 4] = packet.get(16..20)?.first_chunk()?;
            Some(Ipv4Addr::from(*dst).into())
        }
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, packet @ ..] => {
            let dst: &[u8; 16] = packet.get(24..40)?.first_chunk()?;
            Some(Ipv6Addr::from(*dst).into())
        }
        _ => None,
    }
}

/// Both ends of an untagged packet of TCP or UDP that is whole and has no options.
#[inline(always)]
fn ends(frame: &[u8]) -> Option<(IpProtocol, Endpoint, Endpoint)> {
    let packet = frame.get(ethernet::HEADER_LEN..)?;
    let port = |at: usize| Some(u16::from_be_bytes(*packet.get(at..at + 2)?.first_chunk()?));
    let (protocol, src, dst, ports_at): (_, IpAddr, IpAddr, _) = match *packet {
        [0x45, ..] => {
            let header = packet.first_chunk::<{ ipv4::MIN_HEADER_LEN }>()?;
            // Neither more fragments nor an offset.
            if [header[6] & 0x3f, header[7]] != [0, 0] {
                return None;
            }
            let addr = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
            (header[9], addr(12).into(), addr(16).into(), ipv4::MIN_HEADER_LEN)
        }
        [0x60..=0x6f, ..] => {
            let addr =
                |at: usize| packet.get(at..at + 16)?.first_chunk::<16>().map(|addr| Ipv6Addr::from(*addr));
            (*packet.get(6)?, addr(8)?.into(), addr(24)?.into(), ipv6::HEADER_LEN)
        }
        _ => return None,
    };
    let protocol = IpProtocol(protocol);
    let has_ports = matches!(protocol, IpProtocol::TCP | IpProtocol::UDP);
    let (src, dst) = (Endpoint::new(src, port(ports_at)?), Endpoint::new(dst, port(ports_at + 2)?));
    has_ports.then_some((protocol, src, dst))
}

/// Brings the records near that packets from `arrival` will be looked up in, by the shard that has them.
fn fetch_connections(s: &Snapshot, shards: &Shards, batch: &[Frame], arrival: IfIndex) {
    let zone = s.interface(arrival).vrf;
    let n_shards = shards.len() as u32;
    let mut wanted = [(0, Side::Inside, 0); 2 * MAX_FORESEEN];
    let mut n = 0;
    let mut want = |shard: u32, side: Side, hash: u64| {
        (wanted[n], n) = ((shard, side, hash), n + 1);
    };
    for (protocol, src, dst) in batch.iter().filter_map(|frame| ends(frame.head())) {
        if s.nat.outside(zone, dst.addr).is_some() {
            let shard = match s.nat.forward(zone, protocol, dst) {
                Some((vrf, inside)) => shards.index_of_inside(vrf, inside),
                None => Shard::of_port(dst.port, n_shards),
            };
            want(shard, Side::Outside, Tracker::hash_in(shards.seed, (zone, protocol), src, dst));
            continue;
        }
        let hash = Tracker::hash_out(shards.seed, (zone, protocol), src, dst);
        want(shards.index_of_inside(zone, src), Side::Inside, hash);
        if !s.firewall.is_empty() {
            // A reply, perhaps, to what was not translated.
            let hash = Tracker::hash_in(shards.seed, (zone, protocol), src, dst);
            want(shards.index_of_inside(zone, dst), Side::Outside, hash);
        }
    }
    let wanted = &wanted[..n];
    for shard in 0..n_shards {
        let of_shard = wanted.iter().filter(|(of, ..)| *of == shard).map(|(_, side, hash)| (*side, *hash));
        if of_shard.clone().next().is_some()
            && let Some(tracker) = shards.tracker(shard as usize)
        {
            tracker.fetch(of_shard);
        }
    }
}
