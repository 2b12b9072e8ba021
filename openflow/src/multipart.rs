//! Multipart requests and replies (§7.3.5).

use core::time::Duration;

use crate::{
    Cookie, FlowModFlags, GroupDesc, GroupFeatures, GroupId, GroupStats, Instruction, Match, MeterConfig,
    MeterFeatures, MeterId, MeterStats, Name, PacketQueue, PortDesc, PortNo, PortStats, Priority, QueueId,
    QueueStats, TableDesc, TableFeatures, TableId, TableStats,
};

/// A request, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartRequest {
    /// Another part with the same transaction id follows.
    pub more: bool,
    /// What is asked.
    pub body: Request,
}

/// What a multipart request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Who the switch is.
    Desc,
    /// Flows with their counters.
    Flow(FlowStatsRequest),
    /// Counters summed over flows.
    Aggregate(FlowStatsRequest),
    /// Counters of the tables.
    Table,
    /// Counters of one port, or all.
    PortStats(Option<PortNo>),
    /// Counters of queues.
    Queue {
        /// One port, or all.
        port: Option<PortNo>,
        /// One queue, or all.
        queue: Option<QueueId>,
    },
    /// Counters of one group, or all ([`GroupId::ALL`]).
    Group(GroupId),
    /// Every group as configured.
    GroupDesc,
    /// What groups can do.
    GroupFeatures,
    /// Counters of one meter, or all ([`MeterId::ALL`]).
    Meter(MeterId),
    /// One meter as configured, or all ([`MeterId::ALL`]).
    MeterConfig(MeterId),
    /// What meters can do.
    MeterFeatures,
    /// What tables can do (empty), or should be able to do.
    TableFeatures(Vec<TableFeatures>),
    /// The ports.
    PortDesc,
    /// The tables as configured (1.4).
    TableDesc,
    /// The queues as configured (1.4).
    QueueDesc {
        /// One port, or all.
        port: Option<PortNo>,
        /// One queue, or all.
        queue: Option<QueueId>,
    },
    /// A request of an experimenter.
    Experimenter {
        /// Who defined it.
        experimenter: u32,
        /// Its number among theirs.
        kind: u32,
        /// Its body.
        data: Vec<u8>,
    },
}

/// A reply, or a part of one. Encoding splits a reply that is too long for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartReply {
    /// Another part with the same transaction id follows.
    pub more: bool,
    /// The answer.
    pub body: Reply,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "one for each request")]
pub enum Reply {
    Desc(SwitchDesc),
    Flow(Vec<FlowStats>),
    Aggregate(AggregateStats),
    Table(Vec<TableStats>),
    PortStats(Vec<PortStats>),
    Queue(Vec<QueueStats>),
    Group(Vec<GroupStats>),
    GroupDesc(Vec<GroupDesc>),
    GroupFeatures(GroupFeatures),
    Meter(Vec<MeterStats>),
    MeterConfig(Vec<MeterConfig>),
    MeterFeatures(MeterFeatures),
    TableFeatures(Vec<TableFeatures>),
    PortDesc(Vec<PortDesc>),
    TableDesc(Vec<TableDesc>),
    QueueDesc(Vec<PacketQueue>),
    Experimenter { experimenter: u32, kind: u32, data: Vec<u8> },
}

impl Reply {
    /// Adds the entries of a later part of the same reply. A part of another kind is ignored.
    ///
    /// Returns whether `part` was of the same kind.
    pub fn append(&mut self, part: Reply) -> bool {
        match (self, part) {
            (Self::Flow(all), Self::Flow(part)) => all.extend(part),
            (Self::Table(all), Self::Table(part)) => all.extend(part),
            (Self::PortStats(all), Self::PortStats(part)) => all.extend(part),
            (Self::Queue(all), Self::Queue(part)) => all.extend(part),
            (Self::Group(all), Self::Group(part)) => all.extend(part),
            (Self::GroupDesc(all), Self::GroupDesc(part)) => all.extend(part),
            (Self::Meter(all), Self::Meter(part)) => all.extend(part),
            (Self::MeterConfig(all), Self::MeterConfig(part)) => all.extend(part),
            (Self::TableFeatures(all), Self::TableFeatures(part)) => all.extend(part),
            (Self::PortDesc(all), Self::PortDesc(part)) => all.extend(part),
            (Self::TableDesc(all), Self::TableDesc(part)) => all.extend(part),
            (Self::QueueDesc(all), Self::QueueDesc(part)) => all.extend(part),
            _ => return false,
        }
        true
    }
}

/// Who the switch is (§7.3.5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchDesc {
    /// Manufacturer.
    pub manufacturer: Name<256>,
    /// Hardware.
    pub hardware: Name<256>,
    /// Software.
    pub software: Name<256>,
    /// Serial number.
    pub serial: Name<32>,
    /// The datapath for people: weft puts the switch's name here.
    pub datapath: Name<256>,
}

/// Selects flows (§7.3.5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStatsRequest {
    /// One table or [`TableId::ALL`].
    pub table: TableId,
    /// Only flows that output to this port.
    pub out_port: Option<PortNo>,
    /// Only flows that use this group.
    pub out_group: Option<GroupId>,
    /// Only flows whose cookie equals this under the mask.
    pub cookie: Cookie,
    /// Bits of the cookie that count; zero for no restriction.
    pub cookie_mask: u64,
    /// Only flows that this match covers.
    pub matches: Match,
}

impl Default for FlowStatsRequest {
    /// Every flow of every table.
    fn default() -> Self {
        Self {
            table: TableId::ALL,
            out_port: None,
            out_group: None,
            cookie: Cookie(0),
            cookie_mask: 0,
            matches: Match::default(),
        }
    }
}

/// One flow with its counters (§7.3.5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStats {
    /// Where it is.
    pub table: TableId,
    /// How long it has been installed.
    pub duration: Duration,
    /// Precedence, highest first.
    pub priority: Priority,
    /// Seconds; zero for never.
    pub idle_timeout: u16,
    /// Seconds; zero for never.
    pub hard_timeout: u16,
    /// As installed.
    pub flags: FlowModFlags,
    /// Eviction precedence (1.4 and later; zero before).
    pub importance: u16,
    /// As installed.
    pub cookie: Cookie,
    /// Packets it saw; `u64::MAX` if not counted.
    pub packets: u64,
    /// Bytes it saw; `u64::MAX` if not counted.
    pub bytes: u64,
    /// Which packets.
    pub matches: Match,
    /// What happens to them.
    pub instructions: Vec<Instruction>,
}

/// Counters summed over flows (§7.3.5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AggregateStats {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Flows.
    pub flows: u32,
}
