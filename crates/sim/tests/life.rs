//! A minute in the life of a random network: links flap and lose frames, control connections break and crawl, switches and
//! controllers start anew, in the middle of a write to the store, too, and what is wanted changes meanwhile, all of it from
//! one seed. At no time does a frame cross from one network into another, or reach whom a standing policy keeps it from; nothing storms. Afterwards the network does what
//! the intents say, and the plan that came about change by change is the one that is made from nothing.

mod common;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::{add_host, add_switch, address, join, network, set_intent};
use controller::{Edit, Intent, Judgement, Kind, Label, Policy, PortName, Qos, Traffic, plan};
use sim::host::What;
use sim::{CHANNEL_DELAY, ChannelId, LinkConfig, LinkId, NodeId, Sim, seeds};

/// How long things go wrong.
const LIFE: Duration = Duration::from_secs(60);
const EVERYONE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
const N_NETWORKS: usize = 3;

/// Hosts `2 n` and `2 n + 1` are at ports 1 and 2 of switch `n`.
struct Life {
    sim: Sim,
    switches: Vec<NodeId>,
    hosts: Vec<NodeId>,
    /// The network of each host.
    network: Vec<usize>,
    links: Vec<LinkId>,
    channels: Vec<ChannelId>,
    /// Who may never send IP to whom.
    kept_apart: BTreeSet<(usize, usize)>,
    n_said: u32,
}

fn port(host: usize) -> PortName {
    PortName::new(format!("s{}", host / 2 + 1), 1 + host % 2)
}

fn policy(priority: u16, judgement: Judgement, (from, to): (usize, usize)) -> Policy {
    let [from, to] = [from, to].map(|host| [port(host)].into());
    Policy { priority, judgement, from, to, traffic: Traffic::Ip, stateful: false }
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut sim = Sim::new(seed);
        sim.set_controller();
        let n_switches = 5 + sim.rng().below(3) as usize;
        let n_workers = 1 + sim.rng().below(3) as usize;
        let switches: Vec<NodeId> =
            (1..=n_switches as u64).map(|n| add_switch(&mut sim, n, n_workers)).collect();
        let link = LinkConfig { jitter: Duration::from_micros(50), ..LinkConfig::lossy(1000) };
        let mut ends = BTreeSet::new();
        // All in one piece, and some links more.
        for b in 1..n_switches {
            ends.insert((sim.rng().below(b as u64) as usize, b));
        }
        for _ in 0..n_switches {
            let [a, b] = [0; 2].map(|_| sim.rng().below(n_switches as u64) as usize);
            if a != b {
                ends.insert((a.min(b), a.max(b)));
            }
        }
        let links = ends
            .into_iter()
            .map(|(a, b)| join(&mut sim, (switches[a], 10 + b as u32), (switches[b], 10 + a as u32), link))
            .collect();
        let place = |n: usize| (switches[n / 2], 1 + n as u32 % 2);
        let hosts: Vec<NodeId> = (0..2 * n_switches)
            .map(|n| add_host(&mut sim, n as u32 + 1, place(n), LinkConfig::default()))
            .collect();
        let network = hosts.iter().map(|_| sim.rng().below(N_NETWORKS as u64) as usize).collect();
        let channels = switches.iter().flat_map(|switch| sim.channels_of(*switch)).collect();
        let kept_apart = BTreeSet::new();
        let mut life = Self { sim, switches, hosts, network, links, channels, kept_apart, n_said: 0 };
        life.declare();
        life
    }

    /// The networks, and policies that never change.
    fn declare(&mut self) {
        let mut intent = Intent::default();
        for n in 0..N_NETWORKS {
            let members = (0..self.hosts.len()).filter(|host| self.network[*host] == n);
            let access: Vec<(String, u32)> =
                members.map(|host| (format!("s{}", host / 2 + 1), 1 + host as u32 % 2)).collect();
            let access: Vec<(&str, u32)> = access.iter().map(|(switch, port)| (&**switch, *port)).collect();
            intent.networks.insert(format!("n{n}"), network(10 + 10 * n as u16, &access, &[]));
        }
        for n in 0..4u16 {
            if let Some(pair) = self.pair() {
                intent.policies.insert(format!("never{n}"), policy(1000 + n, Judgement::Deny, pair));
                self.kept_apart.insert(pair);
            }
        }
        set_intent(&mut self.sim, intent);
    }

    /// Two hosts of one network.
    fn pair(&mut self) -> Option<(usize, usize)> {
        let n = self.hosts.len() as u64;
        let [a, b] = [0; 2].map(|_| self.sim.rng().below(n) as usize);
        (a != b && self.network[a] == self.network[b]).then_some((a, b))
    }

    fn pick<T: Copy>(&mut self, from: fn(&Self) -> &[T]) -> T {
        let n = from(self).len() as u64;
        let idx = self.sim.rng().below(n) as usize;
        from(self)[idx]
    }

    /// Something breaks, or is mended.
    fn harm(&mut self) {
        match self.sim.rng().below(24) {
            0..5 => {
                let link = self.pick(|life| &life.links);
                self.sim.set_link(link, false);
            }
            5..11 => {
                let link = self.pick(|life| &life.links);
                self.sim.set_link(link, true);
            }
            11 => {
                let link = self.pick(|life| &life.links);
                self.sim.set_link_config(link, LinkConfig::lossy(100_000));
            }
            12..14 => {
                let switch = self.pick(|life| &life.switches);
                self.sim.reboot_switch(switch);
            }
            14..16 => {
                let channel = self.pick(|life| &life.channels);
                self.sim.set_channel(channel, false);
            }
            16..19 => {
                let channel = self.pick(|life| &life.channels);
                self.sim.set_channel(channel, true);
                self.sim.set_channel_delay(channel, CHANNEL_DELAY);
            }
            19 => {
                let channel = self.pick(|life| &life.channels);
                self.sim.set_channel_delay(channel, Duration::from_millis(300));
            }
            20 => self.sim.restart_controller(),
            21 => self.tear(),
            _ => self.change(),
        }
    }

    /// Something else is wanted.
    fn change(&mut self) {
        if let Some(edit) = self.wish() {
            assert_eq!(self.sim.with_controller(|core, now| core.edit(now, vec![edit])), Ok(()));
        }
    }

    /// The controller dies while it writes a change to its store, which holds all of it afterwards, or nothing. (That the
    /// store does is a test of its own, at every write to the disk.)
    fn tear(&mut self) {
        let edit = self.wish();
        let kept = edit.filter(|_| self.sim.rng().below(2) == 0);
        let intent = self.sim.controller().core().intent().edited(kept.into_iter().collect());
        self.sim.replace_controller(intent);
    }

    /// A policy or a rate comes, becomes another, or goes.
    fn wish(&mut self) -> Option<Edit> {
        let n = self.sim.rng().below(3) as u16;
        let (label, to) = if self.sim.rng().below(3) == 0 {
            let ports = [port(self.sim.rng().below(self.hosts.len() as u64) as usize)].into();
            let networks = vec![format!("n{}", self.sim.rng().below(N_NETWORKS as u64))];
            let qos = Qos { ports, networks, rate: Some(1_000_000), burst: None, queue: Some(1) };
            (Label::new(Kind::Qos, "some"), controller::Declared::Qos(qos))
        } else {
            let judgement =
                [Judgement::Allow, Judgement::Deny, Judgement::Reject][self.sim.rng().below(3) as usize];
            let pair = self.pair()?;
            let policy = policy(n, judgement, pair);
            (Label::new(Kind::Policy, &format!("now{n}")), controller::Declared::Policy(policy))
        };
        let to = (self.sim.rng().below(3) > 0).then_some(to);
        Some(Edit { label, to })
    }

    /// One of everybody says something to everyone, and two something to one host each.
    fn talk(&mut self) {
        let n = self.hosts.len();
        let mut random = |bound: usize| self.sim.rng().below(bound as u64) as usize;
        let (from, mut pairs) = (random(n), vec![(random(n), random(n))]);
        let apart: Vec<_> = self.kept_apart.iter().copied().collect();
        if !apart.is_empty() {
            pairs.push(apart[random(apart.len())]);
        }
        self.n_said += 1;
        let text = format!("{} from {from}", self.n_said).into_bytes();
        self.sim.with_host(self.hosts[from], |h, now| h.send_udp(now, EVERYONE, (68, 6700), &text));
        for (from, to) in pairs {
            let text = format!("{} from {from}", self.n_said).into_bytes();
            let to = address(to as u32 + 1);
            self.sim.with_host(self.hosts[from], |h, now| h.send_udp(now, to, (9, 6701), &text));
        }
    }

    fn heal(&mut self) {
        for &link in &self.links {
            self.sim.set_link(link, true);
            self.sim.set_link_config(link, LinkConfig::default());
        }
        for &channel in &self.channels {
            self.sim.set_channel(channel, true);
            self.sim.set_channel_delay(channel, CHANNEL_DELAY);
        }
        self.sim.run_for(Duration::from_secs(30));
        assert!(self.sim.run_until_quiet(Duration::from_secs(60)), "the network comes to rest");
    }

    /// Nobody heard what was not for him; the most often that one host heard one broadcast.
    fn judge(&self) -> usize {
        let mut most = 0;
        for (to, &host) in self.hosts.iter().enumerate() {
            let mut broadcasts: Vec<&[u8]> = Vec::new();
            for heard in self.sim.host(host).heard() {
                let What::Udp { dst_port, data, .. } = &heard.what else { continue };
                let text = String::from_utf8_lossy(data);
                let from: usize = text.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
                assert_eq!(self.network[from], self.network[to], "host {to} heard {heard:?}");
                if *dst_port == 6700 {
                    broadcasts.push(data);
                } else {
                    assert!(!self.kept_apart.contains(&(from, to)), "host {to} heard {heard:?}");
                }
            }
            broadcasts.sort_unstable();
            most = most.max(broadcasts.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap_or(0));
        }
        most
    }

    /// Whether the policies let IP pass.
    fn may(&self, from: usize, to: usize) -> bool {
        let mut policies: Vec<&Policy> = self.sim.controller().core().intent().policies.values().collect();
        policies.sort_by_key(|policy| std::cmp::Reverse(policy.priority));
        let about =
            |policy: &Policy, from, to| policy.from.contains(&port(from)) && policy.to.contains(&port(to));
        let decides = |policy: &&&Policy| {
            let answer = policy.judgement == Judgement::Allow && about(policy, to, from);
            about(policy, from, to) || answer
        };
        policies.iter().find(decides).is_none_or(|policy| policy.judgement == Judgement::Allow)
    }

    /// Whether the controller knows where a host is.
    fn is_known(&self, host: usize) -> bool {
        let mut hosts = self.sim.controller().core().view().hosts().keys();
        hosts.any(|(_, mac)| *mac == common::mac(host as u32 + 1))
    }

    /// Everything is as it is wanted.
    fn check(&mut self) {
        let core = self.sim.controller().core();
        let afresh = plan(core.intent(), core.view());
        assert!(afresh.same_as(core.blueprint()), "planned from nothing it is another");
        for &host in &self.hosts {
            self.sim.with_host(host, |h, _| h.clear());
        }
        for _ in 0..20 {
            self.talk();
            self.sim.run_for(Duration::from_millis(100));
        }
        assert!(self.judge() <= 1, "each broadcast once");
        for from in 0..self.hosts.len() {
            for step in [1, 2, 5] {
                let to = (from + step) % self.hosts.len();
                let expected =
                    self.network[from] == self.network[to] && self.may(from, to) && self.may(to, from);
                let mut answered = self.sim.ping(self.hosts[from], address(to as u32 + 1), 2).is_some();
                // Where something is refused, what is for a host that nobody knows any more waits until he speaks.
                if expected && !answered && !self.is_known(to) {
                    self.sim.with_host(self.hosts[to], |h, now| {
                        h.send_udp(now, EVERYONE, (68, 6700), b"0 from 0")
                    });
                    answered = self.sim.ping(self.hosts[from], address(to as u32 + 1), 2).is_some();
                }
                assert_eq!(answered, expected, "host {from} to host {to}");
            }
        }
        assert_eq!(self.sim.n_refused(), 0, "every message is understood");
        assert_eq!(self.sim.counters().n_hop_limit, 0, "nothing circles");
    }
}

#[test]
fn whatever_happens_in_a_minute_afterwards_all_is_as_it_is_wanted() {
    seeds::for_each(4, |seed| {
        let mut life = Life::new(seed);
        life.sim.run_for(Duration::from_secs(3));
        let end = life.sim.now() + LIFE;
        while life.sim.now() < end {
            let before = life.sim.counters().n_delivered;
            life.harm();
            for _ in 0..3 {
                life.talk();
                let pause = life.sim.rng().below(150_000);
                life.sim.run_for(Duration::from_micros(pause));
            }
            let delivered = life.sim.counters().n_delivered - before;
            assert!(delivered < 5000, "no storm: {delivered} frames for nine said");
        }
        assert!(life.judge() <= 2, "no more copies than two trees make");
        life.heal();
        life.check();
    });
}
