//! The controller's core behind one lock, and everybody who has to do with it: connections, the clock, the API.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use controller::{
    Answer, Config, ConnId, Controller, Effect, Event, Guard, Key, Outgoing, RequestError, Token,
};
use controller_api::{
    AuditEntry, Forecast, Label, Problem, ResourceKind, Revision, Router, State as IntentState, Status,
    Stored, Written,
};
use openflow::{Dpid, FlowMod, Message, Reply, Request, Role, RoleRequest, Xid};
use packet::Instant;
use tokio::sync::{Notify, oneshot, watch};

use super::ControllerSpec;
use super::clock;
use super::convert;
use super::edit::{Declared, Edit, Origin, Prepared, prepare};
use super::intents::Kind;
use super::outbox::Sender;
use super::routers::{self, RouterSink, Routers};
use super::stats::StatsSource;
use super::store::Store;

/// Longest wait for the answer of a switch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What everybody shares.
pub struct Hub {
    name: String,
    store: Arc<Store>,
    /// Whether a change of what exists must say which state of it is meant.
    strict: bool,
    /// Held by the one write that is under way.
    writing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// Wakes the clock when there is an appointment before the one that it sleeps for.
    wake: Notify,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
    /// The latest revision, for those who watch.
    revision: watch::Sender<u64>,
    closing: watch::Sender<bool>,
    stats: OnceLock<StatsSource>,
}

struct State {
    core: Controller,
    /// The appointment that the clock sleeps for, or will once it has seen it.
    alarm: Option<Instant>,
    declared: Declared,
    routers: Routers,
    connections: HashMap<ConnId, Connection>,
    last_conn: u64,
    waiting: HashMap<Token, oneshot::Sender<Result<Answer, RequestError>>>,
    /// Room for messages of one connection on their way to its outbox.
    lot: Vec<(Xid, Outgoing)>,
}

struct Connection {
    sender: Sender,
    peer: String,
}

impl Hub {
    /// A controller with the intents of its store, if there is one.
    ///
    /// # Errors
    /// A store that cannot be read, or whose intents contradict each other.
    pub fn new(spec: &ControllerSpec) -> anyhow::Result<Arc<Self>> {
        let ControllerSpec { name, store, strict, reactive, .. } = spec;
        let key = Key(rand::random(), rand::random());
        let store = match store {
            Some(path) => Store::at(path)?,
            None => Store::in_memory()?,
        };
        let declared = store.load()?;
        // Whoever was started last is the master: after a restart that is the living one.
        let master = Some(clock::unix_millis());
        let mut core = Controller::new(Config { master, reactive: *reactive, ..Config::new(key) });
        let intent = convert::intent_of(&declared.intents)?;
        if let Err(faults) = core.set_intent(clock::now(), intent) {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::bail!("the stored intents contradict each other: {}", faults.join("; "));
        }
        let revision = watch::Sender::new(declared.revision);
        let state = State {
            core,
            alarm: None,
            declared,
            routers: Routers::default(),
            connections: HashMap::new(),
            last_conn: 0,
            waiting: HashMap::new(),
            lot: Vec::new(),
        };
        let hub = Arc::new(Self {
            name: name.clone(),
            store: Arc::new(store),
            strict: *strict,
            writing: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
            wake: Notify::new(),
            changes: watch::Sender::new(0),
            revision,
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
        let is_sooner = state.sets_alarm();
        drop(state);
        if is_sooner {
            self.wake.notify_one();
        }
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
        result
    }

    /// Keeps the appointments of the core.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            let due = self.lock().next_alarm();
            tokio::select! {
                () = clock::sleep_until(due) => self.change(|state, now| state.core.handle_timeout(now)),
                () = self.wake.notified() => {}
            }
            if self.lock().guards_differ() {
                self.push_routers();
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
    pub fn connected(&self, peer: String, sender: Sender) -> ConnId {
        self.change(|state, now| {
            state.last_conn += 1;
            let conn = ConnId(state.last_conn);
            state.connections.insert(conn, Connection { sender, peer });
            state.core.handle_connected(now, conn);
            conn
        })
    }

    /// Messages of a switch, those that came together.
    pub fn messages(&self, conn: ConnId, messages: impl IntoIterator<Item = (Xid, Message)>) {
        self.change(|state, now| {
            for (xid, message) in messages {
                state.core.handle_message(now, conn, xid, message);
            }
        });
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
            Answer::Done | Answer::Message(_) => Err(Problem::internal("an answer of the wrong kind")),
        }
    }

    /// Sends a message that is answered by one message.
    ///
    /// # Errors
    /// Not connected, refused, or no answer in time.
    pub async fn exchange(&self, dpid: Dpid, message: Message) -> Result<Message, Problem> {
        self.wait_for(|core| core.exchange(dpid, message)).await.and_then(message_of)
    }

    /// Asks for a role at a switch; the role that the controller has now.
    ///
    /// # Errors
    /// Not connected, refused, or no answer in time.
    pub async fn ask_role(&self, dpid: Dpid, role: Role) -> Result<RoleRequest, Problem> {
        match self.wait_for(|core| core.ask_role(dpid, role)).await.and_then(message_of)? {
            Message::RoleReply(role) => Ok(role),
            _ => Err(Problem::internal("an answer of the wrong kind")),
        }
    }

    /// Sends changes and waits for the barrier behind them.
    ///
    /// # Errors
    /// Not connected, refused, or no answer in time.
    pub async fn send_changes(&self, dpid: Dpid, changes: Vec<Message>) -> Result<(), Problem> {
        self.wait_for(|core| core.send_changes(dpid, changes)).await.map(drop)
    }

    /// The same with flow mods.
    ///
    /// # Errors
    /// Not connected, refused, or no answer in time.
    pub async fn send_mods(&self, dpid: Dpid, mods: Vec<FlowMod>) -> Result<(), Problem> {
        self.send_changes(dpid, mods.into_iter().map(Message::FlowMod).collect()).await
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

    /// Changes intents, all or nothing; on disk before it is done.
    ///
    /// # Errors
    /// A condition that does not hold, the first contradiction, or that it cannot be stored.
    pub async fn write(self: &Arc<Self>, edit: Edit, origin: Origin) -> Result<Written, Problem> {
        // Whoever asks may go away halfway; what was begun is finished.
        let write = tokio::spawn(self.clone().write_to_the_end(edit, origin));
        write.await.map_err(|_| Problem::internal("a bug: see the log"))?
    }

    async fn write_to_the_end(self: Arc<Self>, edit: Edit, origin: Origin) -> Result<Written, Problem> {
        let _turn = self.writing.lock().await;
        let Prepared { revision, changes, edits } = self.lock().prepare(edit, self.strict)?;
        let changed: Vec<Label> = changes.iter().map(|change| change.intent.clone()).collect();
        if changed.is_empty() {
            return Ok(Written { revision, changed });
        }
        let Origin { by, request } = origin;
        let record = Revision { revision, at: clock::stamp(), by, request, changes };
        let record = self.in_store(move |store| store.commit(&record).map(|()| record)).await?;
        self.change(|state, now| {
            // They were checked, and no other write was under way since.
            state.core.adopt(now, edits);
            state.declared.apply(revision, &record.changes);
        });
        self.revision.send_replace(revision);
        if changed.iter().any(|label| label.kind == ResourceKind::Router) {
            self.push_routers();
        }
        Ok(Written { revision, changed })
    }

    /// What a write would do. Nothing is changed.
    ///
    /// # Errors
    /// As for the write itself, as far as the store has no say.
    pub fn forecast(&self, edit: Edit) -> Result<Forecast, Problem> {
        let mut state = self.lock();
        let prepared = state.prepare(edit, self.strict)?;
        let forecast = state.core.forecast(&state.core.intent().edited(prepared.edits));
        let forecast =
            forecast.map_err(|_| Problem::internal("an intent was refused that had been found sound"))?;
        Ok(convert::forecast_of(&state.core, forecast))
    }

    /// Asks the store, which may have to wait for the disk.
    ///
    /// # Errors
    /// What the store says.
    pub async fn in_store<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, super::store::StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&store)).await;
        asked.map_err(|_| Problem::internal("a bug: see the log"))?.map_err(Into::into)
    }

    /// Notes a write that changed no intent.
    pub async fn audit(&self, origin: Origin, what: String) {
        let Origin { by, request } = origin;
        let entry = AuditEntry { entry: 0, at: clock::stamp(), by, request, revision: None, what };
        if let Err(problem) = self.in_store(move |store| store.audit(entry)).await {
            tracing::error!(%problem, "a write was not noted in the audit log");
        }
    }

    /// What is declared at this moment.
    pub fn declared<T>(&self, read: impl FnOnce(&Declared) -> T) -> T {
        read(&self.lock().declared)
    }

    /// The latest revision, as it changes.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Who configures the routers of this process from now on.
    pub fn set_router_sink(self: &Arc<Self>, sink: RouterSink) {
        self.change(|state, _| {
            state.routers.sink = Some(sink);
            state.routers.forget_local();
        });
        self.push_routers();
    }

    /// Looks at the routers, or changes who speaks for them.
    pub fn routers<R>(&self, look: impl FnOnce(&mut Routers) -> R) -> R {
        look(&mut self.lock().routers)
    }

    fn push_routers(self: &Arc<Self>) {
        let (changes, sink) = {
            let mut state = self.lock();
            state.routers.guards = state.guards();
            let State { routers, declared: Declared { intents, .. }, .. } = &mut *state;
            if routers.sink.is_none() && intents.routers.values().all(|router| router.server.is_none()) {
                return;
            }
            let guarded = |(name, router): (&String, &Router)| {
                let guards = routers.guards.get(name).map(Vec::as_slice).unwrap_or_default();
                (name.clone(), routers::guarded(router, guards))
            };
            let wanted = intents.routers.iter().map(guarded).collect();
            (routers.changes(&wanted), routers.sink.clone())
        };
        for (change, server) in changes {
            tokio::spawn(routers::push(self.clone(), change, server, sink.clone()));
        }
    }

    /// Notes what became of a router's configuration.
    pub fn router_pushed(&self, router: &Router, result: Result<(), String>) {
        self.change(|state, _| state.routers.note(router, result));
    }

    /// An intent with its status, and the revision that changed it last.
    pub fn stored<K: Kind>(&self, name: &str) -> Option<(u64, Stored<K>)> {
        let state = self.lock();
        K::of(&state.declared.intents).get(name).map(|spec| state.stored(spec))
    }

    /// All intents of a kind that `wanted` asks for.
    pub fn list<K: Kind>(&self, wanted: impl Fn(&K) -> bool) -> Vec<Stored<K>> {
        let state = self.lock();
        let specs = K::of(&state.declared.intents).values().filter(|spec| wanted(spec));
        specs.map(|spec| state.stored(spec).1).collect()
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
            let mut specs = K::of(&state.declared.intents).values();
            specs.all(|spec| state.stored(spec).1.status.state == IntentState::Realised)
        }
        let state = self.lock();
        state.core.is_quiet()
            && all::<controller_api::Network>(&state)
            && all::<Router>(&state)
            && all::<controller_api::Function>(&state)
            && all::<controller_api::Chain>(&state)
            && all::<controller_api::Policy>(&state)
            && all::<controller_api::Qos>(&state)
            && all::<controller_api::Path>(&state)
            && all::<controller_api::Mirror>(&state)
            && all::<controller_api::Balancer>(&state)
            && all::<controller_api::Tenant>(&state)
    }
}

impl State {
    /// What a write would lead to.
    fn prepare(&mut self, edit: Edit, strict: bool) -> Result<Prepared, Problem> {
        let Self { core, declared, .. } = self;
        prepare(declared, edit, strict, |edits| core.check(edits))
    }

    /// Does what the core wants done.
    fn pump(&mut self) {
        // Messages for one connection follow each other: they go into its outbox together.
        let mut conn = None;
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Send { conn: to, xid, message } => {
                    if conn != Some(to) {
                        self.put(conn.replace(to));
                    }
                    self.lot.push((xid, message));
                }
                Effect::Close { conn: gone, reason } => {
                    self.put(conn.take());
                    if let Some(connection) = self.connections.remove(&gone) {
                        tracing::info!(peer = connection.peer, %reason, "closing the connection of a switch");
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
        self.put(conn);
    }

    /// Messages for one connection are complete. One that just ended takes none.
    fn put(&mut self, conn: Option<ConnId>) {
        match conn.and_then(|conn| self.connections.get(&conn)) {
            Some(connection) => connection.sender.put(&mut self.lot),
            None => self.lot.clear(),
        }
    }

    /// What the clock sleeps for from now on.
    fn next_alarm(&mut self) -> Option<Instant> {
        self.alarm = self.core.poll_timeout();
        self.alarm
    }

    /// Whether the clock must be woken because it sleeps for too long. For a later appointment it need not be: it finds
    /// nothing to do and looks again.
    fn sets_alarm(&mut self) -> bool {
        let due = self.core.poll_timeout();
        let is_sooner = due.is_some_and(|due| self.alarm.is_none_or(|alarm| due < alarm));
        if is_sooner {
            self.alarm = due;
        }
        is_sooner
    }

    fn stored<K: Kind>(&self, spec: &K) -> (u64, Stored<K>) {
        let label = Label { kind: K::KIND, name: spec.name().to_owned() };
        let mut status = convert::status_of(self.core.status(&label.to_string()), self.core.view());
        if K::KIND == ResourceKind::Router
            && let Some(router) = self.declared.intents.routers.get(spec.name())
        {
            self.add_router(&mut status, router);
        }
        if K::KIND == ResourceKind::Policy {
            self.add_guards(&mut status, spec.name());
        }
        let revision = self.declared.revisions.get(&label).copied().unwrap_or(0);
        (revision, Stored { spec: spec.clone(), status })
    }

    /// What policies that keep state ask of routers.
    fn guards(&self) -> BTreeMap<String, Vec<Guard>> {
        let lanes = self.core.lanes();
        let names = lanes.placed.values().flat_map(|placed| &placed.routers);
        names.map(|name| (name.clone(), lanes.guards(name))).collect()
    }

    /// Whether they ask for something else than what was pushed.
    fn guards_differ(&self) -> bool {
        let is_without = self.core.lanes().placed.is_empty() && self.routers.guards.is_empty();
        !is_without && self.routers.guards != self.guards()
    }

    fn add_router(&self, status: &mut Status, router: &Router) {
        // Without anybody to configure it, the router is somebody else's affair.
        if self.routers.sink.is_none() && router.server.is_none() {
            return;
        }
        let guards = self.core.lanes().guards(&router.name);
        let (state, reason) = self.routers.state(&routers::guarded(router, &guards));
        add(status, state, reason);
    }

    /// How far routers are with a policy that keeps state.
    fn add_guards(&self, status: &mut Status, policy: &str) {
        let Some(placed) = self.core.lanes().placed.get(policy) else { return };
        for at in self.core.lanes().nameless_ends(policy) {
            let at = convert::port_ref(self.core.view(), at);
            add(status, IntentState::Pending, Some(format!("nobody at {at} is known by an IP address yet")));
        }
        for router in placed.routers.iter().filter_map(|name| self.declared.intents.routers.get(name)) {
            if self.routers.sink.is_none() && router.server.is_none() {
                let reason = format!("router {:?} has no `server`: nobody here configures it", router.name);
                add(status, IntentState::Failed, Some(reason));
            }
            self.add_router(status, router);
        }
    }
}

/// Something that has a part in an intent is no further than this.
fn add(status: &mut Status, state: IntentState, reason: Option<String>) {
    status.state = status.state.max(state);
    if let Some(reason) = reason {
        let before = status.reason.take().map(|before| format!("{before}; ")).unwrap_or_default();
        status.reason = Some(format!("{before}{reason}"));
    }
}

fn message_of(answer: Answer) -> Result<Message, Problem> {
    match answer {
        Answer::Message(message) => Ok(*message),
        Answer::Done | Answer::Reply(_) => Err(Problem::internal("an answer of the wrong kind")),
    }
}

fn log(event: &Event) {
    match event {
        Event::Refused { dpid, label, error } => {
            tracing::warn!(%dpid, label, error, "a switch refuses a flow")
        }
        Event::Drifted(dpid, n) => tracing::warn!(%dpid, n, "somebody else changed flows of the controller"),
        Event::Demoted(dpid) => tracing::warn!(%dpid, "another controller is the master of a switch"),
        Event::SwitchUp(dpid) => tracing::info!(%dpid, "a switch is there"),
        Event::SwitchDown(dpid) => tracing::warn!(%dpid, "a switch lost its connection"),
        Event::SwitchRetired(dpid) => tracing::warn!(%dpid, "a switch is given up"),
        other => tracing::debug!(?other),
    }
}
