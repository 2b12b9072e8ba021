//! Intents, resolved against what is there: which port is in which lane.

use std::collections::{BTreeMap, BTreeSet};

use packet::{MacAddr, VlanId};

use crate::blueprint::Issue;
use crate::intent::{Attachment, Chain, Intent, PortName};
use crate::layout;
use crate::view::{At, Host, Role, View};

/// A lane: the ports of a network and how their frames look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The intent it serves: `network/blue`, or `default`.
    pub label: String,
    /// Ports whose frames are as hosts write them.
    pub access: BTreeSet<At>,
    /// Ports whose frames carry the lane's tag.
    pub trunks: BTreeSet<At>,
    /// Access ports take tagged frames, too: the tag is the hosts' own affair.
    pub transparent: bool,
}

impl Lane {
    fn new(label: String, transparent: bool) -> Self {
        Self { label, access: BTreeSet::new(), trunks: BTreeSet::new(), transparent }
    }

    /// Whether hosts of this lane may be there.
    pub fn has(&self, at: At) -> bool {
        self.access.contains(&at) || self.trunks.contains(&at)
    }

    /// Ports of hosts.
    pub fn ports(&self) -> impl Iterator<Item = At> + '_ {
        self.access.iter().chain(&self.trunks).copied()
    }
}

/// A chain, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The intent it serves: `chain/web`.
    pub label: String,
    /// The lane of its ends.
    pub lane: VlanId,
    /// Ports of hosts where it begins.
    pub from: BTreeSet<At>,
    /// Ports of hosts where it ends.
    pub to: BTreeSet<At>,
    /// In and out port of each function in order. None: not all are there, so the traffic must wait.
    pub functions: Option<Vec<(At, At)>>,
    /// Also on the way back.
    pub symmetric: bool,
}

/// Everything resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lanes {
    /// Lanes by number.
    pub lanes: BTreeMap<VlanId, Lane>,
    /// Ports of functions.
    pub functions: BTreeSet<At>,
    /// Chains.
    pub paths: Vec<Path>,
    /// Hosts in their lanes: declared ones, and learned ones where they may be.
    pub hosts: BTreeMap<(VlanId, MacAddr), Host>,
    /// What could not be resolved.
    pub issues: Vec<Issue>,
}

/// Resolves `intent` in `view`.
pub fn resolve(intent: &Intent, view: &View) -> Lanes {
    let mut resolver =
        Resolver { intent, view, out: Lanes::default(), default: Lane::new("default".into(), true) };
    resolver.functions();
    resolver.networks();
    resolver.attachments();
    resolver.default_lane();
    resolver.hosts();
    resolver.chains();
    resolver.out
}

struct Resolver<'a> {
    intent: &'a Intent,
    view: &'a View,
    out: Lanes,
    default: Lane,
}

impl Resolver<'_> {
    fn issue(&mut self, label: &str, reason: String) {
        self.out.issues.push(Issue { label: label.to_owned(), reason });
    }

    /// The port of that name, or an issue.
    fn port(&mut self, label: &str, name: &PortName) -> Option<At> {
        let at = self.view.find_port(name);
        if at.is_none() {
            self.issue(label, format!("waiting for port {name}"));
        }
        at
    }

    /// The port of that name if hosts can be there, or an issue.
    fn edge_port(&mut self, label: &str, name: &PortName) -> Option<At> {
        let at = self.port(label, name)?;
        if self.view.role(at) == Role::Link {
            self.issue(
                label,
                format!("{name} is a link to another switch, so it cannot be a port of a network"),
            );
            return None;
        }
        if self.out.functions.contains(&at) {
            self.issue(
                label,
                format!("{name} is the port of a function, so it cannot be a port of a network"),
            );
            return None;
        }
        Some(at)
    }

    fn functions(&mut self) {
        for (name, function) in &self.intent.functions {
            let label = format!("function/{name}");
            for port in [&function.ingress, &function.egress] {
                if let Some(at) = self.port(&label, port) {
                    self.out.functions.insert(at);
                }
            }
        }
    }

    fn networks(&mut self) {
        let mut taken = BTreeMap::new();
        for (name, network) in &self.intent.networks {
            let label = format!("network/{name}");
            let mut lane = Lane::new(label.clone(), false);
            for port in &network.access {
                let Some(at) = self.edge_port(&label, port) else { continue };
                // Two spellings of one port get past the check of the intents.
                match taken.insert(at, name) {
                    Some(other) => {
                        self.issue(&label, format!("{port} is already an access port of network {other:?}"));
                        taken.insert(at, other);
                    }
                    None => drop(lane.access.insert(at)),
                }
            }
            for port in &network.trunks {
                let at = self.edge_port(&label, port);
                lane.trunks.extend(at.filter(|at| !lane.access.contains(at)));
            }
            self.out.lanes.insert(network.vlan, lane);
        }
    }

    fn attachments(&mut self) {
        for (router, attachments) in &self.intent.routers {
            let label = format!("router/{router}");
            for attachment in attachments {
                if let Some(at) = self.edge_port(&label, &attachment.port) {
                    self.attach(&label, attachment, at);
                }
            }
        }
    }

    fn attach(&mut self, label: &str, attachment: &Attachment, at: At) {
        let vlan = match &attachment.network {
            Some(network) => self.intent.networks.get(network).map(|network| network.vlan),
            None => attachment.vlan,
        };
        let access_of =
            self.out.lanes.iter().find(|(_, lane)| lane.access.contains(&at)).map(|(vlan, _)| *vlan);
        match (vlan, attachment.vlan) {
            // A sub-interface: the router writes the tag itself, so it must be the network's.
            (Some(vlan), Some(tag)) if vlan != tag => {
                let network = attachment.network.as_deref().unwrap_or_default();
                self.issue(
                    label,
                    format!("network {network:?} has VLAN {vlan}, the sub-interface has {tag}"),
                );
            }
            (Some(vlan), Some(_)) => match self.out.lanes.get_mut(&vlan) {
                Some(lane) if !lane.access.contains(&at) => drop(lane.trunks.insert(at)),
                Some(_) => {}
                None => self.issue(label, format!("no network has VLAN {vlan}")),
            },
            (Some(vlan), None) if access_of.is_none_or(|lane| lane == vlan) => {
                if let Some(lane) = self.out.lanes.get_mut(&vlan) {
                    lane.trunks.remove(&at);
                    lane.access.insert(at);
                }
            }
            (Some(_), None) => self.issue(label, format!("{} is in another network", attachment.port)),
            // Plain, and in no network by name: where the networks put the port, or with the undeclared ones.
            (None, _) if access_of.is_none() => drop(self.default.access.insert(at)),
            (None, _) => {}
        }
    }

    /// Ports that nobody declares, once discovery is sure that no switch is behind them.
    fn default_lane(&mut self) {
        let links: BTreeSet<At> = self.view.links.iter().flat_map(|(from, to)| [*from, *to]).collect();
        let declared: BTreeSet<At> = self.out.lanes.values().flat_map(Lane::ports).collect();
        for (&dpid, switch) in &self.view.switches {
            for (&number, port) in &switch.ports {
                let at = (dpid, number);
                let taken = declared.contains(&at) || self.out.functions.contains(&at) || links.contains(&at);
                if port.settled && !taken {
                    self.default.access.insert(at);
                }
            }
        }
        let vlan = VlanId::new(layout::DEFAULT_LANE).expect("a constant in range");
        let lane = std::mem::replace(&mut self.default, Lane::new(String::new(), true));
        self.out.lanes.insert(vlan, lane);
    }

    fn hosts(&mut self) {
        for (key, host) in &self.view.hosts {
            if self.out.lanes.get(&key.0).is_some_and(|lane| lane.has(host.at)) {
                self.out.hosts.insert(*key, host.clone());
            }
        }
        for network in self.intent.networks.values() {
            for reservation in &network.hosts {
                let Some(at) = self.view.find_port(&reservation.port) else { continue };
                if self.out.lanes.get(&network.vlan).is_some_and(|lane| lane.has(at)) {
                    let addresses = reservation.addresses.iter().copied().collect();
                    self.out.hosts.insert((network.vlan, reservation.mac), Host { at, addresses });
                }
            }
        }
    }

    fn chains(&mut self) {
        for (name, chain) in &self.intent.chains {
            let label = format!("chain/{name}");
            let from: BTreeSet<At> =
                chain.from.iter().filter_map(|port| self.edge_port(&label, port)).collect();
            let to: BTreeSet<At> = chain.to.iter().filter_map(|port| self.edge_port(&label, port)).collect();
            let functions = self.chain_functions(&label, chain);
            if from.is_empty() || to.is_empty() {
                continue;
            }
            let common = |lane: &Lane| from.iter().chain(&to).all(|&at| lane.has(at));
            let lane = self.out.lanes.iter().find(|(_, lane)| common(lane)).map(|(vlan, _)| *vlan);
            match lane {
                Some(lane) => {
                    let symmetric = chain.symmetric;
                    self.out.paths.push(Path { label, lane, from, to, functions, symmetric });
                }
                None => self.issue(&label, "its ends are not in one network (yet)".to_owned()),
            }
        }
    }

    fn chain_functions(&mut self, label: &str, chain: &Chain) -> Option<Vec<(At, At)>> {
        let mut functions = Some(Vec::new());
        for name in &chain.functions {
            let function = self.intent.functions.get(name)?;
            let ports = (self.port(label, &function.ingress), self.port(label, &function.egress));
            match (ports, &mut functions) {
                ((Some(ingress), Some(egress)), Some(functions)) => functions.push((ingress, egress)),
                _ => functions = None,
            }
        }
        functions
    }
}
