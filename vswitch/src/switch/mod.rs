//! The owner's half.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

use lookup::{Index, Secret};
use openflow::error::BadRequest;
use openflow::oxm::ONF;
use openflow::{
    BundleAdd, BundleControl, Config, Error, ErrorKind, FragMode, Message, PacketInReason, PortNo, Request,
    TableStats, Xid,
};
use packet::Instant;

use crate::datapath::{Counted, Flush, OrderKind, ReportKind};
use crate::fdb::Learned;
use crate::injection::{Injection, Load};
use crate::limit::PacketInLimit;
use crate::rest::{Bed, Bedside, Shelf};
use crate::snapshot::{Options, Publisher};
use crate::{
    CacheCounters, ConnId, Datapath, Drops, Effect, FailMode, Followed, Order, Report, SwitchConfig, Trace,
};

mod buffers;
mod bundles;
mod control;
mod dumps;
mod eviction;
mod features;
mod flow_mods;
mod flows;
mod groups;
mod index;
mod meters;
mod needs;
mod packed;
mod packets;
mod parts;
mod pattern;
mod ports;
mod queues;
mod record;
mod sessions;
mod stats;
mod tables;
mod undo;

use buffers::Buffers;
use bundles::Bundles;
use dumps::Dumps;
use flows::Flows;
use needs::Needs;
use parts::Parts;
use ports::PortRecord;
use record::Timer;
use sessions::Conn;
use tables::TableSettings;
use undo::Journal;

/// The owner of a switch: flows, ports, controllers and timers. Lives in one task of the shell.
#[derive(Debug)]
pub struct Switch {
    config: SwitchConfig,
    secret: Secret,
    options: Options,
    publisher: Publisher,
    /// Until when changes are gathered that nobody waits for.
    gathers_until: Instant,
    bedside: Bedside,
    /// When something was last heard.
    now: Instant,
    flows: Flows,
    needs: Needs,
    /// As controllers configured them.
    tables: Vec<TableSettings>,
    /// Some table tells how full it is.
    tell_vacancy: bool,
    timers: BinaryHeap<Timer>,
    groups: BTreeMap<openflow::GroupId, groups::GroupRecord>,
    /// Ways that groups ever were.
    n_groups_made: u64,
    /// Which group is led to by which.
    chains: BTreeSet<(openflow::GroupId, openflow::GroupId)>,
    meters: BTreeMap<openflow::MeterId, meters::MeterRecord>,
    ports: BTreeMap<PortNo, PortRecord>,
    conns: BTreeMap<ConnId, Conn>,
    /// Of the last election (§6.3.4).
    generation: Option<u64>,
    settings: Config,
    drops: Drops,
    cache: CacheCounters,
    /// Stations NORMAL has learned, for traces.
    learned: VecDeque<Learned>,
    effects: VecDeque<Effect>,
    tickets: Tickets,
    bundles: Bundles,
    /// There while changes may have to be taken back.
    journal: Option<Journal>,
    /// Table features of which parts are to come.
    parts: Parts,
    /// Replies that are not complete.
    dumps: Dumps,
    /// Packet-outs that wait for changes made before them to be published.
    injections: VecDeque<Injection>,
    /// What waits at each worker.
    packet_outs: Vec<Arc<Load>>,
    buffers: Buffers,
    packet_in_limit: Arc<PacketInLimit>,
    /// Packets that went to controllers, by the number of the reason.
    packet_ins: [u64; PacketInReason::ALL.len()],
}

/// What waits until every worker has done all that was ordered.
#[derive(Debug)]
enum Deferred {
    Barrier {
        conn: ConnId,
        xid: Xid,
    },
    /// A bundle takes effect.
    Commit {
        conn: ConnId,
        xid: Xid,
        reply: BundleControl,
    },
    Stats {
        conn: ConnId,
        xid: Xid,
        request: Request,
    },
    /// A flow is gone: its last counts are coming.
    Removed {
        flow: Index,
    },
    /// A flow seems idle: perhaps a worker knows better.
    Idle {
        flow: Index,
    },
}

/// Flows that are named when their last counts are wanted; of more at once, all counts are.
const MAX_GONE: usize = 256;

/// Orders that workers acknowledge.
#[derive(Debug, Default)]
struct Tickets {
    /// The last one given out.
    last: u64,
    /// The last one an order carries.
    ordered: u64,
    /// What each worker has acknowledged.
    done: Vec<u64>,
    /// Something was ordered that no ticket covers.
    loose: bool,
    /// Someone waits for more than the last counts of a flow.
    hurry: bool,
    /// The next order must bring all counts.
    flush: bool,
    /// The next order must bring the last counts of these flows.
    gone: Vec<Index>,
    waiting: VecDeque<(u64, Deferred)>,
}

impl Tickets {
    fn all_done(&self) -> u64 {
        self.done.iter().copied().min().unwrap_or(u64::MAX)
    }

    /// Which counts the next order must bring; it does now.
    fn take_flush(&mut self) -> Flush {
        let gone = core::mem::take(&mut self.gone);
        match core::mem::take(&mut self.flush) {
            false if gone.is_empty() => Flush::Nothing,
            false if gone.len() <= MAX_GONE => Flush::Entries(gone.into()),
            _ => Flush::All,
        }
    }

    fn wait(&mut self, deferred: Deferred) {
        self.last += 1;
        self.hurry |= !matches!(deferred, Deferred::Removed { .. });
        self.waiting.push_back((self.last, deferred));
    }
}

impl Switch {
    /// A switch without ports and flows.
    pub fn new(config: SwitchConfig) -> Self {
        let secret = config.seed.map_or_else(Secret::random, Secret::from_seed);
        let options = Options {
            frag: FragMode::Normal,
            standalone: config.fail_mode == FailMode::Standalone,
            punt_invalid_ttl: false,
            punt_misses: false,
            secret,
        };
        let n_tables = config.n_tables.clamp(1, 254);
        let publisher = Publisher::new(n_tables, options);
        let shelf = Shelf::new(publisher.live().clone(), config.n_workers.max(1));
        Self {
            secret,
            options,
            publisher,
            gathers_until: Instant::ZERO,
            bedside: Bedside::new(shelf),
            now: Instant::ZERO,
            flows: Flows::new(n_tables, secret.next()),
            needs: Needs::default(),
            tables: vec![TableSettings::new(config.max_flows); n_tables.into()],
            tell_vacancy: false,
            timers: BinaryHeap::new(),
            groups: BTreeMap::new(),
            n_groups_made: 0,
            chains: BTreeSet::new(),
            meters: BTreeMap::new(),
            ports: BTreeMap::new(),
            conns: BTreeMap::new(),
            generation: None,
            settings: Config::default(),
            drops: Drops::default(),
            cache: CacheCounters::default(),
            learned: VecDeque::new(),
            effects: VecDeque::new(),
            tickets: Tickets::default(),
            bundles: Bundles::default(),
            journal: None,
            parts: Parts::default(),
            dumps: Dumps::default(),
            injections: VecDeque::new(),
            packet_outs: Vec::new(),
            buffers: Buffers::default(),
            packet_ins: [0; PacketInReason::ALL.len()],
            packet_in_limit: Arc::new(PacketInLimit::new(config.packet_in_rates)),
            config: SwitchConfig { n_tables, ..config },
        }
    }

    /// The workers' halves, as many as configured. To be called once.
    pub fn datapath(&mut self) -> Vec<Datapath> {
        let n = self.config.n_workers.max(1);
        self.tickets.done = vec![self.tickets.ordered; n];
        self.packet_outs = (0..n).map(|_| Arc::default()).collect();
        let new = |worker| {
            let bed = Bed::new(self.bedside.shelf().clone(), worker);
            Datapath::new(self.publisher.live().clone(), bed, (self.config.cache_entries, self.secret))
        };
        (0..n).map(new).collect()
    }

    /// A message came. Hello and echo are the session's.
    pub fn handle_message(&mut self, now: Instant, conn: ConnId, xid: Xid, message: Message) {
        self.now = now;
        if !self.conns.contains_key(&conn) {
            return;
        }
        let forwarded = self.is_forwarded(conn, &message).map(|reason| (reason, message.clone()));
        match (self.dispatch(now, conn, xid, message), forwarded) {
            (Ok(()), Some((reason, request))) => self.forward(conn, (xid, request), reason),
            (Ok(()), None) => {}
            (Err(kind), _) => self.send(conn, xid, Message::Error(Error::new(kind))),
        }
        self.tell_vacancies();
    }

    /// A message came that puts another into a bundle; `quote` is the start of that other, for an error reply to it
    /// when the bundle is committed (1.4 §7.3.9.7).
    pub fn handle_bundle_add(&mut self, now: Instant, conn: ConnId, xid: Xid, add: BundleAdd, quote: &[u8]) {
        self.now = now;
        if !self.conns.contains_key(&conn) {
            return;
        }
        if let Err(kind) = self.bundle_add(now, (conn, xid), add, quote) {
            self.send(conn, xid, Message::Error(Error::new(kind)));
        }
    }

    fn dispatch(&mut self, now: Instant, conn: ConnId, xid: Xid, message: Message) -> Result<(), ErrorKind> {
        if sessions::is_change(&message) && self.is_slave(conn) {
            return Err(BadRequest::IsSlave.into());
        }
        match message {
            Message::Hello(_) | Message::Error(_) | Message::EchoReply(_) => {}
            Message::EchoRequest(data) => self.send(conn, xid, Message::EchoReply(data)),
            Message::FeaturesRequest => self.send(conn, xid, Message::FeaturesReply(self.features(conn))),
            Message::GetConfigRequest => self.send(conn, xid, Message::GetConfigReply(self.settings)),
            Message::SetConfig(settings) => return self.set_config(settings),
            Message::PacketOut(packet_out) => return self.packet_out(packet_out),
            Message::FlowMod(flow_mod) => return self.flow_mod(now, flow_mod),
            Message::GroupMod(group_mod) => return self.group_mod(now, group_mod),
            Message::PortMod(port_mod) => return self.port_mod(&port_mod),
            Message::TableMod(table_mod) => return self.table_mod(table_mod),
            Message::MultipartRequest(request) => return self.multipart(now, conn, xid, request),
            Message::BarrierRequest => self.wait(now, Deferred::Barrier { conn, xid }),
            Message::QueueGetConfigRequest(port) => return self.queue_config(conn, xid, port),
            Message::RoleRequest(request) => return self.role_request(conn, xid, request),
            Message::GetAsyncRequest => {
                let wants = self.async_config(conn);
                self.send(conn, xid, Message::GetAsyncReply(wants));
            }
            Message::SetAsync(change) => self.set_async(conn, &change),
            Message::MeterMod(meter_mod) => return self.meter_mod(now, meter_mod),
            Message::BundleControl(control) => return self.bundle_control(now, (conn, xid), control),
            Message::BundleAdd(add) => return self.bundle_add(now, (conn, xid), add, &[]),
            Message::Experimenter { experimenter: ONF, .. } => return Err(BadRequest::BadExpType.into()),
            Message::Experimenter { .. } => return Err(BadRequest::BadExperimenter.into()),
            _ => return Err(BadRequest::BadType.into()),
        }
        Ok(())
    }

    /// A worker reports; `worker` is its place in [`datapath`](Self::datapath).
    pub fn handle_report(&mut self, now: Instant, worker: usize, report: Report) {
        self.now = now;
        match report.0 {
            ReportKind::Done { sequence } => {
                if let Some(done) = self.tickets.done.get_mut(worker) {
                    *done = sequence.max(*done);
                }
                self.complete(now);
            }
            ReportKind::Counters(counted) => self.count(&counted),
            ReportKind::Punt(punted) => self.packet_in(now, *punted),
            ReportKind::Learned(learned) => self.spread(worker, learned),
            ReportKind::Resting(nap) => self.bedside.hear(worker, nap),
        }
        self.tell_vacancies();
    }

    fn count(&mut self, counted: &Counted) {
        self.flows.count(counted);
        self.count_groups(&counted.groups);
        self.drops.add(&counted.drops);
        self.cache += counted.cache;
    }

    /// Tells the other workers where a station is.
    fn spread(&mut self, worker: usize, learned: Learned) {
        const MAX_LEARNED: usize = 4096;
        self.learned.push_back(learned);
        if self.learned.len() > MAX_LEARNED {
            self.learned.pop_front();
        }
        for other in (0..self.tickets.done.len()).filter(|&other| other != worker) {
            self.give_order(Some(other), Order(OrderKind::Learned(learned)));
        }
    }

    fn send(&mut self, conn: ConnId, xid: Xid, message: Message) {
        self.effects.push_back(Effect::Send { conn, xid, message });
    }

    /// Does something once all workers have done what was ordered so far.
    fn wait(&mut self, now: Instant, deferred: Deferred) {
        let nothing_to_wait_for = self.tickets.waiting.is_empty()
            && !self.publisher.is_dirty()
            && !self.tickets.loose
            && self.tickets.all_done() >= self.tickets.ordered
            && matches!(deferred, Deferred::Barrier { .. });
        if nothing_to_wait_for {
            return self.finish(now, deferred);
        }
        self.tickets.wait(deferred);
        self.complete(now);
    }

    /// Gives an order to a worker, or to all.
    fn give_order(&mut self, worker: Option<usize>, order: Order) {
        self.bedside.note_order(worker);
        self.effects.push_back(Effect::Order { worker, order });
    }

    /// Orders what is due: the next snapshot if there are changes and an instance is free, else a flush if someone
    /// waits. False: nothing is due.
    fn order(&mut self) -> bool {
        if self.is_gathering() {
            return false;
        }
        let kind = if self.publisher.is_dirty() {
            let Some(snapshot) = self.publisher.publish() else { return false };
            self.gathers_until = self.now + self.config.gather;
            self.bedside.shelf().put(snapshot.clone());
            self.tickets.last += 1;
            OrderKind::Adopt { snapshot, flush: self.tickets.take_flush(), sequence: self.tickets.last }
        } else if self.tickets.ordered < self.tickets.last {
            OrderKind::Flush { sequence: self.tickets.last }
        } else {
            return false;
        };
        self.tickets.ordered = self.tickets.last;
        self.tickets.take_flush();
        (self.tickets.loose, self.tickets.hurry) = (false, false);
        self.order_those_awake(Order(kind));
        self.inject_all();
        self.complete(self.now);
        true
    }

    /// There are changes which may wait for others: nobody waits for them, and some worker is at work.
    fn is_gathering(&self) -> bool {
        self.now < self.gathers_until
            && self.publisher.is_dirty()
            && !self.publisher.is_urgent()
            && !self.tickets.hurry
            && self.injections.is_empty()
            && !(0..self.tickets.done.len()).all(|worker| self.bedside.is_resting(worker))
    }

    /// Gives an order that workers acknowledge. Those who rest have nothing to report and will take the newest tables by
    /// themselves: they need not be woken (`rest`).
    fn order_those_awake(&mut self, order: Order) {
        let n = self.tickets.done.len();
        // What waits for the new tables makes work for some of them.
        let resting: Vec<usize> = match self.injections.is_empty() {
            true => (0..n).filter(|&worker| self.bedside.is_resting(worker)).collect(),
            false => Vec::new(),
        };
        if resting.is_empty() {
            return self.give_order(None, order);
        }
        for worker in 0..n {
            if resting.contains(&worker) {
                self.tickets.done[worker] = self.tickets.ordered;
            } else {
                self.give_order(Some(worker), order.clone());
            }
        }
    }

    /// Does what waited for acknowledgements that have come.
    fn complete(&mut self, now: Instant) {
        let done = self.tickets.all_done();
        while self.tickets.waiting.front().is_some_and(|&(ticket, _)| ticket <= done) {
            let Some((_, deferred)) = self.tickets.waiting.pop_front() else { return };
            self.finish(now, deferred);
        }
    }

    fn finish(&mut self, now: Instant, deferred: Deferred) {
        match deferred {
            Deferred::Barrier { conn, xid } => self.pass_barrier(conn, xid),
            Deferred::Commit { conn, xid, reply } => {
                self.send(conn, xid, Message::BundleControl(reply));
            }
            Deferred::Stats { conn, xid, request } => {
                if !matches!(request, Request::Flow(_)) {
                    self.replied(conn);
                }
                self.answer(now, conn, xid, request);
            }
            Deferred::Removed { flow } => self.bury(flow),
            Deferred::Idle { flow } => self.expire_if_idle(now, flow),
        }
    }

    /// Time has come: expires flows, bundles and unfinished requests, goes on with long replies.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.expire_bundles(now);
        self.expire_parts(now);
        self.go_on(now);
        while let Some(timer) = self.timers.peek().copied().filter(|timer| timer.at <= now) {
            self.timers.pop();
            self.timer(now, timer);
        }
        self.tell_vacancies();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.dumps.are_due(|conn| !sessions::is_paused(&self.conns, conn)) {
            return Some(Instant::ZERO);
        }
        let flows = self.timers.peek().map(|timer| timer.at);
        let gathered = self.is_gathering().then_some(self.gathers_until);
        flows
            .into_iter()
            .chain(gathered)
            .chain(self.bundles.poll_timeout())
            .chain(self.parts.poll_timeout())
            .min()
    }

    /// What is to be done, until there is nothing left. To be called after every other call.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        while self.effects.is_empty() && self.order() {}
        self.effects.pop_front()
    }

    /// What would happen to a frame, by the tables as published.
    pub fn trace(&self, now: Instant, in_port: PortNo, frame: &[u8]) -> Trace {
        let describe = |id: Index| self.flows.describe(id);
        crate::trace::trace(now, self.publisher.live(), &self.learned, (in_port, frame), &describe)
    }

    /// Puts words to what became of a frame on a worker. Entries that went meanwhile have none.
    pub fn explain(&self, followed: Followed) -> Trace {
        followed.tell(&|id: Index| self.flows.describe(id))
    }

    /// Takes the last effect if it is an error, without anything being published: for tests that must know whether a
    /// change was accepted before it can come into force.
    pub(crate) fn take_error(&mut self) -> bool {
        let is_error = |effect: &Effect| matches!(effect, Effect::Send { message: Message::Error(_), .. });
        self.effects.pop_back_if(|effect| is_error(effect)).is_some()
    }

    /// The epoch of the tables published last. Changes accepted later are not in it.
    pub fn epoch(&self) -> u64 {
        self.publisher.live().epoch
    }

    /// Every change accepted so far is in the tables published last.
    pub fn is_published(&self) -> bool {
        !self.publisher.is_dirty()
    }

    /// Frames dropped by all workers, as of their last reports.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Bytes of an entry of the workers' microflow caches: what the flows look at, and a word beside it.
    pub fn cache_entry_bytes(&self) -> usize {
        self.needs.entry_bytes()
    }

    /// Packets that went to controllers, by reason.
    pub fn packet_ins(&self) -> impl Iterator<Item = (PacketInReason, u64)> + '_ {
        PacketInReason::ALL.iter().copied().zip(self.packet_ins)
    }

    /// Flows, lookups and matches of every table, as of the workers' last reports.
    pub fn table_counters(&self) -> Vec<TableStats> {
        self.table_stats()
    }

    /// What the caches of all workers were asked, as of their last reports.
    pub fn cache_counters(&self) -> CacheCounters {
        self.cache
    }
}
