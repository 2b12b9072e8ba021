//! Packets to and from controllers (§7.3.7, §7.4.1).

use std::sync::Arc;

use openflow::error::BadRequest;
use openflow::{
    AsyncConfig, BufferId, ErrorKind, Field, Match, Message, NO_BUFFER_LEN, Oxm, PacketIn, PacketInReason,
    PacketOut, PortNo, TableId,
};
use packet::Instant;

use super::Switch;
use super::buffers::Buffered;
use super::undo::Undo;
use crate::datapath::{OrderKind, Punted};
use crate::execute::is_packet_out_source;
use crate::injection::Injection;
use crate::step::{Checks, Origin, Step, compile};
use crate::{DropReason, Order};

/// Packet-outs that may wait at one worker.
const MAX_PACKET_OUTS: usize = 4096;
/// Bytes of packet-outs that may wait at one worker.
const MAX_PACKET_OUT_SIZE: usize = 16 << 20;

impl Switch {
    /// §7.4.1: the first `max_len` bytes, the packet waiting, or all of it.
    pub(super) fn packet_in(&mut self, now: Instant, punted: Punted) {
        let Punted { punt, in_port, data } = punted;
        let reason = u32::from(punt.reason.number());
        // Who wants packets that no flow matched is not a matter of reasons.
        let is_miss = punt.is_miss;
        let mask = |wants: &AsyncConfig| if is_miss && !wants.misses { [0; 2] } else { wants.packet_in };
        if !self.wants_packets(mask, reason) {
            self.drops[DropReason::NoController] += 1;
            return;
        }
        // §7.3.2: what no output action sent has the length of the configuration.
        let max_len = if is_miss || punt.reason == PacketInReason::InvalidTtl {
            self.settings.miss_send_len
        } else {
            punt.max_len
        };
        let total_len = u16::try_from(data.len()).unwrap_or(u16::MAX);
        if let Some(count) = self.packet_ins.get_mut(reason as usize) {
            *count += 1;
        }
        let (buffer, data) = self.buffer(now, in_port, data, max_len);
        let fields = [
            Some(Oxm::in_port(in_port)),
            Some(Oxm::new(Field::Metadata, punt.metadata.into())).filter(|oxm| oxm.value != 0),
        ];
        let message = Message::PacketIn(PacketIn {
            buffer,
            total_len,
            reason: punt.reason,
            table: TableId(punt.table),
            cookie: punt.cookie,
            matches: Match::pipeline(fields.into_iter().flatten()),
            data,
        });
        self.tell_packet(&message, in_port, mask, reason);
    }

    fn buffer(
        &mut self,
        now: Instant,
        in_port: PortNo,
        data: Vec<u8>,
        max_len: u16,
    ) -> (Option<BufferId>, Vec<u8>) {
        if max_len == NO_BUFFER_LEN {
            return (None, data);
        }
        let first = data[..data.len().min(max_len.into())].to_vec();
        match self.buffers.put(now, Buffered { in_port, data }) {
            Ok(id) => (Some(id), first),
            Err(Buffered { data, .. }) => (None, data),
        }
    }

    pub(super) fn packet_out(&mut self, packet_out: PacketOut) -> Result<(), ErrorKind> {
        let injection = self.injection(packet_out)?;
        self.inject(injection);
        Ok(())
    }

    /// What a packet-out asks of a worker. A packet it names is taken out of its buffer.
    pub(super) fn injection(&mut self, packet_out: PacketOut) -> Result<Injection, ErrorKind> {
        if let Some(id) = packet_out.buffer {
            self.check_buffer(id)?;
        }
        if !is_packet_out_source(packet_out.in_port) {
            return Err(BadRequest::BadPort.into());
        }
        let has_group = |group| self.groups.contains_key(&group);
        let checks = Checks { matches: None, has_group: &has_group, meter: &|_| None, table_port: true };
        let steps = compile(&packet_out.actions, Origin::PACKET_OUT, &checks)?.into();
        let data = match packet_out.buffer {
            Some(id) => self.take_buffer(id)?.data,
            None => packet_out.data,
        };
        Ok(Injection::new(packet_out.in_port, data, steps))
    }

    /// Whether a packet waits under this number.
    pub(super) fn check_buffer(&self, id: BufferId) -> Result<(), ErrorKind> {
        Ok(self.buffers.check(id)?)
    }

    fn take_buffer(&mut self, id: BufferId) -> Result<Buffered, ErrorKind> {
        let packet = self.buffers.take(id)?;
        self.note(|| Undo::Buffer(id, packet.clone()));
        Ok(packet)
    }

    /// §7.3.4.1: a packet that a flow mod names goes through the tables once the flow is there.
    pub(super) fn release(&mut self, id: BufferId) -> Result<(), ErrorKind> {
        let Buffered { in_port, data } = self.take_buffer(id)?;
        // It waits for the change to be published, with what else was changed before that.
        self.injections.push_back(Injection::new(in_port, data, Box::new([Step::Table])));
        if !self.publisher.is_dirty() && self.journal.is_none() {
            self.inject_all();
        }
        Ok(())
    }

    /// Orders a packet-out. What was asked before must be in force: the worker sees orders in their order.
    pub(super) fn inject(&mut self, injection: Injection) {
        self.injections.push_back(injection);
        self.order();
        if !self.publisher.is_dirty() {
            self.inject_all();
        }
    }

    /// Hands packet-outs to the workers: those of one ingress port to the same, so that they stay in order. A worker that
    /// has too many waiting gets no more.
    pub(super) fn inject_all(&mut self) {
        for mut injection in core::mem::take(&mut self.injections) {
            let worker = injection.in_port.0 as usize % self.packet_outs.len().max(1);
            let Some(load) = self.packet_outs.get(worker) else { return };
            if !injection.weigh(load, (MAX_PACKET_OUTS, MAX_PACKET_OUT_SIZE)) {
                self.drops[DropReason::PacketOutQueue] += 1;
                continue;
            }
            let order = Order(OrderKind::PacketOut(Arc::new(injection)));
            self.give_order(Some(worker), order);
            self.tickets.loose = true;
        }
    }
}
