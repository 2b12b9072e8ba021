//! Does to a frame what Open vSwitch's trace says under "Datapath actions".

use super::wire::{Places, Transport, be16, crc32c, places};

/// A copy that leaves: by a port, or to the controller for a reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Copy {
    /// Number of the port of the datapath.
    Port(u32, Vec<u8>),
    /// The reason as Open vSwitch numbers it.
    Controller(u8, Vec<u8>),
}

/// What `recirc(ID)` leads to: the actions for the frame as it is then.
pub type Recirculate<'a> = &'a mut dyn FnMut(&str, &[u8]) -> String;

/// Applies `actions` to `frame`; gives the copies that leave.
///
/// # Panics
/// When Open vSwitch prints an action that is not known here.
pub fn run(actions: &str, frame: &[u8], recirculate: Recirculate<'_>) -> Vec<Copy> {
    let (mut frame, mut copies) = (frame.to_vec(), Vec::new());
    run_on(actions, &mut frame, recirculate, &mut copies);
    copies
}

fn run_on(actions: &str, frame: &mut Vec<u8>, recirculate: Recirculate<'_>, copies: &mut Vec<Copy>) {
    for action in split(actions) {
        let (name, args) = name_and_args(action);
        match name {
            // The hash of a select group shows in the flow that is recirculated.
            "drop" | "hash" => {}
            "userspace" => {
                let reason = args.split("reason=").nth(1).and_then(|text| text.split(',').next());
                let reason = reason.and_then(|text| text.parse().ok());
                let reason = reason.unwrap_or_else(|| panic!("an upcall without a reason: {action}"));
                copies.push(Copy::Controller(reason, frame.clone()));
            }
            "recirc" => {
                let actions = recirculate(args, frame);
                run_on(&actions, &mut frame.clone(), recirculate, copies);
            }
            "clone" => run_on(args, &mut frame.clone(), recirculate, copies),
            "push_vlan" => {
                let number = |name| value(args, name).map(number);
                let tci = number("pcp").unwrap_or(0) << 13 | number("vid").unwrap_or(0);
                let tag = [number("tpid").unwrap_or(0x8100) as u16, tci as u16].map(u16::to_be_bytes);
                frame.splice(12..12, tag.concat());
            }
            "pop_vlan" => drop(frame.drain(12..16)),
            "push_mpls" => {
                let at = places(frame).type_at;
                frame.splice(at + 2..at + 2, shim(args).to_be_bytes());
                set_ethertype(frame, at, args);
            }
            "pop_mpls" => {
                let at = places(frame).type_at;
                frame.drain(at + 2..at + 6);
                set_ethertype(frame, at, args);
            }
            "set" => {
                let (layer, fields) = name_and_args(args);
                set(frame, layer, fields);
            }
            port => match port.parse() {
                Ok(port) => copies.push(Copy::Port(port, frame.clone())),
                Err(_) => panic!("an action that is not known: {action}"),
            },
        }
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `set(eth(src=..))` is `set` and `eth(src=..)`.
fn name_and_args(action: &str) -> (&str, &str) {
    match action.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
        None => (action, ""),
    }
}

fn value<'a>(args: &'a str, name: &str) -> Option<&'a str> {
    args.split(',').find_map(|arg| arg.split_once('=').filter(|(n, _)| *n == name)).map(|(_, value)| value)
}

fn number(text: &str) -> u32 {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|_| panic!("no number: {text}"))
}

fn set_ethertype(frame: &mut [u8], at: usize, args: &str) {
    let ethertype = number(value(args, "eth_type").expect("printed with every push and pop"));
    frame[at..at + 2].copy_from_slice(&(ethertype as u16).to_be_bytes());
}

fn shim(args: &str) -> u32 {
    let field = |name| number(value(args, name).expect("printed with every shim"));
    field("label") << 12 | field("tc") << 9 | field("bos") << 8 | field("ttl")
}

/// A value and its mask in as many bytes as the field has.
fn bytes_of(text: &str, len: usize) -> (Vec<u8>, Vec<u8>) {
    let (value, mask) = text.split_once('/').unwrap_or((text, ""));
    let mask = if mask.is_empty() { vec![0xff; len] } else { plain_bytes(mask, len) };
    (plain_bytes(value, len), mask)
}

fn plain_bytes(text: &str, len: usize) -> Vec<u8> {
    let parsed = match len {
        6 => text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect(),
        16 => text.parse::<std::net::Ipv6Addr>().ok().map(|ip| ip.octets().to_vec()),
        4 if text.contains('.') => text.parse::<std::net::Ipv4Addr>().ok().map(|ip| ip.octets().to_vec()),
        _ => Some(number(text).to_be_bytes()[4 - len..].to_vec()),
    };
    parsed.filter(|bytes| bytes.len() == len).unwrap_or_else(|| panic!("not {len} bytes: {text}"))
}

fn set(frame: &mut [u8], layer: &str, fields: &str) {
    let found = places(frame);
    let at = found.type_at + 2;
    for field in fields.split(',') {
        let (name, text) = field.split_once('=').unwrap_or_else(|| panic!("no value: {field}"));
        match (layer, name) {
            ("eth", "dst") => put(frame, 0, bytes_of(text, 6)),
            ("eth", "src") => put(frame, 6, bytes_of(text, 6)),
            ("mpls", _) => {
                // All fields stand there; each iteration writes the same.
                frame[at..at + 4].copy_from_slice(&shim(fields).to_be_bytes());
            }
            ("ipv4", _) => set_ipv4(frame, &found, name, text),
            ("ipv6", _) => set_ipv6(frame, &found, name, text),
            ("arp", _) => {
                let (offset, len) = match name {
                    "op" => (6, 2),
                    "sha" => (8, 6),
                    "sip" => (14, 4),
                    "tha" => (18, 6),
                    "tip" => (24, 4),
                    _ => panic!("no field of ARP: {field}"),
                };
                put(frame, at + offset, bytes_of(text, len));
            }
            // Open vSwitch sets types and codes of ICMP in later fragments too, where they are payload.
            _ => found.transport.iter().for_each(|transport| {
                set_transport(frame, transport, (layer, name), text);
            }),
        }
    }
}

fn put(frame: &mut [u8], at: usize, (value, mask): (Vec<u8>, Vec<u8>)) {
    for (byte, (value, mask)) in frame[at..].iter_mut().zip(value.iter().zip(mask)) {
        *byte = *byte & !mask | value & mask;
    }
}

fn set_ipv4(frame: &mut [u8], found: &Places, name: &str, text: &str) {
    let at = found.type_at + 2;
    let (offset, len) = match name {
        "tos" => (1, 1),
        "ttl" => (8, 1),
        "src" => (12, 4),
        "dst" => (16, 4),
        _ => panic!("no field of IPv4: {name}"),
    };
    let before = frame[at..at + 20].to_vec();
    put(frame, at + offset, bytes_of(text, len));
    let after = frame[at..at + 20].to_vec();
    adjust(frame, at + 10, &before, &after);
    if len == 4 {
        adjust_pseudo_header(frame, found, &before[offset..offset + 4], &after[offset..offset + 4]);
    }
}

fn set_ipv6(frame: &mut [u8], found: &Places, name: &str, text: &str) {
    let at = found.type_at + 2;
    let shifted = |bits: u32, width: u32| {
        let (value, mask) = text.split_once('/').unwrap_or((text, ""));
        let mask = if mask.is_empty() { (1 << width) - 1 } else { number(mask) };
        ((number(value) << bits).to_be_bytes().to_vec(), (mask << bits).to_be_bytes().to_vec())
    };
    match name {
        "tclass" => put(frame, at, shifted(20, 8)),
        "label" => put(frame, at, shifted(0, 20)),
        "hlimit" => put(frame, at + 7, bytes_of(text, 1)),
        "src" | "dst" => {
            let place = at + if name == "src" { 8 } else { 24 };
            let before = frame[place..place + 16].to_vec();
            put(frame, place, bytes_of(text, 16));
            let after = frame[place..place + 16].to_vec();
            adjust_pseudo_header(frame, found, &before, &after);
        }
        _ => panic!("no field of IPv6: {name}"),
    }
}

/// Addresses are part of the checksums of TCP, UDP and ICMPv6.
fn adjust_pseudo_header(frame: &mut [u8], found: &Places, before: &[u8], after: &[u8]) {
    let Some(transport) = found.transport else { return };
    match transport.protocol {
        58 if before.len() == 4 => {}
        6 | 17 | 58 => adjust_transport(frame, &transport, before, after),
        _ => {}
    }
}

fn set_transport(frame: &mut [u8], transport: &Transport, (layer, name): (&str, &str), text: &str) {
    let at = transport.at;
    let (place, len) = match (layer, name) {
        ("tcp" | "udp" | "sctp", "src") => (at, 2),
        ("tcp" | "udp" | "sctp", "dst") => (at + 2, 2),
        ("icmp" | "icmpv6", "type") => (at, 1),
        ("icmp" | "icmpv6", "code") => (at + 1, 1),
        ("nd", "target") => (at + 8, 16),
        // In this test the option is the only one. Where there is none, nothing is set.
        ("nd", "sll" | "tll") if transport.end < at + 32 => return,
        ("nd", "sll" | "tll") => (at + 26, 6),
        _ => panic!("no field: {layer} {name}"),
    };
    let before = frame[at..transport.end].to_vec();
    put(frame, place, bytes_of(text, len));
    let after = frame[at..transport.end].to_vec();
    if layer == "sctp" {
        // The CRC of a fragmented packet covers what is not there.
        if !transport.is_fragment {
            adjust_crc(frame, at, before, after);
        }
    } else {
        adjust_transport(frame, transport, &before, &after);
    }
}

fn adjust_transport(frame: &mut [u8], transport: &Transport, before: &[u8], after: &[u8]) {
    let at = transport.at
        + if transport.protocol == 6 {
            16
        } else if transport.protocol == 17 {
            6
        } else {
            2
        };
    // A UDP checksum of zero says that there is none.
    if transport.protocol == 17 && be16(frame, at) == 0 {
        return;
    }
    adjust(frame, at, before, after);
    if transport.protocol == 17 && be16(frame, at) == 0 {
        frame[at..at + 2].copy_from_slice(&[0xff, 0xff]);
    }
}

/// RFC 1624, equation 3: the checksum at `at` when what it covers changes.
fn adjust(frame: &mut [u8], at: usize, before: &[u8], after: &[u8]) {
    let mut sum = u32::from(!be16(frame, at));
    for (old, new) in before.chunks(2).zip(after.chunks(2)).filter(|(old, new)| old != new) {
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum += word(new) + (0xffff - word(old));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// A right CRC stays right, a wrong one wrong by the same bits.
fn adjust_crc(frame: &mut [u8], at: usize, mut before: Vec<u8>, mut after: Vec<u8>) {
    let found = u32::from_le_bytes([before[8], before[9], before[10], before[11]]);
    for bytes in [&mut before, &mut after] {
        bytes[8..12].fill(0);
    }
    let crc = found ^ crc32c(&before) ^ crc32c(&after);
    frame[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::wire::checksum;
    use super::*;

    /// TCP from 10.0.0.1:80 to 10.0.0.2:80.
    const TCP: &str = "0200000000020200000000010800450000280001000040066\
                       6cd0a0000010a0000020050005000000000000000005002000041de0000";

    fn tcp() -> Vec<u8> {
        let byte = |n: usize| u8::from_str_radix(&TCP[2 * n..2 * n + 2], 16).expect("digits");
        let mut frame: Vec<u8> = (0..TCP.len() / 2).map(byte).collect();
        frame[24..26].fill(0);
        frame[50..52].fill(0);
        let sum = checksum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let sum = checksum(&[&frame[26..34], &[0, 6, 0, 20], &frame[34..]]);
        frame[50..52].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn no_recirculation(_: &str, _: &[u8]) -> String {
        panic!("nothing recirculates")
    }

    #[test]
    fn actions_are_done_in_order_and_checksums_stay_right() {
        let frame = tcp();
        let actions =
            "1,set(ipv4(src=10.0.0.9,ttl=63)),set(tcp(dst=443)),push_vlan(vid=10,pcp=3),2,pop_vlan,3";
        let copies = run(actions, &frame, &mut no_recirculation);
        assert_eq!(copies[0], Copy::Port(1, frame.clone()));
        let (Copy::Port(2, tagged), Copy::Port(3, plain)) = (&copies[1], &copies[2]) else {
            panic!("{copies:?}")
        };
        assert_eq!(tagged[12..16], [0x81, 0, 0x60, 10]);
        assert_eq!([&tagged[..12], &tagged[16..]].concat(), *plain);
        assert_eq!(checksum(&[&plain[14..34]]), 0);
        let pseudo = [&plain[26..34], &[0, 6, 0, 20]].concat();
        assert_eq!(checksum(&[&pseudo, &plain[34..]]), 0, "{plain:02x?}");
    }

    #[test]
    fn a_recirculated_frame_is_asked_about_anew() {
        let mut asked = Vec::new();
        let mut again = |id: &str, frame: &[u8]| {
            asked.push((id.to_owned(), frame.len()));
            "7".to_owned()
        };
        let shim = "label=77,tc=0,ttl=64,bos=1,eth_type=0x8847";
        let actions = format!("push_mpls({shim}),recirc(0x5)");
        let copies = run(&actions, &tcp(), &mut again);
        assert_eq!(asked, [("0x5".to_owned(), tcp().len() + 4)]);
        let Copy::Port(7, frame) = &copies[0] else { panic!("{copies:?}") };
        assert_eq!(frame[12..18], [0x88, 0x47, 0, 4, 0xd1, 0x40]);
    }
}
