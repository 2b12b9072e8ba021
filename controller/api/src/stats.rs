//! What a switch or router counts. Counters only grow while its process runs; a reader takes differences.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::resource::{Counter, Port};
use crate::text::Cidr;

/// `GET /api/v1/stats` of a switch or a router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// What answers: `switch`, `router`, `controller`.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Process id: nodes of one process share its workers.
    pub pid: u32,
    /// Ports with their counters.
    pub ports: Vec<Port>,
    /// Frames dropped, by reason: each reason that there is, zeros included for the node itself.
    pub drops: Vec<DropCount>,
    /// The microflow cache, of a switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheStats>,
    /// Tables that have flows or were looked up, of a switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableStats>,
    /// Packets for the controllers, by reason, of a switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packet_ins: Vec<Counter>,
    /// Prefixes whose packets are counted, of a router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteCount>,
    /// Controllers of a switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    /// OpenFlow connections of tools, of a switch.
    #[serde(default)]
    pub n_tools: u32,
    /// What the stages of frames cost, in the rounds of the workers that were timed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageStats>,
    /// Workers of the process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerStats>,
}

/// Frames dropped for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropCount {
    /// Who dropped them.
    pub place: DropPlace,
    /// Why.
    pub reason: String,
    /// Name of the port, where a port dropped them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// How many.
    pub frames: u64,
}

/// What went to a prefix of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteCount {
    /// Its VRF; absent: the one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Destination prefix.
    pub to: Cidr,
    /// Packets.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
}

/// Who drops frames.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DropPlace {
    /// The node: its tables, actions, filters.
    Node,
    /// A port: its device, or the kernel behind it.
    Port,
    /// The queues of a port that has a rate or queues.
    Queue,
    /// A worker of the process, between nodes and ports.
    Worker,
}

/// How often a cache was asked, and knew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheStats {
    /// Frames looked up; those of tables that cost no more than the cache are not among them.
    pub lookups: u64,
    /// Frames it knew.
    pub hits: u64,
}

/// A flow table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TableStats {
    /// Its number.
    pub table: u8,
    /// Flows in it.
    pub flows: u32,
    /// Frames looked up.
    pub lookups: u64,
    /// Frames that a flow matched.
    pub matched: u64,
}

/// A controller that a switch is to be connected to, or that found it by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Where it is, as configured.
    pub target: String,
    /// Whether the session stands.
    pub connected: bool,
    /// Its role (`equal`, `master`, `slave`) while connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// What a stage cost, in the rounds that were timed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StageStats {
    /// `rx`, `extract`, `cache`, `pipeline`, `actions`, `forward`, `tx`.
    pub stage: String,
    /// Frames that passed it, super-frames counted once.
    pub frames: u64,
    /// Cycles of the time-stamp counter that it took.
    pub cycles: u64,
}

/// A worker thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerStats {
    /// Its number.
    pub worker: u32,
    /// Seconds since it started.
    pub uptime: f64,
    /// Seconds of processor time it took.
    pub cpu: f64,
    /// Seconds of processor time of it without those that it looked for frames in vain.
    pub busy: f64,
    /// Cycles of a stage in a second.
    pub cycles_per_second: u64,
}
