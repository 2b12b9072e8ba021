//! The controller is killed and started again while the switches keep their flows: the time until it has found all of them
//! as they are to be, and how many flow mods it sent for that. Controller and switches are processes of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use controller_api::client::{Client, Server};
use controller_api::{Declaration, Health, Network, Written};
use serde::Serialize;

use super::DEADLINE;
use super::declared::networks;
use super::fleet::{Fleet, Shape};

/// Between two questions how far it is.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Serialize)]
struct Outcome {
    switches: u16,
    spines: u16,
    hosts: u32,
    /// Flow mods that it took to install everything: as many flows there are.
    flows: u64,
    /// From the end of the first process until the second has found everything as it is to be, in seconds.
    reconciled: f64,
    /// Flow mods that the second sent for that.
    flow_mods: u64,
}

/// Measures and prints.
pub fn run(n_hosts: u32, shape: Shape, json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(measure(n_hosts, shape))?;
    runtime.shutdown_background();
    if json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        let Outcome { switches, spines, hosts, flows, reconciled, flow_mods } = outcome;
        println!("{switches} switches, {spines} of them spines, {hosts} hosts, {flows} flows");
        println!("killed and started again: reconciled in {reconciled:.2} s with {flow_mods} flow mods");
    }
    Ok(ExitCode::SUCCESS)
}

/// A folder that goes with this.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("weft-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in a folder for what may be left.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A controller that is killed with this.
struct Controller(Child);

impl Controller {
    fn start(folder: &Path, openflow: SocketAddr, rest: SocketAddr) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["controller", "--openflow", &format!("tcp:{openflow}"), "--rest", &rest.to_string()]);
        command.arg("--store").arg(folder.join("store")).env("WEFT_RUN_DIR", folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().context("cannot start the controller")?))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // SIGKILL: nothing is said to anybody.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(n_hosts: u32, shape: Shape) -> anyhow::Result<Outcome> {
    let folder = Folder::new()?;
    let (openflow, rest) = (free_place()?, free_place()?);
    let first = Controller::start(&folder.0, openflow, rest)?;
    let fleet = Fleet::start(shape, openflow, true);
    let client = Client::new(Server::Tcp(rest.to_string()));
    is_reconciled(&client, shape).await?;
    let networks: Vec<Network> = networks(n_hosts, shape);
    let declaration = Declaration { networks, ..Declaration::default() };
    client.put::<_, Written>("/api/v1/intents", &declaration).await?;
    is_reconciled(&client, shape).await?;
    let flows = fleet.n_mods.load(Ordering::Relaxed);

    drop(first);
    let killed = Instant::now();
    let _second = Controller::start(&folder.0, openflow, rest)?;
    is_reconciled(&client, shape).await?;
    let reconciled = killed.elapsed().as_secs_f64();
    let flow_mods = fleet.n_mods.load(Ordering::Relaxed) - flows;
    let Shape { n_switches: switches, n_spines: spines, .. } = shape;
    Ok(Outcome { switches, spines, hosts: n_hosts, flows, reconciled, flow_mods })
}

/// Waits until every switch is there and holds what is wanted.
async fn is_reconciled(client: &Client, shape: Shape) -> anyhow::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let health = client.get::<Health>("/api/v1/health").await;
        if health.is_ok_and(|health| health.detail.is_none()) {
            let switches = client.switches().await?;
            if switches.len() == usize::from(shape.n_switches) {
                return Ok(());
            }
        }
        ensure!(Instant::now() < deadline, "not everything is realised after two minutes");
        tokio::time::sleep(PAUSE).await;
    }
}

fn free_place() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
