//! Open vSwitch with a database and run directory of its own, beside one that the machine may run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::process::{Daemon, output, run};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// The program that forwards, and what it needs to run.
#[derive(Debug, Clone)]
pub struct Binary {
    /// ovs-vswitchd.
    pub program: PathBuf,
    /// Where its libraries are, if not where the system has them.
    pub libraries: Option<PathBuf>,
}

/// A running Open vSwitch with the bridge `br0`; ends when dropped.
#[derive(Debug)]
pub struct Ovs {
    dir: PathBuf,
    // Dropped in this order.
    _switch: Daemon,
    _database: Daemon,
}

impl Ovs {
    /// Starts it in an empty folder with settings of `other_config`.
    ///
    /// # Errors
    /// When one of its programs does not do what it should, with the end of its log.
    pub fn start(dir: &Path, binary: &Binary, config: &[String]) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let (file, socket) = (path("conf.db"), path("db.sock"));
        run(&["ovsdb-tool", "create", &file, SCHEMA])?;
        let mut command = Self::command(dir, "ovsdb-server");
        command.args([&file, &format!("--remote=punix:{socket}"), "--unixctl=db.ctl"]);
        let mut database = Daemon::start(&mut command, &dir.join("database.log"))?;
        let init = || Self::ask(dir, "ovs-vsctl", &["--no-wait", "init"]);
        database.until("the database to answer", 10, init)?;
        for setting in config {
            let setting = format!("other_config:{setting}");
            Self::ask(dir, "ovs-vsctl", &["--no-wait", "set", "Open_vSwitch", ".", &setting])?;
        }
        let mut command = Self::command(dir, &binary.program.to_string_lossy());
        if let Some(libraries) = &binary.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let (socket, control) = (format!("unix:{socket}"), format!("--unixctl={}", path("switch.ctl")));
        command.args([socket, control, format!("--pidfile={}", path("switch.pid"))]);
        let mut switch = Daemon::start(&mut command, &dir.join("switch.log"))?;
        let add = ["--timeout=5", "--may-exist", "add-br", "br0", "--", "set", "bridge", "br0"];
        let kind = ["datapath_type=netdev", "protocols=OpenFlow10,OpenFlow13"];
        let add = [&add[..], &kind].concat();
        switch.until("a bridge", 30, || Self::ask(dir, "ovs-vsctl", &add))?;
        Ok(Self { dir: dir.to_owned(), _switch: switch, _database: database })
    }

    fn command(dir: &Path, program: &str) -> Command {
        let mut command = Command::new(program);
        for name in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR"] {
            command.env(name, dir);
        }
        command
    }

    fn ask(dir: &Path, program: &str, args: &[&str]) -> Result<String> {
        let mut command = Self::command(dir, program);
        if program == "ovs-vsctl" {
            command.arg(format!("--db=unix:{}", dir.join("db.sock").display()));
        }
        output(command.args(args), 60)
    }

    /// Changes the configuration.
    ///
    /// # Errors
    /// When it is refused.
    pub fn vsctl(&self, args: &[&str]) -> Result<String> {
        Self::ask(&self.dir, "ovs-vsctl", &[&["--timeout=30"], args].concat())
    }

    /// Speaks OpenFlow 1.3 to the bridge.
    ///
    /// # Errors
    /// When it is refused.
    pub fn ofctl(&self, args: &[&str]) -> Result<String> {
        Self::ask(&self.dir, "ovs-ofctl", &[&["-O", "OpenFlow13"], args].concat())
    }

    /// Asks the switch about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn appctl(&self, args: &[&str]) -> Result<String> {
        let control = self.dir.join("switch.ctl").to_string_lossy().into_owned();
        Self::ask(&self.dir, "ovs-appctl", &[&["-t", &control], args].concat())
    }
}
