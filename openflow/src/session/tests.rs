use super::*;
use crate::error::BadRequest;
use crate::{PacketIn, Request};

const NOW: Instant = Instant::from_secs(100);

fn pair() -> (Session, Session) {
    let switch = Session::new(NOW, Side::Switch, SessionConfig::default());
    let controller = Session::new(NOW, Side::Controller, SessionConfig::default());
    (switch, controller)
}

/// Moves everything that waits from one to the other; returns its events.
fn deliver(now: Instant, from: &mut Session, to: &mut Session) -> Vec<Event> {
    if let Some(bytes) = from.poll_transmit() {
        to.handle_bytes(now, bytes);
        let n = bytes.len();
        from.handle_transmitted(now, n);
    }
    core::iter::from_fn(|| to.poll_event()).collect()
}

fn established() -> (Session, Session) {
    let (mut switch, mut controller) = pair();
    assert_eq!(deliver(NOW, &mut switch, &mut controller), [Event::Established(Version::V13)]);
    assert_eq!(deliver(NOW, &mut controller, &mut switch), [Event::Established(Version::V13)]);
    (switch, controller)
}

#[test]
fn hellos_agree_on_a_version() {
    established();
}

#[test]
fn nothing_in_common_is_said_and_ends_it() {
    let (mut switch, _) = pair();
    // A hello of 1.0 without a bitmap.
    switch.handle_bytes(NOW, &[1, 0, 0, 8, 0, 0, 0, 9]);
    assert_eq!(switch.poll_event(), Some(Event::Closed(CloseReason::Incompatible(0b11))));
    let sent = switch.poll_transmit().expect("hello and error");
    let (xid, message) = codec::decode(Version::V13, &sent[16..]).expect("an error");
    assert_eq!(xid, Xid(9));
    assert!(matches!(message, Message::Error(Error { kind: ErrorKind::HelloFailed(_), .. })));
    assert!(switch.poll_timeout().is_none() && switch.poll_event().is_none());
}

#[test]
fn a_newer_peer_with_a_bitmap_is_fine() {
    let (mut switch, _) = pair();
    switch.handle_bytes(NOW, &[6, 0, 0, 16, 0, 0, 0, 9, 0, 1, 0, 8, 0, 0, 0, 0x52]);
    assert_eq!(switch.poll_event(), Some(Event::Established(Version::V13)));
}

#[test]
fn bitmaps_and_numbers_choose_among_what_is_offered() {
    use Version::{V10, V13, V14};
    let bitmap = |version: u8, bits: u32| {
        let [a, b, c, d] = bits.to_be_bytes();
        vec![version, 0, 0, 16, 0, 0, 0, 9, 0, 1, 0, 8, a, b, c, d]
    };
    let number = |version: u8| vec![version, 0, 0, 8, 0, 0, 0, 9];
    let all = [V10, V13, V14];
    let cases: &[(&[Version], Vec<u8>, Option<Version>)] = &[
        // Without a bitmap: the lower of the two highest, or what is spoken below it.
        (&all, number(1), Some(V10)),
        (&all, number(2), Some(V10)),
        (&all, number(4), Some(V13)),
        (&all, number(5), Some(V14)),
        (&all, number(6), Some(V14)),
        (&[V10, V14], number(4), Some(V10)),
        (&[V13], number(1), None),
        (&[V10], number(6), Some(V10)),
        // With one: the highest in both, whatever the number says.
        (&all, bitmap(6, 1 << 1 | 1 << 6), Some(V10)),
        (&all, bitmap(1, 1 << 1 | 1 << 4), Some(V13)),
        (&all, bitmap(4, 1 << 2 | 1 << 3), None),
        (&[V10], bitmap(5, 1 << 4 | 1 << 5), None),
    ];
    for (versions, hello, expected) in cases {
        let config = SessionConfig { versions: versions.to_vec(), ..SessionConfig::default() };
        let mut switch = Session::new(NOW, Side::Switch, config);
        let ours = switch.poll_transmit().map_or(0, <[u8]>::len);
        switch.handle_bytes(NOW, hello);
        match (switch.poll_event(), expected) {
            (Some(Event::Established(version)), Some(expected)) => assert_eq!(version, *expected),
            (Some(Event::Closed(CloseReason::Incompatible(_))), None) => {
                let sent = &switch.poll_transmit().expect("an error")[ours..];
                let highest = versions.iter().max().expect("one");
                let Ok((Xid(9), Message::Error(error))) = codec::decode(*highest, sent) else {
                    panic!("no error: {sent:02x?}")
                };
                assert_eq!(error.kind, HelloFailed::Incompatible.into());
                assert!(error.data.starts_with(b"we support versions"), "a text for people");
            }
            other => panic!("{versions:?} and {hello:02x?}: {other:?}"),
        }
    }
}

#[test]
fn a_request_before_the_hello_ends_it() {
    for version in Version::ALL {
        let config = SessionConfig { versions: Version::ALL.to_vec(), ..SessionConfig::default() };
        let mut switch = Session::new(NOW, Side::Switch, config);
        switch.handle_bytes(NOW, &[version.number(), 5, 0, 8, 0, 0, 0, 9]);
        assert_eq!(switch.poll_event(), Some(Event::Closed(CloseReason::NoHello)));
    }
}

#[test]
fn silence_is_probed_and_then_ends_it() {
    let (mut switch, mut controller) = established();
    let due = switch.poll_timeout().expect("echo interval");
    switch.handle_timeout(due);
    assert!(deliver(due, &mut switch, &mut controller).is_empty(), "echoes are no events");
    assert!(deliver(due, &mut controller, &mut switch).is_empty());
    let due = switch.poll_timeout().expect("answered, so the interval again");
    assert_eq!(due, NOW + Duration::from_secs(10));
    switch.handle_timeout(due);
    assert_eq!(switch.poll_event(), None);
    switch.handle_timeout(switch.poll_timeout().expect("echo timeout"));
    assert_eq!(switch.poll_event(), Some(Event::Closed(CloseReason::EchoTimeout)));
}

#[test]
fn a_message_that_never_ends_is_not_waited_for() {
    let (mut switch, _controller) = established();
    // A byte a second of an echo request of 64 kB: no silence, and nothing said.
    let mut bytes = [4, 2, 0xff, 0xff, 0, 0, 0, 1].into_iter().chain(core::iter::repeat(0));
    let mut now = NOW;
    let closed = loop {
        now = now + Duration::from_secs(1);
        switch.handle_bytes(now, &[bytes.next().expect("endless")]);
        if let Some(event) = switch.poll_event() {
            break event;
        }
        switch.handle_timeout(now);
        assert!(now < NOW + Duration::from_secs(30), "it went on");
    };
    assert_eq!(closed, Event::Closed(CloseReason::MessageTimeout));
    // A long message in good time is none of that.
    let (mut switch, _controller) = established();
    for n in 0..14 {
        let now = NOW + Duration::from_secs(n);
        let part = if n == 0 { vec![4, 2, 0, 21, 0, 0, 0, 1] } else { vec![0] };
        switch.handle_bytes(now, &part);
        assert_eq!(switch.poll_event(), None);
        switch.handle_timeout(now);
    }
    assert_eq!(switch.backlog(), 21, "the echo reply");
}

#[test]
fn a_peer_that_reads_nothing_is_given_up_by_that_name() {
    let (mut switch, _controller) = established();
    let many = Message::EchoReply(vec![0; 60_000]);
    while switch.wants_input() {
        switch.send(Xid(0), &many).expect("established");
    }
    let due = switch.poll_timeout().expect("echo interval");
    switch.handle_timeout(due);
    switch.handle_timeout(switch.poll_timeout().expect("echo timeout"));
    assert!(matches!(switch.poll_event(), Some(Event::Closed(CloseReason::TooMuchUnread(n))) if n > 1 << 20));
}

#[test]
fn no_hello_in_time() {
    let (mut switch, _) = pair();
    switch.handle_timeout(switch.poll_timeout().expect("hello timeout"));
    assert_eq!(switch.poll_event(), Some(Event::Closed(CloseReason::HelloTimeout)));
}

#[test]
fn tls_where_plain_text_is_spoken_is_told_apart() {
    for record in [&[0x16, 3, 1, 2, 0, 1, 0][..], &[0x15, 3, 3, 0, 2, 2, 70]] {
        let (mut switch, _) = pair();
        switch.handle_bytes(NOW, record);
        assert_eq!(switch.poll_event(), Some(Event::Closed(CloseReason::Tls)));
    }
}

#[test]
fn garbage_first_ends_it() {
    let (mut switch, _) = pair();
    switch.handle_bytes(NOW, b"GET / HTTP/1.1\r\n\r\n");
    switch.handle_bytes(NOW, &[0; 0x5420]);
    assert_eq!(switch.poll_event(), Some(Event::Closed(CloseReason::NoHello)));
}

#[test]
fn a_bad_message_costs_an_error_reply() {
    let (mut switch, mut controller) = established();
    let bad = [4, 99, 0, 8, 0, 0, 0, 77];
    switch.handle_bytes(NOW, &bad);
    let kind = BadRequest::BadType.into();
    assert_eq!(switch.poll_event(), Some(Event::Refused { xid: Xid(77), kind }));
    let events = deliver(NOW, &mut switch, &mut controller);
    let error = Message::Error(Error { kind, data: bad.to_vec() });
    assert_eq!(events, [Event::Message { xid: Xid(77), message: error }]);
}

#[test]
fn an_error_quotes_the_request() {
    let (mut switch, mut controller) = established();
    let xid = controller.request(&Message::BarrierRequest).expect("established");
    deliver(NOW, &mut controller, &mut switch);
    switch.send(xid, &Message::Error(Error::new(BadRequest::Eperm))).expect("established");
    let events = deliver(NOW, &mut switch, &mut controller);
    let [Event::Message { message: Message::Error(error), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(error.data.len(), 8);
}

#[test]
fn replies_in_parts_arrive_whole() {
    let (mut switch, mut controller) = established();
    let stats = crate::TableStats::default();
    let body = Reply::Table(vec![stats; 5000]);
    let request = Message::MultipartRequest(crate::MultipartRequest { more: false, body: Request::Table });
    let xid = controller.request(&request).expect("established");
    deliver(NOW, &mut controller, &mut switch);
    let message = Message::MultipartReply(MultipartReply { more: false, body });
    switch.send(xid, &message).expect("established");
    assert!(switch.backlog() > codec::MAX_LEN);
    assert_eq!(deliver(NOW, &mut switch, &mut controller), [Event::Message { xid, message }]);
}

#[test]
fn a_peer_that_does_not_read_costs_bounded_memory() {
    let (mut switch, mut controller) = established();
    let packet_in = Message::PacketIn(PacketIn {
        buffer: None,
        total_len: 1500,
        reason: crate::PacketInReason::NoMatch,
        table: crate::TableId(0),
        cookie: crate::Cookie(0),
        matches: crate::Match::ANY,
        data: vec![0; 1500],
    });
    while switch.send(Xid(0), &packet_in) == Ok(()) {}
    assert!(switch.backlog() < (1 << 20) + 2000 && !switch.wants_input());
    assert_eq!(switch.counters().tx_dropped, 1);
    controller.request(&Message::BarrierRequest).expect("established");
    assert_eq!(deliver(NOW, &mut controller, &mut switch), [], "requests wait until the peer reads");
    assert!(deliver(NOW, &mut switch, &mut controller).len() > 600);
    assert_eq!(deliver(NOW, &mut controller, &mut switch).len(), 1);
}

#[test]
fn a_lying_length_ends_it() {
    let (mut switch, _controller) = established();
    switch.handle_bytes(NOW, &[4, 2, 0, 3, 0, 0, 0, 1]);
    assert_eq!(switch.poll_event(), Some(Event::Closed(CloseReason::Desynchronised(Desynchronised(3)))));
}

#[test]
fn the_highest_version_in_common_is_spoken() {
    let both = SessionConfig { versions: vec![Version::V13, Version::V14], ..SessionConfig::default() };
    for (theirs, expected) in [(vec![Version::V13], Version::V13), (vec![Version::V14], Version::V14)] {
        let mut switch = Session::new(NOW, Side::Switch, both.clone());
        let theirs = SessionConfig { versions: theirs, ..SessionConfig::default() };
        let mut controller = Session::new(NOW, Side::Controller, theirs);
        assert_eq!(deliver(NOW, &mut switch, &mut controller), [Event::Established(expected)]);
        assert_eq!(deliver(NOW, &mut controller, &mut switch), [Event::Established(expected)]);
        let xid = controller.request(&Message::BarrierRequest).expect("established");
        let events = deliver(NOW, &mut controller, &mut switch);
        assert_eq!(events, [Event::Message { xid, message: Message::BarrierRequest }]);
    }
}
