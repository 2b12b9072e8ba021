//! A whole switch in one thread: owner and workers joined without a shell. For tests, benches and tools.

use std::collections::VecDeque;

use openflow::{FlowMod, Message, PortDesc, PortNo, Xid};
use packet::{Frame, Instant, MacAddr, Outputs, Pool, PoolConfig};

use crate::{ConnId, Datapath, Effect, Order, Report, Switch, SwitchConfig};

/// The connection that [`Standalone::control`] uses.
pub const CONN: ConnId = ConnId(1);

/// A switch with its workers.
#[derive(Debug)]
pub struct Standalone {
    /// The owner.
    pub switch: Switch,
    /// The workers.
    pub workers: Vec<Datapath>,
    /// Buffers for all of them.
    pub pool: Pool,
    /// The clock.
    pub now: Instant,
    /// Orders not yet carried, one queue a worker.
    orders: Vec<VecDeque<Order>>,
    /// Reports not yet carried.
    reports: VecDeque<(usize, Report)>,
    sent: Vec<(ConnId, Xid, Message)>,
    out: Outputs,
    next_xid: u32,
}

impl Standalone {
    /// A switch with one connection, [`CONN`], and ports 1 to `n_ports`.
    pub fn new(config: SwitchConfig, n_ports: u32) -> Self {
        let mut switch = Switch::new(config);
        let workers = switch.datapath();
        let orders = workers.iter().map(|_| VecDeque::new()).collect();
        let mut this = Self {
            switch,
            workers,
            pool: Pool::new(PoolConfig::default()),
            now: Instant::from_secs(1),
            orders,
            reports: VecDeque::new(),
            sent: Vec::new(),
            out: Outputs::new(),
            next_xid: 1,
        };
        for n in 1..=n_ports {
            let mac = MacAddr::from_u64(0x0200_0000_ff00 | u64::from(n));
            this.switch.add_port(this.now, PortDesc::new(PortNo(n), mac, format!("p{n}")));
        }
        this.switch.handle_connected(this.now, CONN);
        this.settle();
        this.sent.clear();
        this
    }

    /// Carries effects out of the owner: messages are kept, orders queued.
    pub fn carry_effects(&mut self) {
        while let Some(effect) = self.switch.poll_effect() {
            match effect {
                Effect::Send { conn, xid, message } => self.sent.push((conn, xid, message)),
                Effect::Order { worker: Some(n), order } => self.orders[n].push_back(order),
                Effect::Order { worker: None, order } => {
                    self.orders.iter_mut().for_each(|queue| queue.push_back(order.clone()));
                }
            }
        }
    }

    /// Lets one worker obey its next order; false if it has none.
    pub fn obey_one(&mut self, worker: usize) -> bool {
        let Some(order) = self.orders[worker].pop_front() else { return false };
        self.workers[worker].handle_order(self.now, order, &mut self.pool, &mut self.out);
        self.gather(worker);
        true
    }

    fn gather(&mut self, worker: usize) {
        while let Some(report) = self.workers[worker].poll_report() {
            self.reports.push_back((worker, report));
        }
    }

    /// Carries one report to the owner; false if there is none.
    pub fn report_one(&mut self) -> bool {
        let Some((worker, report)) = self.reports.pop_front() else { return false };
        self.switch.handle_report(self.now, worker, report);
        true
    }

    /// Carries everything until nothing is left.
    pub fn settle(&mut self) {
        loop {
            self.carry_effects();
            let obeyed = (0..self.workers.len()).any(|n| self.obey_one(n));
            let reported = self.report_one();
            if !obeyed && !reported {
                match self.switch.poll_timeout().filter(|&at| at <= self.now) {
                    Some(_) => self.switch.handle_timeout(self.now),
                    None => return,
                }
            }
        }
    }

    /// The transaction that the next message will have.
    pub fn upcoming_xid(&self) -> Xid {
        Xid(self.next_xid)
    }

    /// Hands a message over without carrying anything.
    pub fn submit(&mut self, message: Message) -> Xid {
        let xid = Xid(self.next_xid);
        self.next_xid += 1;
        self.switch.handle_message(self.now, CONN, xid, message);
        xid
    }

    /// Whether the owner's next effect is an error; takes it. Nothing else is carried or published.
    pub fn pending_error(&mut self) -> bool {
        self.switch.take_error()
    }

    /// Sends a message, lets everything settle and returns what came back.
    pub fn control(&mut self, message: Message) -> Vec<Message> {
        self.submit(message);
        self.settle();
        self.messages()
    }

    /// Sends a flow mod that must succeed.
    ///
    /// # Panics
    /// If the switch answers with an error.
    pub fn flow(&mut self, flow_mod: FlowMod) {
        let replies = self.control(Message::FlowMod(flow_mod));
        assert!(!replies.iter().any(|m| matches!(m, Message::Error(_))), "flow mod refused: {replies:?}");
    }

    /// What was sent to [`CONN`] since the last call.
    pub fn messages(&mut self) -> Vec<Message> {
        self.sent.drain(..).filter(|(conn, _, _)| *conn == CONN).map(|(_, _, message)| message).collect()
    }

    /// What was sent since the last call, and to whom.
    pub fn all_messages(&mut self) -> Vec<(ConnId, Xid, Message)> {
        std::mem::take(&mut self.sent)
    }

    /// What left by the ports since the last call.
    pub fn outputs(&mut self) -> Vec<(PortNo, Vec<u8>)> {
        self.out.drain(..).map(|(port, frame)| (port, frame.to_vec())).collect()
    }

    /// Lets a worker process a frame; nothing else is carried.
    pub fn process(&mut self, worker: usize, in_port: PortNo, frame: Frame) -> Vec<(PortNo, Vec<u8>)> {
        let sent = self.process_frames(worker, in_port, frame);
        sent.into_iter().map(|(port, frame)| (port, frame.to_vec())).collect()
    }

    /// As [`process`](Self::process), with the metadata of what left.
    pub fn process_frames(&mut self, worker: usize, in_port: PortNo, frame: Frame) -> Vec<(PortNo, Frame)> {
        self.process_batch(worker, [(in_port, frame)].into_iter())
    }

    /// The same with several frames in one batch.
    pub fn process_batch(
        &mut self,
        worker: usize,
        frames: impl Iterator<Item = (PortNo, Frame)>,
    ) -> Vec<(PortNo, Frame)> {
        let with_port = |(in_port, mut frame): (PortNo, Frame)| {
            frame.meta.in_port = in_port;
            frame
        };
        let mut batch = frames.map(with_port).collect();
        self.workers[worker].process(self.now, &mut batch, &mut self.pool, &mut self.out);
        self.gather(worker);
        self.out.drain(..).collect()
    }

    /// Lets the first worker process a frame, then everything settle; returns what left by the ports.
    pub fn receive(&mut self, in_port: PortNo, bytes: &[u8]) -> Vec<(PortNo, Vec<u8>)> {
        let outputs = self.process(0, in_port, Frame::from_bytes(bytes));
        self.settle();
        outputs
    }

    /// Lets time pass: timers fire, idle workers report.
    pub fn advance(&mut self, by: core::time::Duration) {
        let end = self.now + by;
        loop {
            self.settle();
            match self.switch.poll_timeout().filter(|&at| at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.switch.handle_timeout(self.now);
        }
        self.now = end;
        self.idle();
    }

    /// Lets every worker report what it counted.
    pub fn idle(&mut self) {
        for n in 0..self.workers.len() {
            self.workers[n].handle_idle(self.now);
            self.gather(n);
        }
        self.settle();
    }
}
