//! Networks of switches under one controller.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use controller::{Intent, Network, PortName};
use openflow::Dpid;
use packet::{MacAddr, PortNo, VlanId};
use sim::host::HOST_PORT;
use sim::{HostConfig, LinkConfig, LinkId, NodeId, Peer, Sim};
use vswitch::SwitchConfig;

pub const SETTLE: Duration = Duration::from_secs(5);

pub fn mac(n: u32) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 + u64::from(n))
}

/// Host `n` of 10.0.0.0/16.
pub fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
}

pub fn vlan(id: u16) -> VlanId {
    VlanId::new(id).expect("in range")
}

/// Adds switch `s{n}` with dpid `n`, controlled.
pub fn add_switch(sim: &mut Sim, n: u64, n_workers: usize) -> NodeId {
    let base = SwitchConfig::new(Dpid(n), format!("s{n}"));
    let id = sim.add_switch(SwitchConfig { n_workers, cache_entries: 256, ..base });
    sim.add_channel(id, Peer::Controller);
    id
}

/// Adds host `h{n}` with address `n` at a port.
pub fn add_host(sim: &mut Sim, n: u32, at: (NodeId, u32), link: LinkConfig) -> NodeId {
    add_host_as(sim, n, at, link, |config| config)
}

pub fn add_host_as(
    sim: &mut Sim,
    n: u32,
    at: (NodeId, u32),
    link: LinkConfig,
    change: impl FnOnce(HostConfig) -> HostConfig,
) -> NodeId {
    let id = sim.add_host(&format!("h{n}"), change(HostConfig::new(mac(n), address(n), 16)));
    sim.link((id, HOST_PORT), (at.0, PortNo(at.1)), link);
    id
}

pub fn join(sim: &mut Sim, a: (NodeId, u32), b: (NodeId, u32), link: LinkConfig) -> LinkId {
    sim.link((a.0, PortNo(a.1)), (b.0, PortNo(b.1)), link)
}

/// Leaves with two hosts each, every leaf joined to every spine.
pub struct LeafSpine {
    pub sim: Sim,
    pub spines: Vec<NodeId>,
    pub leaves: Vec<NodeId>,
    pub hosts: Vec<NodeId>,
    pub links: Vec<LinkId>,
}

impl LeafSpine {
    pub fn new(seed: u64, n_spines: u32, n_leaves: u32, link: LinkConfig) -> Self {
        let mut sim = Sim::new(seed);
        sim.set_controller();
        let n_workers = 1 + seed as usize % 3;
        let spines: Vec<NodeId> =
            (0..n_spines).map(|i| add_switch(&mut sim, 1 + u64::from(i), n_workers)).collect();
        let leaves: Vec<NodeId> =
            (0..n_leaves).map(|i| add_switch(&mut sim, 101 + u64::from(i), n_workers)).collect();
        let (mut hosts, mut links) = (Vec::new(), Vec::new());
        for (i, &leaf) in (0u32..).zip(&leaves) {
            for (j, &spine) in (0u32..).zip(&spines) {
                links.push(join(&mut sim, (leaf, 1 + j), (spine, 1 + i), link));
            }
            for host in 0..2 {
                hosts.push(add_host(&mut sim, 1 + 2 * i + host, (leaf, 100 + host), LinkConfig::default()));
            }
        }
        Self { sim, spines, leaves, hosts, links }
    }

    /// Two spines and three leaves with links of 100 us, and what declares one network `blue` of all their hosts: 1 and 2
    /// at the first leaf, 5 and 6 at the third.
    pub fn blue(seed: u64) -> (Self, Intent) {
        let link = LinkConfig { delay: Duration::from_micros(100), ..LinkConfig::default() };
        let all: Vec<(&str, u32)> =
            ["s101", "s102", "s103"].into_iter().flat_map(|leaf| [(leaf, 100), (leaf, 101)]).collect();
        let mut intent = Intent::default();
        intent.networks.insert("blue".into(), network(10, &all, &[]));
        (Self::new(seed, 2, 3, link), intent)
    }

    /// Everybody broadcasts once; how often everybody else heard it: least and most.
    pub fn broadcast_counts(&mut self, round: u32) -> (usize, usize) {
        let text = |n: usize| format!("round {round} from {n}").into_bytes();
        let everyone = IpAddr::V4(Ipv4Addr::BROADCAST);
        for (n, &host) in self.hosts.iter().enumerate() {
            self.sim.with_host(host, |h, now| h.send_udp(now, everyone, (68, 6700), &text(n)));
            self.sim.run_for(Duration::from_millis(20));
        }
        self.sim.run_for(Duration::from_secs(1));
        let mut counts = Vec::new();
        for (n, &from) in self.hosts.iter().enumerate() {
            assert_eq!(self.sim.host(from).n_datagrams(&text(n)), 0, "nobody hears himself");
            let others = self.hosts.iter().filter(|&&to| to != from);
            counts.extend(others.map(|&to| self.sim.host(to).n_datagrams(&text(n))));
        }
        (counts.iter().copied().min().unwrap_or(0), counts.iter().copied().max().unwrap_or(0))
    }
}

pub fn network(id: u16, access: &[(&str, u32)], trunks: &[(&str, u32)]) -> Network {
    let ports =
        |list: &[(&str, u32)]| list.iter().map(|(switch, port)| PortName::new(*switch, port)).collect();
    Network { vlan: vlan(id), access: ports(access), trunks: ports(trunks), hosts: Vec::new() }
}

pub fn set_intent(sim: &mut Sim, intent: Intent) {
    let result = sim.with_controller(|controller, now| controller.set_intent(now, intent));
    assert_eq!(result, Ok(()));
}
