//! The router: interfaces, neighbours, forwarding, address translation and ICMP.
//!
//! [`Router`] is the one owner, [`Forwarder`] the half that each worker has. They exchange only [`Order`]s and
//! [`Report`]s, which the shell carries. Nothing here reads a clock or a socket: `now` and frames are arguments, and
//! frames are what comes out.

mod ahead;
mod config;
mod counters;
mod decide;
mod dhcp;
mod discovery;
mod dns;
mod duplicate;
mod express;
mod fib;
mod firewall;
mod flow;
mod forwarder;
mod fpm;
mod fragment;
mod input;
mod kernel;
mod limiter;
mod local;
mod message;
mod mss;
mod nat;
mod neighbour;
mod netlink;
mod output;
mod policy;
mod prefix;
mod resolution;
mod rewrite;
mod router;
mod service;
mod shadow;
mod shards;
mod show;
mod snapshot;
mod tell;
mod told;
mod trace;

pub use conntrack::{Filtering, Limits, Sharing, Timers};

pub use config::{
    AdvertConfig, AdvertRoute, ConfigError, DhcpHost, DhcpPool, DhcpRelay, DnsConfig, FirewallAction,
    FirewallRule, GroupConfig, InterfaceConfig, LiveFlows, NatRule, NeighbourConfig, NextHop, Police,
    PolicyRoute, RouteConfig, RouteTarget, RouterConfig, RuleLimit, SourceCheck, Transport, Tuning,
    VrfConfig,
};
pub use counters::{Counters, Drop};
pub use fib::Traffic;
pub use forwarder::Forwarder;
pub use fpm::{Fpm, FpmError};
pub use kernel::KernelRoutes;
pub use message::{Effect, Order, Report, RouterEvent};
pub use prefix::{Prefix, PrefixError};
pub use router::{Options, Router};
pub use show::{
    BindingInfo, ConnectionInfo, KeptLease, LeaseInfo, LeaseState, NeighbourInfo, NeighbourState,
    PrefixTraffic, RouteInfo, RouteSource, RuleInfo, Trace,
};
