//! What a switch holds beside flows: groups, meters, how its ports behave, and what it counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::resource::{FlowOwner, PortCounters};
use crate::stats::TableStats;

/// Body of `PUT .../groups/{group}`: a list of ways that a frame may take (OpenFlow 1.3.5 §5.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Which of the buckets a frame takes.
    #[serde(rename = "type")]
    pub kind: GroupKind,
    /// The buckets; none: frames are dropped.
    #[serde(default)]
    pub buckets: Vec<GroupBucket>,
}

/// Which buckets of a group a frame takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// Each of them, a copy each.
    All,
    /// One of them, by a hash and their weights.
    Select,
    /// The only one.
    Indirect,
    /// The first that is alive.
    Failover,
}

/// A bucket of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupBucket {
    /// Its share, in a group of type `select`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// It is alive while this port is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_port: Option<u32>,
    /// It is alive while this group is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_group: Option<u32>,
    /// Actions in the text form (`output:2`); empty: drop.
    #[serde(default)]
    pub actions: Vec<String>,
}

/// A group of a switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// `intent`: the controller's own; `foreign`: anybody else's.
    pub owner: FlowOwner,
    /// What it does.
    pub spec: GroupSpec,
    /// What it counted, if the switch says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<GroupCounters>,
}

/// What a group counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupCounters {
    /// Flows and groups that lead to it.
    pub references: u32,
    /// Frames that came.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds since it was added.
    pub duration: f64,
    /// The same for each bucket.
    #[serde(default)]
    pub buckets: Vec<Counted>,
}

/// Frames and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Body of `PUT .../meters/{meter}`: what becomes of frames above a rate (OpenFlow 1.3.5 §5.7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeterSpec {
    /// What rates are counted in.
    pub unit: MeterUnit,
    /// The bands; of those whose rate is exceeded the one with the highest rate applies.
    #[serde(default)]
    pub bands: Vec<MeterBand>,
}

/// What rates of a meter are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeterUnit {
    /// Kilobits a second; bursts in kilobits.
    Kbps,
    /// Frames a second; bursts in frames.
    Pktps,
}

/// A band of a meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeterBand {
    /// Above which rate it applies.
    pub rate: u32,
    /// How much may come at once, if that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Raise the drop precedence of the DSCP by this much instead of dropping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<u8>,
}

/// A meter of a switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// Its number.
    pub id: u32,
    /// What it does.
    pub spec: MeterSpec,
    /// What it counted, if the switch says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<MeterCounters>,
}

/// What a meter counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeterCounters {
    /// Flows that use it.
    pub flows: u32,
    /// Frames that came.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds since it was added.
    pub duration: f64,
    /// What each band applied to.
    #[serde(default)]
    pub bands: Vec<Counted>,
}

/// How a port behaves: body of `PUT .../ports/{port}/config` (OpenFlow 1.3.5 §7.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// Administratively down.
    #[serde(default)]
    pub down: bool,
    /// What comes in is dropped.
    #[serde(default)]
    pub no_receive: bool,
    /// What is to go out is dropped.
    #[serde(default)]
    pub no_forward: bool,
    /// Nothing from here goes to controllers.
    #[serde(default)]
    pub no_packet_in: bool,
}

/// `GET .../statistics`: all that a switch counts. What it does not count is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchStatistics {
    /// Sums over all flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<FlowSums>,
    /// Tables that have flows or were looked up.
    pub tables: Vec<TableStats>,
    /// Ports.
    pub ports: Vec<PortStatistics>,
    /// Queues.
    pub queues: Vec<QueueStatistics>,
}

/// Sums over flows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowSums {
    /// How many there are.
    pub flows: u32,
    /// Frames they forwarded.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a port counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortStatistics {
    /// Its number.
    pub port: u32,
    /// Seconds since it was added.
    pub duration: f64,
    /// What it counted.
    pub counters: PortCounters,
}

/// What a queue counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueStatistics {
    /// The port it belongs to.
    pub port: u32,
    /// Its number.
    pub queue: u32,
    /// Seconds since it was added.
    pub duration: f64,
    /// Frames sent.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames lost because there were too many.
    pub dropped: u64,
}
