//! Mirrors over weft's switches: copies arrive once, unchanged, also after what happens to links.

mod common;

use std::time::Duration;

use common::{LeafSpine, add_host, address, network, set_intent};
use controller::{Intent, IntentState, Mirror, PortName};
use sim::{LinkConfig, seeds};

/// Host 9 at a port of the last leaf that is in no network.
#[test]
fn an_analyser_sees_every_frame_once() {
    seeds::for_each(4, |seed| {
        let link = LinkConfig { delay: Duration::from_micros(100), ..LinkConfig::default() };
        let mut net = LeafSpine::new(seed, 2, 4, link);
        let analyser = add_host(&mut net.sim, 9, (net.leaves[3], 200), LinkConfig::default());
        let mut intent = Intent::default();
        let leaves = ["s101", "s102", "s103", "s104"];
        let all: Vec<(&str, u32)> = leaves.into_iter().flat_map(|leaf| [(leaf, 100), (leaf, 101)]).collect();
        intent.networks.insert("blue".into(), network(10, &all, &[]));
        let tap = Mirror {
            ports: [PortName::new("s101", 100)].into(),
            sent: true,
            received: true,
            to: PortName::new("s104", 200),
        };
        intent.mirrors.insert("tap".into(), tap);
        set_intent(&mut net.sim, intent.clone());
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)), "the network comes to rest");
        for from in 0..8 {
            let to = if from == 2 { 1 } else { 3 };
            assert!(net.sim.ping(net.hosts[from], address(to), 3).is_some());
        }
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        let core = net.sim.controller().core();
        assert_eq!(core.status("mirror/tap").state, IntentState::Realised, "{:?}", core.status("mirror/tap"));

        // Echoes between hosts 1 and 3: what one sends and what it is answered. Those between 2 and 4 are nobody's business.
        let copies = |net: &mut LeafSpine, from: usize, to: u32| {
            let before = net.sim.host(analyser).counters().n_for_others;
            let (host, id) = (net.hosts[from], net.sim.rng().next_u64() as u16);
            for seq in 0..50 {
                net.sim.with_host(host, |h, now| h.send_echo(now, address(to), id, seq));
                net.sim.run_for(Duration::from_millis(2));
            }
            net.sim.run_for(Duration::from_millis(50));
            assert!((0..50).all(|seq| net.sim.host(host).echo_answered(id, seq).is_some()));
            net.sim.host(analyser).counters().n_for_others - before
        };
        assert!(net.sim.ping(net.hosts[1], address(4), 3).is_some());
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        assert_eq!(copies(&mut net, 0, 3), 100);
        assert_eq!(copies(&mut net, 2, 1), 100);
        assert_eq!(copies(&mut net, 1, 4), 0);
        let host = net.sim.host(analyser).counters();
        assert_eq!(
            (host.n_malformed, host.n_bad_checksum, host.n_foreign_vlan),
            (0, 0, 0),
            "as they were sent"
        );
        // The way of the copies is another one.
        for idx in [6, 7] {
            let lost = net.links[idx];
            net.sim.set_link(lost, false);
            net.sim.run_for(Duration::from_secs(2));
            assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
            assert_eq!(copies(&mut net, 0, 3), 100);
            net.sim.set_link(lost, true);
            net.sim.run_for(Duration::from_secs(2));
            assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        }
        intent.mirrors.clear();
        set_intent(&mut net.sim, intent);
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        assert_eq!(copies(&mut net, 0, 3), 0);
        assert_eq!(net.sim.n_refused(), 0);
    });
}
