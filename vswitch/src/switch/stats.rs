//! Multipart requests (§7.3.5).

use openflow::error::{BadRequest, MeterModFailed};
use openflow::{
    AggregateStats, ErrorKind, FlowModFlags, FlowStatsRequest, GroupCapabilities, GroupFeatures, GroupId,
    Message, MeterId, MultipartReply, MultipartRequest, Reply, Request, TableId, TableStats, Xid,
};
use packet::Instant;

use super::meters::meter_features;
use super::{Deferred, Switch};
use crate::ConnId;

impl Switch {
    pub(super) fn multipart(
        &mut self,
        now: Instant,
        conn: ConnId,
        xid: Xid,
        request: MultipartRequest,
    ) -> Result<(), ErrorKind> {
        let Some(request) = self.parts.add(now, (conn, xid), request)? else { return Ok(()) };
        match request {
            Request::Experimenter { .. } => Err(BadRequest::BadExperimenter.into()),
            Request::TableFeatures(wanted) if !wanted.is_empty() => {
                // §6.3.4: what changes the tables is not for slaves.
                if self.is_slave(conn) {
                    return Err(BadRequest::IsSlave.into());
                }
                self.set_table_features(now, &wanted)?;
                self.answer(now, conn, xid, Request::TableFeatures(Vec::new()));
                Ok(())
            }
            Request::Flow(ref wanted) | Request::Aggregate(ref wanted)
                if wanted.table != TableId::ALL && !self.has_table(wanted.table) =>
            {
                Err(BadRequest::BadTableId.into())
            }
            Request::PortStats(Some(port)) if !self.ports.contains_key(&port) => {
                Err(BadRequest::BadPort.into())
            }
            Request::Queue { port, queue } | Request::QueueDesc { port, queue } => {
                self.check_queues(port, queue)?;
                self.answer(now, conn, xid, request);
                Ok(())
            }
            Request::Meter(id) | Request::MeterConfig(id)
                if id != MeterId::ALL && !self.meters.contains_key(&id) =>
            {
                Err(MeterModFailed::UnknownMeter.into())
            }
            // Counters are brought up to date first.
            body @ (Request::Flow(_) | Request::Aggregate(_) | Request::Table | Request::Group(_)) => {
                self.owe(conn);
                self.tickets.flush = true;
                self.wait(now, Deferred::Stats { conn, xid, request: body });
                Ok(())
            }
            body => {
                self.answer(now, conn, xid, body);
                Ok(())
            }
        }
    }

    /// Sends the reply to a request that was found good, or begins to.
    pub(super) fn answer(&mut self, now: Instant, conn: ConnId, xid: Xid, request: Request) {
        let body = match request {
            Request::Desc => Reply::Desc(self.config.desc.clone()),
            Request::Flow(wanted) => return self.dump(conn, xid, wanted),
            Request::Aggregate(wanted) => Reply::Aggregate(self.aggregate(&wanted)),
            Request::Table => Reply::Table(self.table_stats()),
            Request::PortStats(port) => {
                let wanted = self.ports.iter().filter(|(known, _)| port.is_none_or(|port| port == **known));
                Reply::PortStats(wanted.map(|(_, record)| record.stats(now)).collect())
            }
            Request::Queue { port, queue } => Reply::Queue(self.queue_stats(now, port, queue)),
            Request::QueueDesc { port, queue } => Reply::QueueDesc(self.queue_descs(port, queue)),
            Request::TableDesc => Reply::TableDesc(self.table_descs()),
            Request::Group(group) => Reply::Group(self.group_stats(now, group)),
            Request::GroupDesc => {
                Reply::GroupDesc(self.groups.values().map(|record| record.group.desc.clone()).collect())
            }
            Request::GroupFeatures => Reply::GroupFeatures(group_features()),
            Request::Meter(meter) => Reply::Meter(self.meter_stats(now, meter)),
            Request::MeterConfig(meter) => Reply::MeterConfig(self.meter_configs(meter)),
            Request::MeterFeatures => Reply::MeterFeatures(meter_features()),
            Request::TableFeatures(_) => Reply::TableFeatures(self.table_features()),
            Request::PortDesc => {
                Reply::PortDesc(self.ports.values().map(|record| record.desc.clone()).collect())
            }
            Request::Experimenter { .. } => return,
        };
        self.send(conn, xid, Message::MultipartReply(MultipartReply { more: false, body }));
    }

    fn aggregate(&mut self, wanted: &FlowStatsRequest) -> AggregateStats {
        let flows = self.flows.chosen(&wanted.into());
        let mut sum = AggregateStats { packets: 0, bytes: 0, flows: flows.len() as u32 };
        for record in flows.into_iter().filter_map(|flow| self.flows.get(flow)) {
            let hides = |flag| record.flags.contains(flag);
            if !hides(FlowModFlags::NO_PKT_COUNTS) {
                sum.packets = sum.packets.wrapping_add(record.packets);
            }
            if !hides(FlowModFlags::NO_BYT_COUNTS) {
                sum.bytes = sum.bytes.wrapping_add(record.bytes);
            }
        }
        sum
    }

    pub(super) fn table_stats(&self) -> Vec<TableStats> {
        let tables = (0..self.config.n_tables).map(TableId).filter(|&table| self.has_table(table));
        let max_entries = self.config.max_flows;
        tables.map(|table| TableStats { max_entries, ..self.flows.table_stats(table) }).collect()
    }
}

fn group_features() -> GroupFeatures {
    const ACTIONS: u32 = 1 | 1 << 17 | 1 << 18 | 1 << 21 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 25;
    GroupFeatures {
        types: 0b1111,
        capabilities: GroupCapabilities::SELECT_WEIGHT
            | GroupCapabilities::SELECT_LIVENESS
            | GroupCapabilities::CHAINING
            | GroupCapabilities::CHAINING_CHECKS,
        max_groups: [GroupId::MAX.0.min(65_536); 4],
        actions: [ACTIONS; 4],
    }
}
