//! ovs-ofctl on a weft switch: every verb a newcomer tries, over TCP, in OpenFlow 1.3.

use std::process::Command;
use std::time::Duration;

use system_tests::{Finished, Namespace, Process, Sandbox, Weft, require_program, run, wait_for, wait_until};

pub(crate) const SOON: Duration = Duration::from_secs(15);
pub(crate) const SWITCH: &str = "tcp:127.0.0.1:6654";
/// An ARP request from 10.0.0.9, padded to nothing.
pub(crate) const ARP: &str =
    "ffffffffffff020000000009080600010800060400010200000000090a0000090000000000000a000002";

pub(crate) struct Lab {
    pub weft: Weft,
    pub switch: Process,
    pub h1: Namespace,
    pub h2: Namespace,
    pub sandbox: Sandbox,
}

/// Two hosts on ports 1 and 2 of a switch.
pub(crate) fn lab(name: &str) -> Lab {
    lab_with(name, &[])
}

/// The same, the switch started with `options`.
pub(crate) fn lab_with(name: &str, options: &[&str]) -> Lab {
    require_program("ovs-ofctl", "openvswitch-switch");
    let sandbox = Sandbox::enter(name);
    let weft = Weft::new(&sandbox);
    let [h1, h2] = ["h1", "h2"].map(|name| Namespace::new(&sandbox, name));
    let ports = ["--port", "1=netns:h1/eth0", "--port", "2=netns:h2/eth0"];
    let args = [&["switch", "--name", "s1", "--dpid", "0x2a", "--listen", "ptcp:6654"][..], &ports, options]
        .concat();
    let mut switch = weft.spawn("switch", &args);
    switch.wait_for_log(SOON, "is ready");
    h1.address("eth0", "10.0.0.1/24");
    h2.address("eth0", "10.0.0.2/24");
    Lab { weft, switch, h1, h2, sandbox }
}

fn ofctl(args: &[&str]) -> Finished {
    run(Command::new("ovs-ofctl").args(["-O", "OpenFlow13", "--timeout=10"]).args(args))
}

fn flows() -> Vec<String> {
    let text = ofctl(&["dump-flows", SWITCH]).success();
    text.lines().filter(|line| line.contains("cookie=")).map(str::to_owned).collect()
}

pub(crate) fn expect(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "\"{word}\" is missing in:\n{text}");
    }
}

#[test]
fn it_describes_itself() {
    let lab = lab("ofctl-show");
    let show = ofctl(&["show", SWITCH]).success();
    expect(&show, &["dpid:000000000000002a", " 1(port1): addr:", " 2(port2): addr:", "frags=normal"]);
    expect(&ofctl(&["dump-desc", SWITCH]).success(), &["Manufacturer: weft", "DP Description: s1"]);
    expect(&ofctl(&["dump-ports-desc", SWITCH]).success(), &[" 1(port1)", " 2(port2)", "LIVE"]);
    expect(&ofctl(&["dump-tables", SWITCH]).success(), &["table 0", "active=0"]);
    expect(&ofctl(&["dump-ports", SWITCH]).success(), &["2 ports", "port  1: rx pkts="]);
    expect(&ofctl(&["dump-ports", SWITCH, "2"]).success(), &["1 ports"]);
    expect(&ofctl(&["dump-aggregate", SWITCH]).success(), &["packet_count=0 byte_count=0 flow_count=0"]);
    ofctl(&["probe", SWITCH]).success();
    drop(lab);
}

#[test]
fn it_reads_and_changes_flows() {
    let lab = lab("ofctl-flows");
    for (n, flow) in [
        "table=0,priority=10,in_port=1,actions=output:2",
        "table=0,priority=10,in_port=2,actions=output:1",
        "cookie=0x5,table=1,idle_timeout=60,hard_timeout=600,send_flow_rem,priority=7,tcp,nw_dst=10.0.0.0/8,tp_dst=80,actions=set_field:10.0.0.2->ip_dst,dec_ttl,output:2",
        "cookie=0x5,table=1,priority=8,dl_vlan=10,actions=pop_vlan,output:1",
        "table=2,ipv6,ipv6_dst=2001:db8::/32,actions=push_vlan:0x8100,set_field:4106->vlan_vid,goto_table:3",
        "table=2,arp,arp_tpa=10.0.0.1,actions=CONTROLLER:65535",
        "table=3,priority=0,actions=NORMAL",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(ofctl(&["add-flow", SWITCH, flow]).success(), "");
        assert_eq!(flows().len(), n + 1, "{flow}");
    }
    wait_until(SOON, "a ping through the flows", || lab.h1.pings("10.0.0.2"));
    let text = flows().join("\n");
    expect(
        &text,
        &[
            "table=1, n_packets=0, n_bytes=0, idle_timeout=60, hard_timeout=600, send_flow_rem priority=7,tcp,nw_dst=10.0.0.0/8,tp_dst=80 actions=set_field:10.0.0.2->ip_dst,dec_ttl,output:2",
            "priority=8,dl_vlan=10 actions=pop_vlan,output:1",
            "ipv6,ipv6_dst=2001:db8::/32 actions=push_vlan:0x8100,set_field:4106->vlan_vid,goto_table:3",
            "arp,arp_tpa=10.0.0.1 actions=CONTROLLER:65535",
            "priority=0 actions=NORMAL",
        ],
    );
    // weft prints what ovs-ofctl does, but for the time that has passed.
    let untimed = |line: &str| {
        let (head, tail) = line.trim().split_once("duration=").expect("a duration");
        format!("{head}{}", tail.split_once(", table").expect("a table").1)
    };
    let own = lab.weft.run(&["flows", "--switch", "s1"]).success();
    let mut own: Vec<String> = own.lines().map(untimed).filter(|line| !line.contains("in_port")).collect();
    let mut theirs: Vec<String> =
        flows().iter().map(|line| untimed(line)).filter(|line| !line.contains("in_port")).collect();
    own.sort();
    theirs.sort();
    assert_eq!(own, theirs);

    expect(&ofctl(&["dump-aggregate", SWITCH, "table=1"]).success(), &["flow_count=2"]);
    expect(&ofctl(&["dump-aggregate", SWITCH, "cookie=0x5/-1"]).success(), &["flow_count=2"]);
    expect(&ofctl(&["dump-aggregate", SWITCH, "out_port=1"]).success(), &["flow_count=2"]);
    assert_eq!(ofctl(&["mod-flows", SWITCH, "table=1,tcp,actions=drop"]).success(), "");
    expect(&flows().join("\n"), &["tcp,nw_dst=10.0.0.0/8,tp_dst=80 actions=drop"]);
    let strict = "table=1,priority=9,dl_vlan=10,actions=drop";
    ofctl(&["--strict", "mod-flows", SWITCH, strict]).success();
    expect(&flows().join("\n"), &["priority=8,dl_vlan=10 actions=pop_vlan"]);
    ofctl(&["del-flows", SWITCH, "cookie=0x5/-1"]).success();
    assert_eq!(flows().len(), 5);
    ofctl(&["--strict", "del-flows", SWITCH, "table=3,priority=0"]).success();
    assert_eq!(flows().len(), 4);
    ofctl(&["del-flows", SWITCH]).success();
    assert_eq!(flows(), Vec::<String>::new());
    let refused = ofctl(&["add-flow", SWITCH, "table=200,actions=drop"]);
    expect(&refused.to_string(), &["OFPFMFC_BAD_TABLE_ID"]);
    let refused = ofctl(&["add-flow", SWITCH, "actions=group:9"]);
    expect(&refused.to_string(), &["OFPBAC_BAD_OUT_GROUP"]);
    // The request that was refused is quoted, so that ovs-ofctl can print it.
    expect(&refused.to_string(), &["OFPT_FLOW_MOD (OF1.3)", "actions=group:9"]);
}

#[test]
fn it_sends_and_sees_packets() {
    let lab = lab("ofctl-packets");
    ofctl(&["add-flow", SWITCH, "priority=0,actions=CONTROLLER:65535"]).success();
    let mut monitor = Command::new("ovs-ofctl");
    // It wants to make a control socket.
    monitor.env("OVS_RUNDIR", lab.sandbox.dir());
    monitor.args(["-O", "OpenFlow13", "monitor", SWITCH, "65535"]);
    let mut monitor = Process::spawn(&mut monitor, &lab.sandbox.dir().join("monitor.log"));
    // Whatever the hosts say by themselves comes to the controller; so does what we ask for.
    wait_until(SOON, "a packet-in", || {
        lab.h1.pings("10.0.0.2");
        monitor.log().contains("OFPT_PACKET_IN")
    });
    expect(&monitor.log(), &["in_port=1", "(via no_match)", "arp_tpa=10.0.0.2"]);
    let wire = lab.h2.enter(|| system_tests::RawSocket::open("eth0"));
    ofctl(&["packet-out", SWITCH, &format!("in_port=controller,packet={ARP},actions=output:2")]).success();
    wait_for(SOON, "the packet sent", || {
        let frame = wire.receive(Duration::from_millis(200))?;
        frame.starts_with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9]).then_some(())
    });
    // A flow that goes says so.
    let short = "priority=99,hard_timeout=1,send_flow_rem,udp,actions=drop";
    ofctl(&["add-flow", SWITCH, short]).success();
    monitor.wait_for_log(SOON, "OFPT_FLOW_REMOVED");
    // Ports that come, change and go do, too.
    lab.weft.run(&["port", "add", "--switch", "s1", "7=hosttap:t7"]).success();
    monitor.wait_for_log(SOON, "OFPT_PORT_STATUS (OF1.3) (xid=0x0): ADD: 7(t7)");
    lab.weft.run(&["port", "del", "--switch", "s1", "7"]).success();
    monitor.wait_for_log(SOON, "DEL: 7(t7)");
    run(Command::new("ip").args(["-n", "h1", "link", "set", "eth0", "down"])).success();
    monitor.wait_for_log(SOON, "MOD: 1(port1)");
    assert!(monitor.is_running());
}

#[test]
fn groups_split_and_are_listed() {
    let lab = lab("ofctl-groups");
    let group = "group_id=1,type=all,bucket=output:1,bucket=output:2";
    ofctl(&["add-group", SWITCH, group]).success();
    ofctl(&["add-flow", SWITCH, "priority=5,actions=group:1"]).success();
    wait_until(SOON, "a ping through the group", || lab.h1.pings("10.0.0.2"));
    expect(&ofctl(&["dump-groups", SWITCH]).success(), &["group_id=1,type=all,bucket=", "actions=output:2"]);
    expect(&ofctl(&["dump-group-stats", SWITCH]).success(), &["group_id=1", "ref_count=1"]);
    ofctl(&["del-groups", SWITCH]).success();
    assert_eq!(flows(), Vec::<String>::new(), "flows go with their group");
    drop(lab.h2);
    drop(lab.switch);
}

fn ofctl14(args: &[&str]) -> Finished {
    run(Command::new("ovs-ofctl").args(["-O", "OpenFlow14", "--timeout=10"]).args(args))
}

/// In 1.3 by ONF's extension 230, in 1.4 by the standard.
#[test]
fn it_changes_all_or_nothing_in_bundles() {
    let lab = lab("ofctl-bundle");
    let write = |name: &str, text: &str| {
        let path = lab.sandbox.dir().join(name);
        std::fs::write(&path, text).expect("the sandbox is writable");
        path.display().to_string()
    };
    let good = write("good", "priority=1,actions=output:1\npriority=2,tcp,actions=output:2\n");
    let bad =
        write("bad", "priority=3,actions=output:1\npriority=4,actions=group:9\npriority=5,actions=drop\n");
    let group =
        "group add group_id=1,type=all,bucket=actions=output:1\nflow add priority=7,actions=group:1\n";
    let group = write("group", group);
    let versions: [fn(&[&str]) -> Finished; 2] = [ofctl, ofctl14];
    for ofctl in versions {
        ofctl(&["--bundle", "add-flows", SWITCH, &good]).success();
        let before = flows().len();
        let told = ofctl(&["--bundle", "add-flows", SWITCH, &bad]).failure();
        // The message that failed, by name, and then the bundle.
        expect(&told, &["OFPBAC_BAD_OUT_GROUP", "ADD priority=4 actions=group:9", "OFPBFC_MSG_FAILED"]);
        assert_eq!((before, flows().len()), (2, 2));
        ofctl(&["bundle", SWITCH, &group]).success();
        assert_eq!(flows().len(), 3);
        ofctl(&["--bundle", "replace-flows", SWITCH, &good]).success();
        assert_eq!(flows().len(), 2);
        ofctl(&["--bundle", "del-flows", SWITCH]).success();
        ofctl(&["del-groups", SWITCH]).success();
    }
    drop(lab);
}
