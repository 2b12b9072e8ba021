//! The task that owns a router: reports and timers in, orders out, questions answered in between.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use dataplane::{Clock, EngineId, Event};
use packet::{Instant, PortNo};
use tokio::sync::{mpsc, oneshot};
use vrouter::{Effect, KeptLease, Router, RouterEvent};

use super::leases::{Journal, Now};
use crate::plane::{Events, Plane};

type Question = Box<dyn FnOnce(&mut Router, Instant) + Send>;

/// Links that have changed since their ports were added.
type Links = Arc<Mutex<HashMap<PortNo, bool>>>;

/// Asks the task.
#[derive(Clone)]
pub struct Owner {
    questions: mpsc::UnboundedSender<Question>,
    links: Links,
}

impl Owner {
    /// Has `f` called with the router and the time, and waits for what it returns.
    ///
    /// # Errors
    /// When the router has been stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Router, Instant) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |router, now| {
            // Who asked may have gone away.
            let _ = reply.send(f(router, now));
        });
        self.questions.send(question).ok().context("the router has been stopped")?;
        answer.await.context("the router has been stopped")
    }

    /// As [`Owner::ask`], with something that `f` changes and that comes back.
    ///
    /// # Errors
    /// When the router has been stopped.
    pub async fn lend<S: Send + 'static, T: Send + 'static>(
        &self,
        mut lent: S,
        f: impl FnOnce(&mut S, &mut Router, Instant) -> T + Send + 'static,
    ) -> anyhow::Result<(S, T)> {
        self.ask(move |router, now| {
            let result = f(&mut lent, router, now);
            (lent, result)
        })
        .await
    }

    /// Whether the link of a port is up, if it has changed since the port was added.
    pub fn link(&self, port: PortNo) -> Option<bool> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(&port).copied()
    }
}

/// Starts the task of a router whose halves are in the plane.
pub fn spawn(
    name: String,
    (router, journal): (Router, Option<Journal>),
    plane: Plane,
    id: EngineId,
    events: Events,
) -> (Owner, tokio::task::JoinHandle<()>) {
    let (questions, asked) = mpsc::unbounded_channel();
    let links = Links::default();
    let task = Task { name, router, journal, clock: plane.clock(), plane, id, links: links.clone() };
    (Owner { questions, links }, tokio::spawn(task.run(events, asked)))
}

struct Task {
    name: String,
    router: Router,
    journal: Option<Journal>,
    plane: Plane,
    clock: Clock,
    id: EngineId,
    links: Links,
}

impl Task {
    async fn run(mut self, mut events: Events, mut asked: mpsc::UnboundedReceiver<Question>) {
        loop {
            let due = self.router.poll_timeout().map(|at| self.clock.to_std(at).into());
            let far = tokio::time::Instant::now() + std::time::Duration::from_secs(3600);
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle_event(event),
                    None => return,
                },
                question = asked.recv() => match question {
                    Some(question) => question(&mut self.router, self.clock.now()),
                    None => return,
                },
                () = tokio::time::sleep_until(due.unwrap_or(far)) => self.router.handle_timeout(self.clock.now()),
            }
            self.carry_out();
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::RouterReport { worker, report, .. } => {
                self.router.handle_report(self.clock.now(), worker, report);
            }
            Event::PortDown { port, error, .. } => {
                self.set_link(port, false);
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(router = self.name, %port, error, "a port has failed");
            }
            Event::PortLink { port, up, .. } => {
                self.set_link(port, up);
                tracing::info!(router = self.name, %port, up, "link");
            }
            Event::SwitchReport { .. } | Event::WorkerDied { .. } => {}
        }
    }

    fn set_link(&mut self, port: PortNo, up: bool) {
        self.router.set_link(port, up);
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(port, up);
    }

    /// A lease that cannot be written down is granted all the same: hosts without addresses would be worse.
    fn keep_lease(&mut self, lease: &KeptLease) {
        let now = Now::of(&self.clock);
        if let Some(Err(error)) = self.journal.as_mut().map(|journal| journal.put(lease, now)) {
            tracing::warn!(router = self.name, error = format!("{error:#}"), "a lease is not kept");
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.router.poll_effect() {
            match effect {
                Effect::Order { worker, order } => self.plane.order_router(self.id, worker, order),
                Effect::Lease(lease) => self.keep_lease(&lease),
                Effect::Event(RouterEvent::DuplicateAddress { interface, address, mac }) => {
                    tracing::warn!(router = self.name, interface, %address, %mac, "someone else uses this address");
                }
                Effect::Event(RouterEvent::PortsExhausted) => {
                    tracing::warn!(router = self.name, "new flows are refused: no outside port is free");
                }
                Effect::Event(RouterEvent::Firewall {
                    rule,
                    action,
                    input,
                    out,
                    protocol,
                    source,
                    destination,
                }) => {
                    let (source, destination) = (SocketAddr::from(source), SocketAddr::from(destination));
                    let (router, action) = (&self.name, format!("{action:?}").to_lowercase());
                    tracing::info!(router, rule, action, input, out, protocol, %source, %destination, "firewall");
                }
                Effect::Event(RouterEvent::TableFull) => {
                    tracing::warn!(router = self.name, "new flows are refused: the connection table is full");
                }
            }
        }
    }
}
