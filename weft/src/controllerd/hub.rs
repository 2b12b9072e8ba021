//! The controller's core behind one lock, and everybody who has to do with it: connections, the clock, the API.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use controller::{Answer, Config, ConnId, Controller, Effect, Event, Key, RequestError, Token};
use controller_api::{Problem, Router, State as IntentState, Status, Stored};
use openflow::{Dpid, FlowMod, Message, Reply, Request, Xid};
use packet::Instant;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::clock;
use super::connection::Outgoing;
use super::convert;
use super::routers::{self, RouterSink, Routers};
use super::stats::StatsSource;
use super::store::{File, Intents, Kind};

/// Longest wait for the answer of a switch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What everybody shares.
pub struct Hub {
    name: String,
    file: Option<File>,
    state: Mutex<State>,
    /// Wakes the clock when its next appointment may have changed.
    wake: Notify,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
    closing: watch::Sender<bool>,
    stats: OnceLock<StatsSource>,
}

struct State {
    core: Controller,
    intents: Intents,
    routers: Routers,
    connections: HashMap<ConnId, Connection>,
    last_conn: u64,
    waiting: HashMap<Token, oneshot::Sender<Result<Answer, RequestError>>>,
}

struct Connection {
    sender: mpsc::UnboundedSender<Outgoing>,
    peer: String,
}

impl Hub {
    /// A controller with the intents of `store`, if there is one.
    ///
    /// # Errors
    /// A store that cannot be read, or whose intents contradict each other.
    pub fn new(name: String, store: Option<PathBuf>) -> anyhow::Result<Arc<Self>> {
        let key = Key(rand::random(), rand::random());
        let file = store.map(File);
        let intents = file.as_ref().map(File::load).transpose()?.unwrap_or_default();
        let mut core = Controller::new(Config::new(key));
        let intent = convert::intent_of(&intents)?;
        if let Err(faults) = core.set_intent(clock::now(), intent) {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::bail!("the stored intents contradict each other: {}", faults.join("; "));
        }
        let state = State {
            core,
            intents,
            routers: Routers::default(),
            connections: HashMap::new(),
            last_conn: 0,
            waiting: HashMap::new(),
        };
        let hub = Arc::new(Self {
            name,
            file,
            state: Mutex::new(state),
            wake: Notify::new(),
            changes: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            stats: OnceLock::new(),
        });
        hub.push_routers();
        Ok(hub)
    }

    /// Name of this controller.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug in one request; the state is still what the core made of it.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Who knows the statistics of the switches and routers of this process, said once.
    pub fn set_stats_source(&self, source: StatsSource) {
        // The first one serves.
        let _ = self.stats.set(source);
    }

    /// Asks them.
    pub fn stats_source(&self) -> Option<&StatsSource> {
        self.stats.get()
    }

    /// Reads the core.
    pub fn read<T>(&self, read: impl FnOnce(&Controller) -> T) -> T {
        read(&self.lock().core)
    }

    /// Changes the state, then does what the core wants done.
    fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state, clock::now());
        state.pump();
        drop(state);
        self.wake.notify_one();
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
        result
    }

    /// Keeps the appointments of the core.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            let due = self.lock().core.poll_timeout();
            tokio::select! {
                () = clock::sleep_until(due) => self.change(|state, now| state.core.handle_timeout(now)),
                () = self.wake.notified() => {}
            }
        }
    }

    /// Resolves once the controller is stopped.
    pub fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut closing = self.closing.subscribe();
        async move {
            // An error means that the hub is gone, which is the same.
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }

    /// Ends all connections.
    pub fn close(&self) {
        self.closing.send_replace(true);
        let mut state = self.lock();
        state.connections.clear();
        state.waiting.clear();
    }

    /// A switch is connected; messages for it go to `sender`.
    pub fn connected(&self, peer: String, sender: mpsc::UnboundedSender<Outgoing>) -> ConnId {
        self.change(|state, now| {
            state.last_conn += 1;
            let conn = ConnId(state.last_conn);
            state.connections.insert(conn, Connection { sender, peer });
            state.core.handle_connected(now, conn);
            conn
        })
    }

    /// A message of a switch.
    pub fn message(&self, conn: ConnId, xid: Xid, message: Message) {
        self.change(|state, now| state.core.handle_message(now, conn, xid, message));
    }

    /// A connection is gone.
    pub fn disconnected(&self, conn: ConnId) {
        self.change(|state, now| {
            state.connections.remove(&conn);
            state.core.handle_disconnected(now, conn);
        });
    }

    /// Where a switch connects from.
    pub fn peer(&self, dpid: Dpid) -> Option<String> {
        let state = self.lock();
        let conn = state.core.connection(dpid)?;
        state.connections.get(&conn).map(|connection| connection.peer.clone())
    }

    /// Asks a switch.
    ///
    /// # Errors
    /// Not connected, refused, or no answer in time.
    pub async fn ask(&self, dpid: Dpid, request: Request) -> Result<Reply, Problem> {
        match self.wait_for(|core| core.request(dpid, request)).await? {
            Answer::Reply(reply) => Ok(reply),
            Answer::Done => Err(Problem::internal("an answer of the wrong kind")),
        }
    }

    /// Sends flow mods and waits for the barrier behind them.
    ///
    /// # Errors
    /// Not connected, refused, or no answer in time.
    pub async fn send_mods(&self, dpid: Dpid, mods: Vec<FlowMod>) -> Result<(), Problem> {
        self.wait_for(|core| core.send_mods(dpid, mods)).await.map(drop)
    }

    async fn wait_for(&self, ask: impl FnOnce(&mut Controller) -> Token) -> Result<Answer, Problem> {
        let answer = self.change(|state, _| {
            let (sender, answer) = oneshot::channel();
            let token = ask(&mut state.core);
            state.waiting.insert(token, sender);
            answer
        });
        let late = || Problem::new(504, "no-answer", "The switch does not answer");
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error @ RequestError::NotConnected))) => {
                Err(Problem::new(503, "not-connected", "Not connected").with_detail(error))
            }
            Ok(Ok(Err(error @ RequestError::Refused(_)))) => {
                Err(Problem::new(422, "refused", "The switch refuses").with_detail(error))
            }
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }

    /// Changes intents, all or nothing. `label` is the one that is being written.
    ///
    /// # Errors
    /// The first contradiction, or that it cannot be stored.
    pub fn write(self: &Arc<Self>, label: &str, write: impl FnOnce(&mut Intents)) -> Result<(), Problem> {
        self.change(|state, now| {
            let mut intents = state.intents.clone();
            write(&mut intents);
            let refuse = |fault: &controller::Fault| convert::problem_of(fault, label);
            let intent = convert::intent_of(&intents).map_err(|fault| refuse(&fault))?;
            if let Some(fault) = intent.faults().first() {
                return Err(refuse(fault));
            }
            if let (Some(file), true) = (&self.file, intents != state.intents) {
                file.save(&intents).map_err(|error| Problem::internal(format!("{error:#}")))?;
            }
            state.core.set_intent(now, intent).map_err(|faults| {
                faults.first().map_or_else(|| Problem::internal("refused without a reason"), refuse)
            })?;
            state.intents = intents;
            Ok(())
        })?;
        self.push_routers();
        Ok(())
    }

    /// Who configures the routers of this process from now on.
    pub fn set_router_sink(self: &Arc<Self>, sink: RouterSink) {
        self.change(|state, _| {
            state.routers.sink = Some(sink);
            state.routers.forget_local();
        });
        self.push_routers();
    }

    fn push_routers(self: &Arc<Self>) {
        let (changes, sink) = {
            let mut state = self.lock();
            let State { routers, intents, .. } = &mut *state;
            if routers.sink.is_none() && intents.routers.values().all(|router| router.server.is_none()) {
                return;
            }
            (routers.changes(&intents.routers), routers.sink.clone())
        };
        for (change, server) in changes {
            tokio::spawn(routers::push(self.clone(), change, server, sink.clone()));
        }
    }

    /// Notes what became of a router's configuration.
    pub fn router_pushed(&self, router: &Router, result: Result<(), String>) {
        self.change(|state, _| state.routers.note(router, result));
    }

    /// An intent with its status.
    pub fn stored<K: Kind>(&self, name: &str) -> Option<Stored<K>> {
        let state = self.lock();
        K::of(&state.intents).get(name).map(|spec| state.stored(spec))
    }

    /// All intents of a kind.
    pub fn list<K: Kind>(&self) -> Vec<Stored<K>> {
        let state = self.lock();
        K::of(&state.intents).values().map(|spec| state.stored(spec)).collect()
    }

    /// Waits until `done` says so, looking again after every change. False: it did not happen in time.
    pub async fn wait_until(&self, timeout: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let mut changes = self.changes.subscribe();
        let wait = async {
            loop {
                changes.mark_unchanged();
                if done(self) {
                    return true;
                }
                if changes.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(timeout, wait).await.unwrap_or(false)
    }

    /// Whether every switch holds what is wanted, discovery has settled and every intent is realised.
    pub fn is_realised(&self) -> bool {
        fn all<K: Kind>(state: &State) -> bool {
            K::of(&state.intents)
                .values()
                .all(|spec| state.stored(spec).status.state == IntentState::Realised)
        }
        let state = self.lock();
        state.core.is_quiet()
            && all::<controller_api::Network>(&state)
            && all::<Router>(&state)
            && all::<controller_api::Function>(&state)
            && all::<controller_api::Chain>(&state)
    }
}

impl State {
    /// Does what the core wants done.
    fn pump(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Send { conn, xid, message } => {
                    if let Some(connection) = self.connections.get(&conn) {
                        // A connection that just ended says so itself.
                        let _ = connection.sender.send(Outgoing::Message(xid, message));
                    }
                }
                Effect::Close { conn, reason } => {
                    if let Some(connection) = self.connections.remove(&conn) {
                        tracing::info!(peer = connection.peer, %reason, "closing the connection of a switch");
                        let _ = connection.sender.send(Outgoing::Close);
                    }
                }
                Effect::Event(Event::Answer(token, answer)) => {
                    if let Some(waiting) = self.waiting.remove(&token) {
                        let _ = waiting.send(answer);
                    }
                }
                Effect::Event(event) => log(&event),
            }
        }
    }

    fn stored<K: Kind>(&self, spec: &K) -> Stored<K> {
        let label = format!("{}/{}", K::KIND, spec.name());
        let mut status = convert::status_of(self.core.status(&label), self.core.view());
        if K::KIND == "router"
            && let Some(router) = self.intents.routers.get(spec.name())
        {
            self.add_router(&mut status, router);
        }
        Stored { spec: spec.clone(), status }
    }

    fn add_router(&self, status: &mut Status, router: &Router) {
        // Without anybody to configure it, the router is somebody else's affair.
        if self.routers.sink.is_none() && router.server.is_none() {
            return;
        }
        let (state, reason) = self.routers.state(router);
        status.state = status.state.max(state);
        if let Some(reason) = reason {
            let before = status.reason.take().map(|before| format!("{before}; ")).unwrap_or_default();
            status.reason = Some(format!("{before}{reason}"));
        }
    }
}

fn log(event: &Event) {
    match event {
        Event::Refused { dpid, label, error } => {
            tracing::warn!(%dpid, label, error, "a switch refuses a flow")
        }
        Event::Drifted(dpid, n) => tracing::warn!(%dpid, n, "somebody else changed flows of the controller"),
        Event::SwitchUp(dpid) => tracing::info!(%dpid, "a switch is there"),
        Event::SwitchDown(dpid) => tracing::warn!(%dpid, "a switch lost its connection"),
        Event::SwitchRetired(dpid) => tracing::warn!(%dpid, "a switch is given up"),
        other => tracing::debug!(?other),
    }
}
