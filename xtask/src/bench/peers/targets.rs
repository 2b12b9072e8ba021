//! What must hold, as data: the speed that weft promises beside its rivals.

use super::workload::Case;

/// For each workload beside the rival's best mode, the least ratio.
pub const STEADY: &[(Case, f64)] = &[
    (Case::L2Few, 1.8),
    (Case::L2Many, 2.6),
    (Case::L2Tuples, 2.2),
    (Case::L3, 5.5),
    (Case::Acl, 2.5),
    (Case::Gateway, 3.0),
    (Case::TseBase, 1.0),
    (Case::Tse, 1.5),
    (Case::Ipv6, 1.0),
    (Case::Rules50k, 1.0),
    (Case::Chain, 1.0),
    (Case::Vlans, 1.0),
    (Case::NewFlows, 1.0),
];

/// The first three seconds, of our own steady rate.
pub const COLD: f64 = 0.9;
/// Under an attack on caches of masks, of our own rate without.
pub const UNDER_ATTACK: f64 = 0.9;
/// With a flood of new or colliding flows by another port, of our own rate without.
pub const UNDER_FLOOD: f64 = 0.8;
/// 100,000 rules beside 1,000, without the cache.
pub const MANY_RULES: f64 = 0.667;
/// With a flow mod a millisecond, of the rate without.
pub const UNDER_FLOW_MODS: f64 = 0.95;
/// Where it is measured.
pub const FLOW_MOD_CASES: [Case; 2] = [Case::L3, Case::Acl];
/// Percent of a core, with 100 ports and no traffic.
pub const IDLE_PERCENT: f64 = 0.5;
/// Bytes of a cache entry.
pub const CACHE_ENTRY: f64 = 128.0;
/// Bytes of a flow.
pub const FLOW: f64 = 512.0;
/// MiB of memory with 10 ports.
pub const RESIDENT: f64 = 60.0;
/// What it may grow by under traffic, in MiB.
pub const GROWTH: f64 = 1.0;
