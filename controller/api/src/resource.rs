//! What the REST API answers: the state of switches, ports, links, hosts and flows, and the status of intents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::queue::QueueState;
use crate::text::{Dpid, Mac, PortRef, Rate};

/// `GET /api/v1/health` of every daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What answers: `controller`, `switch`, `router`, `lab`.
    pub service: String,
    /// Name of this instance.
    pub name: String,
    /// Version of weft.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Whether it does its work; `detail` says what is amiss otherwise.
    pub ready: bool,
    /// What is amiss, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A switch as the controller (or the switch itself) sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// Datapath id.
    pub dpid: Dpid,
    /// The switch's own name (`dp_desc`), or the dpid where it gives none.
    pub name: String,
    /// Whether its connection to the controller stands.
    pub connected: bool,
    /// Whether all of the blueprint is confirmed by a barrier, and discovery is sure what each port is for.
    #[serde(default)]
    pub realised: bool,
    /// Where it connects from; the controllers it connects to, if a switch answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// Manufacturer, hardware and software as it describes itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Number of tables.
    pub n_tables: u8,
    /// Number of ports.
    pub n_ports: u32,
    /// Its controllers, whether they can be reached or not, and who else is connected to it, if a switch answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<SwitchPeer>,
}

/// Whom a switch speaks OpenFlow with, or tries to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchPeer {
    /// Where it is, such as `tcp:10.0.0.1:6653`.
    pub peer: String,
    /// Whether the switch connects to it as to its controller; otherwise it has connected to the switch.
    pub controller: bool,
    /// Whether there is a session.
    pub connected: bool,
    /// Seconds since it is connected, or since it is not.
    pub seconds: u64,
    /// The version of OpenFlow that was agreed, such as `OpenFlow13`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<PeerRole>,
    /// The number of an auxiliary connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auxiliary: Option<u8>,
    /// The name in the certificate that it has shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Why the last attempt to connect failed, or the last connection ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Milliseconds until the next attempt, about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

/// The role of a controller (OpenFlow 1.3.5 §6.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeerRole {
    /// It may do everything, as may others.
    Equal,
    /// It alone may change the switch, beside equals.
    Master,
    /// It may only look.
    Slave,
}

impl PeerRole {
    /// As in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Master => "master",
            Self::Slave => "slave",
        }
    }
}

/// A port of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Port number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: Mac,
    /// Whether the link is up and the port not administratively down.
    pub up: bool,
    /// What the controller takes it for.
    #[serde(default)]
    pub role: PortRole,
    /// What it is, in the words of `--port` (`tap:t1`), if a switch answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
    /// The switch port at the other end of the link, if one was discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PortRef>,
    /// Counters, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<PortCounters>,
    /// Most bits a second that leave it, if a switch answers and there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Its queues, if a switch answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueState>,
}

/// What the controller takes a port for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PortRole {
    /// Not decided yet: discovery has not settled.
    #[default]
    Unknown,
    /// Hosts or routers are attached.
    Edge,
    /// Another switch is attached.
    Link,
    /// A chain function is attached: nothing is learned there, nothing flooded.
    Function,
}

/// Counters of a port, as in OpenFlow port statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortCounters {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Received frames dropped.
    pub rx_dropped: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames dropped instead of being sent.
    pub tx_dropped: u64,
    /// Transmit errors.
    pub tx_errors: u64,
}

/// Body of `POST .../ports`: attach a port while the switch or router runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortAdd {
    /// Port number; absent: the lowest free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// What to attach, in the words of `--port` (`tap:t1`, `netns:NS/eth0`).
    pub spec: String,
    /// Name of the port; absent: derived from the spec. For a router: the port its interfaces name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A link between two switches, one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The port that sends.
    pub from: PortRef,
    /// The port that receives.
    pub to: PortRef,
}

/// An endpoint and where it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its MAC address.
    pub mac: Mac,
    /// IP addresses it was seen to use, or was declared with.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// The edge port it is attached to.
    pub port: PortRef,
    /// Its network; absent: the default network of undeclared ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// A flow installed in a switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// The whole flow as `ovs-ofctl dump-flows` writes it.
    pub text: String,
    /// Table number.
    pub table: u8,
    /// Priority.
    pub priority: u16,
    /// Cookie in hexadecimal, `0x...`.
    pub cookie: String,
    /// Match fields by their names in the text form; empty: every frame.
    #[serde(default, rename = "match")]
    pub matches: BTreeMap<String, String>,
    /// Actions and instructions in the text form, in order; empty: drop.
    #[serde(default)]
    pub actions: Vec<String>,
    /// Frames it forwarded.
    #[serde(default)]
    pub frames: u64,
    /// Bytes it forwarded.
    #[serde(default)]
    pub bytes: u64,
    /// Seconds since it was installed.
    #[serde(default)]
    pub duration: f64,
    /// Seconds without a frame after which it goes; 0: never.
    #[serde(default)]
    pub idle_timeout: u16,
    /// Seconds after which it goes; 0: never.
    #[serde(default)]
    pub hard_timeout: u16,
    /// Whose it is.
    #[serde(default)]
    pub owner: FlowOwner,
    /// The intent it serves (`network/blue`), if owned by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
}

/// Whose a flow is; told by its cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FlowOwner {
    /// Installed by somebody else, and left alone.
    #[default]
    Foreign,
    /// Planned from intents by the controller.
    Intent,
    /// Added through the flows resource of the REST API.
    Raw,
}

/// Body of `POST .../flows`. Give `text`, or the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowAdd {
    /// The flow as for `ovs-ofctl add-flow`: `priority=10,in_port=1,actions=output:2`. Excludes all other fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Table number; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u8>,
    /// Priority; 32768 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// Match fields by their names in the text form.
    #[serde(default, rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub matches: BTreeMap<String, String>,
    /// Actions in the text form; empty: drop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// Seconds without a frame after which it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u16>,
    /// Seconds after which it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_timeout: Option<u16>,
}

/// An intent and what became of it. `PUT` takes the bare `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stored<T> {
    /// The intent as written.
    pub spec: T,
    /// How far it is realised.
    pub status: Status,
}

// Written by hand, so that each kind of intent has a name of its own in the OpenAPI document.
impl<T: ToSchema> PartialSchema for Stored<T> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("An intent and what became of it."))
            .property("spec", Ref::from_schema_name(T::name()))
            .required("spec")
            .property("status", Ref::from_schema_name(Status::name()))
            .required("status")
            .into()
    }
}

impl<T: ToSchema> ToSchema for Stored<T> {
    fn name() -> Cow<'static, str> {
        format!("Stored{}", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in [(T::name(), T::schema()), (Status::name(), Status::schema())] {
            schemas.push((name.into_owned(), schema));
        }
        T::schemas(schemas);
        Status::schemas(schemas);
    }
}

/// How far an intent is realised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Generation of the blueprint that holds the intent as written.
    pub generation: u64,
    /// Sum over the switches below.
    pub state: State,
    /// Why it is not realised, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One for each switch concerned.
    #[serde(default)]
    pub switches: Vec<SwitchStatus>,
}

/// How far a switch is with an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchStatus {
    /// Name (or dpid) of the switch.
    pub switch: String,
    /// Generation last confirmed by a barrier.
    pub generation: u64,
    /// Whether that is enough.
    pub state: State,
    /// Number of flows that serve the intent there.
    pub n_flows: u32,
    /// What the switch objects to, or what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// State of an intent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Confirmed by a barrier on every switch concerned.
    Realised,
    /// Under way.
    Pending,
    /// Refused by a switch or a router.
    Failed,
}

/// Body of `POST /api/v1/trace`: follow a frame. Give `frame` or `flow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// Where it enters. A switch that answers about itself takes any node name here.
    pub port: PortRef,
    /// The frame in hexadecimal, from the destination MAC address on, without FCS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
    /// The frame described as a match: `tcp,dl_src=..,dl_dst=..,nw_src=..,nw_dst=..,tp_dst=80`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
}

/// What would happen to a frame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceReply {
    /// Switches and routers visited, in order.
    pub hops: Vec<TraceHop>,
    /// Edge ports it leaves by.
    pub delivered: Vec<PortRef>,
    /// Whether a copy goes to the controller.
    #[serde(default)]
    pub punted: bool,
    /// Why nothing is delivered, or why a copy dies.
    #[serde(default)]
    pub drops: Vec<String>,
    /// The same for people.
    pub text: String,
}

/// A frame's way through one switch or router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceHop {
    /// The port it enters by.
    pub port: PortRef,
    /// Tables visited; a router has none.
    pub steps: Vec<TraceStep>,
    /// What a router did, step by step: route, rule, binding, neighbour, or why it dropped the frame. A connection that is
    /// not there yet has the port it would have inside; which one it would get outside is not known before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Numbers of the ports it leaves by.
    pub outputs: Vec<u32>,
    /// Every copy that leaves, with its bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<TraceCopy>,
}

/// A copy of the frame, as it leaves a switch or a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceCopy {
    /// Number of the port; absent: the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// Why the controller gets it, as OpenFlow numbers the reasons of packet-ins, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<u8>,
    /// Its bytes in hexadecimal, from the destination MAC address on, without FCS.
    pub frame: String,
}

/// A table visited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceStep {
    /// Table number.
    pub table: u8,
    /// The flow that matched, in the text form; absent: a table miss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// The intent that flow serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
}

/// What another configuration changes in a router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterChanges {
    /// How many configurations the router has been given, this one included if it is in force.
    pub generation: u64,
    /// What changes, one after the other: a place in a list is where it is when the changes before are done.
    pub changes: Vec<FieldChange>,
}

/// A field that changes; absent in `old` or `new`: it is not there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// The field as a JSON pointer (RFC 6901).
    pub path: String,
    /// Before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<serde_json::Value>,
    /// After.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<serde_json::Value>,
}

/// A named counter, for instance of drops by reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: u64,
}
