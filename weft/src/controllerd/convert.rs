//! From the shapes of the API to the values of the core, and back.

use std::collections::{BTreeMap, BTreeSet};

use controller::{
    Attachment, Controller, Declared, Edit, Endpoint, Fault, FlowChange, Intent, IntentState, IntentStatus,
    Judgement, Kind, Pairs, PortName, Reservation, Traffic, Verb, View,
};
use controller_api::{
    Dpid, EndpointRef, Forecast, Label, Mac, MirrorDirection, Pair, PairList, PolicyAction, PolicyProtocol,
    PortCounters, PortRef, Protocol, Rate, Resource, ResourceKind, State, Status, SwitchForecast,
    SwitchStatus,
};
use openflow::PortStats;
use packet::{MacAddr, VlanId};

use super::intents::Intents;

/// All intents as the core wants them.
///
/// # Errors
/// A value out of range, with its pointer in the intent.
pub fn intent_of(intents: &Intents) -> Result<Intent, Fault> {
    let edits = intents.labels().map(|label| edit_of(&label, intents.get(&label).as_ref()));
    Ok(Intent::default().edited(edits.collect::<Result<_, _>>()?))
}

/// A change of an intent as the core wants it.
///
/// # Errors
/// A value out of range, with its pointer in the intent.
pub fn edit_of(label: &Label, to: Option<&Resource>) -> Result<Edit, Fault> {
    let kind = match label.kind {
        ResourceKind::Network => Kind::Network,
        ResourceKind::Router => Kind::Router,
        ResourceKind::Function => Kind::Function,
        ResourceKind::Chain => Kind::Chain,
        ResourceKind::Policy => Kind::Policy,
        ResourceKind::Qos => Kind::Qos,
        ResourceKind::Path => Kind::Path,
        ResourceKind::Mirror => Kind::Mirror,
        ResourceKind::Balancer => Kind::Balancer,
        ResourceKind::Tenant => Kind::Tenant,
    };
    let declared = |resource: &Resource| -> Result<Declared, Fault> {
        Ok(match resource {
            Resource::Network(network) => Declared::Network(network_of(network)?),
            Resource::Router(router) => Declared::Router(attachments_of(router)?),
            Resource::Function(function) => {
                let (ingress, egress) = (port_of(&function.ingress), port_of(&function.egress));
                Declared::Function(controller::Function { ingress, egress })
            }
            Resource::Chain(chain) => Declared::Chain(chain_of(chain)?),
            Resource::Policy(policy) => Declared::Policy(policy_of(policy)?),
            Resource::Qos(qos) => Declared::Qos(qos_of(qos)?),
            Resource::Path(path) => Declared::Path(route_of(path)?),
            Resource::Mirror(mirror) => Declared::Mirror(mirror_of(mirror)?),
            Resource::Balancer(balancer) => Declared::Balancer(balancer_of(balancer)?),
            Resource::Tenant(tenant) => Declared::Tenant(tenant_of(tenant)?),
        })
    };
    Ok(Edit { label: controller::Label::new(kind, &label.name), to: to.map(declared).transpose()? })
}

fn fault(label: String, pointer: impl Into<String>, reason: impl std::fmt::Display) -> Fault {
    Fault { label, pointer: pointer.into(), reason: reason.to_string() }
}

fn network_of(network: &controller_api::Network) -> Result<controller::Network, Fault> {
    let label = || format!("network/{}", network.name);
    let vlan = VlanId::new(network.vlan).map_err(|error| fault(label(), "/vlan", error))?;
    let hosts = network.hosts.iter().map(|host| Reservation {
        port: port_of(&host.port),
        mac: MacAddr(host.mac.0),
        addresses: host.addresses.clone(),
    });
    Ok(controller::Network {
        vlan,
        access: network.ports.iter().map(port_of).collect(),
        trunks: network.trunks.iter().map(port_of).collect(),
        hosts: hosts.collect(),
    })
}

/// Interfaces whose switch port is known. A sub-interface is where its parent is.
fn attachments_of(router: &controller_api::Router) -> Result<Vec<Attachment>, Fault> {
    let by_port: BTreeMap<&str, &PortRef> = router
        .interfaces
        .iter()
        .filter_map(|interface| Some((interface.port_name(), interface.attachment.as_ref()?)))
        .collect();
    let mut attachments = Vec::new();
    for (idx, interface) in router.interfaces.iter().enumerate() {
        let vlan = interface.vlan.map(VlanId::new).transpose();
        let vlan = vlan.map_err(|error| {
            fault(format!("router/{}", router.name), format!("/interfaces/{idx}/vlan"), error)
        })?;
        let attachment =
            interface.attachment.as_ref().or_else(|| by_port.get(interface.port_name()).copied());
        let Some(attachment) = attachment else { continue };
        // A parent without address only carries its sub-interfaces.
        if vlan.is_none() && interface.network.is_none() && interface.all_addresses().next().is_none() {
            continue;
        }
        attachments.push(Attachment {
            router: router.name.clone(),
            port: port_of(attachment),
            vlan,
            network: interface.network.clone(),
        });
    }
    Ok(attachments)
}

fn chain_of(chain: &controller_api::Chain) -> Result<controller::Chain, Fault> {
    let label = format!("chain/{}", chain.name);
    Ok(controller::Chain {
        from: ends_of(&label, "from", &chain.from)?,
        to: ends_of(&label, "to", &chain.to)?,
        functions: chain.functions.clone(),
        symmetric: chain.symmetric,
    })
}

fn ends_of(label: &str, field: &str, names: &[String]) -> Result<BTreeSet<PortName>, Fault> {
    let port = |(idx, name): (usize, &String)| {
        let port = name.parse::<PortRef>().map(|port| port_of(&port));
        port.map_err(|error| fault(label.to_owned(), format!("/{field}/{idx}"), error))
    };
    names.iter().enumerate().map(port).collect()
}

fn policy_of(policy: &controller_api::Policy) -> Result<controller::Policy, Fault> {
    let label = format!("policy/{}", policy.name);
    let ports = policy.ports.iter().enumerate().map(|(idx, port)| match port {
        0 => Err(fault(label.clone(), format!("/ports/{idx}"), "0 is not a port: 1 to 65535")),
        port => Ok(*port),
    });
    let ports: BTreeSet<u16> = ports.collect::<Result<_, _>>()?;
    let traffic = match policy.protocol {
        Some(PolicyProtocol::Tcp) => Traffic::Tcp(ports),
        Some(PolicyProtocol::Udp) => Traffic::Udp(ports),
        _ if !ports.is_empty() => {
            let reason = "only tcp and udp have ports: give the protocol, or leave the ports out";
            return Err(fault(label, "/protocol", reason));
        }
        Some(PolicyProtocol::Icmp) => Traffic::Icmp,
        None => Traffic::Ip,
    };
    Ok(controller::Policy {
        priority: policy.priority,
        judgement: match policy.action {
            PolicyAction::Allow => Judgement::Allow,
            PolicyAction::Deny => Judgement::Deny,
            PolicyAction::Reject => Judgement::Reject,
        },
        from: ends_of(&label, "from", &policy.from)?,
        to: ends_of(&label, "to", &policy.to)?,
        traffic,
        stateful: policy.stateful,
    })
}

fn qos_of(qos: &controller_api::Qos) -> Result<controller::Qos, Fault> {
    let label = format!("qos/{}", qos.name);
    let (rate, burst) = rate_of(&label, qos.rate, qos.burst)?;
    Ok(controller::Qos {
        ports: ends_of(&label, "ports", &qos.ports)?,
        networks: qos.networks.clone(),
        rate,
        burst,
        queue: qos.queue.map(u32::from),
    })
}

/// In kbit/s and kbit, as meters have them.
fn rate_of(label: &str, rate: Option<Rate>, burst: Option<u32>) -> Result<(Option<u32>, Option<u32>), Fault> {
    let rate = rate.map(|rate| u32::try_from(rate.0 / 1000)).transpose();
    let rate = rate.map_err(|_| fault(label.to_owned(), "/rate", "a meter measures up to 4294G"))?;
    Ok((rate, burst.map(|bytes| (u64::from(bytes) * 8).div_ceil(1000) as u32)))
}

fn route_of(path: &controller_api::Path) -> Result<controller::Route, Fault> {
    let end = |field: &str, name: &str| -> Result<PortName, Fault> {
        let port = name.parse::<PortRef>();
        port.map(|port| port_of(&port))
            .map_err(|error| fault(format!("path/{}", path.name), format!("/{field}"), error))
    };
    Ok(controller::Route {
        from: end("from", &path.from)?,
        to: end("to", &path.to)?,
        via: path.via.clone(),
        avoid: path.avoid.clone(),
        avoid_links: path.avoid_links.iter().map(port_of).collect(),
        backup: path.backup,
        symmetric: path.symmetric,
        strict: path.strict,
    })
}

fn mirror_of(mirror: &controller_api::Mirror) -> Result<controller::Mirror, Fault> {
    let label = format!("mirror/{}", mirror.name);
    let to = mirror.to.parse::<PortRef>().map_err(|error| fault(label.clone(), "/to".to_owned(), error))?;
    Ok(controller::Mirror {
        ports: ends_of(&label, "ports", &mirror.ports)?,
        sent: mirror.direction != MirrorDirection::Received,
        received: mirror.direction != MirrorDirection::Sent,
        to: port_of(&to),
    })
}

fn balancer_of(balancer: &controller_api::Balancer) -> Result<controller::Balancer, Fault> {
    let label = format!("balancer/{}", balancer.name);
    let service = |service: &controller_api::BalancerService| controller::Service {
        tcp: service.protocol == Protocol::Tcp,
        port: service.port,
        target: service.target_port.unwrap_or(service.port),
    };
    let member = |(idx, member): (usize, &controller_api::BalancerMember)| {
        let port = member.port.parse::<PortRef>();
        let port = port.map_err(|error| fault(label.clone(), format!("/members/{idx}/port"), error))?;
        let (address, weight) = (member.address, member.weight);
        Ok(controller::Member { port: port_of(&port), address, weight })
    };
    Ok(controller::Balancer {
        network: balancer.network.clone(),
        address: balancer.address,
        services: balancer.services.iter().map(service).collect(),
        members: balancer.members.iter().enumerate().map(member).collect::<Result<_, Fault>>()?,
    })
}

fn tenant_of(tenant: &controller_api::Tenant) -> Result<controller::Tenant, Fault> {
    let (rate, burst) = rate_of(&format!("tenant/{}", tenant.name), tenant.rate, tenant.burst)?;
    let quota = &tenant.quota;
    let of = [
        (Kind::Network, quota.networks),
        (Kind::Router, quota.routers),
        (Kind::Function, quota.functions),
        (Kind::Chain, quota.chains),
        (Kind::Policy, quota.policies),
        (Kind::Qos, quota.qos),
        (Kind::Path, quota.paths),
        (Kind::Mirror, quota.mirrors),
        (Kind::Balancer, quota.balancers),
    ];
    Ok(controller::Tenant {
        quota: of.into_iter().filter_map(|(kind, most)| Some((kind, most?))).collect(),
        max_ports: quota.ports,
        ports: tenant.ports.as_ref().map(|ports| ports.iter().cloned().collect()),
        rate,
        burst,
    })
}

fn port_of(port: &PortRef) -> PortName {
    PortName::new(port.node.clone(), &port.port)
}

/// What a write would do, for people.
pub fn forecast_of(core: &Controller, forecast: controller::Forecast) -> Forecast {
    let view = core.view();
    let switch = |(dpid, changes): (openflow::Dpid, Vec<FlowChange>)| {
        let of = |verb: Verb| -> Vec<String> {
            changes.iter().filter(|change| change.verb == verb).map(ToString::to_string).collect()
        };
        SwitchForecast {
            switch: view.name(dpid),
            connected: core.connection(dpid).is_some(),
            adds: of(Verb::Add),
            modifies: of(Verb::Modify),
            deletes: of(Verb::Delete),
        }
    };
    let end = |end: Endpoint| EndpointRef { port: port_ref(view, end.at), vlan: end.vlan.map(VlanId::get) };
    let list = |pairs: Pairs| PairList {
        n_pairs: pairs.n_pairs,
        pairs: pairs.named.into_iter().map(|(a, b)| Pair { a: end(a), b: end(b) }).collect(),
    };
    Forecast {
        switches: forecast.switches.into_iter().map(switch).collect(),
        gained: list(forecast.gained),
        lost: list(forecast.lost),
        issues: forecast.issues.iter().map(|issue| format!("{}: {}", issue.label, issue.reason)).collect(),
    }
}

/// How far an intent is.
pub fn status_of(status: IntentStatus, view: &View) -> Status {
    let reason = (!status.reasons.is_empty()).then(|| status.reasons.join("; "));
    let switches = status.switches.into_iter().map(|switch| SwitchStatus {
        switch: view.name(switch.dpid),
        generation: switch.confirmed,
        state: state_of(switch.state),
        n_flows: u32::try_from(switch.n_flows).unwrap_or(u32::MAX),
        reason: switch.reason,
    });
    Status {
        generation: status.generation,
        state: state_of(status.state),
        reason,
        switches: switches.collect(),
    }
}

fn state_of(state: IntentState) -> State {
    match state {
        IntentState::Realised => State::Realised,
        IntentState::Pending => State::Pending,
        IntentState::Failed => State::Failed,
    }
}

/// A port for people: the switch's name and the port's number.
pub fn port_ref(view: &View, at: controller::At) -> PortRef {
    PortRef::new(view.name(at.0), at.1)
}

/// The dpid of the API.
pub fn dpid_of(dpid: openflow::Dpid) -> Dpid {
    Dpid(dpid.0)
}

/// The MAC address of the API.
pub fn mac_of(mac: MacAddr) -> Mac {
    Mac(mac.0)
}

/// Counters; what a switch does not count is zero.
pub fn counters_of(stats: &PortStats) -> PortCounters {
    let count = |n: u64| if n == u64::MAX { 0 } else { n };
    PortCounters {
        rx_frames: count(stats.rx_packets),
        rx_bytes: count(stats.rx_bytes),
        rx_dropped: count(stats.rx_dropped),
        rx_errors: count(stats.rx_errors),
        tx_frames: count(stats.tx_packets),
        tx_bytes: count(stats.tx_bytes),
        tx_dropped: count(stats.tx_dropped),
        tx_errors: count(stats.tx_errors),
    }
}
