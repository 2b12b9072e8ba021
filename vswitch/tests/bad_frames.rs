//! Frames that no well-behaved host sends: each leaves or is counted, none harms the next.

use openflow::{Action, Field, FlowMod, Instruction, Match, Oxm, PortNo, Priority, TableId};
use packet::{CsumPartial, Frame, Gso, GsoKind, MacAddr, VlanId, build, tcp};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

/// Two tables that read and rewrite whatever there is, behind pushes and pops; the rest is forwarded as it is.
fn switch() -> Standalone {
    let mut s = Standalone::new(SwitchConfig { seed: Some(3), ..SwitchConfig::default() }, 2);
    let mut flow = |table, priority, matches: Match, actions: Vec<Action>, next: Option<u8>| {
        let mut instructions = vec![Instruction::ApplyActions(actions)];
        instructions.extend(next.map(|table| Instruction::GotoTable(TableId(table))));
        s.flow(FlowMod::add(TableId(table), Priority(priority), matches, instructions));
    };
    let set = |field, value: u128| Action::SetField(Oxm::new(field, value));
    let out = || Action::output(PortNo(2));
    let tagged = Match::new().vlan(VlanId::new(7).expect("valid"));
    flow(0, 9, tagged, vec![Action::PopVlan], Some(1));
    flow(0, 8, Match::new().eth_type(0x8847), vec![Action::PopMpls(0x0800)], Some(1));
    flow(0, 7, Match::new().eth_type(0x88e7), vec![Action::PopPbb], Some(1));
    flow(0, 1, Match::new(), vec![], Some(1));
    let tcp = Match::new().eth_type(0x0800).ip_proto(6);
    flow(
        1,
        9,
        tcp,
        vec![set(Field::Ipv4Dst, 0x0a00_0063), set(Field::TcpDst, 99), Action::DecNwTtl, out()],
        None,
    );
    let udp6 = Match::new().eth_type(0x86dd).ip_proto(17);
    flow(1, 8, udp6, vec![set(Field::UdpSrc, 99), Action::PushVlan(0x8100), out()], None);
    flow(1, 7, Match::new().eth_type(0x0806), vec![set(Field::ArpOp, 2), out()], None);
    flow(1, 1, Match::new(), vec![Action::PushMpls(0x8847), Action::PopMpls(0x0800), out()], None);
    s
}

fn link() -> build::Link {
    build::ethernet(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]))
}

fn segment() -> Vec<u8> {
    link().ipv4([10, 0, 0, 1], [10, 0, 0, 2]).ttl(64).tcp(&tcp::Header::default(), b"a payload of some bytes")
}

/// `front` instead of the Ethertype.
fn behind(bytes: &[u8], front: &[u8]) -> Vec<u8> {
    [&bytes[..12], front, &bytes[14..]].concat()
}

/// One frame in: it left, or one reason has been counted once.
fn one(s: &mut Standalone, frame: Frame, what: &str) {
    let before = s.switch.drops().total();
    let left = s.process(0, PortNo(1), frame).len() as u64;
    s.idle();
    let dropped = s.switch.drops().total() - before;
    assert_eq!((left + dropped, left.min(dropped)), (1, 0), "{what}: {left} left, {dropped} dropped");
}

/// The switch forwards as it did.
fn still_works(s: &mut Standalone) {
    let sent = s.receive(PortNo(1), &segment());
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].1[33], &sent[0].1[36..38]), (99, &[0, 99][..]), "rewritten");
}

fn stacks() -> Vec<(&'static str, Vec<u8>)> {
    let plain = segment();
    let six = link().ipv6([0xfd; 16], [0xfe; 16]);
    let udp6 = six.udp(1, 2, b"payload");
    // Hop-by-hop options of six bytes, then a fragment header, then UDP.
    let mut extended = udp6.clone();
    extended[20] = 0;
    extended.splice(54..54, [44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9]);
    extended[18..20].copy_from_slice(&(8u16 + 7 + 16).to_be_bytes());
    vec![
        ("IPv4 and TCP", plain.clone()),
        ("two tags", behind(&plain, &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 8, 0])),
        ("three labels", behind(&plain, &[0x88, 0x47, 0, 1, 0, 9, 0, 2, 0, 9, 0, 3, 1, 9])),
        ("a backbone tag", [&plain[..12], &[0x88, 0xe7, 0, 0, 0, 1][..], &plain].concat()),
        ("IPv6 and UDP", udp6),
        ("extension headers", extended),
        ("ARP", build::arp_request(MacAddr([2; 6]), [10, 0, 0, 1].into(), [10, 0, 0, 2].into())),
    ]
}

#[test]
fn header_stacks_cut_at_each_byte_leave_or_are_counted() {
    let mut s = switch();
    for (name, bytes) in stacks() {
        for len in 0..=bytes.len() {
            one(&mut s, Frame::from_bytes(&bytes[..len]), &format!("{name}, {len} bytes"));
        }
        still_works(&mut s);
    }
}

#[test]
fn length_fields_that_lie_leave_or_are_counted() {
    let mut s = switch();
    for (name, bytes) in stacks() {
        // Every byte of the headers takes the values at which lengths and offsets turn.
        for at in 12..bytes.len().min(70) {
            for value in [0, 1, 4, 5, 0x40, 0x4f, 0x7f, 0x80, 0xf0, 0xff] {
                let mut lying = bytes.clone();
                lying[at] = value;
                one(&mut s, Frame::from_bytes(&lying), &format!("{name}, byte {at} is {value}"));
            }
        }
        still_works(&mut s);
    }
}

#[test]
fn metadata_that_lies_leaves_or_is_counted() {
    let mut s = switch();
    let kinds = [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp];
    let sizes = [0, 1, 63, 64, 1448, u16::MAX];
    let places = [0, 1, 13, 14, 33, 34, 54, 70, 2047, 2048, u16::MAX];
    for (name, bytes) in stacks() {
        for start in places {
            for offset in [0, 6, 16, 17, u16::MAX] {
                let mut frame = Frame::from_bytes(&bytes);
                frame.meta.csum = Some(CsumPartial { start, offset });
                one(&mut s, frame, &format!("{name}, checksum of {start} at {offset}"));
            }
        }
        for kind in kinds {
            for size in sizes {
                let mut frame = Frame::from_bytes(&bytes);
                frame.meta.csum = Some(CsumPartial { start: 34, offset: 16 });
                frame.meta.gso = Some(Gso { kind, size, ecn: true });
                let what = format!("{name}, {kind:?} in segments of {size}");
                let before = s.switch.drops().total();
                let left = s.process(0, PortNo(1), frame).len() as u64;
                s.idle();
                // What is cut on the way leaves in pieces.
                assert!(left + s.switch.drops().total() - before > 0, "{what}");
            }
        }
        still_works(&mut s);
    }
}

#[test]
fn padding_up_to_the_largest_frame_is_carried_and_not_summed() {
    let mut s = switch();
    let bytes = segment();
    let expected = s.receive(PortNo(1), &bytes).remove(0).1;
    for len in [1500, 2047, 2048, 2049, 9000, 65_535, 65_549] {
        let mut padded = bytes.clone();
        padded.resize(len, 0xee);
        let sent = s.receive(PortNo(1), &padded);
        assert_eq!(sent.len(), 1, "{len} bytes");
        let (head, rest) = sent[0].1.split_at(bytes.len());
        assert!(head == expected, "the checksums of {len} bytes cover the packet alone");
        assert!(rest.len() == len - bytes.len() && rest.iter().all(|byte| *byte == 0xee), "{len} bytes");
    }
}
