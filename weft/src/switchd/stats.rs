//! What a switch counts, for `weft top`, REST and Prometheus.

use controller_api as api;
use openflow::Role;

use super::Target;
use super::owner::{Owner, PortRow};
use crate::observe::workers;

impl Owner {
    /// Everything, as of this moment; what workers count for flows and tables as of their last reports.
    pub(super) async fn stats(&mut self) -> api::Stats {
        self.count_ports().await;
        let worker_stats = self.plane.worker_stats().await.unwrap_or_default();
        let drops = self.switch.drops();
        let own = drops.iter().map(|(reason, n)| workers::drop_count(api::DropPlace::Node, reason.name(), n));
        let rows = self.ports.values();
        let of_ports = rows.clone().flat_map(|row| workers::port_drops(&row.name, &row.counters));
        let of_queues = rows.clone().filter_map(queue_drops);
        // What queues dropped is told with their ports.
        let of_workers = workers::drops(&worker_stats).into_iter().filter(|drop| drop.reason != QUEUE_FULL);
        let cache = self.switch.cache_counters();
        let tables = self.switch.table_counters().into_iter();
        let packet_ins = self.switch.packet_ins();
        api::Stats {
            service: "switch".to_owned(),
            name: self.name.clone(),
            pid: std::process::id(),
            ports: rows.clone().map(super::api::port_shape).collect(),
            drops: own.chain(of_ports).chain(of_queues).chain(of_workers).collect(),
            cache: Some(api::CacheStats { lookups: cache.lookups, hits: cache.hits }),
            tables: tables
                .filter(|table| table.active > 0 || table.lookups > 0)
                .map(|table| api::TableStats {
                    table: table.table.0,
                    flows: table.active,
                    lookups: table.lookups,
                    matched: table.matched,
                })
                .collect(),
            packet_ins: packet_ins
                .filter_map(|(reason, value)| {
                    let (name, _) = super::packet_in::REASONS.iter().find(|(_, known)| *known == reason)?;
                    Some(api::Counter { name: (*name).to_owned(), value })
                })
                .collect(),
            channels: self.channels(),
            routes: Vec::new(),
            n_tools: self.peers.values().filter(|peer| peer.service).count() as u32,
            stages: workers::stages(self.engine, &worker_stats),
            workers: workers::workers(&worker_stats),
        }
    }

    /// The controllers that the switch is to be connected to.
    fn channels(&self) -> Vec<api::Channel> {
        let channel = |target: &Target| {
            let target = target.to_string();
            let main = |peer: &&super::peers::Peer| peer.auxiliary.is_none() && !peer.service;
            let mut peers = self.peers.iter().filter(|(_, peer)| main(peer) && peer.name == target);
            let conn = peers.next().map(|(conn, _)| *conn);
            let role = conn.and_then(|conn| self.switch.role(conn)).map(role_name);
            api::Channel { target, connected: conn.is_some(), role: role.map(str::to_owned) }
        };
        self.controllers.iter().map(channel).collect()
    }
}

const QUEUE_FULL: &str = dataplane::Drop::QueueFull.name();

fn queue_drops(row: &PortRow) -> Option<api::DropCount> {
    let frames: u64 = row.queue_counters.values().map(|queue| queue.tx_errors).sum();
    let count = workers::drop_count(api::DropPlace::Queue, QUEUE_FULL, frames);
    (frames > 0).then(|| api::DropCount { port: Some(row.name.clone()), ..count })
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::NoChange | Role::Equal => "equal",
        Role::Master => "master",
        Role::Slave => "slave",
    }
}
