//! Which client has which address (RFC 2131 §4.3).

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use packet::{Instant, MacAddr};

use super::wire::{Kind, Message, option};
use crate::config::DhcpPool;
use crate::snapshot::IfIndex;
use crate::{KeptLease, LeaseInfo, LeaseState, Prefix};

/// How long an offer is kept for the client to take it.
const OFFER_TIME: Duration = Duration::from_secs(30);
/// How long an address that somebody else turned out to have is left alone.
const DECLINED_TIME: Duration = Duration::from_secs(600);
/// How long an answer to the question who has an address may take (RFC 2131 §2.2).
const PROBE_TIME: Duration = Duration::from_millis(500);
/// Discovers that wait for such an answer.
const MAX_PROBES: usize = 256;

/// Where a message came from: the interface, and the server's own address for these clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub interface: IfIndex,
    pub own: Ipv4Addr,
}

/// Addresses for the hosts of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub interface: IfIndex,
    pub network: Prefix,
    pub own: Ipv4Addr,
    pub config: DhcpPool,
}

impl Pool {
    fn contains(&self, addr: Ipv4Addr) -> bool {
        self.network.contains(addr.into())
    }

    /// The address that is set aside for a station.
    fn fixed(&self, mac: MacAddr) -> Option<Ipv4Addr> {
        self.config.hosts.iter().find(|host| host.mac == mac).map(|host| host.address)
    }

    /// Whether anybody may get it.
    fn is_free_for_all(&self, addr: Ipv4Addr) -> bool {
        let (first, last) = self.config.range;
        let no_host = self.network.addr() == IpAddr::V4(addr) || self.network.broadcast() == Some(addr);
        (first..=last).contains(&addr)
            && !no_host
            && addr != self.own
            && Some(addr) != self.config.gateway
            && !self.config.hosts.iter().any(|host| host.address == addr)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    client: Vec<u8>,
    mac: MacAddr,
    name: Option<String>,
    state: LeaseState,
    until: Instant,
}

/// A discover whose address is being asked for.
#[derive(Debug)]
struct Probe {
    due: Instant,
    since: Instant,
    arrival: Arrival,
    addr: Ipv4Addr,
    discover: Message,
}

/// What is to be done about a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Nothing,
    Answer(Arrival, Message),
    /// Ask who has the address.
    Probe(IfIndex, Ipv4Addr),
}

/// All leases. They are kept when their time is over, so that clients get the address they had.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pools: Vec<Pool>,
    leases: BTreeMap<Ipv4Addr, Lease>,
    by_client: BTreeMap<(IfIndex, Vec<u8>), Ipv4Addr>,
    probes: Vec<Probe>,
    /// Where the search for a new address goes on, by pool.
    next: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Addresses whose lease has changed since this was last asked for.
    changed: Vec<Ipv4Addr>,
}

impl Server {
    /// Replaces the pools; leases of networks that are still served stay.
    pub(crate) fn configure(&mut self, pools: Vec<Pool>) {
        self.pools = pools;
        self.probes.clear();
        let pools = &self.pools;
        self.leases.retain(|addr, _| pools.iter().any(|pool| pool.contains(*addr)));
        self.find_clients();
    }

    fn find_clients(&mut self) {
        let pools = &self.pools;
        self.by_client.clear();
        for (addr, lease) in self.leases.iter().filter(|(_, lease)| lease.state != LeaseState::Declined) {
            if let Some(pool) = pools.iter().find(|pool| pool.contains(*addr)) {
                self.by_client.insert((pool.interface, lease.client.clone()), *addr);
            }
        }
    }

    /// Leases that have changed since this was last asked for, those among them that have ended.
    pub(crate) fn take_changed(&mut self) -> Vec<KeptLease> {
        let changed = std::mem::take(&mut self.changed);
        let kept = |address: Ipv4Addr| {
            let lease = self.leases.get(&address).filter(|lease| lease.state != LeaseState::Offered)?;
            let Lease { client, mac, name, state, until } = lease.clone();
            Some(KeptLease { address, client, mac, name, state, until })
        };
        changed.into_iter().filter_map(kept).collect()
    }

    /// Takes over what was kept of earlier leases, as far as networks are still served. What is known here already goes
    /// before.
    pub(crate) fn restore(&mut self, kept: impl IntoIterator<Item = KeptLease>) {
        for KeptLease { address, client, mac, name, state, until } in kept {
            if self.pools.iter().any(|pool| pool.contains(address)) {
                self.leases.entry(address).or_insert(Lease { client, mac, name, state, until });
            }
        }
        self.find_clients();
    }

    fn pool_of(&self, arrival: Arrival, message: &Message) -> Option<usize> {
        match message.relay.is_unspecified() {
            true => self.pools.iter().position(|pool| pool.interface == arrival.interface),
            false => self.pools.iter().position(|pool| pool.contains(message.relay)),
        }
    }

    /// The server's address for the hosts of an interface.
    pub(crate) fn own_address(&self, interface: IfIndex) -> Option<Ipv4Addr> {
        self.pools.iter().find(|pool| pool.interface == interface).map(|pool| pool.own)
    }

    /// A message of a client.
    pub(crate) fn handle(&mut self, now: Instant, arrival: Arrival, message: &Message) -> Outcome {
        let Some(at) = self.pool_of(arrival, message).filter(|_| message.is_request) else {
            return Outcome::Nothing;
        };
        match message.kind() {
            Some(Kind::Discover) => self.discover(now, arrival, at, message),
            Some(Kind::Request) => self.request(now, arrival, at, message),
            Some(Kind::Decline) => {
                let own = message.addr(option::SERVER) == Some(arrival.own);
                if let Some(addr) = message.addr(option::REQUESTED).filter(|_| own)
                    && self.belongs(at, addr, message)
                {
                    self.decline(now, addr);
                }
                Outcome::Nothing
            }
            Some(Kind::Release) => {
                if self.belongs(at, message.client, message)
                    && let Some(lease) = self.leases.get_mut(&message.client)
                {
                    lease.until = now;
                    self.changed.push(message.client);
                }
                Outcome::Nothing
            }
            Some(Kind::Inform) => {
                let mut answer = message.answer(Kind::Ack);
                self.describe(&mut answer, arrival, at, message, false);
                Outcome::Answer(arrival, answer)
            }
            _ => Outcome::Nothing,
        }
    }

    /// Whether the client of `message` has `addr`.
    fn belongs(&self, at: usize, addr: Ipv4Addr, message: &Message) -> bool {
        let client = message.client_id();
        self.pools[at].contains(addr)
            && self
                .leases
                .get(&addr)
                .is_some_and(|lease| lease.client == client && lease.state != LeaseState::Declined)
    }

    fn decline(&mut self, now: Instant, addr: Ipv4Addr) {
        if let Some(lease) = self.leases.get_mut(&addr) {
            lease.state = LeaseState::Declined;
            lease.until = now + DECLINED_TIME;
            let client = std::mem::take(&mut lease.client);
            self.changed.push(addr);
            self.by_client.retain(|(_, id), known| *known != addr || *id != client);
        }
    }

    fn discover(&mut self, now: Instant, arrival: Arrival, at: usize, message: &Message) -> Outcome {
        let Some((addr, known)) = self.choose(now, at, message) else { return Outcome::Nothing };
        self.lease(now, at, addr, message, (LeaseState::Offered, OFFER_TIME));
        let local = message.relay.is_unspecified();
        if known || !local || self.probes.len() >= MAX_PROBES {
            return self.offer(arrival, at, addr, message);
        }
        self.probes.retain(|probe| probe.discover.mac != message.mac);
        let discover = message.clone();
        self.probes.push(Probe { due: now + PROBE_TIME, since: now, arrival, addr, discover });
        Outcome::Probe(arrival.interface, addr)
    }

    fn offer(&self, arrival: Arrival, at: usize, addr: Ipv4Addr, message: &Message) -> Outcome {
        let mut answer = message.answer(Kind::Offer);
        answer.yours = addr;
        self.describe(&mut answer, arrival, at, message, true);
        Outcome::Answer(arrival, answer)
    }

    /// The address a client would get (RFC 2131 §4.3.1), and whether it was his before.
    fn choose(&mut self, now: Instant, at: usize, message: &Message) -> Option<(Ipv4Addr, bool)> {
        let pool = &self.pools[at];
        if let Some(fixed) = pool.fixed(message.mac) {
            return Some((fixed, true));
        }
        let client = (pool.interface, message.client_id());
        if let Some(addr) = self.by_client.get(&client)
            && pool.is_free_for_all(*addr)
            && self.belongs(at, *addr, message)
        {
            return Some((*addr, self.leases.get(addr).is_some_and(|l| l.state == LeaseState::Bound)));
        }
        let never = |addr: &Ipv4Addr| pool.is_free_for_all(*addr) && !self.leases.contains_key(addr);
        if let Some(wanted) = message.addr(option::REQUESTED).filter(never) {
            return Some((wanted, false));
        }
        let (first, last) = pool.config.range;
        let start = self.next.get(&first).copied().unwrap_or(first).clamp(first, last);
        let range = |from: Ipv4Addr, to: Ipv4Addr| (from.to_bits()..=to.to_bits()).map(Ipv4Addr::from_bits);
        let fresh = range(start, last).find(never);
        if let Some(addr) = fresh {
            self.next.insert(first, addr);
            return Some((addr, false));
        }
        self.next.insert(first, last);
        let over = self.leases.iter().filter(|(addr, lease)| {
            lease.until <= now && pool.contains(**addr) && pool.is_free_for_all(**addr)
        });
        let (addr, _) = over.min_by_key(|(_, lease)| lease.until)?;
        Some((*addr, false))
    }

    /// Notes who has an address, in place of whoever had it.
    fn lease(
        &mut self,
        now: Instant,
        at: usize,
        addr: Ipv4Addr,
        message: &Message,
        (state, time): (LeaseState, Duration),
    ) {
        let interface = self.pools[at].interface;
        let client = message.client_id();
        let text = message.option(option::HOST_NAME).and_then(|name| core::str::from_utf8(name).ok());
        let name = text.filter(|name| name.len() <= 63 && name.bytes().all(is_label)).map(str::to_owned);
        let until = now + time;
        if let Some(old) = self.leases.get(&addr).filter(|old| old.client != client) {
            self.by_client.remove(&(interface, old.client.clone()));
        }
        let before = self.by_client.insert((interface, client.clone()), addr).filter(|b| *b != addr);
        self.changed.extend(before);
        if let Some(left) = before.and_then(|before| self.leases.get_mut(&before)) {
            // Over, but still there: what was never leased is only looked for behind what was.
            (left.until, left.client) = (now, Vec::new());
        }
        let kept = self.leases.get(&addr).filter(|old| {
            // An offer takes nothing from a lease that runs.
            state == LeaseState::Offered && old.state == LeaseState::Bound && old.until > until
        });
        if kept.is_none() {
            self.changed.push(addr);
            self.leases.insert(addr, Lease { client, mac: message.mac, name, state, until });
        }
    }

    /// RFC 2131 §4.3.2.
    fn request(&mut self, now: Instant, arrival: Arrival, at: usize, message: &Message) -> Outcome {
        let requested = message.addr(option::REQUESTED);
        let (addr, selecting) = match (message.addr(option::SERVER), requested) {
            (Some(server), _) if server != arrival.own => {
                // It took another's offer.
                self.probes.retain(|probe| probe.discover.mac != message.mac);
                return Outcome::Nothing;
            }
            (Some(_), Some(addr)) => (addr, true),
            (None, Some(addr)) => (addr, false),
            (_, None) => (message.client, false),
        };
        let pool = &self.pools[at];
        if !pool.contains(addr) {
            return self.refuse(arrival, message);
        }
        let fixed = pool.fixed(message.mac);
        let granted = match (fixed, self.leases.get(&addr)) {
            (Some(fixed), _) => fixed == addr,
            (None, Some(_)) => pool.is_free_for_all(addr) && self.belongs(at, addr, message),
            // Lost in a restart: who renews keeps it, who reboots is left to others (RFC 2131 §4.3.2).
            (None, None) if requested.is_none() => pool.is_free_for_all(addr),
            (None, None) if !selecting => return Outcome::Nothing,
            (None, None) => false,
        };
        if !granted {
            return self.refuse(arrival, message);
        }
        let time = pool.config.lease_time;
        self.lease(now, at, addr, message, (LeaseState::Bound, time));
        let mut answer = message.answer(Kind::Ack);
        answer.yours = addr;
        self.describe(&mut answer, arrival, at, message, true);
        Outcome::Answer(arrival, answer)
    }

    fn refuse(&self, arrival: Arrival, message: &Message) -> Outcome {
        let mut answer = message.answer(Kind::Nak);
        answer.push(option::SERVER, arrival.own.octets());
        // RFC 2131 §4.3.2: behind a relay it can only be broadcast.
        answer.broadcast |= !message.relay.is_unspecified();
        echo_relay(&mut answer, message);
        Outcome::Answer(arrival, answer)
    }

    /// What the client is told beside its address.
    fn describe(&self, answer: &mut Message, arrival: Arrival, at: usize, message: &Message, leased: bool) {
        let pool = &self.pools[at];
        let config = &pool.config;
        answer.push(option::SERVER, arrival.own.octets());
        if leased {
            let secs = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
            answer.push(option::LEASE_TIME, secs(config.lease_time));
            answer.push(option::RENEWAL, secs(config.lease_time / 2));
            answer.push(option::REBINDING, secs(config.lease_time * 7 / 8));
        }
        let mask = u32::MAX.checked_shl(32 - u32::from(pool.network.prefix_len())).unwrap_or(0);
        answer.push(option::SUBNET_MASK, mask.to_be_bytes());
        let wanted = message.option(option::PARAMETERS);
        let is_wanted = |number: &u8| wanted.is_none_or(|list| list.contains(number));
        let values = settings(pool, message.mac);
        answer
            .options
            .extend(values.into_iter().filter(|(number, value)| is_wanted(number) && !value.is_empty()));
        echo_relay(answer, message);
    }

    /// Offers whose address nobody else has turned up with; `heard` says who has been heard since.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        heard: impl Fn(IfIndex, Ipv4Addr, Instant) -> Option<MacAddr>,
    ) -> Vec<Outcome> {
        let (due, waiting) = std::mem::take(&mut self.probes).into_iter().partition(|p: &Probe| p.due <= now);
        self.probes = waiting;
        let mut outcomes = Vec::new();
        for Probe { since, arrival, addr, discover, .. } in due {
            let Some(at) = self.pool_of(arrival, &discover) else { continue };
            let other = heard(arrival.interface, addr, since).filter(|mac| *mac != discover.mac);
            outcomes.push(match other {
                Some(_) => {
                    self.decline(now, addr);
                    self.discover(now, arrival, at, &discover)
                }
                None => self.offer(arrival, at, addr, &discover),
            });
        }
        outcomes
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.probes.iter().map(|probe| probe.due).min()
    }

    /// Leases that run, and addresses left alone.
    pub(crate) fn leases(&self, now: Instant) -> Vec<LeaseInfo> {
        let running = self.leases.iter().filter(|(_, lease)| lease.until > now);
        let info = |(addr, lease): (&Ipv4Addr, &Lease)| LeaseInfo {
            address: *addr,
            mac: lease.mac,
            name: lease.name.clone(),
            state: lease.state,
            expires_in: lease.until.saturating_since(now),
        };
        running.map(info).collect()
    }
}

/// Letters, digits, hyphens and dots.
fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

/// RFC 3046 §2.2: what the relay said goes back to it, behind everything else.
fn echo_relay(answer: &mut Message, message: &Message) {
    if let Some(relay) = message.option(option::RELAY) {
        answer.push(option::RELAY, relay);
    }
}

/// The options of a pool; empty ones are not sent.
fn settings(pool: &Pool, mac: MacAddr) -> Vec<(u8, Vec<u8>)> {
    let config = &pool.config;
    let list = |addrs: &[Ipv4Addr]| addrs.iter().flat_map(Ipv4Addr::octets).collect::<Vec<u8>>();
    let text = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
    let gateway = config.gateway.unwrap_or(pool.own);
    let name = config.hosts.iter().find(|host| host.mac == mac).and_then(|host| host.name.clone());
    vec![
        (option::ROUTER, list(&[gateway])),
        (option::DNS, list(&config.dns)),
        (option::HOST_NAME, text(&name)),
        (option::DOMAIN, text(&config.domain)),
        (option::MTU, config.mtu.map_or(Vec::new(), |mtu| mtu.to_be_bytes().to_vec())),
        (option::NTP, list(&config.ntp)),
        (option::TFTP_SERVER, text(&config.tftp_server)),
        (option::BOOT_FILE, text(&config.boot_file)),
        (option::ROUTES, routes(config, gateway)),
    ]
}

/// RFC 3442: who reads these ignores the router option, so the default route is among them.
fn routes(config: &DhcpPool, gateway: Ipv4Addr) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (to, via) in &config.routes {
        if let IpAddr::V4(addr) = to.addr() {
            bytes.push(to.prefix_len());
            bytes.extend_from_slice(&addr.octets()[..usize::from(to.prefix_len().div_ceil(8)).min(4)]);
            bytes.extend(via.octets());
        }
    }
    if !bytes.is_empty() {
        bytes.push(0);
        bytes.extend(gateway.octets());
    }
    bytes
}
