//! Requests recorded from real tools, each length in them made wrong, and each type one that nobody defined: the switch
//! behind its session answers with the error of the standard, quotes the request, changes nothing and goes on.

use std::path::Path;

use openflow::error::{
    BadAction, BadInstruction, BadMatch, BadProperty, BadRequest, GroupModFailed, TableFeaturesFailed,
};
use openflow::{
    Dpid, Error, ErrorKind, Event, FlowStatsRequest, GroupId, Hello, Message, MeterId, MultipartRequest,
    Request, Session, SessionConfig, Side, Version, Xid, codec,
};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

/// A structure whose length or type is made wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Match,
    Oxm,
    Instruction,
    Action,
    SetField,
    ActionList,
    Bucket,
    Band,
    Property,
    TableFeatures,
    TableFeature,
}

/// Where something is in a message.
#[derive(Clone, Copy, Debug)]
struct Place {
    what: What,
    /// Of its length, of one byte for an OXM and of two for all else.
    len_at: usize,
    /// Of its type, if it has one.
    kind_at: Option<usize>,
    /// It is inside something of the same message whose length depends on its own; the first of each list is not.
    len: usize,
}

/// Finds structures in a message that is right.
struct Walk<'a> {
    bytes: &'a [u8],
    places: Vec<Place>,
}

impl Walk<'_> {
    fn word(&self, at: usize) -> usize {
        usize::from(u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    fn note(&mut self, what: What, len_at: usize, kind_at: Option<usize>) -> usize {
        let len = if what == What::Oxm { usize::from(self.bytes[len_at]) } else { self.word(len_at) };
        self.places.push(Place { what, len_at, kind_at, len });
        len
    }

    fn matches(&mut self, at: usize) -> usize {
        let len = self.note(What::Match, at + 2, Some(at));
        let mut oxm = at + 4;
        while oxm < at + len {
            oxm += 4 + self.note(What::Oxm, oxm + 3, Some(oxm));
        }
        at + len.next_multiple_of(8)
    }

    fn instructions(&mut self, mut at: usize, end: usize) {
        while at < end {
            let len = self.note(What::Instruction, at + 2, Some(at));
            if matches!(self.word(at), 3 | 4) {
                self.actions(at + 8, at + len);
            }
            at += len;
        }
    }

    fn actions(&mut self, mut at: usize, end: usize) {
        while at < end {
            let set_field = self.word(at) == 25 && self.bytes[0] >= 4;
            at += self.note(if set_field { What::SetField } else { What::Action }, at + 2, Some(at));
        }
    }

    fn list(&mut self, what: What, mut at: usize, (len_at, kind_at): (usize, Option<usize>)) {
        while at < self.bytes.len() {
            let len = self.note(what, at + len_at, kind_at.map(|k| at + k));
            match what {
                What::Bucket => self.actions(at + 16, at + len),
                What::TableFeatures => {
                    let mut feature = at + 64;
                    while feature < at + len {
                        feature += self.note(What::TableFeature, feature + 2, None).next_multiple_of(8);
                    }
                }
                _ => {}
            }
            at += len.next_multiple_of(8);
        }
    }

    fn message(&mut self) {
        let (version, kind, end) = (self.bytes[0], self.bytes[1], self.bytes.len());
        match (version, kind) {
            (1, 14) => self.actions(72, end),
            (1, 13) => {
                let len = self.note(What::ActionList, 14, None);
                self.actions(16, 16 + len);
            }
            (4 | 5, 14) => {
                let at = self.matches(48);
                self.instructions(at, end);
            }
            (4 | 5, 13) => {
                let len = self.note(What::ActionList, 16, None);
                self.actions(24, 24 + len);
            }
            (4 | 5, 15) => self.list(What::Bucket, 16, (0, None)),
            (4 | 5, 29) => self.list(What::Band, 16, (2, Some(0))),
            (4 | 5, 18) if matches!(self.word(8), 1 | 2) => drop(self.matches(48)),
            (4 | 5, 18) if self.word(8) == 12 => self.list(What::TableFeatures, 16, (0, None)),
            (5, 17) => self.list(What::Property, 16, (2, Some(0))),
            (5, 16) => self.list(What::Property, 32, (2, Some(0))),
            (5, 28) => self.list(What::Property, 8, (2, Some(0))),
            _ => {}
        }
    }
}

/// The error for a length that is zero or beyond the end of the message.
fn wrong_length(what: What, version: Version) -> ErrorKind {
    match what {
        What::Match | What::Oxm => BadMatch::BadLen.into(),
        What::Instruction => BadInstruction::BadLen.into(),
        What::Action | What::SetField => BadAction::BadLen.into(),
        What::Bucket => GroupModFailed::BadBucket.into(),
        // As Open vSwitch answers them.
        What::Band | What::ActionList => BadRequest::BadLen.into(),
        What::Property => BadProperty::BadLen.into(),
        What::TableFeatures | What::TableFeature if version == Version::V14 => BadProperty::BadLen.into(),
        What::TableFeatures | What::TableFeature => TableFeaturesFailed::BadLen.into(),
    }
}

/// The error for a type that nobody defined; `None` where it is judged with other things first.
fn wrong_type(what: What) -> Option<ErrorKind> {
    Some(match what {
        What::Match => BadMatch::BadType.into(),
        What::Oxm => BadMatch::BadField.into(),
        What::Instruction => BadInstruction::UnknownInst.into(),
        What::Action | What::SetField => BadAction::BadType.into(),
        What::Band => openflow::error::MeterModFailed::BadBand.into(),
        What::Property => BadProperty::BadType.into(),
        _ => return None,
    })
}

/// A switch with its session, as the shell joins them.
struct Peer {
    version: Version,
    session: Session,
    s: Standalone,
    sent: usize,
}

impl Peer {
    fn new(version: Version) -> Self {
        let config = SwitchConfig { seed: Some(3), ..SwitchConfig::new(Dpid(1), "s1") };
        let s = Standalone::new(config, 4);
        let config =
            SessionConfig { versions: vec![version], tx_hard_limit: 1 << 30, ..SessionConfig::default() };
        let mut session = Session::new(s.now, Side::Switch, config);
        let mut hello = Vec::new();
        let versions = Some(1 << version.number());
        codec::encode(version, Xid(1), &Message::Hello(Hello { versions }), &mut hello).expect("a hello");
        session.handle_bytes(s.now, &hello);
        let mut this = Self { version, session, s, sent: 0 };
        assert_eq!(this.session.poll_event(), Some(Event::Established(version)));
        this.replies();
        this
    }

    /// Sends bytes; returns every answer.
    fn send(&mut self, bytes: &[u8]) -> Vec<(Xid, Message)> {
        self.session.handle_bytes(self.s.now, bytes);
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Message { xid, message } => {
                    for answer in self.s.control(message) {
                        self.session.send(xid, &answer).expect("an answer of this version");
                    }
                }
                Event::Refused { .. } => {}
                other => panic!("{other:?} after {bytes:02x?}"),
            }
        }
        self.replies()
    }

    fn replies(&mut self) -> Vec<(Xid, Message)> {
        let bytes = self.session.poll_transmit().unwrap_or_default().to_vec();
        self.session.handle_transmitted(self.s.now, bytes.len());
        self.sent += bytes.len();
        let mut framer = openflow::frame::Framer::new();
        framer.push(&bytes);
        let mut all = Vec::new();
        while let Some(message) = framer.take().expect("in step") {
            all.push(codec::decode(self.version, message).expect("what a switch sends"));
        }
        all
    }

    /// Everything that requests can change.
    fn state(&mut self) -> Vec<Message> {
        let ask = |body| Message::MultipartRequest(MultipartRequest { more: false, body });
        let requests = [
            ask(Request::Flow(FlowStatsRequest::default())),
            ask(Request::GroupDesc),
            ask(Request::MeterConfig(MeterId::ALL)),
            ask(Request::PortDesc),
            ask(Request::TableDesc),
            ask(Request::Group(GroupId::ALL)),
            Message::GetConfigRequest,
            Message::GetAsyncRequest,
        ];
        requests.into_iter().flat_map(|request| self.s.control(request)).collect()
    }

    /// Sends a request that is wrong; returns the error.
    fn refuses(&mut self, name: &str, bytes: &[u8]) -> Option<ErrorKind> {
        let before = self.state();
        let answers = self.send(bytes);
        let [(xid, Message::Error(Error { kind, data }))] = &answers[..] else { return None };
        assert_eq!(xid.0.to_be_bytes(), bytes[4..8], "{name}: the transaction is the request's");
        let quoted = bytes.len().min(codec::ERROR_DATA_LEN);
        assert!(quoted >= 64.min(bytes.len()));
        assert_eq!(data, &bytes[..quoted], "{name}: the request is quoted");
        assert_eq!(self.state(), before, "{name}: nothing has changed");
        let echo = [self.version.number(), 2, 0, 9, 0, 0, 0, 77, 5];
        assert_eq!(
            self.send(&echo),
            [(Xid(77), Message::EchoReply(vec![5]))],
            "{name}: the connection goes on"
        );
        Some(*kind)
    }
}

const VERSIONS: [(&str, Version); 3] = [("v10", Version::V10), ("v13", Version::V13), ("v14", Version::V14)];

/// The recorded requests of a version by name, long ones left out: their structures are those of the short ones.
fn requests(folder: &str) -> Vec<(String, Vec<u8>)> {
    const KINDS: [&str; 17] = [
        "flow_mod",
        "group_mod",
        "meter_mod",
        "port_mod",
        "table_mod",
        "packet_out",
        "multipart_request",
        "stats_request",
        "set_config",
        "role_request",
        "set_async",
        "queue_get_config_request",
        "get_async_request",
        "features_request",
        "get_config_request",
        "barrier_request",
        "bundle_control",
    ];
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openflow/tests/vectors").join(folder);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the vectors") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if !KINDS.iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a vector");
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("digits");
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        if bytes.len() < 4000 {
            all.push((format!("{folder}/{name}"), bytes));
        }
    }
    assert!(all.len() > 25, "{} requests", all.len());
    all.sort();
    all
}

fn places(bytes: &[u8]) -> Vec<Place> {
    let mut walk = Walk { bytes, places: Vec::new() };
    walk.message();
    walk.places
}

fn with_length(bytes: &[u8], place: &Place, len: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    match place.what {
        What::Oxm => changed[place.len_at] = len as u8,
        _ => changed[place.len_at..place.len_at + 2].copy_from_slice(&(len as u16).to_be_bytes()),
    }
    changed
}

#[test]
fn every_length_inside_a_request_too_small_and_too_large_is_refused() {
    let (mut n, mut wrong) = (0, Vec::new());
    for (folder, version) in VERSIONS {
        let mut peer = Peer::new(version);
        for (name, bytes) in requests(folder) {
            // Fields of other people's, which are refused whatever else is wrong.
            if codec::decode(version, &bytes).is_err() {
                continue;
            }
            for place in places(&bytes) {
                let most = if place.what == What::Oxm { 0xff } else { 0xfff8 };
                // An empty list of actions is one; what is in it is then taken for the frame.
                let least = if place.what == What::ActionList { None } else { Some(0) };
                for len in least.into_iter().chain([most]) {
                    let what = format!("{name}: {place:?} with length {len}");
                    let kind = peer.refuses(&what, &with_length(&bytes, &place, len));
                    let expected = wrong_length(place.what, version);
                    if kind != Some(expected) {
                        wrong.push(format!("{what}: {kind:?}, expected {expected}"));
                    }
                    n += 1;
                }
                // Near misses shift what follows, so that other errors may come first; none is taken for right.
                for len in [place.len.wrapping_sub(1), place.len + 1] {
                    let what = format!("{name}: {place:?} with length {len}");
                    let kind = peer.refuses(&what, &with_length(&bytes, &place, len));
                    if kind.is_none() {
                        wrong.push(format!("{what}: accepted"));
                    }
                    n += 1;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{n} wrong lengths refused");
    assert!(n > 1000, "{n}");
}

#[test]
fn every_message_too_short_and_too_long_is_refused() {
    let (mut n, mut wrong) = (0, Vec::new());
    for (folder, version) in VERSIONS {
        let mut peer = Peer::new(version);
        for (name, bytes) in requests(folder) {
            for by in [-4i32, -1, 1, 4] {
                let mut changed = bytes.clone();
                let len = usize::try_from(bytes.len() as i32 + by).expect("it was longer than that").max(8);
                // Ones: zeros could be properties or instructions without a length.
                changed.resize(len, 0xff);
                changed[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                // Data of any length ends a packet-out; and what has no body cannot be shorter.
                // As do an experimenter's.
                if name.contains("experimenter")
                    || name.contains("packet_out")
                    || len == bytes.len()
                    || codec::decode(version, &bytes).is_err()
                {
                    continue;
                }
                let what = format!("{name} longer by {by}");
                let kind = peer.refuses(&what, &changed);
                let is_length = |kind: ErrorKind| {
                    kind.to_string().contains("BAD_LEN") || kind == GroupModFailed::BadBucket.into()
                };
                if !kind.is_some_and(is_length) {
                    wrong.push(format!("{what}: {kind:?}"));
                }
                n += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{n} wrong messages refused");
    assert!(n > 300, "{n}");
}

#[test]
fn what_nobody_defined_is_refused() {
    let (mut n, mut wrong) = (0, Vec::new());
    for (folder, version) in VERSIONS {
        let mut peer = Peer::new(version);
        for (name, bytes) in requests(folder) {
            if codec::decode(version, &bytes).is_err() {
                continue;
            }
            let mut cases = vec![(1, vec![99], Some(BadRequest::BadType.into()))];
            if name.contains("multipart_request") || name.contains("stats_request") {
                cases.push((8, vec![0x77, 0x77], Some(BadRequest::BadMultipart.into())));
            }
            for place in places(&bytes) {
                let Some((at, expected)) = place.kind_at.zip(wrong_type(place.what)) else { continue };
                // Flows of a deletion have no instructions that could be wrong.
                let deletes = name.contains("flow_mod") && bytes[25] >= 3 && version != Version::V10;
                let judged =
                    deletes && matches!(place.what, What::Instruction | What::Action | What::SetField);
                cases.push((at, vec![0x12, 0x34], Some(expected).filter(|_| !judged)));
            }
            for (at, change, expected) in cases {
                let Some(expected) = expected else { continue };
                let mut changed = bytes.clone();
                changed[at..at + change.len()].copy_from_slice(&change);
                let what = format!("{name} with {change:02x?} at {at}");
                let kind = peer.refuses(&what, &changed);
                // What else is wrong with it in a switch without groups and meters may come first.
                let other = || Peer::new(version).refuses(&name, &bytes);
                if kind != Some(expected) && (kind.is_none() || kind != other()) {
                    wrong.push(format!("{what}: {kind:?}, expected {expected}"));
                }
                n += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{n} unknown types refused");
    assert!(n > 500, "{n}");
}
