//! Neighbour discovery for IPv6 (RFC 4861): solicitations are answered, neighbours remembered, routers advertised.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use packet::{Frame, Instant, MacAddr, icmpv6, nd};

use crate::Drop;
use crate::duplicate::Unused;
use crate::flow::{Ip, checksum_holds};
use crate::forwarder::Forwarder;
use crate::input::Arrived;
use crate::message::{Learned, ReportKind};
use crate::neighbour::Heard;
use crate::output::{ALL_NODES, Io, advertise, advertise_for, link, send_frame};
use crate::snapshot::{IfIndex, Interface, Snapshot};
use crate::{AdvertConfig, AdvertRoute, RouterEvent};

/// RFC 4861 §10: the first advertisements come in shorter intervals.
const INITIAL_INTERVAL: Duration = Duration::from_secs(16);
const N_INITIAL: u8 = 3;
/// Least time between two advertisements to all nodes.
const LEAST_INTERVAL: Duration = Duration::from_secs(3);

/// Messages of ARP and neighbour discovery that each worker reads, of one interface, a second and at once.
const NEIGHBOUR_RATE: u32 = 20_000;
const NEIGHBOUR_BURST: u32 = 4096;

/// Type of ICMPv6 (RFC 4861 §4.3).
const NEIGHBOUR_SOLICITATION: u8 = 135;

/// The advertisements of one interface.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    interface: IfIndex,
    due: Instant,
    /// When the last one went to all.
    last: Option<Instant>,
    n_sent: u8,
}

/// When router advertisements are due; one worker sends them.
#[derive(Debug, Default)]
pub(crate) struct Adverts {
    schedules: Vec<Schedule>,
    /// Mixed into the waits, so that routers on one link do not fall into step (RFC 4861 §6.2.4).
    n_drawn: u64,
}

impl Adverts {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.schedules.iter().map(|s| s.due).min()
    }

    /// A wait between a third of the longest and the longest.
    fn draw(&mut self, longest: Duration, seed: u64) -> Duration {
        self.n_drawn += 1;
        let noise = (seed ^ self.n_drawn).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        longest / 3 + (longest * 2 / 3).mul_f64(noise as f64 / f64::from(1 << 24))
    }

    /// Starts over for another configuration.
    fn adopt(&mut self, now: Instant, new: &Snapshot, unused: &Unused) {
        let advertising = (0..).zip(&new.interfaces).filter(|(_, i)| i.advert.is_some());
        let schedule = |(interface, i): (IfIndex, &Interface)| {
            // Not before its link-local address may be used.
            let due = i.link_local.and_then(|own| unused.tentative_until((interface, own))).unwrap_or(now);
            Schedule { interface, due, last: None, n_sent: 0 }
        };
        self.schedules = advertising.map(schedule).collect();
    }
}

impl Forwarder {
    /// Whether one more message of ARP or neighbour discovery is read.
    pub(crate) fn admits_neighbours(&mut self, io: &Io<'_>, interface: IfIndex) -> bool {
        let gate = self.gates.get_mut(usize::from(interface));
        gate.is_some_and(|gate| gate.neighbours.admit(io.now, NEIGHBOUR_RATE, NEIGHBOUR_BURST))
    }

    /// Takes in a message of neighbour discovery. All but questions about neighbours go up as well: a shadow has its own
    /// questions, and daemons there may speak with hosts as routers do.
    pub(crate) fn receive_discovery(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        frame: Frame,
        (ip, arrived): (&Ip, &Arrived),
    ) {
        let result = match self.admits_neighbours(io, arrived.interface) {
            true => self.discovery(s, io, &frame, (ip, arrived)),
            false => Err(Drop::ServiceLimit),
        };
        let is_question = frame.head().get(ip.header_len) == Some(&NEIGHBOUR_SOLICITATION);
        match result {
            Ok(()) if !is_question => self.packet_up(s, io, frame, (ip, arrived), None),
            Ok(()) => io.pool.free(frame),
            Err(Drop::NdIgnored) if !is_question => {
                self.packet_up(s, io, frame, (ip, arrived), Some(Drop::NdIgnored));
            }
            Err(why) => self.drop(io, frame, why),
        }
    }

    /// A message of neighbour discovery.
    fn discovery(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        frame: &Frame,
        (ip, arrived): (&Ip, &Arrived),
    ) -> Result<(), Drop> {
        let bytes = frame.head().get(ip.header_len..).unwrap_or(&[]);
        // RFC 4861 §6.1, §7.1: not from another link, and whole.
        if ip.ttl != nd::HOP_LIMIT || ip.is_fragment() || !checksum_holds(frame, ip) {
            return Err(Drop::BadNd);
        }
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else { return Err(Drop::BadNd) };
        if s.interface(arrived.interface).link_local.is_none() {
            return Err(Drop::NdIgnored);
        }
        match nd::Message::parse(bytes).map_err(|_| Drop::BadNd)? {
            nd::Message::NeighbourSolicit { target, source } => {
                self.solicited(s, io, arrived, (src, dst), (target, source))
            }
            nd::Message::NeighbourAdvert { solicited, overrides, target, mac, .. } => {
                if solicited && dst.is_multicast() {
                    return Err(Drop::BadNd);
                }
                let mac = mac.filter(|mac| mac.is_unicast()).ok_or(Drop::NdIgnored)?;
                if self.meets_a_probe(s, io, (arrived.interface, target), mac) {
                    return Err(Drop::DuplicateAddress);
                }
                self.check_owner(s, io, arrived, target, mac)?;
                if !s.may_speak(arrived.interface, target.into(), mac) {
                    return Err(Drop::Spoofed);
                }
                let heard = Heard { mac, confirmed: solicited, overrides };
                // Another worker may have asked.
                self.heard_from(s, io, (arrived.interface, target), heard, solicited);
                Ok(())
            }
            nd::Message::RouterSolicit { source } => {
                let advertises = s.interface(arrived.interface).advert.is_some();
                if let Some(mac) = source.filter(|_| !src.is_unspecified()) {
                    let heard = Heard { mac, confirmed: false, overrides: true };
                    self.heard_from(s, io, (arrived.interface, src), heard, advertises);
                }
                self.report(ReportKind::RouterSolicited {
                    generation: s.generation,
                    interface: arrived.interface,
                });
                if advertises { Ok(()) } else { Err(Drop::NdIgnored) }
            }
            nd::Message::RouterAdvert(_) => Err(Drop::NdIgnored),
        }
    }

    /// Someone asks for `target` (RFC 4861 §7.2.3, §7.2.4), or wants it for himself (RFC 4862 §5.4.3).
    fn solicited(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        arrived: &Arrived,
        (src, dst): (Ipv6Addr, Ipv6Addr),
        (target, source): (Ipv6Addr, Option<MacAddr>),
    ) -> Result<(), Drop> {
        let interface = s.interface(arrived.interface);
        let probes = src.is_unspecified();
        if probes && (source.is_some() || dst != nd::solicited_node(target)) {
            return Err(Drop::BadNd);
        }
        let ours = interface.has(target.into());
        let mac = source.unwrap_or(arrived.src);
        if !self.unused.allows(arrived.interface, target.into()) {
            // RFC 4862 §5.4.3: who probes for it, too, is not to have it either; who asks where it is gets no answer.
            let other = probes && mac != interface.mac;
            return match other && self.meets_a_probe(s, io, (arrived.interface, target), mac) {
                true => Err(Drop::DuplicateAddress),
                false => Err(Drop::NdIgnored),
            };
        }
        if !probes && (!interface.is_on_link(src.into()) || !mac.is_unicast()) {
            return Err(Drop::BadNd);
        }
        if !probes {
            self.check_owner(s, io, arrived, src, mac)?;
            if !s.may_speak(arrived.interface, src.into(), mac) {
                return Err(Drop::Spoofed);
            }
            let heard = Heard { mac, confirmed: false, overrides: true };
            self.heard_from(
                s,
                io,
                (arrived.interface, src),
                heard,
                ours || s.is_proxied(arrived.interface, target.into()),
            );
        }
        match (ours, probes) {
            (true, _) => advertise(io, interface, target, (!probes).then_some((mac, src))),
            // RFC 4861 §7.2.8: who has the address elsewhere goes before. Nobody is kept from taking it.
            (false, false) if s.is_proxied(arrived.interface, target.into()) => {
                advertise_for(io, interface, target, (mac, src));
            }
            (false, _) => return Err(Drop::NdIgnored),
        }
        Ok(())
    }

    /// Someone else who speaks for an address of ours is told of, not believed.
    fn check_owner(
        &mut self,
        s: &Snapshot,
        io: &Io<'_>,
        arrived: &Arrived,
        address: Ipv6Addr,
        mac: MacAddr,
    ) -> Result<(), Drop> {
        let interface = s.interface(arrived.interface);
        match interface.has(address.into()) {
            false => Ok(()),
            true if mac == interface.mac => Err(Drop::NdIgnored),
            true => {
                let (interface, address) = (interface.name.clone(), address.into());
                self.report_event(io.now, RouterEvent::DuplicateAddress { interface, address, mac });
                Err(Drop::DuplicateAddress)
            }
        }
    }

    fn heard_from(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        (interface, address): (IfIndex, Ipv6Addr),
        heard: Heard,
        create: bool,
    ) {
        let learned = Learned { generation: s.generation, interface, address: address.into(), heard };
        if self.learned(s, io, &learned, create) {
            self.report(ReportKind::Learned(learned));
        }
    }

    /// Hosts of an interface that no longer advertises are told so; the others hear soon.
    pub(crate) fn adopt_adverts(&mut self, io: &mut Io<'_>, old: &Snapshot, new: &Snapshot) {
        for interface in old.interfaces.iter().filter(|i| i.advert.is_some()) {
            let goes_on = new.interfaces.iter().any(|i| i.is_same(interface) && i.advert.is_some());
            if !goes_on {
                send_advert(io, interface, true);
            }
        }
        self.adverts.adopt(io.now, new, &self.unused);
    }

    /// Somebody asked for a router.
    pub(crate) fn router_solicited(&mut self, io: &Io<'_>, interface: IfIndex) {
        for schedule in self.adverts.schedules.iter_mut().filter(|s| s.interface == interface) {
            // RFC 4861 §6.2.6: to all nodes, but no more often than once in three seconds.
            let earliest = schedule.last.map_or(io.now, |last| (last + LEAST_INTERVAL).max(io.now));
            schedule.due = schedule.due.min(earliest);
        }
    }

    /// Sends the advertisements that are due.
    pub(crate) fn send_adverts(&mut self, s: &Snapshot, io: &mut Io<'_>) {
        for at in 0..self.adverts.schedules.len() {
            let schedule = self.adverts.schedules[at];
            let interface = s.interface(schedule.interface);
            let Some(advert) = interface.advert.as_ref().filter(|_| schedule.due <= io.now) else { continue };
            let may_speak = |own: Ipv6Addr| self.unused.allows(schedule.interface, own.into());
            if interface.link_local.is_some_and(may_speak) {
                send_advert(io, interface, false);
            }
            let longest = match schedule.n_sent < N_INITIAL {
                true => advert.interval.min(INITIAL_INTERVAL),
                false => advert.interval,
            };
            let due = io.now + self.adverts.draw(longest, interface.mac.to_u64()).max(LEAST_INTERVAL);
            let n_sent = schedule.n_sent.saturating_add(1);
            self.adverts.schedules[at] = Schedule { due, last: Some(io.now), n_sent, ..schedule };
        }
    }
}

/// Sends a router advertisement to all nodes; the last one, when the interface ceases to advertise, has a lifetime of
/// zero (RFC 4861 §6.2.5).
fn send_advert(io: &mut Io<'_>, interface: &Interface, last: bool) {
    let (Some(advert), Some(own)) = (&interface.advert, interface.link_local) else { return };
    let message = nd::Message::RouterAdvert(router_advert(interface, advert, last));
    send_frame(
        io,
        interface,
        &link(interface, nd::multicast_mac(ALL_NODES)).ipv6(own, ALL_NODES).nd(&message),
    );
}

fn router_advert(interface: &Interface, advert: &AdvertConfig, last: bool) -> nd::RouterAdvert {
    let nets = interface.addresses.iter().filter_map(|(_, net)| match net.addr() {
        IpAddr::V6(prefix) => Some((prefix, net.prefix_len())),
        IpAddr::V4(_) => None,
    });
    let prefix = |(prefix, len): (Ipv6Addr, u8)| nd::Prefix {
        len,
        on_link: true,
        // RFC 4862 §5.5.3: an interface identifier has 64 bits.
        autonomous: len == 64,
        // RFC 4861 §6.2.1: thirty days and seven.
        valid_lifetime: 2_592_000,
        preferred_lifetime: 604_800,
        prefix,
    };
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    nd::RouterAdvert {
        hop_limit: 64,
        managed: advert.managed,
        other: advert.other,
        router_lifetime: if last { 0 } else { seconds(advert.lifetime).min(9000) as u16 },
        source: Some(interface.mac),
        mtu: Some(interface.mtu.into()),
        prefixes: nets.map(prefix).collect(),
        // RFC 8106 §5.1: three times the interval.
        dns_lifetime: if last { 0 } else { seconds(advert.interval).saturating_mul(3) },
        routes: advert.routes.iter().filter_map(|route| told(route, last)).collect(),
        dns: advert.dns.clone(),
        search: advert.search.clone(),
        ..nd::RouterAdvert::default()
    }
}

/// A route as hosts are told of it; with the last advertisement it ends (RFC 4191 §4).
fn told(route: &AdvertRoute, last: bool) -> Option<nd::Route> {
    let IpAddr::V6(prefix) = route.to.addr() else { return None };
    let lifetime = if last { 0 } else { u32::try_from(route.lifetime.as_secs()).unwrap_or(u32::MAX) };
    Some(nd::Route { len: route.to.prefix_len(), preference: route.preference, lifetime, prefix })
}

/// Whether a packet belongs to neighbour discovery. The frame begins with the IP header.
pub(crate) fn is_discovery(frame: &Frame, ip: &Ip) -> bool {
    let bytes = frame.head().get(ip.header_len..).unwrap_or(&[]);
    ip.src.is_ipv6()
        && ip.is_icmp()
        && !ip.is_later_fragment()
        && icmpv6::View::parse(bytes).is_ok_and(|icmp| icmp.is_nd())
}
