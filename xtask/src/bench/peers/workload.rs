//! The workloads of the datapath: for each the flows, as ovs-ofctl writes them, and the frames.
//!
//! Frames come in by port 1; what is forwarded leaves by port 2. All are made from a seed, so that a run can be
//! repeated, or held to others of the same kinds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::acl;
use super::frames::{FrameSpec, Ip, Random, frame, mac_text, write_capture};

/// One kind of traffic with the flows it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// 100 MAC addresses.
    L2Few,
    /// 10,000 MAC addresses.
    L2Many,
    /// 200,000 five-tuples over 100 MAC addresses.
    L2Tuples,
    /// 10,000 IPv4 prefixes; rewrite and TTL.
    L3,
    /// 1,000 five-tuple rules of many masks.
    Acl,
    /// VLAN, per-user rewrite, routing in three tables.
    Gateway,
    /// Four rules and well-behaved traffic.
    TseBase,
    /// The same rules and one frame in ten made to explode the masks of a cache.
    Tse,
    /// 1,000 rules over IPv6 addresses and ports.
    Ipv6,
    /// 50,000 five-tuple rules.
    Rules50k,
    /// 100,000 five-tuple rules.
    Rules100k,
    /// Ten tables in a chain, each reading another field.
    Chain,
    /// 4,000 VLANs, each rewritten to another.
    Vlans,
    /// Half of the frames are flows never seen before.
    NewFlows,
    /// 1,000 established flows over the five-tuple rules, which the next two are to disturb.
    Established,
    /// Flows never seen before, alone.
    Unknown,
    /// Frames whose fields cancel out in a hash without a secret.
    Colliding,
}

impl Case {
    /// Its name on the command line and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2Few => "l2-100",
            Self::L2Many => "l2-10k",
            Self::L2Tuples => "l2-200k",
            Self::L3 => "l3-10k",
            Self::Acl => "acl-1k",
            Self::Gateway => "gateway",
            Self::TseBase => "tse-base",
            Self::Tse => "tse",
            Self::Ipv6 => "ipv6-1k",
            Self::Rules50k => "acl-50k",
            Self::Rules100k => "acl-100k",
            Self::Chain => "tables-10",
            Self::Vlans => "vlans-4k",
            Self::NewFlows => "new-flows",
            Self::Established => "established",
            Self::Unknown => "unknown",
            Self::Colliding => "colliding",
        }
    }
}

/// Flows and frames of a case.
#[derive(Debug, Default)]
pub struct Workload {
    /// One a line, OpenFlow 1.3.
    pub flows: Vec<String>,
    /// In the order of replay.
    pub frames: Vec<Vec<u8>>,
    /// Frames that leave, of those that came in.
    pub forwarded: f64,
}

/// Where a workload was written.
#[derive(Debug, Clone)]
pub struct Files {
    /// The frames.
    pub capture: PathBuf,
    /// The flows.
    pub flows: PathBuf,
    /// Frames that leave, of those that came in.
    pub forwarded: f64,
}

impl Workload {
    /// Writes both files into a folder.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, dir: &Path, name: &str) -> Result<Files> {
        let (capture, flows) = (dir.join(format!("{name}.pcap")), dir.join(format!("{name}.flows")));
        write_capture(&capture, &self.frames)?;
        let text = self.flows.join("\n") + "\n";
        std::fs::write(&flows, text).with_context(|| format!("cannot write {}", flows.display()))?;
        Ok(Files { capture, flows, forwarded: self.forwarded })
    }
}

/// What most frames have in common.
pub const PLAIN: FrameSpec =
    FrameSpec { dst: 1, src: 2, vlan: None, ip: Ip::V4(0, 0), tcp: false, ports: (1000, 2000) };

/// Makes a workload; other seeds make others of the same kind.
pub fn make(case: Case, seed: u64) -> Workload {
    let mut random = Random::new(seed);
    let mut made = Workload { forwarded: 1.0, ..Workload::default() };
    match case {
        Case::L2Few => l2(&mut made, 100),
        Case::L2Many => l2(&mut made, 10_000),
        Case::L2Tuples => l2_tuples(&mut made, &mut random),
        Case::L3 => l3(&mut made, &mut random),
        Case::Gateway => gateway(&mut made, &mut random),
        Case::Vlans => vlans(&mut made),
        Case::Chain => chain(&mut made, &mut random),
        Case::Acl => acl::rules(&mut made, &mut random, 1_000),
        Case::Rules50k => acl::rules(&mut made, &mut random, 50_000),
        Case::Rules100k => acl::rules(&mut made, &mut random, 100_000),
        Case::Ipv6 => acl::ipv6(&mut made, &mut random),
        Case::TseBase => acl::tse(&mut made, &mut random, false),
        Case::Tse => acl::tse(&mut made, &mut random, true),
        Case::NewFlows => acl::mixed(&mut made, &mut random),
        Case::Established => acl::established(&mut made, &mut random),
        Case::Unknown => acl::flood(&mut made, &mut random, acl::unknown),
        Case::Colliding => acl::flood(&mut made, &mut random, |_, n| acl::colliding(n)),
    }
    // The order of the attack is part of it.
    if !matches!(case, Case::Tse | Case::NewFlows) {
        random.shuffle(&mut made.frames);
    }
    made
}

fn l2(made: &mut Workload, n: u32) {
    for i in 0..n {
        made.flows.push(format!("table=0,priority=10,dl_dst={},actions=output:2", mac_text(i)));
        let ip = Ip::V4(0x0a00_0000 + i, 0x0b00_0000 + i);
        let ports = (1000 + (i % 50_000) as u16, 2000);
        made.frames.push(frame(&FrameSpec { dst: i, src: 0x10_0000 + i, ip, ports, ..PLAIN }));
    }
}

fn l2_tuples(made: &mut Workload, random: &mut Random) {
    for i in 0..100 {
        made.flows.push(format!("table=0,priority=10,dl_dst={},actions=output:2", mac_text(i)));
    }
    for i in 0..200_000 {
        let ip = Ip::V4(0x0a00_0000 + random.bits(20), 0x0b00_0000 + random.bits(20));
        let ports = (random.bits(16) as u16, random.bits(16) as u16);
        made.frames.push(frame(&FrameSpec { dst: i % 100, src: 0x10_0000 + i % 100, ip, ports, ..PLAIN }));
    }
}

/// Text of an IPv4 address.
pub fn ip_text(n: u32) -> String {
    std::net::Ipv4Addr::from(n).to_string()
}

/// The mask of a prefix.
pub const fn mask(length: u32) -> u32 {
    if length == 0 { 0 } else { u32::MAX << (32 - length) }
}

/// Different prefixes of ordinary unicast addresses.
fn prefixes(random: &mut Random, n: usize, lengths: &[u32]) -> Vec<(u32, u32)> {
    let mut seen = std::collections::HashSet::new();
    let mut all = Vec::with_capacity(n);
    while all.len() < n {
        let length = random.of(lengths);
        let prefix = (random.bits(32) & mask(length), length);
        let odd = matches!(prefix.0 >> 24, 0 | 10 | 127) || prefix.0 >> 28 >= 14;
        if !odd && seen.insert(prefix) {
            all.push(prefix);
        }
    }
    all
}

fn l3(made: &mut Workload, random: &mut Random) {
    let lengths = [8, 12, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 24, 24, 24, 24, 28, 32];
    let prefixes = prefixes(random, 10_000, &lengths);
    for &(prefix, length) in &prefixes {
        made.flows.push(format!(
            "table=0,priority={},ip,nw_dst={}/{length},actions=set_field:{}->eth_src,set_field:{}->eth_dst,dec_ttl,output:2",
            100 + length,
            ip_text(prefix),
            mac_text(0xaa),
            mac_text(random.bits(16)),
        ));
    }
    for _ in 0..50_000 {
        let (prefix, length) = random.of(&prefixes);
        let ip = Ip::V4(0x0a00_0000 + random.bits(16), prefix | random.bits(32 - length));
        made.frames.push(frame(&FrameSpec { ip, ports: (random.bits(16) as u16, 53), ..PLAIN }));
    }
}

fn gateway(made: &mut Workload, random: &mut Random) {
    const N_EDGES: u32 = 10;
    const N_USERS: u32 = 20;
    for edge in 0..N_EDGES {
        made.flows.push(format!(
            "table=0,priority=10,in_port=1,dl_vlan={},actions=pop_vlan,write_metadata:{edge},goto_table:1",
            100 + edge
        ));
        for user in 0..N_USERS {
            made.flows.push(format!(
                "table=1,priority=10,metadata={edge},ip,nw_src={},actions=set_field:{}->ip_src,goto_table:2",
                ip_text(0x0a00_0001 + user),
                ip_text(0xc633_6400 + edge * N_USERS + user),
            ));
        }
    }
    let prefixes = prefixes(random, 10_000, &[16, 20, 22, 24, 24, 24]);
    for &(prefix, length) in &prefixes {
        made.flows.push(format!(
            "table=2,priority={},ip,nw_dst={}/{length},actions=set_field:{}->eth_dst,dec_ttl,output:2",
            100 + length,
            ip_text(prefix),
            mac_text(random.bits(12)),
        ));
    }
    for _ in 0..20_000 {
        let (prefix, length) = random.of(&prefixes);
        let user = random.below(N_USERS as usize) as u32;
        let ip = Ip::V4(0x0a00_0001 + user, prefix | random.bits(32 - length));
        let vlan = Some(100 + random.below(N_EDGES as usize) as u16);
        let ports = (random.bits(16) as u16, 443);
        made.frames.push(frame(&FrameSpec { vlan, ip, tcp: true, ports, ..PLAIN }));
    }
}

fn vlans(made: &mut Workload) {
    for id in 1..=4_000u16 {
        let other = 1 + (id + 1_999) % 4_000;
        made.flows.push(format!(
            "table=0,priority=10,in_port=1,dl_vlan={id},actions=set_field:{}->vlan_vid,output:2",
            0x1000 | other
        ));
        for host in 0..4u32 {
            let ip = Ip::V4(0x0a00_0000 + host, 0x0b00_0000 + u32::from(id));
            made.frames.push(frame(&FrameSpec { vlan: Some(id), ip, ..PLAIN }));
        }
    }
}

/// Ten tables of 200 flows. Each reads a field that the next does not, and the last one sends.
fn chain(made: &mut Workload, random: &mut Random) {
    const N: u32 = 200;
    let hosts: Vec<[u32; 6]> = (0..N).map(|i| std::array::from_fn(|n| i + 1 + N * n as u32)).collect();
    for host in &hosts {
        let [dst, src, to, from, sport, dport] = *host;
        let matches = [
            format!("dl_dst={}", mac_text(dst)),
            format!("dl_src={}", mac_text(src)),
            format!("ip,nw_dst={}", ip_text(0x0b00_0000 + to)),
            format!("ip,nw_src={}", ip_text(0x0a00_0000 + from)),
            format!("udp,tp_src={sport}"),
            format!("udp,tp_dst={dport}"),
            format!("ip,nw_dst={}/24,dl_dst={}", ip_text(0x0b00_0000 + (to & 0xff00)), mac_text(dst)),
            format!("udp,nw_src={},tp_dst={dport}", ip_text(0x0a00_0000 + from)),
            format!("udp,nw_dst={},tp_src={sport}", ip_text(0x0b00_0000 + to)),
            format!("in_port=1,dl_src={}", mac_text(src)),
        ];
        for (table, matched) in matches.iter().enumerate() {
            let then = if table == 9 { "output:2".to_owned() } else { format!("goto_table:{}", table + 1) };
            made.flows.push(format!("table={table},priority=10,{matched},actions={then}"));
        }
    }
    made.flows.sort_unstable();
    made.flows.dedup();
    for _ in 0..10_000 {
        let [dst, src, to, from, sport, dport] = hosts[random.below(hosts.len())];
        let ip = Ip::V4(0x0a00_0000 + from, 0x0b00_0000 + to);
        let ports = (sport as u16, dport as u16);
        made.frames.push(frame(&FrameSpec { dst, src, ip, ports, ..PLAIN }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_have_the_size_they_promise() {
        for (case, n_flows, n_frames) in [
            (Case::L2Few, 100, 100),
            (Case::L2Tuples, 100, 200_000),
            (Case::L3, 10_000, 50_000),
            (Case::Acl, 1_001, 20_000),
            (Case::Gateway, 10_210, 20_000),
            (Case::TseBase, 4, 100),
            (Case::Vlans, 4_000, 16_000),
        ] {
            let made = make(case, 7);
            assert_eq!((made.flows.len(), made.frames.len()), (n_flows, n_frames), "{}", case.name());
            assert!(made.frames.iter().all(|frame| frame.len() >= 60));
        }
    }

    #[test]
    fn a_seed_makes_one_workload() {
        assert_eq!(make(Case::Acl, 7).frames, make(Case::Acl, 7).frames);
        assert_ne!(make(Case::Acl, 7).frames, make(Case::Acl, 8).frames);
        assert_eq!(make(Case::Acl, 7).flows, make(Case::Acl, 7).flows);
    }

    #[test]
    fn one_frame_in_ten_of_the_attack_is_dropped() {
        let made = make(Case::Tse, 7);
        assert!((made.forwarded - 0.9).abs() < 1e-9);
        assert_eq!(made.frames.len(), 16 * 32 * 16 * 10);
    }
}
