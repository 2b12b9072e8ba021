//! A switch with workers beside the oracle of every epoch they may be in.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use openflow::{
    AsyncChange, BundleAdd, BundleControl, BundleControlKind, BundleFlags, Config, Dpid, FlowModCommand,
    FlowModFlags, FlowRemovedReason, FlowStats, FlowStatsRequest, Message, MultipartRequest, PacketInReason,
    PortConfig, PortDesc, PortNo, Reply, Request, TableStats,
};
use packet::offload::complete_checksum;
use packet::{Frame, MacAddr};
use vswitch::oracle::{Flow, Oracle, Outcome};
use vswitch::standalone::Standalone;
use vswitch::{Drops, SwitchConfig};

use super::{N_PORTS, N_TABLES, N_WORKERS, Op};

/// What the fast path did otherwise than the oracle.
pub type Mismatch = String;

/// Returns with a mismatch unless both are the same.
macro_rules! same {
    ($found:expr, $expected:expr, $($what:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => if *found != *expected {
                return Err(format!("{}: {found:02x?}, expected {expected:02x?}", format_args!($($what)+)));
            }
        }
    };
}

/// A flow that went, and whose removal is to be told.
#[derive(Debug)]
struct Removed {
    flow: Flow,
    reason: FlowRemovedReason,
}

/// How many frames come again.
const N_RECENT: usize = 4;

/// A packet-in: reason, table, cookie, in_port, metadata, data.
type Punted = (u8, u8, u64, u32, u64, Vec<u8>);

/// The switch, and what it should be in every epoch.
pub struct Rig {
    pub s: Standalone,
    /// With every change accepted so far.
    pub oracle: Oracle,
    /// As published, with the number of changes it has.
    epochs: BTreeMap<u64, (Oracle, u64)>,
    n_changes: u64,
    /// Frames that came last: worker, port, bytes.
    recent: VecDeque<(usize, u32, Vec<u8>)>,
    /// Changes still to come for the bundle that is being filled, and those it has.
    bundle: (u16, Vec<Op>),
    /// For each barrier not answered, the changes before it.
    barriers: VecDeque<u64>,
    counts: BTreeMap<u64, (u64, u64)>,
    lookups: [(u64, u64); N_TABLES as usize],
    removed: Vec<Removed>,
    drops: Drops,
    punted: Vec<Punted>,
    flow_stats: Option<Vec<FlowStats>>,
    table_stats: Option<Vec<TableStats>>,
    punts_seen: Vec<Punted>,
}

/// What a controller sends for a change.
fn message(op: &Op) -> Option<Message> {
    match op.clone() {
        Op::Mod(m) => Some(Message::FlowMod(m)),
        Op::Group(m) => Some(Message::GroupMod(m)),
        Op::Meter(m) => Some(Message::MeterMod(m)),
        Op::Port(m) => Some(Message::PortMod(m)),
        _ => None,
    }
}

impl Rig {
    pub fn new(cache_entries: u32) -> Self {
        Self::gathering(cache_entries, Duration::ZERO)
    }

    /// A rig that publishes flow mods so seldom if nobody waits for them.
    pub fn gathering(cache_entries: u32, gather: Duration) -> Self {
        let config = SwitchConfig {
            gather,
            seed: Some(7),
            n_workers: N_WORKERS,
            n_tables: N_TABLES,
            cache_entries,
            ..SwitchConfig::new(Dpid(1), "s1")
        };
        let mut s = Standalone::new(config, N_PORTS);
        // As a controller of 1.0 would, without a cache, so that both are seen.
        let punt_misses = cache_entries == 0;
        if punt_misses {
            s.submit(Message::SetAsync(AsyncChange { misses: Some(true), ..AsyncChange::default() }));
            // All of what misses, however long.
            let miss_send_len = openflow::NO_BUFFER_LEN;
            s.submit(Message::SetConfig(Config { miss_send_len, ..Config::default() }));
            s.settle();
        }
        let port =
            |n| PortDesc::new(PortNo(n), MacAddr::from_u64(0x0200_0000_ff00 | u64::from(n)), format!("p{n}"));
        let mut oracle = Oracle::new((1..=N_PORTS).map(port).collect());
        oracle.now = s.now;
        oracle.punt_misses = punt_misses;
        let epochs = BTreeMap::from([(s.switch.epoch(), (oracle.clone(), 0))]);
        Self {
            s,
            oracle,
            epochs,
            n_changes: 0,
            recent: VecDeque::new(),
            bundle: (0, Vec::new()),
            barriers: VecDeque::new(),
            counts: BTreeMap::new(),
            lookups: Default::default(),
            removed: Vec::new(),
            drops: Drops::default(),
            punted: Vec::new(),
            flow_stats: None,
            table_stats: None,
            punts_seen: Vec::new(),
        }
    }

    /// Does one thing.
    ///
    /// # Errors
    /// With what the fast path did otherwise than the oracle.
    pub fn run(&mut self, op: Op) -> Result<(), Mismatch> {
        match op {
            Op::Mod(_) | Op::Group(_) | Op::Meter(_) | Op::Port(_) => self.change(op),
            Op::Frame { worker, port, bytes, repeat } => {
                (0..repeat).try_for_each(|_| self.frame(worker, port, &bytes))?;
                self.recent.truncate(N_RECENT - 1);
                self.recent.push_front((worker, port, bytes));
                Ok(())
            }
            Op::Again => {
                let recent = self.recent.clone();
                recent.iter().try_for_each(|(worker, port, bytes)| self.frame(*worker, *port, bytes))
            }
            Op::Together(worker) => {
                let recent = self.recent.clone();
                let frame = |bytes: &Vec<u8>| Frame::from_bytes(bytes);
                let batch = recent.iter().map(|(_, port, bytes)| (*port, &bytes[..], frame(bytes)));
                self.together(worker, batch.collect())
            }
            Op::Bundle(n) => {
                // One that is open is done first, with what it has.
                if !self.bundle.1.is_empty() {
                    self.commit()?;
                }
                self.bundle.0 = n;
                Ok(())
            }
            Op::Barrier => {
                self.barriers.push_back(self.n_changes);
                self.s.submit(Message::BarrierRequest);
                self.carry()
            }
            Op::Carry => self.carry(),
            Op::Obey(worker) => {
                self.s.obey_one(worker);
                Ok(())
            }
            Op::Report => {
                self.s.report_one();
                Ok(())
            }
            Op::Idle => {
                for worker in &mut self.s.workers {
                    worker.handle_idle(self.s.now);
                }
                Ok(())
            }
            Op::Settle => self.settle(),
            Op::Pass(millis) => self.pass(millis),
        }
    }

    /// Something that both sides change, if the switch accepts it; perhaps later, with a bundle.
    fn change(&mut self, op: Op) -> Result<(), Mismatch> {
        let (left, ops) = &mut self.bundle;
        if *left == 0 {
            let Some(message) = message(&op) else { return Ok(()) };
            self.s.submit(message);
            return self.accepted(vec![op]);
        }
        ops.push(op);
        *left -= 1;
        if *left == 0 { self.commit() } else { Ok(()) }
    }

    /// All changes of the bundle, at once.
    fn commit(&mut self) -> Result<(), Mismatch> {
        let (bundle, flags) = (1, BundleFlags::ATOMIC);
        let ops = core::mem::take(&mut self.bundle.1);
        for message in ops.iter().filter_map(message) {
            let xid = self.s.upcoming_xid();
            let message = Box::new(message);
            self.s.submit(Message::BundleAdd(BundleAdd { bundle, flags, xid, message }));
            if self.s.pending_error() {
                return Err("a message was not taken into a bundle".to_owned());
            }
        }
        self.s.submit(Message::BundleControl(BundleControl {
            bundle,
            kind: BundleControlKind::CommitRequest,
            flags,
        }));
        self.accepted(ops)
    }

    /// The oracle does what was just submitted, unless the switch answered with an error.
    fn accepted(&mut self, ops: Vec<Op>) -> Result<(), Mismatch> {
        // Looked for before anything is published, so that the oracle is the same when it is.
        if self.s.pending_error() {
            while self.s.pending_error() {}
            return Ok(());
        }
        for op in &ops {
            self.follow(op)?;
        }
        self.n_changes += 1;
        self.carry()
    }

    /// The oracle does one thing.
    fn follow(&mut self, op: &Op) -> Result<(), Mismatch> {
        let (gone, reason) = match op {
            Op::Mod(m) => {
                let checks =
                    m.command == FlowModCommand::Add && m.flags.contains(FlowModFlags::CHECK_OVERLAP);
                if checks && self.oracle.overlaps(m) {
                    return Err(format!("an overlap was accepted: {m:?}"));
                }
                (self.oracle.flow_mod(m), FlowRemovedReason::Delete)
            }
            Op::Group(m) => (self.oracle.group_mod(m), FlowRemovedReason::GroupDelete),
            Op::Meter(m) => (self.oracle.meter_mod(m), FlowRemovedReason::MeterDelete),
            Op::Port(m) => {
                let port = self.oracle.ports.iter_mut().find(|p| p.port == m.port);
                let port = port.ok_or("a port that is not there was changed")?;
                port.config = PortConfig(port.config.0 & !m.mask.0 | m.config.0);
                (Vec::new(), FlowRemovedReason::Delete)
            }
            _ => (Vec::new(), FlowRemovedReason::Delete),
        };
        self.note_removed(gone.into_iter().map(|flow| (flow, reason)));
        Ok(())
    }

    fn note_removed(&mut self, gone: impl Iterator<Item = (Flow, FlowRemovedReason)>) {
        let told = gone.filter(|(flow, _)| flow.flags.contains(FlowModFlags::SEND_FLOW_REM));
        self.removed.extend(told.map(|(flow, reason)| Removed { flow, reason }));
    }

    /// Carries what the owner says; notes the epoch if one was published.
    fn carry(&mut self) -> Result<(), Mismatch> {
        self.s.carry_effects();
        let (oracle, n_changes) = (&self.oracle, self.n_changes);
        let epoch = self.s.switch.epoch();
        let published = self.epochs.entry(epoch).or_insert_with(|| (oracle.clone(), n_changes));
        // Some changes change nothing for frames, and bring no epoch of their own.
        if self.s.switch.is_published() {
            published.1 = n_changes;
        }
        for message in self.s.messages() {
            self.hear(message)?;
        }
        Ok(())
    }

    fn hear(&mut self, message: Message) -> Result<(), Mismatch> {
        match message {
            Message::BarrierReply => {
                let n_before = self.barriers.pop_front().ok_or("a barrier reply nobody asked for")?;
                let oldest = self.s.workers.iter().map(|w| w.epoch()).min().unwrap_or(0);
                let n_known = self.epochs.get(&oldest).map_or(0, |(_, n)| *n);
                if n_known < n_before {
                    return Err(format!(
                        "a barrier was answered while a worker knew {n_known} changes of {n_before}"
                    ));
                }
            }
            Message::PacketIn(p) => {
                let field = |f| p.matches.get(f).map_or(0, |oxm| oxm.value as u64);
                let in_port = field(openflow::Field::InPort) as u32;
                let metadata = field(openflow::Field::Metadata);
                self.punts_seen.push((p.reason.number(), p.table.0, p.cookie.0, in_port, metadata, p.data));
            }
            Message::FlowRemoved(r) => {
                let at = self.removed.iter().position(|Removed { flow, reason }| {
                    let count = self.counts.get(&flow.id).copied().unwrap_or_default();
                    flow.cookie == r.cookie
                        && flow.priority == r.priority
                        && flow.table == r.table
                        && flow.matches == r.matches
                        && *reason == r.reason
                        && count == (r.packets, r.bytes)
                });
                let at = at.ok_or_else(|| format!("unexpected {r:?}, expected any of {:?}", self.removed))?;
                self.removed.swap_remove(at);
            }
            Message::MultipartReply(reply) => match reply.body {
                Reply::Flow(flows) => self.flow_stats = Some(flows),
                Reply::Table(tables) => self.table_stats = Some(tables),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// Carries everything until nothing is left.
    ///
    /// # Errors
    /// With a message that should not have come.
    pub fn settle(&mut self) -> Result<(), Mismatch> {
        loop {
            self.carry()?;
            let obeyed = (0..N_WORKERS).any(|n| self.s.obey_one(n));
            let reported = self.s.report_one();
            if !obeyed && !reported {
                break;
            }
        }
        let oldest = self.s.workers.iter().map(|w| w.epoch()).min().unwrap_or(0);
        self.epochs.retain(|&epoch, _| epoch >= oldest);
        Ok(())
    }

    /// Time passes, with everything carried before and after: what has expired by then is gone.
    fn pass(&mut self, millis: u64) -> Result<(), Mismatch> {
        self.settle()?;
        self.s.advance(Duration::from_millis(millis));
        self.oracle.now = self.s.now;
        let gone = self.oracle.expire();
        self.note_removed(gone.into_iter());
        self.n_changes += 1;
        if !self.s.switch.is_published() {
            self.run(Op::Barrier)?;
        }
        self.settle()?;
        // Nobody is in an older epoch any more; the last one may have been published before the rest had expired.
        self.epochs = BTreeMap::from([(self.s.switch.epoch(), (self.oracle.clone(), self.n_changes))]);
        Ok(())
    }

    /// A frame comes to a worker.
    ///
    /// # Errors
    /// With what leaves otherwise than the oracle says.
    pub fn frame(&mut self, worker: usize, port: u32, bytes: &[u8]) -> Result<(), Mismatch> {
        self.offloaded((worker, port), bytes, Frame::from_bytes(bytes))
    }

    /// As [`frame`](Self::frame) with `frame` being `bytes` when its checksum is complete.
    ///
    /// # Errors
    /// The same.
    pub fn offloaded(
        &mut self,
        (worker, port): (usize, u32),
        bytes: &[u8],
        frame: Frame,
    ) -> Result<(), Mismatch> {
        self.together(worker, vec![(port, bytes, frame)])
    }

    /// Frames come to a worker in one batch, each with its port and what it is when its checksum is complete. All of
    /// them are forwarded by the tables of one epoch, whatever was published meanwhile.
    ///
    /// # Errors
    /// The same.
    pub fn together(&mut self, worker: usize, frames: Vec<(u32, &[u8], Frame)>) -> Result<(), Mismatch> {
        let epoch = self.s.workers[worker].epoch();
        let (oracle, _) = self.epochs.get_mut(&epoch).ok_or("a worker is in an epoch never published")?;
        oracle.now = self.s.now;
        let (mut expected_outputs, mut expected_queues) = (Vec::new(), Vec::new());
        let mut outcomes = Vec::new();
        for (port, bytes, _) in &frames {
            let mut expected = oracle.process(PortNo(*port), bytes);
            expected_outputs.append(&mut expected.outputs);
            expected_queues.append(&mut expected.queues);
            outcomes.push((*port, bytes.len(), expected));
        }
        let what = format!("worker {worker}, epoch {epoch}, frames {frames:02x?}");
        let batch = frames.into_iter().map(|(port, _, frame)| (PortNo(port), frame));
        let (mut outputs, mut queues) = (Vec::new(), Vec::new());
        for (to, mut frame) in self.s.process_batch(worker, batch) {
            complete_checksum(&mut frame).map_err(|e| format!("what left by port {to:?}: {e:?}"))?;
            outputs.push((to, frame.to_vec()));
            queues.push(frame.queue);
        }
        same!(outputs, expected_outputs, "{what}");
        same!(queues, expected_queues, "queues: {what}");
        for (port, len, expected) in outcomes {
            self.expect(port, len, &expected);
        }
        Ok(())
    }

    /// What the counters must become by a frame of `len` bytes.
    fn expect(&mut self, port: u32, len: usize, expected: &Outcome) {
        for id in &expected.hits {
            let (packets, octets) = self.counts.entry(*id).or_default();
            *packets += 1;
            *octets += len as u64;
            if let Some(flow) = self.oracle.flows.iter_mut().find(|f| f.id == *id) {
                flow.last_used = self.s.now;
            }
        }
        for (n, table) in expected.tables.iter().enumerate() {
            let (lookups, matched) = &mut self.lookups[usize::from(table.0)];
            *lookups += 1;
            *matched += u64::from(n < expected.hits.len());
        }
        if let Some(reason) = expected.drop {
            self.drops[reason] += 1;
        }
        for p in expected.punts.iter().filter(|p| p.reason != PacketInReason::InvalidTtl) {
            let (table, cookie) = (p.table.0, p.cookie.0);
            self.punted.push((p.reason.number(), table, cookie, port, p.metadata, p.data.clone()));
        }
    }

    fn ask(&mut self, body: Request) -> Result<(), Mismatch> {
        self.s.submit(Message::MultipartRequest(MultipartRequest { more: false, body }));
        self.settle()?;
        // Long replies are made by and by.
        while self.s.switch.poll_timeout().is_some_and(|due| due <= self.s.now) {
            self.s.switch.handle_timeout(self.s.now);
            self.settle()?;
        }
        Ok(())
    }

    /// Every counter, at the end.
    ///
    /// # Errors
    /// With the first that is wrong.
    pub fn check_counters(&mut self) -> Result<(), Mismatch> {
        self.s.idle();
        self.settle()?;
        self.ask(Request::Flow(FlowStatsRequest::default()))?;
        self.ask(Request::Table)?;
        let stats = self.flow_stats.take().ok_or("flow statistics did not come")?;
        same!(stats.len(), self.oracle.flows.len(), "flows");
        for flow in &self.oracle.flows {
            let same = |s: &&FlowStats| {
                s.table == flow.table && s.priority == flow.priority && s.matches == flow.matches
            };
            let found = stats.iter().find(same).ok_or_else(|| format!("missing: {flow:?}"))?;
            let expected = self.counts.get(&flow.id).copied().unwrap_or_default();
            same!((found.packets, found.bytes), expected, "counts of {flow:?}");
            same!(found.instructions, flow.instructions, "instructions of {flow:?}");
            same!(found.cookie, flow.cookie, "cookie of {flow:?}");
        }
        let tables = self.table_stats.take().ok_or("table statistics did not come")?;
        let counted: Vec<_> = tables.iter().map(|t| (t.lookups, t.matched)).collect();
        same!(counted, self.lookups, "look-ups and matches of the tables");
        same!(self.s.switch.drops(), self.drops, "drops");
        self.punted.sort();
        self.punts_seen.sort();
        same!(self.punts_seen, self.punted, "packet-ins");
        self.punts_seen.clear();
        self.punted.clear();
        if !self.removed.is_empty() {
            return Err(format!("removals never told: {:?}", self.removed));
        }
        if !self.barriers.is_empty() {
            return Err("a barrier was never answered".to_owned());
        }
        Ok(())
    }
}
