//! Between the shapes of controller-api and the router's own types.

use std::net::{IpAddr, SocketAddr};

use std::time::Duration;

use controller_api as api;
use controller_api::RouteType;
use packet::{MacAddr, PortNo, VlanId, nd};
use vrouter::{
    AdvertConfig, AdvertRoute, Filtering, FirewallAction, FirewallRule, GroupConfig, InterfaceConfig, Limits,
    LiveFlows, NatRule, NeighbourConfig, NeighbourState, NextHop, Police, PolicyRoute, Prefix, RouteConfig,
    RouteSource, RouteTarget, RouterConfig, RuleLimit, Sharing, SourceCheck, Transport, Tuning, VrfConfig,
};

mod services;

pub use services::{shown_count, shown_lease};

/// What is wrong with a router's configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct FieldError {
    /// The field, as `interfaces[0].port`.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FieldError {
    fn new(place: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self { place: place.into(), reason: reason.to_string() }
    }

    /// The field as a JSON pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        let path = self.place.replace("].", "/").replace(['.', '['], "/").replace(']', "");
        format!("/{path}")
    }
}

impl From<vrouter::ConfigError> for FieldError {
    fn from(error: vrouter::ConfigError) -> Self {
        let text = error.to_string();
        match text.split_once(": ") {
            Some((place, reason)) => Self::new(place, reason),
            None => Self::new("", text),
        }
    }
}

/// A port of the router, as interfaces name it.
#[derive(Debug, Clone)]
pub struct PortName {
    /// What interfaces call it.
    pub name: String,
    /// Its number.
    pub number: PortNo,
}

/// The configuration of a router with these ports.
///
/// # Errors
/// The field at fault.
pub fn config(router: &api::Router, ports: &[PortName]) -> Result<RouterConfig, FieldError> {
    let mut config = RouterConfig::named(&router.name);
    config.vrfs.extend(router.vrfs.iter().map(vrf));
    for (index, from) in router.interfaces.iter().enumerate() {
        config.interfaces.push(interface(router, index, from, ports)?);
    }
    for (index, from) in router.routes.iter().enumerate() {
        config.routes.push(route(index, from)?);
    }
    config.counted.extend(router.counted_routes.iter().map(|from| (from.vrf.clone(), prefix(from.to.0))));
    config.nat.extend(router.nat.masquerade.iter().map(masquerade));
    config.nat.extend(router.nat.port_forwards.iter().map(port_forward));
    config.nat.extend(router.nat.one_to_one.iter().map(|from| NatRule::OneToOne {
        interface: from.interface.clone(),
        outside: from.outside,
        inside: from.inside,
    }));
    let exempt = |from: &api::Exemption| NatRule::Exempt {
        source: prefix(from.from.0),
        destination: prefix(from.to.0),
    };
    config.nat.extend(router.nat.exempt.iter().map(exempt));
    for (index, from) in router.nat.reserve.iter().enumerate() {
        let ports = port_range(&format!("nat.reserve[{index}].ports"), &from.ports)?;
        let (interface, address) = (from.interface.clone(), from.address);
        config.nat.push(NatRule::Reserve { interface, address, ports });
    }
    config.nat.extend(router.nat.redirects.iter().map(redirect));
    for (index, from) in router.policy_routes.iter().enumerate() {
        config.policy_routes.push(policy_route(index, from)?);
    }
    config.tuning.limits = Limits {
        per_source: router.limits.per_source.unwrap_or(0),
        rate_per_source: router.limits.rate_per_source.unwrap_or(0),
        embryonic_per_source: router.limits.embryonic_per_source.unwrap_or(0),
        per_zone: router.limits.per_vrf.unwrap_or(0),
    };
    fill_tracking(&mut config.tuning, &router.tracking);
    config.groups = router.groups.iter().map(group).collect();
    config.firewall_default = router.firewall_default.map_or(FirewallAction::Allow, action);
    config.live_flows = match router.live_flows {
        api::LiveFlows::Recheck => LiveFlows::Recheck,
        api::LiveFlows::Keep => LiveFlows::Keep,
    };
    config.neighbours = router.neighbours.iter().map(neighbour).collect();
    services::fill(&mut config, router);
    for (index, from) in router.firewall.iter().enumerate() {
        config.firewall.push(firewall_rule(index, from)?);
    }
    Ok(config)
}

/// Says where a rule of the router's one list of rules stands in the lists of its configuration.
pub fn place_nat(router: &api::Router, error: FieldError) -> FieldError {
    let Some((index, rest)) = error.place.strip_prefix("nat[").and_then(|p| p.split_once(']')) else {
        return error;
    };
    let Ok(mut index) = index.parse::<usize>() else { return error };
    let nat = &router.nat;
    let lists = [
        ("masquerade", nat.masquerade.len()),
        ("port_forwards", nat.port_forwards.len()),
        ("one_to_one", nat.one_to_one.len()),
        ("exempt", nat.exempt.len()),
        ("reserve", nat.reserve.len()),
        ("redirects", nat.redirects.len()),
    ];
    for (list, len) in lists {
        if index < len {
            return FieldError { place: format!("nat.{list}[{index}]{rest}"), ..error };
        }
        index -= len;
    }
    error
}

fn interface(
    router: &api::Router,
    index: usize,
    from: &api::RouterInterface,
    ports: &[PortName],
) -> Result<InterfaceConfig, FieldError> {
    let place = |field: &str| format!("interfaces[{index}].{field}");
    let port = port_of(router, index, from, ports)?;
    let vlan_id = |field: &str, id: Option<u16>| {
        id.map(VlanId::new).transpose().map_err(|e| FieldError::new(place(field), e))
    };
    if from.inner_vlan.is_some() && from.vlan.is_none() {
        return Err(FieldError::new(place("inner_vlan"), "a customer tag needs a service tag in `vlan`"));
    }
    let mac =
        from.mac.map_or_else(|| derived_mac(&router.name, port_label(router, from)), |mac| MacAddr(mac.0));
    Ok(InterfaceConfig {
        name: from.name.clone(),
        port,
        vrf: from.vrf.clone(),
        vlan: vlan_id("vlan", from.vlan)?,
        inner_vlan: vlan_id("inner_vlan", from.inner_vlan)?,
        mac,
        mtu: from.mtu.unwrap_or(1500),
        addresses: from.all_addresses().map(|cidr| (cidr.addr(), cidr.prefix_len())).collect(),
        source_check: match from.source_check {
            api::SourceCheck::Off => SourceCheck::Off,
            api::SourceCheck::Loose => SourceCheck::Loose,
            api::SourceCheck::Strict => SourceCheck::Strict,
        },
        advert: from.advert.as_ref().map(advert),
        clamp_mss: from.clamp_mss,
        zone: from.zone.clone(),
        known_only: from.known_only,
        police: from.police.map(police),
        proxy: from.proxy.iter().map(|net| prefix(net.0)).collect(),
        // Filled in where shadows are made.
        shadow: None,
    })
}

fn fill_tracking(tuning: &mut Tuning, from: &api::Tracking) {
    let set = |time: &mut Duration, given: Option<u32>| {
        *time = given.map_or(*time, |secs| Duration::from_secs(secs.into()));
    };
    let timers = &mut tuning.timers;
    set(&mut timers.udp, from.udp);
    set(&mut timers.tcp_transitory, from.tcp_transitory);
    set(&mut timers.tcp_established, from.tcp_established);
    set(&mut timers.icmp, from.icmp);
    set(&mut timers.other, from.other);
    set(&mut timers.port_hold, from.port_hold);
    tuning.tcp_loose = from.tcp_loose.unwrap_or(tuning.tcp_loose);
    tuning.tcp_window = from.tcp_window.unwrap_or(tuning.tcp_window);
    tuning.filtering = from.filtering.map_or(tuning.filtering, |filtering| match filtering {
        api::Filtering::EndpointIndependent => Filtering::EndpointIndependent,
        api::Filtering::AddressDependent => Filtering::AddressDependent,
        api::Filtering::AddressAndPortDependent => Filtering::AddressAndPortDependent,
    });
}

fn advert_route(from: &api::AdvertRoute) -> AdvertRoute {
    AdvertRoute {
        to: prefix(from.to.0),
        preference: match from.preference {
            api::Preference::Low => nd::Preference::Low,
            api::Preference::Medium => nd::Preference::Medium,
            api::Preference::High => nd::Preference::High,
        },
        lifetime: Duration::from_secs(from.lifetime.unwrap_or(1800).into()),
    }
}

fn advert(from: &api::Advert) -> AdvertConfig {
    let default = AdvertConfig::default();
    let seconds = |given: Option<u32>, otherwise| given.map_or(otherwise, |s| Duration::from_secs(s.into()));
    AdvertConfig {
        interval: seconds(from.interval, default.interval),
        lifetime: seconds(from.lifetime, default.lifetime),
        managed: from.managed,
        other: from.other,
        dns: from.dns.clone(),
        search: from.search.clone(),
        routes: from.routes.iter().map(advert_route).collect(),
    }
}

/// The name of the port below an interface: a sub-interface may name its parent instead.
fn port_label<'a>(router: &'a api::Router, from: &'a api::RouterInterface) -> &'a str {
    let named = from.port_name();
    let parent = router.interfaces.iter().find(|i| i.name == named && i.name != from.name);
    parent.map_or(named, |parent| parent.port_name())
}

fn port_of(
    router: &api::Router,
    index: usize,
    from: &api::RouterInterface,
    ports: &[PortName],
) -> Result<Option<PortNo>, FieldError> {
    let number = |name: &str| ports.iter().find(|p| p.name == name).map(|p| p.number);
    let label = port_label(router, from);
    match number(from.port_name()).or_else(|| number(label)) {
        Some(number) => Ok(Some(number)),
        None if from.port.is_none() && from.vlan.is_none() && from.name.starts_with("lo") => Ok(None),
        None => {
            let names: Vec<&str> = ports.iter().map(|p| p.name.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let field = if from.port.is_some() { "port" } else { "name" };
            let reason = format!("the router has no port \"{label}\"; it has: {known}");
            Err(FieldError::new(format!("interfaces[{index}].{field}"), reason))
        }
    }
}

/// A unicast address of our own making that stays the same from start to start: FNV-1a of both names.
pub fn derived_mac(router: &str, port: &str) -> MacAddr {
    let bytes = router.bytes().chain([0]).chain(port.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    MacAddr::from_u64(hash & 0x00ff_ffff_ffff | 0x0200_0000_0000)
}

fn prefix(net: ipnet::IpNet) -> Prefix {
    Prefix::new(net.addr(), net.prefix_len()).expect("ipnet has checked the length")
}

fn route(index: usize, from: &api::StaticRoute) -> Result<RouteConfig, FieldError> {
    let wrong = |field: &str, reason: &str| FieldError::new(format!("routes[{index}].{field}"), reason);
    let target = match (from.kind, from.via, &from.dev, from.next_hops.as_slice(), &from.to_vrf) {
        (RouteType::Unicast, Some(gateway), dev, [], None) => {
            RouteTarget::Via { gateway, interface: dev.clone() }
        }
        (RouteType::Unicast, None, Some(dev), [], None) => RouteTarget::Interface(dev.clone()),
        (RouteType::Unicast, None, None, [], Some(vrf)) => RouteTarget::Vrf(vrf.clone()),
        (RouteType::Unicast, None, None, [], None) => {
            return Err(wrong("via", "a route needs `via`, `dev`, `next_hops`, `to_vrf` or a `type`"));
        }
        (RouteType::Unicast, None, None, hops, None) => {
            RouteTarget::Group(hops.iter().map(next_hop).collect())
        }
        (RouteType::Unicast, ..) => {
            return Err(wrong("to", "of `via` or `dev`, `next_hops` and `to_vrf` a route has one"));
        }
        (RouteType::Blackhole, None, None, [], None) => RouteTarget::Blackhole,
        (RouteType::Unreachable, None, None, [], None) => RouteTarget::Unreachable,
        (RouteType::Prohibit, None, None, [], None) => RouteTarget::Prohibit,
        _ => return Err(wrong("type", "a route that drops leads nowhere else")),
    };
    let metric = from.metric.unwrap_or(0);
    let (vrf, to, counted) = (from.vrf.clone(), prefix(from.to.0), from.counted);
    Ok(RouteConfig { vrf, to, target, metric, counted })
}

fn vrf(from: &api::Vrf) -> VrfConfig {
    VrfConfig { name: from.name.clone(), table: from.table }
}

fn next_hop(from: &api::NextHop) -> NextHop {
    NextHop { gateway: from.via, interface: from.dev.clone(), weight: from.weight.unwrap_or(1) }
}

fn transport(from: api::Protocol) -> Transport {
    match from {
        api::Protocol::Tcp => Transport::Tcp,
        api::Protocol::Udp => Transport::Udp,
    }
}

fn masquerade(from: &api::Masquerade) -> NatRule {
    let sources = from.from.map(|cidr| prefix(cidr.0)).into_iter().collect();
    let (pool, sharing) = (from.pool.clone(), sharing(from.ports));
    NatRule::Masquerade { out: from.out.clone(), sources, pool, sharing, portless: from.portless }
}

fn redirect(from: &api::Redirect) -> NatRule {
    let (input, protocol) = (from.interface.clone(), transport(from.protocol));
    NatRule::Redirect { input, protocol, port: from.port, to: from.to_port }
}

fn port_forward(from: &api::PortForward) -> NatRule {
    let protocol = transport(from.protocol);
    let to = (from.to.0.ip(), from.to.0.port());
    let (input, inbound_only) = (from.interface.clone(), from.inbound_only);
    NatRule::PortForward { input, protocol, port: from.port, to, inbound_only, vrf: from.vrf.clone() }
}

fn sharing(from: api::Sharing) -> Sharing {
    match from {
        api::Sharing::Independent => Sharing::Independent,
        api::Sharing::Overload => Sharing::Overload,
        api::Sharing::Dependent => Sharing::Dependent,
    }
}

fn protocol_number(place: &str, text: &str) -> Result<u8, FieldError> {
    match text {
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "icmp" => Ok(1),
        "icmpv6" => Ok(58),
        number => {
            let reason = "tcp, udp, icmp, icmpv6 or a number from 0 to 255 is expected";
            number.parse().map_err(|_| FieldError::new(place, reason))
        }
    }
}

/// A port, or the first and last of several.
fn port_range(place: &str, text: &str) -> Result<(u16, u16), FieldError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let ports = first.trim().parse().ok().zip(last.trim().parse().ok());
    ports.ok_or_else(|| FieldError::new(place, "a port such as 80 or two such as 8000-8080 are expected"))
}

fn policy_route(index: usize, from: &api::PolicyRoute) -> Result<PolicyRoute, FieldError> {
    let place = |field: &str| format!("policy_routes[{index}].{field}");
    let target = match (from.kind, from.via, &from.to_vrf) {
        (RouteType::Unicast, Some(gateway), None) => RouteTarget::Via { gateway, interface: None },
        (RouteType::Unicast, None, Some(vrf)) => RouteTarget::Vrf(vrf.clone()),
        (RouteType::Blackhole, None, None) => RouteTarget::Blackhole,
        (RouteType::Unreachable, None, None) => RouteTarget::Unreachable,
        (RouteType::Prohibit, None, None) => RouteTarget::Prohibit,
        _ => {
            return Err(FieldError::new(
                place("via"),
                "a policy route has one of `via`, `to_vrf` and a `type`",
            ));
        }
    };
    Ok(PolicyRoute {
        input: from.input.clone(),
        source: from.from.map(|cidr| prefix(cidr.0)),
        destination: from.to.map(|cidr| prefix(cidr.0)),
        protocol: from
            .protocol
            .as_deref()
            .map(|text| protocol_number(&place("protocol"), text))
            .transpose()?,
        destination_ports: from.ports.as_deref().map(|text| port_range(&place("ports"), text)).transpose()?,
        target,
    })
}

fn firewall_rule(index: usize, from: &api::FirewallRule) -> Result<FirewallRule, FieldError> {
    let place = |field: &str| format!("firewall[{index}].{field}");
    let protocol =
        from.protocol.as_deref().map(|text| protocol_number(&place("protocol"), text)).transpose()?;
    let ports = from.ports.as_deref().map(|text| port_range(&place("ports"), text)).transpose()?;
    Ok(FirewallRule {
        input: from.input.clone(),
        out: from.out.clone(),
        source: from.from.map(|cidr| prefix(cidr.0)),
        destination: from.to.map(|cidr| prefix(cidr.0)),
        from_zone: from.from_zone.clone(),
        to_zone: from.to_zone.clone(),
        source_group: from.from_group.clone(),
        destination_group: from.to_group.clone(),
        protocol,
        destination_ports: ports,
        action: action(from.action),
        limit: from
            .limit
            .map(|limit| RuleLimit { rate: limit.rate, burst: limit.burst.unwrap_or(limit.rate) }),
        log: from.log,
    })
}

fn action(from: api::FirewallAction) -> FirewallAction {
    match from {
        api::FirewallAction::Allow => FirewallAction::Allow,
        api::FirewallAction::Drop => FirewallAction::Drop,
        api::FirewallAction::Reject => FirewallAction::Reject,
    }
}

fn group(from: &api::AddressGroup) -> GroupConfig {
    let members = from.members.iter().map(|member| prefix(member.0)).collect();
    GroupConfig { name: from.name.clone(), members, groups: from.groups.clone() }
}

fn neighbour(from: &api::StaticNeighbour) -> NeighbourConfig {
    let (interface, address) = (from.interface.clone(), from.address);
    NeighbourConfig { interface, address, mac: MacAddr(from.mac.0) }
}

fn police(from: api::Police) -> Police {
    // A tenth of a second, and room for ten frames.
    let usual = (from.rate.0 / 80).clamp(15_000, u32::MAX.into()) as u32;
    Police { rate: from.rate.0, burst: from.burst.unwrap_or(usual) }
}

// ---- what is shown ---------------------------------------------------------------------------------------------

fn cidr(addr: IpAddr, len: u8) -> api::Cidr {
    api::Cidr(ipnet::IpNet::new(addr, len).expect("a prefix has checked its length"))
}

/// A route as it is shown.
pub fn shown_route(route: &vrouter::RouteInfo) -> api::Route {
    let (mut next_hops, mut to_vrf) = (Vec::new(), None);
    let (via, interface, kind) = match &route.target {
        RouteTarget::Group(hops) => {
            next_hops.extend(hops.iter().map(|hop| api::NextHop {
                via: hop.gateway,
                dev: hop.interface.clone(),
                weight: Some(hop.weight),
            }));
            (None, None, RouteType::Unicast)
        }
        RouteTarget::Vrf(name) => {
            to_vrf = Some(name.clone());
            (None, None, RouteType::Unicast)
        }
        RouteTarget::Via { gateway, interface } => (Some(*gateway), interface.clone(), RouteType::Unicast),
        RouteTarget::Interface(name) => (None, Some(name.clone()), RouteType::Unicast),
        RouteTarget::Blackhole => (None, None, RouteType::Blackhole),
        RouteTarget::Unreachable => (None, None, RouteType::Unreachable),
        RouteTarget::Prohibit => (None, None, RouteType::Prohibit),
    };
    let source = match route.source {
        RouteSource::Local => "local",
        RouteSource::Connected => "connected",
        RouteSource::Static => "static",
        RouteSource::Protocol => "protocol",
    };
    api::Route {
        vrf: route.vrf.clone(),
        to: cidr(route.to.addr(), route.to.prefix_len()),
        via,
        interface,
        next_hops,
        to_vrf,
        metric: route.metric,
        kind,
        source: source.to_owned(),
        packets: route.counted.map(|counted| counted.n_packets),
        bytes: route.counted.map(|counted| counted.n_bytes),
    }
}

/// What went to a prefix, as it is shown.
pub fn shown_traffic(prefix: &vrouter::PrefixTraffic) -> api::RouteCount {
    let (vrf, to) = (prefix.vrf.clone(), cidr(prefix.to.addr(), prefix.to.prefix_len()));
    api::RouteCount { vrf, to, packets: prefix.counted.n_packets, bytes: prefix.counted.n_bytes }
}

/// A neighbour as it is shown.
pub fn shown_neighbour(neighbour: &vrouter::NeighbourInfo) -> api::Neighbour {
    let state = match neighbour.state {
        NeighbourState::Static => "permanent",
        NeighbourState::Reachable => "reachable",
        NeighbourState::Stale => "stale",
        NeighbourState::Pending => "pending",
        NeighbourState::Unreachable => "unreachable",
    };
    api::Neighbour {
        interface: neighbour.interface.clone(),
        address: neighbour.address,
        mac: neighbour.mac.map(|mac| api::Mac(mac.0)),
        state: state.to_owned(),
    }
}

fn protocol(number: u8) -> String {
    match number {
        1 | 58 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    }
}

fn endpoint((addr, port): (IpAddr, u16)) -> api::Endpoint {
    api::Endpoint(SocketAddr::from((addr, port)))
}

/// A connection as it is shown: from its originator's point of view.
pub fn shown_connection(c: &vrouter::ConnectionInfo) -> api::Connection {
    let (inside, outside, remote) = (endpoint(c.inside), endpoint(c.outside), endpoint(c.remote));
    let (source, destination, reply_source, reply_destination) = match c.outbound {
        true => (inside, remote, remote, outside),
        false => (remote, outside, inside, remote),
    };
    api::Connection {
        protocol: protocol(c.protocol),
        state: c.state.to_owned(),
        source,
        destination,
        reply_source,
        reply_destination,
        expires: c.expires_in.as_secs(),
    }
}

/// A binding as it is shown.
pub fn shown_binding(b: &vrouter::BindingInfo) -> api::Binding {
    api::Binding {
        protocol: protocol(b.protocol),
        inside: endpoint(b.inside),
        outside: endpoint(b.outside),
        kind: if b.fixed { "port-forward" } else { "masquerade" }.to_owned(),
        n_connections: b.n_connections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Vec<PortName> {
        let port = |name: &str, number| PortName { name: name.into(), number: PortNo(number) };
        vec![port("lan", 1), port("wan", 2)]
    }

    fn read(yaml: &str) -> Result<RouterConfig, FieldError> {
        config(&serde_saphyr::from_str(yaml).expect("the shape is right"), &ports())
    }

    const GOOD: &str = "
name: r1
interfaces:
  - {name: lan, address: 10.1.0.1/24}
  - {name: lan.20, port: lan, vlan: 20, address: 10.2.0.1/24}
  - {name: wan, address: 203.0.113.1/24, mac: '02:00:00:00:00:77', mtu: 1400}
  - {name: lo, address: 192.0.2.1/32}
routes: [{to: 0.0.0.0/0, via: 203.0.113.2}, {to: 10.9.0.0/16, type: blackhole}]
nat:
  masquerade: [{out: wan, from: 10.0.0.0/8}]
  port_forwards: [{in: wan, protocol: tcp, port: 8080, to: '10.1.0.2:80'}]
";

    #[test]
    fn a_router_becomes_a_configuration_that_the_router_takes() {
        let config = read(GOOD).expect("converted");
        assert_eq!(config.interfaces[1].port, Some(PortNo(1)));
        assert_eq!(config.interfaces[0].mac, config.interfaces[1].mac, "of one port, one address");
        assert_ne!(config.interfaces[0].mac, derived_mac("r2", "lan"));
        assert!(config.interfaces[0].mac.is_unicast());
        assert_eq!((config.interfaces[2].mtu, config.interfaces[3].port), (1400, None));
        let mut router = vrouter::Router::new(vrouter::Options::new(1, [1, 2]));
        router.set_config(packet::Instant::ZERO, config).expect("taken");
        assert!(router.fib().iter().map(shown_route).any(|r| r.kind == RouteType::Blackhole));
    }

    const RICH: &str = "
name: r1
interfaces:
  - name: lan
    vrf: red
    addresses: [10.1.0.1/24, '2001:db8:0:1::1/64']
    source_check: strict
    advert: {interval: 30, dns: ['2001:db8:0:1::1'], search: [lab.example], routes: [{to: '2001:db8::/32', preference: high}]}
  - {name: lan.20, port: lan, vlan: 100, inner_vlan: 20, address: 10.2.0.1/24}
  - {name: wan, address: 203.0.113.1/24}
routes:
  - {to: 0.0.0.0/0, next_hops: [{via: 203.0.113.2}, {via: 203.0.113.3, weight: 3}], counted: true}
  - {to: 0.0.0.0/0, vrf: red, to_vrf: '', metric: 5}
nat:
  one_to_one: [{interface: wan, outside: 203.0.113.10, inside: 10.1.0.2}]
  exempt: [{from: 10.1.0.0/24, to: 10.2.0.0/24}]
  masquerade: [{out: wan, pool: [203.0.113.20, 203.0.113.21], ports: overload}]
  reserve: [{interface: wan, address: 203.0.113.1, ports: 5000-6000}]
policy_routes: [{in: lan, protocol: udp, ports: '53', to_vrf: ''}]
counted_routes: [{to: 10.1.0.0/24, vrf: red}]
limits: {per_source: 1000, embryonic_per_source: 50}
tracking: {udp: 30, tcp_established: 86400, port_hold: 0, tcp_loose: false, filtering: address-and-port-dependent}
firewall:
  - {in: lan, protocol: tcp, ports: 8000-8080, from: 10.1.0.0/24, action: allow}
  - {out: wan, action: reject}
";

    #[test]
    fn everything_that_can_be_written_arrives() {
        let config = read(RICH).expect("converted");
        let advert = config.interfaces[0].advert.clone().expect("advertised");
        assert_eq!((advert.interval.as_secs(), advert.lifetime.as_secs()), (30, 1800));
        assert_eq!(config.interfaces[0].source_check, SourceCheck::Strict);
        assert_eq!(config.interfaces[1].inner_vlan.map(VlanId::get), Some(20));
        assert_eq!((config.nat.len(), config.firewall[0].destination_ports), (4, Some((8000, 8080))));
        assert_eq!((config.policy_routes.len(), config.tuning.limits.per_source), (1, 1000));
        assert_eq!(
            (advert.routes[0].preference, config.tuning.limits.embryonic_per_source),
            (nd::Preference::High, 50)
        );
        let (tuning, usual) = (&config.tuning, Tuning::default());
        let secs = Duration::from_secs;
        let expected = vrouter::Timers {
            udp: secs(30),
            tcp_established: secs(86_400),
            port_hold: secs(0),
            ..usual.timers
        };
        assert_eq!((tuning.timers, tuning.filtering), (expected, Filtering::AddressAndPortDependent));
        assert_eq!((tuning.tcp_loose, tuning.tcp_window), (false, true));
        let mut router = vrouter::Router::new(vrouter::Options::new(1, [1, 2]));
        router.set_config(packet::Instant::ZERO, config).expect("taken");
        let shown: Vec<api::Route> = router.fib().iter().map(shown_route).collect();
        let shared = shown.iter().find(|r| r.next_hops.len() == 2).expect("shown");
        assert_eq!((shared.next_hops[1].weight, shared.packets, shared.bytes), (Some(3), Some(0), Some(0)));
        let counted = router.counted();
        let counted = counted.iter().map(shown_traffic).map(|r| (r.vrf, r.to.to_string()));
        let expected = [(None, "0.0.0.0/0".to_owned()), (Some("red".to_owned()), "10.1.0.0/24".to_owned())];
        assert_eq!(counted.collect::<Vec<_>>(), expected);
        assert!(
            shown
                .iter()
                .any(|r| r.vrf.as_deref() == Some("red") && r.to_vrf.as_deref() == Some("") && r.metric == 5)
        );
        let error = read(&RICH.replace("8000-8080", "http")).expect_err("no port").to_string();
        assert_eq!(error, "firewall[0].ports: a port such as 80 or two such as 8000-8080 are expected");
    }

    #[test]
    fn the_examples_of_the_documentation_are_taken() {
        let text = include_str!("../../../docs/router.md");
        let examples: Vec<&str> =
            text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(examples.len(), 5);
        for example in examples {
            let router: api::Router = serde_saphyr::from_str(example).expect("the shape is right");
            let mut names: Vec<&str> =
                router.interfaces.iter().map(api::RouterInterface::port_name).collect();
            names.dedup();
            let port =
                |(name, number): (&&str, u32)| PortName { name: (*name).into(), number: PortNo(number) };
            let ports: Vec<PortName> = names.iter().zip(1..).map(port).collect();
            let config = config(&router, &ports).unwrap_or_else(|error| panic!("{error}:\n{example}"));
            let mut running = vrouter::Router::new(vrouter::Options::new(1, [1, 2]));
            let taken = running.set_config(packet::Instant::ZERO, config);
            taken.unwrap_or_else(|error| panic!("{error}:\n{example}"));
        }
    }

    #[test]
    fn errors_name_the_field() {
        let wrong = |from: &str, to: &str| {
            let router: api::Router =
                serde_saphyr::from_str(&GOOD.replace(from, to)).expect("the shape is right");
            let error = match config(&router, &ports()) {
                Err(error) => error,
                Ok(config) => {
                    let mut router = vrouter::Router::new(vrouter::Options::new(1, [1, 2]));
                    router.set_config(packet::Instant::ZERO, config).expect_err("refused").into()
                }
            };
            let error = place_nat(&router, error);
            (error.to_string(), error.pointer())
        };
        let (text, pointer) = wrong("port: lan,", "port: lam,");
        assert_eq!(text, "interfaces[1].port: the router has no port \"lam\"; it has: lan, wan");
        assert_eq!(pointer, "/interfaces/1/port");
        assert!(wrong("vlan: 20", "vlan: 4095").0.starts_with("interfaces[1].vlan: "));
        assert!(wrong("via: 203.0.113.2", "dev: nowhere").0.starts_with("routes[0].dev: "));
        assert_eq!(
            wrong(", type: blackhole", "").0,
            "routes[1].via: a route needs `via`, `dev`, `next_hops`, `to_vrf` or a `type`"
        );
        assert!(
            wrong("via: 203.0.113.2", "via: 8.8.8.8")
                .0
                .starts_with("routes[0].via: 8.8.8.8 is in no network")
        );
        let (text, pointer) = wrong("nat:", "tracking: {icmp: 0}\nnat:");
        assert_eq!(text, "tracking.icmp: 1 s to 30 days (2592000 s) are possible");
        assert_eq!(pointer, "/tracking/icmp");
        assert!(
            wrong("nat:", "tracking: {port_hold: 2592001}\nnat:").0.starts_with("tracking.port_hold: 0 s to")
        );
        assert_eq!(wrong("{out: wan", "{out: wam").1, "/nat/masquerade/0/out");
        assert_eq!(wrong("{in: wan", "{in: wam").1, "/nat/port_forwards/0/in");
    }
}
