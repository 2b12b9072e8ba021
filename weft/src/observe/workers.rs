//! What the workers of this process say, in the shapes of the API.

use controller_api as api;
use dataplane::{EngineId, StageCounters, WorkerStats};
use netio::PortCounters;

/// What an engine's stages cost, all workers together; stages that it does not have are left out.
pub fn stages(engine: EngineId, workers: &[WorkerStats]) -> Vec<api::StageStats> {
    let mut sum = StageCounters::default();
    for (id, counters) in workers.iter().flat_map(|worker| &worker.stages) {
        if *id == engine {
            sum += *counters;
        }
    }
    let used = sum.iter().filter(|(_, count)| count.ticks > 0);
    used.map(|(stage, count)| api::StageStats {
        stage: stage.name().to_owned(),
        frames: count.frames,
        cycles: count.ticks,
    })
    .collect()
}

/// The workers themselves.
pub fn workers(workers: &[WorkerStats]) -> Vec<api::WorkerStats> {
    let shape = |worker: &WorkerStats| api::WorkerStats {
        worker: worker.worker as u32,
        uptime: worker.uptime.as_secs_f64(),
        cpu: worker.cpu.as_secs_f64(),
        busy: worker.cpu.saturating_sub(worker.spun).as_secs_f64(),
        cycles_per_second: worker.ticks_per_second,
    };
    workers.iter().map(shape).collect()
}

/// What the workers dropped between nodes and ports, for each reason.
pub fn drops(workers: &[WorkerStats]) -> Vec<api::DropCount> {
    let mut sum = dataplane::Drops::default();
    for worker in workers {
        sum += worker.drops;
    }
    sum.iter().map(|(reason, n)| drop_count(api::DropPlace::Worker, reason.name(), n)).collect()
}

/// A drop that no port is to be named for.
pub fn drop_count(place: api::DropPlace, reason: &str, frames: u64) -> api::DropCount {
    api::DropCount { place, reason: reason.to_owned(), port: None, frames }
}

/// What a port dropped; reasons that did not occur are left out.
pub fn port_drops<'a>(
    port: &'a str,
    counters: &'a PortCounters,
) -> impl Iterator<Item = api::DropCount> + 'a {
    counters.drops().filter(|(_, frames)| *frames > 0).map(move |(reason, frames)| api::DropCount {
        port: Some(port.to_owned()),
        ..drop_count(api::DropPlace::Port, reason.name(), frames)
    })
}
