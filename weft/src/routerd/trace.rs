//! `weft router trace`: what a running router would do with a frame, and why.

use std::process::ExitCode;

use controller_api as api;
use controller_api::{PortRef, TraceCopy, TraceHop, TraceReply, TraceRequest};
use packet::PortNo;

use super::which::Which;
use crate::controllerd::hex_of;

#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    #[command(flatten)]
    which: Which,
    /// The port it comes by: number or name.
    #[arg(long)]
    port: String,
    /// The frame in hexadecimal, from the destination address on.
    #[arg(long, conflicts_with = "flow", required_unless_present = "flow")]
    frame: Option<String>,
    /// The frame described: tcp,nw_src=..,nw_dst=..,tp_dst=80. Without dl_dst it is for the router's own MAC address.
    #[arg(required_unless_present = "frame")]
    flow: Option<String>,
}

/// Asks and prints.
pub async fn run(args: TraceArgs) -> anyhow::Result<ExitCode> {
    let client = args.which.client().await?;
    let router = client.health().await?.name;
    // The REST API writes ROUTER:PORT, so people do, too.
    let port = args.port.strip_prefix(&format!("{router}:")).unwrap_or(&args.port);
    let request = TraceRequest { port: PortRef::new(router, port), frame: args.frame, flow: args.flow };
    let reply = client.trace(&request).await?;
    match args.which.json {
        true => println!("{}", serde_json::to_string_pretty(&reply)?),
        false => println!("{}", reply.text.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

/// A trace in the shape of the API; `ports` are those of the router, by name.
pub fn shown(
    router: &str,
    in_port: &PortRef,
    ports: &[(PortNo, String)],
    trace: &vrouter::Trace,
) -> TraceReply {
    let copies = trace.sent().iter().map(|(port, frame)| TraceCopy {
        port: Some(port.0),
        reason: None,
        frame: hex_of(frame),
    });
    let name =
        |number: &PortNo| ports.iter().find(|(known, _)| known == number).map(|(_, name)| name.as_str());
    let left = trace.sent().iter().map(|(port, _)| match name(port) {
        Some(name) => PortRef::new(router, name),
        None => PortRef::new(router, port),
    });
    let hop = TraceHop {
        port: in_port.clone(),
        steps: Vec::new(),
        notes: trace.steps().to_vec(),
        outputs: trace.sent().iter().map(|(port, _)| port.0).collect(),
        copies: copies.collect(),
    };
    TraceReply {
        hops: vec![hop],
        delivered: left.collect(),
        drops: trace.lost().map(|why| format!("at {in_port}: {why}")).into_iter().collect(),
        text: trace.to_string(),
        ..api::TraceReply::default()
    }
}
