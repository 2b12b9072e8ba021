//! Many switches: a leaf-spine, or each by itself. They connect over TCP, again and again if need be.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::switch::Switch;

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(10);

/// Which switches there are. Spines have the lowest numbers, and port n of a spine leads to leaf n; the first ports of a leaf
/// lead to the spines, hosts are at those behind. Without spines no switch is linked to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Switches in all.
    pub n_switches: u16,
    /// How many of them are spines.
    pub n_spines: u16,
    /// Ports for hosts of each leaf.
    pub n_ports: u32,
}

impl Shape {
    /// How many switches have hosts.
    pub fn n_leaves(self) -> u16 {
        self.n_switches.saturating_sub(self.n_spines)
    }

    /// The number of leaf `nth`, from zero on.
    pub fn leaf(self, nth: u16) -> u64 {
        u64::from(self.n_spines) + u64::from(nth) + 1
    }

    /// Port `nth` for hosts of a leaf, from zero on.
    pub fn host_port(self, nth: u32) -> u32 {
        u32::from(self.n_spines) + nth + 1
    }

    /// The link between a spine and a leaf, both from zero on: its two ends.
    pub fn link(self, spine: u16, leaf: u16) -> [(u64, u32); 2] {
        [(u64::from(spine) + 1, u32::from(leaf) + 1), (self.leaf(leaf), u32::from(spine) + 1)]
    }

    fn is_spine(self, dpid: u64) -> bool {
        dpid <= u64::from(self.n_spines)
    }

    fn ports(self, dpid: u64) -> u32 {
        if self.is_spine(dpid) { self.n_leaves().into() } else { u32::from(self.n_spines) + self.n_ports }
    }

    /// The other end of a link.
    fn peer(self, dpid: u64, port: u32) -> Option<(u64, u32)> {
        let spines = u32::from(self.n_spines);
        if self.is_spine(dpid) {
            let leaf = u64::from(spines) + u64::from(port);
            Some((leaf, u32::try_from(dpid).ok()?))
        } else {
            let leaf = u32::try_from(dpid).ok()?.checked_sub(spines)?;
            (port <= spines).then_some((port.into(), leaf))
        }
    }
}

/// What happens to a switch beside its connection.
#[derive(Debug)]
enum Input {
    Frame { port: u32, frame: Vec<u8> },
    Link { port: u32, is_up: bool },
}

/// The links between switches.
#[derive(Debug, Clone)]
pub struct Wires {
    shape: Shape,
    inboxes: Arc<[mpsc::UnboundedSender<Input>]>,
}

impl Wires {
    fn inbox(&self, dpid: u64) -> Option<&mpsc::UnboundedSender<Input>> {
        self.inboxes.get(usize::try_from(dpid).ok()?.checked_sub(1)?)
    }

    fn carry(&self, dpid: u64, port: u32, frame: Vec<u8>) {
        if let Some((peer, port)) = self.shape.peer(dpid, port)
            && let Some(inbox) = self.inbox(peer)
        {
            // A switch that has ended takes nothing.
            let _ = inbox.send(Input::Frame { port, frame });
        }
    }

    /// A port loses its link, or has it again.
    pub fn set_link(&self, (dpid, port): (u64, u32), is_up: bool) {
        if let Some(inbox) = self.inbox(dpid) {
            let _ = inbox.send(Input::Link { port, is_up });
        }
    }
}

/// Switches as tasks of this process.
pub struct Fleet {
    tasks: tokio::task::JoinSet<()>,
    /// Their links.
    pub wires: Wires,
    /// Flow mods that they took.
    pub n_mods: Arc<AtomicU64>,
}

impl Fleet {
    /// Starts them. With `again` they connect anew whenever a connection ends.
    pub fn start(shape: Shape, controller: SocketAddr, again: bool) -> Self {
        let (inboxes, outlets): (Vec<_>, Vec<_>) =
            (0..shape.n_switches).map(|_| mpsc::unbounded_channel()).unzip();
        let wires = Wires { shape, inboxes: inboxes.into() };
        let n_mods = Arc::new(AtomicU64::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for (dpid, mut inbox) in (1..).zip(outlets) {
            let (wires, n_mods) = (wires.clone(), n_mods.clone());
            tasks.spawn(async move {
                let mut switch = Switch::new(dpid, shape.ports(dpid));
                loop {
                    if let Ok(stream) = TcpStream::connect(controller).await {
                        let _ = stream.set_nodelay(true);
                        let mut at = Attached { switch: &mut switch, inbox: &mut inbox, wires: &wires, dpid };
                        at.serve(stream, &n_mods).await;
                    }
                    if !again {
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            });
        }
        Self { tasks, wires, n_mods }
    }

    /// Until the last has lost its connection for good.
    pub async fn end(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A switch by itself, over whatever it is given.
pub async fn serve_alone<S: AsyncRead + AsyncWrite + Unpin>(pipe: S, dpid: u64, n_ports: u32) {
    let shape = Shape { n_switches: 0, n_spines: 0, n_ports: 0 };
    let wires = Wires { shape, inboxes: Arc::new([]) };
    let (_inlet, mut inbox) = mpsc::unbounded_channel();
    let mut switch = Switch::new(dpid, n_ports);
    let mut at = Attached { switch: &mut switch, inbox: &mut inbox, wires: &wires, dpid };
    at.serve(pipe, &AtomicU64::new(0)).await;
}

/// A switch among others.
struct Attached<'a> {
    switch: &'a mut Switch,
    inbox: &'a mut mpsc::UnboundedReceiver<Input>,
    wires: &'a Wires,
    dpid: u64,
}

impl Attached<'_> {
    /// Until the connection ends.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut stream: S, n_mods: &AtomicU64) {
        let mut bytes = vec![0; 1 << 16];
        self.switch.connect();
        loop {
            for sent in self.switch.sent.drain(..) {
                self.wires.carry(self.dpid, sent.port, sent.frame);
            }
            n_mods.fetch_add(std::mem::take(&mut self.switch.n_mods), Ordering::Relaxed);
            if !self.switch.output.is_empty() {
                if stream.write_all(&self.switch.output).await.is_err() {
                    return;
                }
                self.switch.output.clear();
            }
            tokio::select! {
                read = stream.read(&mut bytes) => match read {
                    Ok(n) if n > 0 => self.switch.handle(&bytes[..n]),
                    _ => return,
                },
                Some(input) = self.inbox.recv() => {
                    self.happens(input);
                    while let Ok(input) = self.inbox.try_recv() {
                        self.happens(input);
                    }
                }
            }
        }
    }

    fn happens(&mut self, input: Input) {
        match input {
            Input::Frame { port, frame } => self.switch.frame_in(port, &frame),
            Input::Link { port, is_up } => self.switch.set_link(port, is_up),
        }
    }
}

/// Arguments of the process that is the switches.
#[derive(Debug, clap::Args)]
pub struct SwitchesArgs {
    /// The controller.
    #[arg(long)]
    controller: SocketAddr,
    /// How many.
    #[arg(long)]
    switches: u16,
    /// How many of them are spines.
    #[arg(long, default_value_t = 0)]
    spines: u16,
    /// Ports for hosts of each of the others.
    #[arg(long)]
    ports: u32,
}

/// Is switches, until they are not connected any more. Lines of the standard input, `DPID PORT up` or `DPID PORT down`,
/// change links.
pub fn run_switches(args: &SwitchesArgs) -> anyhow::Result<ExitCode> {
    let shape = Shape { n_switches: args.switches, n_spines: args.spines, n_ports: args.ports };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut fleet = Fleet::start(shape, args.controller, false);
        let wires = fleet.wires.clone();
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if let Some((at, is_up)) = order(&line) {
                    wires.set_link(at, is_up);
                }
            }
        });
        fleet.end().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn order(line: &str) -> Option<((u64, u32), bool)> {
    let mut words = line.split(' ');
    let (dpid, port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(((dpid, port), words.next()? == "up"))
}

/// Switches that are a process of their own, and end with this.
pub struct Process {
    child: std::process::Child,
}

impl Process {
    /// Starts it.
    pub fn start(shape: Shape, controller: SocketAddr) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "switches", "--controller", &controller.to_string()]);
        command.arg(format!("--switches={}", shape.n_switches));
        command.arg(format!("--spines={}", shape.n_spines)).arg(format!("--ports={}", shape.n_ports));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Ok(Self { child: command.spawn().context("cannot start the switches")? })
    }

    /// Both ends of a link lose it, or have it again.
    pub fn set_link(&mut self, ends: [(u64, u32); 2], is_up: bool) -> anyhow::Result<()> {
        let word = if is_up { "up" } else { "down" };
        let lines: String = ends.iter().map(|(dpid, port)| format!("{dpid} {port} {word}\n")).collect();
        let stdin = self.child.stdin.as_mut().context("the switches take orders")?;
        Ok(stdin.write_all(lines.as_bytes())?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_has_two_ends() {
        let shape = Shape { n_switches: 6, n_spines: 2, n_ports: 3 };
        for (spine, leaf) in (0..2).flat_map(|spine| (0..4).map(move |leaf| (spine, leaf))) {
            let [a, b] = shape.link(spine, leaf);
            assert_eq!((shape.peer(a.0, a.1), shape.peer(b.0, b.1)), (Some(b), Some(a)));
        }
        assert_eq!((shape.ports(1), shape.ports(3)), (4, 5));
        assert_eq!(shape.peer(shape.leaf(0), shape.host_port(0)), None);
    }

    #[test]
    fn orders_are_read() {
        assert_eq!(order("3 1 down"), Some(((3, 1), false)));
        assert_eq!(order("3 1 up"), Some(((3, 1), true)));
        assert_eq!(order("3"), None);
    }
}
