//! `weft ofctl` beside ovs-ofctl, each on a weft switch and on a bridge of Open vSwitch: what they print for one and the
//! same switch is the same, and what one writes the other reads.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use system_tests::{Finished, Namespace, Ovs, Process, RawSocket, Sandbox, Weft, run, wait_for, wait_until};

const SOON: Duration = Duration::from_secs(20);
const VERSIONS: [&str; 2] = ["OpenFlow13", "OpenFlow14"];
const BROADCAST: &str =
    "ffffffffffff020000000009080600010800060400010200000000090a0000090000000000000a000002";

/// Flows that both switches take: every match field, masks, every action and instruction.
const FLOWS: &str = "
table=0,in_port=1,actions=output:2
table=0,in_port=LOCAL,actions=output:1,IN_PORT
cookie=0x1234,idle_timeout=500,hard_timeout=600,send_flow_rem,priority=10,tcp,in_port=1,nw_src=10.0.0.0/8,nw_dst=10.1.2.3,tp_dst=80,tp_src=1000,actions=output:2
check_overlap,table=17,dl_type=0x1234,actions=drop
reset_counts,no_packet_counts,no_byte_counts,table=17,dl_type=0x1235,actions=drop
table=1,metadata=0x5/0xff,dl_src=02:00:00:00:00:01,actions=set_field:02:00:00:00:00:05->eth_src,set_field:02:00:00:00:00:06->eth_dst,output:1
table=1,metadata=0x77,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=NORMAL
table=1,tun_id=0x5,actions=set_field:0x7->tun_id,output:1
table=1,tun_id=0x50/0xf0,actions=FLOOD
table=2,dl_vlan=10,dl_vlan_pcp=3,actions=pop_vlan,output:1
table=2,dl_vlan=0xffff,actions=ALL
table=2,vlan_tci=0x1000/0x1000,actions=drop
table=2,vlan_tci=0x1001/0x1003,actions=LOCAL
table=2,dl_vlan_pcp=5,actions=drop
table=2,dl_vlan=11,actions=set_field:4107->vlan_vid,set_field:6->vlan_pcp,output:2
table=2,priority=9,actions=push_vlan:0x8100,set_field:4106->vlan_vid,output:1
table=2,priority=8,actions=push_vlan:0x88a8,set_field:4106->vlan_vid,output:1
table=2,priority=7,actions=mod_vlan_vid:5,output:1
table=3,arp,arp_spa=10.0.0.1,arp_tpa=10.0.0.0/255.255.0.255,arp_op=1,arp_sha=02:00:00:00:00:01,arp_tha=02:00:00:00:00:02,actions=CONTROLLER:128
table=3,arp,actions=set_field:2->arp_op,set_field:1.2.3.4->arp_spa,set_field:1.2.3.5->arp_tpa,set_field:02:00:00:00:00:05->arp_sha,set_field:02:00:00:00:00:06->arp_tha,output:1
table=3,rarp,actions=controller
table=4,ip,nw_tos=32,nw_ecn=1,nw_proto=47,actions=output:1
table=4,ip,nw_src=10.0.0.0/255.0.255.0,actions=set_field:10.0.0.2->ip_dst,set_field:10.0.0.3->ip_src,set_field:4->ip_dscp,set_field:1->nw_ecn,dec_ttl,mod_nw_ttl:3,output:1
table=4,icmp,icmp_type=8,icmp_code=0,actions=set_field:0->icmp_type,output:1
table=4,udp,tp_dst=53,actions=set_field:54->udp_dst,set_field:55->udp_src,output:1
table=4,sctp,tp_dst=5,tp_src=6,actions=set_field:7->sctp_dst,set_field:8->sctp_src,output:1
table=4,tcp,tcp_flags=+syn-ack,actions=set_field:1->tcp_src,set_field:2->tcp_dst,output:1
table=4,tcp,tcp_flags=fin|ack,actions=drop
table=5,udp6,ipv6_src=fe80::/10,ipv6_dst=::1,ipv6_label=0x123,udp_dst=53,actions=output:2
table=5,ipv6,ipv6_dst=2001:db8::5/ffff:ffff::ff,actions=set_field:fe80::5->ipv6_dst,set_field:fe80::6->ipv6_src,set_field:0x12->ipv6_label,output:1
table=5,ipv6,ipv6_label=0x00100/0x00f00,actions=drop
table=5,tcp6,tp_src=9,actions=drop
table=5,sctp6,tp_src=9,actions=drop
table=5,icmp6,icmpv6_type=135,icmpv6_code=0,nd_target=fe80::1,nd_sll=02:00:00:00:00:01,actions=drop
table=5,icmp6,icmpv6_type=136,nd_tll=02:00:00:00:00:01,actions=drop
table=6,mpls,mpls_label=7,mpls_tc=3,mpls_bos=1,actions=pop_mpls:0x0800,output:1
table=6,mplsm,mpls_bos=0,actions=dec_mpls_ttl,set_mpls_ttl:9,output:1
table=6,priority=3,ip,actions=push_mpls:0x8847,set_field:12->mpls_label,set_field:2->mpls_tc,output:1
table=7,actions=meter:1,set_queue:1,group:1,clear_actions,write_actions(set_field:02:00:00:00:00:09->eth_dst,group:2,output:1),write_metadata:0x12/0xff,goto_table:9
table=8,actions=write_metadata:0x123456789abcdef0,goto_table:10
table=9,actions=clear_actions
table=9,priority=0,actions=CONTROLLER:65535
table=9,priority=1,actions=output:1,output:2,output:1
";

/// Flows of weft alone: Open vSwitch has neither PBB nor extension headers nor copies of TTLs.
const FLOWS_OF_WEFT: &str = "
table=1,dl_type=0x88e7,pbb_isid=0x5/0xf,actions=pop_pbb,output:1
table=1,priority=5,actions=push_pbb:0x88e7,set_field:0x123->pbb_isid,output:1
table=1,ipv6,ipv6_exthdr=0x4/0x4,actions=drop
table=1,in_port=1,in_phy_port=1,actions=drop
table=2,priority=5,actions=write_actions(drop)
table=2,mpls,actions=copy_ttl_in,copy_ttl_out,output:1
";

const GROUPS: &str = "
group_id=1,type=all,bucket=output:1,bucket=actions=set_field:02:00:00:00:00:01->eth_dst,output:2
group_id=2 type=select bucket=weight:5,output:1,bucket=weight=7,actions=output:2,bucket=output:1
add group_id=3,type=fast_failover,bucket=watch_port:1,output:1,bucket=watch_group=1,group:1
group_id=4,type=indirect,bucket=dec_ttl,output:2
group_id=5,type=all
";

const METERS: [&str; 2] = [
    "meter=1,kbps,burst,stats,bands=type=drop,rate=1000,burst_size=100",
    "meter=2 pktps bands=type=drop rate=100",
];

/// Two switches with the same ports 1 and 2.
struct Peers {
    weft: Weft,
    switch: Process,
    ovs: Ovs,
    h2: Namespace,
    sandbox: Sandbox,
}

impl Peers {
    fn start(name: &str) -> Self {
        let sandbox = Sandbox::enter(name);
        let ovs = Ovs::start(&sandbox);
        ovs.add_bridge("br0");
        ovs.vsctl(&["set", "bridge", "br0", "protocols=OpenFlow10,OpenFlow13,OpenFlow14"]);
        for n in ["1", "2"] {
            let (port, number) = (format!("p{n}"), format!("ofport_request={n}"));
            ovs.vsctl(&["add-port", "br0", &port, "--", "set", "interface", &port, "type=internal", &number]);
        }
        let weft = Weft::new(&sandbox);
        let h2 = Namespace::new(&sandbox, "h2");
        let ports = ["--port", "1=hosttap:t1", "--port", "2=netns:h2/eth0"];
        let switch =
            weft.spawn("switch", &[&["switch", "--name", "s1", "--dpid", "0x2a"][..], &ports].concat());
        let peers = Self { weft, switch, ovs, h2, sandbox };
        wait_until(SOON, "the weft switch", || peers.ours(&["probe", "s1"]).status.success());
        peers
    }

    /// Both switches, as both tools take them.
    fn targets(&self) -> [String; 2] {
        let weft = self.sandbox.run_dir().join("s1.mgmt");
        [format!("unix:{}", weft.display()), self.ovs.management("br0")]
    }

    fn ours(&self, args: &[&str]) -> Finished {
        self.weft.run(&[&["ofctl", "--timeout=20"], args].concat())
    }

    /// A file for the tools to read.
    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.sandbox.dir().join(name);
        fs::write(&path, text).expect("the sandbox's folder is writable");
        path.display().to_string()
    }

    fn load(&self, version: &str, target: &str) {
        let groups = self.file("groups.txt", GROUPS);
        let flows = self.file("flows.txt", FLOWS);
        assert_eq!(self.ours(&["-O", version, "add-groups", target, &groups]).success(), "");
        for meter in METERS {
            assert_eq!(self.ours(&["-O", version, "add-meter", target, meter]).success(), "");
        }
        assert_eq!(self.ours(&["-O", version, "add-flows", target, &flows]).success(), "");
    }

    fn clear(&self, target: &str) {
        for verb in ["del-flows", "del-groups", "del-meters"] {
            assert_eq!(self.ours(&[verb, target]).success(), "");
        }
    }
}

fn theirs(args: &[&str]) -> Finished {
    run(Command::new("ovs-ofctl").arg("--timeout=20").args(args))
}

/// Without what differs between two moments: transactions, ages and counters.
fn timeless(text: &str) -> String {
    const KEYS: [&str; 10] = [
        "xid=",
        "duration=",
        "duration:",
        "lookup=",
        "matched=",
        "pkts=",
        "bytes=",
        "drop=",
        "packets=",
        "_count=",
    ];
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, key)) = KEYS.iter().filter_map(|key| Some((rest.find(key)?, *key))).min() {
        let (before, after) = rest.split_at(at + key.len());
        out.push_str(before);
        out.push('*');
        rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '?');
    }
    out + rest
}

fn expect(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "\"{word}\" is missing in:\n{text}");
    }
}

#[test]
fn both_tools_print_the_same_for_the_same_switch() {
    let peers = Peers::start("wofctl-same");
    let mut n_compared = 0;
    for version in VERSIONS {
        for target in &peers.targets() {
            peers.load(version, target);
            let plain = [
                "show",
                "dump-desc",
                "dump-tables",
                "dump-ports",
                "dump-ports-desc",
                "dump-flows",
                "dump-aggregate",
                "queue-stats",
                "queue-get-config",
                "dump-groups",
                "dump-group-stats",
                "dump-group-features",
                "dump-meters",
                "meter-stats",
                "meter-features",
                "get-frags",
                "probe",
            ];
            let mut all: Vec<Vec<&str>> = plain.iter().map(|verb| vec![*verb, target.as_str()]).collect();
            all.extend(
                [
                    &["--names", "dump-flows", target][..],
                    &["--no-stats", "dump-flows", target],
                    &["--names", "--no-stats", "dump-flows", target, "table=1"],
                    &["--sort=priority", "--rsort=nw_dst", "dump-flows", target, "table=9"],
                    &["dump-flows", target, "tcp"],
                    &["dump-flows", target, "cookie=0x1234/-1"],
                    &["dump-flows", target, "table=4,out_port=1"],
                    &["dump-flows", target, "out_group=1"],
                    &["dump-aggregate", target, "table=4"],
                    &["dump-ports", target, "2"],
                    &["dump-ports", target, "1"],
                    &["--names", "dump-groups", target],
                    &["dump-group-stats", target, "group_id=2"],
                    &["dump-meters", target, "meter=2"],
                    &["meter-stats", target, "meter=1"],
                    &["queue-stats", target, "1"],
                ]
                .iter()
                .map(|args| args.to_vec()),
            );
            if version == "OpenFlow14" {
                all.push(vec!["dump-table-desc", target]);
            }
            for args in all {
                let args = [&["-O", version][..], &args].concat();
                let (own, their) = (peers.ours(&args), theirs(&args));
                assert_eq!(own.status.success(), their.status.success(), "{own}{their}");
                assert_eq!(timeless(&own.stdout), timeless(&their.stdout), "{args:?}");
                n_compared += 1;
            }
            peers.clear(target);
        }
    }
    assert!(n_compared > 100, "{n_compared} outputs");
}

#[test]
fn what_one_tool_writes_the_other_reads() {
    let peers = Peers::start("wofctl-load");
    for target in &peers.targets() {
        peers.load("OpenFlow14", target);
        let (dump, groups) =
            (["-O", "OpenFlow14", "dump-flows", target], ["-O", "OpenFlow14", "dump-groups", target]);
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().skip(1).map(timeless).collect();
            lines.sort();
            lines
        };
        let before = (sorted(&peers.ours(&dump).success()), sorted(&theirs(&groups).success()));
        assert!(before.0.len() >= 43 && before.1.len() == 5, "{before:?}");
        // ovs-ofctl takes what weft wrote, without the line that names the message, and the other way round.
        let body = |text: String| text.lines().skip(1).fold(String::new(), |all, line| all + line + "\n");
        let own_flows = peers.file("own.txt", &body(peers.ours(&dump).success()));
        let own_groups = peers.file("own-groups.txt", &body(peers.ours(&groups).success()));
        let their_flows = peers.file("their.txt", &body(theirs(&dump).success()));
        let their_groups = peers.file("their-groups.txt", &body(theirs(&groups).success()));
        let delete = |verb| theirs(&["-O", "OpenFlow14", verb, target]).success();
        delete("del-flows");
        delete("del-groups");
        theirs(&["-O", "OpenFlow14", "add-groups", target, &own_groups]).success();
        theirs(&["-O", "OpenFlow14", "add-flows", target, &own_flows]).success();
        assert_eq!((sorted(&theirs(&dump).success()), sorted(&theirs(&groups).success())), before);
        delete("del-flows");
        delete("del-groups");
        peers.ours(&["add-groups", target, &their_groups]).success();
        peers.ours(&["add-flows", target, &their_flows]).success();
        assert_eq!((sorted(&theirs(&dump).success()), sorted(&theirs(&groups).success())), before);
        peers.clear(target);
    }
    // What only weft can do, weft's tool writes and reads.
    let file = peers.file("weft.txt", FLOWS_OF_WEFT);
    peers.ours(&["add-flows", "s1", &file]).success();
    let dump = || {
        let text = peers.ours(&["--no-stats", "dump-flows", "s1"]).success();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    let written = dump();
    expect(
        &written,
        &["pbb_isid=0x5/0xf", "set_field:0x123->pbb_isid", "ipv6_exthdr=0x4/0x4", "copy_ttl_in"],
    );
    let file = peers.file("again.txt", &written);
    peers.ours(&["del-flows", "s1"]).success();
    peers.ours(&["add-flows", "s1", &file]).success();
    assert_eq!(dump(), written);
    assert!(peers.ours(&["diff-flows", "s1", &file]).status.success());
}

fn count(peers: &Peers, version: &str, target: &str, what: &str) -> usize {
    let text = peers.ours(&["-O", version, "--no-stats", "dump-flows", target, what]).success();
    text.lines().count()
}

#[test]
fn flows_are_changed_by_every_verb() {
    let peers = Peers::start("wofctl-flows");
    for (version, target) in VERSIONS.iter().flat_map(|v| peers.targets().map(|target| (*v, target))) {
        let target = target.as_str();
        let ofctl = |args: &[&str]| peers.ours(&[&["-O", version], args].concat());
        let count = |what| count(&peers, version, target, what);
        for flow in [
            "table=1,tcp,actions=output:1",
            "table=1,priority=5,udp,actions=output:2",
            "table=2,actions=drop",
        ] {
            assert_eq!(ofctl(&["add-flow", target, flow]).success(), "");
        }
        ofctl(&["mod-flows", target, "table=1,ip,actions=drop"]).success();
        assert_eq!(count("table=1,out_port=1") + count("table=1,out_port=2"), 0);
        ofctl(&["--strict", "mod-flows", target, "table=1,udp,actions=output:1"]).success();
        assert_eq!(count("out_port=1"), 0, "another priority");
        ofctl(&["--strict", "mod-flows", target, "table=1,priority=5,udp,actions=output:1"]).success();
        assert_eq!(count("out_port=1"), 1);
        ofctl(&["--strict", "del-flows", target, "table=1,udp"]).success();
        assert_eq!(count(""), 3);
        ofctl(&["del-flows", target, "table=1,out_port=1"]).success();
        assert_eq!(count(""), 2);

        // A file with all that may stand in one.
        let file = "# comment\nadd table=3,tcp actions=output:1\n\ntable=3,priority=4 actions=drop # here\n\
                    modify table=3,tcp actions=output:2\nmodify_strict table=3,priority=4 actions=LOCAL\n\
                    delete table=2\ndelete_strict table=1,tcp\n";
        let file = peers.file("all.txt", file);
        ofctl(&["add-flows", target, &file]).success();
        let dump = ofctl(&["--no-stats", "--sort", "dump-flows", target]).success();
        assert_eq!(dump, " table=3, priority=4 actions=LOCAL\n table=3, tcp actions=output:2\n");

        // Differences, and no differences.
        let wanted = peers.file("wanted.txt", "table=3,tcp actions=output:1\ncookie=7,arp actions=drop\n");
        let different = ofctl(&["diff-flows", target, &wanted]);
        assert_eq!(different.status.code(), Some(2), "{different}");
        let lines = "+arp cookie=0x7 actions=drop\n-table=3 tcp actions=output:2\n+table=3 tcp actions=output:1\n\
                     -table=3 priority=4 actions=LOCAL\n";
        assert_eq!(different.stdout, lines);
        ofctl(&["replace-flows", target, &wanted]).success();
        assert_eq!(ofctl(&["diff-flows", &wanted, target]).success(), "");
        assert_eq!(count(""), 2);
        let other = peers.file("other.txt", "actions=drop\n");
        assert_eq!(ofctl(&["diff-flows", &wanted, &other]).status.code(), Some(2));
        ofctl(&["--bundle", "--readd", "replace-flows", target, &other]).success();
        assert_eq!(ofctl(&["diff-flows", target, &other]).success(), "");
        ofctl(&["del-flows", target]).success();
    }
}

#[test]
fn bundles_are_all_or_nothing() {
    let peers = Peers::start("wofctl-bundle");
    for (version, target) in VERSIONS.iter().flat_map(|v| peers.targets().map(|target| (*v, target))) {
        let target = target.as_str();
        let ofctl = |args: &[&str]| peers.ours(&[&["-O", version], args].concat());
        let good = "group group_id=1,type=all,bucket=output:1\nflow add table=5,actions=group:1\n\
                    flow table=6,actions=drop\n";
        let packet = format!("packet-out in_port=controller,packet={BROADCAST},actions=output:1\n");
        let good = peers.file("good.txt", &(good.to_owned() + &packet));
        ofctl(&["bundle", target, &good]).success();
        assert_eq!(count(&peers, version, target, ""), 2);
        let bad =
            peers.file("bad.txt", "flow table=7,actions=drop\n\nflow table=7,priority=1,actions=group:99\n");
        let told = ofctl(&["bundle", target, &bad]).failure();
        expect(
            &told,
            &[
                &format!("{bad}:3: OFPBAC_BAD_OUT_GROUP"),
                "priority=1,actions=group:99",
                "nothing of the bundle",
            ],
        );
        assert_eq!(count(&peers, version, target, "table=7"), 0);
        expect(
            &ofctl(&["--bundle", "add-flow", target, "actions=group:99"]).failure(),
            &["OFPBAC_BAD_OUT_GROUP"],
        );
        ofctl(&["--bundle", "add-flow", target, "table=8,actions=drop"]).success();
        assert_eq!(count(&peers, version, target, "table=8"), 1);
        ofctl(&["--bundle", "del-flows", target]).success();
        assert_eq!(count(&peers, version, target, ""), 0);
        ofctl(&["--bundle", "del-groups", target]).success();
        expect(
            &peers.ours(&["-O", version, "bundle", target, &peers.file("no.txt", "table=1\n")]).failure(),
            &["no.txt:1:1: \"table=1\": flow, group or packet-out is expected first"],
        );
    }
}

#[test]
fn groups_meters_ports_and_tables_are_changed() {
    let peers = Peers::start("wofctl-rest");
    for (version, target) in VERSIONS.iter().flat_map(|v| peers.targets().map(|target| (*v, target))) {
        let target = target.as_str();
        let ofctl = |args: &[&str]| peers.ours(&[&["-O", version], args].concat());
        let groups = || ofctl(&["dump-groups", target]).success();
        ofctl(&["add-group", target, "group_id=1,type=select,bucket=weight:2,output:1"]).success();
        expect(&ofctl(&["add-group", target, "group_id=1,type=all"]).failure(), &["OFPGMFC_GROUP_EXISTS"]);
        ofctl(&["mod-group", target, "group_id=1,type=all,bucket=output:2"]).success();
        expect(&groups(), &["group_id=1,type=all,bucket=actions=output:2"]);
        expect(&ofctl(&["mod-group", target, "group_id=9,type=all"]).failure(), &["OFPGMFC_UNKNOWN_GROUP"]);
        ofctl(&["--may-create", "mod-group", target, "group_id=9,type=indirect,bucket=output:1"]).success();
        ofctl(&["--may-create", "mod-group", target, "group_id=9,type=indirect,bucket=output:2"]).success();
        assert_eq!(ofctl(&["dump-groups", target, "9"]).success().lines().count(), 2);
        expect(&ofctl(&["insert-buckets", target, "group_id=1,bucket=1"]).failure(), &["OpenFlow 1.5"]);
        expect(&ofctl(&["remove-buckets", target, "group_id=1"]).failure(), &["OpenFlow 1.5"]);
        ofctl(&["del-groups", target, "group_id=1"]).success();
        assert_eq!(groups().lines().count(), 2);
        ofctl(&["del-groups", target]).success();
        assert_eq!(groups().lines().count(), 1);

        let meters = || ofctl(&["dump-meters", target]).success();
        ofctl(&["add-meter", target, METERS[0]]).success();
        expect(&ofctl(&["add-meter", target, METERS[0]]).failure(), &["OFPMMFC_METER_EXISTS"]);
        ofctl(&["mod-meter", target, "meter=1 pktps bands=type=drop rate=7"]).success();
        expect(&meters(), &["meter=1 pktps bands=\ntype=drop rate=7"]);
        ofctl(&["del-meters", target, "meter=1"]).success();
        assert!(!meters().contains("meter=1"));

        let name = if target.contains("br0") { "p1" } else { "t1" };
        for (action, word) in [
            ("down", "PORT_DOWN"),
            ("no-receive", "NO_RECV"),
            ("no-forward", "NO_FWD"),
            ("no-packet-in", "NO_PACKET_IN"),
        ] {
            ofctl(&["mod-port", target, name, action]).success();
            expect(&ofctl(&["dump-ports-desc", target, name]).success(), &[word]);
            let back = action.trim_start_matches("no-").replace("down", "up");
            ofctl(&["mod-port", target, "1", &back]).success();
            let desc = ofctl(&["dump-ports-desc", target, "1"]).success();
            assert!(!desc.contains(word) && desc.contains(name), "{desc}");
        }
        expect(&ofctl(&["mod-port", target, name, "no-flood"]).failure(), &["OpenFlow 1.0 only"]);
        expect(&ofctl(&["mod-port", target, "nosuch", "up"]).failure(), &["has no port \"nosuch\""]);
        expect(&ofctl(&["mod-port", target, name, "dwn"]).failure(), &["did you mean \"down\"?"]);
        ofctl(&["set-frags", target, "drop"]).success();
        assert_eq!(ofctl(&["get-frags", target]).success(), "drop\n");
        ofctl(&["set-frags", target, "normal"]).success();
        expect(&ofctl(&["set-frags", target, "reassemble"]).failure(), &["reassemble"]);
        expect(
            &ofctl(&["dump-table-features", target]).success(),
            &["table 0", "exact match or wildcard: in_port"],
        );
        ofctl(&["ping", target, "100"]).success();
        expect(
            &ofctl(&["benchmark", target, "10", "50"]).success(),
            &["Sending 50 packets * 18 bytes", "Finished in"],
        );
        if version == "OpenFlow14" {
            ofctl(&["mod-table", target, "1", "evict"]).success();
            expect(&ofctl(&["dump-table-desc", target]).success(), &["eviction=on"]);
            ofctl(&["mod-table", target, "1", "noevict"]).success();
            assert!(!ofctl(&["dump-table-desc", target]).success().contains("eviction=on"));
        }
        if version == "OpenFlow13" {
            expect(&ofctl(&["mod-table", target, "1", "evict"]).failure(), &["needs OpenFlow 1.4"]);
        }
    }
}

#[test]
fn monitor_prints_what_comes_unasked_and_packet_out_sends() {
    let peers = Peers::start("wofctl-monitor");
    for (n, (version, target)) in
        VERSIONS.iter().flat_map(|v| peers.targets().map(|target| (*v, target))).enumerate()
    {
        let args = ["ofctl", "-O", version, "--timestamp", "monitor", &target, "65535", "invalid_ttl"];
        let mut monitor = peers.weft.spawn(&format!("monitor{n}"), &args);
        let packet = format!("in_port=1 packet={BROADCAST} actions=CONTROLLER:65535");
        wait_until(SOON, "a packet-in", || {
            peers.ours(&["-O", version, "packet-out", &target, &packet]).success();
            monitor.log().contains("PACKET_IN")
        });
        expect(
            &monitor.log(),
            &["in_port=1 (via ", "arp,vlan_tci=0x0000,dl_src=02:00:00:00:00:09", "arp_tpa=10.0.0.2"],
        );
        let flow = "priority=99,send_flow_rem,udp,actions=drop";
        peers.ours(&["add-flow", &target, flow]).success();
        peers.ours(&["del-flows", &target, "udp"]).success();
        monitor.wait_for_log(SOON, "priority=99,udp reason=delete table_id=0");
        peers.ours(&["mod-port", &target, "1", "no-packet-in"]).success();
        monitor.wait_for_log(SOON, "NO_PACKET_IN");
        peers.ours(&["mod-port", &target, "1", "packet-in"]).success();
        assert!(monitor.is_running());
        // The time stands in front: 2026-11-21 08:00:00.123: OFPT_...
        let dated =
            |line: &str| line.split_once(": OFPT_PACKET_IN").is_some_and(|(time, _)| time.len() == 23);
        assert!(monitor.log().lines().any(dated), "{}", monitor.log());
    }
    let wire = peers.h2.enter(|| RawSocket::open("eth0"));
    peers.ours(&["packet-out", "s1", "CONTROLLER", "output:2", BROADCAST]).success();
    wait_for(SOON, "the packet sent", || {
        let frame = wire.receive(Duration::from_millis(200))?;
        frame.starts_with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9]).then_some(())
    });
}

#[test]
fn mistakes_are_told_with_their_place_and_the_way_out() {
    let peers = Peers::start("wofctl-wrong");
    let flows = "tcp,tp_dst=80 actions=output:1\n# fine\n  add tcp,tp_dstt=80 actions=drop\nudp actions=outptu:1\n\
                 ip actions=resubmit(,1)\nreg0=5 actions=drop\n";
    let file = peers.file("flows.txt", flows);
    let told = peers.ours(&["add-flows", "s1", &file]).failure();
    expect(
        &told,
        &[
            &format!(
                "{file}:3:11: \"tp_dstt\": no such match field or property of a flow; did you mean \"tp_dst\"?"
            ),
            &format!("{file}:4:13: \"outptu\": no such action or port; did you mean \"output\"?"),
            &format!("{file}:5:12: \"resubmit\": an extension of Open vSwitch (Nicira)"),
            &format!("{file}:6:1: \"reg0\": an extension of Open vSwitch (Nicira)"),
        ],
    );
    assert_eq!(told.lines().count(), 4, "{told}");
    assert_eq!(count(&peers, "OpenFlow13", "s1", ""), 0, "nothing is sent of a file with mistakes");
    // What the switch refuses has its line, and the other lines are done.
    let refused = peers.file("refused.txt", "tcp actions=drop\n\nudp actions=group:7\nsctp actions=drop\n");
    let told = peers.ours(&["add-flows", "s1", &refused]).failure();
    assert_eq!(told.trim(), format!("weft ofctl: {refused}:3: OFPBAC_BAD_OUT_GROUP: udp actions=group:7"));
    assert_eq!(count(&peers, "OpenFlow13", "s1", ""), 2);
    // Names of ports, unless they are not wanted.
    peers.ours(&["add-flow", "s1", "in_port=t1,actions=output:t1"]).success();
    expect(&peers.ours(&["--names", "dump-flows", "s1"]).success(), &["in_port=t1 actions=output:t1"]);
    expect(
        &peers.ours(&["--no-names", "add-flow", "s1", "in_port=t1,actions=drop"]).failure(),
        &["\"t1\": no port"],
    );

    for (args, words) in [
        (&["dump-flows", "s2"][..], "no weft switch \"s2\" is running in"),
        (&["dump-flows", "s11"], "did you mean \"s1\"?"),
        (&["dump-flows", "tcp:127.0.0.1:1"], "connecting to tcp:127.0.0.1:1: "),
        (&["dump-flows", "unix:/nowhere"], "connecting to unix:/nowhere: "),
        (&["dump-flows", "udp:127.0.0.1:1"], "is no switch"),
        (&["add-flows", "s1", "/nowhere"], "/nowhere: "),
        (&["--sort=tp_dstt", "dump-flows", "s1"], "did you mean"),
        (&["-P", "nxm", "monitor", "s1"], "extension of Open vSwitch"),
        (&["-O", "OpenFlow15", "show", "s1"], "weft does not speak it"),
        (&["dumpflows", "s1"], "dump-flows"),
    ] {
        expect(&peers.ours(args).failure(), &[words]);
    }
    // A listener that says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let target = format!("tcp:{}", silent.local_addr().expect("it is bound"));
    let told = peers.weft.run(&["ofctl", "--timeout=1", "show", &target]).failure();
    assert_eq!(told, "weft ofctl: no end within 1 seconds\n");
    // Who reads no further gets no complaint.
    let script = format!(
        "{} ofctl dump-table-features s1 | head -1; echo ${{PIPESTATUS[0]}}; \
         {0} ofctl show s1 > /dev/full; echo $?",
        peers.weft.binary().display()
    );
    let mut shell = Command::new("bash");
    let done = run(shell.args(["-c", &script]).env("WEFT_RUN_DIR", peers.sandbox.run_dir()));
    let ends: Vec<&str> = done.stdout.lines().skip(1).collect();
    assert!(matches!(ends.as_slice(), ["141" | "0", "1"]), "{done}");
    assert!(!done.stderr.contains("Broken pipe") && done.stderr.contains("No space left"), "{done}");
}

#[test]
fn a_hundred_thousand_flows_go_over_and_come_back() {
    let mut peers = Peers::start("wofctl-many");
    let many = 100_000;
    let flow = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        format!("table=1,priority={},ip,nw_dst=10.{a}.{b}.{c},actions=output:{}\n", 1000 + n % 7, 1 + n % 2)
    };
    let file = peers.file("many.txt", &(0..many).map(flow).collect::<String>());
    peers.weft.run(&["ofctl", "--timeout=300", "add-flows", "s1", &file]).success();
    let sum = peers.ours(&["dump-aggregate", "s1"]).success();
    expect(&sum, &["flow_count=100000"]);
    assert_eq!(peers.weft.run(&["ofctl", "--timeout=300", "diff-flows", "s1", &file]).success(), "");
    assert!(peers.switch.is_running());
}

/// What 1.0 can say: its match, and its actions.
const FLOWS_10: &str = "
tcp,in_port=1,nw_src=10.0.0.0/8,nw_dst=10.1.2.3,dl_vlan=5,dl_vlan_pcp=2,tp_src=7,tp_dst=80,nw_tos=32,idle_timeout=500,actions=mod_vlan_vid:3,mod_vlan_pcp:1,strip_vlan,mod_nw_src:1.2.3.4,mod_nw_dst:1.2.3.5,mod_nw_tos:16,mod_tp_src:5,mod_tp_dst:6,output:2,CONTROLLER:65535
cookie=0x77,hard_timeout=600,send_flow_rem,priority=9,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,actions=mod_dl_src:02:00:00:00:00:01,mod_dl_dst:02:00:00:00:00:02,NORMAL
priority=8,dl_vlan=0xffff,actions=FLOOD,ALL,IN_PORT
priority=7,arp,nw_src=10.0.0.1,nw_proto=1,actions=enqueue:1:2
priority=6,icmp,icmp_type=8,icmp_code=0,actions=LOCAL
priority=5,dl_type=0x1234,actions=drop
";

#[test]
fn version_10_is_spoken_as_ovs_ofctl_speaks_it() {
    let peers = Peers::start("wofctl-10");
    let ours = |args: &[&str]| peers.ours(&[&["-O", "OpenFlow10"], args].concat());
    let theirs = |args: &[&str]| theirs(&[&["-O", "OpenFlow10", "-F", "OpenFlow10-table_id"], args].concat());
    let flows = peers.file("flows.txt", FLOWS_10);
    for target in &peers.targets() {
        let target = target.as_str();
        ours(&["add-flows", target, &flows]).success();
        for verb in
            ["dump-flows", "dump-desc", "dump-ports", "dump-aggregate", "queue-stats", "get-frags", "probe"]
        {
            let (own, their) = (ours(&[verb, target]).success(), theirs(&[verb, target]).success());
            assert_eq!(timeless(&own), timeless(&their), "{verb}");
        }
        // One line and one word that the values of weft do not keep.
        let show = theirs(&["show", target]).success().replace(" ARP_MATCH_IP", "");
        let show: Vec<&str> = show.lines().filter(|line| !line.starts_with("actions:")).collect();
        assert_eq!(timeless(&ours(&["show", target]).success()).trim(), timeless(&show.join("\n")));
        expect(&ours(&["dump-tables", target]).success(), &["table 0", "active=6", "max_entries="]);
        // What ovs-ofctl adds is no difference.
        ours(&["del-flows", target]).success();
        theirs(&["add-flows", target, &flows]).success();
        assert_eq!(ours(&["diff-flows", target, &flows]).success(), "");
        let fewer = peers.file("fewer.txt", "tcp actions=mod_vlan_vid:9,output:1\n");
        ours(&["replace-flows", target, &fewer]).success();
        assert_eq!(ours(&["diff-flows", target, &fewer]).success(), "");
        ours(&["--strict", "mod-flows", target, "tcp actions=output:2"]).success();
        let dump = ours(&["--no-stats", "dump-flows", target]).success();
        assert_eq!(dump, " tcp actions=output:2\n");
        ours(&["--strict", "del-flows", target, "tcp"]).success();
        assert_eq!(ours(&["--no-stats", "dump-flows", target]).success(), "");

        ours(&["mod-port", target, "1", "no-flood"]).success();
        expect(
            &ours(&["dump-ports-desc", target, "1"]).success(),
            &["OFPST_PORT_DESC reply (xid=", "NO_FLOOD"],
        );
        ours(&["mod-port", target, "1", "flood"]).success();
        ours(&["packet-out", target, &format!("in_port=1 packet={BROADCAST} actions=output:2")]).success();
        for (args, words) in [
            (&["add-flow", target, "table=1,actions=drop"][..], "OpenFlow10 cannot say it"),
            (&["add-flow", target, "ipv6,actions=output:1,goto_table:1"], "OpenFlow10 cannot say it"),
            (&["add-flow", target, "actions=meter:1,output:1"], "OpenFlow10 cannot say it"),
            (&["add-group", target, "group_id=1,type=all"], "OpenFlow10 cannot say it"),
            (&["--bundle", "add-flow", target, "actions=drop"], "bundles need OpenFlow 1.4"),
            (&["dump-table-desc", target], "needs OpenFlow 1.4"),
        ] {
            expect(&ours(args).failure(), &[words]);
        }
    }
    // Of all versions, the highest that both have is spoken.
    expect(&peers.ours(&["show", "s1"]).success(), &["(OF1.4)"]);
}
