//! Neighbour discovery: solicitations, advertisements and their options (RFC 4861 §4).
//!
//! The receiver must also check that the hop limit is 255 and the ICMPv6 checksum right (RFC 4861 §6.1, §7.1); both
//! are outside the bytes seen here.

use core::net::Ipv6Addr;

use crate::bytes::{array, be16, be32};
use crate::error::room_for;
use crate::{EmitError, Layer, MacAddr, ParseError};

const ROUTER_SOLICIT: u8 = 133;
const ROUTER_ADVERT: u8 = 134;
const NEIGHBOUR_SOLICIT: u8 = 135;
const NEIGHBOUR_ADVERT: u8 = 136;

/// The hop limit that every message of neighbour discovery is sent with.
pub const HOP_LIMIT: u8 = 255;

/// A prefix information option (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Leading bits of `prefix` that count, 128 at most.
    pub len: u8,
    /// The prefix is on the link.
    pub on_link: bool,
    /// Addresses may be made from it (RFC 4862).
    pub autonomous: bool,
    /// Seconds; all ones is for ever.
    pub valid_lifetime: u32,
    /// Seconds; all ones is for ever.
    pub preferred_lifetime: u32,
    /// The prefix.
    pub prefix: Ipv6Addr,
}

/// How a route compares with those of other routers (RFC 4191 §2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// Used where there is no other.
    Low,
    /// Neither.
    #[default]
    Medium,
    /// Used before others.
    High,
}

impl Preference {
    /// Two bits; the reserved value stands for medium (RFC 4191 §2.2).
    const fn of(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::High,
            3 => Self::Low,
            _ => Self::Medium,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Low => 3,
            Self::Medium => 0,
            Self::High => 1,
        }
    }
}

/// A route information option (RFC 4191 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Leading bits of `prefix` that count, 128 at most.
    pub len: u8,
    /// Compared with routes of other routers.
    pub preference: Preference,
    /// Seconds; all ones is for ever, zero ends it.
    pub lifetime: u32,
    /// Destinations.
    pub prefix: Ipv6Addr,
}

impl Route {
    /// Bytes of its prefix that are written: the fewest that hold it, in units of eight.
    const fn prefix_bytes(&self) -> usize {
        (self.len as usize).div_ceil(64) * 8
    }

    /// From what follows the length of its option.
    fn read(data: &[u8]) -> Option<Self> {
        let (header, rest) = data.split_first_chunk::<6>()?;
        let mut prefix = [0; 16];
        prefix[..rest.len().min(16)].copy_from_slice(&rest[..rest.len().min(16)]);
        let route = Self {
            len: header[0],
            preference: Preference::of(header[1] >> 3),
            lifetime: be32(header, 2),
            prefix: Ipv6Addr::from(prefix),
        };
        (route.len <= 128 && route.prefix_bytes() <= rest.len()).then_some(route)
    }
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdOption<'a> {
    /// Type 1: link-layer address of the sender.
    Source(MacAddr),
    /// Type 2: link-layer address of the target.
    Target(MacAddr),
    /// Type 3.
    Prefix(Prefix),
    /// Type 5: MTU of the link in bytes.
    Mtu(u32),
    /// Type 24.
    Route(Route),
    /// Any other: type and what follows the length.
    Other(u8, &'a [u8]),
}

/// Options in order; ends after an error.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// The options in `bytes`, which follow the fixed part of a message.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<NdOption<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, units, ..] = *self.rest else {
            let rest = core::mem::take(&mut self.rest);
            return (!rest.is_empty()).then_some(Err(ParseError::Option(Layer::NdOption)));
        };
        // RFC 4861 §4.6: in units of eight bytes; zero must be discarded.
        let len = usize::from(units) * 8;
        match self.rest.split_at_checked(len) {
            Some((option, rest)) if len != 0 => {
                self.rest = rest;
                Some(Ok(known(kind, &option[2..])))
            }
            _ => {
                self.rest = &[];
                Some(Err(ParseError::Option(Layer::NdOption)))
            }
        }
    }
}

fn known(kind: u8, data: &[u8]) -> NdOption<'_> {
    match (kind, data.len()) {
        (1 | 2, 6) => {
            let mut mac = [0; 6];
            mac.copy_from_slice(data);
            if kind == 1 { NdOption::Source(MacAddr(mac)) } else { NdOption::Target(MacAddr(mac)) }
        }
        (3, 30) => {
            let mut d = [0; 30];
            d.copy_from_slice(data);
            NdOption::Prefix(Prefix {
                len: d[0].min(128),
                on_link: d[1] & 0x80 != 0,
                autonomous: d[1] & 0x40 != 0,
                valid_lifetime: be32(&d, 2),
                preferred_lifetime: be32(&d, 6),
                prefix: Ipv6Addr::from(array::<16, 30>(&d, 14)),
            })
        }
        (5, 6) => NdOption::Mtu(u32::from_be_bytes([data[2], data[3], data[4], data[5]])),
        (24, 6..=22) => Route::read(data).map_or(NdOption::Other(kind, data), NdOption::Route),
        _ => NdOption::Other(kind, data),
    }
}

/// What a router says of itself and of the link (RFC 4861 §4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterAdvert {
    /// Hop limit for hosts to use; zero is unspecified.
    pub hop_limit: u8,
    /// Addresses are given by DHCPv6.
    pub managed: bool,
    /// Other configuration is given by DHCPv6.
    pub other: bool,
    /// Seconds for which the sender is a default router; zero is not at all.
    pub router_lifetime: u16,
    /// Milliseconds for which a neighbour is taken as reachable; zero is unspecified.
    pub reachable_time: u32,
    /// Milliseconds between solicitations; zero is unspecified.
    pub retrans_timer: u32,
    /// Link-layer address of the router.
    pub source: Option<MacAddr>,
    /// MTU of the link in bytes.
    pub mtu: Option<u32>,
    /// Prefixes of the link.
    pub prefixes: Vec<Prefix>,
    /// Routes beside the default one (RFC 4191).
    pub routes: Vec<Route>,
    /// Seconds for which `dns` and `search` may be used; all ones is for ever.
    pub dns_lifetime: u32,
    /// Name servers (RFC 8106 §5.1).
    pub dns: Vec<Ipv6Addr>,
    /// Domains that names are looked up in (RFC 8106 §5.2), of labels of 1 to 63 bytes.
    pub search: Vec<String>,
}

impl RouterAdvert {
    /// The search list as it is written: names as labels, filled up to eight bytes.
    fn search_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in self.search.iter().flat_map(|name| name.split('.').chain([""])) {
            let label = &label.as_bytes()[..label.len().min(63)];
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }
}

/// A message as a value. Options that a variant has no place for are passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 133.
    RouterSolicit {
        /// Link-layer address of the sender.
        source: Option<MacAddr>,
    },
    /// Type 134.
    RouterAdvert(RouterAdvert),
    /// Type 135: who has `target`?
    NeighbourSolicit {
        /// The address asked for.
        target: Ipv6Addr,
        /// Link-layer address of the sender; none while it probes for duplicates.
        source: Option<MacAddr>,
    },
    /// Type 136: `target` is at `mac`.
    NeighbourAdvert {
        /// The sender is a router.
        router: bool,
        /// Answer to a solicitation.
        solicited: bool,
        /// Replaces what is cached.
        overrides: bool,
        /// The address told about.
        target: Ipv6Addr,
        /// Where it is.
        mac: Option<MacAddr>,
    },
}

impl Message {
    /// Reads a message from its ICMPv6 type to the end of its options.
    ///
    /// # Errors
    /// Truncated, a malformed option, a code other than zero or a multicast target ([`ParseError::Length`] is not
    /// among them: the bytes are the message), or another type ([`ParseError::Type`]).
    pub fn parse(icmp: &[u8]) -> Result<Self, ParseError> {
        const CUT: ParseError = ParseError::Truncated(Layer::Icmpv6);
        let (header, rest) = icmp.split_first_chunk::<8>().ok_or(CUT)?;
        if header[1] != 0 {
            return Err(ParseError::Type(Layer::Icmpv6));
        }
        match header[0] {
            ROUTER_SOLICIT => Ok(Self::RouterSolicit { source: Found::read(rest)?.source }),
            ROUTER_ADVERT => Self::parse_router_advert(header, rest),
            kind @ (NEIGHBOUR_SOLICIT | NEIGHBOUR_ADVERT) => {
                let (target, options) = rest.split_first_chunk::<16>().ok_or(CUT)?;
                let (target, found) = (Ipv6Addr::from(*target), Found::read(options)?);
                if target.is_multicast() {
                    return Err(ParseError::AddressType(Layer::Icmpv6));
                }
                Ok(if kind == NEIGHBOUR_SOLICIT {
                    Self::NeighbourSolicit { target, source: found.source }
                } else {
                    let flag = |bit: u8| header[4] & bit != 0;
                    let (router, solicited, overrides) = (flag(0x80), flag(0x40), flag(0x20));
                    Self::NeighbourAdvert { router, solicited, overrides, target, mac: found.target }
                })
            }
            _ => Err(ParseError::Type(Layer::Icmpv6)),
        }
    }

    fn parse_router_advert(header: &[u8; 8], rest: &[u8]) -> Result<Self, ParseError> {
        let (timers, options) = rest.split_first_chunk::<8>().ok_or(ParseError::Truncated(Layer::Icmpv6))?;
        let found = Found::read(options)?;
        Ok(Self::RouterAdvert(RouterAdvert {
            hop_limit: header[4],
            managed: header[5] & 0x80 != 0,
            other: header[5] & 0x40 != 0,
            router_lifetime: be16(header, 6),
            reachable_time: be32(timers, 0),
            retrans_timer: be32(timers, 4),
            source: found.source,
            mtu: found.mtu,
            prefixes: found.prefixes,
            routes: found.routes,
            dns_lifetime: found.dns_lifetime,
            dns: found.dns,
            search: found.search,
        }))
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub fn emitted_len(&self) -> usize {
        let mac = |mac: &Option<MacAddr>| if mac.is_some() { 8 } else { 0 };
        match self {
            Self::RouterSolicit { source } => 8 + mac(source),
            Self::RouterAdvert(advert) => {
                let mtu = if advert.mtu.is_some() { 8 } else { 0 };
                let dns = if advert.dns.is_empty() { 0 } else { 8 + 16 * advert.dns.len() };
                let search = if advert.search.is_empty() { 0 } else { 8 + advert.search_bytes().len() };
                let routes: usize = advert.routes.iter().map(|route| 8 + route.prefix_bytes()).sum();
                16 + mac(&advert.source) + mtu + 32 * advert.prefixes.len() + routes + dns + search
            }
            Self::NeighbourSolicit { source, .. } => 24 + mac(source),
            Self::NeighbourAdvert { mac: target, .. } => 24 + mac(target),
        }
    }

    /// Writes the message with a checksum of zero, to be filled with the pseudo header's; returns the bytes written.
    ///
    /// # Errors
    /// [`EmitError`] when `out` is shorter than [`emitted_len`](Self::emitted_len).
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let len = self.emitted_len();
        let mut w = Writer { out: room_for(out, len)?, at: 0 };
        match self {
            Self::RouterSolicit { source } => {
                w.put(&[ROUTER_SOLICIT, 0, 0, 0, 0, 0, 0, 0]);
                w.put_mac(1, *source);
            }
            Self::RouterAdvert(advert) => w.put_advert(advert),
            Self::NeighbourSolicit { target, source } => {
                w.put(&[NEIGHBOUR_SOLICIT, 0, 0, 0, 0, 0, 0, 0]);
                w.put(&target.octets());
                w.put_mac(1, *source);
            }
            Self::NeighbourAdvert { router, solicited, overrides, target, mac } => {
                let flags = u8::from(*router) << 7 | u8::from(*solicited) << 6 | u8::from(*overrides) << 5;
                w.put(&[NEIGHBOUR_ADVERT, 0, 0, 0, flags, 0, 0, 0]);
                w.put(&target.octets());
                w.put_mac(2, *mac);
            }
        }
        Ok(len)
    }
}

/// The options of one message.
#[derive(Default)]
struct Found {
    source: Option<MacAddr>,
    target: Option<MacAddr>,
    mtu: Option<u32>,
    prefixes: Vec<Prefix>,
    routes: Vec<Route>,
    dns_lifetime: u32,
    dns: Vec<Ipv6Addr>,
    search: Vec<String>,
}

/// Names written as labels, up to the zeros that fill the option.
fn read_search(mut bytes: &[u8]) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    while let [len, rest @ ..] = bytes {
        let Some((label, rest)) = rest.split_at_checked(usize::from(*len)) else { break };
        bytes = rest;
        if label.is_empty() {
            if name.is_empty() {
                break;
            }
            names.push(core::mem::take(&mut name));
        } else {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&String::from_utf8_lossy(label));
        }
    }
    names
}

impl Found {
    fn read(options: &[u8]) -> Result<Self, ParseError> {
        let mut found = Self::default();
        for option in Options::new(options) {
            match option? {
                NdOption::Source(mac) => found.source = Some(mac),
                NdOption::Target(mac) => found.target = Some(mac),
                NdOption::Prefix(prefix) => found.prefixes.push(prefix),
                NdOption::Mtu(mtu) => found.mtu = Some(mtu),
                NdOption::Route(route) => found.routes.push(route),
                // RFC 8106 §5: two bytes reserved, a lifetime, then addresses or names.
                NdOption::Other(kind @ (25 | 31), data) if data.len() >= 6 => {
                    found.dns_lifetime = u32::from_be_bytes([data[2], data[3], data[4], data[5]]);
                    match kind {
                        25 => found.dns.extend(data[6..].as_chunks().0.iter().map(|a| Ipv6Addr::from(*a))),
                        _ => found.search.extend(read_search(&data[6..])),
                    }
                }
                NdOption::Other(..) => {}
            }
        }
        Ok(found)
    }
}

/// Writes into a buffer whose length was computed beforehand.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn put_mac(&mut self, kind: u8, mac: Option<MacAddr>) {
        if let Some(mac) = mac {
            self.put(&[kind, 1]);
            self.put(&mac.0);
        }
    }

    fn put_advert(&mut self, advert: &RouterAdvert) {
        let flags = u8::from(advert.managed) << 7 | u8::from(advert.other) << 6;
        self.put(&[ROUTER_ADVERT, 0, 0, 0, advert.hop_limit, flags]);
        self.put(&advert.router_lifetime.to_be_bytes());
        self.put(&advert.reachable_time.to_be_bytes());
        self.put(&advert.retrans_timer.to_be_bytes());
        self.put_mac(1, advert.source);
        if let Some(mtu) = advert.mtu {
            self.put(&[5, 1, 0, 0]);
            self.put(&mtu.to_be_bytes());
        }
        for prefix in &advert.prefixes {
            let flags = u8::from(prefix.on_link) << 7 | u8::from(prefix.autonomous) << 6;
            self.put(&[3, 4, prefix.len, flags]);
            self.put(&prefix.valid_lifetime.to_be_bytes());
            self.put(&prefix.preferred_lifetime.to_be_bytes());
            self.put(&[0; 4]);
            self.put(&prefix.prefix.octets());
        }
        for route in &advert.routes {
            let n_bytes = route.prefix_bytes();
            self.put(&[24, 1 + (n_bytes / 8) as u8, route.len, route.preference.bits() << 3]);
            self.put(&route.lifetime.to_be_bytes());
            self.put(&route.prefix.octets()[..n_bytes]);
        }
        let lifetime = advert.dns_lifetime.to_be_bytes();
        if !advert.dns.is_empty() {
            self.put(&[25, 1 + 2 * advert.dns.len() as u8, 0, 0]);
            self.put(&lifetime);
            advert.dns.iter().for_each(|server| self.put(&server.octets()));
        }
        if !advert.search.is_empty() {
            let names = advert.search_bytes();
            self.put(&[31, 1 + (names.len() / 8) as u8, 0, 0]);
            self.put(&lifetime);
            self.put(&names);
        }
    }
}

/// The solicited-node multicast address of `addr` (RFC 4291 §2.7.1).
pub const fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let o = addr.octets();
    let (low, high) = (u16::from_be_bytes([o[14], o[15]]), 0xff00 | o[13] as u16);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// The Ethernet address for a multicast address (RFC 2464 §7).
pub const fn multicast_mac(addr: Ipv6Addr) -> MacAddr {
    let o = addr.octets();
    MacAddr([0x33, 0x33, o[12], o[13], o[14], o[15]])
}

/// The link-local address made from a MAC address (RFC 4291 appendix A).
pub const fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
