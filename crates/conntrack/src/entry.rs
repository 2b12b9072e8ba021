//! Connections as they are stored: in one cache line, which is all that a packet of IPv4 needs of its connection.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::{Instant, IpProtocol};

use crate::record::{Connection, Endpoint, Pass, Side, State};
use crate::slab::Record;
use crate::tuple::{Address, End, Tuple};
use crate::{Binding, Packet};

/// The address of an IPv4 address among those of IPv6, for ends of different families.
pub(crate) fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

fn addr_of(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).to_canonical()
}

/// Addresses that are too long for their records, in a place of their own.
#[derive(Debug)]
pub(crate) struct Wide<const N: usize> {
    addrs: Vec<[u128; N]>,
    free: Vec<u32>,
}

impl<const N: usize> Wide<N> {
    pub(crate) const fn new() -> Self {
        Self { addrs: Vec::new(), free: Vec::new() }
    }

    fn insert(&mut self, addrs: [u128; N]) -> u32 {
        if let Some(idx) = self.free.pop() {
            self.addrs[idx as usize] = addrs;
            return idx;
        }
        self.addrs.push(addrs);
        self.addrs.len() as u32 - 1
    }

    /// Puts addresses away, if they are not all of IPv4: what a record has of them, and whether it has only their place.
    pub(crate) fn pack(&mut self, addrs: [IpAddr; N]) -> ([u32; N], bool) {
        let mut words = [0; N];
        for (word, addr) in words.iter_mut().zip(addrs) {
            match addr {
                IpAddr::V4(addr) => *word = addr.to_bits(),
                IpAddr::V6(_) => {
                    words = [0; N];
                    words[0] = self.insert(addrs.map(bits));
                    return (words, true);
                }
            }
        }
        (words, false)
    }

    /// The addresses again.
    pub(crate) fn unpack(&self, words: [u32; N], is_wide: bool) -> [IpAddr; N] {
        match is_wide {
            true => self.addrs[words[0] as usize].map(addr_of),
            false => words.map(|word| Ipv4Addr::from_bits(word).into()),
        }
    }

    /// Gives the place back of what [`pack`](Self::pack) put away.
    pub(crate) fn remove(&mut self, words: [u32; N], is_wide: bool) {
        if is_wide {
            self.free.push(words[0]);
        }
    }

    #[inline(always)]
    fn get(&self, words: [u32; N]) -> &[u128; N] {
        &self.addrs[words[0] as usize]
    }
}

/// Flags of a connection.
pub(crate) mod flag {
    /// It is in use.
    pub const LIVE: u8 = 1;
    /// The outside sent its first packet.
    pub const FROM_OUTSIDE: u8 = 1 << 1;
    /// Was established once.
    pub const ASSURED: u8 = 1 << 2;
    /// Both ends have spoken.
    pub const ANSWERED: u8 = 1 << 3;
    /// Its outside port was chosen for it.
    pub const DYNAMIC: u8 = 1 << 4;
    /// Its addresses are elsewhere.
    pub const WIDE: u8 = 1 << 5;
}

/// A connection. What has a place for each side has that of the inside first.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Entry {
    pub deadline: Instant,
    /// Of the inside end, of what stands for it, and of the remote end; or the place of all three.
    pub addrs: [u32; 3],
    pub n_packets: [u32; 2],
    /// As the addresses.
    pub ports: [u16; 3],
    pub zones: [u16; 2],
    /// 48 bits each.
    n_bytes: [[u16; 3]; 2],
    /// The configuration that both passes are of.
    pass_config: u16,
    pass_inputs: [u16; 2],
    pass_outs: [u16; 2],
    pub protocol: IpProtocol,
    pub state: State,
    pub flags: u8,
}

/// No interface.
const NOWHERE: u16 = u16::MAX;

impl Entry {
    /// A connection that nothing was sent on.
    pub(crate) fn new(c: &Connection, wide: &mut Wide<3>) -> Self {
        let (addrs, is_wide) = wide.pack([c.inside.addr, c.outside.addr, c.remote.addr]);
        let mut flags = flag::LIVE;
        for (flag, is) in [
            (flag::FROM_OUTSIDE, c.origin == Side::Outside),
            (flag::ANSWERED, c.answered),
            (flag::DYNAMIC, c.dynamic),
            (flag::WIDE, is_wide),
        ] {
            flags |= if is { flag } else { 0 };
        }
        Self {
            deadline: c.deadline,
            addrs,
            n_packets: [0; 2],
            ports: [c.inside.port, c.outside.port, c.remote.port],
            zones: [c.zone, c.outside_zone],
            n_bytes: [[0; 3]; 2],
            pass_config: 0,
            pass_inputs: [NOWHERE; 2],
            pass_outs: [NOWHERE; 2],
            protocol: c.protocol,
            state: c.state,
            flags,
        }
    }

    #[inline(always)]
    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) const fn origin(&self) -> Side {
        if self.has(flag::FROM_OUTSIDE) { Side::Outside } else { Side::Inside }
    }

    /// A packet that comes from this side belongs to it.
    pub(crate) fn is_of(&self, wide: &Wide<3>, side: Side, packet: &Packet) -> bool {
        let Packet { zone, protocol, src, dst, .. } = *packet;
        match (src.addr, dst.addr) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let (src, dst) = ((a.to_bits(), src.port), (b.to_bits(), dst.port));
                self.has_ends(wide, side, &Tuple { zone, protocol, src, dst })
            }
            (a, b) => {
                let (src, dst) = ((bits(a), src.port), (bits(b), dst.port));
                self.has_ends(wide, side, &Tuple { zone, protocol, src, dst })
            }
        }
    }

    /// The same of a packet of one family.
    #[inline(always)]
    pub(crate) fn has_ends<A: Address>(&self, wide: &Wide<3>, side: Side, tuple: &Tuple<A>) -> bool {
        let ((near, near_port), (far, far_port)) = tuple.seen_from(side);
        let at = side as usize;
        let ends = (self.ports[at], self.ports[2], self.zones[at], self.protocol);
        if ends != (near_port, far_port, tuple.zone, tuple.protocol) || self.has(flag::WIDE) != A::IS_WIDE {
            return false;
        }
        if A::IS_WIDE {
            let addrs = wide.get(self.addrs);
            (addrs[at], addrs[2]) == (near.bits(), far.bits())
        } else {
            (self.addrs[at], self.addrs[2]) == (near.bits() as u32, far.bits() as u32)
        }
    }

    /// What becomes of the source of a packet from the inside, or of the destination of one from the outside.
    pub(crate) fn beyond(&self, wide: &Wide<3>, side: Side) -> Endpoint {
        let addrs = wide.unpack(self.addrs, self.has(flag::WIDE));
        let at = 1 - side as usize;
        Endpoint::new(addrs[at], self.ports[at])
    }

    /// The same of a connection whose packets are of this family.
    #[inline(always)]
    pub(crate) fn end_beyond<A: Address>(&self, wide: &Wide<3>, side: Side) -> End<A> {
        let at = 1 - side as usize;
        let bits = if A::IS_WIDE { wide.get(self.addrs)[at] } else { self.addrs[at].into() };
        (A::of_bits(bits), self.ports[at])
    }

    /// Counts what was sent from this side.
    #[inline(always)]
    pub(crate) fn count(&mut self, side: Side, n_packets: u32, len: u32) {
        let at = side as usize;
        self.n_packets[at] = self.n_packets[at].wrapping_add(n_packets);
        let n = self.n_bytes(at) + u64::from(len);
        self.n_bytes[at] = [n as u16, (n >> 16) as u16, (n >> 32) as u16];
    }

    #[inline(always)]
    fn n_bytes(&self, at: usize) -> u64 {
        let [a, b, c] = self.n_bytes[at].map(u64::from);
        a | b << 16 | c << 32
    }

    /// Where packets from this side leave that come in by `input` under this configuration, if that is known.
    #[inline(always)]
    pub(crate) fn pass(&self, side: Side, (config, input): (u16, u16)) -> Option<u16> {
        let at = side as usize;
        let is_known = self.pass_config == config && self.pass_inputs[at] == input && input != NOWHERE;
        is_known.then_some(self.pass_outs[at])
    }

    pub(crate) fn set_pass(&mut self, side: Side, pass: Pass) {
        if self.pass_config != pass.config {
            (self.pass_config, self.pass_inputs) = (pass.config, [NOWHERE; 2]);
        }
        (self.pass_inputs[side as usize], self.pass_outs[side as usize]) = (pass.input, pass.out);
    }

    /// No pass is known any more.
    pub(crate) fn forget_passes(&mut self) {
        self.pass_inputs = [NOWHERE; 2];
    }

    /// What others are shown of it.
    pub(crate) fn view(&self, wide: &Wide<3>) -> Connection {
        let [inside, outside, remote] = wide.unpack(self.addrs, self.has(flag::WIDE));
        Connection {
            zone: self.zones[0],
            outside_zone: self.zones[1],
            protocol: self.protocol,
            state: self.state,
            origin: self.origin(),
            inside: Endpoint::new(inside, self.ports[0]),
            outside: Endpoint::new(outside, self.ports[1]),
            remote: Endpoint::new(remote, self.ports[2]),
            deadline: self.deadline,
            n_packets: self.n_packets,
            n_bytes: [self.n_bytes(0), self.n_bytes(1)],
            answered: self.has(flag::ANSWERED),
            dynamic: self.has(flag::DYNAMIC),
        }
    }
}

impl Record for Entry {
    fn is_live(&self) -> bool {
        self.has(flag::LIVE)
    }
    fn clear(&mut self) {
        self.flags = 0;
    }
}

/// A binding as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindingEntry {
    /// End of its hold time.
    pub held_until: Instant,
    /// Of the inside end and of what stands for it, or the place of both.
    addrs: [u32; 2],
    pub n_connections: u32,
    /// A remote address of IPv4 that it has connections with, and how many. Further ones are among the permits.
    first_remote: u32,
    first_n: u32,
    ports: [u16; 2],
    zones: [u16; 2],
    pub protocol: IpProtocol,
    is_live: bool,
    is_wide: bool,
}

impl BindingEntry {
    pub(crate) fn new(b: &Binding, held_until: Instant, wide: &mut Wide<2>) -> Self {
        let (addrs, is_wide) = wide.pack([b.inside.addr, b.outside.addr]);
        Self {
            held_until,
            addrs,
            n_connections: b.n_connections,
            first_remote: 0,
            first_n: 0,
            ports: [b.inside.port, b.outside.port],
            zones: [b.zone, b.outside_zone],
            protocol: b.protocol,
            is_live: true,
            is_wide,
        }
    }

    pub(crate) fn view(&self, wide: &Wide<2>) -> Binding {
        let [inside, outside] = wide.unpack(self.addrs, self.is_wide);
        Binding {
            zone: self.zones[0],
            outside_zone: self.zones[1],
            protocol: self.protocol,
            inside: Endpoint::new(inside, self.ports[0]),
            outside: Endpoint::new(outside, self.ports[1]),
            n_connections: self.n_connections,
        }
    }

    /// Gives its place for long addresses back.
    pub(crate) fn release(&self, wide: &mut Wide<2>) {
        wide.remove(self.addrs, self.is_wide);
    }

    /// Has connections with this remote address, as far as it knows by itself.
    pub(crate) fn permits(&self, remote: IpAddr) -> bool {
        matches!(remote, IpAddr::V4(addr) if self.first_n > 0 && addr.to_bits() == self.first_remote)
    }

    /// Notes one more connection with a remote address, if it can.
    pub(crate) fn permit(&mut self, remote: IpAddr) -> bool {
        let IpAddr::V4(addr) = remote else { return false };
        if self.first_n == 0 {
            self.first_remote = addr.to_bits();
        }
        let is_first = addr.to_bits() == self.first_remote;
        self.first_n += u32::from(is_first);
        is_first
    }

    /// Notes one less.
    pub(crate) fn withdraw(&mut self) {
        self.first_n = self.first_n.saturating_sub(1);
    }
}

impl Record for BindingEntry {
    fn is_live(&self) -> bool {
        self.is_live
    }
    fn clear(&mut self) {
        self.is_live = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_as_large_as_the_documents_say() {
        // docs/limits.md, conntrack.
        assert_eq!((size_of::<Entry>(), size_of::<BindingEntry>()), (64, 40));
    }

    #[test]
    fn addresses_come_back_as_they_were() {
        let v4: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
        let v6: IpAddr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into();
        let mut wide = Wide::<2>::new();
        for addrs in [[v4, v4], [v6, v6], [v4, v6], [v6, v4]] {
            let (words, is_wide) = wide.pack(addrs);
            assert_eq!(wide.unpack(words, is_wide), addrs);
            assert_eq!(is_wide, addrs != [v4, v4]);
            wide.remove(words, is_wide);
        }
        assert_eq!(wide.addrs.len(), 1, "one place was used again and again");
    }
}
