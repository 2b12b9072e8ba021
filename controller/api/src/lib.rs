//! The JSON shapes of networks, routers, policies, chains and of the REST API; a typed client.
//!
//! This crate holds what people and programs write and read, once. The topology files embed the shapes of
//! [`intent`](crate::Network), every daemon answers with the others. It knows no other crate of the workspace.

pub mod client;
mod intent;
mod problem;
mod queue;
mod raw;
mod resource;
mod revision;
mod router;
mod routing;
mod service;
mod stats;
mod text;
mod traffic;

pub use intent::{
    CountedRoute, Masquerade, Nat, Network, PortForward, Protocol, Redirect, Reservation, RouteType, Router,
    RouterInterface, StaticRoute, Vrf,
};
pub use problem::Problem;
pub use queue::{PortQueues, Queue, QueueState, QueueTextError};
pub use raw::{
    Counted, FlowSums, Group, GroupBucket, GroupCounters, GroupKind, GroupSpec, Meter, MeterBand,
    MeterCounters, MeterSpec, MeterUnit, PortConfig, PortStatistics, QueueStatistics, SwitchStatistics,
};
pub use resource::{
    Counter, FieldChange, Flow, FlowAdd, FlowOwner, Health, Host, Link, PeerRole, Port, PortAdd,
    PortCounters, PortRole, RouterChanges, State, Status, Stored, Switch, SwitchPeer, SwitchStatus,
    TraceCopy, TraceHop, TraceReply, TraceRequest, TraceStep,
};
pub use revision::{
    AuditEntry, Batch, Declaration, EndpointRef, Forecast, Label, Operation, Pair, PairList, Resource,
    ResourceChange, ResourceKind, Revision, SwitchForecast, WatchEvent, Written,
};
pub use router::{Binding, Connection, Neighbour, Route};
pub use routing::{
    AddressGroup, Advert, AdvertRoute, Exemption, Filtering, FirewallAction, FirewallRule, Limits, LiveFlows,
    NextHop, OneToOne, Police, PolicyRoute, Preference, ReservedPorts, RuleLimit, Sharing, SourceCheck,
    StaticNeighbour, Tracking,
};
pub use service::{DhcpHost, DhcpPool, DhcpRelay, DhcpRoute, Dns, DnsZone, Lease, RuleCount};
pub use stats::{
    CacheStats, Channel, DropCount, DropPlace, RouteCount, StageStats, Stats, TableStats, WorkerStats,
};
pub use text::{Cidr, Dpid, Endpoint, Mac, PortRef, Rate, TextError};
pub use traffic::{
    Balancer, BalancerMember, BalancerService, Chain, Function, Mirror, MirrorDirection, Path, Policy,
    PolicyAction, PolicyProtocol, Qos, Quota, Tenant,
};
