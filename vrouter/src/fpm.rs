//! Routes of a routing daemon over FPM, the way FRR's `dplane_fpm_nl` speaks it: the daemon connects, sends its whole table
//! and then what changes, and is told what became of each route, which BGP waits for before it announces them.
//!
//! A daemon that comes back sends everything again: what it had told before stays in force, and goes only when it has been
//! quiet for a while without naming it (mark and sweep), so that forwarding never has a gap.

mod wire;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use packet::Instant;

pub use wire::FpmError;

use crate::{NextHop, Prefix, RouteConfig, RouteTarget, Router};
use wire::{Said, To, Via};

/// Without a word for this long after it has connected, a daemon has told its whole table.
const QUIET: Duration = Duration::from_secs(15);
/// Routes of a daemon that has gone stay for so long (RFC 4724 §4.2 has 180 s to 3600 s in use).
const HOLD: Duration = Duration::from_secs(300);
/// The table that is the VRF without a name (RT_TABLE_MAIN). Others are VRFs that have their number for a name.
const MAIN: u32 = 254;

/// What a route is known by: VRF and prefix.
type Key = (Option<String>, Prefix);

/// The routes of one daemon. The shell brings its bytes and takes away the answers.
#[derive(Debug, Default)]
pub struct Fpm {
    /// What has come of a message that is not yet whole.
    rest: Vec<u8>,
    /// Routes in force, and the session that named them last.
    routes: BTreeMap<Key, u64>,
    session: u64,
    /// When routes that the session has not named go.
    sweep_at: Option<Instant>,
    is_connected: bool,
    next_hops: BTreeMap<u32, To>,
    groups: BTreeMap<u32, Vec<(u32, u16)>>,
    answers: VecDeque<Vec<u8>>,
}

/// A route that is to be added, and the message to be answered.
struct Addition<'a> {
    key: Key,
    route: RouteConfig,
    message: &'a [u8],
}

impl Fpm {
    /// A daemon has connected.
    pub fn connected(&mut self, now: Instant) {
        self.rest.clear();
        self.answers.clear();
        self.next_hops.clear();
        self.groups.clear();
        self.session += 1;
        (self.is_connected, self.sweep_at) = (true, Some(now + QUIET));
    }

    /// It has gone. Its routes stay for five minutes.
    pub fn disconnected(&mut self, now: Instant) {
        (self.is_connected, self.sweep_at) = (false, Some(now + HOLD));
        self.session += 1;
    }

    /// What it sends, in pieces of any size.
    ///
    /// # Errors
    /// [`FpmError`]: this is not FPM with netlink; the connection is to be closed.
    pub fn handle_bytes(&mut self, router: &mut Router, now: Instant, bytes: &[u8]) -> Result<(), FpmError> {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let (mut at, mut pending) = (0, Vec::new());
        let result = loop {
            match wire::frame(&all[at..]) {
                Ok(Some(len)) => {
                    for message in wire::messages(&all[at + wire::HEADER_LEN..at + len]) {
                        self.handle(router, message, &mut pending);
                    }
                    at += len;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.add(router, &mut pending);
        drop(pending);
        all.drain(..at);
        self.rest = all;
        if self.sweep_at.is_some() && self.is_connected {
            self.sweep_at = Some(now + QUIET);
        }
        result
    }

    fn handle<'a>(&mut self, router: &mut Router, message: &'a [u8], pending: &mut Vec<Addition<'a>>) {
        match wire::read(message) {
            Some(Said::Route { table, to, metric, way }) => {
                let key = (vrf(table), to);
                match self.target(&way) {
                    Some(target) => {
                        let route = RouteConfig { vrf: key.0.clone(), to, target, metric };
                        pending.push(Addition { key, route, message });
                    }
                    None if way == To::Elsewhere => {}
                    None => self.answers.push_back(wire::told(message, wire::OFFLOAD_FAILED)),
                }
            }
            Some(Said::NoRoute { table, to }) => {
                // In the order they were said.
                self.add(router, pending);
                let key = (vrf(table), to);
                self.remove(router, &key);
            }
            Some(Said::NextHop { id, way }) => {
                self.groups.remove(&id);
                self.next_hops.insert(id, way.unwrap_or(To::Elsewhere));
            }
            Some(Said::Group { id, members }) => {
                self.next_hops.remove(&id);
                self.groups.insert(id, members);
            }
            Some(Said::NoNextHop { id }) => {
                self.next_hops.remove(&id);
                self.groups.remove(&id);
            }
            None => {}
        }
    }

    /// What the router is to do; none if the way is unknown.
    fn target(&self, way: &To) -> Option<RouteTarget> {
        let hop = |via: &Via| NextHop { gateway: via.gateway, interface: None, weight: via.weight };
        match way {
            To::Hops(hops) => match hops.as_slice() {
                [only] => Some(RouteTarget::Via { gateway: only.gateway, interface: None }),
                hops => Some(RouteTarget::Group(hops.iter().map(hop).collect())),
            },
            To::Blackhole => Some(RouteTarget::Blackhole),
            To::Unreachable => Some(RouteTarget::Unreachable),
            To::Prohibit => Some(RouteTarget::Prohibit),
            To::Elsewhere => None,
            To::Named(id) => match self.groups.get(id) {
                Some(members) => {
                    let gateways = members.iter().filter_map(|(id, weight)| match self.next_hops.get(id) {
                        Some(To::Hops(hops)) => {
                            hops.first().map(|via| Via { weight: *weight, ..via.clone() })
                        }
                        _ => None,
                    });
                    let hops: Vec<Via> = gateways.collect();
                    if hops.is_empty() { None } else { self.target(&To::Hops(hops)) }
                }
                None => match self.next_hops.get(id)? {
                    To::Named(_) => None,
                    way => self.target(way),
                },
            },
        }
    }

    /// Adds routes together; if one cannot be, one after the other. Tells what became of each.
    fn add(&mut self, router: &mut Router, pending: &mut Vec<Addition<'_>>) {
        let additions = std::mem::take(pending);
        let routes: Vec<RouteConfig> = additions.iter().map(|a| a.route.clone()).collect();
        let together = routes.is_empty() || router.add_routes(&routes).is_ok();
        for Addition { key, route, message } in additions {
            let is_in = together || router.add_routes(&[route]).is_ok();
            let flag = if is_in { wire::OFFLOADED } else { wire::OFFLOAD_FAILED };
            self.answers.push_back(wire::told(message, flag));
            match is_in {
                true => {
                    self.routes.insert(key, self.session);
                }
                // What cannot be as it is now must not stay as it was.
                false => self.remove(router, &key),
            }
        }
    }

    fn remove(&mut self, router: &mut Router, key: &Key) {
        if self.routes.remove(key).is_some() {
            // A VRF that has gone has taken its routes along.
            let _ = router.remove_routes(key.0.as_deref().unwrap_or_default(), &[key.1]);
        }
    }

    /// What the daemon is to be told next.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.answers.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// Takes out what the daemon has not named again.
    pub fn handle_timeout(&mut self, router: &mut Router, now: Instant) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        self.sweep_at = None;
        let session = self.session;
        let stale = self.routes.iter().filter(|(_, named)| **named != session);
        let mut by_vrf: BTreeMap<Option<String>, Vec<Prefix>> = BTreeMap::new();
        for ((vrf, to), _) in stale {
            by_vrf.entry(vrf.clone()).or_default().push(*to);
        }
        self.routes.retain(|_, named| *named == session);
        for (vrf, prefixes) in by_vrf {
            let _ = router.remove_routes(vrf.as_deref().unwrap_or_default(), &prefixes);
        }
    }

    /// Routes in force.
    pub fn n_routes(&self) -> usize {
        self.routes.len()
    }
}

/// The VRF of a table.
fn vrf(table: u32) -> Option<String> {
    (table != MAIN && table != 0).then(|| table.to_string())
}
