//! Tables that are full or nearly so: refusal, eviction, vacancy events (1.4 §6.8, §7.3.3, §7.4.5).

use core::time::Duration;

use openflow::error::{BadProperty, FlowModFailed, TableModFailed};
use openflow::{
    Action, AsyncConfig, Cookie, ErrorKind, FlowMod, FlowModCommand, FlowModFlags, FlowRemovedReason,
    FlowStatsRequest, Instruction, MacAddr, Match, Message, MultipartRequest, PortNo, Priority, Reply,
    Request, TABLE_EVICTION, TABLE_VACANCY_EVENTS, TableDesc, TableId, TableMod, TableReason, Vacancy,
};
use packet::{Instant, build};
use proptest::prelude::*;
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

const OTHER: u32 = 1;
const IMPORTANCE: u32 = 2;
const LIFETIME: u32 = 4;

fn switch(max_flows: u32) -> Standalone {
    let config =
        SwitchConfig { seed: Some(1), n_tables: 3, max_flows, n_workers: 2, ..SwitchConfig::default() };
    let mut s = Standalone::new(config, 2);
    let wants = AsyncConfig { table_status: [0b1_1000; 2], ..AsyncConfig::default() };
    assert_eq!(s.control(Message::SetAsync(wants.into())), []);
    s
}

/// The flow with cookie and destination `n`.
fn flow(n: u64) -> FlowMod {
    let apply = vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])];
    FlowMod {
        cookie: Cookie(n),
        flags: FlowModFlags::SEND_FLOW_REM,
        ..FlowMod::add(TableId(0), Priority(1), Match::new().eth_dst(MacAddr::from_u64(n)), apply)
    }
}

fn add(s: &mut Standalone, flow: FlowMod) -> Vec<Message> {
    s.control(Message::FlowMod(flow))
}

fn delete(s: &mut Standalone, n: u64) {
    s.flow(FlowMod { command: FlowModCommand::DeleteStrict, flags: FlowModFlags::NONE, ..flow(n) });
}

fn configure(config: u32, eviction: Option<u32>, vacancy: Option<(u8, u8)>) -> Message {
    let vacancy = vacancy.map(|(down, up)| Vacancy { down, up, current: 0 });
    Message::TableMod(TableMod { table: TableId(0), config, eviction, vacancy })
}

fn error(messages: &[Message]) -> Option<ErrorKind> {
    messages.iter().find_map(|m| match m {
        Message::Error(error) => Some(error.kind),
        _ => None,
    })
}

/// Cookies of flows that went, with the reason.
fn removed(messages: &[Message]) -> Vec<(u64, FlowRemovedReason)> {
    let gone = messages.iter().filter_map(|m| match m {
        Message::FlowRemoved(gone) => Some((gone.cookie.0, gone.reason)),
        _ => None,
    });
    gone.collect()
}

fn descs(s: &mut Standalone) -> Vec<TableDesc> {
    let request = MultipartRequest { more: false, body: Request::TableDesc };
    match &s.control(Message::MultipartRequest(request))[..] {
        [Message::MultipartReply(reply)] => match &reply.body {
            Reply::TableDesc(descs) => descs.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn cookies(s: &mut Standalone) -> Vec<u64> {
    let request = MultipartRequest { more: false, body: Request::Flow(FlowStatsRequest::default()) };
    let replies = s.control(Message::MultipartRequest(request));
    let mut all = Vec::new();
    for reply in replies {
        if let Message::MultipartReply(reply) = reply
            && let Reply::Flow(flows) = reply.body
        {
            all.extend(flows.iter().map(|flow| flow.cookie.0));
        }
    }
    all.sort_unstable();
    all
}

#[test]
fn a_full_table_refuses_flows_but_not_changes() {
    let mut s = switch(2);
    (0..2).for_each(|n| s.flow(flow(n)));
    assert_eq!(error(&add(&mut s, flow(2))), Some(FlowModFailed::TableFull.into()));
    assert_eq!(add(&mut s, FlowMod { idle_timeout: 9, ..flow(1) }), [], "it has its place already");
    assert_eq!(add(&mut s, FlowMod { table: TableId(1), ..flow(2) }), [], "another table has room");
    delete(&mut s, 0);
    assert_eq!(error(&add(&mut s, flow(2))), None);
    assert_eq!(cookies(&mut s), [1, 2, 2]);
}

#[test]
fn the_least_important_goes_first_and_says_why() {
    let mut s = switch(3);
    assert_eq!(s.control(configure(TABLE_EVICTION, Some(IMPORTANCE), None)), []);
    for (n, importance) in [(0, 7), (1, 5), (2, 5)] {
        s.flow(FlowMod { importance, ..flow(n) });
    }
    s.advance(Duration::from_millis(2_500));
    let replies = add(&mut s, FlowMod { importance: 6, ..flow(3) });
    assert_eq!(removed(&replies), [(1, FlowRemovedReason::Eviction)], "of equals the older");
    let gone = replies.iter().find_map(|m| match m {
        Message::FlowRemoved(gone) => Some(gone.duration),
        _ => None,
    });
    assert_eq!(gone, Some(Duration::from_millis(2_500)));
    let refused = add(&mut s, FlowMod { importance: 4, ..flow(4) });
    assert_eq!(error(&refused), Some(FlowModFailed::TableFull.into()), "nothing is less important");
    assert_eq!(cookies(&mut s), [0, 2, 3]);
    // Off again.
    assert_eq!(s.control(configure(0, None, None)), []);
    assert_eq!(
        error(&add(&mut s, FlowMod { importance: 99, ..flow(5) })),
        Some(FlowModFailed::TableFull.into())
    );
}

#[test]
fn traffic_keeps_a_flow_that_would_end_soonest() {
    let mut s = switch(2);
    s.control(configure(TABLE_EVICTION, Some(LIFETIME), None));
    s.flow(FlowMod { idle_timeout: 10, ..flow(0) });
    s.flow(FlowMod { idle_timeout: 12, ..flow(1) });
    assert_eq!(
        removed(&add(&mut s, FlowMod { idle_timeout: 30, ..flow(2) })),
        [(0, FlowRemovedReason::Eviction)]
    );
    s.advance(Duration::from_secs(8));
    s.flow(FlowMod { idle_timeout: 12, ..flow(1) });
    delete(&mut s, 2);
    s.flow(FlowMod { hard_timeout: 15, ..flow(2) });
    s.messages();
    s.advance(Duration::from_secs(6));
    let frame = build::ethernet(MacAddr([2; 6]), MacAddr::from_u64(1)).ipv4([1; 4], [2; 4]).udp(1, 2, b"");
    s.receive(PortNo(1), &frame);
    s.idle();
    let replies = add(&mut s, flow(3));
    assert_eq!(removed(&replies), [(2, FlowRemovedReason::Eviction)], "the other was just used");
}

#[test]
fn vacancy_is_told_once_in_each_direction() {
    let mut s = switch(10);
    assert_eq!(s.control(configure(TABLE_VACANCY_EVENTS, None, Some((20, 50)))), []);
    let mut events = Vec::new();
    let mut step = |s: &mut Standalone, n: u64, there: bool| {
        let replies = if there {
            add(s, flow(n))
        } else {
            s.control(Message::FlowMod(FlowMod { command: FlowModCommand::DeleteStrict, ..flow(n) }))
        };
        for reply in replies {
            if let Message::TableStatus(status) = reply {
                events.push((n, there, status.reason, status.desc.vacancy.expect("it tells").current));
            }
        }
    };
    (0..10).for_each(|n| step(&mut s, n, true));
    (0..6).for_each(|n| step(&mut s, n, false));
    (0..5).for_each(|n| step(&mut s, n, true));
    assert_eq!(
        events,
        [
            (8, true, TableReason::VacancyDown, 10),
            (5, false, TableReason::VacancyUp, 60),
            (4, true, TableReason::VacancyDown, 10),
        ]
    );
    let desc = descs(&mut s)[0];
    assert_eq!(
        (desc.config, desc.vacancy),
        (TABLE_VACANCY_EVENTS, Some(Vacancy { down: 20, up: 50, current: 10 }))
    );
    // Configured again while little is free: that more is free is told next.
    assert_eq!(s.control(configure(TABLE_VACANCY_EVENTS, None, None)), []);
    let told = |s: &mut Standalone, n| {
        delete(s, n);
        s.messages().iter().any(|m| matches!(m, Message::TableStatus(_)))
    };
    assert!(!told(&mut s, 0));
    assert_eq!(s.control(configure(0, None, None)), []);
    s.flow(FlowMod::delete_all());
    assert!(!s.messages().iter().any(|m| matches!(m, Message::TableStatus(_))), "it tells nothing any more");
}

#[test]
fn bad_table_mods_change_nothing() {
    let mut s = switch(10);
    s.control(configure(TABLE_EVICTION | TABLE_VACANCY_EVENTS, Some(OTHER), Some((10, 20))));
    let before = descs(&mut s);
    let everywhere = TableMod { table: TableId(3), config: 0, eviction: None, vacancy: None };
    for (message, expected) in [
        (configure(1 << 4, None, None), ErrorKind::from(TableModFailed::BadConfig)),
        (configure(0, Some(8), None), BadProperty::BadValue.into()),
        (configure(0, None, Some((30, 20))), BadProperty::BadValue.into()),
        (configure(0, None, Some((30, 101))), BadProperty::BadValue.into()),
        (Message::TableMod(everywhere), TableModFailed::BadTable.into()),
    ] {
        assert_eq!(error(&s.control(message)), Some(expected));
        assert_eq!(descs(&mut s), before);
    }
    assert_eq!(before[0].config, TABLE_EVICTION | TABLE_VACANCY_EVENTS);
    assert_eq!((before[0].eviction, before[1].config), (Some(OTHER), 0));
    let all = TableMod { table: TableId::ALL, config: TABLE_EVICTION, eviction: None, vacancy: None };
    assert_eq!(s.control(Message::TableMod(all)), []);
    assert!(descs(&mut s).iter().all(|desc| desc.config == TABLE_EVICTION));
}

/// A flow of the model: cookie, importance, when it ends.
type Known = (u64, u16, Option<Instant>);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The index of what goes first against a scan of what is there.
    #[test]
    fn what_goes_is_what_a_scan_would_choose(
        flags in 0u32..8,
        ops in prop::collection::vec((0u64..30, 0u16..4, 0u16..3, any::<bool>(), 0u64..3), 1..80),
    ) {
        let mut s = switch(6);
        s.control(configure(TABLE_EVICTION, Some(flags), None));
        // In the order of installation.
        let mut model: Vec<Known> = Vec::new();
        for (n, importance, timeout, deletes, seconds) in ops {
            if deletes {
                delete(&mut s, n);
                model.retain(|known| known.0 != n);
                s.messages();
                s.advance(Duration::from_secs(seconds));
                model.retain(|known| known.2.is_none_or(|end| end > s.now));
                s.messages();
                continue;
            }
            // Long enough that they differ, short enough that some expire.
            let hard_timeout = if timeout == 0 { 0 } else { 10 * timeout + (n % 7) as u16 };
            let mut victim = None;
            let mut refused = false;
            if !model.iter().any(|known| known.0 == n) && model.len() == 6 {
                let first = |known: &&Known| {
                    let importance = if flags & IMPORTANCE != 0 { known.1 } else { 0 };
                    let end = if flags & LIFETIME != 0 { known.2 } else { None };
                    (importance, end.is_none(), end)
                };
                let chosen = *model.iter().min_by_key(first).expect("six");
                refused = chosen.1 > importance;
                victim = (!refused).then_some(chosen.0);
            }
            let replies = add(&mut s, FlowMod { importance, hard_timeout, ..flow(n) });
            prop_assert_eq!(error(&replies).is_some(), refused);
            let expected: Vec<_> = victim.map(|n| (n, FlowRemovedReason::Eviction)).into_iter().collect();
            prop_assert_eq!(removed(&replies), expected);
            model.retain(|known| Some(known.0) != victim && (refused || known.0 != n));
            if !refused {
                let end = (hard_timeout > 0).then(|| s.now + Duration::from_secs(hard_timeout.into()));
                model.push((n, importance, end));
            }
            let mut known: Vec<u64> = model.iter().map(|known| known.0).collect();
            known.sort_unstable();
            prop_assert_eq!(cookies(&mut s), known);
        }
    }
}
