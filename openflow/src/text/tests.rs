use super::*;
use crate::{Field, FlowModCommand, Instruction, PortNo, Priority, TableId};

/// What real ovs-ofctl made of it, with `parse-flow -O OpenFlow13`: input, then match and actions as printed.
const OVS: &str = include_str!("../../tests/vectors/text/ovs-ofctl.txt");

#[test]
fn an_instruction_among_actions_is_called_so() {
    let error = parse_flow("actions=write_actions(goto_table:1)").expect_err("no action");
    assert_eq!((error.token.as_str(), error.position), ("goto_table", 22));
    assert!(error.reason.contains("an instruction"), "{}", error.reason);
}

/// Whoever writes `del-flows priority=5` must not lose every flow.
#[test]
fn a_property_that_the_command_has_no_use_for_is_refused() {
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    let refused = [
        (Delete, "priority=5,ip", "priority"),
        (Delete, "idle_timeout=5", "idle_timeout"),
        (DeleteStrict, "hard_timeout=0", "hard_timeout"),
        (Delete, "importance=3", "importance"),
        (DeleteStrict, "importance=3", "importance"),
        (Delete, "ip,send_flow_rem", "send_flow_rem"),
        (DeleteStrict, "check_overlap", "check_overlap"),
        (Add, "out_port=1,actions=drop", "out_port"),
        (Modify, "out_group=1,actions=drop", "out_group"),
        (ModifyStrict, "importance=1,actions=drop", "importance"),
    ];
    for (command, text, token) in refused {
        let error = parse_flow_mod(command, text).expect_err(text);
        assert_eq!(
            (error.token.as_str(), error.position),
            (token, text.find(token).expect("there")),
            "{text}"
        );
    }
    assert!(parse_flow_stats_request("priority=5").is_err());
    let strict = parse_flow_mod(DeleteStrict, "priority=5,ip,out_port=1").expect("strict");
    assert_eq!((strict.priority, strict.out_port), (Priority(5), Some(PortNo(1))));
    assert!(parse_flow_mod(Modify, "priority=5,idle_timeout=1,send_flow_rem,actions=drop").is_ok());
    assert!(parse_flow_mod(Delete, "ip,n_packets=4,duration=3s").is_ok(), "as dump-flows prints it");
}

#[test]
fn flows_read_and_written_as_ovs_does() {
    let mut n_pairs = 0;
    for block in OVS.split("\n\n").filter(|b| !b.trim().is_empty()) {
        let (input, output) = block.trim().split_once('\n').expect("two lines");
        let flow = parse_flow(input).unwrap_or_else(|e| panic!("{input}: {e}"));
        let mut text = flow.matches.to_string();
        if flow.priority != crate::Priority::DEFAULT {
            text = format!("priority={}{}{text}", flow.priority, if text.is_empty() { "" } else { "," });
        }
        let text = format!("{text} actions={}", Instructions(&flow.instructions));
        assert_eq!(text.trim_start(), output, "{input}");
        assert_eq!(parse_flow(&flow.to_string()), Ok(flow), "{input}");
        n_pairs += 1;
    }
    assert!(n_pairs >= 40, "{n_pairs} pairs");
}

#[test]
fn errors_name_the_word_and_its_place() {
    for (text, position, token) in [
        ("tcp,tp_dstt=80,actions=drop", 4, "tp_dstt"),
        ("tcp,tp_dst=eighty,actions=drop", 11, "eighty"),
        ("tp_dst=80,actions=drop", 0, "tp_dst"),
        ("ip,nw_dst=10.0.0.300,actions=drop", 10, "10.0.0.300"),
        ("actions=output:1,blah:3", 17, "blah"),
        ("actions=write_actions(output:1,foo)", 31, "foo"),
        ("actions=write_actions(output:1", 8, "write_actions(output:1"),
        ("actions=set_field:1->nonsense", 18, "1->nonsense"),
        ("ip,nw_dst=1.2.3.4/33,actions=drop", 10, "1.2.3.4/33"),
        ("ip", 0, "ip"),
        ("table=256,actions=drop", 6, "256"),
        ("dl_vlan=5000,actions=drop", 8, "5000"),
        ("in_port=1,in_port=2,actions=drop", 10, "in_port"),
    ] {
        let error = parse_flow(text).expect_err(text);
        assert_eq!((error.position, error.token.as_str()), (position, token), "{text}: {error}");
    }
    let error = parse_flow("tcp,tp_dstt=80,actions=drop").expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "column 5: \"tp_dstt\": no such match field or property of a flow; did you mean \"tp_dst\"?"
    );
}

#[test]
fn a_dumped_line_reads_again() {
    let line = " cookie=0x5, duration=12.500s, table=3, n_packets=7, n_bytes=420, idle_timeout=30, send_flow_rem \
                priority=10,arp,in_port=2 actions=CONTROLLER:65535";
    let flow = parse_flow(line).expect("a line of dump-flows");
    assert_eq!((flow.table, flow.cookie.0, flow.idle_timeout), (TableId(3), 5, 30));
    assert_eq!(flow.matches.ingress(), Some(crate::PortNo(2)));
    let stats = crate::FlowStats {
        table: flow.table,
        duration: core::time::Duration::from_millis(12_500),
        priority: flow.priority,
        idle_timeout: 30,
        hard_timeout: 0,
        flags: flow.flags,
        importance: 0,
        cookie: flow.cookie,
        packets: 7,
        bytes: 420,
        matches: flow.matches,
        instructions: flow.instructions,
    };
    assert_eq!(stats.to_string(), line.trim());
}

#[test]
fn deletions_select() {
    let flow =
        parse_flow_mod(FlowModCommand::Delete, "table=1,cookie=0x10/-1,out_port=LOCAL,ip").expect("valid");
    assert_eq!((flow.cookie_mask, flow.out_port), (u64::MAX, Some(crate::ports::LOCAL)));
    assert_eq!(parse_flow_mod(FlowModCommand::Delete, &flow.to_string()), Ok(flow));
    assert_eq!(parse_flow_mod(FlowModCommand::Delete, "").expect("all").table, TableId::ALL);
}

#[test]
fn instructions_come_in_the_order_of_execution() {
    let text =
        "actions=goto_table:5,write_metadata:0x12,meter:3,output:1,clear_actions,write_actions(group:1)";
    let flow = parse_flow(text).expect("valid");
    assert_eq!(flow.instructions[0], Instruction::Meter(crate::MeterId(3)));
    let written = Instructions(&flow.instructions).to_string();
    assert_eq!(
        written,
        "meter:3,output:1,clear_actions,write_actions(group:1),write_metadata:0x12,goto_table:5"
    );
}

#[test]
fn masks_without_bits_match_everything() {
    assert_eq!(parse_match("ip,nw_dst=1.2.3.4/0"), parse_match("ip"));
    assert_eq!(parse_match("metadata=5/0"), Ok(Match::ANY));
    assert_eq!(parse_match("vlan_tci=0x1000/0x1000").map(|m| m.len()), Ok(1));
    assert!(parse_match("ip,foo").is_err());
    assert_eq!(
        parse_match("tcp,tcp_flags=+syn-ack").expect("valid").get(Field::TcpFlags).map(|o| o.value),
        Some(2)
    );
}
