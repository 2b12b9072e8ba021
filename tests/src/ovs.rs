//! Debian's Open vSwitch as a peer, with the userspace datapath and everything in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Finished, Process, run};
use crate::sandbox::Sandbox;
use crate::unixctl::UnixCtl;
use crate::{require_program, wait_until};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const START: Duration = Duration::from_secs(20);

/// One `ovsdb-server` and one `ovs-vswitchd` in the namespace of the calling thread, ended by pid on drop.
#[derive(Debug)]
pub struct Ovs {
    dir: PathBuf,
    // Dropped in this order: the switch leaves before its database.
    vswitchd: Process,
    _ovsdb: Process,
}

impl Ovs {
    /// Starts both in the sandbox, in `SANDBOX/ovs`. The kernel module is neither needed nor used.
    ///
    /// # Panics
    /// When Open vSwitch is not installed or does not start within 20 s.
    pub fn start(sandbox: &Sandbox) -> Self {
        Self::start_with(sandbox, &[])
    }

    /// The same with further arguments for `ovs-vswitchd`, such as `--enable-dummy`: then bridges with
    /// `datapath_type=dummy` have ports with `type=dummy`, which need no device. Two VLAN tags can be matched
    /// (`vlan-limit=2`; it is one unless told otherwise).
    ///
    /// # Panics
    /// As [`Ovs::start`].
    pub fn start_with(sandbox: &Sandbox, args: &[&str]) -> Self {
        require_program("ovs-vswitchd", "openvswitch-switch");
        let dir = sandbox.dir().join("ovs");
        std::fs::create_dir_all(&dir).expect("the sandbox's folder is writable");
        let database = dir.join("conf.db");
        run(Command::new("ovsdb-tool").arg("create").arg(&database).arg(SCHEMA)).success();
        let mut command = in_dir("ovsdb-server", &dir);
        command.arg(&database).arg(format!("--remote=punix:{}", dir.join("db.sock").display()));
        let ovsdb = Process::spawn(command.arg("--no-chdir").arg("--pidfile"), &dir.join("ovsdb.log"));
        wait_until(START, "ovsdb-server's socket", || dir.join("db.sock").exists());
        vsctl(&dir, &["--no-wait", "init"]).success();
        vsctl(&dir, &["--no-wait", "set", "open", ".", "other_config:vlan-limit=2"]).success();
        let mut command = in_dir("ovs-vswitchd", &dir);
        command.arg(format!("unix:{}", dir.join("db.sock").display())).arg("--no-chdir").arg("--pidfile");
        command.args(args);
        let vswitchd = Process::spawn(&mut command, &dir.join("vswitchd.log"));
        wait_until(START, "ovs-vswitchd's pid file", || dir.join("ovs-vswitchd.pid").exists());
        Self { dir, vswitchd, _ovsdb: ovsdb }
    }

    /// Runs `ovs-vsctl ARGS` and waits until the switch has done it.
    ///
    /// # Panics
    /// When it fails.
    pub fn vsctl(&self, args: &[&str]) -> String {
        vsctl(&self.dir, args).success()
    }

    /// Makes bridge `name` with the userspace datapath, speaking OpenFlow 1.3, in fail mode secure.
    ///
    /// # Panics
    /// When the bridge exists or cannot be made.
    pub fn add_bridge(&self, name: &str) {
        let (bridge, protocols) = ("--", "protocols=OpenFlow13");
        let set = ["set", "bridge", name, "datapath_type=netdev", "fail_mode=secure", protocols];
        self.vsctl(&[&["add-br", name, bridge][..], &set].concat());
    }

    /// Connects bridge `name` to a controller (`tcp:127.0.0.1:6653`), out of band.
    ///
    /// # Panics
    /// When there is no such bridge.
    pub fn set_controller(&self, name: &str, target: &str) {
        let band = "connection-mode=out-of-band";
        self.vsctl(&["set-controller", name, target, "--", "set", "controller", name, band]);
    }

    /// Where bridge `name` speaks OpenFlow with tools: `unix:PATH`.
    pub fn management(&self, name: &str) -> String {
        format!("unix:{}", self.dir.join(format!("{name}.mgmt")).display())
    }

    /// Runs `ovs-ofctl -O OpenFlow13 ARGS`. Bridges of this instance are found by name, a weft switch by
    /// `tcp:HOST:PORT`.
    ///
    /// # Panics
    /// When the program is missing.
    pub fn ofctl(&self, args: &[&str]) -> Finished {
        run(in_dir("ovs-ofctl", &self.dir).args(["-O", "OpenFlow13", "--timeout=20"]).args(args))
    }

    /// Opens the socket behind `ovs-appctl`.
    ///
    /// # Panics
    /// When `ovs-vswitchd` has ended.
    pub fn control(&self) -> UnixCtl {
        UnixCtl::connect(&self.dir.join(format!("ovs-vswitchd.{}.ctl", self.vswitchd.pid())))
    }

    /// Runs `ovs-appctl ARGS` against `ovs-vswitchd`.
    ///
    /// # Panics
    /// When the program is missing.
    pub fn appctl(&self, args: &[&str]) -> Finished {
        run(in_dir("ovs-appctl", &self.dir).arg("--timeout=20").args(args))
    }
}

fn in_dir(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("OVS_RUNDIR", dir).env("OVS_DBDIR", dir).env("OVS_LOGDIR", dir).env("OVS_SYSCONFDIR", dir);
    command
}

fn vsctl(dir: &Path, args: &[&str]) -> Finished {
    let socket = format!("--db=unix:{}", dir.join("db.sock").display());
    run(in_dir("ovs-vsctl", dir).arg(socket).arg("--timeout=20").args(args))
}
