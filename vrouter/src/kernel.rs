//! Routes of a kernel in which a routing daemon runs unchanged: BIRD, FRR and whatever else puts routes into Linux. Its
//! table is read whole at first, and again when messages were lost or may be missing; in between, what changes is followed
//! (rtnetlink(7)). Followed are routes that a routing protocol or a person has made for good; not those that the kernel
//! makes itself, as for the networks of its interfaces, nor what has no protocol (`proto boot`).
//!
//! The shell has a netlink socket there, in the groups of links, IPv4 addresses, routes and next hops.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use packet::Instant;

use crate::fib::NAMELESS;
use crate::netlink::{self, NLMSG_HEADER, Said, To, Told, Via};
use crate::snapshot::MAIN_TABLE;
use crate::told::NextHops;
use crate::{NextHop, Prefix, RouteTarget, Router};

/// Kernels withdraw routes without a word when a link or an address goes: then, after so long, everything is read again.
const SETTLE: Duration = Duration::from_millis(100);

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_DELADDR: u16 = 21;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEXTHOP: u16 = 106;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_DUMP: u16 = 0x301;
/// What a dump tells has changed meanwhile.
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_APPEND: u16 = 0x800;
/// Not of a table, but remembered for one destination.
const RTM_F_CLONED: u32 = 0x200;
/// Protocols up to this one, and that of router advertisements, are of the kernel itself, or of nobody.
const RTPROT_BOOT: u8 = 3;
const RTPROT_RA: u8 = 9;

/// What a route is known by: table, prefix, metric. The least metric wins.
type Key = (u32, Prefix, u32);

#[derive(Debug)]
struct Entry {
    way: To,
    /// The dump or the time after it that named it last.
    dump: u32,
    /// There are others behind it that differ in nothing it is known by.
    is_doubled: bool,
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    NextHops,
    Ipv4,
    Ipv6,
}

/// The routes of one kernel. The shell brings what the socket says, and sends what is asked.
#[derive(Debug, Default)]
pub struct KernelRoutes {
    /// Interfaces of the router by the number that the kernel has for their shadows.
    links: BTreeMap<u32, String>,
    routes: BTreeMap<Key, Entry>,
    /// Prefixes whose route is the router's.
    in_force: BTreeSet<(u32, Prefix)>,
    next_hops: NextHops,
    /// Routes by the number of the next hop that they name.
    n_users: BTreeMap<u32, usize>,
    /// Next hops that the dump has not named yet.
    unnamed: BTreeSet<u32>,
    step: Option<Step>,
    n_dumps: u32,
    sequence: u32,
    /// The dump under way will not be the last.
    is_stale: bool,
    again_at: Option<Instant>,
    request: Option<Vec<u8>>,
}

impl KernelRoutes {
    /// Which interface of the router stands behind each of the kernel's. What is known is read anew with
    /// [`connected`](Self::connected).
    pub fn set_links(&mut self, links: BTreeMap<u32, String>) {
        self.links = links;
    }

    /// There is a socket, the first or a new one because the one before has lost messages.
    pub fn connected(&mut self) {
        self.n_dumps += 1;
        self.unnamed = self.next_hops.numbers().collect();
        (self.is_stale, self.again_at) = (false, None);
        self.ask(Step::NextHops);
    }

    fn ask(&mut self, step: Step) {
        let (kind, body) = match step {
            Step::NextHops => (RTM_GETNEXTHOP, vec![0; 8]),
            Step::Ipv4 => (RTM_GETROUTE, [&[2][..], &[0; 11]].concat()),
            Step::Ipv6 => (RTM_GETROUTE, [&[10][..], &[0; 11]].concat()),
        };
        self.sequence += 1;
        let mut request = ((NLMSG_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend(REQUEST_DUMP.to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend([0; 4]);
        request.extend(body);
        (self.step, self.request) = (Some(step), Some(request));
    }

    /// What the kernel is to be asked next.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.request.take()
    }

    /// What the socket has said: whole messages. Workers see the changes of one call together.
    pub fn handle_bytes(&mut self, router: &mut Router, now: Instant, bytes: &[u8]) {
        for message in netlink::messages(bytes) {
            self.handle(router, now, message);
        }
        self.follow_changed(router);
        router.publish_routes();
    }

    fn handle(&mut self, router: &mut Router, now: Instant, message: &[u8]) {
        let Some(header) = netlink::header(message) else { return };
        let is_dump = self.step.is_some() && header.sequence == self.sequence;
        match header.kind {
            // Kernels before 5.3 know no next hops by number.
            NLMSG_DONE | NLMSG_ERROR if is_dump => return self.step_on(router, now),
            RTM_NEWLINK | RTM_DELLINK | RTM_DELADDR => return self.ask_again(now),
            _ => self.is_stale |= is_dump && header.flags & NLM_F_DUMP_INTR != 0,
        }
        match netlink::read(message) {
            Some(Said::Route(told)) => {
                self.put(router, told, (is_dump, header.flags & NLM_F_APPEND != 0));
            }
            Some(Said::NoRoute(told)) => self.remove(router, now, &told),
            Some(Said::NextHop { id, way }) => {
                self.unnamed.remove(&id);
                self.next_hops.put(id, way);
            }
            Some(Said::Group { id, members }) => {
                self.unnamed.remove(&id);
                self.next_hops.put_group(id, members);
            }
            Some(Said::NoNextHop { id }) => {
                self.unnamed.remove(&id);
                self.next_hops.withdraw(id);
                if self.n_users.contains_key(&id) {
                    // The routes by it go with it, silently.
                    self.ask_again(now);
                }
            }
            None => {}
        }
    }

    /// A part of the dump is complete.
    fn step_on(&mut self, router: &mut Router, now: Instant) {
        match self.step {
            Some(Step::NextHops) => self.ask(Step::Ipv4),
            Some(Step::Ipv4) => self.ask(Step::Ipv6),
            Some(Step::Ipv6) | None => {
                self.step = None;
                self.sweep(router);
                if self.is_stale {
                    self.ask_again(now);
                }
            }
        }
    }

    /// Takes out what the dump did not name.
    fn sweep(&mut self, router: &mut Router) {
        for id in std::mem::take(&mut self.unnamed) {
            self.next_hops.withdraw(id);
        }
        let n = self.n_dumps;
        let stale: Vec<Key> = self.routes.iter().filter(|(_, e)| e.dump != n).map(|(key, _)| *key).collect();
        for key in stale {
            self.forget(&key);
            self.apply(router, (key.0, key.1));
        }
    }

    fn ask_again(&mut self, now: Instant) {
        match self.step {
            Some(_) => self.is_stale = true,
            None => self.again_at = self.again_at.or(Some(now + SETTLE)),
        }
    }

    fn put(&mut self, router: &mut Router, told: Told, (is_dump, is_appended): (bool, bool)) {
        if !is_followed(&told) {
            return;
        }
        let (key, dump) = ((told.table, told.to, told.metric), self.n_dumps);
        // IPv4 has several routes that differ in nothing, of which the first is used. Those of IPv6 become one.
        let is_behind = match self.routes.get_mut(&key) {
            Some(known) if is_dump => known.dump == dump,
            Some(_) => is_appended && told.to.addr().is_ipv4(),
            None => false,
        };
        if is_behind {
            self.routes.get_mut(&key).expect("it is behind one").is_doubled = true;
            return;
        }
        let is_doubled = self.forget(&key).is_some_and(|known| known.is_doubled && !is_dump);
        if let To::Named(id) = told.way {
            *self.n_users.entry(id).or_default() += 1;
        }
        self.routes.insert(key, Entry { way: told.way, dump, is_doubled });
        self.apply(router, (key.0, key.1));
    }

    fn forget(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.routes.remove(key)?;
        if let To::Named(id) = entry.way
            && let Some(n) = self.n_users.get_mut(&id)
        {
            *n -= 1;
            if *n == 0 {
                self.n_users.remove(&id);
            }
        }
        Some(entry)
    }

    fn remove(&mut self, router: &mut Router, now: Instant, told: &Told) {
        let key = (told.table, told.to, told.metric);
        let Some(known) = self.routes.get_mut(&key).filter(|_| is_followed(told)) else { return };
        match (&mut known.way, &told.way) {
            // Of several next hops in IPv6 some may go.
            (To::Hops(known), To::Hops(gone)) if gone.len() < known.len() => {
                let is_gone = |via: &Via| gone.iter().any(|g| (g.gateway, g.link) == (via.gateway, via.link));
                known.retain(|via| !is_gone(via));
            }
            _ => {
                if known.is_doubled {
                    self.ask_again(now);
                }
                self.forget(&key);
            }
        }
        self.apply(router, (key.0, key.1));
    }

    /// Gives the router the best route to a prefix, or takes it away.
    fn apply(&mut self, router: &mut Router, key: (u32, Prefix)) {
        let (table, to) = key;
        let best = self.routes.range((table, to, 0)..=(table, to, u32::MAX)).next();
        let route = best.and_then(|((.., metric), entry)| Some((*metric, self.target(&entry.way)?)));
        if route.is_some_and(|(metric, target)| router.put_route((NAMELESS, to), (metric, &target)).is_ok()) {
            self.in_force.insert(key);
        } else if self.in_force.remove(&key) {
            router.take_route((NAMELESS, to));
        }
    }

    /// What the router is to do; none: the route is none of its own, as it leads by another interface than its shadows.
    fn target(&self, way: &To) -> Option<RouteTarget> {
        let interface = |link: u32| match link {
            0 => Some(None),
            link => self.links.get(&link).cloned().map(Some),
        };
        let hop = |via: &Via| {
            let (gateway, interface) = (via.gateway?, interface(via.link)?);
            Some(NextHop { gateway, interface, weight: via.weight })
        };
        let way = self.next_hops.resolve(way)?;
        match &*way {
            To::Hops(hops) => match hops.as_slice() {
                [Via { gateway: None, link, .. }] => {
                    self.links.get(link).cloned().map(RouteTarget::Interface)
                }
                hops => {
                    let hops: Vec<NextHop> = hops.iter().filter_map(hop).collect();
                    match hops.as_slice() {
                        [] => None,
                        [NextHop { gateway, interface, .. }] => {
                            Some(RouteTarget::Via { gateway: *gateway, interface: interface.clone() })
                        }
                        _ => Some(RouteTarget::Group(hops)),
                    }
                }
            },
            To::Blackhole => Some(RouteTarget::Blackhole),
            To::Unreachable => Some(RouteTarget::Unreachable),
            To::Prohibit => Some(RouteTarget::Prohibit),
            To::Elsewhere | To::Named(_) => None,
        }
    }

    /// Takes routes along with next hops and groups that have changed behind their numbers.
    fn follow_changed(&mut self, router: &mut Router) {
        let changed = self.next_hops.take_changed();
        if !changed.iter().any(|id| self.n_users.contains_key(id)) {
            return;
        }
        let is_meant = |entry: &Entry| matches!(entry.way, To::Named(id) if changed.contains(&id));
        let meant = self.routes.iter().filter(|(_, entry)| is_meant(entry));
        let meant: Vec<(u32, Prefix)> = meant.map(|((table, to, _), _)| (*table, *to)).collect();
        for key in meant {
            self.apply(router, key);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.again_at
    }

    /// Asks for everything again where something may be missing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.connected();
        }
    }

    /// Takes all routes out of the router again.
    pub fn withdraw(&mut self, router: &mut Router) {
        for (_, to) in std::mem::take(&mut self.in_force) {
            router.take_route((NAMELESS, to));
        }
        router.publish_routes();
        *self = Self::default();
    }

    /// Routes in force.
    pub fn n_routes(&self) -> usize {
        self.in_force.len()
    }
}

/// Whether a route is one that the router is to have.
fn is_followed(told: &Told) -> bool {
    let is_made = told.protocol > RTPROT_BOOT && told.protocol != RTPROT_RA;
    is_made && told.table == MAIN_TABLE && told.tos == 0 && told.flags & RTM_F_CLONED == 0
}
