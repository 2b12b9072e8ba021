//! Table features, read and set (§7.3.5.5).

use core::time::Duration;

use openflow::error::{BadAction, BadInstruction, BadMatch, BadRequest, FlowModFailed, TableFeaturesFailed};
use openflow::{
    Action, ErrorKind, Field, FlowMod, FlowModFlags, FlowStatsRequest, Instruction, MacAddr, Match, Message,
    MultipartReply, MultipartRequest, Oxm, PortNo, Priority, Reply, Request, Role, RoleRequest,
    TableFeature as F, TableFeatures, TableId, Xid,
};
use packet::build;
use vswitch::SwitchConfig;
use vswitch::standalone::{CONN, Standalone};

const N_TABLES: u8 = 4;

fn switch() -> Standalone {
    let config =
        SwitchConfig { seed: Some(1), n_tables: N_TABLES, max_flows: 100, ..SwitchConfig::default() };
    Standalone::new(config, 2)
}

fn request(features: Vec<TableFeatures>, more: bool) -> Message {
    Message::MultipartRequest(MultipartRequest { more, body: Request::TableFeatures(features) })
}

/// The tables as the switch says they are.
fn features(s: &mut Standalone) -> Vec<TableFeatures> {
    reply(&s.control(request(vec![], false)))
}

fn reply(messages: &[Message]) -> Vec<TableFeatures> {
    match messages {
        [Message::MultipartReply(MultipartReply { body: Reply::TableFeatures(all), more: false })] => {
            all.clone()
        }
        other => panic!("{other:?}"),
    }
}

fn set(s: &mut Standalone, features: &[TableFeatures]) -> Result<Vec<TableFeatures>, ErrorKind> {
    let replies = s.control(request(features.to_vec(), false));
    match &replies[..] {
        [Message::Error(error)] => Err(error.kind),
        replies => Ok(reply(replies)),
    }
}

fn add(s: &mut Standalone, flow: FlowMod) -> Option<ErrorKind> {
    s.control(Message::FlowMod(flow)).iter().find_map(|m| match m {
        Message::Error(error) => Some(error.kind),
        _ => None,
    })
}

fn flow(table: u8, matches: Match, instructions: Vec<Instruction>) -> FlowMod {
    FlowMod {
        flags: FlowModFlags::SEND_FLOW_REM,
        ..FlowMod::add(TableId(table), Priority(5), matches, instructions)
    }
}

fn n_flows(s: &mut Standalone, table: u8) -> usize {
    let body = Request::Flow(FlowStatsRequest { table: TableId(table), ..FlowStatsRequest::default() });
    match &s.control(Message::MultipartRequest(MultipartRequest { more: false, body }))[..] {
        [Message::MultipartReply(MultipartReply { body: Reply::Flow(flows), .. })] => flows.len(),
        other => panic!("{other:?}"),
    }
}

fn mac(n: u64) -> Match {
    Match::new().eth_dst(MacAddr::from_u64(n))
}

#[test]
fn what_the_switch_says_of_itself_can_be_asked_for() {
    let mut s = switch();
    let all = features(&mut s);
    assert_eq!(all.len(), usize::from(N_TABLES));
    s.flow(flow(0, mac(1), vec![]));
    assert_eq!(set(&mut s, &all), Ok(all.clone()));
    assert_eq!(n_flows(&mut s, 0), 1, "nothing changed");
    // In parts, as it has to come for many tables.
    let (first, rest) = all.split_at(1);
    s.switch.handle_message(s.now, CONN, Xid(5), request(first.to_vec(), true));
    s.switch.handle_message(s.now, CONN, Xid(5), request(rest.to_vec(), false));
    s.settle();
    assert_eq!(reply(&s.messages()), all);
    // Another request in between, one in parts too, is none of its business.
    s.switch.handle_message(s.now, CONN, Xid(6), request(first.to_vec(), true));
    let desc = MultipartRequest { more: false, body: Request::Desc };
    s.switch.handle_message(s.now, CONN, Xid(7), Message::MultipartRequest(desc));
    s.switch.handle_message(s.now, CONN, Xid(9), request(rest.to_vec(), true));
    s.switch.handle_message(s.now, CONN, Xid(6), request(rest.to_vec(), false));
    s.settle();
    assert_eq!(reply(&s.messages()[1..]), all);
    s.switch.handle_message(s.now, CONN, Xid(9), request(first.to_vec(), false));
    s.settle();
    assert_eq!(reply(&s.messages()), all);
    // Nothing else comes in parts, and not without end.
    let desc = MultipartRequest { more: true, body: Request::Desc };
    let overflow = BadRequest::MultipartBufferOverflow.into();
    assert!(
        matches!(&s.control(Message::MultipartRequest(desc))[..], [Message::Error(e)] if e.kind == overflow)
    );
    for n in 0..64 {
        s.switch.handle_message(s.now, CONN, Xid(8), request(all.clone(), true));
        s.settle();
        let refused = s.messages().iter().any(|m| matches!(m, Message::Error(e) if e.kind == overflow));
        if refused {
            assert!(n > 50);
            // The rest of it is not a request of its own.
            assert_eq!(set_parts(&mut s, Xid(8), &all[..1], false), Some(overflow));
            return;
        }
    }
    panic!("parts without end were taken");
}

/// The error, if there is one, of a part.
fn set_parts(s: &mut Standalone, xid: Xid, tables: &[TableFeatures], more: bool) -> Option<ErrorKind> {
    s.switch.handle_message(s.now, CONN, xid, request(tables.to_vec(), more));
    s.settle();
    s.messages().iter().find_map(|m| match m {
        Message::Error(e) => Some(e.kind),
        _ => None,
    })
}

/// §7.4.4: what does not come in time is refused, and what comes of it later too, while others wait on.
#[test]
fn a_request_whose_parts_do_not_come_times_out() {
    let mut s = switch();
    let all = features(&mut s);
    s.flow(flow(1, mac(1), vec![]));
    let timeout = BadRequest::MultipartRequestTimeout.into();
    let is_timeout = |s: &mut Standalone| match &s.messages()[..] {
        [] => false,
        [Message::Error(error)] if error.kind == timeout => true,
        other => panic!("{other:?}"),
    };
    assert_eq!(set_parts(&mut s, Xid(5), &all[..1], true), None);
    s.advance(Duration::from_millis(900));
    assert_eq!(set_parts(&mut s, Xid(5), &all[1..2], true), None, "each part has its own time");
    s.advance(Duration::from_millis(900));
    assert!(!is_timeout(&mut s));
    assert_eq!(set_parts(&mut s, Xid(6), &all, true), None);
    s.advance(Duration::from_millis(200));
    assert!(is_timeout(&mut s), "one of the two");
    assert_eq!(set_parts(&mut s, Xid(5), &all[2..3], true), Some(timeout));
    assert_eq!(set_parts(&mut s, Xid(5), &all[..1], false), Some(timeout), "a last part is no whole request");
    assert_eq!(set_parts(&mut s, Xid(6), &[], false), None, "the other goes on");
    assert_eq!(features(&mut s), all, "nothing has changed");
    assert_eq!(n_flows(&mut s, 1), 1);
    // Nothing is kept for long: neither the request nor that it was refused.
    for xid in 10..20 {
        assert_eq!(set_parts(&mut s, Xid(xid), &all, true), None);
    }
    s.advance(Duration::from_secs(1));
    assert_eq!(s.messages().len(), 10);
    s.advance(Duration::from_secs(10));
    assert_eq!((s.messages().len(), s.switch.poll_timeout()), (0, None));
    assert_eq!(set_parts(&mut s, Xid(10), &all, false), None, "the number may be used again");
}

/// What is refused for want of room is refused to its end: a last part alone would take every other table away.
#[test]
fn many_unfinished_requests_are_refused_as_wholes() {
    let mut s = switch();
    let all = features(&mut s);
    s.flow(flow(1, mac(1), vec![]));
    let overflow = BadRequest::MultipartBufferOverflow.into();
    for xid in 100..164 {
        let expected = (xid >= 116).then_some(overflow);
        assert_eq!(set_parts(&mut s, Xid(xid), &all[1..], true), expected, "{xid}");
    }
    for xid in 116..164 {
        assert_eq!(set_parts(&mut s, Xid(xid), &all[..1], false), Some(overflow), "{xid}");
    }
    assert_eq!(n_flows(&mut s, 1), 1, "nothing changed");
    assert_eq!(set_parts(&mut s, Xid(100), &all[..1], false), None);
    assert_eq!(features(&mut s), all);
}

#[test]
fn a_table_takes_what_was_asked_of_it_and_no_more() {
    let mut s = switch();
    let mut all = features(&mut s);
    for feature in &mut all[1].features {
        match feature {
            F::Instructions { types, .. } => types.retain(|t| [1, 2, 4].contains(t)),
            F::NextTables { tables, .. } => tables.retain(|t| *t == TableId(3)),
            F::Actions { types, .. } => types.retain(|t| [0, 25].contains(t)),
            F::SetField { fields, .. } => fields.retain(|f| *f == Field::EthDst),
            F::Match(fields) => *fields = vec![(Field::Metadata, true), (Field::EthDst, false)],
            F::Wildcards(fields) => *fields = vec![Field::EthDst],
            F::Unknown { .. } => {}
        }
    }
    all[1].name = "access".into();
    all[1].max_entries = 2;
    (all[1].metadata_match, all[1].metadata_write) = (0xff, 0xf0);
    assert_eq!(set(&mut s, &all), Ok(all.clone()));
    assert_eq!(features(&mut s), all);
    let known = || Match::new().metadata(1, 0xf);
    let apply = |actions| vec![Instruction::ApplyActions(actions)];
    let dst = |field, value| Action::SetField(Oxm::new(field, value));
    let masked = MacAddr::from_u64(1);
    let cases: Vec<(Match, Vec<Instruction>, Option<ErrorKind>)> = vec![
        (known(), apply(vec![Action::output(PortNo(1)), dst(Field::EthDst, 5)]), None),
        (known(), vec![Instruction::GotoTable(TableId(3))], None),
        (known(), vec![Instruction::GotoTable(TableId(2))], Some(BadInstruction::BadTableId.into())),
        (known(), vec![Instruction::ClearActions], Some(BadInstruction::UnsupInst.into())),
        (known(), vec![Instruction::WriteMetadata { metadata: 0, mask: 0xf0 }], None),
        (
            known(),
            vec![Instruction::WriteMetadata { metadata: 0, mask: 1 }],
            Some(BadInstruction::UnsupMetadataMask.into()),
        ),
        (known(), apply(vec![Action::PopVlan]), Some(BadAction::BadType.into())),
        (known(), apply(vec![dst(Field::EthSrc, 5)]), Some(BadAction::BadSetType.into())),
        (known().in_port(PortNo(1)), vec![], Some(BadMatch::BadField.into())),
        (known().eth_dst_masked(masked, masked), vec![], Some(BadMatch::BadMask.into())),
        (Match::new().metadata(0x100, 0x100), vec![], Some(BadMatch::BadMask.into())),
        (mac(1), vec![], Some(BadMatch::BadWildcards.into())),
    ];
    for (matches, instructions, expected) in cases {
        let outcome = add(&mut s, flow(1, matches.clone(), instructions.clone()));
        assert_eq!(outcome, expected, "{matches:?} {instructions:?}");
        assert_eq!(add(&mut s, flow(2, matches, vec![])), None, "another table takes it");
    }
    // The table-miss flow needs no field.
    assert_eq!(add(&mut s, FlowMod { priority: Priority(0), ..flow(1, Match::new(), vec![]) }), None);
    assert_eq!(n_flows(&mut s, 1), 2);
    let full = add(&mut s, flow(1, Match::new().metadata(2, 0xf), vec![]));
    assert_eq!(full, Some(FlowModFailed::TableFull.into()));
}

#[test]
fn tables_leave_the_pipeline_and_come_back() {
    let mut s = switch();
    let before = features(&mut s);
    let on = |table| vec![Instruction::GotoTable(TableId(table))];
    let out = vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])];
    s.flow(flow(0, mac(1), on(2)));
    s.flow(flow(2, Match::new(), out.clone()));
    s.flow(flow(3, Match::new(), out.clone()));
    let frame = build::ethernet(MacAddr([2; 6]), MacAddr::from_u64(1)).ipv4([1; 4], [2; 4]).udp(1, 2, b"");
    assert_eq!(s.receive(PortNo(1), &frame).len(), 1);
    // Without table 2. Tables 0 and 1 cannot go there any more, so they are others; table 3 is as it was.
    let mut without: Vec<_> = before.iter().filter(|t| t.table != TableId(2)).cloned().collect();
    assert_eq!(
        set(&mut s, &without),
        Err(TableFeaturesFailed::BadArgument.into()),
        "they still go to table 2"
    );
    assert_eq!(features(&mut s), before);
    assert_eq!(s.receive(PortNo(1), &frame).len(), 1, "nothing changed");
    for feature in without.iter_mut().flat_map(|t| &mut t.features) {
        if let F::NextTables { tables, .. } = feature {
            tables.retain(|t| *t != TableId(2));
        }
    }
    assert_eq!(set(&mut s, &without), Ok(without.clone()));
    assert!(!s.messages().iter().any(|m| matches!(m, Message::FlowRemoved(_))), "no flow-removed");
    assert_eq!((n_flows(&mut s, 0), n_flows(&mut s, 3)), (0, 1));
    assert_eq!(s.receive(PortNo(1), &frame), []);
    assert_eq!(add(&mut s, flow(2, Match::new(), out.clone())), Some(FlowModFailed::BadTableId.into()));
    assert_eq!(add(&mut s, flow(0, mac(1), on(2))), Some(BadInstruction::BadTableId.into()));
    assert_eq!(add(&mut s, flow(0, mac(1), on(3))), None);
    assert_eq!(s.receive(PortNo(1), &frame).len(), 1);
    // And back.
    assert_eq!(set(&mut s, &before), Ok(before.clone()));
    assert_eq!(add(&mut s, flow(2, Match::new(), out)), None);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut s = switch();
    for n in 0..5 {
        s.flow(flow(1, mac(n), vec![]));
    }
    let before = features(&mut s);
    let mut check = |expected: TableFeaturesFailed, change: &dyn Fn(&mut Vec<TableFeatures>)| {
        let mut asked = before.clone();
        // Something that could be done, in front of what cannot.
        asked[0].name = "other".into();
        change(&mut asked);
        assert_eq!(set(&mut s, &asked), Err(expected.into()));
        assert_eq!(features(&mut s), before);
        assert_eq!(n_flows(&mut s, 1), 5);
    };
    check(TableFeaturesFailed::BadTable, &|all| all[2].table = TableId(1));
    check(TableFeaturesFailed::BadTable, &|all| all[3].table = TableId(N_TABLES));
    check(TableFeaturesFailed::BadTable, &|all| drop(all.remove(0)));
    check(TableFeaturesFailed::BadArgument, &|all| all[2].max_entries = 101);
    check(TableFeaturesFailed::BadArgument, &|all| all[1].max_entries = 4);
    check(TableFeaturesFailed::BadArgument, &|all| all[2].config = 4);
    check(TableFeaturesFailed::BadType, &|all| {
        all[2].features.push(F::Unknown { kind: 0xfffe, data: vec![] });
    });
    let more: [F; 6] = [
        F::Instructions { miss: false, types: vec![7] },
        F::NextTables { miss: false, tables: vec![TableId(1)] },
        F::Actions { apply: true, miss: false, types: vec![5] },
        F::SetField { apply: true, miss: false, fields: vec![Field::InPort] },
        F::Match(vec![(Field::EthType, true)]),
        F::Match(vec![(Field::EthDst, true)]),
    ];
    for (at, feature) in more.into_iter().enumerate() {
        check(TableFeaturesFailed::BadArgument, &|all| {
            let kind = core::mem::discriminant(&feature);
            if at == 5 {
                // Twice the same property.
                all[2].features.push(feature.clone());
                return;
            }
            let same = |f: &F| match (f, &feature) {
                (F::Instructions { miss, .. }, _) | (F::NextTables { miss, .. }, _) => !miss,
                (F::Actions { apply, miss, .. }, _) | (F::SetField { apply, miss, .. }, _) => *apply && !miss,
                _ => true,
            };
            let place = all[2].features.iter_mut().find(|f| core::mem::discriminant(*f) == kind && same(f));
            *place.expect("every table has it") = feature.clone();
        });
    }
    s.control(Message::RoleRequest(RoleRequest { role: Role::Slave, generation: 1 }));
    assert_eq!(set(&mut s, &before), Err(BadRequest::IsSlave.into()));
    assert_eq!(features(&mut s), before, "a slave may look");
}
