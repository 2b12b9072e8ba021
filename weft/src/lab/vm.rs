//! Guests: a QEMU process each, and the commands given to a guest on its second serial port.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use topology::{Interface, Vm};

use super::clock::Deadline;

const QEMU: &str = "qemu-system-x86_64";
/// How long a guest may take to boot: emulated, on a busy machine.
pub const BOOT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Refuses what cannot be started, before anything is made.
pub fn check(name: &str, vm: &Vm) -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|dir| dir.join(QEMU).is_file()) {
        bail!("vm {name} needs {QEMU}, which is not installed: `apt-get install qemu-system-x86`");
    }
    for file in [&vm.kernel, &vm.initrd] {
        if !file.is_file() {
            bail!(
                "vm {name}: there is no {}; `cargo xtask vm-image` makes the guest image of the examples",
                file.display()
            );
        }
    }
    Ok(())
}

/// KVM where it works. Inside some virtual machines the device is there and the processor has no support: a guest
/// would spin without a word.
fn accelerator() -> &'static str {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let able = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    let opens = File::options().read(true).write(true).open("/dev/kvm").is_ok();
    if able && opens { "kvm" } else { "tcg,tb-size=64" }
}

/// The command that runs a guest on its taps.
pub fn command(dir: &Path, name: &str, vm: &Vm, taps: &[String]) -> anyhow::Result<Command> {
    let file = |suffix: &str| dir.join(format!("{name}.{suffix}")).display().to_string();
    let mut command = Command::new(QEMU);
    command.args(["-accel", accelerator(), "-machine", "pc", "-nodefaults", "-no-user-config"]);
    command.args(["-display", "none", "-no-reboot", "-m", &format!("{}M", vm.memory)]);
    command.args(["-smp", &vm.cpus.to_string(), "-name", name]);
    command.arg("-kernel").arg(&vm.kernel).arg("-initrd").arg(&vm.initrd);
    command.args(["-append", &append(name, vm)]);
    command.args(["-serial", &format!("file:{}", file("console"))]);
    command.args(["-chardev", &format!("socket,id=agent,path={},server=on,wait=off", file("agent"))]);
    command.args(["-serial", "chardev:agent"]);
    command.args(["-qmp", &format!("unix:{},server=on,wait=off", file("qmp"))]);
    for (i, (tap, interface)) in taps.iter().zip(&vm.interfaces).enumerate() {
        command.args([
            "-netdev",
            &format!("tap,id=n{i},ifname={tap},script=no,downscript=no,vhost=off"),
            "-device",
            &format!("virtio-net-pci,netdev=n{i},mac={},romfile=", interface.mac),
        ]);
    }
    let log = File::create(file("qemu.log")).context("cannot write the log of QEMU")?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

/// The kernel's command line: what the guest's init configures.
fn append(name: &str, vm: &Vm) -> String {
    let mut words = vec!["console=ttyS0 quiet panic=-1".to_owned(), format!("weft.hostname={name}")];
    words.extend(vm.interfaces.iter().map(interface_word));
    let default = vm.routes.iter().filter(|route| route.to.prefix_len() == 0);
    words.extend(default.map(|route| format!("weft.gw={}", route.via)));
    words.join(" ")
}

fn interface_word(interface: &Interface) -> String {
    let addresses: String = interface.addresses.iter().map(|cidr| format!(",{cidr}")).collect();
    format!("weft.if={}{addresses},mtu={}", interface.name, interface.mtu)
}

/// A line to the guest's command port. One at a time: a lock beside the socket keeps others out.
#[derive(Debug)]
pub struct Agent {
    name: String,
    reader: BufReader<UnixStream>,
    _lock: Flock<File>,
}

impl Agent {
    /// Connects to the guest `name` of the lab in `dir`.
    pub fn connect(dir: &Path, name: &str, deadline: Deadline) -> anyhow::Result<Self> {
        let lock = File::create(dir.join(format!("{name}.lock"))).context("no such guest")?;
        let lock =
            acquire(lock, deadline).with_context(|| format!("vm {name} is busy with another command"))?;
        let path: PathBuf = dir.join(format!("{name}.agent"));
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => {
                    let reader = BufReader::new(stream);
                    return Ok(Self { name: name.to_owned(), reader, _lock: lock });
                }
                Err(error) if deadline.passed() => {
                    return Err(error).with_context(|| format!("vm {name} cannot be reached"));
                }
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    /// Waits until the guest has booted. To be called by the first who connects: it says so once.
    pub fn wait_ready(
        &mut self,
        deadline: Deadline,
        give_up: impl Fn() -> Option<String>,
    ) -> anyhow::Result<()> {
        loop {
            if let Some(why) = give_up() {
                bail!("vm {}: {why}", self.name);
            }
            match self.line(deadline.at_most(Duration::from_millis(200)))? {
                Some(line) if line == "::ready" => return Ok(()),
                None if deadline.passed() => bail!("vm {} has not booted in time", self.name),
                _ => {}
            }
        }
    }

    /// Runs a command line; its exit status and what it printed.
    pub fn run(&mut self, command: &str, deadline: Deadline) -> anyhow::Result<(i32, String)> {
        if command.contains('\n') {
            bail!("a command to a guest is one line");
        }
        self.reader.get_mut().write_all(format!("{command}\n").as_bytes())?;
        let mut output = String::new();
        while let Some(line) = self.line(deadline)? {
            if let Some(status) = line.strip_prefix("::exit ") {
                return Ok((status.trim().parse().unwrap_or(-1), output));
            }
            if line != "::ready" {
                output.push_str(&line);
                output.push('\n');
            }
        }
        bail!("vm {} does not answer in time", self.name)
    }

    fn line(&mut self, deadline: Deadline) -> anyhow::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let left = deadline.left().max(Duration::from_millis(1));
            self.reader.get_ref().set_read_timeout(Some(left))?;
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => bail!("vm {} has ended", self.name),
                Ok(_) if line.ends_with(b"\n") => {
                    return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if deadline.passed() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn acquire(mut file: File, deadline: Deadline) -> anyhow::Result<Flock<File>> {
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, errno)) if deadline.passed() => return Err(errno.into()),
            Err((back, _)) => file = back,
        }
        std::thread::sleep(POLL);
    }
}
