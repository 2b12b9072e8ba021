//! What is known of the network: switches, ports, links and hosts. Events write it, the plan reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use openflow::Dpid;
use packet::{MacAddr, PortNo, VlanId};

use crate::groups::Support;
use crate::intent::PortName;

/// A port of a switch.
pub type At = (Dpid, PortNo);

/// A host: its lane and its address.
pub type HostKey = (VlanId, MacAddr);

/// What is known of the network. It notes what changes, so that a plan need look at nothing else.
#[derive(Debug, Clone, Default)]
pub struct View {
    switches: BTreeMap<Dpid, Switch>,
    names: BTreeMap<String, BTreeSet<Dpid>>,
    links: BTreeMap<At, At>,
    /// Number of links that arrive at a port.
    arrivals: BTreeMap<At, usize>,
    hosts: BTreeMap<HostKey, Host>,
    hosts_at: BTreeMap<At, BTreeSet<HostKey>>,
    changes: Changes,
}

/// What changed in a view.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Switches that came, went, or have another name, number of tables or set of named ports.
    pub(crate) switches: BTreeSet<Dpid>,
    /// Ports of which something else is known now.
    pub(crate) ports: BTreeSet<At>,
    /// The switches or the links between them are others.
    pub(crate) graph: bool,
    /// Hosts that came, went, moved or have another address.
    pub(crate) hosts: BTreeSet<HostKey>,
}

impl Changes {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        !self.graph && self.switches.is_empty() && self.ports.is_empty() && self.hosts.is_empty()
    }
}

/// A switch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switch {
    /// Its own name, or its dpid.
    pub name: String,
    /// Number of tables.
    pub n_tables: u8,
    /// What it can do with groups.
    pub groups: Support,
    /// The highest number that a meter may have; 0: it has none.
    pub max_meter: u32,
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
    /// Switches by datapath id.
    pub fn switches(&self) -> &BTreeMap<Dpid, Switch> {
        &self.switches
    }

    /// Links seen by discovery, each direction by itself: from the port that sent to the port that received.
    pub fn links(&self) -> &BTreeMap<At, At> {
        &self.links
    }

    /// Hosts by lane and address.
    pub fn hosts(&self) -> &BTreeMap<HostKey, Host> {
        &self.hosts
    }

    /// Hosts attached to a port.
    pub fn hosts_at(&self, at: At) -> impl Iterator<Item = HostKey> + '_ {
        self.hosts_at.get(&at).into_iter().flatten().copied()
    }

    /// Whether something changed since `take_changes`.
    pub fn is_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// What changed since the last time.
    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// As if all of it were new.
    pub(crate) fn everything(&self) -> Changes {
        let ports =
            self.switches.iter().flat_map(|(dpid, switch)| switch.ports.keys().map(|port| (*dpid, *port)));
        Changes {
            switches: self.switches.keys().copied().collect(),
            ports: ports.collect(),
            graph: true,
            hosts: self.hosts.keys().copied().collect(),
        }
    }

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
        self.links.contains_key(&at) || self.arrivals.contains_key(&at)
    }

    /// A port.
    pub fn port(&self, at: At) -> Option<&Port> {
        self.switches.get(&at.0)?.ports.get(&at.1)
    }

    /// The switch that people mean: by name, then by dpid.
    pub fn find_switch(&self, name: &str) -> Option<Dpid> {
        let by_name = self.names.get(name).and_then(|dpids| dpids.first().copied());
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

    /// Whether another switch has this name.
    pub(crate) fn is_taken(&self, name: &str, dpid: Dpid) -> bool {
        self.names.get(name).is_some_and(|dpids| dpids.iter().any(|other| *other != dpid))
    }

    /// Links seen in both directions, each once, lower end first; links of a switch with itself left out.
    pub fn edges(&self) -> impl Iterator<Item = (At, At)> + '_ {
        self.links
            .iter()
            .map(|(&from, &to)| (from, to))
            .filter(|&(from, to)| from < to && from.0 != to.0 && self.links.get(&to) == Some(&from))
    }

    /// Enters a switch, with the ports that are known of it.
    pub(crate) fn put_switch(&mut self, dpid: Dpid, switch: Switch) {
        self.remove_switch(dpid);
        self.names.entry(switch.name.clone()).or_default().insert(dpid);
        self.changes.ports.extend(switch.ports.keys().map(|port| (dpid, *port)));
        self.switches.insert(dpid, switch);
    }

    /// Takes a switch away; its links and hosts stay.
    pub(crate) fn remove_switch(&mut self, dpid: Dpid) {
        self.changes.switches.insert(dpid);
        self.changes.graph = true;
        let Some(old) = self.switches.remove(&dpid) else { return };
        if let Some(dpids) = self.names.get_mut(&old.name) {
            dpids.remove(&dpid);
            if dpids.is_empty() {
                self.names.remove(&old.name);
            }
        }
        self.changes.ports.extend(old.ports.keys().map(|port| (dpid, *port)));
    }

    /// A switch can do something else with groups than was thought.
    pub(crate) fn set_support(&mut self, dpid: Dpid, groups: Support) {
        if let Some(switch) = self.switches.get_mut(&dpid).filter(|switch| switch.groups != groups) {
            switch.groups = groups;
            self.changes.switches.insert(dpid);
            self.changes.graph = true;
        }
    }

    /// A switch has other meters than was thought.
    pub(crate) fn set_max_meter(&mut self, dpid: Dpid, max_meter: u32) {
        if let Some(switch) = self.switches.get_mut(&dpid).filter(|switch| switch.max_meter != max_meter) {
            switch.max_meter = max_meter;
            self.changes.switches.insert(dpid);
        }
    }

    /// Enters what is known of a port of a switch that is there.
    pub(crate) fn put_port(&mut self, at: At, port: Port) {
        let Some(switch) = self.switches.get_mut(&at.0) else { return };
        let name = port.name.clone();
        let old = switch.ports.insert(at.1, port);
        if old.is_none_or(|old| old.name != name) {
            self.changes.switches.insert(at.0);
        }
        self.changes.ports.insert(at);
    }

    pub(crate) fn remove_port(&mut self, at: At) {
        let switch = self.switches.get_mut(&at.0);
        if switch.and_then(|switch| switch.ports.remove(&at.1)).is_some() {
            self.changes.switches.insert(at.0);
            self.changes.ports.insert(at);
        }
    }

    /// Discovery had its chance, or has to have another. False: there is no such port.
    pub(crate) fn settle(&mut self, at: At, settled: bool) -> bool {
        let port = self.switches.get_mut(&at.0).and_then(|switch| switch.ports.get_mut(&at.1));
        let Some(port) = port else { return false };
        if port.settled != settled {
            port.settled = settled;
            self.changes.ports.insert(at);
        }
        true
    }

    /// Enters a link; where it led before.
    pub(crate) fn put_link(&mut self, from: At, to: At) -> Option<At> {
        let before = self.links.get(&from).copied();
        if before != Some(to) {
            self.remove_link(from);
            self.links.insert(from, to);
            *self.arrivals.entry(to).or_default() += 1;
            self.changes.ports.extend([from, to]);
            self.changes.graph = true;
        }
        before
    }

    pub(crate) fn remove_link(&mut self, from: At) {
        let Some(to) = self.links.remove(&from) else { return };
        if let Some(n) = self.arrivals.get_mut(&to) {
            *n -= 1;
            if *n == 0 {
                self.arrivals.remove(&to);
            }
        }
        self.changes.ports.extend([from, to]);
        self.changes.graph = true;
    }

    /// Removes the links that have such an end.
    pub(crate) fn take_links(&mut self, gone: impl Fn(At) -> bool) -> Vec<(At, At)> {
        let links = self.links.iter().map(|(from, to)| (*from, *to));
        let links: Vec<(At, At)> = links.filter(|(from, to)| gone(*from) || gone(*to)).collect();
        links.iter().for_each(|(from, _)| self.remove_link(*from));
        links
    }

    pub(crate) fn put_host(&mut self, key: HostKey, host: Host) {
        if self.hosts.get(&key) != Some(&host) {
            self.remove_host(key);
            self.hosts_at.entry(host.at).or_default().insert(key);
            self.hosts.insert(key, host);
            self.changes.hosts.insert(key);
        }
    }

    pub(crate) fn remove_host(&mut self, key: HostKey) {
        let Some(host) = self.hosts.remove(&key) else { return };
        self.changes.hosts.insert(key);
        if let Some(here) = self.hosts_at.get_mut(&host.at) {
            here.remove(&key);
            if here.is_empty() {
                self.hosts_at.remove(&host.at);
            }
        }
    }

    /// Forgets what was learned at a port.
    pub(crate) fn remove_hosts_at(&mut self, at: At) {
        let here: Vec<HostKey> = self.hosts_at(at).collect();
        here.into_iter().for_each(|key| self.remove_host(key));
    }
}
