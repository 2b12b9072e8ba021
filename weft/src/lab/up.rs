//! `weft up`: from a file to a running lab, in the foreground or detached.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use tokio::signal::unix::signal;
use tokio_util::sync::CancellationToken;
use topology::{Layout, Model};

use super::build::{self, Lab, Plan};
use super::probe::{self, Outcome};
use super::process::ProcessId;
use super::report::{self, Event, Sink, Summary};
use super::table::{self, say, whisper};
use super::{place, privilege, read_model};
use crate::service::{end_signals, log_to_stderr, raise_descriptor_limit};

/// Arguments of `weft up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topology file.
    file: PathBuf,
    /// Go to the background once the lab is up.
    #[arg(long, short)]
    detach: bool,
    /// Run controller, switches and routers as processes of their own.
    #[arg(long)]
    split: bool,
    /// Call the lab so instead of as the file does.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Do not run the tests of the file.
    #[arg(long)]
    no_test: bool,
    /// Take the lab down again once the tests have run.
    #[arg(long, conflicts_with = "detach")]
    once: bool,
    /// Without privilege: in user, network and mount namespaces of its own, invisible from outside.
    #[arg(long, conflicts_with = "detach")]
    userns: bool,
    /// Where the REST API is served; by default 127.0.0.1:8080, or a free port when that is taken.
    #[arg(long, value_name = "ADDRESS:PORT")]
    rest: Option<SocketAddr>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// The background half of `--detach`.
    #[arg(long, hide = true)]
    background: bool,
}

/// Brings a lab up.
///
/// # Errors
/// What is wrong with the file, what is missing, or what failed; nothing that was made is left.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.background {
        return background(args);
    }
    let Some((plan, _)) = prepare(&args)? else { return Ok(ExitCode::FAILURE) };
    if args.detach { detach(&args) } else { foreground(&args, &plan) }
}

/// Reads, checks and asks for privilege. `None`: the file is wrong, and that has been said.
fn prepare(args: &Args) -> anyhow::Result<Option<(Plan, ())>> {
    let Some((mut model, text)) = read_model(&args.file)? else { return Ok(None) };
    if let Some(name) = &args.name {
        rename(&mut model, name)?;
    }
    if args.userns {
        privilege::enter_private()?;
    } else {
        privilege::check("bringing up a lab")?;
    }
    place::check_free(&model.name)?;
    build::check(&model)?;
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let folder = args.file.parent().unwrap_or(Path::new(""));
    let plan = Plan {
        model: Arc::new(model),
        text,
        file: args.file.display().to_string(),
        folder: std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?,
        layout: if args.split { Layout::Split } else { Layout::Joined },
        rest: args.rest.map_or_else(|| vec![local(8080), local(0)], |address| vec![address]),
        userns: args.userns,
    };
    Ok(Some((plan, ())))
}

/// Gives the lab another name. Names of namespaces and devices follow it.
fn rename(model: &mut Model, name: &str) -> anyhow::Result<()> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if !plain || name.len() > 24 || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        bail!(
            "\"{name}\" is no name for a lab: at most 24 letters, digits, \"-\" and \"_\", a letter or digit first"
        );
    }
    name.clone_into(&mut model.name);
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Cancelled by whatever ends a process in good order.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    for kind in end_signals() {
        let (mut signal, token) = (signal(kind)?, token.clone());
        tokio::spawn(async move {
            signal.recv().await;
            token.cancel();
        });
    }
    Ok(token)
}

fn foreground(args: &Args, plan: &Plan) -> anyhow::Result<ExitCode> {
    raise_descriptor_limit();
    log_to_stderr("warn");
    let mut tell = report::for_people(args.json);
    runtime()?.block_on(async {
        let cancel = on_signal()?;
        let (mut lab, summary) = start(args, plan, &cancel, &mut tell).await?;
        let pass = summary.pass;
        tell(Event::Up(summary.clone()));
        let printed = print(&summary, args.json, args.once);
        if !args.once && !cancel.is_cancelled() {
            if !args.json {
                whisper("Ctrl-C takes the lab down.");
            }
            lab.watch(&cancel).await?;
        }
        taken_down(lab).await?;
        printed?;
        Ok(if pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn taken_down(lab: Lab) -> anyhow::Result<()> {
    let name = lab.state().lab.clone();
    let problems = lab.take_down().await;
    if !problems.is_empty() {
        bail!("not everything of {name} could be taken back: {}", problems.join("; "));
    }
    Ok(())
}

/// Builds the lab and runs its tests.
async fn start(
    args: &Args,
    plan: &Plan,
    cancel: &CancellationToken,
    tell: &mut Sink,
) -> anyhow::Result<(Lab, Summary)> {
    let dir = place::reserve(&plan.model.name)?;
    let lab = Lab::bring_up(plan, dir, cancel, tell.as_mut()).await?;
    let tests = if args.no_test { Ok(Vec::new()) } else { tests(plan, &lab, cancel, tell).await };
    let tests = tests.and_then(|tests| if cancel.is_cancelled() { bail!("interrupted") } else { Ok(tests) });
    let tests = match tests {
        Ok(tests) => tests,
        Err(error) => {
            taken_down(lab).await?;
            return Err(error);
        }
    };
    let summary = Summary {
        lab: plan.model.name.clone(),
        pid: std::process::id(),
        rest: lab.state().rest.map(|address| format!("http://{address}/api/v1")),
        socket: lab.dir().join("api.sock").display().to_string(),
        userns: plan.userns,
        n_nodes: plan.model.nodes.len(),
        n_links: plan.model.links.len(),
        pass: tests.iter().all(|outcome| outcome.pass),
        tests,
    };
    Ok((lab, summary))
}

/// Runs the tests beside the runtime.
pub async fn tests(
    plan: &Plan,
    lab: &Lab,
    cancel: &CancellationToken,
    tell: &mut (dyn FnMut(Event) + Send),
) -> anyhow::Result<Vec<Outcome>> {
    let (model, dir) = (plan.model.clone(), lab.dir().to_owned());
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let stopped = stop.clone();
    let work = tokio::task::spawn_blocking(move || {
        // The receiver outlives the work.
        probe::run(&probe::Lab { model: &model, dir: &dir }, &stopped, |outcome| {
            drop(sender.send(outcome.clone()))
        })
    });
    loop {
        tokio::select! {
            outcome = receiver.recv() => match outcome {
                Some(outcome) => tell(Event::Outcome(outcome)),
                None => break,
            },
            () = cancel.cancelled(), if !stop.load(Ordering::Relaxed) => stop.store(true, Ordering::Relaxed),
        }
    }
    work.await.context("the tests broke off")
}

/// Says what is up and where to go next; nowhere if the lab is taken down at once.
fn print(summary: &Summary, json: bool, once: bool) -> anyhow::Result<()> {
    if json {
        say(serde_json::to_string_pretty(summary)?);
        return Ok(());
    }
    if !summary.tests.is_empty() {
        say(table::outcomes(&summary.tests));
    }
    let (held, total) = (summary.tests.iter().filter(|o| o.pass).count(), summary.tests.len());
    let tests = if total == 0 { String::new() } else { format!(", {held} of {total} tests hold") };
    say(format_args!(
        "lab {} {} up: {} nodes, {} links{tests}",
        summary.lab,
        if once { "was" } else { "is" },
        summary.n_nodes,
        summary.n_links
    ));
    if once {
        return Ok(());
    }
    if summary.userns {
        say("  it lives in namespaces of its own, where other commands do not find it");
        return Ok(());
    }
    if let Some(rest) = &summary.rest {
        say(format_args!("  REST  {rest}"));
    }
    say(format_args!(
        "  next  weft status | weft exec NODE -- COMMAND | weft flows | weft down {}",
        summary.lab
    ));
    Ok(())
}

/// Starts the background half in a session of its own and waits until it is up.
fn detach(args: &Args) -> anyhow::Result<ExitCode> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("up").arg(&args.file).arg("--background");
    let flags = [(args.split, "--split"), (args.no_test, "--no-test")];
    command.args(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag));
    if let Some(name) = &args.name {
        command.args(["--name", name]);
    }
    if let Some(rest) = args.rest {
        command.args(["--rest", &rest.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().context("cannot start the background process")?;
    let id = ProcessId::of(child.id());
    let output = child.stdout.take().context("the output of the background process is piped")?;
    let mut tell = report::for_people(args.json);
    let _runtime = runtime()?;
    let guard = _runtime.enter();
    let cancel = on_signal()?;
    // A signal to this process ends the lab that is being built; what follows then is its failure.
    _runtime.spawn(async move {
        cancel.cancelled().await;
        if let Some(id) = id {
            id.signal(nix::sys::signal::Signal::SIGTERM);
        }
    });
    drop(guard);
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line.context("the background process broke off")?)? {
            Event::Up(summary) => {
                tell(Event::Up(summary.clone()));
                print(&summary, args.json, false)?;
                return Ok(if summary.pass { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Event::Failed(why) => {
                tell(Event::Failed(why.clone()));
                // Its end comes after everything is gone.
                child.wait()?;
                bail!("{why}");
            }
            event => tell(event),
        }
    }
    let status = child.wait()?;
    bail!("the background process ended with {status} before the lab was up")
}

/// The background half: tells the parent, then lets go of the terminal.
fn background(args: Args) -> anyhow::Result<ExitCode> {
    nix::unistd::setsid().context("cannot begin a session")?;
    raise_descriptor_limit();
    let mut tell = report::for_parent();
    let Some((plan, ())) = prepare(&args)? else { return Ok(ExitCode::FAILURE) };
    runtime()?.block_on(async {
        let cancel = on_signal()?;
        let (mut lab, summary) = match start(&args, &plan, &cancel, &mut tell).await {
            Ok(up) => up,
            Err(error) => {
                tell(Event::Failed(format!("{error:#}")));
                return Ok(ExitCode::FAILURE);
            }
        };
        tell(Event::Up(summary));
        let log = std::fs::File::create(lab.dir().join("log"))?;
        nix::unistd::dup2_stdout(&log)?;
        nix::unistd::dup2_stderr(&log)?;
        log_to_stderr("info");
        lab.watch(&cancel).await?;
        taken_down(lab).await?;
        Ok(ExitCode::SUCCESS)
    })
}
