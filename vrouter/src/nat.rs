//! The rules of address translation, made ready.

use core::net::IpAddr;
use core::ops::RangeInclusive;
use std::collections::{BTreeMap, BTreeSet};

use conntrack::{Connection, Endpoint, Sharing};
use lookup::mix;
use packet::IpProtocol;

use crate::config::{ConfigError, NatRule, Transport};
use crate::fib::{Own, VrfId};
use crate::snapshot::{Base, IfIndex};
use crate::{BindingInfo, Prefix};

impl Transport {
    pub(crate) fn protocol(self) -> IpProtocol {
        match self {
            Self::Tcp => IpProtocol::TCP,
            Self::Udp => IpProtocol::UDP,
        }
    }
}

#[derive(Debug)]
struct Masquerade {
    out: IfIndex,
    sources: Vec<Prefix>,
    addresses: Vec<IpAddr>,
    /// What of their scores they have by themselves.
    seeds: Vec<u64>,
    /// They are a pool, of which each inside address has one.
    is_pool: bool,
    sharing: Sharing,
    portless: bool,
}

impl Masquerade {
    /// Without sources all of IPv4 hides: IPv6 has addresses enough and hides only where it is named.
    fn covers(&self, inside: IpAddr) -> bool {
        match self.sources.as_slice() {
            [] => inside.is_ipv4(),
            sources => sources.iter().any(|p| p.contains(inside)),
        }
    }

    /// The address that stands for an inside one. Of a pool always the same for the same inside address (RFC 4787
    /// REQ-2): the one with the highest score, so that an address more or less moves as few as possible.
    fn address(&self, inside: IpAddr) -> Option<IpAddr> {
        let is_alike = |outside: &IpAddr| outside.is_ipv4() == inside.is_ipv4();
        if !self.is_pool {
            return self.addresses.iter().copied().find(is_alike);
        }
        let inside = fold(inside);
        let alike = self.addresses.iter().zip(&self.seeds).filter(|(outside, _)| is_alike(outside));
        alike.max_by_key(|(_, seed)| mix(*seed ^ inside)).map(|(outside, _)| *outside)
    }
}

fn fold(addr: IpAddr) -> u64 {
    match addr {
        IpAddr::V4(addr) => u64::from(addr.to_bits()),
        IpAddr::V6(addr) => (addr.to_bits() >> 64) as u64 ^ (addr.to_bits() as u64).rotate_left(23),
    }
}

#[derive(Debug)]
struct OneToOne {
    interface: IfIndex,
    outside: IpAddr,
    inside: IpAddr,
}

/// An endpoint of a VRF and protocol.
type Service = (VrfId, u8, Endpoint);

#[derive(Debug, Default)]
pub(crate) struct NatTable {
    masquerades: Vec<Masquerade>,
    /// Outside service to inside endpoint.
    forwards: BTreeMap<Service, (VrfId, Endpoint)>,
    /// Ports of whomever that go elsewhere: to another port, or to this router.
    redirects: BTreeMap<(IfIndex, u8, u16), Option<u16>>,
    /// Inside service to the interface and outside endpoint it has there.
    served: BTreeMap<Service, (IfIndex, Endpoint)>,
    /// Inside services that have one for connections from outside alone.
    answering: BTreeSet<Service>,
    one_to_one: Vec<OneToOne>,
    exempt: Vec<(Prefix, Prefix)>,
    /// Addresses that inside endpoints may hide behind, and their interfaces.
    outsides: BTreeMap<(VrfId, IpAddr), IfIndex>,
    /// Addresses that may be among them: most are not.
    maybe_outside: Own,
    /// Of them, those of pools that no interface has.
    pooled: BTreeMap<(VrfId, IpAddr), IfIndex>,
    /// Ports that no inside endpoint gets.
    kept: Vec<(VrfId, IpAddr, RangeInclusive<u16>)>,
}

impl NatTable {
    pub(crate) fn compile(base: &Base, rules: &[NatRule]) -> Result<Self, ConfigError> {
        let mut table = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            table.add(base, index, rule)?;
        }
        table.outsides.keys().for_each(|(_, addr)| table.maybe_outside.insert_addr(*addr));
        Ok(table)
    }

    fn add(&mut self, base: &Base, index: usize, rule: &NatRule) -> Result<(), ConfigError> {
        let bad = |reason: String| ConfigError::BadNat { index, reason };
        let place = |field: &'static str| move || format!("nat[{index}].{field}");
        match rule {
            NatRule::Masquerade { out, sources, pool, sharing, portless } => {
                let out = base.interface_named(out, place("out"))?;
                let addresses = match pool.as_slice() {
                    [] => base.interface(out).addresses.iter().map(|(own, _)| *own).collect(),
                    pool => pool.to_vec(),
                };
                let (is_pool, sharing, portless) = (!pool.is_empty(), *sharing, *portless);
                let sources = sources.clone();
                let seeds = addresses.iter().map(|addr| mix(fold(*addr))).collect();
                let rule = Masquerade { out, sources, addresses, seeds, is_pool, sharing, portless };
                self.add_masquerade(base, index, rule)?;
            }
            NatRule::PortForward { input, protocol, port, to, inbound_only, vrf: inside_vrf } => {
                let input = base.interface_named(input, place("in"))?;
                let vrf = match inside_vrf {
                    Some(name) => {
                        base.vrf_named(index, Some(name)).map_err(|_| bad(format!("no VRF \"{name}\"")))?
                    }
                    None => base.interface(input).vrf,
                };
                let inside = (vrf, Endpoint::new(to.0, to.1));
                self.add_forward(base, index, (input, protocol.protocol(), *port), (inside, *inbound_only))?;
            }
            NatRule::Redirect { input, protocol, port, to } => {
                let input = base.interface_named(input, place("in"))?;
                if *port == 0 || *to == Some(0) {
                    return Err(bad("port 0 cannot be redirected".into()));
                }
                if self.redirects.insert((input, protocol.protocol().0, *port), *to).is_some() {
                    return Err(bad(format!("port {port} is redirected twice")));
                }
            }
            NatRule::OneToOne { interface, outside, inside } => {
                let interface = base.interface_named(interface, place("interface"))?;
                let taken = |r: &OneToOne| r.outside == *outside || r.inside == *inside;
                if self.one_to_one.iter().any(taken) {
                    return Err(bad(format!("{outside} or {inside} is in another one-to-one rule")));
                }
                let (outside, inside) = (IpAddr::V4(*outside), IpAddr::V4(*inside));
                self.outsides.insert((base.interface(interface).vrf, outside), interface);
                self.one_to_one.push(OneToOne { interface, outside, inside });
            }
            NatRule::Reserve { interface, address, ports: (first, last) } => {
                let interface = base.interface_named(interface, place("interface"))?;
                if first > last {
                    return Err(bad("the first port is above the last".into()));
                }
                self.kept.push((base.interface(interface).vrf, *address, *first..=*last));
            }
            NatRule::Exempt { source, destination } => self.exempt.push((*source, *destination)),
        }
        Ok(())
    }

    fn add_masquerade(&mut self, base: &Base, index: usize, rule: Masquerade) -> Result<(), ConfigError> {
        let bad = |reason: String| ConfigError::BadNat { index, reason };
        let interface = base.interface(rule.out);
        for address in rule.addresses.iter().filter(|_| rule.is_pool) {
            if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
                return Err(bad(format!("{address} cannot be an outside address")));
            }
            self.outsides.insert((interface.vrf, *address), rule.out);
            if !interface.has(*address) {
                self.pooled.insert((interface.vrf, *address), rule.out);
            }
        }
        let hidden = match rule.sources.as_slice() {
            [] => vec![IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED)],
            sources => sources.iter().map(Prefix::addr).collect(),
        };
        for inside in hidden {
            let family = if inside.is_ipv4() { "IPv4" } else { "IPv6" };
            let none = || bad(format!("\"{}\" has no {family} address", interface.name));
            self.outsides.insert((interface.vrf, rule.address(inside).ok_or_else(none)?), rule.out);
        }
        self.masquerades.push(rule);
        Ok(())
    }

    /// What arrives at an interface's addresses for a port goes to an endpoint of a VRF; `inbound_only` that alone.
    fn add_forward(
        &mut self,
        base: &Base,
        index: usize,
        (input, protocol, port): (IfIndex, IpProtocol, u16),
        (to, inbound_only): ((VrfId, Endpoint), bool),
    ) -> Result<(), ConfigError> {
        let bad = |reason: String| ConfigError::BadNat { index, reason };
        let interface = base.interface(input);
        let (inside_vrf, inside) = to;
        if port == 0 || inside.port == 0 {
            return Err(bad("port 0 cannot be forwarded".into()));
        }
        let alike = |addr: &IpAddr| addr.is_ipv4() == inside.addr.is_ipv4();
        let owns: Vec<IpAddr> = interface.addresses.iter().map(|(own, _)| *own).filter(alike).collect();
        if owns.is_empty() {
            let family = if inside.addr.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(bad(format!("\"{}\" has no {family} address", interface.name)));
        }
        for own in owns {
            let outside = Endpoint::new(own, port);
            if self.forwards.insert((interface.vrf, protocol.0, outside), to).is_some() {
                return Err(bad(format!("port {port} of {own} is forwarded twice")));
            }
            if inbound_only {
                self.answering.insert((inside_vrf, protocol.0, inside));
            } else {
                self.served.entry((inside_vrf, protocol.0, inside)).or_insert((input, outside));
            }
            self.outsides.insert((interface.vrf, own), input);
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outsides.is_empty() && self.redirects.is_empty()
    }

    /// The interface whose outside address this is.
    pub(crate) fn outside(&self, vrf: VrfId, addr: IpAddr) -> Option<IfIndex> {
        if !self.maybe_outside.may_hold(addr) {
            return None;
        }
        self.outsides.get(&(vrf, addr)).copied()
    }

    /// Whether it could have an interface whose outside address it is.
    #[inline]
    pub(crate) fn may_be_outside(&self, addr: IpAddr) -> bool {
        self.maybe_outside.may_hold(addr)
    }

    /// Whether ports of others are redirected.
    pub(crate) fn has_redirects(&self) -> bool {
        !self.redirects.is_empty()
    }

    /// Whether packets between these are left alone.
    pub(crate) fn is_exempt(&self, src: IpAddr, dst: IpAddr) -> bool {
        self.exempt.iter().any(|(s, d)| s.contains(src) && d.contains(dst))
    }

    /// The address that `src` hides behind when it leaves by `out`.
    pub(crate) fn masquerade(&self, out: IfIndex, src: IpAddr) -> Option<(IpAddr, Sharing)> {
        let rule = self.masquerades.iter().find(|m| m.out == out && m.covers(src))?;
        Some((rule.address(src)?, rule.sharing))
    }

    /// Whether there is such an address; which one is chosen takes longer.
    pub(crate) fn masquerades(&self, out: IfIndex, src: IpAddr) -> bool {
        let rule = self.masquerades.iter().find(|m| m.out == out && m.covers(src));
        rule.is_some_and(|rule| rule.addresses.iter().any(|a| a.is_ipv4() == src.is_ipv4()))
    }

    /// Whether `dst` hides behind `arrival` and must not be reached from there by its own address.
    pub(crate) fn hides(&self, arrival: IfIndex, src: IpAddr, dst: IpAddr) -> bool {
        self.masquerades(arrival, dst) && !self.is_exempt(src, dst) && !self.is_exempt(dst, src)
    }

    /// The port that a port of somebody is redirected to, or this router, if it is.
    pub(crate) fn redirect(&self, input: IfIndex, protocol: IpProtocol, port: u16) -> Option<Option<u16>> {
        self.redirects.get(&(input, protocol.0, port)).copied()
    }

    /// Whether what comes from this port may belong to a connection that was redirected there.
    pub(crate) fn is_redirected(&self, protocol: IpProtocol, port: u16) -> bool {
        self.redirects.iter().any(|((_, number, _), to)| *number == protocol.0 && *to == Some(port))
    }

    /// Whether protocols without ports hide, too, when they leave by `out`.
    pub(crate) fn hides_portless(&self, out: IfIndex, src: IpAddr) -> bool {
        self.masquerades.iter().find(|m| m.out == out && m.covers(src)).is_some_and(|m| m.portless)
    }

    /// The inside endpoint behind an outside service, and its VRF.
    pub(crate) fn forward(
        &self,
        vrf: VrfId,
        protocol: IpProtocol,
        outside: Endpoint,
    ) -> Option<(VrfId, Endpoint)> {
        self.forwards.get(&(vrf, protocol.0, outside)).copied()
    }

    /// The outside endpoint and interface of an inside service.
    pub(crate) fn service_of(
        &self,
        vrf: VrfId,
        protocol: IpProtocol,
        inside: Endpoint,
    ) -> Option<(IfIndex, Endpoint)> {
        self.served.get(&(vrf, protocol.0, inside)).copied()
    }

    /// Whether what comes from there may belong to a connection that was forwarded there, though it begins none by that
    /// name itself.
    pub(crate) fn answers(&self, vrf: VrfId, protocol: IpProtocol, inside: Endpoint) -> bool {
        self.answering.contains(&(vrf, protocol.0, inside))
    }

    /// The inside address that an outside one stands for.
    pub(crate) fn whole_inside(&self, outside: IpAddr) -> Option<IpAddr> {
        self.one_to_one.iter().find(|r| r.outside == outside).map(|r| r.inside)
    }

    /// The outside address that stands for an inside one on `out`.
    pub(crate) fn whole_outside(&self, out: IfIndex, inside: IpAddr) -> Option<IpAddr> {
        self.one_to_one.iter().find(|r| r.interface == out && r.inside == inside).map(|r| r.outside)
    }

    /// An address the router answers ARP for on `interface` although it is none of its own.
    pub(crate) fn is_proxied(&self, interface: IfIndex, addr: IpAddr) -> bool {
        let is = |r: &OneToOne| r.interface == interface && r.outside == addr;
        self.one_to_one.iter().any(is) || self.pooled.iter().any(|((_, a), i)| (*a, *i) == (addr, interface))
    }

    /// Addresses of pools that are this router's though no interface has them.
    pub(crate) fn own_addresses(&self) -> impl Iterator<Item = (VrfId, IpAddr, IfIndex)> + '_ {
        self.pooled.iter().map(|((vrf, addr), interface)| (*vrf, *addr, *interface))
    }

    /// Outside ports that no binding may take.
    pub(crate) fn reserved(&self) -> Vec<(VrfId, IpProtocol, Endpoint)> {
        let forwards =
            self.forwards.keys().map(|(vrf, protocol, outside)| (*vrf, IpProtocol(*protocol), *outside));
        let kept = self.kept.iter().flat_map(|(vrf, addr, ports)| {
            let protocols = [IpProtocol::TCP, IpProtocol::UDP];
            ports.clone().flat_map(move |port| protocols.map(|p| (*vrf, p, Endpoint::new(*addr, port))))
        });
        forwards.chain(kept).collect()
    }

    /// Whether the rules still give this connection the translation it has.
    pub(crate) fn allows(&self, c: &Connection) -> bool {
        if c.inside == c.outside {
            return true;
        }
        match self.forward(c.outside_zone, c.protocol, c.outside) {
            Some((_, inside)) => inside == c.inside,
            None if c.inside.addr == c.outside.addr => self.redirects.iter().any(|(from, to)| {
                (from.1, from.2, *to) == (c.protocol.0, c.outside.port, Some(c.inside.port))
            }),
            None if !c.is_dynamic()
                && (c.outside.port != 0 || !self.masquerades.iter().any(|m| m.portless)) =>
            {
                false
            }
            None => {
                let masqueraded = self
                    .masquerades
                    .iter()
                    .any(|m| m.covers(c.inside.addr) && m.address(c.inside.addr) == Some(c.outside.addr));
                masqueraded && !self.is_exempt(c.inside.addr, c.remote.addr)
            }
        }
    }

    /// Port forwards, as bindings.
    pub(crate) fn fixed_bindings(&self) -> impl Iterator<Item = BindingInfo> + '_ {
        self.forwards.iter().map(|((_, protocol, outside), (_, inside))| BindingInfo {
            protocol: *protocol,
            inside: (inside.addr, inside.port),
            outside: (outside.addr, outside.port),
            fixed: true,
            n_connections: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn n15_inside_addresses_spread_over_a_pool() {
        let addresses: Vec<IpAddr> = (0..64).map(|n| Ipv4Addr::new(198, 51, 100, n).into()).collect();
        let rule = Masquerade {
            out: 0,
            sources: Vec::new(),
            seeds: addresses.iter().map(|addr| mix(fold(*addr))).collect(),
            addresses,
            is_pool: true,
            sharing: Sharing::default(),
            portless: false,
        };
        let mut counts = [0; 64];
        for inside in 0..6400 {
            let outside = rule.address(Ipv4Addr::from_bits(0x0a00_0002 + inside).into());
            let Some(IpAddr::V4(outside)) = outside else { panic!("an address of the pool") };
            counts[usize::from(outside.octets()[3])] += 1;
        }
        // A hundred each on average, with a deviation of ten.
        assert!(counts.iter().all(|n| (50..160).contains(n)), "{counts:?}");
    }
}
