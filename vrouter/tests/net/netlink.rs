//! Netlink messages as kernels and FRR write them.

use std::net::IpAddr;

pub const NEW: u16 = 24;
pub const DEL: u16 = 25;

pub fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(number.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

/// What a route message says behind its header: of a table, made by a protocol, of a type.
pub fn route_body((table, protocol, of): (u8, u8, u8), to: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let (addr, len) = to.split_once('/').expect("a prefix");
    let addr: IpAddr = addr.parse().expect("an address");
    let family = if addr.is_ipv4() { 2 } else { 10 };
    let mut body = vec![family, len.parse().expect("a length"), 0, 0, table, protocol, 0, of, 0, 0, 0, 0];
    body.extend(attribute(1, &octets(addr)));
    attributes.iter().for_each(|a| body.extend(a));
    body
}

/// A next hop of several: gateway, weight, the number of its interface.
pub fn hop(gateway: &str, weight: u8, link: u32) -> Vec<u8> {
    let inner = attribute(5, &octets(gateway.parse().expect("an address")));
    let mut bytes = ((inner.len() + 8) as u16).to_ne_bytes().to_vec();
    bytes.extend([0, weight - 1]);
    bytes.extend(link.to_ne_bytes());
    bytes.extend(inner);
    bytes
}

/// A next hop by its number, with more attributes.
pub fn next_hop_body(id: u32, attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 0, 0, 0, 0, 0, 0, 0];
    body.extend(attribute(1, &id.to_ne_bytes()));
    body.extend(attributes);
    body
}

/// A member of a group.
pub fn member(id: u32, weight: u8) -> Vec<u8> {
    [&id.to_ne_bytes()[..], &[weight - 1, 0, 0, 0]].concat()
}
