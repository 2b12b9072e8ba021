//! A configuration made ready for forwarding; never changed once it is published.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;

use packet::{MacAddr, PortNo, VlanId};

use crate::config::{ConfigError, RouteTarget, RouterConfig, Tuning};
use crate::fib::{Entry, Fib};
use crate::firewall::Firewall;
use crate::nat::NatTable;
use crate::{InterfaceConfig, Prefix, RouteInfo, RouteSource};

/// Place of an interface in its snapshot.
pub(crate) type IfIndex = u16;

#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Counts configurations; messages that name interfaces carry it.
    pub generation: u64,
    pub interfaces: Vec<Interface>,
    by_port: BTreeMap<(PortNo, Option<VlanId>), IfIndex>,
    fib: Fib,
    hops: Vec<Hop>,
    pub routes: Vec<RouteInfo>,
    pub nat: NatTable,
    pub firewall: Firewall,
    pub statics: Vec<(IfIndex, Ipv4Addr, MacAddr)>,
    pub tuning: Tuning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub name: String,
    pub port: Option<PortNo>,
    pub vlan: Option<VlanId>,
    pub mac: MacAddr,
    pub mtu: u16,
    /// IPv4 addresses with their networks.
    pub addresses: Vec<(Ipv4Addr, Prefix)>,
}

impl Interface {
    /// The network of this interface that holds `addr`, and the interface's own address there.
    pub(crate) fn network_of(&self, addr: Ipv4Addr) -> Option<(Ipv4Addr, Prefix)> {
        self.addresses.iter().find(|(_, net)| net.contains_v4(addr)).copied()
    }

    /// Own address to speak to `addr` from.
    pub(crate) fn address_for(&self, addr: Ipv4Addr) -> Option<Ipv4Addr> {
        self.network_of(addr).or_else(|| self.addresses.first().copied()).map(|(own, _)| own)
    }

    pub(crate) fn has(&self, addr: Ipv4Addr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == addr)
    }
}

/// What a route comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// An address of this router, on that interface.
    Local(IfIndex),
    /// All stations of a network; not forwarded (RFC 2644).
    Broadcast,
    /// The destination is a neighbour there.
    Connected(IfIndex),
    /// That neighbour takes it on.
    Gateway(IfIndex, Ipv4Addr),
    Blackhole,
    Unreachable,
    Prohibit,
}

impl Snapshot {
    /// Checks a configuration and makes it ready.
    pub(crate) fn compile(config: &RouterConfig, generation: u64) -> Result<Self, ConfigError> {
        let mut snapshot = Self { generation, tuning: config.tuning.clone(), ..Self::default() };
        for (index, interface) in config.interfaces.iter().enumerate() {
            snapshot.add_interface(index, interface)?;
        }
        let mut entries = Vec::new();
        snapshot.add_own_routes(&mut entries);
        snapshot.add_static_routes(config, &mut entries)?;
        snapshot.fib = Fib::new(entries);
        for (index, neighbour) in config.neighbours.iter().enumerate() {
            let place = || format!("neighbours[{index}].interface");
            let interface = snapshot.interface_named(&neighbour.interface, place)?;
            if let IpAddr::V4(addr) = neighbour.address {
                snapshot.statics.push((interface, addr, neighbour.mac));
            }
        }
        snapshot.nat = NatTable::compile(&snapshot, &config.nat)?;
        snapshot.firewall = Firewall::compile(&snapshot, &config.firewall)?;
        Ok(snapshot)
    }

    fn add_interface(&mut self, index: usize, config: &InterfaceConfig) -> Result<(), ConfigError> {
        if self.interfaces.iter().any(|i| i.name == config.name) {
            return Err(ConfigError::DuplicateName { index, name: config.name.clone() });
        }
        if !config.mac.is_unicast() {
            return Err(ConfigError::BadMac { index, mac: config.mac });
        }
        if config.mtu < 68 {
            return Err(ConfigError::BadMtu { index, mtu: config.mtu });
        }
        if let Some(port) = config.port {
            if let Some(other) = self.by_port.get(&(port, config.vlan)) {
                let other = self.interfaces[usize::from(*other)].name.clone();
                return Err(ConfigError::DuplicatePort { index, port, other });
            }
            self.by_port.insert((port, config.vlan), index as IfIndex);
        }
        let mut addresses = Vec::new();
        for &(addr, len) in &config.addresses {
            let net = Prefix::new(addr, len).map_err(|source| ConfigError::BadLength { index, source })?;
            let IpAddr::V4(own) = addr else { continue };
            let group = own.is_multicast() || own.is_broadcast() || own.is_unspecified() || own.is_loopback();
            let no_host = len < 31 && (net.broadcast() == Some(own) || net.addr() == addr);
            if group || no_host {
                return Err(ConfigError::BadAddress { index, addr });
            }
            if let Some(other) = self.interfaces.iter().find(|i| i.has(own)) {
                return Err(ConfigError::DuplicateAddress { index, addr, other: other.name.clone() });
            }
            addresses.push((own, net));
        }
        let InterfaceConfig { name, port, vlan, mac, mtu, .. } = config.clone();
        self.interfaces.push(Interface { name, port, vlan, mac, mtu, addresses });
        Ok(())
    }

    fn add_route(&mut self, entries: &mut Vec<Entry>, hop: Hop, route: RouteInfo) {
        if let IpAddr::V4(addr) = route.to.addr() {
            let value = self.hops.len() as u32;
            entries.push(Entry { addr: addr.to_bits(), len: route.to.prefix_len(), value });
            self.hops.push(hop);
        }
        if hop != Hop::Broadcast {
            self.routes.push(route);
        }
    }

    /// Own addresses, then networks and their broadcast addresses: before static routes, so that they win.
    fn add_own_routes(&mut self, entries: &mut Vec<Entry>) {
        let interfaces = self.interfaces.clone();
        for (index, interface) in (0..).zip(&interfaces) {
            let target = || RouteTarget::Interface(interface.name.clone());
            for (own, _) in &interface.addresses {
                let to = Prefix::new((*own).into(), 32).expect("32 bits fit IPv4");
                let route = RouteInfo { to, target: target(), source: RouteSource::Local, metric: 0 };
                self.add_route(entries, Hop::Local(index), route);
            }
            // A loopback holds addresses, it leads nowhere.
            let nets = interface.addresses.iter().filter(|_| interface.port.is_some());
            for (_, net) in nets {
                let route =
                    RouteInfo { to: *net, target: target(), source: RouteSource::Connected, metric: 0 };
                self.add_route(entries, Hop::Connected(index), route);
                if let Some(broadcast) = net.broadcast() {
                    for addr in [broadcast.into(), net.addr()] {
                        let to = Prefix::new(addr, 32).expect("32 bits fit IPv4");
                        let source = RouteSource::Connected;
                        let route = RouteInfo { to, target: target(), source, metric: 0 };
                        self.add_route(entries, Hop::Broadcast, route);
                    }
                }
            }
        }
    }

    fn add_static_routes(
        &mut self,
        config: &RouterConfig,
        entries: &mut Vec<Entry>,
    ) -> Result<(), ConfigError> {
        let mut order: Vec<usize> = (0..config.routes.len()).collect();
        order.sort_by_key(|i| config.routes[*i].metric);
        for index in order {
            let route = &config.routes[index];
            let (hop, target) = self.resolve(index, route.to, &route.target)?;
            let info = RouteInfo { to: route.to, target, source: RouteSource::Static, metric: route.metric };
            self.add_route(entries, hop, info);
        }
        Ok(())
    }

    fn resolve(
        &self,
        index: usize,
        to: Prefix,
        target: &RouteTarget,
    ) -> Result<(Hop, RouteTarget), ConfigError> {
        let hop = match target {
            RouteTarget::Blackhole => Hop::Blackhole,
            RouteTarget::Unreachable => Hop::Unreachable,
            RouteTarget::Prohibit => Hop::Prohibit,
            RouteTarget::Interface(name) => {
                Hop::Connected(self.interface_named(name, || format!("routes[{index}].dev"))?)
            }
            RouteTarget::Via { gateway, interface } => {
                if gateway.is_ipv4() != to.addr().is_ipv4() {
                    return Err(ConfigError::FamilyMismatch { index, gateway: *gateway, to });
                }
                let named = match interface {
                    Some(name) => Some(self.interface_named(name, || format!("routes[{index}].dev"))?),
                    None => None,
                };
                let IpAddr::V4(via) = *gateway else { return Ok((Hop::Unreachable, target.clone())) };
                let on_link = |i: &Interface| i.port.is_some() && i.network_of(via).is_some() && !i.has(via);
                let found = self.interfaces.iter().position(on_link).map(|at| at as IfIndex);
                let unreachable = ConfigError::GatewayUnreachable { index, gateway: *gateway };
                let at = named.or(found).ok_or(unreachable)?;
                let interface = Some(self.interfaces[usize::from(at)].name.clone());
                return Ok((Hop::Gateway(at, via), RouteTarget::Via { gateway: *gateway, interface }));
            }
        };
        Ok((hop, target.clone()))
    }

    /// The place of an interface, or an error that says where it was named and what was perhaps meant.
    pub(crate) fn interface_named(
        &self,
        name: &str,
        place: impl FnOnce() -> String,
    ) -> Result<IfIndex, ConfigError> {
        let found = self.interfaces.iter().position(|i| i.name == name);
        found.map(|at| at as IfIndex).ok_or_else(|| {
            let names: Vec<&str> = self.interfaces.iter().map(|i| i.name.as_str()).collect();
            let hint = match names.as_slice() {
                [] => String::new(),
                names => format!("; there are: {}", names.join(", ")),
            };
            ConfigError::NoInterface { place: place(), name: name.to_owned(), hint }
        })
    }

    pub(crate) fn interface(&self, index: IfIndex) -> &Interface {
        &self.interfaces[usize::from(index)]
    }

    /// The interface that takes frames of a port and VLAN.
    pub(crate) fn interface_at(&self, port: PortNo, vlan: Option<VlanId>) -> Option<IfIndex> {
        self.by_port.get(&(port, vlan)).copied()
    }

    pub(crate) fn route(&self, addr: Ipv4Addr) -> Option<Hop> {
        self.fib.lookup(addr.to_bits()).map(|value| self.hops[value as usize])
    }

    pub(crate) fn is_own(&self, addr: Ipv4Addr) -> bool {
        matches!(self.route(addr), Some(Hop::Local(_)))
    }
}
