//! Whatever is encoded decodes to the same.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies::{flow_mod, mods, multiparts, of_14, packets, reply, request};
use super::*;
use crate::*;

fn round_trip(message: &Message) {
    for version in [Version::V13, Version::V14] {
        round_trip_in(version, message);
    }
}

fn round_trip_in(version: Version, message: &Message) {
    let mut bytes = Vec::new();
    encode(version, Xid(7), message, &mut bytes).expect("it can be written");
    assert_eq!(decode(version, &bytes), Ok((Xid(7), message.clone())), "{version:?}");
}

#[test]
fn errors_round_trip_in_14_where_it_has_them() {
    for &kind in ErrorKind::ALL {
        let renamed = matches!(
            kind,
            ErrorKind::TableFeaturesFailed(
                error::TableFeaturesFailed::BadType
                    | error::TableFeaturesFailed::BadLen
                    | error::TableFeaturesFailed::BadArgument
            )
        );
        if !renamed {
            round_trip_in(Version::V14, &Message::Error(Error { kind, data: vec![1, 2] }));
        }
    }
}

#[test]
fn bundles_are_an_extension_in_13() {
    let control =
        BundleControl { bundle: 7, kind: BundleControlKind::CommitRequest, flags: BundleFlags::ATOMIC };
    let mut bytes = Vec::new();
    encode(Version::V13, Xid(1), &Message::BundleControl(control), &mut bytes).expect("it can be written");
    // As ovs-ofctl writes it: experimenter 4f4e4600, type 2300, then as in 1.4.
    assert_eq!(bytes, [4, 4, 0, 24, 0, 0, 0, 1, 0x4f, 0x4e, 0x46, 0, 0, 0, 8, 0xfc, 0, 0, 0, 7, 0, 4, 0, 1]);
    round_trip_in(Version::V13, &Message::BundleControl(control));
    for (error, number) in [(error::BundleFailed::Unknown, 2300), (error::BundleFailed::MsgFailed, 2313)] {
        let message = Message::Error(Error { kind: error.into(), data: vec![1, 2] });
        let mut bytes = Vec::new();
        encode(Version::V13, Xid(1), &message, &mut bytes).expect("it can be written");
        assert_eq!(bytes[8..12], [0xff, 0xff, (number >> 8) as u8, number as u8]);
        round_trip_in(Version::V13, &message);
    }
    // Other messages of the same organisation are kept as they are.
    round_trip_in(Version::V13, &Message::Experimenter { experimenter: oxm::ONF, kind: 2299, data: vec![1] });
}

#[test]
fn properties_are_checked() {
    let table_mod = |properties: &[u8]| {
        let mut bytes = vec![5, 17, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(properties);
        bytes[3] = bytes.len() as u8;
        decode(Version::V14, &bytes).map_err(|e| e.error.kind)
    };
    use error::BadProperty::*;
    assert!(table_mod(&[0, 2, 0, 8, 0, 0, 0, 1]).is_ok());
    for (properties, expected) in [
        (&[0, 9, 0, 8, 0, 0, 0, 1][..], BadType),
        (&[0xff, 0xff, 0, 8, 0, 0, 0, 1], BadExperimenter),
        (&[0, 2, 0, 8, 0, 0, 0, 1, 0, 2, 0, 8, 0, 0, 0, 1], DupType),
        (&[0, 2, 0, 3, 0, 0, 0, 1], BadLen),
        (&[0, 2, 0, 16, 0, 0, 0, 1], BadLen),
        (&[0, 2, 0, 7, 0, 0, 0, 0], BadLen),
        (&[0, 2], BadLen),
    ] {
        assert_eq!(table_mod(properties), Err(expected.into()), "{properties:?}");
    }
}

#[test]
fn what_a_version_lacks_is_not_written() {
    let forward = RequestForward { xid: Xid(1), request: Box::new(Message::BarrierRequest) };
    let lacking = [
        (Version::V13, Message::RequestForward(forward)),
        (Version::V13, request(Request::TableDesc)),
        (Version::V13, reply(Reply::QueueDesc(Vec::new()))),
        (Version::V14, Message::QueueGetConfigRequest(None)),
    ];
    for (version, message) in lacking {
        let mut out = vec![1];
        assert_eq!(encode(version, Xid(1), &message, &mut out), Err(EncodeError::NoSuchMessage(version)));
        assert_eq!(out, [1], "nothing is left behind");
    }
}

#[test]
fn a_bundle_holds_no_bundles() {
    let mut bytes = vec![5, 34, 0, 8, 0, 0, 0, 1];
    for depth in 1..200u16 {
        let mut outer = vec![5, 34, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        outer.extend(&bytes);
        outer[2..4].copy_from_slice(&(8 + depth * 16).to_be_bytes());
        bytes = outer;
    }
    let refused = decode(Version::V14, &bytes).expect_err("a bundle in a bundle");
    assert_eq!(refused.error.kind, error::BundleFailed::MsgUnsup.into());
    let inner = [4, 4, 0, 16, 0, 0, 0, 1, 0x4f, 0x4e, 0x46, 0, 0, 0, 8, 0xfd];
    let head = [4, 4, 0, 40, 0, 0, 0, 1, 0x4f, 0x4e, 0x46, 0, 0, 0, 8, 0xfd, 0, 0, 0, 1, 0, 0, 0, 0];
    let refused = decode(Version::V13, &[&head[..], &inner].concat()).expect_err("a bundle in a bundle");
    assert_eq!(refused.error.kind, error::BundleFailed::MsgUnsup.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn packets_round_trip(message in packets()) {
        round_trip(&message);
    }

    #[test]
    fn multiparts_round_trip(message in multiparts()) {
        round_trip(&message);
    }

    #[test]
    fn mods_round_trip(message in mods()) {
        round_trip(&message);
    }

    #[test]
    fn what_is_in_a_bundle_round_trips_in_13(message in mods(), n in any::<u32>()) {
        let (bundle, flags) = (n, BundleFlags::ORDERED);
        let message = Box::new(message);
        round_trip_in(Version::V13, &Message::BundleAdd(BundleAdd { bundle, flags, xid: Xid(n), message }));
    }

    #[test]
    fn what_only_14_says_round_trips(message in of_14()) {
        round_trip_in(Version::V14, &message);
    }

    #[test]
    fn flows_in_text_round_trip(flow in flow_mod()) {
        let Message::FlowMod(mut flow) = flow else { unreachable!() };
        flow.command = FlowModCommand::Add;
        (flow.out_port, flow.out_group) = (None, None);
        let unwritable = |a: &Action| matches!(a, Action::Unknown { .. } | Action::Experimenter { .. });
        flow.instructions.retain(|i| match i {
            Instruction::ApplyActions(a) | Instruction::WriteActions(a) => !a.is_empty() && !a.iter().any(unwritable),
            i => !matches!(i, Instruction::Unknown { .. } | Instruction::Experimenter { .. }),
        });
        let text = flow.to_string();
        let read = text::parse_flow_mod(flow.command, &text).expect(&text);
        prop_assert_eq!(&read.matches, &flow.matches, "{}", text);
        prop_assert_eq!(text::Instructions(&read.instructions).to_string(), text::Instructions(&flow.instructions).to_string());
    }

    #[test]
    fn any_bytes_are_an_error_or_a_message(
        v14: bool, kind in 0u8..36, body in vec(any::<u8>(), 0..200)
    ) {
        let version = if v14 { Version::V14 } else { Version::V13 };
        let mut bytes = vec![version.number(), kind, 0, (body.len() + 8) as u8, 0, 0, 0, 1];
        bytes.extend(body);
        if let Ok((_, message)) = decode(version, &bytes) {
            encode(version, Xid(1), &message, &mut Vec::new()).expect("what was decoded can be encoded");
        }
    }
}

#[test]
fn a_long_reply_is_split_below_64_kib() {
    let stats = TableStats::default();
    let all = vec![stats; 10_000];
    let mut bytes = Vec::new();
    encode(Version::V13, Xid(3), &reply(Reply::Table(all.clone())), &mut bytes).expect("it can be written");
    let mut framer = crate::frame::Framer::new();
    framer.push(&bytes);
    let mut seen = Vec::new();
    let mut more_left = true;
    while let Some(part) = framer.take().expect("in step") {
        assert!(more_left, "nothing follows the last part");
        let Ok((Xid(3), Message::MultipartReply(MultipartReply { more, body: Reply::Table(part) }))) =
            decode(Version::V13, part)
        else {
            panic!("a part of a table reply");
        };
        more_left = more;
        seen.extend(part);
    }
    assert!(!more_left);
    assert_eq!(seen, all);
}

/// A reply with many entries, of each kind that can be long and that the version has.
fn long_replies(version: Version) -> Vec<Reply> {
    let numbers = || 1..=5_000u32;
    let flow = |n: u32| FlowStats {
        table: TableId(0),
        duration: Duration::new(n.into(), 5),
        priority: Priority(n as u16),
        idle_timeout: 0,
        hard_timeout: 0,
        flags: FlowModFlags::NONE,
        importance: 0,
        cookie: Cookie(n.into()),
        packets: n.into(),
        bytes: 9,
        matches: Match::new().in_port(PortNo(7)).tcp_dst(n as u16),
        instructions: vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])],
    };
    let port = |n: u32| PortDesc { state: PortState::NONE, ..PortDesc::new(PortNo(n), MacAddr([2; 6]), "p") };
    let mut all =
        vec![Reply::Flow((1..=100_000).map(flow).collect()), Reply::PortDesc(numbers().map(port).collect())];
    if version == Version::V10 {
        return all;
    }
    let bucket = Bucket { weight: 1, watch_port: None, watch_group: None, actions: vec![Action::PopVlan] };
    let desc =
        |n| GroupDesc { group_type: GroupType::All, group: GroupId(n), buckets: vec![bucket.clone(); 3] };
    let band = Band { kind: BandKind::Drop, rate: 1, burst: 2 };
    let meter = |n| MeterConfig { flags: MeterFlags::KBPS, meter: MeterId(n), bands: vec![band] };
    let fields = TableFeature::Wildcards(Field::ALL.to_vec());
    let table = |n: u32| TableFeatures {
        table: TableId(n as u8),
        name: format!("table{n}").into(),
        metadata_match: 1,
        metadata_write: 2,
        config: 0,
        max_entries: n,
        features: vec![fields.clone(); 4],
    };
    all.push(Reply::GroupDesc(numbers().map(desc).collect()));
    all.push(Reply::MeterConfig(numbers().map(meter).collect()));
    all.push(Reply::TableFeatures((0..254).map(table).collect()));
    all
}

#[test]
fn every_long_reply_is_split_and_whole_again() {
    for version in [Version::V10, Version::V13, Version::V14] {
        for whole in long_replies(version) {
            let mut bytes = Vec::new();
            encode(version, Xid(3), &reply(whole.clone()), &mut bytes).expect("it can be written");
            assert!(bytes.len() > MAX_LEN, "{version}: {} bytes are not long", bytes.len());
            let mut framer = crate::frame::Framer::new();
            framer.push(&bytes);
            let (mut seen, mut more_left) = (None::<Reply>, true);
            while let Some(part) = framer.take().expect("in step") {
                assert!(more_left, "{version}: nothing follows the last part");
                let Ok((Xid(3), Message::MultipartReply(MultipartReply { more, body }))) =
                    decode(version, part)
                else {
                    panic!("{version}: a part of a reply")
                };
                more_left = more;
                match &mut seen {
                    Some(seen) => assert!(seen.append(body), "{version}: parts of one kind"),
                    None => seen = Some(body),
                }
            }
            assert!(!more_left, "{version}");
            assert!(seen == Some(whole), "{version}: what was said is what was meant");
        }
    }
}

#[test]
fn errors_have_the_codes_of_the_standard() {
    // A flow mod that adds a flow with an action of type 26 bytes long, and so on: base bytes, changed at an offset.
    let mut base = Vec::new();
    let flow = FlowMod {
        matches: Match::new().tcp_dst(80),
        instructions: vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])],
        ..FlowMod::default()
    };
    encode(Version::V13, Xid(1), &Message::FlowMod(flow), &mut base).expect("it can be written");
    let cases: &[(usize, &[u8], ErrorKind)] = &[
        (1, &[99], error::BadRequest::BadType.into()),
        (0, &[5], error::BadRequest::BadVersion.into()),
        (25, &[9], error::FlowModFailed::BadCommand.into()),
        (44, &[0xff], error::FlowModFailed::BadFlags.into()),
        (48, &[0, 0], error::BadMatch::BadType.into()),
        (50, &[0xff, 0xff], error::BadMatch::BadLen.into()),
        (50, &[0, 3], error::BadMatch::BadLen.into()),
        (52, &[0x12], error::BadMatch::BadField.into()),
        (54, &[100 << 1], error::BadMatch::BadField.into()),
        (55, &[3], error::BadMatch::BadLen.into()),
        // dl_type=0x0801: nw_proto lacks its prerequisite.
        (57, &[1], error::BadMatch::BadPrereq.into()),
        (72, &[0, 77], error::BadInstruction::UnknownInst.into()),
        (74, &[0, 25], error::BadInstruction::BadLen.into()),
        (74, &[0, 4], error::BadInstruction::BadLen.into()),
        (82, &[0, 8], error::BadAction::BadLen.into()),
        (82, &[0, 24], error::BadAction::BadLen.into()),
    ];
    for (at, change, expected) in cases {
        let mut bytes = base.clone();
        bytes[*at..*at + change.len()].copy_from_slice(change);
        match decode(Version::V13, &bytes) {
            Err(error) => {
                assert_eq!(error.error.kind, *expected, "{change:?} at {at}");
                assert_eq!(error.error.data, bytes);
            }
            // Unknown instructions survive to the switch, which answers.
            Ok((_, Message::FlowMod(flow))) => {
                assert_eq!(*expected, error::BadInstruction::UnknownInst.into(), "{change:?} at {at}");
                assert!(matches!(flow.instructions[..], [Instruction::Unknown { kind: 77, .. }]));
            }
            Ok(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_bundled_message_starts_with_is_found() {
    let inner = Message::FlowMod(FlowMod::default());
    let add =
        BundleAdd { bundle: 1, flags: BundleFlags::ATOMIC, xid: Xid(5), message: Box::new(inner.clone()) };
    for version in [Version::V13, Version::V14] {
        let (mut outer, mut expected) = (Vec::new(), Vec::new());
        encode(version, Xid(5), &Message::BundleAdd(add.clone()), &mut outer).expect("it fits");
        encode(version, Xid(5), &inner, &mut expected).expect("it fits");
        assert!(bundled(&outer).starts_with(&expected), "{version:?}");
        assert_eq!(bundled(&outer[..10]), []);
    }
}

/// What a switch need not have, and has not (1.4 §7.3.5.10, §7.3.5.18.4, §7.2.1.2): the error says so.
#[test]
fn flow_monitors_and_optical_ports_are_refused() {
    let request = |kind: u8, body: &[u8]| {
        let len = 8 + body.len() as u16;
        [&[5, kind][..], &len.to_be_bytes(), &[0, 0, 0, 9], body].concat()
    };
    let monitor = request(18, &[&[0, 16, 0, 0, 0, 0, 0, 0][..], &[0; 24]].concat());
    let refused = decode(Version::V14, &monitor).expect_err("no flow monitors");
    assert_eq!(refused.error.kind, error::BadRequest::BadMultipart.into());
    let optical =
        [&[0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0][..], &[0; 8], &[0, 1, 0, 24], &[0; 20]].concat();
    let refused = decode(Version::V14, &request(16, &optical)).expect_err("no optical ports");
    assert_eq!(refused.error.kind, error::BadProperty::BadType.into());
}

/// A message of a version, type and body.
fn framed(version: Version, kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (HEADER_LEN + body.len()) as u16;
    [&[version.number(), kind][..], &len.to_be_bytes(), &[0, 0, 0, 9], body].concat()
}

/// §7.3.5.5.1: a request to set the features of table 1 with one property.
fn set_table(version: Version, name: &[u8; 32], property: &[u8]) -> Vec<u8> {
    let table =
        [&(64 + property.len() as u16).to_be_bytes()[..], &[1, 0, 0, 0, 0, 0], name, &[0; 24]].concat();
    framed(version, 18, &[&[0, 12, 0, 0, 0, 0, 0, 0][..], &table, property].concat())
}

/// Names are ASCII by the standard; what is none is kept as it came.
#[test]
fn names_that_are_no_text_are_written_as_they_were_read() {
    let mut name = [0xff; 32];
    name[31] = 0;
    name[3] = b'\n';
    for version in [Version::V13, Version::V14] {
        let bytes = set_table(version, &name, &[]);
        let (xid, message) = decode(version, &bytes).expect("a request");
        let mut again = Vec::new();
        encode(version, xid, &message, &mut again).expect("it can be written");
        assert_eq!(again, bytes, "{version}");
    }
}

/// §7.4.4.14: what a table shall match must be known; what a switch says of itself need not be.
#[test]
fn unknown_fields_of_table_features_are_refused_in_requests_alone() {
    let unknown = |class: [u8; 2], id: u8| [&[0, 8, 0, 8][..], &class, &[id << 1, 4]].concat();
    for (version, expected) in [
        (Version::V13, ErrorKind::from(error::TableFeaturesFailed::BadArgument)),
        (Version::V14, error::BadProperty::BadValue.into()),
    ] {
        for property in [unknown([0x80, 0], 99), unknown([0, 1], 3)] {
            let bytes = set_table(version, &[0; 32], &property);
            let refused = decode(version, &bytes).expect_err("nobody can match it").error;
            assert_eq!((refused.kind, refused.data), (expected, bytes.clone()), "{version}");
            let mut told = bytes;
            told[1] = 19;
            assert!(decode(version, &told).is_ok(), "{version}: a switch may know more");
        }
        for kind in [10, 12, 13, 14, 15] {
            let mut property = unknown([0x80, 0], 99);
            property[1] = kind;
            let refused = decode(version, &set_table(version, &[0; 32], &property)).expect_err("unknown");
            assert_eq!(refused.error.kind, expected, "{version}: property {kind}");
        }
    }
}

/// What stands in a list of fields has the length of its value, with a mask or without, or none, as os-ken has it.
#[test]
fn fields_of_table_features_have_the_lengths_of_fields() {
    let eth_type = |mask: u8, len: u8| [0, 8, 0, 8, 0x80, 0, 5 << 1 | mask, len];
    let read = |field: &[u8; 8]| {
        decode(Version::V13, &set_table(Version::V13, &[0; 32], field)).map_err(|e| e.error.kind)
    };
    for (mask, len) in [(0, 0), (0, 2), (1, 0), (1, 2), (1, 4)] {
        assert!(read(&eth_type(mask, len)).is_ok(), "mask {mask}, length {len}");
    }
    for (mask, len) in [(0, 1), (0, 4), (1, 3), (1, 8), (0, 255)] {
        assert_eq!(
            read(&eth_type(mask, len)),
            Err(error::TableFeaturesFailed::BadLen.into()),
            "{mask} {len}"
        );
    }
}

/// A bundle-add in the bytes of its version: the included message with its length changed, and what follows it.
fn bundle_add(version: Version, inner: &[u8], len: usize, rest: &[u8]) -> Vec<u8> {
    let mut inner = inner.to_vec();
    inner[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    let body = [&[0, 0, 0, 1, 0, 0, 0, 1][..], &inner, rest].concat();
    match version {
        Version::V14 => framed(version, 34, &body),
        _ => framed(version, 4, &[&oxm::ONF.to_be_bytes()[..], &2301u32.to_be_bytes(), &body].concat()),
    }
}

/// 1.4 §7.3.9.6: a length problem of the included message has one code, whatever its bytes look like when cut there.
#[test]
fn a_bundled_message_of_a_wrong_length_has_one_error() {
    let flow = FlowMod {
        matches: Match::new().tcp_dst(80),
        instructions: vec![
            Instruction::WriteMetadata { metadata: 1, mask: 2 },
            Instruction::ApplyActions(vec![Action::output(PortNo(2))]),
        ],
        ..FlowMod::default()
    };
    for version in [Version::V13, Version::V14] {
        let mut inner = Vec::new();
        encode(version, Xid(9), &Message::FlowMod(flow.clone()), &mut inner).expect("it can be written");
        let refused =
            |bytes: &[u8]| decode(version, bytes).map(|(_, message)| message).map_err(|e| e.error.kind);
        assert!(refused(&bundle_add(version, &inner, inner.len(), &[])).is_ok(), "{version}");
        let bad_len = Err(error::BundleFailed::MsgBadLen.into());
        for len in (0..inner.len()).chain(inner.len() + 1..inner.len() + 20).chain([0xffff]) {
            let kind = refused(&bundle_add(version, &inner, len, &[]));
            assert_eq!(kind, bad_len, "{version}: {len} instead of {}", inner.len());
        }
        for n in 1..8 {
            let cut = bundle_add(version, &inner[..n.max(4)], 8, &[]);
            assert_eq!(refused(&cut), bad_len, "{version}: not even a header");
        }
        for zeros in 1..20 {
            let more = bundle_add(version, &inner, inner.len(), &vec![0; zeros]);
            assert_eq!(refused(&more), bad_len, "{version}: {zeros} bytes that are no property");
        }
    }
}

/// 1.4 §7.3.9.1: bundles have no properties but those of experimenters, none of whom we know.
#[test]
fn properties_of_bundles_are_refused_in_requests_alone() {
    let unknown = [0xff, 0xff, 0, 12, 0, 0, 0x23, 0x20, 0, 0, 0, 7, 0, 0, 0, 0];
    let control = |kind: u8, property: &[u8]| {
        let bytes = framed(Version::V14, 33, &[&[0, 0, 0, 1, 0, kind, 0, 1][..], property].concat());
        decode(Version::V14, &bytes).map_err(|e| e.error.kind)
    };
    assert!(control(0, &[]).is_ok());
    assert_eq!(control(0, &unknown), Err(error::BadProperty::BadExperimenter.into()));
    assert_eq!(control(0, &[0, 1, 0, 8, 0, 0, 0, 0]), Err(error::BadProperty::BadType.into()));
    assert_eq!(control(0, &[0, 1, 0]), Err(error::BadProperty::BadLen.into()));
    assert!(control(1, &unknown).is_ok(), "a switch may say more");
    let inner = framed(Version::V14, 14, &[0; 5]);
    let add = bundle_add(Version::V14, &inner, inner.len(), &[&[0; 3][..], &unknown].concat());
    let refused = decode(Version::V14, &add).expect_err("no such property").error.kind;
    assert_eq!(refused, error::BadProperty::BadExperimenter.into());
}

/// 1.3 has these by extensions, with numbers of the ONF.
#[test]
fn errors_of_extensions_have_their_numbers_in_13() {
    for (error, number) in [
        (ErrorKind::from(error::BadInstruction::DupInst), 2600u16),
        (error::BadRequest::MultipartRequestTimeout.into(), 2640),
        (error::BadRequest::MultipartReplyTimeout.into(), 2641),
    ] {
        let message = Message::Error(Error { kind: error, data: vec![1, 2] });
        let mut bytes = Vec::new();
        encode(Version::V13, Xid(1), &message, &mut bytes).expect("it can be written");
        let expected = [&[0xff, 0xff][..], &number.to_be_bytes(), &oxm::ONF.to_be_bytes(), &[1, 2]].concat();
        assert_eq!(bytes[8..], expected);
        round_trip_in(Version::V13, &message);
    }
}
