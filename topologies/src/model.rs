//! A topology with every reference resolved: what the checks let through, and what can be built.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use controller_api::{
    Balancer, Chain, Cidr, Function, Mirror, Network, Path, Policy, PortQueues, Qos, Router, Tenant,
};
use packet::MacAddr;

pub use crate::spec::{BuiltIn, Expect, FailMode, Protocol};

/// Index of a node in [`Model::nodes`].
pub type NodeIdx = usize;

/// A topology that can be built.
#[derive(Debug, Clone)]
pub struct Model {
    /// Name of the lab.
    pub name: String,
    /// Nodes in the order of the file.
    pub nodes: Vec<Node>,
    /// Links in the order of the file.
    pub links: Vec<Link>,
    /// Networks; their ports are switch ports.
    pub networks: Vec<Network>,
    /// Routers; the switch ports they are plugged into are filled in.
    pub routers: Vec<Router>,
    /// Function nodes as the controller knows them.
    pub functions: Vec<Function>,
    /// Chains; their ends are switch ports.
    pub chains: Vec<Chain>,
    /// Policies; their ends are switch ports.
    pub policies: Vec<Policy>,
    /// Rates and queues; their ports are switch ports.
    pub qos: Vec<Qos>,
    /// Ways; their ends are switch ports.
    pub paths: Vec<Path>,
    /// Mirrors; their ports are switch ports.
    pub mirrors: Vec<Mirror>,
    /// Balancers; the ports of their members are switch ports.
    pub balancers: Vec<Balancer>,
    /// Tenants, as they are written.
    pub tenants: Vec<Tenant>,
    /// What must hold.
    pub tests: Vec<Test>,
}

impl Model {
    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Name of the namespace of a node: `weft-LAB-NODE`.
    pub fn namespace(&self, node: &str) -> String {
        namespace(&self.name, node)
    }

    /// First address of a node.
    pub fn address(&self, node: &str) -> Option<IpAddr> {
        self.node(node)?.interfaces().iter().find_map(|i| i.addresses.first()).map(|cidr| cidr.addr())
    }

    /// The node with this address, routers included.
    pub fn owner(&self, address: IpAddr) -> Option<&str> {
        let has = |node: &&Node| {
            node.interfaces().iter().any(|i| i.addresses.iter().any(|cidr| cidr.addr() == address))
        };
        let routed = |router: &&Router| {
            router.interfaces.iter().any(|i| i.all_addresses().any(|cidr| cidr.addr() == address))
        };
        let host = self.nodes.iter().find(has).map(|node| node.name.as_str());
        host.or_else(|| self.routers.iter().find(routed).map(|router| router.name.as_str()))
    }
}

/// Name of the namespace of a node.
pub fn namespace(lab: &str, node: &str) -> String {
    format!("weft-{lab}-{node}")
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
}

impl Node {
    /// Interfaces of a host, function or guest; empty for a switch or router.
    pub fn interfaces(&self) -> &[Interface] {
        match &self.kind {
            NodeKind::Host(host) => &host.interfaces,
            NodeKind::Function(function) => &function.interfaces,
            NodeKind::Vm(vm) => &vm.interfaces,
            NodeKind::Switch(_) | NodeKind::Router => &[],
        }
    }

    /// Whether it lives in a namespace of its own.
    pub fn has_namespace(&self) -> bool {
        matches!(self.kind, NodeKind::Host(_) | NodeKind::Function(_))
    }

    /// Whether it is a switch or router: an engine of the dataplane.
    pub fn is_engine(&self) -> bool {
        matches!(self.kind, NodeKind::Switch(_) | NodeKind::Router)
    }
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// A switch.
    Switch(Switch),
    /// A host.
    Host(Host),
    /// A router; its configuration is in [`Model::routers`].
    Router,
    /// A chain function.
    Function(FunctionNode),
    /// A guest.
    Vm(Vm),
}

impl NodeKind {
    /// As the YAML calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Switch(_) => "switch",
            Self::Host(_) => "host",
            Self::Router => "router",
            Self::Function(_) => "function",
            Self::Vm(_) => "vm",
        }
    }
}

/// A switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Datapath id; unique in the topology.
    pub dpid: u64,
    /// What it does without a controller.
    pub fail_mode: FailMode,
    /// Versions of OpenFlow it speaks; OpenFlow13 among them.
    pub protocols: Vec<Protocol>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Its routes, the default route included.
    pub routes: Vec<Route>,
}

/// A chain function with its interfaces `in` and `out`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionNode {
    /// `in` and `out`.
    pub interfaces: Vec<Interface>,
    /// What runs between them.
    pub program: Program,
}

/// What a function runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// `weft function`.
    BuiltIn {
        /// Which.
        function: BuiltIn,
        /// Rules of the firewall.
        rules: Vec<String>,
    },
    /// A program of the user.
    Exec(Vec<String>),
}

/// A QEMU guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: PathBuf,
    /// Memory in MiB.
    pub memory: u32,
    /// Virtual processors.
    pub cpus: u8,
    /// Its interfaces, in the order the guest sees them.
    pub interfaces: Vec<Interface>,
    /// Its routes, the default route included.
    pub routes: Vec<Route>,
}

/// An interface of a host, function or guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside the node.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix.
    pub to: Cidr,
    /// Next hop.
    pub via: IpAddr,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// One end.
    pub a: End,
    /// The other.
    pub b: End,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// How frames leave the ports of switches at its ends.
    pub queues: PortQueues,
}

impl Link {
    /// The far end as seen from `node`, if the link touches it.
    pub fn peer_of(&self, node: NodeIdx) -> Option<&End> {
        if self.a.node == node {
            Some(&self.b)
        } else if self.b.node == node {
            Some(&self.a)
        } else {
            None
        }
    }
}

/// An end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The node.
    pub node: NodeIdx,
    /// Interface, or name of the port of a router, or number of the port of a switch.
    pub port: String,
    /// Number of the port of a switch or router; the ports of a router are numbered from 1 in the order of the links.
    pub number: Option<u32>,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What it shows, in the words of the file.
    pub about: Option<String>,
    /// What is done.
    pub kind: TestKind,
}

/// What a test does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestKind {
    /// ICMP echo is answered.
    Ping {
        /// Node that asks.
        from: String,
        /// What it asks.
        to: Target,
        /// Requests that must be answered.
        count: u16,
    },
    /// A TCP connection.
    Tcp {
        /// Node that connects.
        from: String,
        /// Where to.
        to: Target,
        /// Port.
        port: u16,
        /// Node and port of the server.
        server: (String, u16),
        /// Source address the server must see.
        source: Option<IpAddr>,
        /// What must happen.
        expect: Expect,
    },
    /// No frame of `from` reaches `to`.
    Isolation {
        /// Node that sends.
        from: String,
        /// Node that must not see it.
        to: Target,
    },
    /// Functions passed in order.
    Path {
        /// Node that sends.
        from: String,
        /// Node it sends to.
        to: Target,
        /// Functions in order.
        through: Vec<String>,
    },
    /// A rate of TCP.
    Throughput {
        /// Node that sends.
        from: String,
        /// Node that receives.
        to: Target,
        /// Bits a second that must be reached.
        at_least: u64,
        /// Seconds it is measured.
        seconds: u16,
    },
}

impl TestKind {
    /// As the YAML calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ping { .. } => "ping",
            Self::Tcp { .. } => "tcp",
            Self::Isolation { .. } => "isolation",
            Self::Path { .. } => "path",
            Self::Throughput { .. } => "throughput",
        }
    }
}

impl fmt::Display for TestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping { from, to, .. }
            | Self::Isolation { from, to }
            | Self::Throughput { from, to, .. } => {
                write!(f, "{} {from} -> {to}", self.word())
            }
            Self::Tcp { from, to, port, .. } => write!(f, "tcp {from} -> {to} port {port}"),
            Self::Path { from, to, through } => write!(f, "path {from} -> {} -> {to}", through.join(" -> ")),
        }
    }
}

/// What a test aims at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As written: a node or an address.
    pub label: String,
    /// The address.
    pub address: IpAddr,
    /// The node that has it.
    pub node: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
