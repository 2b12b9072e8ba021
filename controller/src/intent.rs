//! What an operator wants, checked for contradictions as far as that needs no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use packet::{MacAddr, VlanId};

use crate::layout;

/// A port as people name it: a switch by name or dpid, a port by number or name. It need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortName {
    /// Name of the switch, or its dpid.
    pub switch: String,
    /// Number or name of the port.
    pub port: String,
}

impl PortName {
    /// `switch:port`.
    pub fn new(switch: impl Into<String>, port: impl ToString) -> Self {
        Self { switch: switch.into(), port: port.to_string() }
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.switch, self.port)
    }
}

/// An isolated L2 segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Tag on links and trunk ports.
    pub vlan: VlanId,
    /// Ports whose frames are untagged.
    pub access: BTreeSet<PortName>,
    /// Ports whose frames carry the tag.
    pub trunks: BTreeSet<PortName>,
    /// Endpoints known beforehand.
    pub hosts: Vec<Reservation>,
}

/// An endpoint known before it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Where it is attached.
    pub port: PortName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
}

/// A router's interface plugged into a switch port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the router.
    pub router: String,
    /// The switch port.
    pub port: PortName,
    /// Tag of a sub-interface.
    pub vlan: Option<VlanId>,
    /// Its network; absent on a sub-interface: the one with that tag; absent otherwise: as the port is declared.
    pub network: Option<String>,
}

/// Traffic that passes functions in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Where it comes from.
    pub from: BTreeSet<PortName>,
    /// Where it goes to.
    pub to: BTreeSet<PortName>,
    /// Names of functions in order.
    pub functions: Vec<String>,
    /// What returns passes them in reverse order.
    pub symmetric: bool,
}

/// A chain function and its two ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Where frames in the direction of the chain are handed to it.
    pub ingress: PortName,
    /// Where it gives them back.
    pub egress: PortName,
}

/// All that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// Networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Where routers are plugged in, by name of the router.
    pub routers: BTreeMap<String, Vec<Attachment>>,
    /// Functions by name.
    pub functions: BTreeMap<String, Function>,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
}

/// A contradiction within an intent, or between two.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{label}: {reason}")]
pub struct Fault {
    /// Which intent: `network/blue`.
    pub label: String,
    /// JSON pointer to the field within it.
    pub pointer: String,
    /// What is wrong, with the other side named.
    pub reason: String,
}

impl Fault {
    fn new(label: String, pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { label, pointer: pointer.into(), reason: reason.into() }
    }
}

impl Intent {
    /// Everything that contradicts itself or another intent. Empty: it may be planned.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.check_networks(&mut faults);
        self.check_routers(&mut faults);
        self.check_functions(&mut faults);
        self.check_chains(&mut faults);
        faults
    }

    fn check_networks(&self, faults: &mut Vec<Fault>) {
        let mut vlans: BTreeMap<VlanId, &str> = BTreeMap::new();
        let mut access: BTreeMap<&PortName, &str> = BTreeMap::new();
        for (name, network) in &self.networks {
            let label = || format!("network/{name}");
            if network.vlan.get() == layout::DEFAULT_LANE {
                let reason = format!("VLAN {} is used for ports that no network declares", network.vlan);
                faults.push(Fault::new(label(), "/vlan", reason));
            }
            if let Some(other) = vlans.insert(network.vlan, name) {
                let reason = format!("VLAN {} already belongs to network {other:?}", network.vlan);
                faults.push(Fault::new(label(), "/vlan", reason));
            }
            for (idx, port) in network.access.iter().enumerate() {
                if let Some(other) = access.insert(port, name) {
                    let reason = format!("{port} is already an access port of network {other:?}");
                    faults.push(Fault::new(label(), format!("/ports/{idx}"), reason));
                }
                if network.trunks.contains(port) {
                    let reason = format!("{port} cannot be both an access port and a trunk of one network");
                    faults.push(Fault::new(label(), format!("/ports/{idx}"), reason));
                }
            }
            for (idx, host) in network.hosts.iter().enumerate() {
                if !network.access.contains(&host.port) && !network.trunks.contains(&host.port) {
                    let reason = format!("{} is not a port of the network", host.port);
                    faults.push(Fault::new(label(), format!("/hosts/{idx}/port"), reason));
                }
                if !host.mac.is_unicast() {
                    let reason = format!("{} is not the address of one host", host.mac);
                    faults.push(Fault::new(label(), format!("/hosts/{idx}/mac"), reason));
                }
            }
        }
    }

    fn check_routers(&self, faults: &mut Vec<Fault>) {
        for (name, attachments) in &self.routers {
            for (idx, attachment) in attachments.iter().enumerate() {
                if let Some(network) = &attachment.network
                    && !self.networks.contains_key(network)
                {
                    let reason = format!("there is no network {network:?}");
                    let pointer = format!("/interfaces/{idx}/network");
                    faults.push(Fault::new(format!("router/{name}"), pointer, reason));
                }
            }
        }
    }

    fn check_functions(&self, faults: &mut Vec<Fault>) {
        let mut taken: BTreeMap<&PortName, &str> = BTreeMap::new();
        let mut declared: BTreeMap<&PortName, &str> = BTreeMap::new();
        for (name, network) in &self.networks {
            declared.extend(network.access.iter().chain(&network.trunks).map(|port| (port, name.as_str())));
        }
        for (name, function) in &self.functions {
            for (pointer, port) in [("/in", &function.ingress), ("/out", &function.egress)] {
                let fault = |reason| Fault::new(format!("function/{name}"), pointer, reason);
                if let Some(network) = declared.get(port) {
                    faults.push(fault(format!("{port} is a port of network {network:?}")));
                }
                if let Some(other) = taken.insert(port, name) {
                    faults.push(fault(format!("{port} is already a port of function {other:?}")));
                }
            }
        }
    }

    fn check_chains(&self, faults: &mut Vec<Fault>) {
        let mut users: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, chain) in &self.chains {
            let fault = |pointer: String, reason| Fault::new(format!("chain/{name}"), pointer, reason);
            for (pointer, ports) in [("/from", &chain.from), ("/to", &chain.to)] {
                if ports.is_empty() {
                    faults.push(fault(pointer.to_owned(), "at least one endpoint is needed".to_owned()));
                }
            }
            if let Some(port) = chain.from.intersection(&chain.to).next() {
                faults.push(fault("/to".to_owned(), format!("{port} is at both ends")));
            }
            for (idx, function) in chain.functions.iter().enumerate() {
                let pointer = format!("/functions/{idx}");
                if !self.functions.contains_key(function) {
                    faults.push(fault(pointer, format!("there is no function {function:?}")));
                } else if let Some(other) = users.insert(function, name) {
                    // Frames come back from a function as they went in: nothing tells which chain they belong to.
                    let reason =
                        format!("function {function:?} already serves chain {other:?}; it can serve one");
                    faults.push(fault(pointer, reason));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(vlan: u16, ports: &[&str]) -> Network {
        let access = ports.iter().map(|port| PortName::new("s1", port)).collect();
        Network { vlan: VlanId::new(vlan).unwrap(), access, trunks: BTreeSet::new(), hosts: Vec::new() }
    }

    #[test]
    fn contradictions_name_both_sides() {
        let mut intent = Intent::default();
        intent.networks.insert("blue".into(), network(10, &["1", "2"]));
        assert_eq!(intent.faults(), []);
        intent.networks.insert("red".into(), network(10, &["2"]));
        let reasons: Vec<_> =
            intent.faults().into_iter().map(|f| (f.pointer.clone(), f.to_string())).collect();
        let port = "network/red: s1:2 is already an access port of network \"blue\"";
        let vlan = "network/red: VLAN 10 already belongs to network \"blue\"";
        assert_eq!(
            reasons,
            [("/vlan".to_owned(), vlan.to_owned()), ("/ports/0".to_owned(), port.to_owned())]
        );
    }

    #[test]
    fn a_function_serves_one_chain() {
        let mut intent = Intent::default();
        let [ingress, egress] = ["1", "2"].map(|port| PortName::new("s1", port));
        intent.functions.insert("fw".into(), Function { ingress, egress });
        let chain = |to: &str, functions: &[&str]| Chain {
            from: [PortName::new("s1", "3")].into(),
            to: [PortName::new("s1", to)].into(),
            functions: functions.iter().map(|&f| f.to_owned()).collect(),
            symmetric: true,
        };
        intent.chains.insert("a".into(), chain("4", &["fw"]));
        assert_eq!(intent.faults(), []);
        intent.chains.insert("b".into(), chain("3", &["fw", "nat"]));
        let pointers: Vec<_> = intent.faults().into_iter().map(|f| f.pointer).collect();
        assert_eq!(pointers, ["/to", "/functions/0", "/functions/1"]);
    }
}
