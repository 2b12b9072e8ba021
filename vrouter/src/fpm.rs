//! Routes of a routing daemon over FPM, the way FRR's `dplane_fpm_nl` speaks it: the daemon connects, sends its whole table
//! and then what changes, and is told what became of each route, which BGP waits for before it announces them.
//!
//! A daemon that comes back sends everything again: what it had told before stays in force, and goes only when it has been
//! quiet for a while without naming it (mark and sweep), so that forwarding never has a gap.

mod wire;

use core::time::Duration;
use std::collections::BTreeMap;

use packet::Instant;

pub use wire::FpmError;

use crate::fib::VrfId;
use crate::netlink::{self, Said, To, Told, Via};
use crate::told::NextHops;
use crate::{NextHop, Prefix, RouteTarget, Router};

/// Without a word for this long after it has connected, a daemon has told its whole table.
const QUIET: Duration = Duration::from_secs(15);
/// Routes of a daemon that has gone stay for so long (RFC 4724 §4.2 has 180 s to 3600 s in use).
const HOLD: Duration = Duration::from_secs(300);
/// What a route is known by: VRF and prefix.
type Key = (VrfId, Prefix);

/// What was said of a route in force.
#[derive(Debug)]
struct Known {
    /// The session that named it last.
    session: u64,
    metric: u32,
    /// The next hop or group it was named by.
    way: Option<u32>,
}

/// Why there is nothing that the router could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// The route leads to an interface of the daemon's host, which is none of ours: nobody waits for an answer.
    Elsewhere,
    /// By a next hop that was not told.
    Unknown,
}

/// The routes of one daemon. The shell brings its bytes and takes away the answers.
#[derive(Debug, Default)]
pub struct Fpm {
    /// What has come of a message that is not yet whole.
    rest: Vec<u8>,
    /// Routes in force.
    routes: BTreeMap<Key, Known>,
    session: u64,
    /// When routes that the session has not named go.
    sweep_at: Option<Instant>,
    is_connected: bool,
    /// A daemon that comes back may name these before it has told them again.
    next_hops: NextHops,
    answers: Vec<u8>,
    /// Whose tables were whose when the session began to tell.
    tables: Option<BTreeMap<u32, VrfId>>,
}

impl Fpm {
    /// A daemon has connected.
    pub fn connected(&mut self, now: Instant) {
        self.rest.clear();
        self.answers.clear();
        self.session += 1;
        (self.is_connected, self.sweep_at) = (true, Some(now + QUIET));
        self.tables = None;
    }

    /// Tables that the daemon names are other VRFs than when it began to tell: it must connect again, and tell all of them.
    pub fn is_outdated(&self, router: &Router) -> bool {
        self.tables.as_ref().is_some_and(|tables| *tables != router.snapshot.tables)
    }

    /// It has gone. Its routes stay for five minutes.
    pub fn disconnected(&mut self, now: Instant) {
        (self.is_connected, self.sweep_at) = (false, Some(now + HOLD));
        self.session += 1;
    }

    /// What it sends, in pieces of any size. Workers see the changes of one call together: FRR says a change as a
    /// withdrawal and an addition, between which nothing may be missing.
    ///
    /// # Errors
    /// [`FpmError`]: this is not FPM with netlink, or it is to be told anew; the connection is to be closed.
    pub fn handle_bytes(&mut self, router: &mut Router, now: Instant, bytes: &[u8]) -> Result<(), FpmError> {
        if self.is_outdated(router) {
            return Err(FpmError::Tables);
        }
        self.tables.get_or_insert_with(|| router.snapshot.tables.clone());
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let mut at = 0;
        let result = loop {
            match wire::frame(&all[at..]) {
                Ok(Some(len)) => {
                    for message in netlink::messages(&all[at + wire::HEADER_LEN..at + len]) {
                        self.handle(router, message);
                    }
                    at += len;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        all.drain(..at);
        self.rest = all;
        self.follow_changed(router);
        router.publish_routes();
        if self.sweep_at.is_some() && self.is_connected {
            self.sweep_at = Some(now + QUIET);
        }
        result
    }

    fn handle(&mut self, router: &mut Router, message: &[u8]) {
        match netlink::read(message) {
            Some(Said::Route(Told { table, to, metric, way, .. })) => {
                let named = match way {
                    To::Named(id) => Some(id),
                    _ => None,
                };
                let known = Known { session: self.session, metric, way: named };
                let key = router.snapshot.vrf_of_table(table).map(|vrf| (vrf, to));
                let is_in = match (self.target(&way), key) {
                    (Ok(target), Some(key)) => self.add(router, key, known, target),
                    (Err(Missing::Unknown), Some(key)) => self.lose(router, &key),
                    (Err(Missing::Elsewhere), Some(key)) => return self.remove(router, &key),
                    (Err(Missing::Elsewhere), None) => return,
                    (_, None) => false,
                };
                let flag = if is_in { wire::OFFLOADED } else { wire::OFFLOAD_FAILED };
                wire::tell(&mut self.answers, message, flag);
            }
            Some(Said::NoRoute(Told { table, to, .. })) => {
                if let Some(vrf) = router.snapshot.vrf_of_table(table) {
                    self.remove(router, &(vrf, to));
                }
            }
            Some(Said::NextHop { id, way }) => self.next_hops.put(id, way),
            Some(Said::Group { id, members }) => self.next_hops.put_group(id, members),
            Some(Said::NoNextHop { id }) => self.next_hops.remove(id),
            None => {}
        }
    }

    /// What the router is to do. Interfaces are those of the daemon's host, and mean nothing here.
    fn target(&self, way: &To) -> Result<RouteTarget, Missing> {
        let hop = |via: &Via| {
            let gateway = via.gateway?;
            Some(NextHop { gateway, interface: None, weight: via.weight })
        };
        let way = self.next_hops.resolve(way).ok_or(Missing::Unknown)?;
        match &*way {
            To::Hops(hops) => {
                let hops: Vec<NextHop> = hops.iter().filter_map(hop).collect();
                match hops.as_slice() {
                    [] => Err(Missing::Elsewhere),
                    [only] => Ok(RouteTarget::Via { gateway: only.gateway, interface: None }),
                    _ => Ok(RouteTarget::Group(hops)),
                }
            }
            To::Blackhole => Ok(RouteTarget::Blackhole),
            To::Unreachable => Ok(RouteTarget::Unreachable),
            To::Prohibit => Ok(RouteTarget::Prohibit),
            To::Elsewhere | To::Named(_) => Err(Missing::Elsewhere),
        }
    }

    /// Adds a route and tells whether it is in force now.
    fn add(&mut self, router: &mut Router, key: Key, known: Known, target: RouteTarget) -> bool {
        if router.put_route(key, (known.metric, &target)).is_err() {
            return self.lose(router, &key);
        }
        self.routes.insert(key, known);
        true
    }

    /// What cannot be as it is now must not stay as it was.
    fn lose(&mut self, router: &mut Router, key: &Key) -> bool {
        self.remove(router, key);
        false
    }

    fn remove(&mut self, router: &mut Router, key: &Key) {
        if self.routes.remove(key).is_some() {
            router.take_route(*key);
        }
    }

    /// Takes routes along with next hops and groups that the session has changed behind their names.
    fn follow_changed(&mut self, router: &mut Router) {
        let changed = self.next_hops.take_changed();
        if changed.is_empty() {
            return;
        }
        let session = self.session;
        let is_meant =
            |known: &Known| known.session == session && known.way.is_some_and(|id| changed.contains(&id));
        let meant = self.routes.iter().filter(|(_, known)| is_meant(known));
        let meant: Vec<(Key, u32, Option<u32>)> =
            meant.map(|(key, known)| (*key, known.metric, known.way)).collect();
        for (key, metric, way) in meant {
            match way.map_or(Err(Missing::Unknown), |id| self.target(&To::Named(id))) {
                Ok(target) => self.add(router, key, Known { session, metric, way }, target),
                Err(_) => self.lose(router, &key),
            };
        }
    }

    /// What the daemon is to be told next.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        (!self.answers.is_empty()).then(|| std::mem::take(&mut self.answers))
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
        let stale = self.routes.extract_if(.., |_, known| known.session != session);
        for (key, _) in stale {
            router.take_route(key);
        }
        router.publish_routes();
    }

    /// Routes in force.
    pub fn n_routes(&self) -> usize {
        self.routes.len()
    }
}
