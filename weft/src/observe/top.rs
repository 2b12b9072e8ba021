//! `weft top`: what switches and routers do at this moment.

mod rates;
mod sources;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use controller_api::client::Server;
use dataplane::Clock;
use terminal_size::{Height, Width, terminal_size};

use crate::service::signals;
use rates::View;
use sources::Sources;

/// Arguments of `weft top`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A switch, a router or a lab; LAB/NAME tells nodes of several labs apart. By default all of the run directory.
    name: Option<String>,
    /// Ask this server: unix:/path/to.sock or http://host:port. A controller knows the ports of its switches only.
    #[arg(long)]
    server: Option<Server>,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Look for one interval, print what was seen, and end.
    #[arg(long)]
    once: bool,
    /// Print JSON, a line for each look.
    #[arg(long)]
    json: bool,
}

/// Seconds, not necessarily whole ones.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "seconds from 0.1 to 3600 are expected".to_owned())
}

/// Shows rates until told to stop.
///
/// # Errors
/// When there is nothing to look at, or it cannot be reached.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let told_to_stop = signals()?;
        tokio::select! {
            result = watch(&args) => result?,
            () = told_to_stop => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn watch(args: &Args) -> anyhow::Result<()> {
    let sources = Sources { server: args.server.clone(), name: args.name.clone() };
    let clock = Clock::start();
    let live = std::io::stdout().is_terminal() && !args.json && !args.once;
    let (mut before, mut at) = (sources.look().await?, clock.now());
    loop {
        tokio::time::sleep(args.interval).await;
        let now = sources.look().await?;
        let seconds = clock.now().saturating_since(at).as_secs_f64();
        at = clock.now();
        let view = View::new(&before, &now, seconds);
        before = now;
        if args.json {
            println!("{}", serde_json::to_string(&view)?);
        } else {
            // Home, then each line with what was there before it cleared: that flickers less than clearing all.
            let mut text = view.text(live);
            if let (true, Some((Width(columns), Height(rows)))) = (live, terminal_size()) {
                text = view::clipped(&text, (columns.into(), rows.into()));
            }
            if live { print!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")) } else { println!("{text}") }
        }
        std::io::Write::flush(&mut std::io::stdout()).context("cannot write to the standard output")?;
        if args.once || !crate::print::is_wanted() {
            return Ok(());
        }
    }
}
