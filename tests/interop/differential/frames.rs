//! Frames made from the values that rules use, with right lengths; most checksums are right.

use super::random::Random;
use super::rules::Style;
use super::values::{
    ARP_OPERATIONS, DSCPS, FLOW_LABELS, ICMP_TYPES, ICMP6_TYPES, L4_PORTS, LABELS, PORTS, VLANS, ipv4, ipv6,
    mac,
};
use super::wire::{checksum, crc32c};

/// A frame and the port it comes by.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The port.
    pub port: u32,
    /// From the destination address on, without FCS.
    pub bytes: Vec<u8>,
}

/// A frame of the kinds that `style` allows.
pub fn arrival(random: &mut Random, style: &Style) -> Arrival {
    let mut bytes = [mac(random), mac(random)].concat();
    for _ in 0..random.below(style.max_tags + 1) {
        let tpid: u16 = if random.one_in(3) { 0x88a8 } else { 0x8100 };
        let tci = (random.below(8) as u16) << 13 | random.pick(&VLANS);
        bytes.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
    }
    let n_labels = if random.one_in(2) { random.below(style.max_labels + 1) } else { 0 };
    if n_labels > 0 {
        bytes.extend(0x8847u16.to_be_bytes());
    }
    for n in 1..=n_labels {
        let (tc, ttl) = (random.below(8) as u32, time_to_live(random, style));
        let bottom = u32::from(n == n_labels);
        let shim = random.pick(&LABELS) << 12 | tc << 9 | bottom << 8 | u32::from(ttl);
        bytes.extend(shim.to_be_bytes());
    }
    // What is below a label is IPv4, so that rules can say what a pop uncovers.
    let kind = if n_labels > 0 { 0 } else { random.below(10) };
    let (ethertype, packet) = match kind {
        0..=3 => (0x0800, ipv4_packet(random, style)),
        4..=6 => (0x86dd, ipv6_packet(random, style)),
        7 | 8 => (0x0806, arp_packet(random)),
        _ if random.one_in(2) => (0x88b5, vec![7; 46]),
        // IEEE 802.3 with a length, and LLC.
        _ => (46u16, [[0x42, 0x42, 3].as_slice(), &[0; 43]].concat()),
    };
    if n_labels == 0 {
        bytes.extend(u16::to_be_bytes(ethertype));
    }
    bytes.extend(packet);
    if random.one_in(2) {
        bytes.resize(bytes.len().max(60), 0);
    }
    Arrival { port: random.pick(&PORTS[..4]), bytes }
}

fn time_to_live(random: &mut Random, style: &Style) -> u8 {
    // The label that Open vSwitch pushes has a TTL of 64 where that of the packet is 0.
    let least = usize::from(style.mpls);
    if style.expires && random.one_in(4) { (least + random.below(2)) as u8 } else { random.pick(&[64, 255]) }
}

fn ipv4_packet(random: &mut Random, style: &Style) -> Vec<u8> {
    let options = if random.one_in(6) { vec![1; 4] } else { vec![] };
    // None, a first one, a later one.
    let fragment: u16 = if random.one_in(5) { random.pick(&[0x2000, 0x0010, 0x2010]) } else { 0x4000 };
    let (src, dst) = (ipv4(random), ipv4(random));
    let protocol = random.pick(&[6, 17, 132, 1, 47]);
    let pseudo = [&src.octets()[..], &dst.octets()].concat();
    let payload = transport(random, protocol, &pseudo);
    let header_len = 20 + options.len();
    let total_len = (header_len + payload.len()) as u16;
    let tos = random.pick(&DSCPS) << 2 | random.below(4) as u8;
    let mut header = vec![0x40 | (header_len / 4) as u8, tos];
    header.extend(total_len.to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragment.to_be_bytes());
    header.extend([time_to_live(random, style), protocol, 0, 0]);
    header.extend(pseudo);
    header.extend(options);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header, payload].concat()
}

fn ipv6_packet(random: &mut Random, style: &Style) -> Vec<u8> {
    let (src, dst) = (ipv6(random), ipv6(random));
    let pseudo = [&src.octets()[..], &dst.octets()].concat();
    let protocol = random.pick(&[6, 17, 132, 58, 58, 58, 89]);
    let payload = transport(random, protocol, &pseudo);
    let (first, extensions) = match random.below(8) {
        0 => (0, [&[protocol, 0][..], &[1, 4, 0, 0, 0, 0]].concat()),
        1 => (60, [&[protocol, 0][..], &[1, 4, 0, 0, 0, 0]].concat()),
        // A first fragment; later ones have another protocol in Open vSwitch.
        2 => (44, [&[protocol, 0][..], &[0, 1, 0, 0, 0, 9]].concat()),
        _ => (protocol, vec![]),
    };
    let class = u32::from(random.pick(&DSCPS) << 2 | random.below(4) as u8);
    let mut header = (6 << 28 | class << 20 | random.pick(&FLOW_LABELS)).to_be_bytes().to_vec();
    header.extend(((extensions.len() + payload.len()) as u16).to_be_bytes());
    header.extend([first, time_to_live(random, style)]);
    [header, pseudo, extensions, payload].concat()
}

/// A transport header with eight bytes behind it. `pseudo` holds both addresses.
fn transport(random: &mut Random, protocol: u8, pseudo: &[u8]) -> Vec<u8> {
    let ports = [random.pick(&L4_PORTS), random.pick(&L4_PORTS)].map(u16::to_be_bytes).concat();
    let data = [9; 8];
    let (mut bytes, sum_at) = match protocol {
        6 => {
            let flags = random.pick(&[0x02, 0x12, 0x10, 0x18, 0x04]);
            let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
            ([&ports[..], &rest, &data].concat(), Some(16))
        }
        17 => ([&ports[..], &[0, 16, 0, 0], &data].concat(), Some(6)),
        132 => {
            let mut bytes = [&ports[..], &[0, 0, 0, 1, 0, 0, 0, 0], &[0, 0, 0, 8, 1, 2, 3, 4]].concat();
            let crc = crc32c(&bytes);
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
            return bytes;
        }
        1 => {
            let head = [random.pick(&ICMP_TYPES), random.below(3) as u8, 0, 0, 0, 1, 0, 2];
            let mut bytes = [&head[..], &data].concat();
            let sum = checksum(&[&bytes]);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
            return bytes;
        }
        58 => (icmpv6(random), Some(2)),
        _ => return data.to_vec(),
    };
    // A UDP checksum of zero says that there is none, over IPv4 only.
    let absent = protocol == 17 && pseudo.len() == 8 && random.one_in(3);
    if let Some(at) = sum_at.filter(|_| !absent) {
        let tail = [0, protocol, (bytes.len() >> 8) as u8, bytes.len() as u8];
        let wrong = u16::from(random.one_in(8));
        let sum = checksum(&[pseudo, &tail, &bytes]) ^ wrong;
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// An echo or an error, a neighbour solicitation, or an advertisement; the latter with or without their option.
fn icmpv6(random: &mut Random) -> Vec<u8> {
    let kind = random.pick(&[0, 135, 136]);
    if kind == 0 {
        return [&[random.pick(&ICMP6_TYPES), random.below(2) as u8, 0, 0, 0, 1, 0, 2][..], &[9; 8]].concat();
    }
    let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(ipv6(random).octets());
    if !random.one_in(3) {
        bytes.extend([if kind == 135 { 1 } else { 2 }, 1]);
        bytes.extend(mac(random));
    }
    bytes
}

fn arp_packet(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4];
    bytes.extend(random.pick(&ARP_OPERATIONS).to_be_bytes());
    for _ in 0..2 {
        bytes.extend(mac(random));
        bytes.extend(ipv4(random).octets());
    }
    bytes
}
