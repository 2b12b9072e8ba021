//! Rates over weft's switches: what hosts send beyond them does not arrive.

mod common;

use std::time::Duration;

use common::{LeafSpine, address, set_intent};
use controller::{PortName, Qos, Tenant};
use sim::seeds;

/// How many datagrams of 1042 bytes on the wire host 5 hears, of a thousand that each sender sends in two seconds.
fn heard(net: &mut LeafSpine, senders: &[usize]) -> usize {
    let goal = net.hosts[4];
    net.sim.with_host(goal, |h, _| h.clear());
    for n in 0..1000u32 {
        for &sender in senders {
            let host = net.hosts[sender];
            let mut data = n.to_be_bytes().to_vec();
            data.resize(1000, sender as u8);
            net.sim.with_host(host, |h, now| h.send_udp(now, address(5), (9, 6701), &data));
        }
        net.sim.run_for(Duration::from_millis(2));
    }
    net.sim.run_for(Duration::from_millis(200));
    net.sim.host(goal).heard().len()
}

#[test]
fn ports_networks_and_tenants_send_what_they_may() {
    seeds::for_each(4, |seed| {
        let (mut net, mut intent) = LeafSpine::blue(seed);
        set_intent(&mut net.sim, intent.clone());
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)), "the network comes to rest");
        for from in 0..4 {
            assert!(net.sim.ping(net.hosts[from], address(5), 3).is_some());
        }
        assert_eq!(heard(&mut net, &[0]), 1000, "nothing is limited");

        // 1 Mbit/s are 240 such frames in two seconds, and what may come at once is 12 more.
        let rate = |ports: &[(&str, u32)], networks: &[&str], rate| Qos {
            ports: ports.iter().map(|(switch, port)| PortName::new(*switch, port)).collect(),
            networks: networks.iter().map(|name| (*name).to_owned()).collect(),
            rate: Some(rate),
            burst: Some(100),
            queue: Some(1),
        };
        intent.qos.insert("port".into(), rate(&[("s101", 100)], &[], 1000));
        set_intent(&mut net.sim, intent.clone());
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        let limited = heard(&mut net, &[0]);
        assert!((235..=265).contains(&limited), "{limited}");
        assert_eq!(heard(&mut net, &[1]), 1000, "the other port is not");

        // Both hosts of the first leaf together; those of the second by themselves.
        intent.qos.insert("net".into(), rate(&[], &["blue"], 2000));
        set_intent(&mut net.sim, intent.clone());
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        let together = heard(&mut net, &[0, 1]);
        assert!((475..=520).contains(&together), "{together}");
        let apart = heard(&mut net, &[1, 2]);
        assert!((950..=1040).contains(&apart), "{apart}");

        // Their tenant may send less than its network.
        let blue = intent.networks.remove("blue").expect("it was there");
        intent.networks.insert("acme-blue".to_owned(), blue);
        intent.qos.insert("net".into(), rate(&[], &["acme-blue"], 2000));
        let acme = Tenant { rate: Some(1000), burst: Some(100), ..Tenant::default() };
        intent.tenants.insert("acme".into(), acme);
        set_intent(&mut net.sim, intent.clone());
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        let of_a_tenant = heard(&mut net, &[0, 1]);
        assert!((235..=265).contains(&of_a_tenant), "{of_a_tenant}");

        intent.tenants.clear();
        intent.qos.clear();
        set_intent(&mut net.sim, intent);
        assert!(net.sim.run_until_quiet(Duration::from_secs(30)));
        assert_eq!(heard(&mut net, &[0]), 1000, "nothing is limited any more");
        assert_eq!(net.sim.n_refused(), 0);
    });
}
