//! Ports: what the shell says of them, what controllers change, what controllers are told.

use core::time::Duration;
use std::sync::Arc;

use openflow::error::PortModFailed;
use openflow::{
    ErrorKind, Message, PortConfig, PortDesc, PortMod, PortNo, PortReason, PortState, PortStats, PortStatus,
};
use packet::Instant;

use super::Switch;
use super::queues::PortQueueRecords;
use super::undo::Undo;
use crate::PortCounters;
use crate::snapshot::{Op, Ports};

/// A port as the owner knows it.
#[derive(Debug)]
pub(super) struct PortRecord {
    pub desc: PortDesc,
    since: Instant,
    counters: PortCounters,
    pub queues: PortQueueRecords,
}

impl PortRecord {
    /// §7.2.1: usable by fast-failover groups, which no port is that is down.
    pub(super) fn update_live(&mut self) {
        let down = self.desc.config.contains(PortConfig::PORT_DOWN)
            || self.desc.state.contains(PortState::LINK_DOWN);
        self.desc.state = self.desc.state.with(PortState::LIVE, !down);
    }

    pub(super) fn stats(&self, now: Instant) -> PortStats {
        let c = self.counters;
        PortStats {
            port: self.desc.port,
            rx_packets: c.rx_packets,
            tx_packets: c.tx_packets,
            rx_bytes: c.rx_bytes,
            tx_bytes: c.tx_bytes,
            rx_dropped: c.rx_dropped,
            tx_dropped: c.tx_dropped + self.queues.n_errors(),
            rx_errors: c.rx_errors,
            tx_errors: c.tx_errors,
            rx_frame_err: 0,
            rx_over_err: c.rx_overruns,
            rx_crc_err: 0,
            collisions: 0,
            duration: Duration::from_nanos(now.saturating_since(self.since).as_nanos() as u64),
        }
    }
}

impl Switch {
    /// A port is there. Adding a number again replaces its description.
    pub fn add_port(&mut self, now: Instant, desc: PortDesc) {
        let port = desc.port;
        let record = PortRecord {
            desc,
            since: now,
            counters: PortCounters::default(),
            queues: PortQueueRecords::default(),
        };
        let reason =
            if self.ports.insert(port, record).is_some() { PortReason::Modify } else { PortReason::Add };
        self.port_changed(port, reason);
    }

    /// A port goes: nothing is output to it once the workers have taken the next tables.
    pub fn remove_port(&mut self, _now: Instant, port: PortNo) {
        if let Some(record) = self.ports.remove(&port) {
            self.publish_ports();
            self.tell_port_status(PortReason::Delete, record.desc);
        }
    }

    /// The link of a port came up or went down.
    pub fn set_port_link(&mut self, _now: Instant, port: PortNo, up: bool) {
        let Some(record) = self.ports.get_mut(&port) else { return };
        let old = record.desc.state;
        record.desc.state = old.with(PortState::LINK_DOWN, !up);
        record.update_live();
        if record.desc.state != old {
            self.port_changed(port, PortReason::Modify);
        }
    }

    /// What the shell has counted at a port, for port statistics.
    pub fn set_port_counters(&mut self, port: PortNo, counters: PortCounters) {
        if let Some(record) = self.ports.get_mut(&port) {
            record.counters = counters;
        }
    }

    fn port_changed(&mut self, port: PortNo, reason: PortReason) {
        self.publish_ports();
        if let Some(record) = self.ports.get(&port) {
            self.tell_port_status(reason, record.desc.clone());
        }
    }

    fn publish_ports(&mut self) {
        let ports = Ports::new(
            self.ports.values().map(|record| &record.desc),
            self.secret,
            self.packet_in_limit.clone(),
        );
        self.publisher.push(Op::Ports(Arc::new(ports)));
    }

    fn tell_port_status(&mut self, reason: PortReason, desc: PortDesc) {
        let message = Message::PortStatus(PortStatus { reason, desc });
        self.tell(&message, |wants| wants.port_status, reason.number().into());
    }

    /// §7.3.4.3
    pub(super) fn port_mod(&mut self, port_mod: &PortMod) -> Result<(), ErrorKind> {
        let Some(record) = self.ports.get_mut(&port_mod.port) else {
            return Err(PortModFailed::BadPort.into());
        };
        if record.desc.mac != port_mod.mac {
            return Err(PortModFailed::BadHwAddr.into());
        }
        if port_mod.config.unknown() != 0 || port_mod.mask.unknown() != 0 {
            return Err(PortModFailed::BadConfig.into());
        }
        let old = record.desc.config;
        let new = PortConfig(old.0 & !port_mod.mask.0 | port_mod.config.0 & port_mod.mask.0);
        if new != old {
            record.desc.config = new;
            record.update_live();
            self.note(|| Undo::Port(port_mod.port, old));
            self.port_changed(port_mod.port, PortReason::Modify);
        }
        Ok(())
    }
}
