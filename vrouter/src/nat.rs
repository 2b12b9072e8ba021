//! The rules of address translation, made ready.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use conntrack::{Connection, Endpoint};
use packet::IpProtocol;

use crate::config::{ConfigError, NatRule, Transport};
use crate::snapshot::{IfIndex, Snapshot};
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
    address: Ipv4Addr,
}

impl Masquerade {
    fn covers(&self, inside: Ipv4Addr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|p| p.contains_v4(inside))
    }
}

#[derive(Debug)]
struct OneToOne {
    interface: IfIndex,
    outside: Ipv4Addr,
    inside: Ipv4Addr,
}

type Service = (u8, Endpoint);

#[derive(Debug, Default)]
pub(crate) struct NatTable {
    masquerades: Vec<Masquerade>,
    /// Outside service to inside endpoint.
    forwards: BTreeMap<Service, Endpoint>,
    /// Inside service to the interface and outside endpoint it has there.
    served: BTreeMap<Service, (IfIndex, Endpoint)>,
    one_to_one: Vec<OneToOne>,
    exempt: Vec<(Prefix, Prefix)>,
    /// Addresses that inside endpoints may hide behind, and their interfaces.
    outsides: BTreeMap<Ipv4Addr, IfIndex>,
}

impl NatTable {
    pub(crate) fn compile(snapshot: &Snapshot, rules: &[NatRule]) -> Result<Self, ConfigError> {
        let mut table = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            table.add(snapshot, index, rule)?;
        }
        Ok(table)
    }

    fn add(&mut self, snapshot: &Snapshot, index: usize, rule: &NatRule) -> Result<(), ConfigError> {
        let bad = |reason: String| ConfigError::BadNat { index, reason };
        let place = |field: &'static str| move || format!("nat[{index}].{field}");
        match rule {
            NatRule::Masquerade { out, sources } => {
                let out = snapshot.interface_named(out, place("out"))?;
                let interface = snapshot.interface(out);
                let first = interface.addresses.first();
                let (address, _) =
                    *first.ok_or_else(|| bad(format!("\"{}\" has no IPv4 address", interface.name)))?;
                self.outsides.insert(address, out);
                self.masquerades.push(Masquerade { out, sources: sources.clone(), address });
            }
            NatRule::PortForward { input, protocol, port, to } => {
                let input = snapshot.interface_named(input, place("in"))?;
                let interface = snapshot.interface(input);
                if *port == 0 || to.1 == 0 {
                    return Err(bad("port 0 cannot be forwarded".into()));
                }
                if interface.addresses.is_empty() {
                    return Err(bad(format!("\"{}\" has no IPv4 address", interface.name)));
                }
                let (number, inside) = (protocol.protocol().0, Endpoint::new(to.0, to.1));
                for (own, _) in &interface.addresses {
                    let outside = Endpoint::new(*own, *port);
                    if self.forwards.insert((number, outside), inside).is_some() {
                        return Err(bad(format!("port {port} of {own} is forwarded twice")));
                    }
                    self.served.entry((number, inside)).or_insert((input, outside));
                    self.outsides.insert(*own, input);
                }
            }
            NatRule::OneToOne { interface, outside, inside } => {
                let interface = snapshot.interface_named(interface, place("interface"))?;
                if self.one_to_one.iter().any(|r| r.outside == *outside || r.inside == *inside) {
                    return Err(bad(format!("{outside} or {inside} is in another one-to-one rule")));
                }
                self.outsides.insert(*outside, interface);
                self.one_to_one.push(OneToOne { interface, outside: *outside, inside: *inside });
            }
            NatRule::Exempt { source, destination } => self.exempt.push((*source, *destination)),
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outsides.is_empty()
    }

    /// The interface whose outside address this is.
    pub(crate) fn outside(&self, addr: Ipv4Addr) -> Option<IfIndex> {
        self.outsides.get(&addr).copied()
    }

    /// Whether packets between these are left alone.
    pub(crate) fn is_exempt(&self, src: Ipv4Addr, dst: Ipv4Addr) -> bool {
        self.exempt.iter().any(|(s, d)| s.contains_v4(src) && d.contains_v4(dst))
    }

    /// The address that `src` hides behind when it leaves by `out`.
    pub(crate) fn masquerade(&self, out: IfIndex, src: Ipv4Addr) -> Option<Ipv4Addr> {
        self.masquerades.iter().find(|m| m.out == out && m.covers(src)).map(|m| m.address)
    }

    /// Whether `dst` hides behind `arrival` and must not be reached from there by its own address.
    pub(crate) fn hides(&self, arrival: IfIndex, src: Ipv4Addr, dst: Ipv4Addr) -> bool {
        self.masquerade(arrival, dst).is_some() && !self.is_exempt(src, dst) && !self.is_exempt(dst, src)
    }

    /// The inside endpoint behind an outside service.
    pub(crate) fn forward(&self, protocol: IpProtocol, outside: Endpoint) -> Option<Endpoint> {
        self.forwards.get(&(protocol.0, outside)).copied()
    }

    /// The outside endpoint and interface of an inside service.
    pub(crate) fn service_of(&self, protocol: IpProtocol, inside: Endpoint) -> Option<(IfIndex, Endpoint)> {
        self.served.get(&(protocol.0, inside)).copied()
    }

    /// The inside address that an outside one stands for.
    pub(crate) fn whole_inside(&self, outside: Ipv4Addr) -> Option<Ipv4Addr> {
        self.one_to_one.iter().find(|r| r.outside == outside).map(|r| r.inside)
    }

    /// The outside address that stands for an inside one on `out`.
    pub(crate) fn whole_outside(&self, out: IfIndex, inside: Ipv4Addr) -> Option<Ipv4Addr> {
        self.one_to_one.iter().find(|r| r.interface == out && r.inside == inside).map(|r| r.outside)
    }

    /// An address the router answers ARP for on `interface` although it is none of its own.
    pub(crate) fn is_proxied(&self, interface: IfIndex, addr: Ipv4Addr) -> bool {
        self.one_to_one.iter().any(|r| r.interface == interface && r.outside == addr)
    }

    /// Outside ports that no binding may take.
    pub(crate) fn reserved(&self) -> Vec<(IpProtocol, Endpoint)> {
        self.forwards.keys().map(|(protocol, outside)| (IpProtocol(*protocol), *outside)).collect()
    }

    /// Whether the rules still give this connection the translation it has.
    pub(crate) fn allows(&self, c: &Connection) -> bool {
        if c.inside == c.outside {
            return true;
        }
        match self.forward(c.protocol, c.outside) {
            Some(inside) => inside == c.inside,
            None if !c.is_bound() => false,
            None => {
                let masqueraded =
                    self.masquerades.iter().any(|m| m.address == c.outside.addr && m.covers(c.inside.addr));
                masqueraded && !self.is_exempt(c.inside.addr, c.remote.addr)
            }
        }
    }

    /// Port forwards, as bindings.
    pub(crate) fn fixed_bindings(&self) -> impl Iterator<Item = BindingInfo> + '_ {
        self.forwards.iter().map(|((protocol, outside), inside)| BindingInfo {
            protocol: *protocol,
            inside: (inside.addr, inside.port),
            outside: (outside.addr, outside.port),
            fixed: true,
            n_connections: 0,
        })
    }
}
