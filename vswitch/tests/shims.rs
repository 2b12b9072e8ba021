//! MPLS and PBB, byte for byte.

use openflow::{Action, Field, FlowMod, Instruction, Match, Oxm, PortNo, Priority, TableId};
use packet::{CsumPartial, Gso, GsoKind, MacAddr, build, tcp};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

const IPV4: u16 = 0x0800;
const MPLS: u16 = 0x8847;
const PBB: u16 = 0x88e7;
/// Enough that no frame is padded.
const DATA: &[u8] = b"payload";

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { seed: Some(7), ..SwitchConfig::default() }, 2)
}

fn flow(s: &mut Standalone, table: u8, matches: Match, actions: &[Action], next: Option<u8>) {
    let mut instructions = vec![Instruction::ApplyActions(actions.to_vec())];
    instructions.extend(next.map(|table| Instruction::GotoTable(TableId(table))));
    s.flow(FlowMod::add(TableId(table), Priority(1), matches, instructions));
}

fn out() -> Action {
    Action::output(PortNo(2))
}

fn link() -> build::Link {
    build::ethernet(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]))
}

fn segment(port: u16, payload: &[u8]) -> Vec<u8> {
    let header = tcp::Header { src_port: 4242, dst_port: port, ..tcp::Header::default() };
    link().ipv4([10, 0, 0, 1], [10, 0, 0, 2]).ttl(64).tcp(&header, payload)
}

/// `front` instead of the Ethertype.
fn behind(bytes: &[u8], front: &[u8]) -> Vec<u8> {
    [&bytes[..12], front, &bytes[14..]].concat()
}

fn sent(s: &mut Standalone, bytes: &[u8]) -> Vec<Vec<u8>> {
    s.receive(PortNo(1), bytes).into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn a_label_takes_the_ttl_of_the_packet_and_the_next_one_all_of_the_label() {
    let mut s = switch();
    let label = Action::SetField(Oxm::new(Field::MplsLabel, 100));
    let push = Action::PushMpls(MPLS);
    flow(&mut s, 0, Match::new().eth_type(IPV4), &[push.clone(), label, push, out()], None);
    let bytes = segment(80, DATA);
    let shims = [0x88, 0x47, 0, 0x06, 0x40, 64, 0, 0x06, 0x41, 64];
    assert_eq!(sent(&mut s, &bytes), [behind(&bytes, &shims)]);
}

#[test]
fn later_tables_match_what_a_pop_exposes() {
    let mut s = switch();
    let labelled = Match::new().eth_type(MPLS);
    flow(&mut s, 0, labelled.clone(), &[Action::PopMpls(MPLS)], Some(1));
    let inner = labelled.with(Oxm::new(Field::MplsLabel, 7)).expect("valid");
    flow(&mut s, 1, inner, &[Action::PopMpls(IPV4)], Some(2));
    let web = Match::new().ip_proto(6).with(Oxm::new(Field::TcpDst, 80)).expect("valid");
    flow(&mut s, 2, web, &[Action::SetField(Oxm::new(Field::TcpDst, 8080)), out()], None);
    let labels = [0x88, 0x47, 0, 0, 0x50, 9, 0, 0, 0x71, 9];
    assert_eq!(sent(&mut s, &behind(&segment(80, DATA), &labels)), [segment(8080, DATA)]);
    assert!(sent(&mut s, &behind(&segment(81, DATA), &labels)).is_empty());
    let other = [0x88, 0x47, 0, 0, 0x50, 9, 0, 0, 0x81, 9];
    assert!(sent(&mut s, &behind(&segment(80, DATA), &other)).is_empty());
}

#[test]
fn the_action_set_is_carried_over_a_pop() {
    let mut s = switch();
    let mut instructions = vec![Instruction::ApplyActions(vec![Action::PopMpls(IPV4)])];
    instructions.push(Instruction::WriteActions(vec![Action::DecNwTtl, out()]));
    instructions.push(Instruction::WriteMetadata { metadata: 5, mask: 7 });
    instructions.push(Instruction::GotoTable(TableId(1)));
    s.flow(FlowMod::add(TableId(0), Priority(1), Match::new().eth_type(MPLS), instructions));
    flow(&mut s, 1, Match::new().with(Oxm::new(Field::Metadata, 5)).expect("valid"), &[], None);
    let bytes = segment(80, DATA);
    let header = tcp::Header { src_port: 4242, dst_port: 80, ..tcp::Header::default() };
    let expected = link().ipv4([10, 0, 0, 1], [10, 0, 0, 2]).ttl(63).tcp(&header, DATA);
    assert_eq!(sent(&mut s, &behind(&bytes, &[0x88, 0x47, 0, 0, 0x51, 9])), [expected]);
}

/// What was written before the pop belongs to the way the frame came, not to the table it goes on to.
#[test]
fn two_ways_to_the_same_table_keep_their_action_sets() {
    let mut s = switch();
    for (label, ttl) in [(5, 1), (6, 2)] {
        let labelled = Match::new().eth_type(MPLS).with(Oxm::new(Field::MplsLabel, label)).expect("valid");
        let instructions = vec![
            Instruction::ApplyActions(vec![Action::PopMpls(IPV4)]),
            Instruction::WriteActions(vec![Action::SetNwTtl(ttl), out()]),
            Instruction::GotoTable(TableId(1)),
        ];
        s.flow(FlowMod::add(TableId(0), Priority(1), labelled, instructions));
    }
    flow(&mut s, 1, Match::new().eth_type(IPV4), &[], None);
    let bytes = segment(80, DATA);
    for (label, ttl) in [(5, 1), (6, 2), (5, 1)] {
        let sent = sent(&mut s, &behind(&bytes, &[0x88, 0x47, 0, 0, label << 4 | 1, 9]));
        assert_eq!(sent.iter().map(|bytes| bytes[22]).collect::<Vec<_>>(), [ttl]);
    }
}

#[test]
fn a_provider_header_comes_and_goes() {
    let mut s = switch();
    let instance = Action::SetField(Oxm::new(Field::PbbIsid, 0x01_0203));
    flow(&mut s, 0, Match::new().eth_type(IPV4), &[Action::PushPbb(PBB), instance, out()], None);
    flow(&mut s, 0, Match::new().eth_type(PBB), &[Action::PopPbb], Some(1));
    flow(&mut s, 1, Match::new().ip_proto(6), &[out()], None);
    let bytes = segment(80, DATA);
    let provider = [&bytes[..12], &[0x88, 0xe7, 0, 1, 2, 3], &bytes[..]].concat();
    assert_eq!(sent(&mut s, &bytes), std::slice::from_ref(&provider));
    assert_eq!(sent(&mut s, &provider), [bytes]);
}

#[test]
fn ttls_are_copied_between_a_label_and_its_packet() {
    let bytes = behind(&segment(80, DATA), &[0x88, 0x47, 0, 0, 0x51, 9]);
    for (action, label, packet) in [(Action::CopyTtlOut, 64, 64), (Action::CopyTtlIn, 9, 9)] {
        let mut s = switch();
        flow(&mut s, 0, Match::new().eth_type(MPLS), &[action, out()], None);
        let sent = sent(&mut s, &bytes).remove(0);
        assert_eq!((sent[17], sent[26]), (label, packet));
        let sum = packet::checksum::Sum::new().bytes(&sent[18..38]).finish();
        assert_eq!(sum, 0, "the header's checksum is right");
    }
}

#[test]
fn a_super_frame_is_cut_before_it_is_labelled() {
    let mut s = switch();
    flow(&mut s, 0, Match::new().eth_type(IPV4), &[Action::PushMpls(MPLS)], Some(1));
    flow(&mut s, 1, Match::new().eth_type(MPLS), &[out()], None);
    let bytes = segment(80, &[7; 2500]);
    // 10.0.0.1 to 10.0.0.2, TCP, 2520 bytes: the pseudo header's sum is left for the device.
    let pseudo = 0x0a00u16 + 1 + 0x0a00 + 2 + 6 + 2520;
    let mut frame = packet::Pool::default().frame_from(&bytes).expect("it fits");
    frame.head_mut()[50..52].copy_from_slice(&pseudo.to_be_bytes());
    frame.meta.csum = Some(CsumPartial { start: 34, offset: 16 });
    frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1000, ecn: false });
    let sent = s.process_frames(0, PortNo(1), frame);
    let lens: Vec<usize> = sent.iter().map(|(_, frame)| frame.len()).collect();
    assert_eq!(lens, [1058, 1058, 558]);
    for (_, frame) in sent {
        assert!(frame.meta.gso.is_none() && frame.meta.csum.is_none());
        assert_eq!(frame.head()[12..18], [0x88, 0x47, 0, 0, 1, 64]);
        let bytes = frame.to_vec();
        let plain = [&bytes[..14], &bytes[18..]].concat();
        let segment = &plain[34..];
        let pseudo = [&plain[26..34], &[0, 6], &(segment.len() as u16).to_be_bytes()[..]].concat();
        let sum = packet::checksum::Sum::new().bytes(&pseudo).bytes(segment).finish();
        assert_eq!(sum, 0, "the checksum is complete");
    }
}

#[test]
fn the_tags_of_what_a_pop_made_unreadable_are_still_there() {
    let mut s = switch();
    let vid = |vid: u16| Action::SetField(Oxm::new(Field::VlanVid, (0x1000 | vid).into()));
    let pop = Action::PopMpls(IPV4);
    flow(&mut s, 0, Match::new(), &[pop, vid(9), out(), Action::PopVlan, out()], None);
    // Behind the shim is no IPv4 packet.
    let bytes = behind(&segment(80, DATA), &[0x81, 0, 0x60, 5, 0x88, 0x47, 0, 0, 0x71, 9, 0xff]);
    let (tagged, bare) = ([0x81, 0, 0x60, 9, 8, 0, 0xff], [8, 0, 0xff]);
    let inside = segment(80, DATA);
    assert_eq!(sent(&mut s, &bytes), [behind(&inside, &tagged), behind(&inside, &bare)]);
}

/// §7.2.3.7: the type that a match sees and a set-field writes is the one behind the tags.
#[test]
fn the_type_of_a_frame_is_behind_its_tags() {
    let mut s = switch();
    let set = |ethertype: u16| Action::SetField(Oxm::new(Field::EthType, ethertype.into()));
    let vid = Action::SetField(Oxm::new(Field::VlanVid, 0x1005));
    let push = |tpid| [Action::PushVlan(tpid), vid.clone()];
    let actions = [&push(0x8100)[..], &push(0x88a8), &[set(0x88b5)]].concat();
    flow(&mut s, 0, Match::new().eth_type(IPV4), &actions, Some(1));
    flow(&mut s, 1, Match::new().eth_type(0x88b5), &[out()], None);
    let bytes = segment(80, DATA);
    let tags = [0x88, 0xa8, 0, 5, 0x81, 0, 0, 5, 0x88, 0xb5];
    assert_eq!(sent(&mut s, &bytes), [behind(&bytes, &tags)]);
}

/// What follows the tags is not what its type says: the tags are there all the same.
#[test]
fn a_frame_of_a_wrong_type_keeps_its_tags() {
    let mut s = switch();
    let set = |ethertype: u16| Action::SetField(Oxm::new(Field::EthType, ethertype.into()));
    let actions =
        [set(0x86dd), Action::PushVlan(0x8100), Action::PushVlan(0x8100), Action::PopVlan, set(IPV4), out()];
    flow(&mut s, 0, Match::new().eth_type(IPV4), &actions, None);
    let bytes = segment(80, DATA);
    assert_eq!(sent(&mut s, &bytes), [behind(&bytes, &[0x81, 0, 0, 0, 8, 0])]);
}

#[test]
fn a_pop_leaves_no_frame_shorter_than_a_wire_would_carry() {
    let mut s = switch();
    let bytes = segment(80, b"");
    let ways = [out(), Action::output(openflow::ports::FLOOD), Action::controller(0xffff)];
    // Read again on the way, and padded once: the tag is not in addition to padding.
    flow(
        &mut s,
        0,
        Match::new().with(Oxm::new(Field::VlanVid, 0x1005)).expect("valid"),
        &[Action::PopVlan, Action::PopMpls(IPV4)],
        Some(1),
    );
    flow(&mut s, 0, Match::new().eth_type(MPLS), &[&[Action::PopMpls(IPV4)][..], &ways].concat(), None);
    flow(&mut s, 1, Match::new().eth_type(IPV4), &[Action::PushVlan(0x8100), out()], None);
    let label = [0x88, 0x47, 0, 0, 0x51, 64];
    let full = [behind(&bytes, &label), vec![0; 2]].concat();
    assert_eq!((bytes.len(), full.len()), (54, 60));
    let padded = [&bytes[..], &[0; 6]].concat();
    assert_eq!(sent(&mut s, &full), [padded.clone(), padded.clone()]);
    let punts: Vec<_> = s.messages().into_iter().collect();
    let [openflow::Message::PacketIn(punt)] = &punts[..] else { panic!("{punts:?}") };
    assert_eq!(punt.data, padded);
    // What came shorter leaves as the actions made it.
    assert_eq!(sent(&mut s, &behind(&bytes, &label))[0], bytes);
    let tagged = behind(&behind(&bytes, &label), &[0x81, 0, 0, 5, 0x88, 0x47]);
    assert_eq!(tagged.len(), 62);
    let expected = [&behind(&bytes, &[0x81, 0, 0, 0, 8, 0])[..], &[0; 2]].concat();
    assert_eq!(sent(&mut s, &tagged), [expected]);
}
