//! A QEMU guest started by hand, as a user of weft would.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::sandbox::Sandbox;
use crate::{require_program, wait_for, workspace_root};

/// Without KVM, on two busy cores.
const BOOT: Duration = Duration::from_secs(90);

/// A running guest, ended by pid on drop; topologies/vm/README.md describes what is inside.
#[derive(Debug)]
pub struct Vm {
    agent: RefCell<BufReader<UnixStream>>,
    console: PathBuf,
    _qemu: Process,
}

impl Vm {
    /// Boots a guest whose `eth0` is the existing tap `tap` of the calling thread's network namespace, with `words`
    /// (`weft.if=eth0,10.0.0.1/24`) on its kernel command line, and waits until it takes commands.
    ///
    /// # Panics
    /// When QEMU or the image is missing, and with the console when the guest is not up after 90 s.
    pub fn boot(sandbox: &Sandbox, name: &str, tap: &str, mac: &str, words: &str) -> Self {
        require_program("qemu-system-x86_64", "qemu-system-x86");
        let image = workspace_root().join("build/vm");
        assert!(image.join("initrd.gz").exists(), "no VM image: run `cargo xtask vm-image`");
        let (console, socket) = (sandbox.dir().join(format!("{name}.console")), sandbox.dir().join(name));
        let append = format!("console=ttyS0 quiet panic=-1 weft.hostname={name} {words}");
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-accel",
            "tcg,tb-size=32",
            "-machine",
            "pc",
            "-m",
            "128M",
            "-smp",
            "1",
            "-nodefaults",
        ]);
        command.args(["-no-user-config", "-display", "none", "-no-reboot", "-append", &append]);
        command.arg("-kernel").arg(image.join("vmlinuz")).arg("-initrd").arg(image.join("initrd.gz"));
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.arg("-chardev").arg(format!("socket,id=agent,path={},server=on,wait=off", socket.display()));
        command.args(["-serial", "chardev:agent", "-netdev"]);
        command.arg(format!("tap,id=n0,ifname={tap},script=no,downscript=no,vhost=off"));
        command.arg("-device").arg(format!("virtio-net-pci,netdev=n0,mac={mac},romfile="));
        let mut qemu = Process::spawn(&mut command, &sandbox.dir().join(format!("{name}.log")));
        let agent = wait_for(BOOT, "QEMU's socket", || {
            assert!(qemu.is_running(), "QEMU ended: {}", qemu.log());
            UnixStream::connect(&socket).ok()
        });
        agent.set_read_timeout(Some(BOOT)).expect("a socket takes a timeout");
        let vm = Self { agent: RefCell::new(BufReader::new(agent)), console, _qemu: qemu };
        while vm.line(BOOT) != "::ready" {}
        vm
    }

    /// Runs a shell command in the guest and gives its status and output.
    ///
    /// # Panics
    /// With the console when the guest does not answer within `deadline`.
    pub fn run(&self, command: &str, deadline: Duration) -> (i32, String) {
        let mut agent = self.agent.borrow_mut();
        writeln!(agent.get_mut(), "{command}").expect("the guest takes a command");
        drop(agent);
        let mut output = String::new();
        loop {
            let line = self.line(deadline);
            if let Some(status) = line.strip_prefix("::exit ") {
                return (status.parse().expect("the agent gives a number"), output);
            }
            output.push_str(&line);
            output.push('\n');
        }
    }

    fn line(&self, deadline: Duration) -> String {
        let mut agent = self.agent.borrow_mut();
        agent.get_mut().set_read_timeout(Some(deadline)).expect("a socket takes a timeout");
        let mut line = String::new();
        let read = agent.read_line(&mut line);
        let console = || read_lossy(&self.console);
        assert!(matches!(read, Ok(n) if n > 0), "the guest is silent ({read:?}); console:\n{}", console());
        line.trim_end().to_owned()
    }
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
