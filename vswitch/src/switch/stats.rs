//! Multipart requests (§7.3.5).

use openflow::error::{BadRequest, MeterModFailed};
use openflow::{
    AggregateStats, ErrorKind, Field, FlowModFlags, FlowStatsRequest, GroupCapabilities, GroupFeatures,
    GroupId, Message, MeterId, MultipartReply, MultipartRequest, Reply, Request, TableFeature, TableFeatures,
    TableId, TableStats, Xid,
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
        // Only table features take several parts, and those are refused.
        if request.more {
            return Err(BadRequest::MultipartBufferOverflow.into());
        }
        match request.body {
            Request::Experimenter { .. } => Err(BadRequest::BadExperimenter.into()),
            Request::TableFeatures(wanted) if !wanted.is_empty() => {
                Err(openflow::error::TableFeaturesFailed::Eperm.into())
            }
            Request::Flow(ref wanted) | Request::Aggregate(ref wanted)
                if wanted.table != TableId::ALL && wanted.table.0 >= self.config.n_tables =>
            {
                Err(BadRequest::BadTableId.into())
            }
            Request::PortStats(Some(port)) if !self.ports.contains_key(&port) => {
                Err(BadRequest::BadPort.into())
            }
            Request::Queue { port, queue } | Request::QueueDesc { port, queue } => {
                self.check_queues(port, queue)?;
                self.answer(now, conn, xid, request.body);
                Ok(())
            }
            Request::Meter(id) | Request::MeterConfig(id)
                if id != MeterId::ALL && !self.meters.contains_key(&id) =>
            {
                Err(MeterModFailed::UnknownMeter.into())
            }
            // Counters are brought up to date first.
            body @ (Request::Flow(_) | Request::Aggregate(_) | Request::Table | Request::Group(_)) => {
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
            Request::Flow(wanted) => return self.dump(now, conn, xid, wanted),
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
        let flows = self.flows.select(&wanted.into());
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

    fn table_stats(&self) -> Vec<TableStats> {
        (0..self.config.n_tables).map(|table| self.flows.table_stats(TableId(table))).collect()
    }

    fn table_features(&self) -> Vec<TableFeatures> {
        (0..self.config.n_tables).map(|table| self.features_of(table)).collect()
    }

    fn features_of(&self, table: u8) -> TableFeatures {
        // Numbers of ofp_instruction_type (§7.2.4) and ofp_action_type (§7.2.5) that flows may have.
        const INSTRUCTIONS: [u16; 6] = [1, 2, 3, 4, 5, 6];
        const ACTIONS: [u16; 16] = [0, 11, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27];
        let last = table + 1 == self.config.n_tables;
        let settable: Vec<Field> = Field::ALL.iter().copied().filter(|f| f.is_settable()).collect();
        let mut features = Vec::new();
        for miss in [false, true] {
            let types = INSTRUCTIONS.into_iter().filter(|&t| t != 1 || !last).collect();
            features.push(TableFeature::Instructions { miss, types });
            let tables = (table + 1..self.config.n_tables).map(TableId).collect();
            features.push(TableFeature::NextTables { miss, tables });
            for apply in [false, true] {
                features.push(TableFeature::Actions { apply, miss, types: ACTIONS.to_vec() });
                features.push(TableFeature::SetField { apply, miss, fields: settable.clone() });
            }
        }
        features.push(TableFeature::Match(Field::ALL.iter().map(|f| (*f, f.is_maskable())).collect()));
        features.push(TableFeature::Wildcards(Field::ALL.to_vec()));
        TableFeatures {
            table: TableId(table),
            name: format!("table{table}"),
            metadata_match: u64::MAX,
            metadata_write: u64::MAX,
            config: 0,
            max_entries: self.config.max_flows,
            features,
        }
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
