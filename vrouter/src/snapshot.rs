//! A configuration made ready for forwarding; never changed once it is published.

use core::net::{IpAddr, Ipv6Addr};
use core::ops::Deref;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use lookup::Secret;
use packet::{Instant, IpProtocol, MacAddr, PortNo, VlanId, nd};

use crate::config::{ConfigError, RouteTarget, RouterConfig, Tuning};
use crate::express::Exit;
use crate::fib::{Candidate, Fib, VrfId};
use crate::firewall::Firewall;
use crate::input::is_link_local;
use crate::limiter::Policer;
use crate::nat::NatTable;
use crate::policy::Policy;
use crate::service::{Listening, Plan};
use crate::{AdvertConfig, InterfaceConfig, NextHop, Prefix, RouteSource, SourceCheck, Timers};

mod vrfs;

pub(crate) use crate::fib::Hop;
pub(crate) use vrfs::MAIN_TABLE;

/// Place of an interface in its snapshot.
pub(crate) type IfIndex = u16;
/// Outer and inner tag of an interface's frames.
pub(crate) type Vlans = (Option<VlanId>, Option<VlanId>);
/// Addresses with their networks.
type Owned = Vec<(IpAddr, Prefix)>;

/// What a worker forwards by: the configuration, and the FIB, which changes more often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    base: Arc<Base>,
    pub fib: Arc<Fib>,
}

impl Deref for Snapshot {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.base
    }
}

#[derive(Debug, Default)]
pub(crate) struct Base {
    /// Counts configurations; messages that name interfaces carry it.
    pub generation: u64,
    pub interfaces: Vec<Interface>,
    /// By interface, for packets that need nothing special there.
    exits: Vec<Option<Exit>>,
    by_port: BTreeMap<(PortNo, Vlans), IfIndex>,
    /// Interfaces by the port to their shadow.
    shadows: BTreeMap<PortNo, IfIndex>,
    /// Names by number; the first has none.
    vrfs: Vec<String>,
    /// VRFs by the kernel's table that is theirs.
    pub tables: BTreeMap<u32, VrfId>,
    pub nat: NatTable,
    pub firewall: Firewall,
    pub policy: Policy,
    pub statics: Vec<(IfIndex, IpAddr, MacAddr)>,
    /// Of interfaces that only known stations may speak on.
    known: BTreeMap<(IfIndex, IpAddr), MacAddr>,
    policers: Vec<Option<Policer>>,
    pub listening: Listening,
    pub tuning: Tuning,
    /// Prefixes that are counted.
    pub counted: Vec<(VrfId, Prefix)>,
    /// For sharing flows out; the same with every configuration.
    secret: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub name: String,
    pub port: Option<PortNo>,
    pub vrf: VrfId,
    pub vlans: Vlans,
    pub mac: MacAddr,
    pub mtu: u16,
    /// Addresses with their networks.
    pub addresses: Owned,
    /// Its IPv6 address on the link, if it speaks IPv6.
    pub link_local: Option<Ipv6Addr>,
    pub source_check: SourceCheck,
    pub advert: Option<AdvertConfig>,
    pub clamp_mss: bool,
    pub known_only: bool,
    pub proxy: Vec<Prefix>,
    pub shadow: Option<PortNo>,
}

impl Interface {
    /// The network of this interface that holds `addr`, and the interface's own address there.
    pub(crate) fn network_of(&self, addr: IpAddr) -> Option<(IpAddr, Prefix)> {
        self.addresses.iter().find(|(_, net)| net.contains(addr)).copied()
    }

    /// Whether `addr` is a neighbour's if it is anyone's here.
    pub(crate) fn is_on_link(&self, addr: IpAddr) -> bool {
        match is_link_local(addr) {
            true => self.link_local.is_some(),
            false => self.network_of(addr).is_some(),
        }
    }

    /// Own address to speak to `addr` from.
    pub(crate) fn address_for(&self, addr: IpAddr) -> Option<IpAddr> {
        let link_local = self.link_local.map(IpAddr::V6).filter(|_| addr.is_ipv6());
        if is_link_local(addr) {
            return link_local;
        }
        let alike = || self.addresses.iter().find(|(own, _)| own.is_ipv4() == addr.is_ipv4()).copied();
        self.network_of(addr).or_else(alike).map(|(own, _)| own).or(link_local)
    }

    pub(crate) fn has(&self, addr: IpAddr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == addr) || self.link_local.is_some_and(|own| own == addr)
    }

    /// The same station on the same wire as `other`.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.port, self.vlans, self.mac) == (&other.name, other.port, other.vlans, other.mac)
    }
}

impl Base {
    /// Checks a configuration that follows `before` and makes it ready, but for its routes, which come beside it.
    pub(crate) fn compile(
        config: &RouterConfig,
        before: &Self,
        secret: Secret,
    ) -> Result<(Self, Vec<Candidate>, Plan), ConfigError> {
        check_timers(&config.tuning.timers)?;
        let (tuning, secret) = (config.tuning.clone(), Some(secret));
        // VRFs keep their numbers, which connections and routes know them by.
        let mut vrfs = before.vrfs.clone();
        if vrfs.is_empty() {
            vrfs.push(String::new());
        }
        let generation = before.generation + 1;
        let mut base = Self { generation, tuning, secret, vrfs, ..Self::default() };
        config.vrfs.iter().for_each(|vrf| _ = base.vrf_numbered(&vrf.name));
        for (index, interface) in config.interfaces.iter().enumerate() {
            base.add_interface(index, interface)?;
        }
        let mut routes = Vec::new();
        base.add_own_routes(&mut routes);
        for (index, route) in config.routes.iter().enumerate() {
            let vrf = base.vrf_numbered(route.vrf.as_deref().unwrap_or_default());
            let (hops, target) = base.resolve(index, (vrf, route.to), &route.target)?;
            let (source, metric) = (RouteSource::Static, route.metric);
            base.counted.extend(route.counted.then_some((vrf, route.to)));
            routes.push(Candidate { vrf, to: route.to, source, metric, target, hops });
        }
        base.add_tables(&config.vrfs)?;
        for (index, (vrf, to)) in config.counted.iter().enumerate() {
            let name = vrf.clone().unwrap_or_default();
            let vrf = base.vrf_named(index, Some(&name));
            base.counted.push((vrf.map_err(|_| ConfigError::NoCountedVrf { index, name })?, *to));
        }
        for (index, neighbour) in config.neighbours.iter().enumerate() {
            let place = || format!("neighbours[{index}].interface");
            let interface = base.interface_named(&neighbour.interface, place)?;
            base.statics.push((interface, neighbour.address, neighbour.mac));
        }
        base.nat = NatTable::compile(&base, &config.nat)?;
        routes.extend(base.nat.own_addresses().map(|(vrf, addr, interface)| {
            let target = RouteTarget::Interface(base.interface(interface).name.clone());
            let hops = vec![(Hop::Local(interface), 1)];
            Candidate { vrf, to: host(addr), source: RouteSource::Local, metric: 0, target, hops }
        }));
        base.policy = Policy::compile(&base, &config.policy_routes)?;
        base.firewall = Firewall::compile(&base, config, &before.firewall)?;
        let statics = base.statics.iter().map(|(interface, addr, mac)| ((*interface, *addr), *mac));
        base.known = statics.collect();
        base.policers = config.interfaces.iter().map(|i| i.police.map(Policer::new)).collect();
        let plan = Plan::compile(&mut base, config)?;
        Ok((base, routes, plan))
    }

    fn add_interface(&mut self, index: usize, config: &InterfaceConfig) -> Result<(), ConfigError> {
        if self.interfaces.iter().any(|i| i.name == config.name) {
            return Err(ConfigError::DuplicateName { index, name: config.name.clone() });
        }
        if !config.mac.is_unicast() {
            return Err(ConfigError::BadMac { index, mac: config.mac });
        }
        let speaks_v6 = config.addresses.iter().any(|(addr, _)| addr.is_ipv6());
        let least = if speaks_v6 { 1280 } else { 68 };
        if config.mtu < least {
            return Err(ConfigError::BadMtu { index, mtu: config.mtu, least });
        }
        check_advert(index, config, speaks_v6)?;
        let vlans = (config.vlan, config.inner_vlan);
        if let Some(port) = config.port {
            if let Some(other) = self.by_port.get(&(port, vlans)) {
                let other = self.interfaces[usize::from(*other)].name.clone();
                return Err(ConfigError::DuplicatePort { index, port, other });
            }
            self.by_port.insert((port, vlans), index as IfIndex);
        }
        let vrf = self.vrf_numbered(config.vrf.as_deref().unwrap_or_default());
        let (addresses, link_local) = self.own_addresses(index, config, vrf)?;
        let untagged = config.port.filter(|_| vlans == (None, None));
        let (mac, mtu, clamps) = (config.mac.to_u64(), config.mtu, config.clamp_mss);
        self.exits.push(untagged.map(|port| Exit { port, mac, mtu, clamps }));
        let InterfaceConfig {
            name,
            port,
            mac,
            mtu,
            source_check,
            advert,
            clamp_mss,
            known_only,
            proxy,
            shadow,
            ..
        } = config.clone();
        self.shadows.extend(shadow.map(|port| (port, index as IfIndex)));
        self.interfaces.push(Interface {
            name,
            port,
            vrf,
            vlans,
            mac,
            mtu,
            addresses,
            link_local,
            source_check,
            advert,
            clamp_mss,
            known_only,
            proxy,
            shadow,
        });
        Ok(())
    }

    /// The addresses of an interface with their networks, and its address on the link.
    fn own_addresses(
        &self,
        index: usize,
        config: &InterfaceConfig,
        vrf: VrfId,
    ) -> Result<(Owned, Option<Ipv6Addr>), ConfigError> {
        let speaks_v6 = config.addresses.iter().any(|(addr, _)| addr.is_ipv6());
        let mut addresses = Vec::new();
        let mut link_local = (speaks_v6 && config.port.is_some()).then(|| nd::link_local(config.mac));
        for &(addr, len) in &config.addresses {
            let net = Prefix::new(addr, len).map_err(|source| ConfigError::BadLength { index, source })?;
            if !may_be_own(addr, net) {
                return Err(ConfigError::BadAddress { index, addr });
            }
            match addr {
                IpAddr::V6(own) if is_link_local(addr) => {
                    link_local = Some(own);
                    continue;
                }
                _ => {}
            }
            if let Some(other) = self.interfaces.iter().find(|i| i.vrf == vrf && i.has(addr)) {
                return Err(ConfigError::DuplicateAddress { index, addr, other: other.name.clone() });
            }
            addresses.push((addr, net));
        }
        Ok((addresses, link_local))
    }

    /// Own addresses, networks and their broadcast addresses.
    fn add_own_routes(&self, routes: &mut Vec<Candidate>) {
        for (index, interface) in (0..).zip(&self.interfaces) {
            let vrf = interface.vrf;
            let route = |to: Prefix, source: RouteSource, hop: Hop| {
                let target = RouteTarget::Interface(interface.name.clone());
                Candidate { vrf, to, source, metric: 0, target, hops: vec![(hop, 1)] }
            };
            for (own, _) in &interface.addresses {
                routes.push(route(host(*own), RouteSource::Local, Hop::Local(index)));
            }
            // A loopback holds addresses, it leads nowhere.
            let nets = interface.addresses.iter().filter(|_| interface.port.is_some());
            for (_, net) in nets {
                routes.push(route(*net, RouteSource::Connected, Hop::Connected(index)));
                if let Some(broadcast) = net.broadcast() {
                    for addr in [broadcast.into(), net.addr()] {
                        routes.push(route(host(addr), RouteSource::Connected, Hop::Broadcast));
                    }
                } else if net.addr().is_ipv6() && net.prefix_len() < 127 {
                    // RFC 4291 §2.6.1: every router answers to the anycast address of its subnet.
                    routes.push(route(host(net.addr()), RouteSource::Local, Hop::Local(index)));
                }
            }
        }
    }

    /// The next hops of a route, and its target with the interfaces filled in.
    pub(crate) fn resolve(
        &self,
        index: usize,
        (vrf, to): (VrfId, Prefix),
        target: &RouteTarget,
    ) -> Result<(Vec<(Hop, u16)>, RouteTarget), ConfigError> {
        let hop = match target {
            RouteTarget::Blackhole => Hop::Blackhole,
            RouteTarget::Unreachable => Hop::Unreachable,
            RouteTarget::Prohibit => Hop::Prohibit,
            RouteTarget::Interface(name) => {
                Hop::Connected(self.interface_named(name, || format!("routes[{index}].dev"))?)
            }
            RouteTarget::Vrf(name) => Hop::Table(self.vrf_named(index, Some(name))?),
            RouteTarget::Via { gateway, interface } => {
                let at = self.gateway(index, (vrf, to), *gateway, interface.as_deref())?;
                let interface = Some(self.interface(at).name.clone());
                let target = RouteTarget::Via { gateway: *gateway, interface };
                return Ok((vec![(Hop::Gateway(at, *gateway), 1)], target));
            }
            RouteTarget::Group(next_hops) => {
                if !(1..=255).contains(&next_hops.len()) {
                    return Err(ConfigError::BadGroup { index, n_hops: next_hops.len() });
                }
                let (mut hops, mut filled) = (Vec::new(), Vec::new());
                for NextHop { gateway, interface, weight } in next_hops {
                    let at = self.gateway(index, (vrf, to), *gateway, interface.as_deref())?;
                    hops.push((Hop::Gateway(at, *gateway), (*weight).max(1)));
                    let interface = Some(self.interface(at).name.clone());
                    filled.push(NextHop { gateway: *gateway, interface, weight: *weight });
                }
                return Ok((hops, RouteTarget::Group(filled)));
            }
        };
        Ok((vec![(hop, 1)], target.clone()))
    }

    /// The interface by which a gateway is reached.
    fn gateway(
        &self,
        index: usize,
        (vrf, to): (VrfId, Prefix),
        gateway: IpAddr,
        interface: Option<&str>,
    ) -> Result<IfIndex, ConfigError> {
        if gateway.is_ipv4() != to.addr().is_ipv4() {
            return Err(ConfigError::FamilyMismatch { index, gateway, to });
        }
        if let Some(name) = interface {
            return self.interface_named(name, || format!("routes[{index}].dev"));
        }
        let reaches = |i: &Interface| {
            i.vrf == vrf && i.port.is_some() && i.network_of(gateway).is_some() && !i.has(gateway)
        };
        let found = self.interfaces.iter().position(reaches);
        found.map(|at| at as IfIndex).ok_or(ConfigError::GatewayUnreachable { index, gateway })
    }

    /// The same for both directions of a flow, and unlike that of any other router.
    pub(crate) fn flow_hash(
        &self,
        (src, dst): (IpAddr, IpAddr),
        protocol: IpProtocol,
        ports: [u16; 2],
    ) -> u64 {
        let Some(secret) = self.secret else { return 0 };
        let end = |addr: IpAddr, port: u16| {
            let bits = match addr {
                IpAddr::V4(addr) => u128::from(addr.to_bits()),
                IpAddr::V6(addr) => addr.to_bits(),
            };
            secret.hash(&[bits as u64, (bits >> 64) as u64, u64::from(port) << 8 | u64::from(protocol.0)])
        };
        secret.hash(&[end(src, ports[0]).wrapping_add(end(dst, ports[1]))])
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

    /// The way out by an interface, if packets leave it without tags.
    #[inline]
    pub(crate) fn exit(&self, index: IfIndex) -> Option<&Exit> {
        self.exits.get(usize::from(index))?.as_ref()
    }

    /// Whether any station may send as much as it likes from any address there.
    pub(crate) fn is_plain(&self, index: IfIndex) -> bool {
        let interface = self.interface(index);
        let policer = self.policers.get(usize::from(index)).and_then(Option::as_ref);
        interface.source_check == SourceCheck::Off && !interface.known_only && policer.is_none()
    }

    /// Whether a station may speak with an address: everybody may, unless only known ones do.
    pub(crate) fn may_speak(&self, interface: IfIndex, addr: IpAddr, mac: MacAddr) -> bool {
        !self.interface(interface).known_only
            || self.known.get(&(interface, addr)) == Some(&mac)
            || matches!(addr, IpAddr::V6(addr) if is_own_link_local(addr, mac, &self.known, interface))
    }

    /// Whether a frame of so many bytes is within the rate of its interface.
    pub(crate) fn conforms(&self, interface: IfIndex, now: Instant, len: usize) -> bool {
        let policer = self.policers.get(usize::from(interface)).and_then(Option::as_ref);
        policer.is_none_or(|policer| policer.admit(now, len))
    }

    /// The interface whose shadow is behind a port.
    #[inline]
    pub(crate) fn behind_shadow(&self, port: PortNo) -> Option<IfIndex> {
        if self.shadows.is_empty() { None } else { self.shadows.get(&port).copied() }
    }

    /// The shadow that takes what came by `arrival` for an address of an interface; not for one that is only translated.
    pub(crate) fn shadow_for(&self, arrival: IfIndex, dst: IpAddr) -> Option<PortNo> {
        let here = self.interface(arrival);
        let shadow = here.shadow?;
        let is_own = here.has(dst) || self.interfaces.iter().any(|i| i.vrf == here.vrf && i.has(dst));
        is_own.then_some(shadow)
    }

    /// The interface that takes frames of a port and its tags.
    pub(crate) fn interface_at(&self, port: PortNo, vlans: Vlans) -> Option<IfIndex> {
        self.by_port.get(&(port, vlans)).copied()
    }
}

/// The link-local address that a station made of its MAC, if it is known by another address (RFC 4291 appendix A).
fn is_own_link_local(
    addr: Ipv6Addr,
    mac: MacAddr,
    known: &BTreeMap<(IfIndex, IpAddr), MacAddr>,
    interface: IfIndex,
) -> bool {
    addr == nd::link_local(mac) && known.iter().any(|((i, _), m)| (*i, *m) == (interface, mac))
}

/// The prefix of one address.
fn host(addr: IpAddr) -> Prefix {
    Prefix::new(addr, if addr.is_ipv4() { 32 } else { 128 }).expect("the length of an address")
}

/// Whether an interface may have this address of this network.
fn may_be_own(addr: IpAddr, net: Prefix) -> bool {
    let group = addr.is_multicast() || addr.is_unspecified() || addr.is_loopback();
    let no_host = match addr {
        IpAddr::V4(own) => {
            own.is_broadcast()
                || net.prefix_len() < 31 && (net.broadcast() == Some(own) || net.addr() == addr)
        }
        IpAddr::V6(_) => net.prefix_len() < 127 && net.addr() == addr,
    };
    !group && !no_host
}

fn check_advert(index: usize, config: &InterfaceConfig, speaks_v6: bool) -> Result<(), ConfigError> {
    let Some(advert) = &config.advert else { return Ok(()) };
    let bad = |reason: &str| Err(ConfigError::BadAdvert { index, reason: reason.to_owned() });
    let (interval, lifetime) = (advert.interval.as_secs(), advert.lifetime.as_secs());
    match () {
        () if !speaks_v6 => bad("the interface has no IPv6 address"),
        () if !(4..=1800).contains(&interval) => bad("the interval must be 4 s to 1800 s"),
        () if lifetime != 0 && !(interval..=9000).contains(&lifetime) => {
            bad("the lifetime must be 0, or from the interval to 9000 s")
        }
        () if advert.dns.len() > 8 || advert.search.len() > 8 => bad("more than 8 name servers or domains"),
        () if advert.search.iter().any(|name| !is_domain(name)) => bad("a search domain is no domain name"),
        // RFC 4191 §4.
        () if advert.routes.len() > 17 => bad("more than 17 routes"),
        () if advert.routes.iter().any(|route| route.to.addr().is_ipv4()) => bad("a route is not of IPv6"),
        () => Ok(()),
    }
}

/// No connection may end before its next packet can come, nor stay for good.
fn check_timers(timers: &Timers) -> Result<(), ConfigError> {
    let all = [
        ("udp", timers.udp),
        ("tcp_transitory", timers.tcp_transitory),
        ("tcp_established", timers.tcp_established),
        ("icmp", timers.icmp),
        ("other", timers.other),
        // Zero: a port may go to another inside endpoint at once.
        ("port_hold", timers.port_hold.max(Duration::from_secs(1))),
    ];
    let possible = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
    match all.into_iter().find(|(_, time)| !possible.contains(time)) {
        Some((field, _)) => {
            let reason = match field {
                "port_hold" => "0 s to 30 days (2592000 s) are possible",
                _ => "1 s to 30 days (2592000 s) are possible",
            };
            Err(ConfigError::BadTimer { field, reason })
        }
        None => Ok(()),
    }
}

/// A domain name that can be written as labels (RFC 1035 §3.1).
fn is_domain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()) && label.is_ascii())
}

impl Snapshot {
    pub(crate) fn new(base: Base, fib: Arc<Fib>) -> Self {
        Self { base: Arc::new(base), fib }
    }

    /// Where `addr` leads for what came by `arrival`.
    pub(crate) fn route(&self, arrival: IfIndex, addr: IpAddr) -> Option<Hop> {
        if is_link_local(addr) {
            let interface = self.interface(arrival);
            return Some(match interface.has(addr) {
                true => Hop::Local(arrival),
                false => Hop::Connected(arrival),
            });
        }
        self.fib.lookup(self.interface(arrival).vrf, addr, || 0)
    }

    /// Whether [`route`](Self::route) could lead to this router or to all stations of a network.
    #[inline]
    pub(crate) fn may_be_own(&self, addr: IpAddr) -> bool {
        self.fib.may_be_own(addr) || is_link_local(addr)
    }

    /// The way out to `addr` for what this router sends itself in answer to what came by `arrival`.
    pub(crate) fn way_to(&self, arrival: IfIndex, addr: IpAddr) -> Option<(IfIndex, IpAddr)> {
        match self.route(arrival, addr)? {
            Hop::Connected(interface) => Some((interface, addr)),
            Hop::Gateway(interface, via) => Some((interface, via)),
            _ => None,
        }
    }

    pub(crate) fn is_own(&self, arrival: IfIndex, addr: IpAddr) -> bool {
        self.may_be_own(addr) && matches!(self.route(arrival, addr), Some(Hop::Local(_)))
    }

    /// Whether the router answers for an address that is somebody else's, beyond another interface.
    pub(crate) fn is_proxied(&self, arrival: IfIndex, addr: IpAddr) -> bool {
        let by_prefix = self.interface(arrival).proxy.iter().any(|net| net.contains(addr));
        by_prefix
            && !is_link_local(addr)
            && self.route(arrival, addr).and_then(Hop::interface).is_some_and(|out| out != arrival)
    }

    /// The MTU that the MSS of connections between these interfaces must fit, if one of them wants that.
    pub(crate) fn clamp(&self, input: IfIndex, out: IfIndex) -> Option<u16> {
        let clamping = [input, out].map(|i| self.interface(i)).into_iter().filter(|i| i.clamp_mss);
        clamping.map(|i| i.mtu).min()
    }

    /// Whether a source is one that the interface takes packets from (RFC 3704 §2).
    pub(crate) fn accepts_source(&self, arrival: IfIndex, src: IpAddr) -> bool {
        let interface = self.interface(arrival);
        let pass = |hop: Hop| match interface.source_check {
            SourceCheck::Strict => hop.interface() == Some(arrival),
            _ => hop.interface().is_some(),
        };
        interface.source_check == SourceCheck::Off
            || is_link_local(src)
            || self.fib.leads(interface.vrf, src, pass)
    }
}
