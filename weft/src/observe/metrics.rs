//! Statistics as Prometheus reads them: the text format 0.0.4.
//!
//! Names begin with `weft_`, counters end in `_total`, units are frames, bytes, seconds and cycles. Labels have as many
//! values as there are nodes, ports, tables, workers and reasons, whatever the traffic.

use std::fmt::Write;

use controller_api::{DropPlace, Stats};

/// What HTTP calls the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making: families in order, each with its samples together.
#[derive(Debug, Default)]
pub struct Page(String);

/// What kind of number a family has.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Label names and values.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// Adds a family; `fill` hands out its samples. Without any it is left out.
    pub fn family(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        fill: impl FnOnce(&mut dyn FnMut(Labels<'_>, f64)),
    ) {
        let mut samples = String::new();
        fill(&mut |labels, value| {
            samples.push_str(name);
            write_labels(&mut samples, labels);
            // Writing to a string does not fail.
            let _ = writeln!(samples, " {value}");
        });
        if samples.is_empty() {
            return;
        }
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

fn write_labels(out: &mut String, labels: Labels<'_>) {
    for (at, (name, value)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{name}=\"", if at == 0 { '{' } else { ',' });
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
}

/// All there is to say of nodes of this process.
pub fn text(nodes: &[Stats]) -> String {
    let mut page = Page::default();
    write(&mut page, nodes);
    page.finish()
}

/// The same as a part of a page.
pub fn write(page: &mut Page, nodes: &[Stats]) {
    process(page);
    ports(page, nodes);
    drops(page, nodes);
    routes(page, nodes);
    tables(page, nodes);
    channels(page, nodes);
    work(page, nodes);
}

/// What any process tells: version, memory, processor time.
fn process(page: &mut Page) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.family("weft_build_info", Kind::Gauge, "The version of weft.", |add| add(&version, 1.0));
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    if let Some(pages) = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()) {
        let bytes = pages * page_size();
        let help = "Resident memory size in bytes.";
        page.family("process_resident_memory_bytes", Kind::Gauge, help, |add| add(&[], bytes as f64));
    }
    if let Ok(cpu) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID) {
        let seconds = std::time::Duration::from(cpu).as_secs_f64();
        let help = "User and system processor time spent in seconds.";
        page.family("process_cpu_seconds_total", Kind::Counter, help, |add| add(&[], seconds));
    }
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

type Count = fn(&controller_api::PortCounters) -> u64;

fn ports(page: &mut Page, nodes: &[Stats]) {
    let each = |add: &mut dyn FnMut(Labels<'_>, f64),
                value: &dyn Fn(&controller_api::Port) -> Option<f64>| {
        for (node, port) in nodes.iter().flat_map(|node| node.ports.iter().map(move |port| (node, port))) {
            if let Some(value) = value(port) {
                add(&[("node", &node.name), ("port", &port.name)], value);
            }
        }
    };
    let help = "Whether the link of a port is up.";
    page.family("weft_port_up", Kind::Gauge, help, |add| each(add, &|port| Some(port.up.into())));
    let families: [(&str, &str, Count); 4] = [
        ("weft_port_receive_frames_total", "Frames received by a port.", |c| c.rx_frames),
        ("weft_port_receive_bytes_total", "Bytes received by a port.", |c| c.rx_bytes),
        ("weft_port_transmit_frames_total", "Frames sent by a port.", |c| c.tx_frames),
        ("weft_port_transmit_bytes_total", "Bytes sent by a port.", |c| c.tx_bytes),
    ];
    for (name, help, count) in families {
        page.family(name, Kind::Counter, help, |add| {
            each(add, &|port| port.counters.as_ref().map(|counters| count(counters) as f64));
        });
    }
}

fn drops(page: &mut Page, nodes: &[Stats]) {
    let of = |node: &'_ Stats, place: DropPlace, add: &mut dyn FnMut(Labels<'_>, f64)| {
        for drop in node.drops.iter().filter(|drop| drop.place == place) {
            let port = drop.port.as_deref().unwrap_or_default();
            let labels = [("node", node.name.as_str()), ("reason", &drop.reason), ("port", port)];
            add(if drop.port.is_some() { &labels } else { &labels[..2] }, drop.frames as f64);
        }
    };
    let families = [
        ("weft_dropped_frames_total", "Frames a node dropped, by reason.", DropPlace::Node),
        ("weft_port_dropped_frames_total", "Frames the device of a port lost, by reason.", DropPlace::Port),
        ("weft_queue_dropped_frames_total", "Frames the queues of a port had no room for.", DropPlace::Queue),
    ];
    for (name, help, place) in families {
        page.family(name, Kind::Counter, help, |add| nodes.iter().for_each(|node| of(node, place, add)));
    }
    let help = "Frames dropped by the workers between nodes and ports, by reason.";
    page.family("weft_worker_dropped_frames_total", Kind::Counter, help, |add| {
        // Nodes of one process have the same workers.
        for drop in nodes.iter().take(1).flat_map(|node| &node.drops) {
            if drop.place == DropPlace::Worker {
                add(&[("reason", &drop.reason)], drop.frames as f64);
            }
        }
    });
}

fn routes(page: &mut Page, nodes: &[Stats]) {
    let each = |add: &mut dyn FnMut(Labels<'_>, f64), value: fn(&controller_api::RouteCount) -> u64| {
        for (node, route) in nodes.iter().flat_map(|node| node.routes.iter().map(move |route| (node, route)))
        {
            let vrf = route.vrf.as_deref().unwrap_or_default();
            add(&[("node", &node.name), ("vrf", vrf), ("to", &route.to.to_string())], value(route) as f64);
        }
    };
    let help = "Packets that a router sent to a prefix that is counted.";
    page.family("weft_route_packets_total", Kind::Counter, help, |add| each(add, |r| r.packets));
    let help = "Bytes of them, from the IP header on.";
    page.family("weft_route_bytes_total", Kind::Counter, help, |add| each(add, |r| r.bytes));
}

fn tables(page: &mut Page, nodes: &[Stats]) {
    let each = |add: &mut dyn FnMut(Labels<'_>, f64), value: fn(&controller_api::TableStats) -> f64| {
        for (node, table) in nodes.iter().flat_map(|node| node.tables.iter().map(move |table| (node, table)))
        {
            add(&[("node", &node.name), ("table", &table.table.to_string())], value(table));
        }
    };
    page.family("weft_table_flows", Kind::Gauge, "Flows in a table.", |add| each(add, |t| t.flows.into()));
    let help = "Frames looked up in a table.";
    page.family("weft_table_lookups_total", Kind::Counter, help, |add| each(add, |t| t.lookups as f64));
    let help = "Frames that a flow of a table matched.";
    page.family("weft_table_matches_total", Kind::Counter, help, |add| each(add, |t| t.matched as f64));
    let caches = || nodes.iter().filter_map(|node| Some((node.name.as_str(), node.cache?)));
    let help = "Frames looked up in the microflow cache.";
    page.family("weft_cache_lookups_total", Kind::Counter, help, |add| {
        caches().for_each(|(node, cache)| add(&[("node", node)], cache.lookups as f64));
    });
    let help = "Frames that the microflow cache knew.";
    page.family("weft_cache_hits_total", Kind::Counter, help, |add| {
        caches().for_each(|(node, cache)| add(&[("node", node)], cache.hits as f64));
    });
}

fn channels(page: &mut Page, nodes: &[Stats]) {
    page.family("weft_packet_ins_total", Kind::Counter, "Packets for the controllers, by reason.", |add| {
        for node in nodes {
            for reason in &node.packet_ins {
                add(&[("node", &node.name), ("reason", &reason.name)], reason.value as f64);
            }
        }
    });
    let help = "Whether the OpenFlow session with a controller stands.";
    page.family("weft_channel_connected", Kind::Gauge, help, |add| {
        for node in nodes {
            for channel in &node.channels {
                let labels = [("node", node.name.as_str()), ("controller", &channel.target)];
                add(&labels, channel.connected.into());
            }
        }
    });
    let help = "OpenFlow connections that tools and controllers made to a switch.";
    page.family("weft_channel_tools", Kind::Gauge, help, |add| {
        for node in nodes.iter().filter(|node| node.service == "switch") {
            add(&[("node", &node.name)], node.n_tools.into());
        }
    });
}

fn work(page: &mut Page, nodes: &[Stats]) {
    let help = "Frames that passed a stage, in the rounds that were timed.";
    page.family("weft_stage_sampled_frames_total", Kind::Counter, help, |add| {
        for (node, stage) in nodes.iter().flat_map(|node| node.stages.iter().map(move |s| (node, s))) {
            add(&[("node", &node.name), ("stage", &stage.stage)], stage.frames as f64);
        }
    });
    let help = "Cycles of the time-stamp counter that a stage took, in the rounds that were timed.";
    page.family("weft_stage_sampled_cycles_total", Kind::Counter, help, |add| {
        for (node, stage) in nodes.iter().flat_map(|node| node.stages.iter().map(move |s| (node, s))) {
            add(&[("node", &node.name), ("stage", &stage.stage)], stage.cycles as f64);
        }
    });
    let each = |add: &mut dyn FnMut(Labels<'_>, f64), value: fn(&controller_api::WorkerStats) -> f64| {
        for worker in nodes.iter().take(1).flat_map(|node| &node.workers) {
            add(&[("worker", &worker.worker.to_string())], value(worker));
        }
    };
    let help = "Processor time that a worker took.";
    page.family("weft_worker_cpu_seconds_total", Kind::Counter, help, |add| each(add, |w| w.cpu));
    let help = "Processor time that a worker took, without looking for frames in vain.";
    page.family("weft_worker_busy_seconds_total", Kind::Counter, help, |add| each(add, |w| w.busy));
    let help = "Cycles of the time-stamp counter in a second.";
    page.family("weft_tsc_hertz", Kind::Gauge, help, |add| {
        let workers = nodes.iter().flat_map(|node| &node.workers).take(1);
        workers.for_each(|worker| add(&[], worker.cycles_per_second as f64));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_empty_families_left_out() {
        let mut page = Page::default();
        page.family("weft_a", Kind::Gauge, "A.", |add| {
            add(&[("x", "say \"a\\b\"\nc"), ("y", "")], 1.5);
            add(&[], 1e18);
        });
        page.family("weft_b", Kind::Counter, "B.", |_| {});
        let expected = "# HELP weft_a A.\n# TYPE weft_a gauge\n\
            weft_a{x=\"say \\\"a\\\\b\\\"\\nc\",y=\"\"} 1.5\nweft_a 1000000000000000000\n";
        assert_eq!(page.finish(), expected);
    }
}
