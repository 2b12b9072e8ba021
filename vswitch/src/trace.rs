//! What would happen to a frame, told table by table.

use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;

use lookup::Index;
use openflow::{Cookie, Instruction, Match, PortNo, Priority, TableId};
use packet::{Frame, Instant, Outputs, Pool};

use crate::datapath::{Datapath, OrderKind, ReportKind};
use crate::extract::extract;
use crate::fdb::Learned;
use crate::key::{self, Depth, N_WORDS};
use crate::rest::{Bed, Shelf};
use crate::snapshot::Snapshot;
use crate::{DropReason, Order};

/// One table a frame visited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceTable {
    /// The table.
    pub table: TableId,
    /// The entry that matched; none for a miss.
    pub entry: Option<TraceEntry>,
}

/// A flow entry in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// Its priority.
    pub priority: Priority,
    /// Its cookie.
    pub cookie: Cookie,
    /// Which packets.
    pub matches: Match,
    /// What happens to them.
    pub instructions: Vec<Instruction>,
}

/// Where a frame, or a copy of it, went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceOutcome {
    /// Out of a port, with these bytes.
    Output {
        /// A real port.
        port: PortNo,
        /// The frame as it leaves.
        frame: Vec<u8>,
    },
    /// To the controller.
    Controller {
        /// Why.
        reason: openflow::PacketInReason,
        /// The table whose flow sent it.
        table: TableId,
        /// The frame as it is at that point.
        frame: Vec<u8>,
    },
    /// Nowhere.
    Drop(DropReason),
}

/// What would happen to a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The port it came by.
    pub in_port: PortNo,
    /// The fields the switch read, as a match.
    pub fields: Match,
    /// The tables visited, in order; empty for a frame refused before.
    pub tables: Vec<TraceTable>,
    /// Where it went.
    pub outcomes: Vec<TraceOutcome>,
}

/// What became of a frame on a worker, its entries by their numbers: see [`Switch::explain`](crate::Switch::explain).
#[derive(Clone, Debug)]
pub struct Followed {
    in_port: PortNo,
    fields: Match,
    visits: Vec<(u8, Option<Index>)>,
    outcomes: Vec<TraceOutcome>,
}

impl Followed {
    /// Nothing yet, of this frame.
    fn of(frame: &Frame) -> Self {
        let in_port = frame.meta.in_port;
        let mut key = [0; N_WORDS];
        let fields = match extract(frame, in_port, Depth::All, &mut key) {
            Ok(_) => key::describe(&key, in_port),
            Err(_) => Match::new(),
        };
        Self { in_port, fields, visits: Vec::new(), outcomes: Vec::new() }
    }

    /// With words for the entries.
    pub(crate) fn tell(self, describe: &dyn Fn(Index) -> Option<TraceEntry>) -> Trace {
        let table = |(table, entry): (u8, Option<Index>)| TraceTable {
            table: TableId(table),
            entry: entry.and_then(describe),
        };
        Trace {
            in_port: self.in_port,
            fields: self.fields,
            tables: self.visits.into_iter().map(table).collect(),
            outcomes: self.outcomes,
        }
    }
}

impl Datapath {
    /// Processes one frame by itself, as [`process`](Self::process) does, and tells what became of it. What was counted
    /// before becomes a report: this is for one frame among many.
    pub fn follow(&mut self, now: Instant, frame: Frame, pool: &mut Pool, out: &mut Outputs) -> Followed {
        self.handle_idle(now);
        let mut this = Followed::of(&frame);
        let (n_reports, n_sent) = (self.side.reports.len(), out.len());
        self.process(now, &mut vec![frame], pool, out);
        this.visits = self.programs.visited().collect();
        let sent = out.iter().skip(n_sent);
        this.outcomes.extend(sent.map(|(port, frame)| TraceOutcome::Output { port, frame: frame.to_vec() }));
        for report in self.side.reports.iter().skip(n_reports) {
            if let ReportKind::Punt(punted) = &report.0 {
                this.outcomes.push(TraceOutcome::Controller {
                    reason: punted.punt.reason,
                    table: TableId(punted.punt.table),
                    frame: punted.data.clone(),
                });
            }
        }
        let dropped = self.side.drops.iter().filter(|(_, n)| *n > 0);
        this.outcomes.extend(dropped.map(|(reason, _)| TraceOutcome::Drop(reason)));
        this
    }
}

/// Follows a frame through a snapshot: with a worker of its own, so that what it tells is what a worker does.
pub(crate) fn trace(
    now: Instant,
    snapshot: &Arc<Snapshot>,
    learned: &VecDeque<Learned>,
    (in_port, bytes): (PortNo, &[u8]),
    describe: &dyn Fn(Index) -> Option<TraceEntry>,
) -> Trace {
    let mut pool = Pool::default();
    let Some(mut frame) = pool.frame_from(bytes) else {
        let outcomes = vec![TraceOutcome::Drop(DropReason::TooLong)];
        return Trace { in_port, fields: Match::new(), tables: Vec::new(), outcomes };
    };
    frame.meta.in_port = in_port;
    let bed = Bed::new(Shelf::new(snapshot.clone(), 1), 0);
    let mut worker = Datapath::new(snapshot.clone(), bed, (0, snapshot.options.secret));
    let mut out = Outputs::new();
    for &station in learned {
        worker.handle_order(now, Order(OrderKind::Learned(station)), &mut pool, &mut out);
    }
    worker.follow(now, frame, &mut pool, &mut out).tell(describe)
}

impl fmt::Display for Trace {
    /// In the manner of `ovs-appctl ofproto/trace`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Flow: {}", self.fields)?;
        for visit in &self.tables {
            match &visit.entry {
                None => writeln!(f, "{:2}. No match.", visit.table)?,
                Some(entry) => {
                    let any = if entry.matches.is_empty() { "any" } else { "" };
                    write!(f, "{:2}. {}{any}, priority {}", visit.table, entry.matches, entry.priority)?;
                    if entry.cookie.0 != 0 {
                        write!(f, ", cookie {:#x}", entry.cookie.0)?;
                    }
                    writeln!(f)?;
                    writeln!(f, "    {}", openflow::text::Instructions(&entry.instructions))?;
                }
            }
        }
        for outcome in &self.outcomes {
            match outcome {
                TraceOutcome::Output { port, frame } => {
                    writeln!(f, "Output: port {port}, {} bytes", frame.len())?
                }
                TraceOutcome::Controller { reason, table, .. } => {
                    writeln!(f, "Output: controller, reason {reason:?}, table {table}")?;
                }
                TraceOutcome::Drop(reason) => writeln!(f, "Dropped: {reason}")?,
            }
        }
        Ok(())
    }
}
