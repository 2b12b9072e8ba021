//! Network namespaces: held as descriptors, named by bind mounts under [`DIR`] as iproute2 does it.
//!
//! The calling thread never changes its namespace: work inside one happens on a dedicated thread ([`Namespace::run`]).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::sys;

/// Where named namespaces are mounted, so that `ip netns` sees them.
pub const DIR: &str = "/run/netns";

const OWN: &str = "/proc/thread-self/ns/net";

/// Why something could not be done with a namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Not a name: empty, too long, or with a slash.
    #[error("\"{0}\" is not a namespace name: 1 to 200 characters without \"/\" are expected")]
    Name(String),
    /// A namespace of this name exists already.
    #[error("network namespace \"{0}\" exists already")]
    Exists(String),
    /// There is none.
    #[error("there is no network namespace \"{0}\"")]
    Missing(String),
    /// Creating or entering one needs privilege.
    #[error(
        "not permitted to {what} network namespace \"{name}\": CAP_SYS_ADMIN is needed (be root, or enter a user namespace first)"
    )]
    Privilege {
        /// What was tried.
        what: &'static str,
        /// The namespace.
        name: String,
    },
    /// Anything else the kernel says.
    #[error("cannot {what} network namespace \"{name}\"")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The namespace.
        name: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl NetnsError {
    fn new(what: &'static str, name: &str, source: impl Into<io::Error>) -> Self {
        let (name, source) = (name.to_owned(), source.into());
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Privilege { what, name },
            io::ErrorKind::NotFound => Self::Missing(name),
            io::ErrorKind::AlreadyExists => Self::Exists(name),
            _ => Self::Io { what, name, source },
        }
    }
}

/// A network namespace, kept alive by a descriptor. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Namespace {
    fd: Arc<OwnedFd>,
    label: String,
}

impl Namespace {
    /// Makes a namespace that [`open`](Self::open) and `ip netns exec` find under `name`, with `lo` up.
    ///
    /// # Errors
    /// When the name is taken or not a name, and without privilege; nothing is left behind.
    pub fn create(name: &str) -> Result<Self, NetnsError> {
        let path = path_of(name)?;
        prepare_dir().map_err(|e| NetnsError::new("create", name, e))?;
        File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| NetnsError::new("create", name, e))?;
        let made = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            sys::set_up(&sys::control_socket()?, "lo")?;
            mount(Some(OWN), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            File::open(OWN)
        });
        match made {
            Ok(file) => Ok(Self { fd: Arc::new(file.into()), label: name.to_owned() }),
            Err(error) => {
                remove_mount(&path);
                Err(NetnsError::new("create", name, error))
            }
        }
    }

    /// Makes a namespace without a name; it ends when the last clone is dropped and no process is in it.
    ///
    /// # Errors
    /// Without privilege.
    pub fn anonymous(label: &str) -> Result<Self, NetnsError> {
        let made = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            sys::set_up(&sys::control_socket()?, "lo")?;
            File::open(OWN)
        });
        let file = made.map_err(|e| NetnsError::new("create", label, e))?;
        Ok(Self { fd: Arc::new(file.into()), label: label.to_owned() })
    }

    /// Opens a namespace by its name under [`DIR`], by a path, or as that of a process by `pid:N`.
    ///
    /// # Errors
    /// When there is none, and when what the path names is no network namespace.
    pub fn open(reference: &str) -> Result<Self, NetnsError> {
        let path = match reference.strip_prefix("pid:") {
            Some(pid) if pid.parse::<u32>().is_ok() => PathBuf::from(format!("/proc/{pid}/ns/net")),
            Some(_) => return Err(NetnsError::Missing(reference.to_owned())),
            None if reference.contains('/') => PathBuf::from(reference),
            None => path_of(reference)?,
        };
        let file = File::open(path).map_err(|e| NetnsError::new("open", reference, e))?;
        let namespace = Self { fd: Arc::new(file.into()), label: reference.to_owned() };
        // Proves that the file is a network namespace and may be entered, before anything is built on it.
        namespace.run(|| ())?;
        Ok(namespace)
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// Only where /proc is not mounted.
    pub fn current() -> Result<Self, NetnsError> {
        let file = File::open(OWN).map_err(|e| NetnsError::new("open", "current", e))?;
        Ok(Self { fd: Arc::new(file.into()), label: "current".to_owned() })
    }

    /// Removes the name; the namespace ends with its last process and descriptor.
    ///
    /// # Errors
    /// When there is none, and without privilege.
    pub fn delete(name: &str) -> Result<(), NetnsError> {
        let path = path_of(name)?;
        match umount2(&path, MntFlags::MNT_DETACH) {
            // EINVAL: a plain file that a killed process left before it mounted the namespace.
            Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
            Err(error) => return Err(NetnsError::new("delete", name, error)),
        }
        fs::remove_file(&path).map_err(|e| NetnsError::new("delete", name, e))
    }

    /// The names under [`DIR`], sorted.
    ///
    /// # Errors
    /// When the folder cannot be read; that it does not exist is no error.
    pub fn list() -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(DIR) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// The path of a named namespace, whether it exists or not.
    ///
    /// # Errors
    /// When `name` cannot be one.
    pub fn path(name: &str) -> Result<PathBuf, NetnsError> {
        path_of(name)
    }

    /// What it was opened or created as; for messages only.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The number of the namespace: two descriptors of one namespace have the same.
    pub fn inode(&self) -> u64 {
        inode_of(self.fd.as_raw_fd()).unwrap_or(0)
    }

    /// Runs `f` inside the namespace on a thread made for it and waits.
    ///
    /// # Errors
    /// When the namespace cannot be entered; a panic of `f` goes on in the caller.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        on_thread(|| {
            self.enter_thread()?;
            Ok(f())
        })
        .map_err(|e| NetnsError::new("enter", &self.label, e))
    }

    /// Moves the calling thread into the namespace, for good. Only for threads that are nobody else's: never a worker
    /// of an async runtime.
    ///
    /// # Errors
    /// Without privilege, and when this is no network namespace.
    pub fn enter_thread(&self) -> io::Result<()> {
        Ok(setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET)?)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Inode of the network namespace of the calling thread.
pub(crate) fn own_inode() -> io::Result<u64> {
    Ok(fs::metadata(OWN)?.ino())
}

/// Inode of the namespace behind a descriptor.
pub(crate) fn inode_of(fd: RawFd) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/self/fd/{fd}"))?.ino())
}

fn on_thread<T: Send>(f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, f)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn path_of(name: &str) -> Result<PathBuf, NetnsError> {
    let valid = (1..=200).contains(&name.len()) && !matches!(name, "." | "..") && !name.contains(['/', '\0']);
    if valid { Ok(Path::new(DIR).join(name)) } else { Err(NetnsError::Name(name.to_owned())) }
}

/// Makes the folder a shared mount, as iproute2 does: else a namespace deleted here would stay alive in every mount
/// namespace that was cloned while it was mounted.
fn prepare_dir() -> io::Result<()> {
    let none = None::<&str>;
    fs::create_dir_all(DIR)?;
    let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
    match mount(none, DIR, none, shared, none) {
        Err(nix::errno::Errno::EINVAL) => {
            mount(Some(DIR), DIR, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
            Ok(mount(none, DIR, none, shared, none)?)
        }
        other => Ok(other?),
    }
}

fn remove_mount(path: &Path) {
    // Nothing can be done about a failure here: the caller reports the one that led here.
    let _ = umount2(path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(path);
}
