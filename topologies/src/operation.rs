//! What has to be done to bring a topology to life, in order. Carrying it out is another crate's business.
//!
//! Each operation names beforehand what it will leave behind ([`Operation::resource`]), so that it can be journalled
//! before it is done and taken back after a crash. Taking back goes in reverse order, and takes back only that.

use std::fmt;

use controller_api::Cidr;
use packet::MacAddr;
use serde::{Deserialize, Serialize};

use crate::model::{End, FailMode, Interface, Model, NodeKind, Program, Protocol, Route, Vm};

/// How the engines are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All in one process, joined by links of the dataplane.
    Joined,
    /// A process each, joined by veth pairs.
    Split,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Make a network namespace, loopback up.
    CreateNamespace {
        /// Its name.
        namespace: String,
    },
    /// Make a veth pair.
    CreateVeth {
        /// One end.
        a: Device,
        /// The other.
        b: Device,
        /// Largest IP packet in bytes.
        mtu: u32,
    },
    /// Make a persistent tap for a guest.
    CreateTap {
        /// Its name.
        name: String,
        /// Largest IP packet in bytes.
        mtu: u32,
    },
    /// Start the controller.
    StartController,
    /// Start a switch.
    StartSwitch {
        /// Its name.
        name: String,
        /// Datapath id.
        dpid: u64,
        /// What it does without a controller.
        fail_mode: FailMode,
        /// Versions of OpenFlow it speaks.
        protocols: Vec<Protocol>,
    },
    /// Start a router, not yet configured.
    StartRouter {
        /// Its name.
        name: String,
    },
    /// Attach a port to a switch or router.
    AddPort {
        /// Whose.
        engine: String,
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// What is attached, in the words of `--port`.
        spec: String,
    },
    /// Join two engines of one process.
    JoinEngines {
        /// Engine, number and name of one port.
        a: (String, u32, String),
        /// Of the other.
        b: (String, u32, String),
        /// Largest IP packet in bytes.
        mtu: u32,
    },
    /// Give an interface its address and bring it up.
    Configure {
        /// Where it is.
        namespace: String,
        /// MAC address, MTU and IP addresses.
        interface: Interface,
    },
    /// Add a route.
    AddRoute {
        /// Where.
        namespace: String,
        /// Which.
        route: Route,
    },
    /// Start the program of a function.
    StartFunction {
        /// The node.
        node: String,
        /// Where it runs.
        namespace: String,
        /// What runs.
        program: Program,
    },
    /// Start a guest.
    StartVm {
        /// The node.
        node: String,
        /// The guest.
        vm: Vm,
        /// Its taps, in the order of its interfaces.
        taps: Vec<String>,
    },
}

/// An end of a veth pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Where it is; `None`: where the lab's own process is.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its MAC address; `None`: the kernel's choice.
    pub mac: Option<MacAddr>,
}

/// Something in the kernel that outlives the process that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Resource {
    /// A named network namespace, with all that is in it.
    Namespace(String),
    /// A network device where the lab's own process is.
    Device(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Device(name) => write!(f, "device {name}"),
        }
    }
}

impl Operation {
    /// What it leaves in the kernel. What is inside a namespace goes with it and is not named.
    pub fn resource(&self) -> Option<Resource> {
        match self {
            Self::CreateNamespace { namespace } => Some(Resource::Namespace(namespace.clone())),
            Self::CreateVeth { a, .. } if a.namespace.is_none() => Some(Resource::Device(a.name.clone())),
            Self::CreateTap { name, .. } => Some(Resource::Device(name.clone())),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |d: &Device| d.namespace.clone().map_or(d.name.clone(), |ns| format!("{ns}/{}", d.name));
        match self {
            Self::CreateNamespace { namespace } => write!(f, "create namespace {namespace}"),
            Self::CreateVeth { a, b, .. } => write!(f, "create veth {} -- {}", place(a), place(b)),
            Self::CreateTap { name, .. } => write!(f, "create tap {name}"),
            Self::StartController => f.write_str("start controller"),
            Self::StartSwitch { name, dpid, .. } => write!(f, "start switch {name} (dpid {dpid:016x})"),
            Self::StartRouter { name } => write!(f, "start router {name}"),
            Self::AddPort { engine, number, spec, .. } => write!(f, "attach {engine} port {number} = {spec}"),
            Self::JoinEngines { a, b, .. } => write!(f, "join {}:{} -- {}:{}", a.0, a.2, b.0, b.2),
            Self::Configure { namespace, interface } => {
                let addresses: Vec<String> = interface.addresses.iter().map(Cidr::to_string).collect();
                write!(f, "configure {namespace}/{} {}", interface.name, addresses.join(" "))
            }
            Self::AddRoute { namespace, route } => {
                write!(f, "add route {} via {} in {namespace}", route.to, route.via)
            }
            Self::StartFunction { node, .. } => write!(f, "start function {node}"),
            Self::StartVm { node, .. } => write!(f, "start vm {node}"),
        }
    }
}

/// The steps, in order: namespaces and devices, engines, ports, addresses and routes, functions and guests.
pub fn plan(model: &Model, layout: Layout) -> Vec<Operation> {
    let mut plan = Vec::new();
    for node in model.nodes.iter().filter(|node| node.has_namespace()) {
        plan.push(Operation::CreateNamespace { namespace: model.namespace(&node.name) });
    }
    plan.push(Operation::StartController);
    for node in &model.nodes {
        match &node.kind {
            NodeKind::Switch(switch) => plan.push(Operation::StartSwitch {
                name: node.name.clone(),
                dpid: switch.dpid,
                fail_mode: switch.fail_mode,
                protocols: switch.protocols.clone(),
            }),
            NodeKind::Router => plan.push(Operation::StartRouter { name: node.name.clone() }),
            _ => {}
        }
    }
    for link in &model.links {
        plug(model, layout, (&link.a, &link.b), link.mtu, &mut plan);
    }
    for node in model.nodes.iter().filter(|node| node.has_namespace()) {
        let namespace = model.namespace(&node.name);
        for interface in node.interfaces() {
            let (namespace, interface) = (namespace.clone(), interface.clone());
            plan.push(Operation::Configure { namespace, interface });
        }
        if let NodeKind::Host(host) = &node.kind {
            let route = |route: &Route| Operation::AddRoute { namespace: namespace.clone(), route: *route };
            plan.extend(host.routes.iter().map(route));
        }
    }
    for node in &model.nodes {
        match &node.kind {
            NodeKind::Function(function) => plan.push(Operation::StartFunction {
                node: node.name.clone(),
                namespace: model.namespace(&node.name),
                program: function.program.clone(),
            }),
            NodeKind::Vm(vm) => plan.push(Operation::StartVm {
                node: node.name.clone(),
                vm: vm.clone(),
                taps: vm.interfaces.iter().map(|i| device(&model.name, &node.name, &i.name)).collect(),
            }),
            _ => {}
        }
    }
    plan
}

/// The steps of one link.
fn plug(model: &Model, layout: Layout, (a, b): (&End, &End), mtu: u32, plan: &mut Vec<Operation>) {
    let node = |end: &End| &model.nodes[end.node];
    match (node(a).is_engine(), node(b).is_engine(), layout) {
        (true, true, Layout::Joined) => {
            let port = |end: &End| (node(end).name.clone(), end.number.unwrap_or(0), end.port.clone());
            plan.push(Operation::JoinEngines { a: port(a), b: port(b), mtu });
        }
        (true, true, Layout::Split) => {
            let name = |end: &End| device(&model.name, &node(end).name, &end.port);
            let end = |end: &End| Device { namespace: None, name: name(end), mac: None };
            plan.push(Operation::CreateVeth { a: end(a), b: end(b), mtu });
            plan.push(add_port(model, a, format!("afpacket:{}", name(a))));
            plan.push(add_port(model, b, format!("afpacket:{}", name(b))));
        }
        (false, false, _) => {
            let end = |end: &End| Device {
                namespace: Some(model.namespace(&node(end).name)),
                name: end.port.clone(),
                mac: interface(model, end).map(|i| i.mac),
            };
            plan.push(Operation::CreateVeth { a: end(a), b: end(b), mtu });
        }
        (true, false, _) => plug_node(model, (a, b), mtu, plan),
        (false, true, _) => plug_node(model, (b, a), mtu, plan),
    }
}

/// A host, function or guest at a port of an engine.
fn plug_node(model: &Model, (engine, end): (&End, &End), mtu: u32, plan: &mut Vec<Operation>) {
    let node = &model.nodes[end.node];
    if matches!(node.kind, NodeKind::Vm(_)) {
        let name = device(&model.name, &node.name, &end.port);
        plan.push(Operation::CreateTap { name: name.clone(), mtu });
        plan.push(add_port(model, engine, format!("tap:{name}")));
        return;
    }
    let mut spec = format!("netns:{}/{}", model.namespace(&node.name), end.port);
    if let Some(interface) = interface(model, end) {
        spec.push_str(&format!(",mac={},mtu={}", interface.mac, interface.mtu));
    }
    plan.push(add_port(model, engine, spec));
}

fn add_port(model: &Model, end: &End, spec: String) -> Operation {
    let engine = &model.nodes[end.node];
    let name = match engine.kind {
        NodeKind::Switch(_) => format!("{}-{}", engine.name, end.port),
        _ => end.port.clone(),
    };
    Operation::AddPort { engine: engine.name.clone(), number: end.number.unwrap_or(0), name, spec }
}

fn interface<'m>(model: &'m Model, end: &End) -> Option<&'m Interface> {
    model.nodes[end.node].interfaces().iter().find(|interface| interface.name == end.port)
}

/// Name of a device where the lab's own process is: the kernel has 15 characters, so it is a hash.
fn device(lab: &str, node: &str, port: &str) -> String {
    let text = [lab, node, port].join("/");
    let hash =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("weft{:010x}", hash >> 24)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn model(index: usize) -> Model {
        let (name, text) = crate::EXAMPLES[index];
        crate::parse(name, text, Path::new("")).expect("an example")
    }

    #[test]
    fn two_hosts_are_planned_in_order() {
        let steps: Vec<String> = plan(&model(0), Layout::Joined).iter().map(Operation::to_string).collect();
        let mut expected = vec![
            "create namespace weft-two-hosts-h1",
            "create namespace weft-two-hosts-h2",
            "start controller",
            "start switch s1 (dpid 0000000000000001)",
        ];
        assert_eq!(steps[..4], expected);
        assert!(
            steps[4].starts_with("attach s1 port 1 = netns:weft-two-hosts-h1/eth0,mac=02:"),
            "{}",
            steps[4]
        );
        expected = vec![
            "configure weft-two-hosts-h1/eth0 10.0.0.1/24",
            "configure weft-two-hosts-h2/eth0 10.0.0.2/24",
        ];
        assert_eq!(steps[6..], expected);
    }

    #[test]
    fn engines_are_joined_in_one_process_and_by_veth_in_several() {
        let joined = plan(&model(4), Layout::Joined);
        assert_eq!(joined.iter().filter(|op| matches!(op, Operation::JoinEngines { .. })).count(), 8);
        let split = plan(&model(4), Layout::Split);
        let veths: Vec<_> = split.iter().filter(|op| matches!(op, Operation::CreateVeth { .. })).collect();
        assert_eq!(veths.len(), 8);
        assert!(
            veths.iter().all(|op| matches!(op.resource(), Some(Resource::Device(name)) if name.len() <= 15))
        );
    }

    #[test]
    fn what_outlives_the_process_is_named() {
        for (index, n_expected) in [(0, 2), (1, 4), (2, 3), (3, 4), (4, 8), (5, 3)] {
            let plan = plan(&model(index), Layout::Joined);
            assert_eq!(plan.iter().filter_map(Operation::resource).count(), n_expected, "{index}");
        }
    }
}
