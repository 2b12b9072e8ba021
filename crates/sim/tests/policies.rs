//! Policies over weft's switches: who may reach whom, and what a sender hears who may not.

mod common;

use std::time::Duration;

use common::{LeafSpine, address, set_intent};
use controller::{Judgement, Policy, PortName, Traffic};
use packet::tcp;
use sim::host::What;
use sim::{NodeId, seeds};

fn policy(priority: u16, judgement: Judgement, ends: [&[(&str, u32)]; 2], traffic: Traffic) -> Policy {
    let [from, to] =
        ends.map(|ends| ends.iter().map(|(switch, port)| PortName::new(*switch, port)).collect());
    Policy { priority, judgement, from, to, traffic, stateful: false }
}

/// What a host has heard since it sent a segment to a port of another.
fn knock(net: &mut LeafSpine, from: NodeId, (to, port): (u32, u16)) -> Vec<What> {
    net.sim.with_host(from, |h, _| h.clear());
    let header = tcp::Header { src_port: 5000, dst_port: port, flags: tcp::Flags::SYN, ..Default::default() };
    net.sim.with_host(from, |h, now| h.send_tcp(now, address(to), header, b""));
    net.sim.run_for(Duration::from_millis(200));
    net.sim.host(from).heard().iter().map(|heard| heard.what.clone()).collect()
}

/// Host `n` hears the segments that `from` sends to its port.
fn arrives(net: &mut LeafSpine, from: NodeId, (to, port): (u32, u16)) -> bool {
    let goal = net.hosts[to as usize - 1];
    net.sim.with_host(goal, |h, _| h.clear());
    knock(net, from, (to, port));
    let is_it = |what: &What| matches!(what, What::Tcp(header) if header.dst_port == port);
    net.sim.host(goal).heard().iter().any(|heard| is_it(&heard.what))
}

#[test]
fn who_may_speak_to_whom_holds_before_and_after_everybody_is_known() {
    seeds::for_each(6, |seed| {
        let (mut net, mut intent) = LeafSpine::blue(seed);
        let web =
            policy(30, Judgement::Allow, [&[("s101", 100)], &[("s103", 100)]], Traffic::Tcp([80].into()));
        let deny = policy(20, Judgement::Deny, [&[("s101", 100)], &[("s103", 100)]], Traffic::Ip);
        let reject = policy(10, Judgement::Reject, [&[], &[("s103", 101)]], Traffic::Ip);
        for (name, policy) in [("web", web), ("deny", deny), ("reject", reject)] {
            intent.policies.insert(name.into(), policy);
        }
        set_intent(&mut net.sim, intent);
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)), "the network comes to rest");
        let hosts = net.hosts.clone();
        for round in 0..2 {
            assert!(arrives(&mut net, hosts[0], (5, 80)), "round {round}");
            assert!(!arrives(&mut net, hosts[0], (5, 81)), "round {round}");
            assert!(arrives(&mut net, hosts[1], (5, 81)), "round {round}");
            assert!(!arrives(&mut net, hosts[2], (6, 80)), "round {round}");
            assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        }
        let told = knock(&mut net, hosts[2], (6, 80));
        let reset = |what: &What| matches!(what, What::Tcp(header) if header.flags.contains(tcp::Flags::RST));
        assert!(told.iter().any(reset), "{told:?}");
        net.sim.with_host(hosts[3], |h, _| h.clear());
        assert_eq!(net.sim.ping(hosts[3], address(6), 1), None);
        let prohibited = What::Error { kind: 3, code: 13 };
        assert!(net.sim.host(hosts[3]).heard().iter().any(|heard| heard.what == prohibited));
        assert!(net.sim.ping(hosts[3], address(3), 2).is_some(), "the others reach each other");
        assert_eq!(net.sim.n_refused(), 0);
    });
}
