//! ovs-ofctl on a weft switch in OpenFlow 1.0: every verb it has there.

use std::process::Command;
use std::time::Duration;

use system_tests::{Finished, Process, RawSocket, run, wait_for, wait_until};

use super::ofctl::{ARP, Lab, SOON, SWITCH, expect, lab};

fn ofctl(args: &[&str]) -> Finished {
    let options = ["-O", "OpenFlow10", "-F", "OpenFlow10", "--timeout=10"];
    run(Command::new("ovs-ofctl").args(options).args(args))
}

fn ofctl13(args: &[&str]) -> Finished {
    run(Command::new("ovs-ofctl").args(["-O", "OpenFlow13", "--timeout=10"]).args(args))
}

/// What `dump-flows` shows, without times and counters.
fn flows(args: &[&str]) -> Vec<String> {
    let text = ofctl(&[&["--no-stats", "dump-flows", SWITCH], args].concat()).success();
    let mut all: Vec<String> =
        text.lines().filter(|line| line.contains("actions=")).map(|line| line.trim().to_owned()).collect();
    all.sort();
    all
}

/// ovs-ofctl showing what the switch sends.
fn monitor(lab: &Lab) -> Process {
    let mut monitor = Command::new("ovs-ofctl");
    monitor.env("OVS_RUNDIR", lab.sandbox.dir());
    monitor.args(["-O", "OpenFlow10", "monitor", SWITCH, "65535"]);
    Process::spawn(&mut monitor, &lab.sandbox.dir().join("monitor.log"))
}

#[test]
fn it_describes_itself_in_10() {
    let _lab = lab("ofctl10-show");
    expect(
        &ofctl(&["show", SWITCH]).success(),
        &[
            "dpid:000000000000002a",
            "capabilities: FLOW_STATS TABLE_STATS PORT_STATS QUEUE_STATS ARP_MATCH_IP",
            "actions: output enqueue set_vlan_vid set_vlan_pcp strip_vlan mod_dl_src mod_dl_dst mod_nw_src mod_nw_dst mod_nw_tos mod_tp_src mod_tp_dst",
            " 1(port1): addr:",
            " 2(port2): addr:",
            "frags=normal miss_send_len=",
        ],
    );
    expect(&ofctl(&["dump-desc", SWITCH]).success(), &["Manufacturer: weft", "DP Description: s1"]);
    expect(&ofctl(&["dump-ports-desc", SWITCH]).success(), &[" 1(port1)", " 2(port2)"]);
    expect(&ofctl(&["dump-ports", SWITCH]).success(), &["2 ports", "port  1: rx pkts="]);
    expect(&ofctl(&["dump-ports", SWITCH, "2"]).success(), &["1 ports"]);
    expect(&ofctl(&["dump-tables", SWITCH]).success(), &["table 0", "active=0", "max_entries="]);
    expect(&ofctl(&["dump-aggregate", SWITCH]).success(), &["packet_count=0 byte_count=0 flow_count=0"]);
    expect(&ofctl(&["queue-stats", SWITCH]).success(), &["queues"]);
    expect(&ofctl(&["queue-get-config", SWITCH, "1"]).success(), &["OFPT_QUEUE_GET_CONFIG_REPLY"]);
    expect(&ofctl(&["get-frags", SWITCH]).success(), &["normal"]);
    ofctl(&["set-frags", SWITCH, "drop"]).success();
    expect(&ofctl(&["get-frags", SWITCH]).success(), &["drop"]);
    ofctl(&["set-frags", SWITCH, "normal"]).success();
    ofctl(&["probe", SWITCH]).success();
    expect(&ofctl(&["ping", SWITCH]).success(), &["bytes from"]);
    expect(&ofctl(&["benchmark", SWITCH, "8", "20"]).success(), &["Sending 20 packets", "Finished in"]);
    // The bits of a port that 1.0 has.
    ofctl(&["mod-port", SWITCH, "2", "no-flood"]).success();
    expect(&ofctl(&["show", SWITCH]).success(), &["config:     NO_FLOOD"]);
    ofctl(&["mod-port", SWITCH, "2", "flood"]).success();
    ofctl(&["mod-port", SWITCH, "2", "no-forward"]).success();
    expect(&ofctl(&["show", SWITCH]).success(), &["config:     NO_FWD"]);
}

#[test]
fn it_reads_and_changes_flows_in_10() {
    let lab = lab("ofctl10-flows");
    let file = lab.sandbox.dir().join("flows.txt");
    let all = [
        "priority=10,in_port=1 actions=output:2",
        "priority=10,in_port=2 actions=output:1",
        "priority=9,dl_vlan=10,dl_vlan_pcp=3 actions=strip_vlan,output:1",
        "priority=8,tcp,nw_src=10.0.0.0/8,tp_dst=80 actions=mod_nw_src:1.2.3.4,mod_nw_tos:64,mod_tp_dst:81,output:2",
        "priority=7,arp,arp_spa=10.0.0.1,arp_op=1 actions=CONTROLLER:65535",
        "priority=6,icmp,icmp_type=8,icmp_code=0 actions=enqueue:1:0",
        "priority=5,vlan_tci=0x0000 actions=mod_vlan_vid:7,mod_vlan_pcp:2,FLOOD",
        "priority=4,udp,tp_src=53 actions=mod_tp_src:54,mod_dl_src:02:00:00:00:00:07,mod_dl_dst:02:00:00:00:00:08,ALL,IN_PORT",
        "priority=3,ip,nw_dst=10.1.0.0/16 actions=mod_nw_dst:4.3.2.1,NORMAL",
    ];
    std::fs::write(&file, all.join("\n")).expect("a file");
    let file = file.to_str().expect("a path");
    ofctl(&["add-flows", SWITCH, file]).success();
    // Written as they were read.
    let mut expected = all.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(flows(&[]), expected);
    assert_eq!(ofctl(&["diff-flows", SWITCH, file]).success(), "");
    wait_until(SOON, "a ping through the flows", || lab.h1.pings("10.0.0.2"));
    expect(&ofctl(&["dump-aggregate", SWITCH, "out_port=1"]).success(), &["flow_count=3"]);
    // A filter covers what is more specific.
    assert_eq!(flows(&["tcp"]).len(), 1);
    ofctl(&["mod-flows", SWITCH, "tcp,actions=drop"]).success();
    assert_eq!(flows(&["tcp"]), ["priority=8,tcp,nw_src=10.0.0.0/8,tp_dst=80 actions=drop"]);
    // A modification that finds nothing adds.
    ofctl(&["--strict", "mod-flows", SWITCH, "priority=99,dl_type=0x1234,actions=output:2"]).success();
    assert_eq!(flows(&["dl_type=0x1234"]), ["priority=99,dl_type=0x1234 actions=output:2"]);
    ofctl(&["--strict", "del-flows", SWITCH, "priority=98,dl_type=0x1234"]).success();
    assert_eq!(flows(&["dl_type=0x1234"]).len(), 1);
    ofctl(&["--strict", "del-flows", SWITCH, "priority=99,dl_type=0x1234"]).success();
    assert_eq!(flows(&["dl_type=0x1234"]).len(), 0);
    ofctl(&["replace-flows", SWITCH, file]).success();
    assert_eq!(flows(&[]), expected);
    ofctl(&["del-flows", SWITCH, "in_port=1"]).success();
    assert_eq!(flows(&[]).len(), all.len() - 1);
    for (flow, error) in [
        ("check_overlap,priority=10,dl_vlan=5,actions=drop", "OFPFMFC_OVERLAP"),
        ("actions=enqueue:LOCAL:1", "OFPBAC_BAD_OUT_PORT"),
    ] {
        expect(&ofctl(&["add-flow", SWITCH, flow]).to_string(), &[error, "OFPT_FLOW_MOD"]);
    }
    ofctl(&["del-flows", SWITCH]).success();
    assert_eq!(flows(&[]), Vec::<String>::new());
}

#[test]
fn it_rewrites_frames_as_10_says() {
    let lab = lab("ofctl10-frames");
    let rewrite = "dl_vlan=7,dl_vlan_pcp=3,actions=strip_vlan,mod_nw_dst:10.0.0.99,mod_nw_tos:184,mod_tp_dst:81,output:2";
    ofctl(&["add-flow", SWITCH, rewrite]).success();
    let out = lab.h1.enter(|| RawSocket::open("eth0"));
    let wire = lab.h2.enter(|| RawSocket::open("eth0"));
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x60, 7, 8, 0];
    // IPv4 and UDP without their payload; checksums as they must be.
    frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0x66, 0xce, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0, 7, 0, 80, 0, 8, 0, 0]);
    let changed = wait_for(SOON, "the frame, changed", || {
        out.send(&frame).expect("a frame is sent");
        let frame = wire.receive(Duration::from_millis(200))?;
        (frame[6..14] == [2, 0, 0, 0, 0, 1, 8, 0]).then_some(frame)
    });
    assert_eq!(changed[15], 184);
    assert_eq!(changed[30..34], [10, 0, 0, 99]);
    assert_eq!(changed[34..38], [0, 7, 0, 81]);
    let sum =
        changed[14..34].chunks(2).fold(0u32, |sum, word| sum + u32::from(word[0]) * 256 + u32::from(word[1]));
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the header's checksum");

    // Setting a VLAN tags what has no tag: the controller sees it. What no flow matches it is sent, too.
    ofctl(&["add-flow", SWITCH, "in_port=1,actions=mod_vlan_vid:9,mod_vlan_pcp:5,CONTROLLER:65535"])
        .success();
    let mut monitor = monitor(&lab);
    wait_until(SOON, "packet-ins", || {
        lab.h1.pings("10.0.0.2");
        lab.h2.pings("10.0.0.1");
        monitor.log().contains("dl_vlan=9,dl_vlan_pcp=5") && monitor.log().contains("(via no_match)")
    });
    expect(&monitor.log(), &["in_port=1 (via action)", "in_port=2 (via no_match)"]);
    let short = "priority=99,hard_timeout=1,send_flow_rem,udp,actions=drop";
    ofctl(&["add-flow", SWITCH, short]).success();
    monitor.wait_for_log(SOON, "OFPT_FLOW_REMOVED");
    lab.weft.run(&["port", "add", "--switch", "s1", "7=hosttap:t7"]).success();
    monitor.wait_for_log(SOON, "ADD: 7(t7)");
    let packet = format!("in_port=none,packet={ARP},actions=output:2");
    ofctl(&["packet-out", SWITCH, &packet]).success();
    wait_for(SOON, "the packet sent", || {
        let frame = wire.receive(Duration::from_millis(200))?;
        frame.starts_with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9]).then_some(())
    });
    assert!(monitor.is_running());
}

#[test]
fn versions_see_each_others_flows() {
    let lab = lab("ofctl10-others");
    ofctl(&["add-flow", SWITCH, "priority=1,actions=mod_vlan_vid:7,output:2"]).success();
    ofctl(&["add-flow", SWITCH, "priority=2,dl_vlan=5,actions=mod_vlan_vid:7,output:2"]).success();
    let seen = ofctl13(&["--no-stats", "dump-flows", SWITCH]).success();
    expect(&seen, &["actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:2"]);
    expect(&seen, &["dl_vlan=5 actions=set_field:4103->vlan_vid,output:2"]);
    ofctl13(&["add-flow", SWITCH, "table=1,priority=3,tcp,actions=set_field:10.0.0.9->ip_dst,output:1"])
        .success();
    ofctl13(&["add-flow", SWITCH, "table=0,priority=4,actions=goto_table:1"]).success();
    ofctl13(&["add-flow", SWITCH, "table=0,priority=5,ipv6,ipv6_dst=::1,actions=output:1"]).success();
    let seen = flows(&[]).join("\n");
    expect(&seen, &["table=1, priority=3,tcp actions=mod_nw_dst:10.0.0.9,output:1"]);
    assert!(!seen.contains("priority=4") && !seen.contains("priority=5"), "1.0 cannot say these:\n{seen}");
    ofctl(&["del-flows", SWITCH]).success();
    assert!(!ofctl13(&["dump-flows", SWITCH]).success().contains("actions="));
    drop(lab);
}

#[test]
fn the_versions_offered_can_be_chosen() {
    let lab = super::ofctl::lab_with("ofctl10-protocols", &["--protocols", "OpenFlow10,OpenFlow14"]);
    ofctl(&["show", SWITCH]).success();
    run(Command::new("ovs-ofctl").args(["-O", "OpenFlow14", "show", SWITCH])).success();
    expect(&ofctl13(&["show", SWITCH]).to_string(), &["version negotiation failed"]);
    let wrong = lab.weft.run(&["switch", "--protocols", "OpenFlow11"]).failure();
    expect(
        &wrong,
        &["\"OpenFlow11\" is no version that weft speaks", "OpenFlow10, OpenFlow13 and OpenFlow14"],
    );
}
