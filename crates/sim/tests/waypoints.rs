//! Paths over weft's switches: traffic goes where it is told to, and around what it is told to avoid.

mod common;

use std::time::Duration;

use common::{LeafSpine, address, network, set_intent};
use controller::{Intent, IntentState, PortName, Route};
use sim::{LinkConfig, LinkId, seeds};

const N_SPINES: u32 = 3;
const N_LEAVES: u32 = 4;
const N: u64 = 40;

/// From host 1 at the first leaf to host 7 at the last.
fn route(via: &[&str], avoid: &[&str]) -> Route {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Route {
        from: PortName::new("s101", 100),
        to: PortName::new("s104", 100),
        via: names(via),
        avoid: names(avoid),
        avoid_links: vec![],
        backup: false,
        symmetric: true,
        strict: false,
    }
}

struct Lab {
    net: LeafSpine,
    intent: Intent,
}

impl Lab {
    /// Everybody knows everybody.
    fn new(seed: u64) -> Self {
        let link = LinkConfig { delay: Duration::from_micros(100), ..LinkConfig::default() };
        let mut net = LeafSpine::new(seed, N_SPINES, N_LEAVES, link);
        let mut intent = Intent::default();
        let leaves = ["s101", "s102", "s103", "s104"];
        let all: Vec<(&str, u32)> = leaves.into_iter().flat_map(|leaf| [(leaf, 100), (leaf, 101)]).collect();
        intent.networks.insert("blue".into(), network(10, &all, &[]));
        set_intent(&mut net.sim, intent.clone());
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)), "the network comes to rest");
        let mut lab = Self { net, intent };
        for from in 0..lab.net.hosts.len() {
            lab.pings(from, if from == 6 { 1 } else { 7 });
        }
        lab.rest();
        lab
    }

    /// What happened is known to everybody, and dealt with.
    fn rest(&mut self) {
        self.net.sim.run_for(Duration::from_secs(2));
        assert!(self.net.sim.run_until_quiet(Duration::from_secs(30)), "the network comes to rest");
        assert_eq!(self.net.sim.n_refused(), 0);
    }

    fn lay_out(&mut self, route: Route) {
        self.intent.paths.insert("gold".into(), route);
        set_intent(&mut self.net.sim, self.intent.clone());
        self.rest();
    }

    fn state(&self) -> IntentState {
        self.net.sim.controller().core().status("path/gold").state
    }

    fn pings(&mut self, from: usize, to: u32) {
        assert!(self.net.sim.ping(self.net.hosts[from], address(to), 3).is_some(), "h{} to h{to}", from + 1);
    }

    /// The link of a leaf and a spine, both counted from 1.
    fn link(&self, leaf: u32, spine: u32) -> LinkId {
        self.net.links[((leaf - 1) * N_SPINES + spine - 1) as usize]
    }

    /// The links of leaves and spines that carry what host 1 sends to host 7 and is answered.
    fn carried(&mut self) -> Vec<(u32, u32)> {
        let all = (1..=N_LEAVES).flat_map(|leaf| (1..=N_SPINES).map(move |spine| (leaf, spine)));
        let count = |lab: &Self, (leaf, spine)| lab.net.sim.link_counters(lab.link(leaf, spine)).n_frames;
        let before: Vec<u64> = all.clone().map(|link| count(self, link)).collect();
        let id = self.net.sim.rng().next_u64() as u16;
        for seq in 0..N as u16 {
            let host = self.net.hosts[0];
            self.net.sim.with_host(host, |h, now| h.send_echo(now, address(7), id, seq));
            self.net.sim.run_for(Duration::from_micros(500));
        }
        self.net.sim.run_for(Duration::from_millis(20));
        let host = self.net.sim.host(self.net.hosts[0]);
        assert!((0..N as u16).all(|seq| host.echo_answered(id, seq).is_some()), "every echo is answered");
        // Discovery sends a frame now and then.
        let busy = all.zip(before).filter(|(link, before)| count(self, *link) - before >= N);
        busy.map(|(link, _)| link).collect()
    }
}

#[test]
fn traffic_follows_its_waypoints_and_keeps_off_what_it_avoids() {
    seeds::for_each(4, |seed| {
        let mut lab = Lab::new(seed);
        for spine in 1..=N_SPINES {
            lab.lay_out(route(&[&format!("s{spine}")], &[]));
            assert_eq!(lab.carried(), [(1, spine), (4, spine)]);
            let others: Vec<String> =
                (1..=N_SPINES).filter(|n| *n != spine).map(|n| format!("s{n}")).collect();
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            lab.lay_out(route(&[], &others));
            assert_eq!(lab.carried(), [(1, spine), (4, spine)]);
            let avoid_links =
                (1..=N_SPINES).filter(|n| *n != spine).map(|n| PortName::new("s104", n)).collect();
            lab.lay_out(Route { avoid_links, ..route(&[], &[]) });
            assert_eq!(lab.carried(), [(1, spine), (4, spine)]);
        }
        // Down to another leaf and up again, by the same link.
        lab.lay_out(route(&["s2", "s103"], &["s1", "s3"]));
        assert_eq!(lab.carried(), [(1, 2), (3, 2), (4, 2)]);
        assert_eq!(lab.state(), IntentState::Realised);
        lab.intent.paths.clear();
        set_intent(&mut lab.net.sim, lab.intent.clone());
        lab.rest();
        lab.pings(0, 7);
    });
}

#[test]
fn a_backup_heals_a_lost_link_while_the_controller_is_away_and_the_controller_the_rest() {
    seeds::for_each(4, |seed| {
        let mut lab = Lab::new(seed);
        lab.lay_out(Route { backup: true, ..route(&[], &["s3"]) });
        assert_eq!(lab.state(), IntentState::Realised);
        let carried = lab.carried();
        let &[(1, first), (4, last)] = &carried[..] else { panic!("{carried:?}") };
        // There and back begin with a link of their own: each of the two has its backup at its own end.
        let sim = &mut lab.net.sim;
        let nodes = lab.net.spines.iter().chain(&lab.net.leaves);
        let channels: Vec<_> = nodes.flat_map(|node| sim.channels_of(*node)).collect();
        channels.iter().for_each(|channel| sim.set_channel(*channel, false));
        let gone = [lab.link(1, first), lab.link(4, last)];
        gone.into_iter().for_each(|link| lab.net.sim.set_link(link, false));
        lab.carried();
        assert_eq!(lab.carried(), [(1, 3 - first), (4, 3 - last)], "by the backup");
        gone.into_iter().for_each(|link| lab.net.sim.set_link(link, true));
        channels.iter().for_each(|channel| lab.net.sim.set_channel(*channel, true));
        lab.rest();
        // Farther off: the switch where the way begins does not see it.
        let far = lab.link(4, first);
        lab.net.sim.set_link(far, false);
        lab.rest();
        assert_eq!(lab.carried(), [(1, 3 - first), (4, 3 - first)]);
        assert_eq!(lab.state(), IntentState::Pending, "no second way is left");
        lab.net.sim.set_link(far, true);
        lab.rest();
        assert_eq!(lab.state(), IntentState::Realised);
    });
}
