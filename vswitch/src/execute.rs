//! Running a program: steps in order, outputs collected.

use openflow::{Field, GroupId, MeterId, PacketInReason, PortConfig, PortNo, ports};
use packet::offload::{complete_checksum, segment, wire_size};
use packet::{Frame, Instant, Outputs, Pool, ethernet};

use crate::DropReason;
use crate::actions::{self, NoRoom};
use crate::datapath::{Punted, Side};
use crate::extract::Places;
use crate::group::{self, MAX_COPIES, MAX_DEPTH};
use crate::meter::{Measured, Meter, raise_drop_precedence};
use crate::shims;
use crate::snapshot::{PortRow, Snapshot};
use crate::step::{Punt, Step, Whence};

/// Where a frame comes from and by what it is forwarded.
pub(crate) struct Source<'a> {
    pub now: Instant,
    pub snapshot: &'a Snapshot,
    pub places: Places,
    pub in_port: PortNo,
    /// Bytes the frame had when it was received.
    pub received: usize,
}

/// One frame on its way through its steps.
pub(crate) struct Execution<'a> {
    source: Source<'a>,
    side: &'a mut Side,
    pool: &'a mut Pool,
    out: &'a mut Outputs,
    progress: Progress,
    /// Frames that are still there, when there is more for them than the steps.
    kept: Vec<(Frame, Places)>,
    /// The step that dropped the frame, so that those behind it were not done.
    stopped_at: Option<usize>,
    /// Where the frame entered a group, while it is in one.
    entered: Whence,
    /// Copies that groups made.
    n_copies: usize,
}

/// What became of a frame and its copies so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Copies that went somewhere.
    n_sent: usize,
    /// Why the first that went nowhere did not.
    failure: Option<DropReason>,
}

impl Progress {
    pub(crate) fn fail(&mut self, reason: DropReason) {
        self.failure.get_or_insert(reason);
    }

    /// Why the frame counts as dropped, if it went nowhere: for the first failure, else for `reason`.
    pub(crate) fn drop_reason(&self, reason: DropReason) -> Option<DropReason> {
        (self.n_sent == 0).then_some(self.failure.unwrap_or(reason))
    }
}

/// What became of a frame when its steps were done.
pub(crate) struct Done {
    pub progress: Progress,
    /// The step that dropped the frame, if one did before the end.
    pub stopped_at: Option<usize>,
    /// What is still there, with its headers.
    pub kept: Vec<(Frame, Places)>,
}

/// What becomes of a list of steps.
enum End {
    /// The frame is still there.
    Kept(Frame),
    /// It was sent or dropped.
    Gone,
}

impl<'a> Execution<'a> {
    #[inline(always)]
    pub(crate) fn new(
        source: Source<'a>,
        side: &'a mut Side,
        pool: &'a mut Pool,
        out: &'a mut Outputs,
    ) -> Self {
        let (progress, kept) = (Progress::default(), Vec::new());
        Self {
            source,
            side,
            pool,
            out,
            progress,
            kept,
            stopped_at: None,
            entered: Whence::default(),
            n_copies: 0,
        }
    }

    /// Runs `steps`. A frame that went nowhere counts as dropped: for the first failure, else for `reason`.
    /// Returns the step that dropped the frame, if one did before the end.
    pub(crate) fn run(&mut self, frame: Frame, steps: &[Step], reason: DropReason) -> Option<usize> {
        match self.steps(frame, steps, MAX_DEPTH, true) {
            End::Kept(frame) => self.pool.free(frame),
            End::Gone => {}
        }
        self.account(reason);
        self.stopped_at
    }

    /// Runs `steps` for a frame to which `progress` happened before. With `more`, the frame is kept; a super-frame may
    /// be cut.
    pub(crate) fn run_on(mut self, frame: Frame, steps: &[Step], (progress, more): (Progress, bool)) -> Done {
        self.progress = progress;
        self.kept = core::mem::take(&mut self.side.kept);
        match self.steps(frame, steps, MAX_DEPTH, !more) {
            End::Kept(frame) if more => self.kept.push((frame, self.source.places)),
            End::Kept(frame) => self.pool.free(frame),
            End::Gone => {}
        }
        Done { progress: self.progress, stopped_at: self.stopped_at, kept: self.kept }
    }

    /// Runs `steps` and gives the frame back, unless a step dropped it.
    pub(crate) fn run_and_keep(&mut self, frame: Frame, steps: &[Step]) -> Option<Frame> {
        match self.steps(frame, steps, MAX_DEPTH, false) {
            End::Kept(frame) => Some(frame),
            End::Gone => {
                self.account(DropReason::Flow);
                None
            }
        }
    }

    fn account(&mut self, reason: DropReason) {
        if let Some(reason) = self.progress.drop_reason(reason) {
            self.side.drops[reason] += 1;
        }
    }

    fn fail(&mut self, reason: DropReason) {
        self.progress.fail(reason);
    }

    /// Runs steps. With `last`, nothing follows: the last output may take the frame itself.
    fn steps(&mut self, mut frame: Frame, steps: &[Step], depth: u8, last: bool) -> End {
        for (n, step) in steps.iter().enumerate() {
            let take = last && n + 1 == steps.len();
            if step.rebuilds() {
                match self.rebuild(frame, (n, steps, depth, last)) {
                    End::Kept(kept) => frame = kept,
                    End::Gone => return End::Gone,
                }
                continue;
            }
            let places = &mut self.source.places;
            match *step {
                Step::SetField(field, value) => actions::set_field(&mut frame, places, field, value.get()),
                Step::PopVlan => actions::pop_vlan(&mut frame, places),
                Step::SetQueue(queue) => frame.queue = queue,
                Step::SetTtl(ttl) => actions::set_ttl(&mut frame, places, ttl),
                Step::PushVlan(tpid) => {
                    if actions::push_vlan(&mut frame, places, tpid).is_err() {
                        self.note_stop(n, depth);
                        return self.stop(frame, DropReason::NoRoom);
                    }
                }
                Step::EnsureTag if places.n_tags > 0 => {}
                Step::EnsureTag => {
                    if actions::push_vlan(&mut frame, places, 0x8100).is_err() {
                        self.note_stop(n, depth);
                        return self.stop(frame, DropReason::NoRoom);
                    }
                }
                Step::DecTtl(punt) => {
                    if actions::dec_ttl(&mut frame, places).is_err() {
                        self.note_stop(n, depth);
                        return self.expire(frame, self.punt_at(punt, depth));
                    }
                }
                Step::SetMplsTtl(ttl) => shims::set_mpls_ttl(&mut frame, places, ttl),
                Step::CopyTtlOut => shims::copy_ttl_out(&mut frame, places),
                Step::CopyTtlIn => shims::copy_ttl_in(&mut frame, places),
                Step::DecMplsTtl(punt) => {
                    if shims::dec_mpls_ttl(&mut frame, places).is_err() {
                        self.note_stop(n, depth);
                        return self.expire(frame, self.punt_at(punt, depth));
                    }
                }
                Step::Meter(meter) => match self.meter(frame, meter, (n, steps, depth, last)) {
                    End::Kept(kept) => frame = kept,
                    End::Gone => return End::Gone,
                },
                _ if take => {
                    self.send_last(frame, step, depth);
                    return End::Gone;
                }
                _ => {
                    let copy = self.pool.clone_frame(&frame);
                    self.send_last(copy, step, depth);
                }
            }
        }
        End::Kept(frame)
    }

    /// Does step `n`, which moves or renames headers, with the complete frame: no offload could find them afterwards. A
    /// super-frame is cut, and each segment does the steps for itself.
    #[inline(never)]
    fn rebuild(&mut self, mut frame: Frame, at: (usize, &[Step], u8, bool)) -> End {
        let (n, steps, depth, last) = at;
        if frame.meta.gso.is_some() {
            self.cut(frame, (&steps[n..], depth, last), |_, part| Some(part));
            return End::Gone;
        }
        if complete_checksum(&mut frame).is_err() {
            self.note_stop(n, depth);
            return self.stop(frame, DropReason::BadOffload);
        }
        let places = &mut self.source.places;
        let done = match steps[n] {
            Step::PushMpls(ethertype) => shims::push_mpls(&mut frame, places, ethertype),
            Step::PushPbb(ethertype) => shims::push_pbb(&mut frame, places, ethertype),
            Step::PopMpls(ethertype) => {
                shims::pop_mpls(&mut frame, places, ethertype);
                Ok(())
            }
            Step::PopPbb => {
                shims::pop_pbb(&mut frame, places);
                Ok(())
            }
            Step::SetField(field, value) => {
                actions::set_field(&mut frame, places, field, value.get());
                Ok(())
            }
            _ => Ok(()),
        };
        match done {
            Ok(()) => End::Kept(frame),
            Err(NoRoom) => {
                self.note_stop(n, depth);
                self.stop(frame, DropReason::NoRoom)
            }
        }
    }

    /// Cuts a super-frame; each segment that `admit` lets pass does `steps` for itself.
    fn cut(
        &mut self,
        frame: Frame,
        (steps, depth, last): (&[Step], u8, bool),
        admit: impl Fn(&mut Self, Frame) -> Option<Frame>,
    ) {
        let mut parts = core::mem::take(&mut self.side.parts);
        if segment(frame, self.pool, &mut parts).is_err() {
            self.fail(DropReason::BadOffload);
        }
        let places = self.source.places;
        for part in parts.drain(..) {
            self.source.places = places;
            let Some(part) = admit(self, part) else { continue };
            match self.steps(part, steps, depth, last) {
                End::Kept(rest) if !last && depth == MAX_DEPTH => {
                    self.kept.push((rest, self.source.places));
                }
                End::Kept(rest) => self.pool.free(rest),
                End::Gone => {}
            }
        }
        self.side.parts = parts;
        // Where single segments stopped does not say what the others did.
        self.stopped_at = None;
    }

    /// A step of the program itself, not of a group's bucket, drops the frame.
    fn note_stop(&mut self, step: usize, depth: u8) {
        if depth == MAX_DEPTH {
            self.stopped_at = Some(step);
        }
    }

    fn stop(&mut self, frame: Frame, reason: DropReason) -> End {
        self.fail(reason);
        self.pool.free(frame);
        End::Gone
    }

    /// §7.4.1: a packet whose TTL is invalid goes to the controller if it wants those; in any case no further.
    fn expire(&mut self, frame: Frame, punt: Punt) -> End {
        self.fail(DropReason::Ttl);
        if self.source.snapshot.options.punt_invalid_ttl {
            self.punt(frame, punt);
            End::Gone
        } else {
            self.stop(frame, DropReason::Ttl)
        }
    }

    /// Does an output with a frame nobody else needs.
    fn send_last(&mut self, frame: Frame, step: &Step, depth: u8) {
        let in_port = self.source.in_port;
        match *step {
            Step::Output(port) if port == in_port => self.refuse(frame, DropReason::SamePort),
            Step::Output(port) => self.output(frame, port),
            Step::InPort => self.output(frame, in_port),
            Step::Flood => self.flood(frame, PortRow::floods),
            Step::All => self.flood(frame, PortRow::may_send),
            Step::Normal => self.normal(frame),
            Step::Punt(punt) if punt.is_miss && !self.source.snapshot.options.punt_misses => {
                self.refuse(frame, DropReason::TableMiss);
            }
            Step::Punt(punt) => self.punt(frame, self.punt_at(punt, depth)),
            Step::Group(group, whence) => self.group(frame, (group, whence), depth),
            Step::Table
            | Step::Meter(_)
            | Step::SetQueue(_)
            | Step::EnsureTag
            | Step::SetField(..)
            | Step::PushVlan(_)
            | Step::PopVlan
            | Step::PushMpls(_)
            | Step::PopMpls(_)
            | Step::PushPbb(_)
            | Step::PopPbb
            | Step::SetMplsTtl(_)
            | Step::DecMplsTtl(_)
            | Step::CopyTtlOut
            | Step::CopyTtlIn
            | Step::SetTtl(_)
            | Step::DecTtl(_) => self.refuse(frame, DropReason::Flow),
        }
    }

    /// Measures a frame at step `n`. A super-frame that does not pass whole is cut, and each segment measured and sent
    /// through the steps behind for itself.
    fn meter(&mut self, frame: Frame, id: MeterId, at: (usize, &[Step], u8, bool)) -> End {
        let (n, steps, depth, last) = at;
        let (now, snapshot) = (self.source.now, self.source.snapshot);
        let Some(meter) = snapshot.meters.get(&id) else {
            self.note_stop(n, depth);
            return self.stop(frame, DropReason::Meter);
        };
        if frame.meta.gso.is_none() || meter.admits_whole(now, wire_size(&frame)) {
            let Some(frame) = self.measured(frame, meter) else {
                self.note_stop(n, depth);
                return End::Gone;
            };
            return End::Kept(frame);
        }
        self.cut(frame, (&steps[n + 1..], depth, last), |this, part| this.measured(part, meter));
        End::Gone
    }

    /// The frame as a meter lets it pass, if it does.
    fn measured(&mut self, frame: Frame, meter: &Meter) -> Option<Frame> {
        match meter.measure(self.source.now, wire_size(&frame)) {
            Measured::Pass => Some(frame),
            Measured::Remark(levels) => Some(self.remark(frame, levels)),
            Measured::Drop => {
                self.refuse(frame, DropReason::Meter);
                None
            }
        }
    }

    fn remark(&mut self, mut frame: Frame, levels: u8) -> Frame {
        let places = &mut self.source.places;
        if let Some(dscp) = actions::dscp(&frame, places) {
            let raised = raise_drop_precedence(dscp, levels);
            actions::set_field(&mut frame, places, Field::IpDscp, raised.into());
        }
        frame
    }

    fn refuse(&mut self, frame: Frame, reason: DropReason) {
        self.fail(reason);
        self.pool.free(frame);
    }

    /// What actions made shorter than the minimum of IEEE 802.3 has it again when it leaves; a frame that came shorter
    /// leaves as it is (docs/decisions/0004).
    fn pad(&self, frame: &mut Frame) {
        if frame.len() < ethernet::MIN_LEN && self.source.received >= ethernet::MIN_LEN {
            frame.pad_to(ethernet::MIN_LEN);
        }
    }

    fn output(&mut self, mut frame: Frame, port: PortNo) {
        match self.source.snapshot.ports.get(port) {
            Some(row) if row.may_send() => {
                self.pad(&mut frame);
                self.progress.n_sent += 1;
                self.out.push((port, frame));
            }
            Some(_) => self.refuse(frame, DropReason::PortDown),
            None => self.refuse(frame, DropReason::NoPort),
        }
    }

    /// To every port that `may` but the one it came by.
    fn flood(&mut self, mut frame: Frame, may: impl Fn(&PortRow) -> bool) {
        self.pad(&mut frame);
        let snapshot = self.source.snapshot;
        let mut previous: Option<PortNo> = None;
        for row in snapshot.ports.iter().filter(|row| row.port != self.source.in_port && may(row)) {
            if let Some(port) = previous.replace(row.port) {
                let copy = self.pool.clone_frame(&frame);
                self.progress.n_sent += 1;
                self.out.push((port, copy));
            }
        }
        match previous {
            Some(port) => {
                self.progress.n_sent += 1;
                self.out.push((port, frame));
            }
            None => self.refuse(frame, DropReason::Filtered),
        }
    }

    /// Forwards as a learning bridge would (IEEE 802.1Q-2022 §8.8).
    fn normal(&mut self, frame: Frame) {
        let (source, destination) = actions::stations(&frame, &self.source.places);
        const GROUP_BIT: u64 = 1 << 40;
        let (now, in_port) = (self.source.now, self.source.in_port);
        if source & GROUP_BIT == 0 && self.source.snapshot.ports.get(in_port).is_some() {
            self.side.learn(now, source, in_port);
        }
        // IEEE 802.1Q-2022 §8.6.3: reserved addresses are never relayed.
        if destination & 0xffff_ffff_fff0 == 0x0180_c200_0000 {
            return self.refuse(frame, DropReason::Filtered);
        }
        let known = if destination & GROUP_BIT == 0 { self.side.fdb.lookup(now, destination) } else { None };
        match known.filter(|&port| self.source.snapshot.ports.get(port).is_some()) {
            Some(port) if port == in_port => self.refuse(frame, DropReason::Filtered),
            Some(port) => self.output(frame, port),
            None => self.flood(frame, PortRow::floods),
        }
    }

    /// To the controller, finished as it would be on the wire.
    fn punt(&mut self, mut frame: Frame, punt: Punt) {
        let in_port = self.source.in_port;
        let row = self.source.snapshot.ports.get(in_port);
        if row.is_some_and(|row| row.config.contains(PortConfig::NO_PACKET_IN)) {
            return self.refuse(frame, DropReason::NoPacketIn);
        }
        if frame.meta.gso.is_none() {
            return match complete_checksum(&mut frame) {
                Ok(()) => self.punt_one(frame, punt),
                Err(_) => self.refuse(frame, DropReason::BadOffload),
            };
        }
        let mut parts = Vec::new();
        match segment(frame, self.pool, &mut parts) {
            Ok(_) => parts.into_iter().for_each(|part| self.punt_one(part, punt)),
            Err(_) => self.fail(DropReason::BadOffload),
        }
    }

    fn punt_one(&mut self, mut frame: Frame, punt: Punt) {
        self.pad(&mut frame);
        // §7.3.4.4: one virtual meter is for everything sent to the controller.
        if let Some(meter) = self.source.snapshot.meters.get(&MeterId::CONTROLLER) {
            match self.measured(frame, meter) {
                Some(measured) => frame = measured,
                None => return,
            }
        }
        if !self.source.snapshot.ports.may_punt(self.source.now, punt.reason, self.source.in_port) {
            return self.refuse(frame, DropReason::PacketInRate);
        }
        let punted = Punted { punt, in_port: self.source.in_port, data: frame.to_vec() };
        match self.side.punt(punted) {
            Ok(()) if punt.reason == PacketInReason::InvalidTtl => {}
            Ok(()) => self.progress.n_sent += 1,
            Err(reason) => self.fail(reason),
        }
        self.pool.free(frame);
    }

    /// What a packet-in is to say: in a bucket, where the frame came from.
    fn punt_at(&self, punt: Punt, depth: u8) -> Punt {
        if depth == MAX_DEPTH {
            return punt;
        }
        Punt { table: self.entered.table, metadata: self.entered.metadata, ..punt }
    }

    /// Through a group: each bucket has a copy of its own.
    fn group(&mut self, frame: Frame, (id, whence): (GroupId, Whence), depth: u8) {
        if depth == MAX_DEPTH {
            self.entered = whence;
        }
        let snapshot = self.source.snapshot;
        let Some(group) = snapshot.groups.get(&id).filter(|_| depth > 0) else {
            return self.refuse(frame, DropReason::Group);
        };
        let size = wire_size(&frame);
        let tables = (&snapshot.groups, &*snapshot.ports);
        let chosen = group.choose(|| group::flow_hash(&frame), tables, &mut self.side.asked);
        let name = (id, group.stamp);
        let counts = self.side.groups.entry(name).or_default();
        counts.packets += u64::from(size.n_frames);
        counts.bytes += size.bytes;
        counts.buckets.resize(group.buckets.len(), (0, 0));
        if chosen.is_empty() {
            return self.refuse(frame, DropReason::Group);
        }
        let places = self.source.places;
        for at in chosen {
            self.n_copies += 1;
            if self.n_copies > MAX_COPIES {
                self.fail(DropReason::Group);
                break;
            }
            if let Some((packets, bytes)) =
                self.side.groups.get_mut(&name).and_then(|counts| counts.buckets.get_mut(at))
            {
                *packets += u64::from(size.n_frames);
                *bytes += size.bytes;
            }
            let copy = self.pool.clone_frame(&frame);
            if let End::Kept(rest) = self.steps(copy, &group.buckets[at], depth - 1, true) {
                self.fail(DropReason::Flow);
                self.pool.free(rest);
            }
            self.source.places = places;
        }
        self.pool.free(frame);
    }
}

/// Whether a frame can come from this port in a packet-out: a real one, or none.
pub(crate) fn is_packet_out_source(port: PortNo) -> bool {
    ports::is_real(port) || matches!(port, ports::CONTROLLER | ports::LOCAL | ports::ANY)
}
