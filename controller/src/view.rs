//! What is known of the network: switches, ports, links and hosts. Events write it, the plan reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use openflow::Dpid;
use packet::{MacAddr, PortNo, VlanId};

use crate::intent::PortName;
use crate::lanes::Lanes;

/// A port of a switch.
pub type At = (Dpid, PortNo);

/// What is known of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Switches by datapath id.
    pub switches: BTreeMap<Dpid, Switch>,
    /// Links seen by discovery, each direction by itself: from the port that sent to the port that received.
    pub links: BTreeMap<At, At>,
    /// Hosts by lane and address.
    pub hosts: BTreeMap<(VlanId, MacAddr), Host>,
}

/// A switch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switch {
    /// Its own name, or its dpid.
    pub name: String,
    /// Number of tables.
    pub n_tables: u8,
    /// Its real ports.
    pub ports: BTreeMap<PortNo, Port>,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its address.
    pub mac: MacAddr,
    /// Neither administratively down nor without link.
    pub up: bool,
    /// Discovery had its chance: if no link was seen, there is none.
    pub settled: bool,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The edge port it is attached to.
    pub at: At,
    /// IP addresses it was seen to use.
    pub addresses: BTreeSet<IpAddr>,
}

/// What a port is used for, as far as discovery can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Not decided yet.
    Unknown,
    /// No other switch is attached.
    Edge,
    /// Another switch is attached.
    Link,
}

impl View {
    /// What a port is used for. A port that is not there is unknown.
    pub fn role(&self, at: At) -> Role {
        let Some(port) = self.port(at) else { return Role::Unknown };
        match () {
            () if self.is_link(at) => Role::Link,
            () if port.settled => Role::Edge,
            () => Role::Unknown,
        }
    }

    /// Whether a link begins or ends here, in either direction.
    pub fn is_link(&self, at: At) -> bool {
        self.links.contains_key(&at) || self.links.values().any(|&to| to == at)
    }

    /// A port.
    pub fn port(&self, at: At) -> Option<&Port> {
        self.switches.get(&at.0)?.ports.get(&at.1)
    }

    /// The switch that people mean: by name, then by dpid.
    pub fn find_switch(&self, name: &str) -> Option<Dpid> {
        let by_name = self.switches.iter().find(|(_, switch)| switch.name == name).map(|(dpid, _)| *dpid);
        by_name.or_else(|| name.parse().ok().filter(|dpid| self.switches.contains_key(dpid)))
    }

    /// The port that people mean: by number, then by name.
    pub fn find_port(&self, name: &PortName) -> Option<At> {
        let dpid = self.find_switch(&name.switch)?;
        let ports = &self.switches.get(&dpid)?.ports;
        let by_number = name.port.parse().ok().map(PortNo).filter(|port| ports.contains_key(port));
        let port = by_number
            .or_else(|| ports.iter().find(|(_, port)| port.name == name.port).map(|(number, _)| *number))?;
        Some((dpid, port))
    }

    /// A switch's name for people.
    pub fn name(&self, dpid: Dpid) -> String {
        self.switches.get(&dpid).map_or_else(|| dpid.to_string(), |switch| switch.name.clone())
    }

    /// Links seen in both directions, each once, lower end first; links of a switch with itself left out.
    pub fn edges(&self) -> impl Iterator<Item = (At, At)> + '_ {
        self.links
            .iter()
            .map(|(&from, &to)| (from, to))
            .filter(|&(from, to)| from < to && from.0 != to.0 && self.links.get(&to) == Some(&from))
    }

    /// Forgets what was found out about these ports; those that are there.
    pub(crate) fn unsettle<'a>(&mut self, ports: impl Iterator<Item = &'a At>) -> Vec<At> {
        let mut found = Vec::new();
        for at in ports {
            let port = self.switches.get_mut(&at.0).and_then(|switch| switch.ports.get_mut(&at.1));
            if let Some(port) = port {
                port.settled = false;
                found.push(*at);
            }
        }
        found
    }

    /// Removes the links that have such an end.
    pub(crate) fn take_links(&mut self, gone: impl Fn(At) -> bool) -> Vec<(At, At)> {
        let links = self.links.iter().map(|(from, to)| (*from, *to));
        let links: Vec<(At, At)> = links.filter(|(from, to)| gone(*from) || gone(*to)).collect();
        for (from, _) in &links {
            self.links.remove(from);
        }
        links
    }

    /// Forgets hosts at ports that are not of their lane (any more).
    pub(crate) fn forget_strangers(&mut self, lanes: &Lanes) {
        let mut hosts = std::mem::take(&mut self.hosts);
        hosts.retain(|(lane, _), host| {
            let has = lanes.lanes.get(lane).is_some_and(|lane| lane.has(host.at));
            has || !self.port(host.at).is_some_and(|port| port.settled)
        });
        self.hosts = hosts;
    }
}
