//! What would happen to a frame, told table by table.

use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;

use lookup::Index;
use openflow::{Cookie, Instruction, Match, PortNo, Priority, TableId};
use packet::{Frame, Instant, Pool};

use crate::datapath::{Datapath, OrderKind, ReportKind};
use crate::extract::extract;
use crate::fdb::Learned;
use crate::key::{self, Depth, N_WORDS};
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

/// Follows a frame through a snapshot: with a worker of its own, so that what it tells is what a worker does.
pub(crate) fn trace(
    now: Instant,
    snapshot: &Arc<Snapshot>,
    learned: &VecDeque<Learned>,
    (in_port, bytes): (PortNo, &[u8]),
    describe: &dyn Fn(Index) -> Option<TraceEntry>,
) -> Trace {
    let mut this = Trace { in_port, fields: Match::new(), tables: Vec::new(), outcomes: Vec::new() };
    let mut pool = Pool::default();
    let Some(mut frame) = pool.frame_from(bytes) else {
        this.outcomes.push(TraceOutcome::Drop(DropReason::TooLong));
        return this;
    };
    frame.meta.in_port = in_port;
    this.read(&frame);
    let mut worker = Datapath::new(snapshot.clone(), 0, snapshot.options.secret);
    let mut out = Vec::new();
    for &station in learned {
        worker.handle_order(now, Order(OrderKind::Learned(station)), &mut pool, &mut out);
    }
    worker.process(now, &mut vec![frame], &mut pool, &mut out);
    this.tables = worker
        .programs
        .visited()
        .map(|(table, entry)| TraceTable { table: TableId(table), entry: entry.and_then(describe) })
        .collect();
    worker.handle_idle(now);
    let sent = out.iter().map(|(port, frame)| TraceOutcome::Output { port: *port, frame: frame.to_vec() });
    this.outcomes.extend(sent);
    while let Some(report) = worker.poll_report() {
        match report.0 {
            ReportKind::Punt(punted) => this.outcomes.push(TraceOutcome::Controller {
                reason: punted.punt.reason,
                table: TableId(punted.punt.table),
                frame: punted.data,
            }),
            ReportKind::Counters(counted) => {
                let dropped = counted.drops.iter().filter(|(_, n)| *n > 0);
                this.outcomes.extend(dropped.map(|(reason, _)| TraceOutcome::Drop(reason)));
            }
            ReportKind::Done { .. } | ReportKind::Learned(_) => {}
        }
    }
    this
}

impl Trace {
    fn read(&mut self, frame: &Frame) {
        let mut key = [0; N_WORDS];
        if extract(frame, self.in_port, Depth::All, &mut key).is_ok() {
            self.fields = key::describe(&key, self.in_port);
        }
    }
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
