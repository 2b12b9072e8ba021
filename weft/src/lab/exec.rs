//! `weft exec`: a command in a node, a namespace or a guest.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use netio::netns::Namespace;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use topology::NodeKind;

use super::clock::Deadline;
use super::vm::Agent;
use super::{place, privilege};

/// How long a command in a guest may take.
const GUEST: Duration = Duration::from_secs(600);

/// Arguments of `weft exec`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab, when there are several.
    #[arg(long, short, value_name = "NAME")]
    lab: Option<String>,
    /// The node: a host, function or vm.
    node: String,
    /// The command and its arguments; a shell when left out.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs the command; its exit status becomes this one's, 127 when it is not found and 126 when it cannot be run.
///
/// # Errors
/// When there is no such node or it runs no commands.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let lab = place::find(args.lab.as_deref())?;
    if !lab.is_alive() {
        bail!("lab {} is dead; remove what is left with `weft down {}`", lab.name, lab.name);
    }
    let model = lab.model()?;
    let Some(node) = model.node(&args.node) else {
        let names: Vec<&str> = model.nodes.iter().map(|node| node.name.as_str()).collect();
        match topology::closest(&args.node, names.iter().copied()) {
            Some(meant) => bail!("lab {} has no node \"{}\"; did you mean \"{meant}\"?", lab.name, args.node),
            None => bail!("lab {} has no node \"{}\"; there is {}", lab.name, args.node, names.join(", ")),
        }
    };
    match &node.kind {
        NodeKind::Host(_) | NodeKind::Function(_) => {
            in_namespace(&topology::namespace(&lab.name, &node.name), &args.command)
        }
        NodeKind::Vm(_) => in_guest(&lab, &node.name, &args.command),
        NodeKind::Switch(_) => {
            bail!("{} is a switch: see `weft flows`, `weft port list` and `weft trace`", node.name)
        }
        NodeKind::Router => bail!("{} is a router inside weft: see `weft status {}`", node.name, lab.name),
    }
}

fn in_namespace(namespace: &str, words: &[String]) -> anyhow::Result<ExitCode> {
    privilege::check("running a command in a node")?;
    Namespace::open(namespace)?.enter_thread().context("cannot enter the namespace")?;
    // As iproute2 does: /sys shows the network namespace of whoever mounted it. Not vital.
    if unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        let none = None::<&str>;
        let _ = mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none);
        let _ = umount2("/sys", MntFlags::MNT_DETACH);
        let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none);
    }
    let shell = [std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned())];
    let (program, args) = match words.split_first() {
        Some((program, args)) => (program, args),
        None => (&shell[0], &[][..]),
    };
    // Returns only when it fails.
    let error = Command::new(program).args(args).exec();
    eprintln!("weft: cannot run {program}: {error}");
    // As shells and `env` say it, so that a script can tell it from what the command says itself.
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

fn in_guest(lab: &place::Found, node: &str, words: &[String]) -> anyhow::Result<ExitCode> {
    if words.is_empty() {
        bail!("a command is needed: `weft exec {node} -- ip addr`");
    }
    let mut agent = Agent::connect(&lab.dir, node, Deadline::after(Duration::from_secs(30)))?;
    let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
    let (status, output) = agent.run(&line.join(" "), Deadline::after(GUEST))?;
    print!("{output}");
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}

/// A word as a POSIX shell reads it back.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_reach_the_guest_as_they_are() {
        assert_eq!(super::quote("ping"), "ping");
        assert_eq!(super::quote("it's; rm"), "'it'\\''s; rm'");
        assert_eq!(super::quote(""), "''");
    }
}
