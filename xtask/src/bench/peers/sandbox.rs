//! The room of a run: namespaces of its own for processes, network and mounts.
//!
//! Everything that a run starts or makes lies in them, so it goes with the first process inside however that ends:
//! at its end, by Ctrl-C, or when this process is killed. Huge pages alone belong to the machine; they are given
//! back here, and after a kill by the next run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
/// Of 2 MiB each: what Open vSwitch needs for its buffers and the frames it replays.
const N_HUGE_PAGES: u64 = 1_800;

/// Runs this program once more with `args` inside a room of its own, and waits for it.
///
/// # Errors
/// When the room cannot be made, and when a signal ended the run.
pub fn run(args: &[String], env: &[(String, String)]) -> Result<ExitStatus> {
    let this = std::env::current_exe().context("a program knows its file")?;
    // Before the child is there: its threads and ours take no such signal by chance.
    let mut stop = SigSet::empty();
    stop.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    stop.thread_block().context("cannot hold back signals")?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork"]);
    command.args(["--kill-child", "--mount-proc"]).arg(this).args(args).stdin(Stdio::null());
    command.envs(env.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn().context("cannot start `setpriv unshare` (util-linux)")?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id")?);
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = stopped.clone();
    std::thread::spawn(move || {
        if stop.wait().is_ok() {
            seen.store(true, Ordering::Release);
            // It cannot have been waited for yet, unless this process ends anyway.
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let status = child.wait().context("cannot wait for the run")?;
    if stopped.load(Ordering::Acquire) {
        bail!("stopped by a signal; nothing is left behind");
    }
    Ok(status)
}

/// Where the rivals' packages lie inside: DPDK takes no drivers from below a folder that all may write to, as /tmp is.
pub const RIVALS: &str = "/mnt";

/// What the process inside does first: signals work again, names of namespaces are its own, the loopback is up, and
/// `rivals` lies at [`RIVALS`].
///
/// # Errors
/// When a mount or the loopback is refused.
pub fn arrive(rivals: &Path) -> Result<()> {
    SigSet::empty().thread_set_mask().context("cannot let signals through")?;
    std::fs::create_dir_all("/run/netns").context("cannot make /run/netns")?;
    super::process::run(&["mount", "-t", "tmpfs", "none", "/run/netns"])?;
    super::process::run(&["mount", "-t", "sysfs", "none", "/sys"])?;
    super::process::run(&["mount", "--bind", &rivals.to_string_lossy(), RIVALS])?;
    super::process::run(&["ip", "link", "set", "lo", "up"])?;
    Ok(())
}

/// The folder of a run; goes with it.
#[derive(Debug)]
pub struct Temporary(pub PathBuf);

/// What the names of such folders begin with; the process id follows.
const PREFIX: &str = "weft-peers-";

impl Temporary {
    /// A new one, with a short path as those of sockets must be; those of runs that were killed are removed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        for entry in std::fs::read_dir(&parent).context("cannot list temporary folders")?.flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                // Somebody else's is left to them.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let dir = parent.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Huge pages that were added for a run; given back on drop.
#[derive(Debug)]
pub struct HugePages {
    before: u64,
    note: PathBuf,
}

impl HugePages {
    /// Asks for them; `None` where the machine has not so many. `dir` keeps a note for a next run if this one is killed.
    ///
    /// # Errors
    /// When the note cannot be kept.
    pub fn reserve(dir: &Path) -> Result<Option<Self>> {
        let note = dir.join("huge-pages-before");
        if let Ok(before) = std::fs::read_to_string(&note) {
            drop(Self { before: before.trim().parse().unwrap_or(0), note: note.clone() });
        }
        let Ok(before) = count() else { return Ok(None) };
        std::fs::write(&note, before.to_string())
            .with_context(|| format!("cannot write {}", note.display()))?;
        let pages = Self { before, note };
        let wanted = before + N_HUGE_PAGES;
        // The kernel takes the number and gives what it can.
        let _ = std::fs::write(HUGE_PAGES, wanted.to_string());
        Ok(count().is_ok_and(|n| n >= wanted).then_some(pages))
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // What a process that was killed had is free only once the kernel has taken it apart.
        for _ in 0..100 {
            let written = std::fs::write(HUGE_PAGES, self.before.to_string());
            if written.is_err() || count().is_ok_and(|n| n <= self.before) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if count().is_ok_and(|n| n <= self.before) {
            // A note that stays costs the next run nothing.
            let _ = std::fs::remove_file(&self.note);
        }
    }
}

fn count() -> Result<u64> {
    Ok(std::fs::read_to_string(HUGE_PAGES)?.trim().parse()?)
}
