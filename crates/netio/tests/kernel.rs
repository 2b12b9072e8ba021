//! What only a kernel can tell. Needs root, and says so when it has not.
#![expect(clippy::disallowed_methods, reason = "deadlines of waits on the kernel need its clock")]

mod common;

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{DEADLINE, TestNs, Wire, readable, receive_until, transfer};
use netio::link::{self, LinkError, Route};
use netio::netns::{Namespace, NetnsError};
use netio::{LinkProbe, LinkState, OpenError, OpenOptions, Port, PortDrop, PortError, PortSpec};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use packet::{CsumPartial, Frame, Gso, GsoKind, MacAddr, Pool, VlanId, build, tcp};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn open(spec: &str) -> Result<Vec<Box<dyn Port>>, OpenError> {
    netio::open(&spec.parse::<PortSpec>().expect("a port specification"), OpenOptions::default())
}

/// The kernel tells of a carrier some time after it is there.
fn until_up(probe: &LinkProbe) {
    let deadline = Instant::now() + DEADLINE;
    while probe.state() != LinkState::Up {
        assert!(Instant::now() < deadline, "no carrier");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn namespaces_are_made_found_and_removed() {
    let test = TestNs::new();
    assert!(matches!(Namespace::create(&test.name), Err(NetnsError::Exists(_))));
    assert!(matches!(Namespace::open("no-such-namespace"), Err(NetnsError::Missing(_))));
    assert!(matches!(Namespace::create("a/b"), Err(NetnsError::Name(_))));
    assert!(Namespace::open("/etc/passwd").is_err(), "not a namespace");
    assert!(Namespace::list().expect("listed").contains(&test.name));
    let by_path = Namespace::open(&format!("/run/netns/{}", test.name)).expect("there");
    assert_eq!(by_path.inode(), test.ns.inode());
    assert_ne!(
        Namespace::open(&format!("pid:{}", std::process::id())).expect("ours").inode(),
        test.ns.inode()
    );
    let links = test.netlink(async |n| n.links().await);
    assert_eq!(links.iter().map(|l| (&*l.name, l.up)).collect::<Vec<_>>(), [("lo", true)]);
    let name = test.name.clone();
    drop(test);
    assert!(!Namespace::list().expect("listed").contains(&name));
}

#[test]
fn links_addresses_and_routes() {
    let (a, b) = (TestNs::new(), TestNs::new());
    let mac = MacAddr::from_u64(0x02_00_00_00_00_2a);
    a.netlink(async |n| {
        n.add_veth("eth0", "peer").await?;
        n.set_mac("eth0", mac).await?;
        n.set_mtu("eth0", 9000).await?;
        n.move_to("peer", &b.ns, "eth1").await
    });
    a.address("eth0", "10.0.0.1/24");
    a.address("eth0", "fd00::1/64");
    b.address("eth1", "10.0.0.2/24");
    let link = a.netlink(async |n| {
        n.add_route(&Route::default_via(ip("10.0.0.2"))).await?;
        n.add_route(&Route { to: (ip("10.9.0.0"), 16), via: None, dev: Some("eth0".into()) }).await?;
        n.add_neighbour("eth0", ip("10.0.0.9"), mac).await?;
        n.link("eth0").await
    });
    assert_eq!((link.mac, link.mtu, link.up, link.kind.as_str()), (mac, 9000, true, "veth"));
    let addresses = a.netlink(async |n| n.addresses("eth0").await);
    assert!(
        addresses.contains(&(ip("10.0.0.1"), 24)) && addresses.contains(&(ip("fd00::1"), 64)),
        "{addresses:?}"
    );
    transfer(&a, &b, "10.0.0.2", 100_000);
    let missing = link::blocking(Some(&a.ns), async |n| n.set_up("nope").await);
    assert!(matches!(missing, Err(LinkError::Missing(_))), "{missing:?}");
    let taken = link::blocking(Some(&a.ns), async |n| n.add_veth("eth0", "x").await).expect_err("taken");
    assert_eq!(taken.errno(), Some(nix::libc::EEXIST));
    a.netlink(async |n| n.flush_addresses("eth0").await);
    a.netlink(async |n| n.delete("eth0").await);
    assert_eq!(b.netlink(async |n| n.links().await).len(), 1, "both ends went");
}

#[test]
fn a_tap_in_a_namespace_is_the_containers_interface() {
    let test = TestNs::new();
    let mut port = test.open("netns:NS/eth0,mac=02:00:00:00:00:07,mtu=1400");
    test.address("eth0", "10.0.0.1/24");
    assert_eq!((port.info().mac.to_string().as_str(), port.info().mtu), ("fe:00:00:00:00:07", 1400));
    until_up(&port.link_probe());
    let ours = MacAddr::from_u64(0x02_00_00_00_00_99);
    let ask = build::arp_request(ours, [10, 0, 0, 2].into(), [10, 0, 0, 1].into());
    let mut pool = Pool::default();
    port.transmit(&mut pool, &mut vec![Frame::from_bytes(&ask)]).expect("sent");
    let reply = receive_until(&mut *port, |f| f.head()[..6] == ours.0 && f.head()[12..14] == [8, 6]);
    assert_eq!(reply.head()[6..12], [2, 0, 0, 0, 0, 7]);
    // The name is taken while the port lives, and the device goes with it.
    let again = format!("netns:{}/eth0", test.name);
    assert!(matches!(open(&again), Err(OpenError::InUse { .. })));
    drop(port);
    assert_eq!(test.netlink(async |n| n.links().await).len(), 1);
}

#[test]
fn every_kind_of_port_carries_tcp_to_every_other_with_and_without_offloads() {
    let kinds = ["netns:NS/eth0", "netns:NS/eth0,offload=off", "afpacket:veth", "afpacket:veth,offload=off"];
    for (i, from) in kinds.iter().enumerate() {
        for to in &kinds[i..] {
            let (a, b) = (TestNs::new(), TestNs::new());
            let ports = [(&a, from, "1"), (&b, to, "2")].map(|(test, spec, host)| {
                if spec.starts_with("afpacket") {
                    test.netlink(async |n| n.add_veth("eth0", "veth").await);
                    test.netlink(async |n| n.set_up("veth").await);
                }
                let port = test.open(spec);
                test.address("eth0", &format!("10.0.0.{host}/24"));
                test.address("eth0", &format!("fd00::{host}/64"));
                port
            });
            let [port_a, port_b] = ports;
            let wire = Wire::new(port_a, port_b);
            println!("{from} -- {to}");
            transfer(&a, &b, "10.0.0.2", 3_000_000);
            transfer(&b, &a, "fd00::1", 3_000_000);
            // What comes in by AF_PACKET is as the peer's kernel made it; a tap is told to finish its frames.
            let expect_super = [from, to].iter().any(|spec| **spec != "netns:NS/eth0,offload=off");
            assert_eq!(
                wire.n_super.load(Ordering::Relaxed) > 0,
                expect_super,
                "{from} -- {to}: super-frames"
            );
        }
    }
}

/// A TCP segment of `payload` bytes whose checksum is left to the output, in VLAN 10.
fn tagged_super_frame(payload: usize) -> Frame {
    let link =
        build::ethernet(MacAddr::from_u64(0x02_00_00_00_00_01), MacAddr::from_u64(0x02_00_00_00_00_02));
    let bytes = link
        .vlan(VlanId::new(10).expect("valid"))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2])
        .tcp(&tcp::Header::default(), &vec![7; payload]);
    let mut frame = Frame::from_bytes(&bytes);
    frame.meta.csum = Some(CsumPartial { start: 38, offset: 16 });
    frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1400, ecn: false });
    frame
}

#[test]
fn a_tagged_super_frame_passes_a_veth_whole() {
    let test = TestNs::new();
    test.netlink(async |n| {
        n.add_veth("a", "b").await?;
        n.set_up("a").await?;
        n.set_up("b").await
    });
    let (mut a, mut b) = (test.open("afpacket:a"), test.open("afpacket:b"));
    let frame = tagged_super_frame(30_000);
    let (bytes, meta) = (frame.to_vec(), frame.meta);
    a.transmit(&mut Pool::default(), &mut vec![frame]).expect("sent");
    let received = receive_until(&mut *b, |f| f.len() > 1000);
    assert_eq!(received.meta.csum, meta.csum);
    assert_eq!(received.meta.gso, meta.gso);
    assert_eq!(received.to_vec(), bytes, "counters {:?}", a.counters());
    assert_eq!(a.counters().tx_frames, 22);
}

/// A frame of an experimental type (IEEE 802, 0x88b5) that begins with a number.
fn experiment(number: u16, len: usize) -> Frame {
    let mut bytes: Vec<u8> = (0..len).map(|at| (at as u16 ^ number) as u8).collect();
    bytes[..12].copy_from_slice(&[0xff; 12]);
    bytes[12..16].copy_from_slice(&[0x88, 0xb5, (number >> 8) as u8, number as u8]);
    Frame::from_bytes(&bytes)
}

#[test]
fn a_burst_into_a_tap_arrives_whole_and_in_order() {
    let test = TestNs::new();
    let mut tap = test.open("netns:NS/eth0");
    let mut host = test.open("afpacket:eth0");
    let (mut pool, mut received) = (Pool::default(), Vec::new());
    // Short ones, some that have a tail, and in the last third one without any room for the header in front.
    let mut frames: Vec<Frame> =
        (0..150).map(|n| experiment(n, if n % 7 == 3 { 5000 } else { 60 + usize::from(n) })).collect();
    let full = frames[140].headroom();
    frames[140].pop_front(16);
    let head = frames[140].push_front(full + 16).expect("all of it");
    head[..16].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x88, 0xb5, 0, 140]);
    let sent: Vec<Vec<u8>> = frames.iter().map(Frame::to_vec).collect();
    let bytes: usize = sent.iter().map(Vec::len).sum();
    tap.transmit(&mut pool, &mut frames).expect("sent");
    assert!(frames.is_empty());
    let deadline = Instant::now() + DEADLINE;
    while received.len() < sent.len() && Instant::now() < deadline {
        readable(host.poll_fd().expect("a kernel device"), Duration::from_millis(100));
        let mut batch = Vec::new();
        host.receive(&mut pool, &mut batch, 64).expect("receives");
        // The host has things of its own to say.
        received.extend(batch.iter().map(Frame::to_vec).filter(|frame| frame[12..14] == [0x88, 0xb5]));
    }
    assert!(received == sent, "{} of {}; {:?}", received.len(), sent.len(), host.counters());
    assert_eq!((tap.counters().tx_frames, tap.counters().tx_bytes), (150, bytes as u64));
}

#[test]
fn a_vanished_device_is_reported_and_hurts_nobody_else() {
    let test = TestNs::new();
    test.netlink(async |n| n.add_veth("a", "b").await);
    test.netlink(async |n| n.set_up("b").await);
    let mut ports = [test.open("netns:NS/eth0"), test.open("afpacket:a,mtu=1500")];
    test.netlink(async |n| {
        n.delete("eth0").await?;
        n.delete("a").await
    });
    for port in &mut ports {
        let probe = port.link_probe();
        assert!(readable(probe.poll_fd().expect("a kernel device"), DEADLINE));
        assert_eq!(probe.state(), LinkState::Gone);
        assert!(readable(port.poll_fd().expect("a kernel device"), DEADLINE), "wakes its worker");
        let got = port.receive(&mut Pool::default(), &mut Vec::new(), 64);
        assert!(matches!(got, Err(PortError::Gone)), "{got:?}");
        for n in [1, 3] {
            let mut frames: Vec<Frame> = (0..n).map(|_| Frame::from_bytes(&[0; 60])).collect();
            let sent = port.transmit(&mut Pool::default(), &mut frames);
            assert!(matches!(sent, Err(PortError::Gone)), "{n} frames: {sent:?}");
            assert!(frames.is_empty());
        }
    }
}

#[test]
fn a_device_that_is_down_drops_and_comes_back() {
    let test = TestNs::new();
    test.netlink(async |n| n.add_veth("a", "b").await);
    test.netlink(async |n| n.set_up("b").await);
    for spec in ["netns:NS/eth0", "afpacket:a,mtu=1500"] {
        let mut port = test.open(spec);
        let (probe, name) = (port.link_probe(), port.info().name.clone());
        until_up(&probe);
        probe.drain();
        test.netlink(async |n| n.set_down(&name).await);
        assert!(readable(probe.poll_fd().expect("a kernel device"), DEADLINE));
        assert_eq!(probe.state(), LinkState::Down);
        let mut pool = Pool::default();
        port.transmit(&mut pool, &mut vec![Frame::from_bytes(&[0; 60])]).expect("not fatal");
        assert_eq!(port.counters()[PortDrop::TxLinkDown], 1, "{spec}");
        let mut frames: Vec<Frame> = (0..3).map(|_| Frame::from_bytes(&[0; 60])).collect();
        port.transmit(&mut pool, &mut frames).expect("not fatal");
        assert_eq!(port.counters()[PortDrop::TxLinkDown], 4, "{spec}");
        port.receive(&mut pool, &mut Vec::new(), 64).expect("not fatal");
        test.netlink(async |n| n.set_up(&name).await);
        port.transmit(&mut pool, &mut vec![Frame::from_bytes(&[0; 60])]).expect("up again");
        assert_eq!(port.counters().tx_frames, 1, "{spec}: {:?}", port.counters());
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let test = TestNs::new();
    assert!(matches!(open("afpacket:nope-nope"), Err(OpenError::Missing { .. })));
    assert!(matches!(open("netns:nope-nope/eth0"), Err(OpenError::Namespace(NetnsError::Missing(_)))));
    assert!(matches!(open("link:a/b"), Err(OpenError::Unsupported { .. })));
    test.netlink(async |n| n.add_veth("eth0", "b").await);
    let taken = open(&format!("netns:{}/eth0", test.name)).err().expect("not a tap").to_string();
    assert!(taken.contains("exists and is not a tap"), "{taken}");
}

#[test]
fn frames_that_cannot_be_are_dropped_with_a_reason() {
    let test = TestNs::new();
    let mut port = test.open("netns:NS/eth0");
    let mut lying = Frame::from_bytes(&[0; 60]);
    lying.meta.csum = Some(CsumPartial { start: 200, offset: 16 });
    let mut pool = Pool::default();
    port.transmit(&mut pool, &mut vec![Frame::from_bytes(&[0; 13]), lying]).expect("not fatal");
    let counters = port.counters();
    assert_eq!((counters[PortDrop::TxTooShort], counters[PortDrop::TxRefused]), (1, 1));
    test.netlink(async |n| n.add_veth("a", "b").await);
    test.netlink(async |n| n.set_up("b").await);
    let mut port = test.open("afpacket:a,mtu=1500");
    port.transmit(&mut pool, &mut vec![Frame::from_bytes(&[0; 3000]), Frame::from_bytes(&[0; 60])])
        .expect("not fatal");
    assert_eq!((port.counters()[PortDrop::TxTooLong], port.counters().tx_frames), (1, 1));
}

#[test]
fn a_monitors_tap_is_persistent_quiet_and_reached_by_its_kernel_side() {
    let test = TestNs::new();
    let mut switch_side = test.open("tap:vm0");
    // A VM monitor attaches to the same name; here it is a port that owns the descriptor.
    let mut monitor = test.open("hosttap:vm0");
    until_up(&switch_side.link_probe());
    let mut pool = Pool::default();
    let bytes = tagged_super_frame(20_000).to_vec();
    for (from, to) in [(true, "switch"), (false, "guest")] {
        let (from, to_port) =
            if from { (&mut monitor, &mut switch_side) } else { (&mut switch_side, &mut monitor) };
        from.transmit(&mut pool, &mut vec![tagged_super_frame(20_000)]).expect("sent");
        let frame = receive_until(&mut **to_port, |f| f.len() > 10_000);
        assert_eq!(frame.to_vec(), bytes, "to the {to}");
        assert!(frame.meta.gso.is_some() && frame.meta.csum.is_some());
    }
    let ipv6 =
        test.ns.run(|| std::fs::read_to_string("/proc/sys/net/ipv6/conf/vm0/disable_ipv6")).expect("entered");
    assert_eq!(ipv6.expect("there").trim(), "1");
    drop(monitor);
    assert!(test.netlink(async |n| n.link("vm0").await).up, "survives its monitor");
    drop(switch_side);
    let gone = link::blocking(Some(&test.ns), async |n| n.link("vm0").await);
    assert!(matches!(gone, Err(LinkError::Missing(_))), "goes with the port that made it: {gone:?}");
}

#[test]
fn without_taps_a_veth_pair_takes_their_place() {
    let (a, b) = (TestNs::new(), TestNs::new());
    let wire = std::thread::scope(|scope| {
        let hidden = scope.spawn(|| {
            // This thread sees no /dev/net/tun, as in many containers, and has a namespace of its own for switch ends.
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("root");
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("root");
            mount(Some("tmpfs"), "/dev/net", Some("tmpfs"), MsFlags::empty(), none).expect("root");
            let mut ports = [&a, &b].map(|test| {
                let opened = open(&format!("netns:{}/eth0", test.name)).unwrap_or_else(|e| panic!("{e:?}"));
                opened.into_iter().next().expect("one queue")
            });
            let note = ports[0].info().note.clone().expect("says so");
            assert!(note.contains("veth pair"), "{note}");
            assert_eq!(ports[0].receive(&mut Pool::default(), &mut Vec::new(), 0).expect("works"), 0);
            let [port_a, port_b] = ports;
            Wire::new(port_a, port_b)
        });
        hidden.join().expect("opened")
    });
    a.address("eth0", "10.0.0.1/24");
    b.address("eth0", "10.0.0.2/24");
    transfer(&a, &b, "10.0.0.2", 3_000_000);
    assert!(wire.n_super.load(Ordering::Relaxed) > 0);
}
