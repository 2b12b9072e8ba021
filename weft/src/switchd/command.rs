//! `weft switch`: one switch as a daemon.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use netio::PortSpec;
use openflow::{Dpid, Version};
use packet::PortNo;
use vswitch::FailMode;

use super::packet_in::{self, RateArg};
use super::{ChannelConfig, SwitchHandle, SwitchSpec, Target, start};
use crate::channel::{self, TlsFiles};
use crate::observe::serve_metrics;
use crate::plane::{Plane, WorkerArgs};
use crate::service::{begin_daemon, daemon_name, run_dir, signals};

/// One switch as a daemon.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the switch: controllers see it, and its unix socket is NAME.sock in the run directory.
    #[arg(long, default_value = "s1", value_parser = daemon_name)]
    name: String,
    /// Datapath id: 16 hexadecimal digits, or a number.
    #[arg(long, default_value = "1", value_parser = dpid_arg)]
    dpid: Dpid,
    /// A port: NUMBER=WHAT, such as 1=tap:t1, 2=afpacket:eth1, 3=netns:NS/eth0. Without NUMBER= the next free one.
    #[arg(long = "port", value_name = "[NUMBER=]WHAT", value_parser = port_arg)]
    ports: Vec<PortArg>,
    /// A controller to connect to: `tcp:HOST[:PORT]`, or `ssl:HOST[:PORT]` with TLS.
    #[arg(long = "controller", value_name = "TARGET")]
    controllers: Vec<channel::Target>,
    /// Listen for controllers and tools: `ptcp:[PORT][:ADDRESS]`, or `pssl:[PORT][:ADDRESS]` with TLS; on the loopback
    /// unless told otherwise.
    #[arg(long = "listen", value_name = "TARGET")]
    listen: Vec<channel::Listen>,
    #[command(flatten)]
    tls: TlsFiles,
    /// Milliseconds of silence after which a peer is asked for a sign of life; 0 never asks.
    #[arg(long, value_name = "MS", default_value = "5000")]
    inactivity_probe: u32,
    /// Longest wait between attempts to connect to a controller, in milliseconds.
    #[arg(long, value_name = "MS", default_value = "8000", value_parser = clap::value_parser!(u32).range(1..))]
    max_backoff: u32,
    /// Auxiliary connections to each controller; packet-ins take them.
    #[arg(long, value_name = "N", default_value = "0")]
    aux_connections: u8,
    /// Most connections to each place of --listen; further ones are refused once they have said hello.
    #[arg(long, value_name = "N", default_value = "64")]
    max_connections: usize,
    /// While no controller is connected: secure keeps to the flows there are, standalone learns and forwards by itself. Where none
    /// is named, standalone is a flow of priority 0 that outputs to NORMAL.
    #[arg(long, value_enum, default_value = "secure")]
    fail_mode: FailModeArg,
    /// Most packets a second to the controllers, with a burst: for all reasons, or for no_match, action, invalid_ttl,
    /// action_set, group or packet_out. By default 1000 for no_match and invalid_ttl, 50000 for each of the others.
    #[arg(long = "packet-in-rate", value_name = "[REASON=]RATE[,BURST]|off")]
    packet_in_rates: Vec<RateArg>,
    /// Versions of OpenFlow to speak, named as in ovs-vsctl: OpenFlow10, OpenFlow13, OpenFlow14; by default all of them.
    #[arg(long, value_delimiter = ',', value_name = "VERSION")]
    protocols: Vec<Version>,
    #[command(flatten)]
    workers: WorkerArgs,
    /// Serve /metrics for Prometheus there, over HTTP; it is on the unix socket in any case.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FailModeArg {
    Secure,
    Standalone,
}

impl From<FailModeArg> for FailMode {
    fn from(arg: FailModeArg) -> Self {
        match arg {
            FailModeArg::Secure => Self::Secure,
            FailModeArg::Standalone => Self::Standalone,
        }
    }
}

/// `[NUMBER=]WHAT`.
#[derive(Debug, Clone)]
pub struct PortArg {
    pub number: Option<PortNo>,
    pub spec: PortSpec,
}

/// OpenFlow leaves zero to no switch; controllers take it for none.
fn dpid_arg(text: &str) -> anyhow::Result<Dpid> {
    let dpid: Dpid = text.parse()?;
    anyhow::ensure!(dpid != Dpid(0), "0 is no datapath id: 1 to ffffffffffffffff are possible");
    Ok(dpid)
}

/// Reads a port of the command line.
pub fn port_arg(text: &str) -> anyhow::Result<PortArg> {
    // Options of the port have equals signs, too, but behind the colon.
    let number = text.split_once('=').filter(|(number, _)| !number.contains(':'));
    match number {
        Some((number, spec)) => {
            let number = number.parse().with_context(|| format!("\"{number}\" is no port number"))?;
            Ok(PortArg { number: Some(PortNo(number)), spec: spec.parse()? })
        }
        None => Ok(PortArg { number: None, spec: text.parse()? }),
    }
}

/// Runs until told to stop.
///
/// # Errors
/// What keeps it from starting or running.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    begin_daemon();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        // Before anything is made: a signal that comes early finds us ready to clean up.
        let told_to_stop = signals()?;
        tokio::pin!(told_to_stop);
        let channel = ChannelConfig {
            inactivity_probe: Duration::from_millis(args.inactivity_probe.into()),
            max_backoff: Duration::from_millis(args.max_backoff.into()),
            n_auxiliary: args.aux_connections,
            max_connections: args.max_connections,
        };
        let spec = SwitchSpec {
            channel,
            name: args.name,
            dpid: args.dpid,
            fail_mode: args.fail_mode.into(),
            packet_in_rates: args
                .packet_in_rates
                .iter()
                .fold(packet_in::DEFAULT, |rates, arg| arg.apply(rates)),
            controllers: args.controllers.into_iter().map(Target::Net).collect(),
            listen: args.listen,
            protocols: if args.protocols.is_empty() { Version::ALL.to_vec() } else { args.protocols },
            tls: args.tls.load()?,
            run_dir: Some(run_dir()?),
        };
        let plane = Plane::start_daemon(args.workers)?;
        let handle = start(spec, plane).await?;
        if let Some(address) = args.metrics {
            serve_metrics(address, handle.stats_client()).await?;
        }
        let added = tokio::select! {
            added = add_ports(&handle, &args.ports) => added,
            () = &mut told_to_stop => {
                handle.stop().await;
                return Ok(ExitCode::SUCCESS);
            }
        };
        if let Err(error) = added {
            handle.stop().await;
            return Err(error);
        }
        announce(&handle);
        told_to_stop.await;
        handle.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

async fn add_ports(handle: &SwitchHandle, ports: &[PortArg]) -> anyhow::Result<()> {
    // Ports with a number first, so that no other takes it.
    let (numbered, free): (Vec<_>, Vec<_>) = ports.iter().partition(|port| port.number.is_some());
    let ports = numbered.into_iter().chain(free).map(|port| (port.number, port.spec.clone()));
    for row in handle.add_ports(ports.collect()).await? {
        if let Some(note) = row.note {
            tracing::info!(port = %row.number, "{note}");
        }
    }
    Ok(())
}

/// One line for people and scripts once everything is there.
fn announce(handle: &SwitchHandle) {
    let listening: Vec<_> =
        handle.listening().iter().map(|place| format!(", listening on {place}")).collect();
    println!("switch {} with dpid {} is ready{}", handle.name(), handle.dpid(), listening.concat());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_may_have_a_number() {
        assert_eq!(port_arg("3=tap:t3").expect("valid").number, Some(PortNo(3)));
        assert_eq!(port_arg("tap:t3,offload=off").expect("valid").number, None);
        assert!(port_arg("x=tap:t3").is_err());
        assert!(port_arg("3=nonsense").is_err());
    }

    #[test]
    fn zero_is_no_datapath_id() {
        assert!(dpid_arg("0").is_err() && dpid_arg("00:00:00:00:00:00:00:00").is_err());
        assert_eq!(dpid_arg("10").expect("valid"), Dpid(10));
    }
}
