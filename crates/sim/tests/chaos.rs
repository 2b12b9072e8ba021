//! Everything that can go wrong goes wrong at random, under traffic: at no time does a frame cross from one network
//! into another, nothing storms, and once it is over everything works again.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::{add_host, add_switch, address, join, network, set_intent};
use controller::Intent;
use sim::host::What;
use sim::{ChannelId, LinkConfig, LinkId, NodeId, Sim, seeds};

/// Hosts of one network have odd numbers, those of the other even ones.
struct Net {
    sim: Sim,
    switches: Vec<NodeId>,
    hosts: Vec<NodeId>,
    links: Vec<LinkId>,
    channels: Vec<ChannelId>,
    n_said: u32,
}

const EVERYONE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

/// Four switches in a full mesh, two hosts of each network at each.
fn mesh(seed: u64) -> Net {
    let mut sim = Sim::new(seed);
    sim.set_controller();
    let n_workers = 1 + seed as usize % 3;
    let switches: Vec<NodeId> = (1..=4).map(|n| add_switch(&mut sim, n, n_workers)).collect();
    let link = LinkConfig { jitter: Duration::from_micros(50), ..LinkConfig::lossy(1000) };
    let mut links = Vec::new();
    for a in 0..4u32 {
        for b in a + 1..4 {
            links.push(join(&mut sim, (switches[a as usize], 10 + b), (switches[b as usize], 10 + a), link));
        }
    }
    let mut hosts = Vec::new();
    for n in 0..8u32 {
        hosts.push(add_host(&mut sim, n + 1, (switches[n as usize / 2], 1 + n % 2), LinkConfig::default()));
    }
    let names = ["s1", "s2", "s3", "s4"];
    let mut intent = Intent::default();
    for (name, id, port) in [("odd", 10, 1), ("even", 20, 2)] {
        let access: Vec<(&str, u32)> = names.iter().map(|switch| (*switch, port)).collect();
        intent.networks.insert(name.into(), network(id, &access, &[]));
    }
    set_intent(&mut sim, intent);
    let channels = switches.iter().flat_map(|switch| sim.channels_of(*switch)).collect();
    Net { sim, switches, hosts, links, channels, n_said: 0 }
}

impl Net {
    /// One of everybody says something to everyone, another to one host.
    fn talk(&mut self) {
        let n = self.hosts.len() as u64;
        let [from, other, to] = [0; 3].map(|_| self.sim.rng().below(n));
        self.n_said += 1;
        let text = format!("{} from {from}", self.n_said).into_bytes();
        self.sim.with_host(self.hosts[from as usize], |h, now| h.send_udp(now, EVERYONE, (68, 6700), &text));
        let text = format!("{} from {other}", self.n_said).into_bytes();
        let to = address(to as u32 + 1);
        self.sim.with_host(self.hosts[other as usize], |h, now| h.send_udp(now, to, (9, 6701), &text));
    }

    fn harm(&mut self) {
        let pick = |sim: &mut Sim, n: usize| sim.rng().below(n as u64) as usize;
        match self.sim.rng().below(20) {
            0..6 => {
                let link = self.links[pick(&mut self.sim, self.links.len())];
                self.sim.set_link(link, false);
            }
            6..12 => {
                let link = self.links[pick(&mut self.sim, self.links.len())];
                self.sim.set_link(link, true);
            }
            12..14 => {
                let switch = self.switches[pick(&mut self.sim, self.switches.len())];
                self.sim.reboot_switch(switch);
            }
            14..16 => {
                let channel = self.channels[pick(&mut self.sim, self.channels.len())];
                self.sim.set_channel(channel, false);
            }
            16..19 => {
                let channel = self.channels[pick(&mut self.sim, self.channels.len())];
                self.sim.set_channel(channel, true);
            }
            _ => self.sim.restart_controller(),
        }
    }

    fn heal(&mut self) {
        for &link in &self.links {
            self.sim.set_link(link, true);
            self.sim.set_link_config(link, LinkConfig::default());
        }
        for &channel in &self.channels {
            self.sim.set_channel(channel, true);
        }
        self.sim.run_for(Duration::from_secs(30));
        assert!(self.sim.run_until_quiet(Duration::from_secs(30)), "the network comes to rest");
    }

    fn check_isolation(&self) {
        for (n, &host) in self.hosts.iter().enumerate() {
            for heard in self.sim.host(host).heard() {
                let What::Udp { data, .. } = &heard.what else { continue };
                let from = data.last().map(|digit| usize::from(digit - b'0')).expect("some text");
                assert_eq!(from % 2, n % 2, "h{} heard {heard:?}", n + 1);
            }
        }
    }

    /// The most often that one host heard one broadcast.
    fn most_copies(&self) -> usize {
        let most = |host: &NodeId| {
            let mut heard: Vec<&[u8]> = self.sim.host(*host).heard().iter().filter_map(broadcast).collect();
            heard.sort_unstable();
            heard.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap_or(0)
        };
        self.hosts.iter().map(most).max().unwrap_or(0)
    }
}

fn broadcast(heard: &sim::host::Heard) -> Option<&[u8]> {
    match &heard.what {
        What::Udp { dst_port: 6700, data, .. } => Some(data),
        _ => None,
    }
}

#[test]
fn whatever_happens_networks_stay_apart_and_everything_comes_back() {
    seeds::for_each(8, |seed| {
        let mut net = mesh(seed);
        net.sim.run_for(Duration::from_secs(3));
        for _ in 0..40 {
            let before = net.sim.counters().n_delivered;
            net.harm();
            for _ in 0..10 {
                net.talk();
                let pause = net.sim.rng().below(60_000);
                net.sim.run_for(Duration::from_micros(pause));
            }
            let delivered = net.sim.counters().n_delivered - before;
            assert!(delivered < 5000, "no storm: {delivered} frames for twenty said");
        }
        net.check_isolation();
        assert!(net.most_copies() <= 1, "no copies, even while trees change");
        net.heal();
        for &host in &net.hosts {
            net.sim.with_host(host, |h, _| h.clear());
        }
        for _ in 0..20 {
            net.talk();
            net.sim.run_for(Duration::from_millis(100));
        }
        net.check_isolation();
        assert_eq!(net.most_copies(), 1, "each broadcast once");
        for from in 0..8 {
            let to = address((from as u32 + 2) % 8 + 1);
            assert!(net.sim.ping(net.hosts[from], to, 3).is_some(), "h{} reaches {to}", from + 1);
        }
        assert_eq!(net.sim.n_refused(), 0);
    });
}
