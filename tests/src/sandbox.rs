//! A network and mount namespace for one test, and the check that nothing is left in it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::run;
use crate::require_root;
use crate::wait::wait_until;

/// A world of its own for one test: network namespace, `/run/netns`, temporary folder and run directory.
///
/// It belongs to the thread that entered it; processes and threads started from there live in it. On drop, what
/// still runs with its run directory is ended by pid, and the thread goes back to where it came from.
#[derive(Debug)]
pub struct Sandbox {
    dir: tempfile::TempDir,
    run_dir: PathBuf,
    outer_net: File,
    outer_mnt: File,
    outer_dir: PathBuf,
}

/// What exists at one moment: everything that a lab could leave behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Names in `/run/netns`.
    pub namespaces: BTreeSet<String>,
    /// Interfaces of the sandbox's own namespace.
    pub links: BTreeSet<String>,
    /// Files and sockets below the run directory, relative to it.
    pub files: BTreeSet<PathBuf>,
    /// Processes with this run directory, as `pid name`.
    pub processes: BTreeSet<String>,
}

impl Sandbox {
    /// Enters a new sandbox; `name` shows in the name of its folder. Loopback is up.
    ///
    /// # Panics
    /// Without root.
    pub fn enter(name: &str) -> Self {
        require_root();
        let outer =
            |kind: &str| File::open(format!("/proc/thread-self/ns/{kind}")).expect("a thread has namespaces");
        let (outer_net, outer_mnt) = (outer("net"), outer("mnt"));
        let dir = tempfile::Builder::new().prefix(&format!("weft-{name}-")).tempdir();
        let dir = dir.expect("the temporary folder is writable");
        let run_dir = dir.path().join("run");
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root may make namespaces");
        // What is mounted from here on stays here.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts can be made private");
        fs::create_dir_all("/run/netns").expect("/run is writable");
        tmpfs("/run/netns");
        // /sys shows the network namespace of whoever mounted it.
        let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
        run(Command::new("ip").args(["link", "set", "lo", "up"])).success();
        let outer_dir = std::env::current_dir().expect("the working directory exists");
        Self { dir, run_dir, outer_net, outer_mnt, outer_dir }
    }

    /// A folder for logs and files of the test, removed at its end.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The run directory that [`crate::Weft`] gives to the binary. The binary makes it.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// What exists now.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn snapshot(&self) -> Snapshot {
        let namespaces = fs::read_dir("/run/netns").expect("mounted by the sandbox").flatten();
        let links = nix::net::if_::if_nameindex().expect("a namespace lists its links");
        let mut files = BTreeSet::new();
        collect_files(&self.run_dir, &self.run_dir, &mut files);
        Snapshot {
            namespaces: namespaces.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
            links: links.iter().map(|link| link.name().to_string_lossy().into_owned()).collect(),
            files,
            processes: self.processes().into_iter().map(|(pid, name)| format!("{pid} {name}")).collect(),
        }
    }

    /// Waits up to five seconds until what exists is again what existed `before`.
    ///
    /// # Panics
    /// With both states when something is left or missing.
    pub fn assert_nothing_left(&self, before: &Snapshot) {
        let mut now = self.snapshot();
        for _ in 0..250 {
            if now == *before {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
            now = self.snapshot();
        }
        assert_eq!(now, *before, "what exists after the test (left) is not what existed before (right)");
    }

    /// Processes that were started with this sandbox's run directory in their environment.
    fn processes(&self) -> Vec<(i32, String)> {
        let mark = format!("WEFT_RUN_DIR={}", self.run_dir.display()).into_bytes();
        let own = i32::try_from(std::process::id()).expect("a pid fits in pid_t");
        let entries = fs::read_dir("/proc").expect("proc is mounted").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|&pid| pid != own)
            .filter(|pid| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|&byte| byte == 0).any(|variable| variable == mark)
            })
            .map(|pid| (pid, fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()))
            .map(|(pid, name)| (pid, name.trim().to_owned()))
            .collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = setns(&self.outer_net, CloneFlags::CLONE_NEWNET);
        let _ = setns(&self.outer_mnt, CloneFlags::CLONE_NEWNS);
        // Entering a mount namespace moves the thread to its root.
        let _ = std::env::set_current_dir(&self.outer_dir);
        if !std::thread::panicking() {
            wait_until(Duration::from_secs(5), "the end of killed processes", || self.processes().is_empty());
        }
    }
}

fn tmpfs(path: &str) {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .unwrap_or_else(|error| panic!("cannot mount a tmpfs on {path}: {error}"));
}

/// Lists what lies below `dir`; a folder that is empty leaves no trace, so it is not counted.
fn collect_files(root: &Path, dir: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_files(root, &path, files);
        } else {
            files.insert(path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
}
