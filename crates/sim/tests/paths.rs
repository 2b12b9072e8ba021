//! Lost links, with nobody there to be asked.

mod common;

use std::time::Duration;

use common::{LeafSpine, address};
use controller::{GroupBody, Groups};
use openflow::GroupType;
use sim::{LinkConfig, seeds};

const LINK: LinkConfig =
    LinkConfig { delay: Duration::from_micros(100), jitter: Duration::from_micros(30), loss_ppm: 0 };

/// A fabric in which everybody knows everybody.
fn known(seed: u64, n_spines: u32, n_leaves: u32) -> LeafSpine {
    let mut net = LeafSpine::new(seed, n_spines, n_leaves, LINK);
    assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
    everybody_reaches_everybody(&mut net, 3);
    assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
    assert_eq!(net.sim.n_refused(), 0, "every message is understood");
    net
}

fn everybody_reaches_everybody(net: &mut LeafSpine, n_tries: u16) {
    let n = net.hosts.len();
    for (from, to) in (0..n).flat_map(|from| (0..n).map(move |to| (from, to))).filter(|(from, to)| from != to)
    {
        let answer = net.sim.ping(net.hosts[from], address(to as u32 + 1), n_tries);
        assert!(answer.is_some(), "h{} to h{}", from + 1, to + 1);
    }
}

/// The switches spread over what is there, and know a way around what is not, before anything happens.
#[test]
fn a_lost_link_is_healed_while_the_controller_is_away() {
    seeds::for_each(4, |seed| {
        let mut net = known(seed, 2 + (seed % 2) as u32, 3);
        let of = |groups: &Groups, kind| {
            groups.values().filter(|g: &&std::sync::Arc<GroupBody>| g.group_type == kind).count()
        };
        let groups = &net.sim.controller().core().blueprint().groups;
        assert!(
            groups.values().map(|g| of(g, GroupType::Select)).sum::<usize>() >= 6,
            "leaves have several ways"
        );
        assert!(
            groups.values().map(|g| of(g, GroupType::FastFailover)).sum::<usize>() >= 6,
            "spines have one"
        );
        let channels: Vec<_> =
            net.spines.iter().chain(&net.leaves).flat_map(|node| net.sim.channels_of(*node)).collect();
        channels.into_iter().for_each(|channel| net.sim.set_channel(channel, false));
        for link in net.links.clone() {
            net.sim.set_link(link, false);
            everybody_reaches_everybody(&mut net, 1);
            net.sim.set_link(link, true);
        }
        assert_eq!(net.sim.counters().n_hop_limit, 0);
    });
}

/// More is lost than can be healed: frames are, too, but none goes in circles.
#[test]
fn no_frame_circles_whatever_is_lost() {
    seeds::for_each(8, |seed| {
        let mut net = known(seed, 2, 3);
        let channels: Vec<_> =
            net.spines.iter().chain(&net.leaves).flat_map(|node| net.sim.channels_of(*node)).collect();
        channels.into_iter().for_each(|channel| net.sim.set_channel(channel, false));
        for _ in 0..3 {
            let n = net.links.len() as u64;
            let link = net.links[net.sim.rng().below(n) as usize];
            net.sim.set_link(link, false);
            for from in 0..net.hosts.len() {
                let to = (from + 3) % net.hosts.len();
                net.sim.ping(net.hosts[from], address(to as u32 + 1), 1);
            }
        }
        assert_eq!(net.sim.counters().n_hop_limit, 0);
    });
}
