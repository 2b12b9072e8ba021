//! The owner: configuration in, orders out.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use conntrack::{Connection, Tracker};
use lookup::Secret;
use packet::{Instant, MacAddr, PortNo};

use crate::config::LiveFlows;
use crate::fib::{Alive, Candidate, Hop, Rib, Twin, VrfId};
use crate::firewall::still_allows;
use crate::message::{Learned, OrderKind, ReportKind};
use crate::neighbour::lifetime;
use crate::service::Services;
use crate::shards::Shards;
use crate::snapshot::{Base, IfIndex, Snapshot};
use crate::{
    BindingInfo, ConfigError, ConnectionInfo, Counters, Effect, Forwarder, Limits, NeighbourInfo,
    NeighbourState, Order, Prefix, PrefixTraffic, Report, RouteConfig, RouteInfo, RouteSource, RouteTarget,
    RouterConfig, RuleInfo,
};

/// What a router is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of workers that will forward for it.
    pub n_workers: usize,
    /// Secret for hashes and ports; nobody outside may guess it.
    pub seed: [u64; 2],
    /// Most connections in all.
    pub n_connections: u32,
}

impl Options {
    /// Room for 65,536 connections.
    pub const fn new(n_workers: usize, seed: [u64; 2]) -> Self {
        Self { n_workers, seed, n_connections: 65_536 }
    }
}

/// What the owner has heard of a neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub mac: Option<MacAddr>,
    state: NeighbourState,
    pub at: Instant,
}

/// The owner half of a router.
#[derive(Debug)]
pub struct Router {
    pub(crate) snapshot: Snapshot,
    secret: Secret,
    rib: Rib,
    twin: Twin,
    alive: Arc<Alive>,
    pub(crate) shards: Arc<Shards>,
    config: RouterConfig,
    forwarders: Vec<Forwarder>,
    n_workers: usize,
    pub(crate) heard: BTreeMap<(IfIndex, IpAddr), Heard>,
    pub(crate) services: Services,
    counters: Vec<Counters>,
    pub(crate) effects: VecDeque<Effect>,
}

impl Router {
    /// A router without interfaces.
    pub fn new(options: Options) -> Self {
        let n_workers = options.n_workers.max(1);
        let shards = Arc::new(Shards::new(n_workers, options.seed, options.n_connections));
        let alive = Arc::<Alive>::default();
        Self {
            snapshot: Snapshot::default(),
            secret: Secret::from_seed(options.seed[0] ^ options.seed[1].rotate_left(32)),
            rib: Rib::default(),
            twin: Twin::new(Arc::clone(&alive)),
            alive,
            config: RouterConfig::named(""),
            forwarders: (0..n_workers).map(|w| Forwarder::new(w, Arc::clone(&shards))).collect(),
            shards,
            n_workers,
            heard: BTreeMap::new(),
            services: Services::new(Secret::from_seed(options.seed[1])),
            counters: vec![Counters::default(); n_workers],
            effects: VecDeque::new(),
        }
    }

    /// The workers' halves; `n_workers` of them the first time, none afterwards.
    pub fn forwarders(&mut self) -> Vec<Forwarder> {
        std::mem::take(&mut self.forwarders)
    }

    /// The MAC address of the first interface of a port.
    pub fn mac_at(&self, port: PortNo) -> Option<MacAddr> {
        self.config
            .interfaces
            .iter()
            .find(|interface| interface.port == Some(port))
            .map(|interface| interface.mac)
    }

    /// Whether [`set_config`](Self::set_config) would take this.
    ///
    /// # Errors
    /// [`ConfigError`] names the field.
    pub fn check_config(&self, config: &RouterConfig) -> Result<(), ConfigError> {
        Base::compile(config, &self.snapshot, self.secret).map(drop)
    }

    /// Replaces the whole configuration. Ports must have been added before, as the router announces its addresses.
    /// Connections that the new rules would make as they are go on; the others end.
    ///
    /// # Errors
    /// [`ConfigError`] names the field; the old configuration stays.
    pub fn set_config(&mut self, now: Instant, config: RouterConfig) -> Result<(), ConfigError> {
        let (base, routes, plan) = Base::compile(&config, &self.snapshot, self.secret)?;
        self.rib.set_counted(base.counted.iter().copied(), self.n_workers);
        self.rib.replace(&mut self.twin, RouteSource::Static, routes);
        self.resolve_protocols(&base);
        let snapshot = Snapshot::new(base, self.twin.publish_now());
        let mut reserved = snapshot.nat.reserved();
        reserved.extend(snapshot.service_ports());
        let recheck =
            config.live_flows == LiveFlows::Recheck && !snapshot.firewall.is_same(&self.snapshot.firewall);
        let keep = |c: &Connection| snapshot.nat.allows(c) && (!recheck || still_allows(&snapshot, c));
        for index in 0..self.shards.len() {
            let Some(mut tracker) = self.shards.tracker(index) else { continue };
            let tuning = &config.tuning;
            tracker.set_timers(tuning.timers, tuning.tcp_loose, tuning.tcp_window);
            let n = self.shards.share(tuning.n_connections);
            tracker.resize(n, n);
            tracker.set_reserved(now, &reserved);
            if snapshot.generation as u16 == 0 {
                // What connections remember of a configuration has as many bits.
                tracker.forget_passes();
            }
            tracker.retain(now, keep);
        }
        if config.tuning.limits != self.config.tuning.limits {
            self.set_limits(config.tuning.limits);
        }
        self.services.configure(plan, &config);
        self.move_neighbours(now, &snapshot);
        self.config = config;
        self.snapshot = snapshot;
        let order = Order(OrderKind::Adopt(self.snapshot.clone()));
        self.effects.push_back(Effect::Order { worker: None, order });
        Ok(())
    }

    /// Counts who has how many connections, from now on or for the first time.
    fn set_limits(&self, limits: Limits) {
        let mut begun = Vec::new();
        self.each_tracker(|tracker, from| {
            let (found, next) = tracker.connections(from, 256);
            begun.extend(found.iter().map(Connection::begun));
            next
        });
        self.shards.quotas.set_limits(limits, begun.into_iter());
    }

    /// Reads all trackers piece by piece, so that workers are not held up: `read` is given a place and says where to go
    /// on.
    fn each_tracker(&self, mut read: impl FnMut(&Tracker, u32) -> Option<u32>) {
        for index in 0..self.shards.len() {
            let mut from = Some(0);
            while let Some(start) = from
                && let Some(tracker) = self.shards.tracker(index)
            {
                from = read(&tracker, start);
            }
        }
    }

    /// Resolves the routes of routing protocols against other interfaces; those that fit no more go.
    fn resolve_protocols(&mut self, base: &Base) {
        for (vrf, to, metric, target) in self.rib.protocol_routes() {
            let source = RouteSource::Protocol;
            match base.resolve(0, (vrf, to), &target) {
                Ok((hops, target)) => {
                    self.rib.set(&mut self.twin, Candidate { vrf, to, source, metric, target, hops });
                }
                Err(_) => self.rib.remove(&mut self.twin, (vrf, to), source),
            }
        }
    }

    /// Adds routes of a routing protocol, each in place of the one it has to the same prefix. Costs what changes. Workers
    /// take the routes together; until each has, the next ones wait.
    ///
    /// # Errors
    /// [`ConfigError`] names the route by its place; none was taken then.
    pub fn add_routes(&mut self, routes: &[RouteConfig]) -> Result<(), ConfigError> {
        let mut candidates = Vec::with_capacity(routes.len());
        for (index, route) in routes.iter().enumerate() {
            let vrf = self.snapshot.vrf_named(index, route.vrf.as_deref())?;
            candidates.push(self.candidate(index, (vrf, route.to), (route.metric, &route.target))?);
        }
        for candidate in candidates {
            self.rib.set(&mut self.twin, candidate);
        }
        self.publish_routes();
        Ok(())
    }

    fn candidate(
        &self,
        index: usize,
        (vrf, to): (VrfId, Prefix),
        (metric, target): (u32, &RouteTarget),
    ) -> Result<Candidate, ConfigError> {
        let (hops, target) = self.snapshot.resolve(index, (vrf, to), target)?;
        Ok(Candidate { vrf, to, source: RouteSource::Protocol, metric, target, hops })
    }

    /// As [`add_routes`](Self::add_routes), seen by workers with the next [`publish_routes`](Self::publish_routes).
    pub(crate) fn put_route(
        &mut self,
        key: (VrfId, Prefix),
        way: (u32, &RouteTarget),
    ) -> Result<(), ConfigError> {
        let candidate = self.candidate(0, key, way)?;
        self.rib.set(&mut self.twin, candidate);
        Ok(())
    }

    /// As [`remove_routes`](Self::remove_routes), seen by workers with the next [`publish_routes`](Self::publish_routes).
    pub(crate) fn take_route(&mut self, key: (VrfId, Prefix)) {
        self.rib.remove(&mut self.twin, key, RouteSource::Protocol);
    }

    /// Removes what [`add_routes`](Self::add_routes) added to these prefixes of a VRF; the empty name is the one without.
    ///
    /// # Errors
    /// There is no such VRF.
    pub fn remove_routes(&mut self, vrf: &str, prefixes: &[Prefix]) -> Result<(), ConfigError> {
        let vrf = self.snapshot.vrf_named(0, Some(vrf))?;
        for to in prefixes {
            self.rib.remove(&mut self.twin, (vrf, *to), RouteSource::Protocol);
        }
        self.publish_routes();
        Ok(())
    }

    /// The link of a port went down or came back: flows of next hops behind it go to the others of their groups, at once
    /// and with one write for each next hop, whatever the number of routes.
    pub fn set_link(&mut self, port: PortNo, up: bool) {
        let base = &self.snapshot;
        let behind = |hop: Hop| hop.interface().is_some_and(|i| base.interface(i).port == Some(port));
        self.rib.hops_where(behind).for_each(|id| self.alive.set(id, up));
    }

    /// A next router is known to be down, or up again.
    pub fn set_next_hop(&mut self, gateway: IpAddr, up: bool) {
        let is = |hop: Hop| matches!(hop, Hop::Gateway(_, via) if via == gateway);
        self.rib.hops_where(is).for_each(|id| self.alive.set(id, up));
    }

    /// Publishes changed routes, unless workers still hold the instance they belong in: then once these have moved on.
    pub(crate) fn publish_routes(&mut self) {
        if self.twin.is_behind()
            && let Some(fib) = self.twin.publish()
        {
            self.snapshot.fib = Arc::clone(&fib);
            let order = Order(OrderKind::Routes { generation: self.snapshot.generation, fib });
            self.effects.push_back(Effect::Order { worker: None, order });
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// Keeps what is known of neighbours whose interface is still there.
    fn move_neighbours(&mut self, now: Instant, new: &Snapshot) {
        let old = self.snapshot.clone();
        let heard = std::mem::take(&mut self.heard);
        let moved = heard.into_iter().filter_map(|((index, addr), heard)| {
            let name = &old.interface(index).name;
            let at = new.interfaces.iter().position(|i| i.name == *name)?;
            new.interfaces[at].is_on_link(addr).then_some(())?;
            (heard.state != NeighbourState::Static).then_some(((at as IfIndex, addr), heard))
        });
        self.heard = moved.collect();
        for &(index, addr, mac) in &new.statics {
            let heard = Heard { mac: Some(mac), state: NeighbourState::Static, at: now };
            self.heard.insert((index, addr), heard);
        }
    }

    /// Takes in what a worker said.
    pub fn handle_report(&mut self, now: Instant, worker: usize, report: Report) {
        match report.0 {
            ReportKind::Learned(learned) => self.learned(now, worker, learned),
            ReportKind::Neighbour { generation, interface, address, state } => {
                if generation == self.snapshot.generation && self.has_room() {
                    let entry =
                        self.heard.entry((interface, address)).or_insert(Heard { mac: None, state, at: now });
                    if entry.state != NeighbourState::Static {
                        *entry = Heard { mac: None, state, at: now };
                    }
                }
            }
            ReportKind::RouterSolicited { generation, interface } => {
                // The first worker advertises.
                let order = Order(OrderKind::RouterSolicited { generation, interface });
                self.effects.push_back(Effect::Order { worker: Some(0), order });
            }
            ReportKind::Refused { generation, interface, address } => {
                for other in (0..self.n_workers).filter(|w| *w != worker) {
                    let order = Order(OrderKind::Refused { generation, interface, address });
                    self.effects.push_back(Effect::Order { worker: Some(other), order });
                }
            }
            ReportKind::Adopted => self.publish_routes(),
            ReportKind::Service(punt) => self.serve(now, worker, &punt),
            ReportKind::Counters(counters) => {
                if let Some(mine) = self.counters.get_mut(worker) {
                    *mine = *counters;
                }
            }
            ReportKind::Event(event) => self.effects.push_back(Effect::Event(event)),
        }
    }

    fn has_room(&self) -> bool {
        self.heard.len() < self.snapshot.tuning.n_neighbours.saturating_mul(2)
    }

    fn learned(&mut self, now: Instant, worker: usize, learned: Learned) {
        if learned.generation != self.snapshot.generation || !self.has_room() {
            return;
        }
        let fresh = Heard {
            mac: Some(learned.heard.mac),
            state: match learned.heard.confirmed {
                true => NeighbourState::Reachable,
                false => NeighbourState::Stale,
            },
            at: now,
        };
        let entry = self.heard.entry((learned.interface, learned.address)).or_insert(fresh);
        if entry.state == NeighbourState::Static {
            return;
        }
        *entry = fresh;
        for other in (0..self.n_workers).filter(|w| *w != worker) {
            let order = Order(OrderKind::Learned(learned));
            self.effects.push_back(Effect::Order { worker: Some(other), order });
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.serve_timeout(now);
        let tuning = &self.snapshot.tuning;
        let asking = tuning.neighbour_retry.saturating_mul(u32::from(tuning.neighbour_tries) + 2);
        let known = lifetime(tuning);
        self.heard.retain(|_, h| match h.state {
            NeighbourState::Static => true,
            NeighbourState::Pending | NeighbourState::Unreachable => h.at + asking > now,
            _ => h.at + known > now,
        });
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tuning = &self.snapshot.tuning;
        let asking = tuning.neighbour_retry.saturating_mul(u32::from(tuning.neighbour_tries) + 2);
        let end = |h: &Heard| match h.state {
            NeighbourState::Static => None,
            NeighbourState::Pending | NeighbourState::Unreachable => Some(h.at + asking),
            _ => Some(h.at + lifetime(tuning)),
        };
        self.heard.values().filter_map(end).chain(self.services.poll_timeout()).min()
    }

    /// The next thing to be done, until none is left.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Routes in use, local and connected ones among them.
    pub fn fib(&self) -> Vec<RouteInfo> {
        self.rib.shown(|vrf| self.snapshot.vrf_name(vrf))
    }

    /// What is counted for prefixes.
    pub fn counted(&self) -> Vec<PrefixTraffic> {
        let of = |((vrf, to), counted)| PrefixTraffic { vrf: self.snapshot.vrf_name(vrf), to, counted };
        self.rib.counted().map(of).collect()
    }

    /// What firewall rules have counted, in their order; last what no rule matched.
    pub fn firewall(&self) -> Vec<RuleInfo> {
        self.snapshot.firewall.counts()
    }

    /// What is known of a neighbour, as far as workers have reported.
    pub(crate) fn neighbour(
        &self,
        now: Instant,
        key: (IfIndex, IpAddr),
    ) -> Option<(NeighbourState, Option<MacAddr>)> {
        let heard = self.heard.get(&key)?;
        let stale = heard.at + self.snapshot.tuning.neighbour_reachable <= now;
        let state = match heard.state {
            NeighbourState::Reachable if stale => NeighbourState::Stale,
            state => state,
        };
        Some((state, heard.mac))
    }

    /// Neighbours.
    pub fn neighbours(&self, now: Instant) -> Vec<NeighbourInfo> {
        let info = |key: &(IfIndex, IpAddr)| {
            let (state, mac) = self.neighbour(now, *key)?;
            let interface = self.snapshot.interface(key.0).name.clone();
            Some(NeighbourInfo { interface, address: key.1, mac, state })
        };
        self.heard.keys().filter_map(info).collect()
    }

    /// Tracked connections. The table is read piece by piece, so that workers are not held up.
    pub fn connections(&self, now: Instant) -> Vec<ConnectionInfo> {
        let mut all = Vec::new();
        self.each_tracker(|tracker, from| {
            let (found, next) = tracker.connections(from, 256);
            all.extend(found.iter().filter(|c| c.deadline > now).map(|c| ConnectionInfo::of(c, now)));
            next
        });
        all
    }

    /// Bindings, port forwards among them.
    pub fn bindings(&self) -> Vec<BindingInfo> {
        let mut all: Vec<BindingInfo> = self.snapshot.nat.fixed_bindings().collect();
        self.each_tracker(|tracker, from| {
            let (found, next) = tracker.bindings(from, 256);
            all.extend(found.iter().map(BindingInfo::of));
            next
        });
        all
    }

    /// What all workers have counted.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.counters.iter().for_each(|c| sum.merge(c));
        sum
    }
}
