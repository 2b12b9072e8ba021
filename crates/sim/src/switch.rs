//! A switch as a node: the owner and its workers, with what passes between them carried at once.

use std::collections::{BTreeMap, VecDeque};

use openflow::{Message, PortDesc, Xid};
use packet::{Batch, Frame, Instant, MacAddr, Outputs, Pool, PortNo};
use vswitch::{ConnId, Datapath, Effect, Switch, SwitchConfig};

/// A switch and its workers.
#[derive(Debug)]
pub struct SwitchNode {
    config: SwitchConfig,
    switch: Switch,
    workers: Vec<Datapath>,
    /// Ports with what is known of their links; they outlive a reboot.
    ports: BTreeMap<PortNo, bool>,
    messages: VecDeque<(ConnId, Xid, Message)>,
    by_worker: Vec<Batch>,
}

impl SwitchNode {
    pub(crate) fn new(config: SwitchConfig) -> Self {
        let mut switch = Switch::new(config.clone());
        let workers = switch.datapath();
        let by_worker = workers.iter().map(|_| Batch::new()).collect();
        Self { config, switch, workers, ports: BTreeMap::new(), messages: VecDeque::new(), by_worker }
    }

    /// The owner, to be asked questions.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    pub(crate) fn switch_mut(&mut self) -> &mut Switch {
        &mut self.switch
    }

    /// Its name and identity.
    pub fn config(&self) -> &SwitchConfig {
        &self.config
    }

    /// Loses everything but its ports.
    pub(crate) fn reboot(&mut self, now: Instant) {
        let ports = std::mem::take(&mut self.ports);
        *self = Self::new(self.config.clone());
        for (port, up) in ports {
            self.set_port_link(now, port, up);
        }
    }

    pub(crate) fn set_port_link(&mut self, now: Instant, port: PortNo, up: bool) {
        if self.ports.insert(port, up).is_none() {
            let mac = MacAddr::from_u64(0x06 << 40 | (self.config.dpid.0 & 0xffff) << 16 | u64::from(port.0));
            let name = format!("p{port}");
            self.switch.add_port(now, PortDesc::new(port, mac, name));
        }
        self.switch.set_port_link(now, port, up);
    }

    pub(crate) fn remove_port(&mut self, now: Instant, port: PortNo) {
        if self.ports.remove(&port).is_some() {
            self.switch.remove_port(now, port);
        }
    }

    pub(crate) fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        let n = self.workers.len();
        for frame in batch.drain(..) {
            // As where each worker owns some ports: frames of one port keep their order.
            let worker = frame.meta.in_port.0 as usize % n;
            self.by_worker[worker].push(frame);
        }
        for (worker, batch) in self.workers.iter_mut().zip(&mut self.by_worker) {
            if !batch.is_empty() {
                worker.process(now, batch, pool, out);
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.switch.poll_timeout().is_some_and(|due| due <= now) {
            self.switch.handle_timeout(now);
        }
    }

    /// Carries orders and reports until both sides are quiet.
    pub(crate) fn pump(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        for worker in &mut self.workers {
            worker.handle_idle(now);
        }
        loop {
            let mut quiet = true;
            for (i, worker) in self.workers.iter_mut().enumerate() {
                while let Some(report) = worker.poll_report() {
                    self.switch.handle_report(now, i, report);
                    quiet = false;
                }
            }
            while let Some(effect) = self.switch.poll_effect() {
                quiet = false;
                match effect {
                    Effect::Send { conn, xid, message } => self.messages.push_back((conn, xid, message)),
                    Effect::Order { worker, order } => {
                        for (i, datapath) in self.workers.iter_mut().enumerate() {
                            if worker.is_none_or(|w| w == i) {
                                datapath.handle_order(now, order.clone(), pool, out);
                            }
                        }
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    pub(crate) fn poll_message(&mut self) -> Option<(ConnId, Xid, Message)> {
        self.messages.pop_front()
    }

    /// The frame's way through the tables, as the product's trace tells it.
    pub fn trace(&self, now: Instant, in_port: PortNo, frame: &Frame) -> String {
        self.switch.trace(now, in_port, &frame.to_vec()).to_string()
    }
}
