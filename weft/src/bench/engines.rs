//! What stands between the two hosts: a switch with a flow in each direction, or a mere wire to compare it with.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::Context;
use dataplane::{Clock, Config, Dataplane, Engine, EngineId, Event, Order, Report};
use netio::Port;
use openflow::text::parse_flow;
use openflow::{Message, PortDesc, Xid};
use packet::{Batch, Instant, MacAddr, Outputs, Pool, PortNo};
use vswitch::{ConnId, Effect, Switch, SwitchConfig};

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A switch with a flow in each direction.
    Switch,
    /// Frames of one port leave by the other, unseen.
    Wire,
}

/// Joins port 1 and port 2.
struct Wire;

impl Engine for Wire {
    fn process(&mut self, _: Instant, batch: &mut Batch, _: &mut Pool, out: &mut Outputs) {
        out.extend(batch.drain(..).map(|frame| (PortNo(3 - frame.meta.in_port.0), frame)));
    }

    fn handle_order(&mut self, _: Instant, _: Order, _: &mut Pool, _: &mut Outputs) {}

    fn poll_report(&mut self) -> Option<Report> {
        None
    }

    fn handle_idle(&mut self, _: Instant) {}
}

/// Two ports and what is between them; stops when dropped.
pub struct Middle {
    /// The workers.
    pub dataplane: Arc<Dataplane>,
    /// Its engine.
    pub engine: EngineId,
    stop: Sender<Option<Event>>,
    owner: Option<JoinHandle<()>>,
}

impl Middle {
    /// Starts the workers and carries frames between the two ports from now on.
    pub fn start(kind: Kind, config: Config, ports: [Vec<Box<dyn Port>>; 2]) -> anyhow::Result<Self> {
        let (events, inbox) = channel();
        let sink = events.clone();
        // Nobody reads after the end; that is no loss.
        let dataplane = Dataplane::start(config, Box::new(move |event| drop(sink.send(Some(event)))))?;
        let dataplane = Arc::new(dataplane);
        let (engine, owner) = match kind {
            Kind::Wire => {
                let halves = (0..config.n_workers).map(|_| Box::new(Wire) as Box<dyn Engine>).collect();
                (dataplane.add_engine(halves)?, None)
            }
            Kind::Switch => {
                let (engine, owner) = start_switch(&dataplane, inbox)?;
                (engine, Some(owner))
            }
        };
        for (number, queues) in (1..).zip(ports) {
            dataplane.add_port(engine, PortNo(number), queues)?;
        }
        Ok(Self { dataplane, engine, stop: events, owner })
    }
}

impl Drop for Middle {
    fn drop(&mut self) {
        // An owner that has ended is as good as one that is told to.
        let _ = self.stop.send(None);
        if let Some(owner) = self.owner.take() {
            let _ = owner.join();
        }
    }
}

fn start_switch(
    dataplane: &Arc<Dataplane>,
    inbox: Receiver<Option<Event>>,
) -> anyhow::Result<(EngineId, JoinHandle<()>)> {
    let clock = dataplane.clock();
    let config = SwitchConfig { n_workers: dataplane.n_workers(), ..SwitchConfig::default() };
    let mut switch = Switch::new(config);
    let engine = dataplane.add_switch(switch.datapath())?;
    let conn = ConnId(1);
    switch.handle_connected(clock.now(), conn);
    for number in [1u32, 2] {
        let mac = MacAddr::from_u64(0x02_00_00_00_00_00 | u64::from(number));
        switch.add_port(clock.now(), PortDesc::new(PortNo(number), mac, format!("port{number}")));
    }
    for flow in ["priority=1,in_port=1,actions=output:2", "priority=1,in_port=2,actions=output:1"] {
        let flow_mod = parse_flow(flow).context("a flow of the bench")?;
        switch.handle_message(clock.now(), conn, Xid(1), Message::FlowMod(flow_mod));
    }
    carry_orders(&mut switch, dataplane, engine);
    let theirs = dataplane.clone();
    let run = move || own(&mut switch, &theirs, engine, clock, &inbox);
    let owner = std::thread::Builder::new().name("bench-switch".to_owned()).spawn(run)?;
    Ok((engine, owner))
}

/// The owner's loop: reports in, orders out, until told to stop.
fn own(
    switch: &mut Switch,
    dataplane: &Dataplane,
    engine: EngineId,
    clock: Clock,
    inbox: &Receiver<Option<Event>>,
) {
    while let Ok(Some(event)) = inbox.recv() {
        if let Event::SwitchReport { worker, report, .. } = event {
            switch.handle_report(clock.now(), worker, report);
            carry_orders(switch, dataplane, engine);
        }
    }
}

fn carry_orders(switch: &mut Switch, dataplane: &Dataplane, engine: EngineId) {
    while let Some(effect) = switch.poll_effect() {
        if let Effect::Order { worker, order } = effect {
            dataplane.order_switch(engine, worker, order);
        }
    }
}
