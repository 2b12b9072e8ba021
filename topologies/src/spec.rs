//! What a topology file may say. Positions are kept beside, by path, so these are plain values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use controller_api::{
    Balancer, Chain, Cidr, Dpid, Mac, Mirror, Network, Path, Policy, PortRef, Qos, Queue, Rate, Router,
    Tenant,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A topology: nodes, the links between them, what the network shall do, and what must hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "weft topology")]
pub struct Spec {
    /// Name of the lab; at most 24 letters, digits and hyphens.
    pub name: String,
    /// The nodes by name.
    pub nodes: BTreeMap<String, NodeSpec>,
    /// What is plugged into what.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
    /// Isolated segments over any number of switches. Ports in none of them form a learning network of their own.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Configuration of the nodes of kind `router`.
    #[serde(default)]
    pub routers: Vec<Router>,
    /// Traffic that passes function nodes in order.
    #[serde(default)]
    pub chains: Vec<Chain>,
    /// Who may speak IP to whom.
    #[serde(default)]
    pub policies: Vec<Policy>,
    /// How much hosts may send, and by which queue it leaves.
    #[serde(default)]
    pub qos: Vec<Qos>,
    /// Ways from one endpoint to another.
    #[serde(default)]
    pub paths: Vec<Path>,
    /// Copies of the frames of some ports.
    #[serde(default)]
    pub mirrors: Vec<Mirror>,
    /// Virtual addresses and who serves there.
    #[serde(default)]
    pub balancers: Vec<Balancer>,
    /// What tenants may have.
    #[serde(default)]
    pub tenants: Vec<Tenant>,
    /// What must hold when the lab is up.
    #[serde(default)]
    pub tests: Vec<TestSpec>,
}

/// A node; its `kind` decides what else may be said.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum NodeSpec {
    /// weft's OpenFlow switch.
    Switch(SwitchSpec),
    /// A network namespace.
    Host(HostSpec),
    /// weft's virtual router; configured under `routers`.
    Router(RouterNodeSpec),
    /// A namespace with the interfaces `in` and `out` and a program between them.
    Function(FunctionSpec),
    /// A QEMU guest.
    Vm(VmSpec),
}

/// A switch.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchSpec {
    /// Datapath id in hexadecimal; absent: the lowest free number.
    #[serde(default)]
    pub dpid: Option<Dpid>,
    /// What it does without a controller; absent: secure.
    #[serde(default)]
    pub fail_mode: Option<FailMode>,
    /// Versions of OpenFlow it speaks; absent: all. The controller of the topology needs OpenFlow13.
    #[serde(default)]
    pub protocols: Option<Vec<Protocol>>,
}

/// A version of OpenFlow, named as in ovs-vsctl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Protocol {
    /// 1.0.
    OpenFlow10,
    /// 1.3.
    OpenFlow13,
    /// 1.4.
    OpenFlow14,
}

impl Protocol {
    /// Every version that is spoken.
    pub const ALL: [Self; 3] = [Self::OpenFlow10, Self::OpenFlow13, Self::OpenFlow14];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenFlow10 => "OpenFlow10",
            Self::OpenFlow13 => "OpenFlow13",
            Self::OpenFlow14 => "OpenFlow14",
        }
    }
}

/// What a switch does without a controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailMode {
    /// Keep the installed flows and forward nothing else.
    #[default]
    Secure,
    /// Forward like a learning switch.
    Standalone,
}

/// A host: a network namespace.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// Interfaces by name. One that is only named in a link has no address.
    #[serde(default)]
    pub interfaces: BTreeMap<String, InterfaceSpec>,
    /// Next hop of the default route.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Further routes.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
}

/// An interface of a host or guest.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterfaceSpec {
    /// Its address, if one.
    #[serde(default)]
    pub address: Option<Cidr>,
    /// Its addresses, if several.
    #[serde(default)]
    pub addresses: Vec<Cidr>,
    /// Its MAC address; absent: derived from its place in the file.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// Largest IP packet in bytes; absent: that of the link, else 1500.
    #[serde(default)]
    #[schemars(range(min = 68, max = 65521))]
    pub mtu: Option<u32>,
}

/// A route of a host or guest.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Destination prefix.
    pub to: Cidr,
    /// Next hop.
    pub via: IpAddr,
}

/// A router node has nothing of its own: see `routers`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterNodeSpec {}

/// A chain function. Give `function` or `exec`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionSpec {
    /// A built-in function.
    #[serde(default)]
    pub function: Option<BuiltIn>,
    /// Rules of the built-in firewall, the first that matches decides: `deny tcp dst-port 23`.
    #[serde(default)]
    pub rules: Vec<String>,
    /// A program of your own, started inside the namespace with these arguments.
    #[serde(default)]
    pub exec: Option<Vec<String>>,
}

/// A built-in function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BuiltIn {
    /// Passes everything.
    Forward,
    /// Passes what its rules allow.
    Firewall,
    /// Passes everything and counts it by protocol and port.
    Inspect,
}

/// A QEMU guest.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// Kernel image; a relative path starts at the folder of this file.
    pub kernel: String,
    /// Initial RAM disk, likewise.
    pub initrd: String,
    /// Memory, such as 128M or 1G; absent: 128M.
    #[serde(default)]
    pub memory: Option<String>,
    /// Virtual processors; absent: 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 64))]
    pub cpus: Option<u8>,
    /// Interfaces by name.
    #[serde(default)]
    pub interfaces: BTreeMap<String, InterfaceSpec>,
    /// Next hop of the default route.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Further routes.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
}

/// A link.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Its two ends: `NODE:INTERFACE`, for a switch `NODE:PORT-NUMBER`.
    pub endpoints: [PortRef; 2],
    /// Largest IP packet in bytes; absent: 1500.
    #[serde(default)]
    #[schemars(range(min = 68, max = 65521))]
    pub mtu: Option<u32>,
    /// Most bits a second that a switch at either end sends over it, such as 20M; absent: as many as it can.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// Queues of the ports of switches at its ends; flows choose them by `set_queue`.
    #[serde(default)]
    pub queues: Vec<Queue>,
}

/// Something that must hold. Write one key: `- ping: {from: h1, to: h2}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TestSpec {
    /// ICMP echo is answered.
    Ping(PingSpec),
    /// A TCP connection carries bytes both ways, or is blocked.
    Tcp(TcpSpec),
    /// No frame of one node reaches the other, and no reply comes.
    Isolation(IsolationSpec),
    /// What one node sends to the other passes these functions in this order.
    Path(PathSpec),
    /// TCP on one stream reaches a rate.
    Throughput(ThroughputSpec),
}

/// ICMP echo.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PingSpec {
    /// Node that asks.
    pub from: String,
    /// Node or IP address that answers.
    pub to: String,
    /// Requests that must be answered; absent: 3.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub count: Option<u16>,
    /// What this shows, in a few words; stands beside the result.
    #[serde(default)]
    pub about: Option<String>,
}

/// A TCP connection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpSpec {
    /// Node that connects.
    pub from: String,
    /// Node or IP address it connects to.
    pub to: String,
    /// Port it connects to; absent: 80.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Node that runs the server; absent: the one that `to` names or that has this address.
    #[serde(default)]
    pub server: Option<String>,
    /// Port the server listens on; absent: `port`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub server_port: Option<u16>,
    /// Source address the server must see.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// What must happen; absent: it connects.
    #[serde(default)]
    pub expect: Expect,
    /// What this shows, in a few words; stands beside the result.
    #[serde(default)]
    pub about: Option<String>,
}

/// What must happen to a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// It is made.
    #[default]
    Connected,
    /// It is refused or not answered.
    Blocked,
}

/// Isolation of two nodes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IsolationSpec {
    /// Node that sends.
    pub from: String,
    /// Node that must not see it.
    pub to: String,
    /// What this shows, in a few words; stands beside the result.
    #[serde(default)]
    pub about: Option<String>,
}

/// The functions on a way.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathSpec {
    /// Node that sends.
    pub from: String,
    /// Node it sends to.
    pub to: String,
    /// Function nodes in the order passed.
    pub through: Vec<String>,
    /// What this shows, in a few words; stands beside the result.
    #[serde(default)]
    pub about: Option<String>,
}

/// A rate of TCP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThroughputSpec {
    /// Node that sends.
    pub from: String,
    /// Node that receives.
    pub to: String,
    /// Bits a second that must be reached, such as 500M or 2G; absent: any.
    #[serde(default)]
    pub at_least: Option<String>,
    /// How long it is measured; absent: 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 60))]
    pub seconds: Option<u16>,
    /// What this shows, in a few words; stands beside the result.
    #[serde(default)]
    pub about: Option<String>,
}
