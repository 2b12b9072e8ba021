//! From two looks at counters to rates.

use std::collections::BTreeMap;

use controller_api::{Channel, DropCount, DropPlace, Port, PortCounters, Stats};
use serde::Serialize;

use super::sources::Node;

/// What happened in a stretch of time.
#[derive(Debug, Serialize)]
pub struct View {
    /// How long it was.
    pub seconds: f64,
    pub nodes: Vec<NodeView>,
    pub workers: Vec<WorkerView>,
}

#[derive(Debug, Serialize)]
pub struct NodeView {
    pub name: String,
    pub service: String,
    pub pid: u32,
    pub flows: u64,
    pub ports: Vec<PortView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheView>,
    pub packet_ins_per_second: f64,
    pub drops: Vec<DropView>,
    pub stages: Vec<StageView>,
    pub channels: Vec<Channel>,
}

#[derive(Debug, Serialize)]
pub struct PortView {
    pub number: u32,
    pub name: String,
    pub up: bool,
    pub rx: Rate,
    pub tx: Rate,
    pub dropped_per_second: f64,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Rate {
    pub frames_per_second: f64,
    pub bits_per_second: f64,
}

#[derive(Debug, Serialize)]
pub struct CacheView {
    pub lookups_per_second: f64,
    /// Of those; none without any.
    pub hit_share: Option<f64>,
}

/// A reason that has occurred.
#[derive(Debug, Serialize)]
pub struct DropView {
    pub place: DropPlace,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    pub frames: u64,
    pub per_second: f64,
}

/// A stage that frames passed, in the rounds that were timed.
#[derive(Debug, Serialize)]
pub struct StageView {
    pub stage: String,
    pub frames: u64,
    /// Of those frames; none without any.
    pub cycles_per_frame: Option<f64>,
    /// Of the time that all stages took.
    pub share: f64,
}

#[derive(Debug, Serialize)]
pub struct WorkerView {
    pub pid: u32,
    pub worker: u32,
    /// Of one core: carrying frames.
    pub busy_share: f64,
    /// Of one core: that and looking for frames in vain.
    pub cpu_share: f64,
}

impl View {
    /// What happened between two looks.
    pub fn new(before: &[Node], now: &[Node], seconds: f64) -> Self {
        // A node that was started again begins anew.
        let earlier = |node: &Node| {
            let same = |other: &&Node| other.label == node.label && other.stats.pid == node.stats.pid;
            before.iter().find(same).map(|node| &node.stats)
        };
        let nodes = now.iter().map(|node| NodeView::new(node, earlier(node), seconds)).collect();
        let mut workers = BTreeMap::new();
        for node in now {
            for worker in &node.stats.workers {
                let of = earlier(node).into_iter().flat_map(|stats| &stats.workers);
                let Some(then) = of.into_iter().find(|then| then.worker == worker.worker) else { continue };
                let time = worker.uptime - then.uptime;
                if time <= 0.0 {
                    continue;
                }
                let view = WorkerView {
                    pid: node.stats.pid,
                    worker: worker.worker,
                    busy_share: ((worker.busy - then.busy) / time).clamp(0.0, 1.0),
                    cpu_share: ((worker.cpu - then.cpu) / time).clamp(0.0, 1.0),
                };
                workers.entry((node.stats.pid, worker.worker)).or_insert(view);
            }
        }
        Self { seconds, nodes, workers: workers.into_values().collect() }
    }
}

impl NodeView {
    fn new(Node { label, stats }: &Node, before: Option<&Stats>, seconds: f64) -> Self {
        let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let cache = stats.cache.map(|now| {
            let then = before.and_then(|stats| stats.cache).unwrap_or(now);
            let lookups = now.lookups.saturating_sub(then.lookups);
            let hits = now.hits.saturating_sub(then.hits);
            CacheView {
                lookups_per_second: lookups as f64 / seconds,
                hit_share: (lookups > 0).then(|| hits as f64 / lookups as f64),
            }
        });
        let n_packet_ins = |stats: &Stats| stats.packet_ins.iter().map(|reason| reason.value).sum::<u64>();
        let then = before.unwrap_or(stats);
        Self {
            name: label.clone(),
            service: stats.service.clone(),
            pid: stats.pid,
            flows: stats.tables.iter().map(|table| u64::from(table.flows)).sum(),
            ports: stats.ports.iter().map(|port| PortView::new(port, then, seconds)).collect(),
            cache,
            packet_ins_per_second: per_second(n_packet_ins(stats), n_packet_ins(then)),
            drops: drops(stats, then, &per_second),
            stages: stages(stats, then),
            channels: stats.channels.clone(),
        }
    }
}

impl PortView {
    fn new(port: &Port, before: &Stats, seconds: f64) -> Self {
        let now = port.counters.unwrap_or_default();
        // A port that was not there begins at zero.
        let then = before.ports.iter().find(|other| (other.number, &other.name) == (port.number, &port.name));
        let then = then.map_or_else(PortCounters::default, |port| port.counters.unwrap_or_default());
        let rate = |frames: [u64; 2], bytes: [u64; 2]| Rate {
            frames_per_second: frames[0].saturating_sub(frames[1]) as f64 / seconds,
            bits_per_second: 8.0 * bytes[0].saturating_sub(bytes[1]) as f64 / seconds,
        };
        let dropped = (now.rx_dropped + now.tx_dropped).saturating_sub(then.rx_dropped + then.tx_dropped);
        Self {
            number: port.number,
            name: port.name.clone(),
            up: port.up,
            rx: rate([now.rx_frames, then.rx_frames], [now.rx_bytes, then.rx_bytes]),
            tx: rate([now.tx_frames, then.tx_frames], [now.tx_bytes, then.tx_bytes]),
            dropped_per_second: dropped as f64 / seconds,
        }
    }
}

fn drops(stats: &Stats, before: &Stats, per_second: &impl Fn(u64, u64) -> f64) -> Vec<DropView> {
    let view = |drop: &DropCount| {
        let same = |d: &&DropCount| (d.place, &d.reason, &d.port) == (drop.place, &drop.reason, &drop.port);
        let then = before.drops.iter().find(same).map_or(0, |then| then.frames);
        DropView {
            place: drop.place,
            reason: drop.reason.clone(),
            port: drop.port.clone(),
            frames: drop.frames,
            per_second: per_second(drop.frames, then),
        }
    };
    let mut all: Vec<_> = stats.drops.iter().filter(|drop| drop.frames > 0).map(view).collect();
    all.sort_by(|a, b| b.per_second.total_cmp(&a.per_second).then(b.frames.cmp(&a.frames)));
    all
}

fn stages(stats: &Stats, before: &Stats) -> Vec<StageView> {
    let spent = stats.stages.iter().map(|stage| {
        let then = before.stages.iter().find(|then| then.stage == stage.stage);
        let (frames, cycles) = then.map_or((0, 0), |then| (then.frames, then.cycles));
        (&stage.stage, stage.frames.saturating_sub(frames), stage.cycles.saturating_sub(cycles))
    });
    let total: u64 = spent.clone().map(|(_, _, cycles)| cycles).sum();
    let passed = spent.filter(|(_, frames, _)| *frames > 0);
    passed
        .map(|(stage, frames, cycles)| StageView {
            stage: stage.clone(),
            frames,
            cycles_per_frame: (frames > 0).then(|| cycles as f64 / frames as f64),
            share: cycles as f64 / total.max(1) as f64,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use controller_api::{CacheStats, Mac, PortRole, StageStats, WorkerStats};

    use super::*;

    /// A node that has counted `n` of everything.
    fn node(n: u64) -> Node {
        let counters =
            PortCounters { rx_frames: n, rx_bytes: 100 * n, tx_dropped: n / 10, ..PortCounters::default() };
        let port = Port {
            number: 1,
            name: "eth0".to_owned(),
            mac: Mac([0; 6]),
            up: true,
            role: PortRole::Edge,
            spec: None,
            peer: None,
            counters: Some(counters),
            rate: None,
            queues: Vec::new(),
        };
        let drop = |reason: &str, frames| DropCount {
            place: DropPlace::Node,
            reason: reason.to_owned(),
            port: None,
            frames,
        };
        let stage = |stage: &str, frames, cycles| StageStats { stage: stage.to_owned(), frames, cycles };
        let stats = Stats {
            service: "switch".to_owned(),
            name: "s1".to_owned(),
            pid: 7,
            ports: vec![port],
            drops: vec![drop("never", 0), drop("flow", 5), drop("table_miss", n)],
            cache: Some(CacheStats { lookups: n, hits: n / 4 }),
            tables: Vec::new(),
            packet_ins: Vec::new(),
            channels: Vec::new(),
            routes: Vec::new(),
            n_tools: 0,
            stages: vec![stage("rx", n, 30 * n), stage("cache", 0, 0), stage("tx", n, 10 * n)],
            workers: vec![WorkerStats {
                worker: 0,
                uptime: n as f64 / 100.0,
                cpu: n as f64 / 200.0,
                busy: n as f64 / 400.0,
                cycles_per_second: 1,
            }],
        };
        Node { label: "s1".to_owned(), stats }
    }

    #[test]
    fn rates_are_differences() {
        let view = View::new(&[node(100)], &[node(300)], 2.0);
        let [node] = &view.nodes[..] else { panic!("one node") };
        let port = &node.ports[0];
        assert_eq!((port.rx.frames_per_second, port.rx.bits_per_second), (100.0, 80_000.0));
        assert_eq!((port.tx.frames_per_second, port.dropped_per_second), (0.0, 10.0));
        let cache = node.cache.as_ref().expect("a switch has one");
        assert_eq!((cache.lookups_per_second, cache.hit_share), (100.0, Some(0.25)));
        let drops: Vec<_> = node.drops.iter().map(|d| (d.reason.as_str(), d.frames, d.per_second)).collect();
        assert_eq!(drops, [("table_miss", 300, 100.0), ("flow", 5, 0.0)]);
        let stages: Vec<_> =
            node.stages.iter().map(|s| (s.stage.as_str(), s.cycles_per_frame, s.share)).collect();
        assert_eq!(stages, [("rx", Some(30.0), 0.75), ("tx", Some(10.0), 0.25)]);
        assert_eq!((view.workers[0].cpu_share, view.workers[0].busy_share), (0.5, 0.25));
    }

    #[test]
    fn a_node_that_was_started_again_has_no_rates_yet() {
        let mut before = node(500);
        before.stats.pid = 6;
        let view = View::new(&[before], &[node(100)], 1.0);
        assert_eq!(view.nodes[0].ports[0].rx.frames_per_second, 0.0);
        assert!(view.workers.is_empty());
    }
}
