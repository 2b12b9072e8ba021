//! Carrying out the operations of a topology, and taking everything back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use controller_api::client::Client;
use netio::link::{self, Netlink};
use netio::netns::Namespace;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use topology::{Device, Interface, Layout, Model, NodeKind, Operation, Program, Switch, Vm};

use super::clock::Deadline;
use super::engines::Engines;
use super::intents;
use super::journal::{self, Journal, MARK, Record};
use super::place::{self, Phase, State};
use super::process::ProcessId;
use super::report::Event;
use super::split;
use super::vm::{self, Agent};
use crate::switchd::queues_of_request;

/// How a lab is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its topology.
    pub model: Arc<Model>,
    /// The text it was read from, kept beside the lab for later commands.
    pub text: String,
    /// The file as the user wrote it.
    pub file: String,
    /// Where relative paths of the file start.
    pub folder: PathBuf,
    /// One process or several.
    pub layout: Layout,
    /// Where the REST API is served over TCP, in order of preference; none: only on the unix socket.
    pub rest: Vec<SocketAddr>,
    /// Whether this happens in a user namespace of its own.
    pub userns: bool,
}

/// A lab that is up, or on its way up or down.
pub struct Lab {
    dir: PathBuf,
    journal: Arc<Mutex<Journal>>,
    state: State,
    /// The engines of this process; none when they are processes of their own.
    engines: Option<Engines>,
    /// Where switches connect to a controller that is a process of its own.
    openflow: Option<SocketAddr>,
    children: BTreeMap<String, Child>,
}

/// Whether the user has given up. A terminal tells all processes of a lab at once, so a child may be seen to end first.
async fn was_interrupted(cancel: &CancellationToken) -> bool {
    const MOMENT: std::time::Duration = std::time::Duration::from_millis(200);
    tokio::time::timeout(MOMENT, cancel.cancelled()).await.is_ok()
}

/// Refuses what cannot be built, before anything is made.
pub fn check(model: &Model) -> anyhow::Result<()> {
    for node in &model.nodes {
        if let NodeKind::Vm(vm) = &node.kind {
            vm::check(&node.name, vm)?;
        }
    }
    for link in &model.links {
        queues_of_request(&link.queues).check().with_context(|| {
            let end = |end: &topology::End| format!("{}:{}", model.nodes[end.node].name, end.port);
            format!("link {} -- {}", end(&link.a), end(&link.b))
        })?;
    }
    let existing = Namespace::list().context("cannot list the network namespaces")?;
    for node in model.nodes.iter().filter(|node| node.has_namespace()) {
        let namespace = model.namespace(&node.name);
        if existing.contains(&namespace) {
            bail!(
                "a network namespace named {namespace} exists already and belongs to no lab of this run directory; give this lab another name with `--name`, or, if nobody uses it, remove it with `ip netns del {namespace}`"
            );
        }
    }
    Ok(())
}

impl Lab {
    /// Builds a lab in `dir`, which is reserved for it. When anything fails, or `cancel` is called, everything that was
    /// made is gone again when this returns.
    pub async fn bring_up(
        plan: &Plan,
        dir: PathBuf,
        cancel: &CancellationToken,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> anyhow::Result<Self> {
        let mut lab = match Self::begin(plan, dir.clone()) {
            Ok(lab) => lab,
            Err(error) => {
                place::release(&dir)?;
                return Err(error);
            }
        };
        match lab.build(plan, cancel, tell).await {
            Ok(()) => Ok(lab),
            Err(error) => {
                let problems = lab.take_down().await;
                if problems.is_empty() {
                    Err(error)
                } else {
                    Err(error.context(format!("and this could not be taken back: {}", problems.join("; "))))
                }
            }
        }
    }

    fn begin(plan: &Plan, dir: PathBuf) -> anyhow::Result<Self> {
        let write = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).with_context(|| format!("cannot write {}", dir.display()))
        };
        write("topology.yaml", &plan.text)?;
        let journal = Journal::create(&journal::path(&dir)).context("cannot begin the journal")?;
        let state = State {
            lab: plan.model.name.clone(),
            process: ProcessId::own().context("/proc does not show this process")?,
            phase: Phase::Starting,
            file: plan.file.clone(),
            folder: plan.folder.clone(),
            split: plan.layout == Layout::Split,
            userns: plan.userns,
            rest: None,
            nodes: BTreeMap::new(),
        };
        state.save(&dir)?;
        let journal = Arc::new(Mutex::new(journal));
        Ok(Self { dir, journal, state, engines: None, openflow: None, children: BTreeMap::new() })
    }

    async fn build(
        &mut self,
        plan: &Plan,
        cancel: &CancellationToken,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> anyhow::Result<()> {
        let operations = topology::plan(&plan.model, plan.layout);
        let total = operations.len() + 3;
        let mut done = 0;
        let mut step = |text: String| {
            tell(Event::Step { done, total, text });
            done += 1;
        };
        for operation in &operations {
            if cancel.is_cancelled() {
                bail!("interrupted");
            }
            step(operation.to_string());
            let done = self.carry_out(plan, operation).await;
            if done.is_err() && was_interrupted(cancel).await {
                bail!("interrupted");
            }
            done.with_context(|| format!("cannot {operation}"))?;
        }
        self.set_queues(&plan.model).await?;
        let client = self.client();
        let waits = async {
            step("wait for the switches".to_owned());
            intents::wait_switches(&client, &plan.model).await?;
            step("write the intents".to_owned());
            let routers = split::servers(&plan.model, &self.dir, plan.layout);
            intents::write(&client, &plan.model, &routers).await?;
            intents::wait_realised(&client, &plan.model).await
        };
        tokio::select! {
            result = waits => result?,
            () = cancel.cancelled() => bail!("interrupted"),
        }
        step("wait for functions and guests".to_owned());
        self.wait_guests(&plan.model, cancel).await?;
        self.check_children()?;
        self.state.phase = Phase::Running;
        self.state.save(&self.dir)
    }

    /// Tells each switch the rates and queues of its ports; once both ends of every link are there.
    async fn set_queues(&self, model: &Model) -> anyhow::Result<()> {
        for link in model.links.iter().filter(|link| !link.queues.is_empty()) {
            for end in [&link.a, &link.b] {
                let node = &model.nodes[end.node];
                if let (NodeKind::Switch(_), Some(number)) = (&node.kind, end.number) {
                    let client = Client::unix(self.dir.join(split::socket(&node.name)));
                    let set = client.set_queues(&node.name, number, &link.queues).await;
                    set.with_context(|| format!("cannot set the queues of {}:{number}", node.name))?;
                }
            }
        }
        Ok(())
    }

    /// A client of the lab's own API.
    pub fn client(&self) -> Client {
        Client::unix(self.dir.join("api.sock"))
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Until the user has given up: says of which nodes the processes end before that.
    pub async fn watch(&mut self, cancel: &CancellationToken) -> anyhow::Result<()> {
        let mut child_ended = signal(SignalKind::child())?;
        let mut told = BTreeSet::new();
        loop {
            for (node, child) in &mut self.children {
                let Some(status) = child.try_wait()? else { continue };
                if !told.contains(node) && !was_interrupted(cancel).await {
                    tracing::error!(lab = self.state.lab, node, %status, "the process of a node has ended");
                    told.insert(node.clone());
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                _ = child_ended.recv() => {}
            }
        }
    }

    /// What it tells about itself.
    pub fn state(&self) -> &State {
        &self.state
    }

    async fn carry_out(&mut self, plan: &Plan, operation: &Operation) -> anyhow::Result<()> {
        if let Some(resource) = operation.resource() {
            self.note(&Record::Make(resource))?;
        }
        match operation {
            Operation::CreateNamespace { namespace } => {
                create_namespace(namespace.clone(), has_ipv6(&plan.model)).await
            }
            Operation::CreateVeth { a, b, mtu } => create_veth(a.clone(), b.clone(), *mtu).await,
            // Opening the port makes the device; its name stands in the journal from here on.
            Operation::CreateTap { .. } => Ok(()),
            Operation::StartController => self.start_controller(plan).await,
            Operation::StartSwitch { name, dpid, fail_mode, protocols } => {
                let switch = Switch { dpid: *dpid, fail_mode: *fail_mode, protocols: protocols.clone() };
                match self.engines.as_mut() {
                    Some(engines) => engines.start_switch(name, &switch).await,
                    None => self.start_process(name, split::switch(name, &switch, self.openflow)?).await,
                }
            }
            Operation::StartRouter { name } => match self.engines.as_mut() {
                Some(engines) => engines.start_router(name).await,
                None => self.start_process(name, split::router(name)?).await,
            },
            Operation::AddPort { engine, number, name, spec } => match self.engines.as_mut() {
                Some(engines) => engines.add_port(engine, *number, name, spec).await,
                None => split::add_port(&plan.model, &self.dir, engine, *number, name, spec).await,
            },
            Operation::JoinEngines { a, b, .. } => {
                let engines = self.engines.as_mut().context("only engines of one process are joined")?;
                engines.add_port(&a.0, a.1, &a.2, &format!("link:{}/{}", b.0, b.2)).await?;
                engines.add_port(&b.0, b.1, &b.2, &format!("link:{}/{}", a.0, a.2)).await
            }
            Operation::Configure { namespace, interface } => {
                configure(namespace.clone(), interface.clone()).await
            }
            Operation::AddRoute { namespace, route } => add_route(namespace.clone(), *route).await,
            Operation::StartFunction { node, namespace, program } => {
                self.start_function(node, namespace, program)
            }
            Operation::StartVm { node, vm, taps } => self.start_vm(node, vm, taps),
        }
    }

    async fn start_controller(&mut self, plan: &Plan) -> anyhow::Result<()> {
        if plan.layout == Layout::Split {
            self.start_process("controller", split::controller(&plan.rest)?).await?;
            let places = split::places(&self.dir.join("controller.log")).await?;
            (self.openflow, self.state.rest) = (Some(places.openflow), Some(places.rest));
        } else {
            let engines = Engines::start(&plan.model.name, &self.dir, &plan.rest).await?;
            self.state.rest = engines.rest_addr();
            self.engines = Some(engines);
        }
        self.state.save(&self.dir)
    }

    /// Starts a daemon of the lab and waits until it answers on its socket.
    async fn start_process(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let path = self.dir.join(format!("{name}.log"));
        let log = std::fs::File::create(&path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.env("WEFT_RUN_DIR", &self.dir);
        self.spawn(name, command, None)?;
        let socket = self.dir.join(split::socket(name));
        let child = self.children.get_mut(name).context("it was just started")?;
        split::wait_answers(&socket, || {
            Ok(child.try_wait()?.map(|status| format!("{status}: {}", last_line(&path))))
        })
        .await
    }

    fn note(&self, record: &Record) -> anyhow::Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.write(record).context("cannot write the journal")
    }

    fn start_function(&mut self, node: &str, namespace: &str, program: &Program) -> anyhow::Result<()> {
        let mut command = match program {
            Program::Exec(words) => {
                let (program, args) = words.split_first().context("the function names no program")?;
                let mut command = Command::new(program);
                command.args(args);
                command
            }
            Program::BuiltIn { function, rules } => {
                let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
                command.args(["function", &format!("{function:?}").to_lowercase()]);
                command.args(["--in", "in", "--out", "out", "--report"]);
                command.arg(self.dir.join(format!("{node}.report")));
                command.args(rules.iter().flat_map(|rule| ["--rule", rule]));
                command
            }
        };
        let log = std::fs::File::create(self.dir.join(format!("{node}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let namespace = Namespace::open(namespace)?;
        self.spawn(node, command, Some(&namespace))
    }

    fn start_vm(&mut self, node: &str, vm: &Vm, taps: &[String]) -> anyhow::Result<()> {
        let command = vm::command(&self.dir, node, vm, taps)?;
        self.spawn(node, command, None)
    }

    /// Starts a process of a node. It carries the journal's mark, so it is found even if this process dies right now.
    fn spawn(&mut self, node: &str, mut command: Command, inside: Option<&Namespace>) -> anyhow::Result<()> {
        let mark = self.journal.lock().unwrap_or_else(PoisonError::into_inner).mark().to_owned();
        command.env(MARK, mark);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = match inside {
            Some(namespace) => namespace.run(|| command.spawn())?,
            None => command.spawn(),
        };
        let child = child.with_context(|| format!("cannot start {program}"))?;
        let id = ProcessId::of(child.id());
        self.children.insert(node.to_owned(), child);
        // A process that has ended already is reported by the check of all.
        if let Some(id) = id {
            self.note(&Record::Process { id, name: node.to_owned() })?;
            self.state.nodes.insert(node.to_owned(), id);
        }
        self.state.save(&self.dir)
    }

    /// Waits until every guest has booted.
    async fn wait_guests(&mut self, model: &Model, cancel: &CancellationToken) -> anyhow::Result<()> {
        let deadline = Deadline::after(vm::BOOT);
        let guests = model.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Vm(_)));
        let mut waits = tokio::task::JoinSet::new();
        for node in guests {
            let (dir, name, cancel) = (self.dir.clone(), node.name.clone(), cancel.clone());
            let process = self.state.nodes.get(&name).copied();
            waits.spawn_blocking(move || {
                let gone = || {
                    let ended = process.is_none_or(|id| !id.is_alive());
                    if cancel.is_cancelled() {
                        Some("interrupted".to_owned())
                    } else if ended {
                        Some(format!("QEMU has ended: {}", last_line(&dir.join(format!("{name}.qemu.log")))))
                    } else {
                        None
                    }
                };
                let soon = Deadline::after(std::time::Duration::from_secs(10));
                match Agent::connect(&dir, &name, soon) {
                    Ok(mut agent) => agent.wait_ready(deadline, gone),
                    Err(error) => bail!("{}", gone().unwrap_or(format!("{error:#}"))),
                }
            });
        }
        while let Some(result) = waits.join_next().await {
            result.context("the wait for a guest broke off")??;
        }
        Ok(())
    }

    /// Refuses a lab one of whose processes has ended already.
    fn check_children(&mut self) -> anyhow::Result<()> {
        for (node, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                let log = last_line(&self.dir.join(format!("{node}.log")));
                bail!("the process of {node} has ended with {status}: {log}");
            }
        }
        Ok(())
    }

    /// Takes everything back; what could not be, for people.
    pub async fn take_down(mut self) -> Vec<String> {
        self.state.phase = Phase::Stopping;
        let mut problems = Vec::new();
        problems.extend(self.state.save(&self.dir).err().map(|error| format!("{error:#}")));
        let mut children = std::mem::take(&mut self.children);
        let dir = self.dir.clone();
        let ended = tokio::task::spawn_blocking(move || {
            for child in children.values() {
                if let Some(id) = ProcessId::of(child.id()) {
                    id.signal(nix::sys::signal::Signal::SIGTERM);
                }
            }
            for child in children.values_mut() {
                if let Some(id) = ProcessId::of(child.id()) {
                    id.end();
                }
                // Reaped: no zombie stays as long as this process lives.
                let _ = child.wait();
            }
        });
        problems.extend(ended.await.err().map(|error| error.to_string()));
        if let Some(engines) = self.engines.take() {
            engines.stop().await;
        }
        let taken = tokio::task::spawn_blocking(move || {
            let mut problems = match journal::read(&journal::path(&dir)) {
                Ok(records) => journal::take_back(&records),
                Err(error) => vec![format!("cannot read the journal: {error}")],
            };
            if problems.is_empty() {
                problems.extend(place::release(&dir).err().map(|error| format!("{error:#}")));
            }
            problems
        });
        match taken.await {
            Ok(list) => problems.extend(list),
            Err(error) => problems.push(error.to_string()),
        }
        problems
    }
}

/// The last line of a log that says something.
fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("its log is empty").to_owned()
}

fn has_ipv6(model: &Model) -> bool {
    let hosts = model.nodes.iter().flat_map(|node| node.interfaces().iter().flat_map(|i| &i.addresses));
    hosts.copied().any(|cidr| cidr.addr().is_ipv6())
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(f).await.context("a blocking call was cut short")?
}

async fn create_namespace(name: String, ipv6: bool) -> anyhow::Result<()> {
    blocking(move || {
        let namespace = Namespace::create(&name)?;
        if !ipv6 {
            // Without IPv6 addresses its chatter is only noise. A kernel without IPv6 has no such setting.
            let _ = netio::set_sysctl(Some(&namespace), "net/ipv6/conf/default/disable_ipv6", "1");
        }
        Ok(())
    })
    .await
}

async fn create_veth(a: Device, b: Device, mtu: u32) -> anyhow::Result<()> {
    blocking(move || {
        let first = a.namespace.as_deref().map(Namespace::open).transpose()?;
        let second = b.namespace.as_deref().map(Namespace::open).transpose()?;
        // Both ends may be called eth0, so the far one has a passing name until it is in its place. It is made where
        // the near one is: if this process dies now, it goes with that.
        let passing = format!("wv{:08x}", rand::random::<u32>());
        let far = if second.is_some() { &passing } else { &b.name };
        link::blocking(first.as_ref(), async |netlink: Netlink| {
            netlink.add_veth(&a.name, far).await?;
            if let Some(namespace) = &second {
                netlink.move_to(far, namespace, &b.name).await?;
            }
            dress(&netlink, &a, mtu).await
        })?;
        link::blocking(second.as_ref(), async |netlink: Netlink| dress(&netlink, &b, mtu).await)?;
        Ok(())
    })
    .await
}

/// MTU and address; up where nothing else brings it up.
async fn dress(netlink: &Netlink, device: &Device, mtu: u32) -> Result<(), link::LinkError> {
    netlink.set_mtu(&device.name, mtu).await?;
    if let Some(mac) = device.mac {
        netlink.set_mac(&device.name, mac).await?;
    }
    if device.namespace.is_none() { netlink.set_up(&device.name).await } else { Ok(()) }
}

async fn configure(namespace: String, interface: Interface) -> anyhow::Result<()> {
    blocking(move || {
        let namespace = Namespace::open(&namespace)?;
        link::blocking(Some(&namespace), async |netlink: Netlink| {
            let present = netlink.link(&interface.name).await?;
            if present.mtu != interface.mtu {
                netlink.set_mtu(&interface.name, interface.mtu).await?;
            }
            if present.mac != interface.mac {
                netlink.set_mac(&interface.name, interface.mac).await?;
            }
            for cidr in &interface.addresses {
                netlink.add_address(&interface.name, cidr.addr(), cidr.prefix_len()).await?;
            }
            netlink.set_up(&interface.name).await
        })?;
        Ok(())
    })
    .await
}

async fn add_route(namespace: String, route: topology::Route) -> anyhow::Result<()> {
    blocking(move || {
        let namespace = Namespace::open(&namespace)?;
        let to = (route.to.0.trunc().addr(), route.to.prefix_len());
        let route = link::Route { to, via: Some(route.via), dev: None };
        link::blocking(Some(&namespace), async |netlink: Netlink| netlink.add_route(&route).await)?;
        Ok(())
    })
    .await
}
