//! The table layout, as data: numbers of tables, priorities, metadata bits and cookies. Nothing else names them.
//!
//! ```text
//! ADMIT  what a port may send, and into which lane it goes
//!   +--> LANE (links: the tag names the lane) --> FORWARD
//!   +--> PORT_RATE, LANE_RATE, TENANT_RATE (edge: how much?) --> SOURCE (is the sender known?) --> POLICY (may he?) --> STEER (chains) --> FORWARD
//!   +--> FORWARD (what leaves a chain function)
//! ```
//!
//! A *lane* is a number of 12 bits: the VLAN id of a network, or of one segment of a chain. It is the tag on links
//! and the low bits of the metadata inside a switch. Frames themselves are untagged between ADMIT and the output.

use std::net::Ipv4Addr;

use openflow::{Cookie, Dpid, GroupId, MeterId, Priority, TableId};
use packet::{MacAddr, PortNo, VlanId};

/// Classifies by ingress port.
pub const ADMIT: TableId = TableId(0);
/// Reads the tag of a frame from another switch and takes it off.
pub const LANE: TableId = TableId(1);
/// Measures what a port of hosts sends.
pub const PORT_RATE: TableId = TableId(2);
/// Measures what the ports of a network send.
pub const LANE_RATE: TableId = TableId(3);
/// Measures what the networks of a tenant send.
pub const TENANT_RATE: TableId = TableId(4);
/// Knows who may speak where; tells the controller about others.
pub const SOURCE: TableId = TableId(5);
/// Judges what hosts send.
pub const POLICY: TableId = TableId(6);
/// Puts traffic of chains into the lane of their first segment.
pub const STEER: TableId = TableId(7);
/// Decides where a frame leaves.
pub const FORWARD: TableId = TableId(8);
/// Tables a switch needs.
pub const N_TABLES: u8 = 9;

/// Metadata bits that hold the lane.
pub const LANE_MASK: u64 = 0x0fff;
/// Metadata bit: came by an edge port or a link of the broadcast tree, so it may be flooded.
pub const MAY_FLOOD: u64 = 0x1000;
/// Metadata bit: another switch floods it, so it is flooded here as well, whoever is known.
pub const FLOODED: u64 = 0x2000;
/// The priority in the tag (IEEE 802.1Q §9.6, PCP) of what one switch floods to another.
pub const FLOODED_PCP: u8 = 1;

/// The lane of ports that no network declares.
pub const DEFAULT_LANE: u16 = 4094;
/// The lanes that segments of chains are given, as far as no network has them.
pub const SEGMENT_LANES: std::ops::RangeInclusive<u16> = 3000..=3899;
/// The tags of ways around links, as far as no network has them.
pub const BYPASSES: std::ops::RangeInclusive<u16> = 3900..=4093;
/// Those of them that links share as long as they can, 3904 to 4031: every switch always refuses them from hosts by a flow for
/// each half, since a switch that is out of reach goes on using those that others have forgotten. The first of each half, and the
/// bits that they share, that of a tag among them (OFPVID_PRESENT, OpenFlow 1.3.5 §7.2.3.7).
pub const USUAL_BYPASSES: [(u16, u16); 2] = [(0x1f40, 0x1fc0), (0x1f80, 0x1fc0)];

/// Priorities in ADMIT.
pub mod admit {
    use super::Priority;
    /// Discovery frames go to the controller.
    pub const DISCOVERY: Priority = Priority(1000);
    /// Frames that bridges must not forward (IEEE 802.1Q §8.6.3), frames from group addresses.
    pub const REFUSE: Priority = Priority(900);
    /// On a way around a link.
    pub const BYPASS: Priority = Priority(600);
    /// By a link, in a lane that has a queue of its own.
    pub const QUEUE: Priority = Priority(550);
    /// What another switch floods, by a link.
    pub const FLOODED: Priority = Priority(510);
    /// A port of a link, or of a function.
    pub const PORT: Priority = Priority(500);
    /// A trunk port with the tag of a network.
    pub const TRUNK: Priority = Priority(400);
    /// The tag of a lane, at a port where it has no business.
    pub const FOREIGN: Priority = Priority(350);
    /// The tag of the lane in which the controller answers each frame, in LANE.
    pub const ASK: Priority = Priority(320);
    /// An access port.
    pub const ACCESS: Priority = Priority(300);
}

/// Priorities in PORT_RATE, LANE_RATE and TENANT_RATE.
pub mod rate {
    use super::Priority;
    /// A port, lane or tenant with a rate or queue.
    pub const LIMIT: Priority = Priority(100);
    /// Everything else.
    pub const MISS: Priority = Priority(0);
}

/// Priorities in SOURCE.
pub mod source {
    use super::Priority;
    /// A known sender whose addresses are not known yet says something about them.
    pub const ADDRESS: Priority = Priority(200);
    /// A known sender.
    pub const KNOWN: Priority = Priority(100);
    /// Unicast of anybody else, where the controller answers each frame.
    pub const ASK: Priority = Priority(50);
    /// Anybody else.
    pub const MISS: Priority = Priority(0);
}

/// Priorities in POLICY.
pub mod policy {
    use super::Priority;
    /// Neighbour discovery passes, as ARP does.
    pub const NEIGHBOURS: Priority = Priority(u16::MAX);
    /// The highest priority that a policy may have.
    pub const HIGHEST: u16 = u16::MAX - 2;
    /// Everything that no policy decides on.
    pub const MISS: Priority = Priority(0);

    /// A policy of this priority.
    pub fn of(priority: u16) -> Priority {
        Priority(priority.saturating_add(1))
    }
}

/// Priorities in STEER.
pub mod steer {
    use super::Priority;
    /// Between endpoints of a chain.
    pub const CHAIN: Priority = Priority(100);
    /// To a service of a virtual address, and answers from there.
    pub const BALANCE: Priority = Priority(80);
    /// Whoever asks for a virtual address and is not known yet.
    pub const BALANCE_ASK: Priority = Priority(70);
    /// To a virtual address, but to none of its services.
    pub const BALANCE_REST: Priority = Priority(60);
    /// From one end of a way to the other.
    pub const COURSE: Priority = Priority(50);
    /// Everything else.
    pub const MISS: Priority = Priority(0);
}

/// Priorities in FORWARD.
pub mod forward {
    use super::Priority;
    /// A segment of a chain.
    pub const SEGMENT: Priority = Priority(300);
    /// A segment of a chain, by the port that the way around its link begins with.
    pub const SEGMENT_BACK: Priority = Priority(310);
    /// To a known host, by the port that the way around its link begins with, or that matters to copies.
    pub const UNICAST_BACK: Priority = Priority(210);
    /// To a known host.
    pub const UNICAST: Priority = Priority(200);
    /// Group addresses, by a port that matters to copies.
    pub const GROUP_OWN: Priority = Priority(160);
    /// Group addresses, also where unknown addresses are not flooded.
    pub const GROUP: Priority = Priority(150);
    /// From an endpoint of a chain to an address not known yet: held, since it might belong into the chain.
    pub const HOLD: Priority = Priority(100);
    /// To an address not known yet that a policy might be about: held likewise.
    pub const HOLD_POLICY: Priority = Priority(90);
    /// Unknown unicast, where the controller answers each frame.
    pub const ASK: Priority = Priority(60);
    /// Broadcast and unknown unicast, by a port that matters to copies.
    pub const FLOOD_OWN: Priority = Priority(55);
    /// Broadcast and unknown unicast.
    pub const FLOOD: Priority = Priority(50);
}

/// The order in which flows are added, lowest first: none leads to a table that is not ready for it, and none opens
/// a way around a chain or a policy before that is in place.
pub fn rank(table: TableId, priority: Priority) -> u8 {
    match table {
        FORWARD
            if [forward::UNICAST, forward::UNICAST_BACK, forward::FLOOD, forward::FLOOD_OWN]
                .contains(&priority) =>
        {
            2
        }
        FORWARD => 0,
        STEER | POLICY => 1,
        SOURCE => 3,
        LANE | TENANT_RATE => 4,
        LANE_RATE => 5,
        PORT_RATE => 6,
        _ => 7,
    }
}

const OWNER: u64 = 0x7ef7 << 48;
const OWNER_MASK: u64 = 0xffff << 48;
const KIND_INTENT: u64 = 1 << 40;
const KIND_RAW: u64 = 2 << 40;
const KIND_LEARNED: u64 = 3 << 40;
const KIND_MASK: u64 = 0xff << 40;
const ID_MASK: u64 = (1 << 40) - 1;

/// Bits of a cookie that say whose a flow is.
pub const COOKIE_MASK: u64 = OWNER_MASK | KIND_MASK;

/// The cookie of flows that serve `label`, such as `network/blue`.
pub fn intent_cookie(label: &str) -> Cookie {
    Cookie(OWNER | KIND_INTENT | (fnv(label.as_bytes()) & ID_MASK))
}

/// The cookie of flows added by hand; the low bits of `id` are kept.
pub fn raw_cookie(id: u64) -> Cookie {
    Cookie(OWNER | KIND_RAW | (id & ID_MASK))
}

/// The cookie and mask that select every flow of the blueprint.
pub fn any_intent() -> (Cookie, u64) {
    (Cookie(OWNER | KIND_INTENT), COOKIE_MASK)
}

/// The cookie and mask that select every flow added by hand.
pub fn any_raw() -> (Cookie, u64) {
    (Cookie(OWNER | KIND_RAW), COOKIE_MASK)
}

/// The cookie of flows that the controller answered a frame with.
pub fn learned_cookie() -> Cookie {
    Cookie(OWNER | KIND_LEARNED)
}

/// The cookie of the flows by which switches ask for such.
pub fn asking_cookie() -> Cookie {
    Cookie(OWNER | KIND_LEARNED | 1)
}

/// The cookie and mask that select both.
pub fn any_learned() -> (Cookie, u64) {
    (learned_cookie(), COOKIE_MASK)
}

/// Whose a flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Planned from intents.
    Intent,
    /// The answer to a frame, or what asks for one.
    Learned,
    /// Added by hand through the controller.
    Raw,
    /// Somebody else's.
    Foreign,
}

/// Whose a flow with this cookie is.
pub fn owner(cookie: Cookie) -> Owner {
    match cookie.0 & COOKIE_MASK {
        kind if kind == OWNER | KIND_INTENT => Owner::Intent,
        kind if kind == OWNER | KIND_RAW => Owner::Raw,
        kind if kind == OWNER | KIND_LEARNED => Owner::Learned,
        _ => Owner::Foreign,
    }
}

/// The groups of the controller have these upper bits.
const GROUPS: u32 = 0x7e << 24;
const GROUP_MASK: u32 = 0xff << 24;
/// Groups where ways begin, and those that make copies, have these.
const COURSE_GROUPS: u32 = 0x7d << 24;

/// Groups that choose members of balancers have these: behind those that they lead to.
const BALANCE_GROUPS: u32 = 0x7f << 24;
/// How many of them there may be.
pub const N_BALANCE_GROUPS: u32 = 1 << 24;

/// The n-th group that chooses a member.
pub fn group_of_service(n: u32) -> GroupId {
    GroupId(BALANCE_GROUPS | n & !GROUP_MASK)
}

/// The MAC address that stands for a virtual one. Its second bit says that nobody's card has it (IEEE 802 §8.4).
pub fn virtual_mac(lane: VlanId, address: Ipv4Addr) -> MacAddr {
    let bytes = [&lane.get().to_be_bytes()[..], &address.octets()].concat();
    let [.., a, b, c, d] = fnv(&bytes).to_be_bytes();
    MacAddr([0x0a, 0x7e, a, b, c, d])
}

/// Whether a group is the controller's.
pub fn is_own_group(group: GroupId) -> bool {
    [GROUPS, COURSE_GROUPS, BALANCE_GROUPS].contains(&(group.0 & GROUP_MASK))
}

/// The group of the first leg of a way, whose lane is nobody else's.
pub fn group_of_lane(vlan: VlanId) -> GroupId {
    GroupId(COURSE_GROUPS | u32::from(vlan.get()))
}

/// The group that makes the copies of a mirror, whose lane is nobody else's. `back`: of frames that came by a port where they go
/// on. None: the number of that port is above 4095.
pub fn group_of_copies(vlan: VlanId, back: Option<PortNo>) -> Option<GroupId> {
    let port = back.map_or(0, |port| port.0);
    (port <= 0xfff).then(|| GroupId(COURSE_GROUPS | port << 12 | u32::from(vlan.get())))
}

/// A group with this bit is for frames that came by the port that the way around begins with.
const GROUP_BACK: u32 = 1 << 23;

/// The group that leads to a switch. Two switches may have the same.
pub fn group_to(dpid: Dpid, back: bool) -> GroupId {
    let number = fnv(&dpid.0.to_be_bytes()) as u32 & !GROUP_MASK & !GROUP_BACK;
    GroupId(GROUPS | number | if back { GROUP_BACK } else { 0 })
}

/// Numbers of meters of ports begin behind this.
const PORT_METERS: u32 = 20_000;
/// Numbers of meters of lanes begin behind this.
const LANE_METERS: u32 = 50_000;
/// Numbers of meters of tenants begin behind this.
const TENANT_METERS: u32 = 55_000;
/// The highest port that has a meter.
const MAX_METERED_PORT: u32 = 20_000;

/// The meter of a port, if its number is not too large.
pub fn meter_of_port(port: PortNo) -> Option<MeterId> {
    (1..=MAX_METERED_PORT).contains(&port.0).then(|| MeterId(PORT_METERS + port.0))
}

/// The meter of a lane.
pub fn meter_of_lane(vlan: VlanId) -> MeterId {
    MeterId(LANE_METERS + u32::from(vlan.get()))
}

/// The meter of a tenant, of whose lanes this is the first.
pub fn meter_of_tenant(first: VlanId) -> MeterId {
    MeterId(TENANT_METERS + u32::from(first.get()))
}

/// Whether a meter is the controller's.
pub fn is_own_meter(meter: MeterId) -> bool {
    let of_port = PORT_METERS + 1..=PORT_METERS + MAX_METERED_PORT;
    let of_lane = LANE_METERS + 1..=LANE_METERS + 4094;
    let of_tenant = TENANT_METERS + 1..=TENANT_METERS + 4094;
    [of_port, of_lane, of_tenant].iter().any(|numbers| numbers.contains(&meter.0))
}

/// Whether a tag is one of [`USUAL_BYPASSES`].
pub fn is_usual_bypass(vlan: VlanId) -> bool {
    USUAL_BYPASSES
        .iter()
        .any(|(first, bits)| openflow::Oxm::vlan(vlan).value & u128::from(*bits) == u128::from(*first))
}

/// Metadata of a lane.
pub fn lane(vlan: VlanId) -> u64 {
    u64::from(vlan.get())
}

/// FNV-1a: names become cookies and choose among equal paths; the values must not change between runs.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_tell_their_owner() {
        assert_eq!(owner(intent_cookie("network/blue")), Owner::Intent);
        assert_eq!(owner(raw_cookie(u64::MAX)), Owner::Raw);
        assert_eq!([learned_cookie(), asking_cookie()].map(owner), [Owner::Learned; 2]);
        for foreign in [0, 1, u64::MAX, OWNER] {
            assert_eq!(owner(Cookie(foreign)), Owner::Foreign);
        }
        assert_ne!(intent_cookie("network/blue"), intent_cookie("network/red"));
    }
}
