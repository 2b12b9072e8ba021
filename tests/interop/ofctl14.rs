//! ovs-ofctl on a weft switch in OpenFlow 1.4, with bundles there and in 1.3.

use std::process::Command;
use std::time::Duration;

use system_tests::{Finished, run, wait_for, wait_until};

use super::ofctl::{ARP, SOON, SWITCH, expect, lab};

fn ofctl(version: &str, args: &[&str]) -> Finished {
    run(Command::new("ovs-ofctl").args(["-O", version, "--timeout=10"]).args(args))
}

fn ofctl14(args: &[&str]) -> Finished {
    ofctl("OpenFlow14", args)
}

fn flows(version: &str) -> Vec<String> {
    let text = ofctl(version, &["--no-stats", "--sort", "dump-flows", SWITCH]).success();
    text.lines().filter(|line| line.contains("actions=")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn it_speaks_14_beside_13() {
    let lab = lab("ofctl-14");
    let show = ofctl14(&["show", SWITCH]).success();
    let ports = &["(OF1.4)", "dpid:000000000000002a", " 1(port1): addr:", " 2(port2): addr:", "frags=normal"];
    expect(&show, ports);
    expect(&ofctl14(&["dump-ports-desc", SWITCH]).success(), &["OF1.4", " 1(port1)", " 2(port2)", "LIVE"]);
    expect(&ofctl14(&["dump-ports", SWITCH]).success(), &["2 ports", "port  1: rx pkts=", "duration="]);
    expect(&ofctl14(&["dump-tables", SWITCH]).success(), &["table 0", "active=0"]);
    expect(&ofctl14(&["dump-table-features", SWITCH]).success(), &["table 0", "instructions:"]);
    expect(&ofctl14(&["dump-table-desc", SWITCH]).success(), &["OFPST_TABLE_DESC reply (OF1.4)", "table 1:"]);
    expect(&ofctl14(&["queue-get-config", SWITCH]).success(), &["OFPST_QUEUE_DESC reply (OF1.4)"]);
    expect(&ofctl14(&["queue-stats", SWITCH]).success(), &["queues"]);
    expect(&ofctl14(&["dump-group-features", SWITCH]).success(), &["Types:", "Capabilities:"]);
    expect(&ofctl14(&["meter-features", SWITCH]).success(), &["max_meter:"]);
    ofctl14(&["set-frags", SWITCH, "drop"]).success();
    expect(&ofctl14(&["get-frags", SWITCH]).success(), &["drop"]);
    ofctl14(&["mod-table", SWITCH, "1", "evict"]).success();
    ofctl14(&["mod-table", SWITCH, "1", "vacancy:20,80"]).success();
    let table = "eviction=on eviction_flags=IMPORTANCE|LIFETIME\n   vacancy=on vacancy_down=20% vacancy_up=80% vacancy=";
    expect(&ofctl14(&["dump-table-desc", SWITCH]).success(), &[table]);

    ofctl14(&["mod-port", SWITCH, "2", "no-forward"]).success();
    expect(&ofctl14(&["dump-ports-desc", SWITCH]).success(), &["config:     NO_FWD"]);
    ofctl14(&["mod-port", SWITCH, "2", "forward"]).success();
    let wire = lab.h2.enter(|| system_tests::RawSocket::open("eth0"));
    let packet = format!("in_port=controller,packet={ARP},actions=output:2");
    ofctl14(&["packet-out", SWITCH, &packet]).success();
    wait_for(SOON, "the packet sent", || {
        let frame = wire.receive(Duration::from_millis(200))?;
        frame.starts_with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9]).then_some(())
    });
}

#[test]
fn it_reads_and_changes_flows_groups_and_meters_in_14() {
    let lab = lab("ofctl-14-flows");
    ofctl14(&["add-meter", SWITCH, "meter=1,kbps,stats,band=type=drop,rate=100000"]).success();
    ofctl14(&["add-group", SWITCH, "group_id=1,type=all,bucket=output:1,bucket=output:2"]).success();
    let all = [
        "importance=7, priority=9,in_port=1 actions=meter:1,goto_table:1",
        "priority=9,in_port=2 actions=output:1",
        "table=1, priority=0 actions=group:1",
        "table=2, priority=3,tcp actions=write_actions(output:2),write_metadata:0x5",
    ];
    let file = lab.sandbox.dir().join("flows.txt");
    let lines: Vec<String> = all.iter().map(|line| line.replace(", ", ",")).collect();
    std::fs::write(&file, lines.join("\n")).expect("a file");
    let file = file.to_str().expect("a path");
    ofctl14(&["add-flows", SWITCH, file]).success();
    assert_eq!(flows("OpenFlow14").len(), all.len());
    expect(&flows("OpenFlow14").join("\n"), &all);
    // The same flows in 1.3, which cannot say how important they are.
    assert!(!flows("OpenFlow13").join("\n").contains("importance"));
    wait_until(SOON, "a ping through the flows", || lab.h1.pings("10.0.0.2"));
    expect(&ofctl14(&["dump-groups", SWITCH]).success(), &["group_id=1,type=all"]);
    expect(&ofctl14(&["dump-group-stats", SWITCH]).success(), &["ref_count=1"]);
    ofctl14(&["mod-group", SWITCH, "group_id=1,type=all,bucket=output:2"]).success();
    wait_until(SOON, "a ping through the changed group", || lab.h1.pings("10.0.0.2"));
    expect(&ofctl14(&["dump-meters", SWITCH]).success(), &["meter=1 kbps stats", "rate=100000"]);
    expect(&ofctl14(&["meter-stats", SWITCH]).success(), &["meter:1"]);
    ofctl14(&["mod-meter", SWITCH, "meter=1,kbps,stats,band=type=drop,rate=200000"]).success();
    expect(&ofctl14(&["dump-meter", SWITCH, "meter=1"]).success(), &["rate=200000"]);
    ofctl14(&["mod-flows", SWITCH, "table=2,tcp,actions=drop"]).success();
    expect(&flows("OpenFlow14").join("\n"), &["table=2, priority=3,tcp actions=drop"]);
    ofctl14(&["replace-flows", SWITCH, file]).success();
    expect(&flows("OpenFlow14").join("\n"), &all);
    ofctl14(&["--strict", "del-flows", SWITCH, "table=2,priority=3,tcp"]).success();
    assert_eq!(flows("OpenFlow14").len(), all.len() - 1);
    expect(&ofctl14(&["add-flow", SWITCH, "actions=group:9"]).to_string(), &["OFPBAC_BAD_OUT_GROUP"]);
    ofctl14(&["del-meters", SWITCH]).success();
    ofctl14(&["del-groups", SWITCH]).success();
    assert_eq!(flows("OpenFlow14"), ["priority=9,in_port=2 actions=output:1"], "flows go with what they use");
    ofctl14(&["del-flows", SWITCH]).success();
    assert_eq!(flows("OpenFlow14"), Vec::<String>::new());
}

#[test]
fn bundles_take_effect_as_a_whole() {
    for version in ["OpenFlow14", "OpenFlow13"] {
        let lab = lab(&format!("ofctl-bundle-{version}"));
        let file = lab.sandbox.dir().join("flows.txt");
        let path = file.to_str().expect("a path");
        std::fs::write(&file, "in_port=1,actions=output:2\nin_port=2,actions=output:1\n").expect("a file");
        ofctl(version, &["--bundle", "add-flows", SWITCH, path]).success();
        assert_eq!(flows(version).len(), 2, "{version}");
        wait_until(SOON, "a ping through the flows", || lab.h1.pings("10.0.0.2"));
        // The second flow is refused, so the first is not there either.
        let bad = "flow add priority=77,tcp,actions=output:2\nflow add priority=78,udp,actions=group:9\n";
        std::fs::write(&file, bad).expect("a file");
        let refused = ofctl(version, &["bundle", SWITCH, path]);
        expect(&refused.to_string(), &["OFPBAC_BAD_OUT_GROUP"]);
        assert_eq!(flows(version).len(), 2, "{version}: nothing of it");
        std::fs::write(&file, "flow delete\nflow add priority=5,actions=NORMAL\n").expect("a file");
        ofctl(version, &["bundle", SWITCH, path]).success();
        assert_eq!(flows(version), ["priority=5 actions=NORMAL"], "{version}");
        wait_until(SOON, "a ping through the other flow", || lab.h1.pings("10.0.0.2"));
    }
}
