//! The task that follows the routes of the kernel in the namespace of a shadow.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use netio::RouteSocket;
use netio::netns::Namespace;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use vrouter::KernelRoutes;

use crate::routerd::task::Owner;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(50);
/// Before a socket is opened again that has failed otherwise than by losing messages.
const PATIENCE: Duration = Duration::from_secs(1);

/// The interfaces of a router by the number that the kernel has for their shadows.
type Links = BTreeMap<u32, String>;

/// A running task; it ends with its router.
pub struct Follower {
    links: UnboundedSender<Links>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Starts it. It does nothing before it is told the interfaces.
    pub fn start(router: String, namespace: Namespace, owner: Owner) -> Self {
        let (links, told) = unbounded_channel();
        let task = tokio::spawn(async move {
            let mut task = Task { router, namespace, owner, kernel: KernelRoutes::default() };
            if let Err(error) = task.run(told).await {
                tracing::debug!(
                    router = task.router,
                    error = format!("{error:#}"),
                    "routes are not followed"
                );
            }
        });
        Self { links, task }
    }

    /// The interfaces are these; routes are read anew.
    pub fn set_links(&self, links: Links) {
        // A task that has ended had lost its router.
        let _ = self.links.send(links);
    }

    /// Takes the routes out of the router, and ends.
    pub async fn stop(self) {
        drop(self.links);
        let _ = self.task.await;
    }
}

enum Event {
    Links(Option<Links>),
    Said(io::Result<Vec<u8>>),
    Tick,
}

struct Task {
    router: String,
    namespace: Namespace,
    owner: Owner,
    kernel: KernelRoutes,
}

impl Task {
    /// Returns an error when the router has been stopped.
    async fn run(&mut self, mut told: UnboundedReceiver<Links>) -> anyhow::Result<()> {
        let mut socket = None;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_due = self.kernel.poll_timeout().is_some();
            let event = tokio::select! {
                links = told.recv() => Event::Links(links),
                said = hear(socket.as_ref()) => Event::Said(said),
                _ = ticks.tick(), if is_due => Event::Tick,
            };
            match event {
                Event::Links(Some(links)) => {
                    self.kernel.set_links(links);
                    socket = self.connect(&told).await;
                }
                Event::Links(None) => {
                    return self.with(|kernel, router, _| kernel.withdraw(router)).await;
                }
                Event::Said(Ok(bytes)) => {
                    self.with(move |kernel, router, now| kernel.handle_bytes(router, now, &bytes)).await?;
                }
                Event::Said(Err(error)) => {
                    tracing::info!(router = self.router, %error, "routes of the shadow are read again");
                    socket = self.connect(&told).await;
                }
                Event::Tick => self.with(|kernel, _, now| kernel.handle_timeout(now)).await?,
            }
            while let (Some(request), Some(socket)) = (self.kernel.poll_output(), &socket) {
                if let Err(error) = socket.send(&request).await {
                    tracing::warn!(router = self.router, %error, "the kernel is not asked for its routes");
                }
            }
        }
    }

    /// A new socket, which is asked for everything; none when the task is to end meanwhile.
    async fn connect(&mut self, told: &UnboundedReceiver<Links>) -> Option<RouteSocket> {
        while !told.is_closed() {
            match RouteSocket::open(&self.namespace) {
                Ok(socket) => {
                    self.kernel.connected();
                    return Some(socket);
                }
                Err(error) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    tracing::warn!(router = self.router, error, "no routes of the shadow");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
        None
    }

    async fn with(
        &mut self,
        f: impl FnOnce(&mut KernelRoutes, &mut vrouter::Router, packet::Instant) + Send + 'static,
    ) -> anyhow::Result<()> {
        let kernel = std::mem::take(&mut self.kernel);
        self.kernel = self.owner.lend(kernel, f).await?.0;
        Ok(())
    }
}

/// What the kernel says; never, if there is no socket.
async fn hear(socket: Option<&RouteSocket>) -> io::Result<Vec<u8>> {
    match socket {
        Some(socket) => socket.receive().await,
        None => std::future::pending().await,
    }
}
