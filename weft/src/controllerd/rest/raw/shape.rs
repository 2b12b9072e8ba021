//! Groups, meters and statistics between the shapes of the API and the values of OpenFlow.

use controller::layout;
use controller_api::{
    Counted, FlowOwner, FlowSums, Group, GroupBucket, GroupCounters, GroupKind, GroupSpec, Meter, MeterBand,
    MeterCounters, MeterSpec, MeterUnit, PortStatistics, Problem, QueueStatistics, SwitchStatistics,
    TableStats,
};
use openflow::text::{Actions, parse_actions};
use openflow::{
    Band, BandKind, Bucket, GroupDesc, GroupId, GroupMod, GroupModCommand, GroupStats, GroupType,
    MeterConfig, MeterFlags, MeterId, MeterMod, MeterModCommand, MeterStats, PortConfig, PortDesc, PortNo,
    Reply,
};

use crate::controllerd::convert::counters_of;
use crate::controllerd::rest::flows::split;

/// What is not counted is zero.
fn count(n: u64) -> u64 {
    if n == u64::MAX { 0 } else { n }
}

/// A group as the API writes it.
pub fn group(desc: &GroupDesc, stats: Option<&GroupStats>) -> Group {
    let owner = if layout::is_own_group(desc.group) { FlowOwner::Intent } else { FlowOwner::Foreign };
    let kind = match desc.group_type {
        GroupType::All => GroupKind::All,
        GroupType::Select => GroupKind::Select,
        GroupType::Indirect => GroupKind::Indirect,
        GroupType::FastFailover => GroupKind::Failover,
    };
    let bucket = |bucket: &Bucket| GroupBucket {
        weight: (kind == GroupKind::Select).then_some(bucket.weight),
        watch_port: bucket.watch_port.map(|port| port.0),
        watch_group: bucket.watch_group.map(|group| group.0),
        actions: split(&Actions(&bucket.actions).to_string())
            .filter(|action| *action != "drop")
            .map(str::to_owned)
            .collect(),
    };
    let counters = stats.map(|stats| GroupCounters {
        references: stats.ref_count,
        frames: count(stats.packets),
        bytes: count(stats.bytes),
        duration: stats.duration.as_secs_f64(),
        buckets: stats.buckets.iter().map(|bucket| counted(bucket.packets, bucket.bytes)).collect(),
    });
    let spec = GroupSpec { kind, buckets: desc.buckets.iter().map(bucket).collect() };
    Group { id: desc.group.0, owner, spec, counters }
}

fn counted(frames: u64, bytes: u64) -> Counted {
    Counted { frames: count(frames), bytes: count(bytes) }
}

/// The change that leads to a group.
pub fn group_mod(group: GroupId, spec: &GroupSpec, command: GroupModCommand) -> Result<GroupMod, Problem> {
    let bucket = |(idx, bucket): (usize, &GroupBucket)| -> Result<Bucket, Problem> {
        let weight = match (spec.kind, bucket.weight) {
            (GroupKind::Select, weight) => weight.unwrap_or(1),
            (_, None | Some(0)) => 0,
            (_, Some(_)) => {
                let pointer = format!("/buckets/{idx}/weight");
                return Err(Problem::invalid(pointer, "only groups of type select have weights"));
            }
        };
        let mut actions = Vec::new();
        for (place, text) in bucket.actions.iter().enumerate() {
            let pointer = format!("/buckets/{idx}/actions/{place}");
            actions.extend(parse_actions(text).map_err(|error| Problem::invalid(pointer, error))?);
        }
        Ok(Bucket {
            weight,
            watch_port: bucket.watch_port.map(PortNo),
            watch_group: bucket.watch_group.map(GroupId),
            actions,
        })
    };
    let group_type = match spec.kind {
        GroupKind::All => GroupType::All,
        GroupKind::Select => GroupType::Select,
        GroupKind::Indirect => GroupType::Indirect,
        GroupKind::Failover => GroupType::FastFailover,
    };
    let buckets = spec.buckets.iter().enumerate().map(bucket).collect::<Result<_, _>>()?;
    Ok(GroupMod { command, group_type, group, buckets })
}

/// A meter as the API writes it.
pub fn meter(config: &MeterConfig, stats: Option<&MeterStats>) -> Meter {
    let unit = if config.flags.contains(MeterFlags::PKTPS) { MeterUnit::Pktps } else { MeterUnit::Kbps };
    let has_burst = config.flags.contains(MeterFlags::BURST);
    let band = |band: &Band| MeterBand {
        rate: band.rate,
        burst: has_burst.then_some(band.burst),
        remark: match band.kind {
            BandKind::DscpRemark { prec_level } => Some(prec_level),
            BandKind::Drop | BandKind::Experimenter { .. } | BandKind::Unknown { .. } => None,
        },
    };
    let counters = stats.map(|stats| MeterCounters {
        flows: stats.flow_count,
        frames: count(stats.packets_in),
        bytes: count(stats.bytes_in),
        duration: stats.duration.as_secs_f64(),
        bands: stats.bands.iter().map(|band| counted(band.packets, band.bytes)).collect(),
    });
    let spec = MeterSpec { unit, bands: config.bands.iter().map(band).collect() };
    Meter { id: config.meter.0, spec, counters }
}

/// The change that leads to a meter. It counts.
pub fn meter_mod(meter: MeterId, spec: &MeterSpec, command: MeterModCommand) -> MeterMod {
    let unit = match spec.unit {
        MeterUnit::Kbps => MeterFlags::KBPS,
        MeterUnit::Pktps => MeterFlags::PKTPS,
    };
    let has_burst = spec.bands.iter().any(|band| band.burst.is_some());
    let band = |band: &MeterBand| Band {
        kind: band.remark.map_or(BandKind::Drop, |prec_level| BandKind::DscpRemark { prec_level }),
        rate: band.rate,
        burst: band.burst.unwrap_or(0),
    };
    let flags = (unit | MeterFlags::STATS).with(MeterFlags::BURST, has_burst);
    MeterMod { command, flags, meter, bands: spec.bands.iter().map(band).collect() }
}

/// How a port behaves.
pub fn port_config(port: &PortDesc) -> controller_api::PortConfig {
    let has = |flag| port.config.contains(flag);
    controller_api::PortConfig {
        down: has(PortConfig::PORT_DOWN),
        no_receive: has(PortConfig::NO_RECV),
        no_forward: has(PortConfig::NO_FWD),
        no_packet_in: has(PortConfig::NO_PACKET_IN),
    }
}

/// The bits that lead there, and which of them count.
pub fn port_mod(wanted: controller_api::PortConfig) -> (PortConfig, PortConfig) {
    let flags = [
        (PortConfig::PORT_DOWN, wanted.down),
        (PortConfig::NO_RECV, wanted.no_receive),
        (PortConfig::NO_FWD, wanted.no_forward),
        (PortConfig::NO_PACKET_IN, wanted.no_packet_in),
    ];
    flags.into_iter().fold((PortConfig::NONE, PortConfig::NONE), |(config, mask), (flag, set)| {
        (config.with(flag, set), mask | flag)
    })
}

/// Adds what a switch answered to its statistics.
pub fn add(statistics: &mut SwitchStatistics, reply: Reply) {
    match reply {
        Reply::Aggregate(sums) => {
            let (frames, bytes) = (count(sums.packets), count(sums.bytes));
            statistics.flows = Some(FlowSums { flows: sums.flows, frames, bytes });
        }
        Reply::Table(tables) => {
            let used = tables.iter().filter(|table| table.active > 0 || count(table.lookups) > 0);
            statistics.tables.extend(used.map(|table| TableStats {
                table: table.table.0,
                flows: table.active,
                lookups: count(table.lookups),
                matched: count(table.matched),
            }));
        }
        Reply::PortStats(ports) => statistics.ports.extend(ports.iter().map(|port| PortStatistics {
            port: port.port.0,
            duration: port.duration.as_secs_f64(),
            counters: counters_of(port),
        })),
        Reply::Queue(queues) => statistics.queues.extend(queues.iter().map(|queue| QueueStatistics {
            port: queue.port.0,
            queue: queue.queue.0,
            duration: queue.duration.as_secs_f64(),
            frames: count(queue.tx_packets),
            bytes: count(queue.tx_bytes),
            dropped: count(queue.tx_errors),
        })),
        _ => {}
    }
}
