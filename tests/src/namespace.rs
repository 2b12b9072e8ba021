//! Network namespaces of a test, standing for its hosts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::process::{Finished, Process, run};
use crate::sandbox::Sandbox;

/// A named network namespace (`/run/netns/NAME`), deleted when the guard is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    log_dir: PathBuf,
}

impl Namespace {
    /// Makes namespace `name` with loopback up. The name is seen inside `sandbox` only.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn new(sandbox: &Sandbox, name: &str) -> Self {
        ip(&["netns", "add", name]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        Self { name: name.to_owned(), log_dir: sandbox.dir().to_owned() }
    }

    /// A namespace that somebody else has made.
    pub fn adopt(sandbox: &Sandbox, name: &str) -> Self {
        Self { name: name.to_owned(), log_dir: sandbox.dir().to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds it.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a program inside to its end.
    ///
    /// # Panics
    /// When `argv` is empty or the program cannot be started.
    pub fn exec(&self, argv: &[&str]) -> Finished {
        run(self.command(argv[0]).args(&argv[1..]))
    }

    /// Starts a program inside that ends with its guard.
    ///
    /// # Panics
    /// When `argv` is empty or the program cannot be started.
    pub fn spawn(&self, argv: &[&str]) -> Process {
        let log = self.log_dir.join(format!("{}-{}.log", self.name, argv[0].replace('/', "_")));
        Process::spawn(self.command(argv[0]).args(&argv[1..]), &log)
    }

    /// Runs `f` on a thread of its own inside the namespace. A socket opened there stays there.
    ///
    /// # Panics
    /// When the namespace cannot be entered, and when `f` panics.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).expect("the namespace of a guard exists");
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
                f()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Gives interface `interface` the address (`10.0.0.1/24`) and sets it up.
    ///
    /// # Panics
    /// When there is no such interface.
    pub fn address(&self, interface: &str, address: &str) {
        ip(&["-n", &self.name, "addr", "add", address, "dev", interface, "nodad"]);
        ip(&["-n", &self.name, "link", "set", interface, "up"]);
    }

    /// Whether `target` answers a ping within two seconds. Ask through [`crate::wait_until`]: the first may be lost
    /// while a network learns. busybox's ping is used because minimal machines have no iputils.
    pub fn pings(&self, target: &str) -> bool {
        self.exec(&["busybox", "ping", "-c", "1", "-W", "2", target]).status.success()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

/// Runs `ip ARGS`, which must succeed.
fn ip(args: &[&str]) {
    run(Command::new("ip").args(args)).success();
}

/// Joins two namespaces (`None`: the sandbox itself) by a veth pair, both ends up, checksum offloads as the kernel
/// has them by default.
///
/// # Panics
/// When a name is taken or longer than 15 bytes.
pub fn veth_pair(a: (Option<&Namespace>, &str), b: (Option<&Namespace>, &str)) {
    let peer = ["type", "veth", "peer", "name", b.1];
    ip(&[&["link", "add", a.1][..], &flag("netns", a.0), &peer, &flag("netns", b.0)].concat());
    for (namespace, interface) in [a, b] {
        ip(&[&flag("-n", namespace)[..], &["link", "set", interface, "up"]].concat());
    }
}

fn flag<'a>(flag: &'a str, namespace: Option<&'a Namespace>) -> Vec<&'a str> {
    namespace.map_or(vec![], |namespace| vec![flag, namespace.name()])
}
