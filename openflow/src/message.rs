//! The messages (§7.1, §7.3, §7.5).

use core::fmt;
use core::str::FromStr;

use crate::types::{flags, wire_enum};
use crate::{
    BundleAdd, BundleControl, Dpid, Error, FlowMod, FlowRemoved, GroupMod, MeterMod, MultipartReply,
    MultipartRequest, PacketIn, PacketOut, PortDesc, PortMod, PortNo, PortStatus, QueueConfig, TableMod,
    TableStatus, Xid,
};

wire_enum! {
    /// A version of the protocol, by its number on the wire (§7.1.1).
    Version(u8) {
        /// OpenFlow 1.0.
        V10 = 1,
        /// OpenFlow 1.3.
        V13 = 4,
        /// OpenFlow 1.4.
        V14 = 5,
    }
}

/// A text that names no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no version that weft speaks: OpenFlow10, OpenFlow13 and OpenFlow14 are")]
pub struct VersionError(String);

impl Version {
    /// As ovs-vsctl writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V10 => "OpenFlow10",
            Self::V13 => "OpenFlow13",
            Self::V14 => "OpenFlow14",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(s: &str) -> Result<Self, VersionError> {
        let known = Self::ALL.iter().copied().find(|version| version.name() == s);
        known.ok_or_else(|| VersionError(s.to_owned()))
    }
}

/// One message without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// First message of each side.
    Hello(Hello),
    /// A request failed.
    Error(Error),
    /// Asks for an echo of arbitrary data.
    EchoRequest(Vec<u8>),
    /// The echo.
    EchoReply(Vec<u8>),
    /// A message of an experimenter.
    Experimenter {
        /// Who defined it.
        experimenter: u32,
        /// Its number among theirs.
        kind: u32,
        /// Its body.
        data: Vec<u8>,
    },
    /// Asks who the switch is.
    FeaturesRequest,
    /// Who the switch is.
    FeaturesReply(Features),
    /// Asks for the configuration.
    GetConfigRequest,
    /// The configuration.
    GetConfigReply(Config),
    /// Sets the configuration.
    SetConfig(Config),
    /// A packet for the controller.
    PacketIn(PacketIn),
    /// A flow is gone.
    FlowRemoved(FlowRemoved),
    /// A port came, went or changed.
    PortStatus(PortStatus),
    /// A packet from the controller.
    PacketOut(PacketOut),
    /// Changes flows.
    FlowMod(FlowMod),
    /// Changes groups.
    GroupMod(GroupMod),
    /// Changes a port.
    PortMod(PortMod),
    /// Configures a table.
    TableMod(TableMod),
    /// Asks for statistics and descriptions.
    MultipartRequest(MultipartRequest),
    /// Statistics and descriptions.
    MultipartReply(MultipartReply),
    /// Asks for a reply once everything before it is done.
    BarrierRequest,
    /// Everything before the request is done.
    BarrierReply,
    /// Asks for the queues of a port; `None` for all.
    QueueGetConfigRequest(Option<PortNo>),
    /// The queues of a port.
    QueueGetConfigReply(QueueConfig),
    /// Asks for or changes the controller's role.
    RoleRequest(RoleRequest),
    /// The controller's role.
    RoleReply(RoleRequest),
    /// Asks which asynchronous messages the controller gets.
    GetAsyncRequest,
    /// Which asynchronous messages the controller gets.
    GetAsyncReply(AsyncConfig),
    /// Sets which asynchronous messages the controller gets.
    SetAsync(AsyncChange),
    /// Changes meters.
    MeterMod(MeterMod),
    /// The controller's role changed without its doing (1.4).
    RoleStatus(RoleStatus),
    /// A table changed (1.4).
    TableStatus(TableStatus),
    /// What another controller asked for (1.4).
    RequestForward(RequestForward),
    /// Opens, closes, commits or discards a bundle (1.4).
    BundleControl(BundleControl),
    /// Puts a message into a bundle (1.4).
    BundleAdd(BundleAdd),
}

/// First message of each side (§7.5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Bit n: version n is spoken. `None` if the element was missing.
    pub versions: Option<u32>,
}

flags! {
    /// What a switch can do (ofp_capabilities).
    SwitchCapabilities(u32) {
        /// Flow counters.
        FLOW_STATS = 1, "FLOW_STATS";
        /// Table counters.
        TABLE_STATS = 1 << 1, "TABLE_STATS";
        /// Port counters.
        PORT_STATS = 1 << 2, "PORT_STATS";
        /// Group counters.
        GROUP_STATS = 1 << 3, "GROUP_STATS";
        /// Reassembles IP fragments.
        IP_REASM = 1 << 5, "IP_REASM";
        /// Queue counters.
        QUEUE_STATS = 1 << 6, "QUEUE_STATS";
        /// Blocks looping ports.
        PORT_BLOCKED = 1 << 8, "PORT_BLOCKED";
    }
}

/// Who the switch is (§7.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Its identity.
    pub dpid: Dpid,
    /// Most packets it buffers.
    pub n_buffers: u32,
    /// Flow tables it has.
    pub n_tables: u8,
    /// Zero for the main connection.
    pub auxiliary_id: u8,
    /// What it can do.
    pub capabilities: SwitchCapabilities,
    /// Its ports; later versions than 1.0 ask for them by a multipart request and say nothing of them here.
    pub ports: Vec<PortDesc>,
}

wire_enum! {
    /// What happens to IP fragments (ofp_config_flags).
    FragMode(u16) {
        /// Handled like other packets; later fragments have no transport ports.
        Normal = 0,
        /// Dropped.
        Drop = 1,
        /// Reassembled.
        Reassemble = 2,
    }
}

/// The configuration of the switch (§7.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What happens to IP fragments.
    pub frag: FragMode,
    /// Most bytes of a packet-in for which no action gave a length; [`crate::NO_BUFFER_LEN`] for all.
    pub miss_send_len: u16,
}

impl Default for Config {
    /// OFP_DEFAULT_MISS_SEND_LEN.
    fn default() -> Self {
        Self { frag: FragMode::Normal, miss_send_len: 128 }
    }
}

wire_enum! {
    /// What a controller may do (ofp_controller_role).
    Role(u32) {
        /// Asks for the present role.
        NoChange = 0,
        /// Everything, beside others of this role.
        Equal = 1,
        /// Everything, and no other may.
        Master = 2,
        /// Read only.
        Slave = 3,
    }
}

/// A role asked for or held (§7.3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleRequest {
    /// The role.
    pub role: Role,
    /// Orders elections: a stale number is refused.
    pub generation: u64,
}

/// Which asynchronous messages a controller gets (§7.3.10). Bit n of a mask stands for the reason with the
/// number n. Index 0 holds while the controller is equal or master, index 1 while it is slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncConfig {
    /// Reasons of [`crate::PacketInReason`].
    pub packet_in: [u32; 2],
    /// Reasons of [`crate::PortReason`].
    pub port_status: [u32; 2],
    /// Reasons of [`crate::FlowRemovedReason`].
    pub flow_removed: [u32; 2],
    /// Reasons of [`RoleReason`] (1.4).
    pub role_status: [u32; 2],
    /// Reasons of [`crate::TableReason`] (1.4).
    pub table_status: [u32; 2],
    /// Bit 0 for group modifications, bit 1 for meter modifications (1.4).
    pub request_forward: [u32; 2],
    /// Packets that no flow matched, in tables without a table-miss flow. Controllers before 1.3 expect them; no message
    /// asks for them.
    pub misses: bool,
}

/// What to change of an [`AsyncConfig`]; `None` leaves a mask as it is. 1.3 always sets the three that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of AsyncConfig")]
pub struct AsyncChange {
    pub packet_in: [Option<u32>; 2],
    pub port_status: [Option<u32>; 2],
    pub flow_removed: [Option<u32>; 2],
    pub role_status: [Option<u32>; 2],
    pub table_status: [Option<u32>; 2],
    pub request_forward: [Option<u32>; 2],
    pub misses: Option<bool>,
}

impl From<AsyncConfig> for AsyncChange {
    /// Sets everything.
    fn from(config: AsyncConfig) -> Self {
        Self {
            packet_in: config.packet_in.map(Some),
            port_status: config.port_status.map(Some),
            flow_removed: config.flow_removed.map(Some),
            role_status: config.role_status.map(Some),
            table_status: config.table_status.map(Some),
            request_forward: config.request_forward.map(Some),
            misses: Some(config.misses),
        }
    }
}

impl AsyncConfig {
    /// Nothing is sent.
    pub const NONE: Self = Self {
        packet_in: [0; 2],
        port_status: [0; 2],
        flow_removed: [0; 2],
        role_status: [0; 2],
        table_status: [0; 2],
        request_forward: [0; 2],
        misses: false,
    };

    /// Changes what `change` says.
    pub fn apply(&mut self, change: &AsyncChange) {
        let pairs = [
            (&mut self.packet_in, change.packet_in),
            (&mut self.port_status, change.port_status),
            (&mut self.flow_removed, change.flow_removed),
            (&mut self.role_status, change.role_status),
            (&mut self.table_status, change.table_status),
            (&mut self.request_forward, change.request_forward),
        ];
        for (mine, theirs) in pairs {
            for (mask, new) in mine.iter_mut().zip(theirs) {
                *mask = new.unwrap_or(*mask);
            }
        }
        self.misses = change.misses.unwrap_or(self.misses);
    }
}

wire_enum! {
    /// Why a role changed (ofp_controller_role_reason, 1.4).
    RoleReason(u8) {
        /// Another controller became master.
        MasterRequest = 0,
        /// The switch was configured so.
        Config = 1,
        /// An experimenter's data changed.
        Experimenter = 2,
    }
}

/// The controller's role changed without its doing (1.4 §7.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleStatus {
    /// The role it has now.
    pub role: Role,
    /// Why.
    pub reason: RoleReason,
    /// Number of the election.
    pub generation: u64,
}

/// A group or meter modification of another controller (1.4 §7.4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestForward {
    /// Its transaction there.
    pub xid: Xid,
    /// The request.
    pub request: Box<Message>,
}

impl Message {
    /// Whether a switch sends it without being asked (§6.1.2), so that it may be dropped for a peer that does not keep up.
    pub fn is_asynchronous(&self) -> bool {
        matches!(
            self,
            Self::PacketIn(_)
                | Self::FlowRemoved(_)
                | Self::PortStatus(_)
                | Self::RoleStatus(_)
                | Self::TableStatus(_)
                | Self::RequestForward(_)
        )
    }
}

impl Default for AsyncConfig {
    /// §6.3.6: everything but invalid-TTL packets for masters and equals, only port status for slaves.
    fn default() -> Self {
        Self {
            packet_in: [0b11_1011, 0],
            port_status: [0b111, 0b111],
            flow_removed: [0b11_1111, 0],
            role_status: [0b111, 0b111],
            table_status: [0, 0],
            request_forward: [0, 0],
            misses: false,
        }
    }
}
