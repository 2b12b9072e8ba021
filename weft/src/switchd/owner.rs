//! The task that owns the switch: requests and the workers' events in, effects out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use controller_api::{Problem, SwitchPeer};
use dataplane::{Clock, EngineId, Event, Sample, SampleSpec, Watch};
use netio::{PortDrop, PortKind, PortSpec};
use openflow::{
    Action, AsyncConfig, FlowMod, FlowStats, FlowStatsRequest, Instruction, Match, Message, MultipartReply,
    MultipartRequest, PortDesc, Priority, Reply, TableId, Xid, codec, ports,
};
use packet::{MacAddr, PortNo};
use tokio::sync::{mpsc, oneshot};
use vswitch::{
    ConnId, Effect, FailMode, Followed, PortCounters, PortQueues, QueueCounters, Switch, SwitchConfig, Trace,
};

use super::attempts::{Attempt, Attempts};
use super::connection::sleep_until;
use super::peers::{Burst, Peer, Wake};
use super::spare::Spare;
use super::{Answer, SwitchSpec};
use crate::plane::{Events, Plane, PortRequest};

/// Requests that may wait for the owner.
pub const INBOX: usize = 64;
/// Bytes that are kept of each message in a bundle, to be quoted when it fails: what the standard wants (§7.4.4).
const QUOTE: usize = 64;
/// Longest name of a port that OpenFlow carries.
const MAX_NAME: usize = 15;

/// A connection number that no other has.
pub fn next_conn() -> ConnId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    ConnId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A message with its first bytes, which an error reply quotes.
#[derive(Debug)]
pub struct Received {
    pub xid: Xid,
    pub message: Message,
    pub head: Box<[u8]>,
}

/// What the owner is asked.
#[derive(Debug)]
pub enum Request {
    /// A session is established.
    Connected { conn: ConnId, peer: Peer },
    /// Messages of a connection, in order.
    Messages { conn: ConnId, burst: Burst },
    /// A session is over.
    Disconnected(ConnId),
    /// There is no connection to a controller, for now.
    Failed(Attempt),
    /// Attach a port, and leave what comes in its device.
    AddPort {
        number: Option<PortNo>,
        name: Option<String>,
        spec: PortSpec,
        reply: oneshot::Sender<Answer<PortRow>>,
    },
    /// Receive from a port that was attached: the workers have been told of it.
    StartPort { number: PortNo, reply: oneshot::Sender<Answer<()>> },
    /// Detach a port.
    DelPort { number: PortNo, reply: oneshot::Sender<Answer<()>> },
    /// Let frames leave a port by other queues.
    SetQueues { number: PortNo, queues: PortQueues, reply: oneshot::Sender<Answer<PortRow>> },
    /// The ports.
    Ports(oneshot::Sender<Answer<Vec<PortRow>>>),
    /// The flows.
    Flows(oneshot::Sender<Answer<Vec<FlowStats>>>),
    /// Change flows, as a controller would.
    FlowMod { flow_mod: Box<FlowMod>, reply: oneshot::Sender<Answer<()>> },
    /// Follow a frame.
    Trace { in_port: PortNo, frame: Vec<u8>, reply: oneshot::Sender<Answer<Trace>> },
    /// Frames dropped.
    Drops(oneshot::Sender<Answer<Vec<(String, u64)>>>),
    /// Follow frames that come in.
    Sample { spec: SampleSpec, reply: oneshot::Sender<Answer<Watch<Sample>>> },
    /// Put words to what became of a frame.
    Tell { followed: Followed, reply: oneshot::Sender<Answer<Trace>> },
    /// Where its workers are.
    Engine(oneshot::Sender<Answer<(Plane, EngineId)>>),
    /// Everything that it counts.
    Stats(oneshot::Sender<Answer<controller_api::Stats>>),
    /// How it goes.
    Status(oneshot::Sender<Answer<Status>>),
    /// Close the ports and end.
    Stop(oneshot::Sender<Answer<()>>),
}

/// A port as it was attached.
#[derive(Debug, Clone)]
pub struct PortRow {
    /// Its number.
    pub number: PortNo,
    /// Its name.
    pub name: String,
    /// Its address.
    pub mac: MacAddr,
    /// Its link is up.
    pub up: bool,
    /// What it is, as on the command line.
    pub spec: PortSpec,
    /// How it is realised when it is not in the usual way, for people.
    pub note: Option<String>,
    /// What it has counted.
    pub counters: netio::PortCounters,
    /// Its rate and queues.
    pub queues: PortQueues,
    /// What its queues have counted, by number.
    pub queue_counters: BTreeMap<u16, QueueCounters>,
}

/// How a switch goes.
#[derive(Debug, Clone)]
pub struct Status {
    /// Peers of established sessions.
    pub peers: Vec<String>,
    /// More of them, and of controllers that cannot be reached.
    pub details: Vec<SwitchPeer>,
    /// Most bytes that wait for one of them, about.
    pub most_waiting: usize,
    /// Flow tables.
    pub n_tables: u8,
    /// Ports.
    pub n_ports: usize,
}

/// A request that the switch answers as it would a controller's.
struct Question {
    /// What it has said so far; a barrier reply ends it.
    answers: Vec<Message>,
    done: Box<dyn FnOnce(Vec<Message>) + Send>,
}

/// Owns the switch.
pub struct Owner {
    pub(super) name: String,
    /// Those it is to be connected to.
    pub(super) controllers: Vec<super::Target>,
    pub(super) switch: Switch,
    n_tables: u8,
    pub(super) plane: Plane,
    pub(super) clock: Clock,
    pub(super) engine: EngineId,
    events: Events,
    pub(super) peers: HashMap<ConnId, Peer>,
    /// What is known of the controllers that it is to connect to.
    pub(super) attempts: Attempts,
    /// Connections that have something to do, in the order of their turns.
    pub(super) turns: VecDeque<ConnId>,
    pub(super) wake: mpsc::UnboundedSender<Wake>,
    wakes: mpsc::UnboundedReceiver<Wake>,
    pub(super) ports: BTreeMap<PortNo, PortRow>,
    /// First bytes of the messages handled since effects were last carried out: errors quote them.
    heads: Vec<(ConnId, Xid, Box<[u8]>)>,
    /// Connections that exist only until a request is answered.
    questions: HashMap<ConnId, Question>,
    spare: Spare,
}

impl Owner {
    /// Makes the switch and hands its halves to the workers.
    pub fn new(spec: &SwitchSpec, plane: Plane) -> anyhow::Result<Self> {
        let mut config = SwitchConfig::new(spec.dpid, &spec.name);
        // Where no controller is to come, flows are obeyed from the start, and one of them forwards what no other matches, as
        // with Open vSwitch.
        let stays_alone = spec.fail_mode == FailMode::Standalone && spec.controllers.is_empty();
        config.fail_mode = if stays_alone { FailMode::Secure } else { spec.fail_mode };
        config.packet_in_rates = spec.packet_in_rates;
        config.n_workers = plane.n_workers();
        config.gather = vswitch::GATHER;
        let n_tables = config.n_tables;
        let mut switch = Switch::new(config);
        let (engine, events) = plane.add_switch(&spec.name, switch.datapath())?;
        let clock = plane.clock();
        let (wake, wakes) = mpsc::unbounded_channel();
        let mut owner = Self {
            name: spec.name.clone(),
            controllers: spec.controllers.clone(),
            switch,
            n_tables,
            plane,
            clock,
            engine,
            events,
            peers: HashMap::new(),
            attempts: Attempts::new(clock.now(), &spec.controllers),
            turns: VecDeque::new(),
            wake,
            wakes,
            ports: BTreeMap::new(),
            heads: Vec::new(),
            questions: HashMap::new(),
            spare: Spare::default(),
        };
        if stays_alone {
            let learn = vec![Instruction::ApplyActions(vec![Action::output(ports::NORMAL)])];
            let flow = FlowMod::add(TableId(0), Priority(0), Match::new(), learn);
            owner.ask(Message::FlowMod(flow), |_| ());
        }
        owner.carry_out();
        Ok(owner)
    }

    /// Runs until it is told to stop, or nobody can ask it any more.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let stopped = loop {
            let due = self.switch.poll_timeout();
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(Request::Stop(reply)) => break Some(reply),
                    Some(request) => self.handle_request(request).await,
                    None => break None,
                },
                () = std::future::ready(()), if !self.turns.is_empty() => self.take_turn().await,
                Some(wake) = self.wakes.recv() => self.wake(wake),
                Some(event) = self.events.recv() => self.handle_event(event).await,
                () = sleep_until(self.clock, due) => self.switch.handle_timeout(self.clock.now()),
                () = sleep_until(self.clock, self.spare.due()) => if self.spare.look(self.clock.now()) {
                    tokio::task::spawn_blocking(netio::alloc::give_back);
                },
            }
            self.carry_out();
        };
        // Connections end when their senders go.
        self.peers.clear();
        if let Err(error) = self.plane.remove_engine(self.engine).await {
            tracing::error!(name = self.name, "cannot take the switch from the workers: {error:#}");
        }
        if let Some(reply) = stopped {
            let _ = reply.send(Ok(()));
        }
    }

    /// Does what the switch wants done. Changes that were made since the last time come into force together.
    fn carry_out(&mut self) {
        while let Some(effect) = self.switch.poll_effect() {
            match effect {
                Effect::Order { worker, order } => self.plane.order_switch(self.engine, worker, order),
                Effect::Send { conn, xid, message } => self.send(conn, xid, message),
            }
        }
        self.heads.clear();
    }

    fn send(&mut self, conn: ConnId, xid: Xid, mut message: Message) {
        if let Message::Error(error) = &mut message
            && error.data.is_empty()
            && let Some((.., head)) = self.heads.iter().rev().find(|(c, x, _)| (*c, *x) == (conn, xid))
        {
            error.data = head.to_vec();
        }
        if let Some(question) = self.questions.get_mut(&conn) {
            if message != Message::BarrierReply {
                question.answers.push(message);
            } else if let Some(question) = self.questions.remove(&conn) {
                (question.done)(question.answers);
                self.switch.handle_disconnected(self.clock.now(), conn);
            }
        } else {
            self.send_to_peer(conn, xid, message);
        }
    }

    async fn handle_event(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::SwitchReport { worker, report, .. } => self.switch.handle_report(now, worker, report),
            Event::PortLink { port, up, .. } => {
                if let Some(row) = self.ports.get_mut(&port) {
                    row.up = up;
                    let queued = !row.queues.is_none();
                    self.switch.set_port_link(now, port, up);
                    // Both ends of a link are new when it comes up again.
                    if up && queued {
                        self.apply_queues(port).await;
                    }
                }
            }
            Event::PortDown { port, error, .. } => {
                let error = format!("{:#}", anyhow::Error::from(error));
                let (switch, name) = (&self.name, self.ports.get(&port).map(|row| row.name.as_str()));
                tracing::warn!(switch, %port, name, error, "a port has failed and is removed");
                if let Err(problem) = self.del_port(port).await {
                    tracing::warn!(switch = self.name, %port, %problem, "cannot remove the failed port");
                }
            }
            Event::RouterReport { .. } | Event::WorkerDied { .. } => {}
        }
    }

    async fn handle_request(&mut self, request: Request) {
        // Whoever asked may have gone away: then the answer does not matter.
        match request {
            Request::Connected { conn, peer } => self.connect(conn, peer),
            Request::Messages { conn, burst } => self.receive(conn, burst),
            Request::Disconnected(conn) => self.disconnect(conn),
            Request::Failed(attempt) => self.attempts.note(attempt),
            Request::AddPort { number, name, spec, reply } => {
                let _ = reply.send(self.add_port(number, name, spec).await);
            }
            Request::StartPort { number, reply } => {
                let started = self.plane.start_port(self.engine, number).await;
                let _ = reply.send(started.map_err(|error| refused(&error)));
            }
            Request::DelPort { number, reply } => {
                let _ = reply.send(self.del_port(number).await);
            }
            Request::SetQueues { number, queues, reply } => {
                let _ = reply.send(self.set_queues(number, queues).await);
            }
            Request::Ports(reply) => {
                self.count_ports().await;
                let _ = reply.send(Ok(self.ports.values().cloned().collect()));
            }
            Request::Flows(reply) => {
                let body = openflow::Request::Flow(FlowStatsRequest::default());
                let message = Message::MultipartRequest(MultipartRequest { more: false, body });
                self.ask(message, |answers| drop(reply.send(flows_of(answers))));
            }
            Request::FlowMod { flow_mod, reply } => {
                self.ask(Message::FlowMod(*flow_mod), |answers| drop(reply.send(refusal_of(&answers))));
            }
            Request::Trace { in_port, frame, reply } => {
                let known = self.ports.contains_key(&in_port);
                let trace = || self.switch.trace(self.clock.now(), in_port, &frame);
                let answer =
                    if known { Ok(trace()) } else { Err(Problem::not_found(format!("port {in_port}"))) };
                let _ = reply.send(answer);
            }
            Request::Drops(reply) => {
                let drops = self.switch.drops();
                let _ = reply.send(Ok(drops.iter().map(|(reason, n)| (reason.to_string(), n)).collect()));
            }
            Request::Sample { spec, reply } => {
                let watch = self.plane.sample(self.engine, spec).await;
                let _ = reply.send(watch.map_err(|error| Problem::internal(format!("{error:#}"))));
            }
            Request::Tell { followed, reply } => {
                let _ = reply.send(Ok(self.switch.explain(followed)));
            }
            Request::Engine(reply) => {
                let _ = reply.send(Ok((self.plane.clone(), self.engine)));
            }
            Request::Stats(reply) => {
                let _ = reply.send(Ok(self.stats().await));
            }
            Request::Status(reply) => drop(reply.send(Ok(self.status()))),
            Request::Stop(_) => unreachable!("the loop takes it"),
        }
    }

    fn status(&self) -> Status {
        let waiting = self.peers.values().map(|peer| peer.account.waiting());
        Status {
            peers: self.peers.values().map(|peer| peer.name.clone()).collect(),
            details: self.peer_details(),
            most_waiting: waiting.max().unwrap_or(0),
            n_tables: self.n_tables,
            n_ports: self.ports.len(),
        }
    }

    /// A message of a connection whose turn it is.
    pub(super) async fn handle_message(&mut self, conn: ConnId, received: Received) {
        let Received { xid, message, head } = received;
        if is_port_stats(&message) {
            self.count_ports().await;
        }
        let is_barrier = message == Message::BarrierRequest;
        if matches!(message, Message::PacketOut(_)) {
            self.carry_out();
        }
        let now = self.clock.now();
        self.spare.note(now);
        if let Message::BundleAdd(add) = message {
            let quote = codec::bundled(&head);
            let quote = &quote[..quote.len().min(QUOTE)];
            self.switch.handle_bundle_add(now, conn, xid, add, quote);
        } else {
            self.switch.handle_message(now, conn, xid, message);
        }
        self.heads.push((conn, xid, head));
        if is_barrier {
            self.carry_out();
        }
    }

    /// Asks the switch as a controller would that wants nothing but answers; `done` gets them.
    pub(super) fn ask(
        &mut self,
        message: impl Into<Option<Message>>,
        done: impl FnOnce(Vec<Message>) + Send + 'static,
    ) {
        let (conn, now) = (next_conn(), self.clock.now());
        self.questions.insert(conn, Question { answers: Vec::new(), done: Box::new(done) });
        self.switch.handle_service_connected(now, conn);
        let messages = [
            Some(Message::SetAsync(AsyncConfig::NONE.into())),
            message.into(),
            Some(Message::BarrierRequest),
        ];
        for (xid, message) in (1..).zip(messages.into_iter().flatten()) {
            self.switch.handle_message(now, conn, Xid(xid), message);
            self.carry_out();
        }
    }

    async fn add_port(
        &mut self,
        number: Option<PortNo>,
        name: Option<String>,
        spec: PortSpec,
    ) -> Answer<PortRow> {
        let number = self.free_number(number)?;
        let name = name.unwrap_or_else(|| derived_name(&spec, number));
        if name.len() > MAX_NAME || name.is_empty() {
            let detail = format!("\"{name}\": a port has a name of 1 to {MAX_NAME} bytes");
            return Err(Problem::invalid("/name", detail));
        }
        if let Some(row) = self.ports.values().find(|row| row.name == name) {
            return Err(Problem::conflict(format!("port {} has the name \"{name}\" already", row.number)));
        }
        let request = PortRequest::new(number, spec.clone());
        let added = self.plane.prepare_port(self.engine, request).await.map_err(|error| refused(&error))?;
        let mut desc = PortDesc::new(number, added.info.mac, &name);
        super::speed::describe(&mut desc, &spec);
        let now = self.clock.now();
        if !added.up {
            desc.state = openflow::PortState::LINK_DOWN;
        }
        self.switch.add_port(now, desc);
        let row = PortRow {
            number,
            name,
            mac: added.info.mac,
            up: added.up,
            spec,
            note: added.info.note,
            counters: netio::PortCounters::default(),
            queues: PortQueues::default(),
            queue_counters: BTreeMap::new(),
        };
        self.ports.insert(number, row.clone());
        Ok(row)
    }

    fn free_number(&self, wanted: Option<PortNo>) -> Answer<PortNo> {
        let Some(number) = wanted else {
            let mut free = (1..).map(PortNo).filter(|number| !self.ports.contains_key(number));
            return Ok(free.next().expect("there are more numbers than ports"));
        };
        if !ports::is_real(number) && number != ports::LOCAL {
            return Err(Problem::invalid("/number", format!("{number} is no number a port may have")));
        }
        match self.ports.get(&number) {
            Some(row) => Err(Problem::conflict(format!("port {number} is there already: {}", row.spec))),
            None => Ok(number),
        }
    }

    async fn del_port(&mut self, number: PortNo) -> Answer<()> {
        let Some(row) = self.ports.remove(&number) else {
            return Err(Problem::not_found(format!("port {number} on switch {}", self.name)));
        };
        // The workers learn that nothing goes there any more before the port is closed.
        self.switch.remove_port(self.clock.now(), number);
        self.carry_out();
        self.plane.remove_port(self.engine, number).await.map_err(|error| {
            tracing::warn!(switch = self.name, port = %row.spec, "{error:#}");
            refused(&error)
        })
    }

    /// Fetches what the workers have counted.
    pub(super) async fn count_ports(&mut self) {
        self.count_queues().await;
        let Ok(counted) = self.plane.port_counters(self.engine).await else { return };
        for (number, counters) in counted {
            if let Some(row) = self.ports.get_mut(&number) {
                row.counters = counters;
                self.switch.set_port_counters(number, openflow_counters(&counters));
            }
        }
    }
}

fn flows_of(answers: Vec<Message>) -> Answer<Vec<FlowStats>> {
    refusal_of(&answers)?;
    let mut all = Vec::new();
    for answer in answers {
        if let Message::MultipartReply(MultipartReply { body: Reply::Flow(flows), .. }) = answer {
            all.extend(flows);
        }
    }
    all.sort_by_key(|flow| (flow.table, std::cmp::Reverse(flow.priority)));
    Ok(all)
}

/// The first error among answers.
fn refusal_of(answers: &[Message]) -> Answer<()> {
    let refused = answers.iter().find_map(|answer| match answer {
        Message::Error(error) => Some(Problem::invalid("", error.kind)),
        _ => None,
    });
    refused.map_or(Ok(()), Err)
}

fn refused(error: &anyhow::Error) -> Problem {
    Problem::new(422, "port", "The port cannot be used").with_detail(format!("{error:#}"))
}

fn is_port_stats(message: &Message) -> bool {
    use openflow::Request::{PortStats, Queue};
    matches!(message, Message::MultipartRequest(MultipartRequest { body: PortStats(_) | Queue { .. }, .. }))
}

/// The interface's own name where the port is one, else one that tells its number.
fn derived_name(spec: &PortSpec, number: PortNo) -> String {
    match &spec.kind {
        PortKind::Tap(name) | PortKind::HostTap(name) | PortKind::AfPacket(name) => name.as_str().to_owned(),
        _ => format!("port{number}"),
    }
}

/// Frames that were dropped because something was wrong with them, or because the device had no room.
pub(super) fn rx_errors(counted: &netio::PortCounters) -> u64 {
    [PortDrop::RxTooShort, PortDrop::RxTooLong, PortDrop::RxBadVnetHeader, PortDrop::RxOverrun]
        .iter()
        .map(|reason| counted[*reason])
        .sum()
}

/// Frames that were dropped because the device cannot send such frames.
pub(super) fn tx_errors(counted: &netio::PortCounters) -> u64 {
    [PortDrop::TxTooShort, PortDrop::TxTooLong, PortDrop::TxNotSegmentable, PortDrop::TxRefused]
        .iter()
        .map(|reason| counted[*reason])
        .sum()
}

fn openflow_counters(counted: &netio::PortCounters) -> PortCounters {
    PortCounters {
        rx_packets: counted.rx_frames,
        tx_packets: counted.tx_frames,
        rx_bytes: counted.rx_bytes,
        tx_bytes: counted.tx_bytes,
        rx_dropped: counted.rx_dropped(),
        tx_dropped: counted.tx_dropped(),
        rx_errors: rx_errors(counted),
        tx_errors: tx_errors(counted),
        rx_overruns: counted[PortDrop::RxOverrun],
    }
}
