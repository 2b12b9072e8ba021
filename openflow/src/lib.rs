//! OpenFlow values, codec and session state machine.
//!
//! Values say what a message means, whatever the version of the protocol; only the codec knows how
//! a version writes it. Clauses cited are those of OpenFlow Switch Specification 1.3.5.

mod action;
mod bundle;
pub mod codec;
pub mod error;
mod flow;
pub mod frame;
mod group;
mod matches;
mod message;
mod meter;
mod multipart;
mod name;
pub mod oxm;
mod packet_io;
mod port;
pub mod session;
mod table;
pub mod text;
mod types;

pub use action::{Action, Instruction, Rewrite};
pub use bundle::{BundleAdd, BundleControl, BundleControlKind, BundleFlags};
pub use error::{Error, ErrorKind};
pub use flow::{FlowMod, FlowModCommand, FlowModFlags, FlowRemoved, FlowRemovedReason};
pub use group::{
    Bucket, BucketStats, GroupCapabilities, GroupDesc, GroupFeatures, GroupMod, GroupModCommand, GroupStats,
    GroupType,
};
pub use matches::{Match, MatchError};
pub use message::{
    AsyncChange, AsyncConfig, Config, Features, FragMode, Hello, Message, RequestForward, Role, RoleReason,
    RoleRequest, RoleStatus, SwitchCapabilities, Version, VersionError,
};
pub use meter::{
    Band, BandKind, BandStats, MeterConfig, MeterFeatures, MeterFlags, MeterMod, MeterModCommand, MeterStats,
};
pub use multipart::{
    AggregateStats, FlowStats, FlowStatsRequest, MultipartReply, MultipartRequest, Reply, Request, SwitchDesc,
};
pub use name::Name;
pub use oxm::{Field, Oxm};
pub use packet::{MacAddr, PortNo, VlanId};
pub use packet_io::{NO_BUFFER_LEN, PacketIn, PacketInReason, PacketOut};
pub use port::{
    PacketQueue, PortConfig, PortDesc, PortFeatures, PortMod, PortReason, PortState, PortStats, PortStatus,
    QueueConfig, QueueStats, ports,
};
pub use session::{CloseReason, Event, Session, SessionConfig, SessionCounters, Side};
pub use table::{
    TABLE_EVICTION, TABLE_VACANCY_EVENTS, TableDesc, TableFeature, TableFeatures, TableMod, TableReason,
    TableStats, TableStatus, Vacancy,
};
pub use types::{BufferId, Cookie, Dpid, DpidError, GroupId, MeterId, Priority, QueueId, TableId, Xid};
