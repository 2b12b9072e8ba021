//! Messages of OpenFlow 1.3 as the switches of the bench need them: bytes at known places (OpenFlow 1.3.5 §7).

/// Kinds of messages (§7.1).
pub const HELLO: u8 = 0;
pub const ERROR: u8 = 1;
pub const ECHO_REQUEST: u8 = 2;
pub const ECHO_REPLY: u8 = 3;
pub const EXPERIMENTER: u8 = 4;
pub const FEATURES_REQUEST: u8 = 5;
pub const FEATURES_REPLY: u8 = 6;
pub const PACKET_IN: u8 = 10;
pub const PORT_STATUS: u8 = 12;
pub const PACKET_OUT: u8 = 13;
pub const FLOW_MOD: u8 = 14;
pub const GROUP_MOD: u8 = 15;
pub const MULTIPART_REQUEST: u8 = 18;
pub const MULTIPART_REPLY: u8 = 19;
pub const BARRIER_REQUEST: u8 = 20;
pub const BARRIER_REPLY: u8 = 21;
pub const ROLE_REQUEST: u8 = 24;
pub const ROLE_REPLY: u8 = 25;

/// Kinds of multipart messages (§7.3.5).
pub const DESC: u16 = 0;
pub const FLOW: u16 = 1;
pub const AGGREGATE: u16 = 2;
pub const GROUP_DESC: u16 = 7;
pub const GROUP_FEATURES: u16 = 8;
pub const PORT_DESC: u16 = 13;

/// Where the state of a port stands in its description, and the bits of it.
const STATE_AT: usize = 36;
const LINK_DOWN: u32 = 1;
const LIVE: u32 = 4;

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// `struct ofp_switch_features` behind its header: 254 tables, no buffers, all statistics.
pub fn features(dpid: u64) -> [u8; 24] {
    let mut body = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0x4f, 0, 0, 0, 0];
    body[..8].copy_from_slice(&dpid.to_be_bytes());
    body
}

/// `struct ofp_desc`: nothing but what it is called.
pub fn desc(dpid: u64) -> Vec<u8> {
    let mut body = vec![0; 1056];
    let name = format!("s{dpid}");
    body[800..800 + name.len()].copy_from_slice(name.as_bytes());
    body
}

/// `struct ofp_port`: up, and live.
pub fn port(dpid: u64, port: u32) -> [u8; 64] {
    let mut desc = [0; 64];
    desc[..4].copy_from_slice(&port.to_be_bytes());
    let mac = 0x0200_0000_0000 | (dpid & 0xff_ffff) << 16 | u64::from(port & 0xffff);
    desc[8..14].copy_from_slice(&mac.to_be_bytes()[2..]);
    let name = format!("p{port}");
    desc[16..16 + name.len()].copy_from_slice(name.as_bytes());
    set_link(&mut desc, true);
    desc
}

/// Notes in the description of a port whether it has a link.
pub fn set_link(desc: &mut [u8], is_up: bool) {
    let state = if is_up { LIVE } else { LINK_DOWN };
    desc[STATE_AT..STATE_AT + 4].copy_from_slice(&state.to_be_bytes());
}

/// Whether it says that it has.
pub fn has_link(desc: &[u8]) -> bool {
    u32_at(desc, STATE_AT).is_some_and(|state| state & LINK_DOWN == 0)
}

/// `struct ofp_packet_in` behind its header: a frame that an action sent up (§7.4.1).
pub fn packet_in(port: u32, frame: &[u8]) -> Vec<u8> {
    let len = u16::try_from(frame.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut body = vec![0xff, 0xff, 0xff, 0xff, len[0], len[1], 1, 0];
    // Cookie, then a match of the ingress port, padded.
    body.extend([0; 8]);
    body.extend([0, 1, 0, 12, 0x80, 0, 0, 4]);
    body.extend(port.to_be_bytes());
    body.extend([0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(frame);
    body
}

/// The port of the first output of a packet-out, and its frame.
pub fn packet_out(body: &[u8]) -> Option<(u32, &[u8])> {
    let len = usize::from(u16_at(body, 8)?);
    let (actions, frame) = body.get(16..)?.split_at_checked(len)?;
    let mut rest = actions;
    while let (Some(kind), Some(len)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        if kind == 0 {
            return Some((u32_at(rest, 4)?, frame));
        }
        rest = rest.get(usize::from(len).max(8)..)?;
    }
    None
}

/// `struct ofp_flow_stats` of what a flow mod puts, without a packet so far.
pub fn flow_stats(body: &[u8]) -> Option<Box<[u8]>> {
    let rest = body.get(40..)?;
    let mut stats = Vec::with_capacity(48 + rest.len());
    stats.extend(u16::try_from(48 + rest.len()).ok()?.to_be_bytes());
    // Table, then how long it is there.
    stats.extend([*body.get(16)?, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    stats.extend_from_slice(body.get(22..24)?);
    // Both timeouts.
    stats.extend_from_slice(body.get(18..22)?);
    stats.extend_from_slice(body.get(36..38)?);
    stats.extend([0; 4]);
    stats.extend_from_slice(body.get(..8)?);
    stats.extend([0; 16]);
    stats.extend_from_slice(rest);
    Some(stats.into())
}

/// Whether a flow is among those of a cookie.
pub fn has_cookie(stats: &[u8], cookie: u64, mask: u64) -> bool {
    u64_at(stats, 24).is_some_and(|of| of & mask == cookie & mask)
}

/// `struct ofp_aggregate_stats_reply`.
pub fn aggregate(n_flows: usize) -> [u8; 24] {
    let mut body = [0; 24];
    body[16..20].copy_from_slice(&u32::try_from(n_flows).unwrap_or(u32::MAX).to_be_bytes());
    body
}

/// `struct ofp_group_features`: every type, every capability, as many as one likes.
pub fn group_features() -> [u8; 40] {
    let mut body = [0xff; 40];
    body[..8].copy_from_slice(&[0, 0, 0, 15, 0, 0, 0, 15]);
    body
}
