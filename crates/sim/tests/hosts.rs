//! Hosts on one wire: the harness itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use packet::{MacAddr, VlanId};
use sim::host::{ECHO_PORT, HOST_PORT};
use sim::{HostConfig, LinkConfig, NodeId, Sim, seeds};

const V4: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))];
const V6: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
];

fn pair(seed: u64, link: LinkConfig, change: impl Fn(HostConfig) -> HostConfig) -> (Sim, [NodeId; 2]) {
    let mut sim = Sim::new(seed);
    let hosts = [0, 1].map(|i| {
        let mac = MacAddr::from_u64(0x0200_0000_0001 + i as u64);
        let config = HostConfig::new(mac, V4[i], 24).address(V6[i], 64);
        sim.add_host(&format!("h{}", i + 1), change(config))
    });
    sim.link((hosts[0], HOST_PORT), (hosts[1], HOST_PORT), link);
    (sim, hosts)
}

#[test]
fn echo_and_datagrams_of_both_versions_in_a_tag_with_partial_checksums() {
    let vlan = VlanId::new(7).expect("in range");
    let (mut sim, [a, b]) =
        pair(1, LinkConfig::default(), |config| HostConfig { offload: true, ..config.vlan(vlan) });
    for to in [V4[1], V6[1]] {
        // Resolution, then the echo: four times the delay of the link.
        assert_eq!(sim.ping(a, to, 1), Some(Duration::from_micros(400)));
        assert_eq!(sim.ping(a, to, 1), Some(Duration::from_micros(200)));
        sim.with_host(a, |host, now| host.send_udp(now, to, (9000, ECHO_PORT), b"there and back"));
    }
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.host(b).n_datagrams(b"there and back"), 2);
    assert_eq!(sim.host(a).n_datagrams(b"there and back"), 2);
    for host in [a, b] {
        let counters = sim.host(host).counters();
        assert_eq!(counters.n_bad_checksum + counters.n_malformed + counters.n_foreign_vlan, 0);
    }
}

#[test]
fn loss_is_overcome_and_the_seed_decides_everything() {
    let run = |seed| {
        let link = LinkConfig { jitter: Duration::from_micros(50), ..LinkConfig::lossy(300_000) };
        let (mut sim, [a, _]) = pair(seed, link, |config| config);
        assert!(sim.ping(a, V4[1], 60).is_some(), "one of 60 echos comes through");
        sim.digest()
    };
    seeds::for_each(20, |seed| assert_eq!(run(seed), run(seed)));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_link_that_is_down_carries_nothing() {
    let (mut sim, [a, b]) = pair(1, LinkConfig::default(), |config| config);
    assert!(sim.ping(a, V4[1], 1).is_some());
    let link = sim.link_of((b, HOST_PORT)).expect("linked");
    sim.set_link(link, false);
    assert_eq!(sim.ping(a, V4[1], 2), None);
    assert_eq!(sim.link_counters(link).n_down, 2);
    sim.set_link(link, true);
    assert!(sim.ping(a, V4[1], 1).is_some());
}

#[test]
fn a_neighbour_that_is_not_there_is_given_up() {
    let (mut sim, [a, _]) = pair(1, LinkConfig::default(), |config| config);
    assert_eq!(sim.ping(a, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99)), 5), None);
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.host(a).counters().n_unresolved, 5);
}
