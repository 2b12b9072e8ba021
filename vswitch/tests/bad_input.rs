//! Requests recorded from real tools, each length in them made wrong, and each type one that nobody defined: the switch
//! behind its session answers with the error of the standard, quotes the request, changes nothing and goes on.

use std::collections::BTreeSet;
use std::path::Path;

use openflow::error::{
    AsyncConfigFailed, BadAction, BadInstruction, BadMatch, BadProperty, BadRequest, BundleFailed,
    FlowModFailed, GroupModFailed, MeterModFailed, PortModFailed, QueueOpFailed, RoleRequestFailed,
    SwitchConfigFailed, TableFeaturesFailed, TableModFailed,
};
use openflow::{
    Action, AsyncChange, Band, BandKind, BundleAdd, BundleControl, BundleControlKind, BundleFlags, Dpid,
    Error, ErrorKind, Event, FlowMod, FlowStatsRequest, GroupId, Hello, Instruction, Match, Message,
    MeterFlags, MeterId, MeterMod, MeterModCommand, MultipartReply, MultipartRequest, PortNo, Reply, Request,
    Role, RoleRequest, Session, SessionConfig, Side, TableFeatures, TableId, TableMod, Version, Xid, codec,
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
    Bundled,
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

    /// A message that another carries.
    fn bundled(&mut self, at: usize) {
        self.note(What::Bundled, at + 2, None);
        for mut place in places(&self.bytes[at..]) {
            place.len_at += at;
            place.kind_at = place.kind_at.map(|kind| kind + at);
            self.places.push(place);
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
            (5, 34) => self.bundled(16),
            (4, 4) if end > 32 && self.bytes[12..16] == 2301u32.to_be_bytes() => self.bundled(24),
            _ => {}
        }
    }
}

/// The error for a length that is zero or beyond the end of the message.
fn wrong_length(what: What, version: Version, bytes: &[u8]) -> ErrorKind {
    match what {
        What::Band | What::ActionList if is_bundle_add(bytes) => BundleFailed::MsgBadLen.into(),
        What::Bundled => BundleFailed::MsgBadLen.into(),
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
fn wrong_type(what: What, bytes: &[u8]) -> Option<ErrorKind> {
    Some(match what {
        What::Property if bytes[1] == 28 => AsyncConfigFailed::Unsupported.into(),
        What::Match => BadMatch::BadType.into(),
        What::Oxm => BadMatch::BadField.into(),
        What::Instruction => BadInstruction::UnknownInst.into(),
        What::Action | What::SetField => BadAction::BadType.into(),
        What::Band => MeterModFailed::BadBand.into(),
        What::Property => BadProperty::BadType.into(),
        _ => return None,
    })
}

fn is_bundle_add(bytes: &[u8]) -> bool {
    matches!((bytes[0], bytes[1]), (5, 34) | (4, 4))
}

/// Numbers in the fixed part of a request that nobody defined: where, what, and the error for it.
fn wrong_numbers(version: Version, bytes: &[u8]) -> Vec<(usize, Vec<u8>, ErrorKind)> {
    let kind = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let mut all: Vec<(usize, &[u8], ErrorKind)> =
        vec![(0, &[9], BadRequest::BadVersion.into()), (1, &[99], BadRequest::BadType.into())];
    let more: &[(usize, &[u8], ErrorKind)] = match (version, bytes[1]) {
        (Version::V10, 9) | (_, 9) => &[(8, &[0xff, 0xff], SwitchConfigFailed::BadFlags.into())],
        (Version::V10, 14) => &[
            (56, &[0x12, 0x34], FlowModFailed::BadCommand.into()),
            (70, &[0x80, 0], FlowModFailed::BadFlags.into()),
        ],
        (Version::V10, 16) => &[(8, &[0x77, 0x77], BadRequest::BadMultipart.into())],
        (Version::V10, 15) => &[(8, &[0x77, 0x77], PortModFailed::BadPort.into())],
        (Version::V10, 13) => &[(8, &[1, 2, 3, 4], BadRequest::BufferUnknown.into())],
        (Version::V10, 4) => &[(8, &[1, 2, 3, 4], BadRequest::BadExperimenter.into())],
        (Version::V10, _) => &[],
        (_, 4) if kind(14) == 2300 => &[
            (8, &[1, 2, 3, 4], BadRequest::BadExperimenter.into()),
            (12, &[1, 2, 3, 4], BadRequest::BadExpType.into()),
            (20, &[0, 9], BundleFailed::BadType.into()),
            (22, &[0, 8], BundleFailed::BadFlags.into()),
        ],
        (_, 4) if kind(14) == 2301 => &[(22, &[0, 8], BundleFailed::BadFlags.into())],
        (_, 4) => &[(8, &[1, 2, 3, 4], BadRequest::BadExperimenter.into())],
        (_, 13) => &[(8, &[1, 2, 3, 4], BadRequest::BufferUnknown.into())],
        (_, 14) => &[
            (25, &[99], FlowModFailed::BadCommand.into()),
            (44, &[0x80, 0], FlowModFailed::BadFlags.into()),
            (24, &[200], FlowModFailed::BadTableId.into()),
        ],
        (_, 15) => &[
            (8, &[0x12, 0x34], GroupModFailed::BadCommand.into()),
            (10, &[99], GroupModFailed::BadType.into()),
        ],
        (_, 16) => &[
            (8, &[0x77; 4], PortModFailed::BadPort.into()),
            (16, &[0x77; 6], PortModFailed::BadHwAddr.into()),
        ],
        (_, 17) => &[
            (8, &[200], TableModFailed::BadTable.into()),
            (12, &[0x80, 0, 0, 0], TableModFailed::BadConfig.into()),
        ],
        (_, 18) => &[(8, &[0x77, 0x77], BadRequest::BadMultipart.into())],
        (Version::V13, 22) => &[(8, &[0x77; 4], QueueOpFailed::BadPort.into())],
        (_, 24) => &[(8, &[0, 0, 0, 9], RoleRequestFailed::BadRole.into())],
        (_, 29) => &[
            (8, &[0x12, 0x34], MeterModFailed::BadCommand.into()),
            (10, &[0x80, 0], MeterModFailed::BadFlags.into()),
        ],
        (_, 33) => {
            &[(12, &[0, 9], BundleFailed::BadType.into()), (14, &[0, 8], BundleFailed::BadFlags.into())]
        }
        (_, 34) => &[(14, &[0, 8], BundleFailed::BadFlags.into())],
        _ => &[],
    };
    all.extend(more);
    all.into_iter().map(|(at, change, error)| (at, change.to_vec(), as_told(version, error))).collect()
}

/// What a version calls an error.
fn as_told(version: Version, kind: ErrorKind) -> ErrorKind {
    let mut bytes = Vec::new();
    codec::encode(version, Xid(1), &Message::Error(Error { kind, data: vec![] }), &mut bytes)
        .expect("an error");
    match codec::decode(version, &bytes) {
        Ok((_, Message::Error(error))) => error.kind,
        other => panic!("{other:?}"),
    }
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
    const KINDS: [&str; 20] = [
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
        "bundle_add",
        "echo_request",
        "vendor",
    ];
    let mut all = recorded(folder, &KINDS);
    all.extend(made(folder));
    assert!(all.len() > 25, "{} requests", all.len());
    all.sort();
    all
}

/// The recorded messages of a version whose names begin so, but for long ones.
fn recorded(folder: &str, kinds: &[&str]) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openflow/tests/vectors").join(folder);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the vectors") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if !kinds.iter().any(|kind| name.starts_with(kind)) {
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
    all
}

/// Requests of types that no tool was recorded to send in this version.
fn made(folder: &str) -> Vec<(String, Vec<u8>)> {
    let (_, version) = VERSIONS.into_iter().find(|(name, _)| *name == folder).expect("a version");
    if version == Version::V10 {
        return Vec::new();
    }
    let bundle = |kind| BundleControl { bundle: 1, kind, flags: BundleFlags::ATOMIC };
    let flow = FlowMod {
        matches: Match::new().tcp_dst(80),
        instructions: vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])],
        ..FlowMod::default()
    };
    let bands = vec![Band { kind: BandKind::Drop, rate: 10, burst: 1 }];
    let meter = MeterMod { command: MeterModCommand::Add, flags: MeterFlags::KBPS, meter: MeterId(5), bands };
    let carry = |message| BundleAdd {
        bundle: 1,
        flags: BundleFlags::ATOMIC,
        xid: Xid(7),
        message: Box::new(message),
    };
    let mask = [Some(1), Some(3)];
    let asks =
        AsyncChange { packet_in: mask, port_status: mask, flow_removed: mask, ..AsyncChange::default() };
    let role = RoleRequest { role: Role::Equal, generation: 1 };
    let full = vswitch_table();
    let messages = [
        ("made_role_request", Message::RoleRequest(role)),
        (
            "made_table_mod",
            Message::TableMod(TableMod { table: TableId(1), config: 0, eviction: None, vacancy: None }),
        ),
        ("made_set_async", Message::SetAsync(asks)),
        ("made_get_async_request", Message::GetAsyncRequest),
        ("made_bundle_control", Message::BundleControl(bundle(BundleControlKind::OpenRequest))),
        ("made_bundle_add_flow", Message::BundleAdd(carry(Message::FlowMod(flow)))),
        ("made_bundle_add_meter", Message::BundleAdd(carry(Message::MeterMod(meter)))),
        ("made_experimenter", Message::Experimenter { experimenter: 0x2320, kind: 1, data: vec![0; 8] }),
        (
            "made_multipart_request_table_features",
            Message::MultipartRequest(MultipartRequest { more: false, body: Request::TableFeatures(full) }),
        ),
    ];
    let written = messages.into_iter().map(|(name, message)| {
        let mut bytes = Vec::new();
        codec::encode(version, Xid(7), &message, &mut bytes).expect("this version has it");
        (format!("{folder}/{name}"), bytes)
    });
    written.collect()
}

/// What the first table of a switch can do, as it says itself.
fn vswitch_table() -> Vec<TableFeatures> {
    let mut s = Standalone::new(SwitchConfig { n_tables: 1, ..SwitchConfig::default() }, 1);
    let body = Request::TableFeatures(Vec::new());
    match &s.control(Message::MultipartRequest(MultipartRequest { more: false, body }))[..] {
        [Message::MultipartReply(MultipartReply { body: Reply::TableFeatures(all), .. })] => all.clone(),
        other => panic!("{other:?}"),
    }
}

/// Calls `one` with each request of each version that is right, and a switch to send it to.
fn each_request(mut one: impl FnMut(&mut Peer, &str, &[u8])) {
    for (folder, version) in VERSIONS {
        let mut peer = Peer::new(version);
        for (name, bytes) in requests(folder) {
            // Fields of other people's, which are refused whatever else is wrong.
            if codec::decode(version, &bytes).is_ok() {
                one(&mut peer, &name, &bytes);
            }
        }
    }
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
    each_request(|peer, name, bytes| {
        for place in places(bytes) {
            let most = if place.what == What::Oxm { 0xff } else { 0xfff8 };
            // An empty list of actions is one; what is in it is then taken for the frame.
            let least = if place.what == What::ActionList { None } else { Some(0) };
            for len in least.into_iter().chain([most]) {
                let what = format!("{name}: {place:?} with length {len}");
                let kind = peer.refuses(&what, &with_length(bytes, &place, len));
                let expected = wrong_length(place.what, peer.version, bytes);
                if kind != Some(expected) {
                    wrong.push(format!("{what}: {kind:?}, expected {expected}"));
                }
                n += 1;
            }
            // Near misses shift what follows, so that other errors may come first; none is taken for right.
            for len in [place.len.wrapping_sub(1), place.len + 1] {
                let what = format!("{name}: {place:?} with length {len}");
                let kind = peer.refuses(&what, &with_length(bytes, &place, len));
                if kind.is_none() {
                    wrong.push(format!("{what}: accepted"));
                }
                n += 1;
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{n} wrong lengths refused");
    assert!(n > 1800, "{n}");
}

#[test]
fn every_message_too_short_and_too_long_is_refused() {
    let (mut n, mut wrong) = (0, Vec::new());
    each_request(|peer, name, bytes| {
        for by in [-4i32, -1, 1, 4] {
            let mut changed = bytes.to_vec();
            let len = usize::try_from(bytes.len() as i32 + by).expect("it was longer than that").max(8);
            // Ones: zeros could be properties or instructions without a length.
            changed.resize(len, 0xff);
            changed[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            // Data of any length ends a packet-out, an echo and what is an experimenter's; and what has no body cannot be
            // shorter.
            let has_data =
                ["experimenter", "vendor", "packet_out", "echo"].iter().any(|kind| name.contains(kind));
            if has_data || len == bytes.len() {
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
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{n} wrong messages refused");
    assert!(n > 700, "{n}");
}

#[test]
fn what_nobody_defined_is_refused() {
    let (mut n, mut n_masked, mut wrong, mut kinds) = (0, 0, Vec::new(), BTreeSet::new());
    each_request(|peer, name, bytes| {
        let version = peer.version;
        let mut cases = wrong_numbers(version, bytes);
        let inner = if is_bundle_add(bytes) { codec::bundled(bytes) } else { bytes };
        // Flows of a deletion have no instructions that could be wrong.
        let deletes = version != Version::V10 && inner.get(1) == Some(&14) && inner[25] >= 3;
        for place in places(bytes) {
            let Some((at, expected)) = place.kind_at.zip(wrong_type(place.what, bytes)) else { continue };
            let of_flow = matches!(place.what, What::Instruction | What::Action | What::SetField);
            // What a bundle holds is judged by the switch when it is committed, but for what the codec cannot read.
            let late = is_bundle_add(bytes) && !matches!(place.what, What::Match | What::Oxm);
            if !(of_flow && deletes || late) {
                cases.push((at, vec![0x12, 0x34], expected));
            }
        }
        for (at, change, expected) in cases {
            let mut changed = bytes.to_vec();
            changed[at..at + change.len()].copy_from_slice(&change);
            let what = format!("{name} with {change:02x?} at {at}");
            let kind = peer.refuses(&what, &changed);
            // What else is wrong with it in a switch without groups and meters may come first.
            let other = || Peer::new(version).refuses(name, bytes);
            match kind {
                Some(kind) if kind == expected => {}
                Some(kind) if Some(kind) == other() => n_masked += 1,
                kind => wrong.push(format!("{what}: {kind:?}, expected {expected}")),
            }
            n += 1;
        }
        let is_statistics = matches!((bytes[0], bytes[1]), (1, 16) | (4 | 5, 18));
        let part = if is_statistics { bytes[9] } else { 0 };
        kinds.insert((version.number(), bytes[1], part));
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{n} unknown numbers refused in {} types of request and statistics", kinds.len());
    println!("{n_masked} of them for what is wrong with the request anyhow");
    assert!(n > 1000 && n_masked < n / 10, "{n}, {n_masked}");
    // All that a controller may send, but for hellos, errors and replies to echoes, which are not answered.
    let of = |version: u8| kinds.iter().filter(|k| k.0 == version).map(|k| k.1).collect::<BTreeSet<_>>();
    assert_eq!(of(1).into_iter().collect::<Vec<_>>(), [2, 4, 5, 7, 9, 13, 14, 15, 16, 18, 20]);
    assert_eq!(
        of(4).into_iter().collect::<Vec<_>>(),
        [2, 4, 5, 7, 9, 13, 14, 15, 16, 17, 18, 20, 22, 24, 26, 28, 29]
    );
    assert_eq!(
        of(5).into_iter().collect::<Vec<_>>(),
        [2, 4, 5, 7, 9, 13, 14, 15, 16, 17, 18, 20, 24, 26, 28, 29, 33, 34]
    );
}

/// §7.1: what only a switch says is no request.
#[test]
fn what_only_a_switch_says_is_refused() {
    const KINDS: [&str; 9] = [
        "barrier_reply",
        "features_reply",
        "flow_removed",
        "get_async_reply",
        "get_config_reply",
        "packet_in",
        "port_status",
        "queue_get_config_reply",
        "role_reply",
    ];
    let (mut n, mut wrong) = (0, Vec::new());
    for (folder, version) in VERSIONS {
        let mut peer = Peer::new(version);
        for (name, bytes) in recorded(folder, &KINDS) {
            let kind = peer.refuses(&name, &bytes);
            if kind != Some(BadRequest::BadType.into()) {
                wrong.push(format!("{name}: {kind:?}"));
            }
            n += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{n} messages of switches refused");
    assert!(n > 20, "{n}");
}
