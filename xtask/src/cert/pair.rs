//! Two weft switches in a namespace of their own, joined by three links, and the tester that drives them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Suite;
use crate::shell;

const CONTROLLER_PORT: &str = "6653";

/// The pair; taken down when dropped.
pub struct Pair {
    namespace: String,
    dir: PathBuf,
    switches: Vec<Child>,
}

impl Pair {
    /// Starts both switches; `dir` keeps their logs and run directory.
    pub fn start(weft: &Path, dir: &Path) -> Result<Self> {
        let shard = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let namespace = format!("weft-cert-{}-{shard}", std::process::id());
        let mut pair = Self { namespace, dir: dir.to_owned(), switches: Vec::new() };
        ip(&["netns", "add", &pair.namespace])?;
        pair.ip(&["link", "set", "lo", "up"])?;
        for link in ["1", "2", "3"] {
            let (a, b) = (format!("a{link}"), format!("b{link}"));
            pair.ip(&["link", "add", &a, "type", "veth", "peer", "name", &b])?;
            for end in [&a, &b] {
                let quiet = format!("echo 1 > /proc/sys/net/ipv6/conf/{end}/disable_ipv6");
                shell::run_quietly(pair.inside("sh").args(["-c", &quiet]))?;
                pair.ip(&["link", "set", end, "up"])?;
            }
        }
        pair.switches.push(pair.switch(weft, "target", "1", 'a')?);
        pair.switches.push(pair.switch(weft, "tester", "2", 'b')?);
        Ok(pair)
    }

    /// Runs the tester over the case files in `cases` and returns what it printed.
    pub fn run_tester(&self, suite: &Suite, cases: &Path, protocol: &str) -> Result<String> {
        let script = shell::root().join("tests/cert/run_tester.py");
        let log = self.dir.join("os-ken.log");
        let out = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut tester = self.inside(&suite.python.to_string_lossy());
        tester.arg("-W").arg("ignore").arg(script).args(["--ofp-tcp-listen-port", CONTROLLER_PORT]);
        tester.arg("--test-switch-dir").arg(cases);
        tester.args(["--test-switch-target-version", protocol, "--test-switch-tester-version", protocol]);
        tester.env("OSKEN_HUB_TYPE", "eventlet");
        if suite.mend_tester {
            tester.env("CERT_MEND_TESTER", "1");
        }
        tester.stdout(out.try_clone()?).stderr(out);
        // The tester ends itself by SIGTERM, so its status says nothing; its log does.
        tester.status().with_context(|| format!("cannot start {}", suite.python.display()))?;
        std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))
    }

    fn switch(&self, weft: &Path, name: &str, dpid: &str, side: char) -> Result<Child> {
        let log = self.dir.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = self.inside(&weft.to_string_lossy());
        command.args(["switch", "--name", name, "--dpid", dpid, "--fail-mode", "secure"]);
        for port in ["1", "2", "3"] {
            command.args(["--port", &format!("{port}=afpacket:{side}{port}")]);
        }
        command.args(["--controller", &format!("tcp:127.0.0.1:{CONTROLLER_PORT}")]);
        command.env("WEFT_RUN_DIR", self.dir.join("run"));
        command.stdout(out.try_clone()?).stderr(out);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", weft.display()))?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        if let Some(status) = child.try_wait()? {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the {name} switch ended with {status}: {}", said.trim());
        }
        Ok(child)
    }

    /// A command inside the namespace.
    fn inside(&self, program: &str) -> Command {
        let mut command = shell::command("ip", &["netns", "exec", &self.namespace, program]);
        command.stdin(Stdio::null());
        command
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        let mut all = vec!["-netns", &self.namespace];
        all.extend(args);
        ip(&all)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in &mut self.switches {
            let pid = child.id().to_string();
            // SIGTERM, so that the switch leaves by its own door; `ip netns exec` has become the switch.
            let _ = shell::command("kill", &[&pid]).status();
            let _ = child.wait();
        }
        if let Err(error) = ip(&["netns", "del", &self.namespace]) {
            eprintln!("cert: {error:#}");
        }
    }
}

fn ip(args: &[&str]) -> Result<()> {
    shell::run_quietly(&mut shell::command("ip", args))
}
