//! Multipart requests and replies.

use core::fmt::{self, Formatter};

use super::port::counts;
use super::{features, port, table};
use crate::text::format::Seconds;
use crate::text::meter::MeterName;
use crate::text::naming::{Named, Names, PortName};
use crate::{
    FlowStatsRequest, GroupId, GroupStats, MeterStats, PacketQueue, PortNo, QueueConfig, QueueStats, Reply,
    Request, SwitchDesc, TableId, Version,
};

pub(super) fn write_reply(
    f: &mut Formatter<'_>,
    version: Version,
    reply: &Reply,
    names: &Names,
) -> fmt::Result {
    match reply {
        Reply::Desc(desc) => write_desc(f, desc),
        Reply::Flow(all) => {
            f.write_str("\n")?;
            all.iter().try_for_each(|flow| writeln!(f, " {}", Named(flow, names)))
        }
        Reply::Aggregate(sum) => {
            let (packets, bytes, flows) = (sum.packets, sum.bytes, sum.flows);
            writeln!(f, " packet_count={packets} byte_count={bytes} flow_count={flows}")
        }
        Reply::Table(all) => table::write_stats(f, all, names),
        Reply::PortStats(all) => port::write_stats(f, version, all, names),
        Reply::Queue(all) => write_queues(f, all, names),
        Reply::Group(all) => write_groups(f, all),
        Reply::GroupDesc(all) => {
            f.write_str("\n")?;
            all.iter().try_for_each(|group| writeln!(f, " {}", Named(group, names)))
        }
        Reply::GroupFeatures(all) => features::write_group_features(f, all),
        Reply::Meter(all) => write_meters(f, all),
        Reply::MeterConfig(all) => {
            let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
            writeln!(f, "\n{}", texts.join("\n\n"))
        }
        Reply::MeterFeatures(all) => features::write_meter_features(f, all),
        Reply::TableFeatures(all) => table::write_features(f, all),
        Reply::PortDesc(all) => {
            f.write_str("\n")?;
            port::write_ports(f, version, all)
        }
        Reply::TableDesc(all) => table::write_descs(f, all),
        Reply::QueueDesc(all) => write_queue_descs(f, all, names),
        Reply::Experimenter { experimenter, kind, data } => {
            writeln!(f, " experimenter={experimenter:#010x} type={kind} {} bytes", data.len())
        }
    }
}

pub(super) fn write_request(
    f: &mut Formatter<'_>,
    version: Version,
    request: &Request,
    names: &Names,
) -> fmt::Result {
    match request {
        Request::Flow(wanted) | Request::Aggregate(wanted) => write_flows_wanted(f, wanted, names),
        Request::PortStats(port) => write_port_wanted(f, "port_no", *port, names),
        Request::PortDesc => f.write_str(" port=ANY"),
        Request::QueueDesc { port, .. } => write_port_wanted(f, "port", *port, names),
        Request::Queue { port, queue } => {
            write_port_wanted(f, "port", *port, names)?;
            match queue {
                Some(queue) => write!(f, " queue={queue}"),
                None => f.write_str(" queue=ALL"),
            }
        }
        Request::Group(GroupId::ALL) => f.write_str(" group_id=ALL"),
        Request::GroupDesc if version != Version::V10 => f.write_str(" group_id=ALL"),
        Request::Group(group) => write!(f, " group_id={group}"),
        Request::Meter(meter) | Request::MeterConfig(meter) => write!(f, " meter={}", MeterName(*meter)),
        _ => Ok(()),
    }
}

pub(super) fn write_port_wanted(
    f: &mut Formatter<'_>,
    name: &str,
    port: Option<PortNo>,
    names: &Names,
) -> fmt::Result {
    match port {
        Some(port) => write!(f, " {name}={}", PortName(port, names)),
        None => write!(f, " {name}=ANY"),
    }
}

fn write_flows_wanted(f: &mut Formatter<'_>, wanted: &FlowStatsRequest, names: &Names) -> fmt::Result {
    if wanted.table != TableId::ALL {
        write!(f, " table={}", wanted.table)?;
    }
    if let Some(port) = wanted.out_port {
        write!(f, " out_port={}", PortName(port, names))?;
    }
    let matches = Named(&wanted.matches, names).to_string();
    if matches.is_empty() { Ok(()) } else { write!(f, " {matches}") }
}

fn write_desc(f: &mut Formatter<'_>, desc: &SwitchDesc) -> fmt::Result {
    writeln!(f, "\nManufacturer: {}", desc.manufacturer)?;
    writeln!(f, "Hardware: {}\nSoftware: {}", desc.hardware, desc.software)?;
    writeln!(f, "Serial Num: {}\nDP Description: {}", desc.serial, desc.datapath)
}

fn write_queues(f: &mut Formatter<'_>, all: &[QueueStats], names: &Names) -> fmt::Result {
    writeln!(f, " {} queues", all.len())?;
    for s in all {
        let sums = counts(&[("bytes", s.tx_bytes), ("pkts", s.tx_packets), ("errors", s.tx_errors)]);
        let (port, duration) = (PortName(s.port, names), Seconds(s.duration));
        writeln!(f, "  port {port} queue {}: {sums}, duration={duration}", s.queue)?;
    }
    Ok(())
}

fn write_groups(f: &mut Formatter<'_>, all: &[GroupStats]) -> fmt::Result {
    f.write_str("\n")?;
    for s in all {
        write!(f, " group_id={},duration={},ref_count={}", s.group, Seconds(s.duration), s.ref_count)?;
        write!(f, ",packet_count={},byte_count={}", s.packets, s.bytes)?;
        for (idx, bucket) in s.buckets.iter().enumerate() {
            write!(f, ",bucket{idx}:packet_count={},byte_count={}", bucket.packets, bucket.bytes)?;
        }
        f.write_str("\n")?;
    }
    Ok(())
}

fn write_meters(f: &mut Formatter<'_>, all: &[MeterStats]) -> fmt::Result {
    f.write_str("\n")?;
    for (idx, s) in all.iter().enumerate() {
        if idx > 0 {
            f.write_str("\n")?;
        }
        let (meter, duration) = (MeterName(s.meter), Seconds(s.duration));
        write!(f, "meter:{meter} flow_count:{} packet_in_count:{} ", s.flow_count, s.packets_in)?;
        writeln!(f, "byte_in_count:{} duration:{duration} bands:", s.bytes_in)?;
        for (idx, band) in s.bands.iter().enumerate() {
            writeln!(f, "{idx}: packet_count:{} byte_count:{}", band.packets, band.bytes)?;
        }
    }
    Ok(())
}

/// The queues of 1.3, whose reply is no multipart one. With queues of all ports, it does not say which is whose.
pub(super) fn write_queue_config(f: &mut Formatter<'_>, config: &QueueConfig, names: &Names) -> fmt::Result {
    if config.queues.is_empty() {
        return Ok(());
    }
    write_port_wanted(f, "port", config.port, names)?;
    f.write_str("\n")?;
    let mut sorted: Vec<&PacketQueue> = config.queues.iter().collect();
    sorted.sort_by_key(|queue| (queue.port, queue.queue));
    sorted.into_iter().try_for_each(|queue| write_queue(f, queue))
}

fn write_queue_descs(f: &mut Formatter<'_>, all: &[PacketQueue], names: &Names) -> fmt::Result {
    let mut sorted: Vec<&PacketQueue> = all.iter().collect();
    sorted.sort_by_key(|queue| (queue.port, queue.queue));
    let mut last = None;
    for queue in sorted {
        let space = if last.is_none() { " " } else { "" };
        if last.replace(queue.port) != Some(queue.port) {
            writeln!(f, "{space}port={}", PortName(queue.port, names))?;
        }
        write_queue(f, queue)?;
    }
    Ok(())
}

fn write_queue(f: &mut Formatter<'_>, queue: &PacketQueue) -> fmt::Result {
    write!(f, "queue {}:", queue.queue)?;
    for (name, rate) in [("min_rate", queue.min_rate), ("max_rate", queue.max_rate)] {
        match rate {
            // More than all of it: switched off (§7.2.2).
            Some(rate) if rate > 1000 => write!(f, " {name}:(disabled)")?,
            Some(rate) => write!(f, " {name}:{}.{}%", rate / 10, rate % 10)?,
            None => {}
        }
    }
    f.write_str("\n")
}
