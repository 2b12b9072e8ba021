//! What every daemon does: find its run directory, serve on a unix socket, write a log, wait for signals.

mod http;
mod tls;

use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

pub use http::serve;
pub use tls::TlsListener;

/// A socket file that nobody listens on is left from a process that was killed; one that answers is in use.
pub async fn bind_unix(path: &Path) -> anyhow::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        anyhow::bail!("{} is in use by another process: choose another --name", path.display());
    }
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    if let Some(dir) = path.parent() {
        tokio::fs::create_dir_all(dir).await.with_context(|| format!("cannot create {}", dir.display()))?;
    }
    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))
}

/// Where daemons keep their sockets.
pub fn run_dir() -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("WEFT_RUN_DIR") {
        return Ok(dir.into());
    }
    if nix::unistd::geteuid().is_root() {
        return Ok("/run/weft".into());
    }
    let dir =
        std::env::var_os("XDG_RUNTIME_DIR").context("neither WEFT_RUN_DIR nor XDG_RUNTIME_DIR is set")?;
    Ok(PathBuf::from(dir).join("weft"))
}

/// The sockets of daemons, and of the switches of labs, whose files end in `extension`.
pub fn sockets(run_dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries =
        |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let labs = entries(&run_dir.join("labs"));
    let mut sockets: Vec<_> = std::iter::once(run_dir.to_owned())
        .chain(labs)
        .flat_map(|dir| entries(&dir))
        .filter(|path| path.extension().is_some_and(|own| own == extension))
        .collect();
    sockets.sort();
    sockets
}

/// The lab that the socket of a switch belongs to: `labs/LAB/SWITCH.sock`.
pub fn lab_of(socket: &Path) -> Option<String> {
    let folder = socket.parent()?;
    let in_a_lab = folder.parent()?.file_name()? == "labs";
    in_a_lab.then(|| folder.file_name()?.to_str().map(str::to_owned))?
}

/// A name of a daemon: it names a file of the run directory, and nothing outside it.
///
/// # Errors
/// What a name looks like.
pub fn daemon_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(plain) || text.len() > 64 {
        return Err(
            "at most 64 letters, digits, \"-\", \"_\" and \".\" are expected, a letter or digit first".into(),
        );
    }
    Ok(text.to_owned())
}

/// A number of worker threads.
///
/// # Errors
/// What is possible.
pub fn worker_count(text: &str) -> Result<usize, String> {
    let possible = text.parse().ok().filter(|count| (1..=64).contains(count));
    possible.ok_or_else(|| "a number from 1 to 64 is expected".to_owned())
}

/// The signals that end a process in good order: SIGINT, SIGTERM, and SIGHUP (the terminal was closed) unless whoever
/// started it, such as `nohup`, had it ignored.
pub fn end_signals() -> Vec<SignalKind> {
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !ignores_hangup(&status) {
        kinds.push(SignalKind::hangup());
    }
    kinds
}

/// Whether `/proc/PID/status` says that SIGHUP is ignored.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Waits for one of [`end_signals`]. To be called before anything is made, awaited after.
pub fn signals() -> anyhow::Result<impl Future<Output = ()>> {
    let mut signals = end_signals().into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
    Ok(async move {
        let any = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures_util::future::select_all(any).await;
    })
}

/// Lets this process have as many descriptors as the system allows it: each port and connection takes some.
pub fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// What every daemon begins with: a log, and descriptors enough.
pub fn begin_daemon() {
    log_to_stderr("info");
    raise_descriptor_limit();
}

/// Writes what happens to standard error; `WEFT_LOG` chooses what (`debug`, `weft=trace`, ...), else `what` does.
pub fn log_to_stderr(what: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| what.into());
    // A log file is read by people and programs that know no escape codes.
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second subscriber is a bug of this process, and then the first one serves.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour);
    // To tell of a log that cannot be written there is only the log, and that would end the thread.
    let _ = log.with_writer(std::io::stderr).log_internal_errors(false).try_init();
}

#[cfg(test)]
mod tests {
    use super::{daemon_name, ignores_hangup};

    #[test]
    fn a_daemon_cannot_leave_its_run_directory() {
        for right in ["s1", "leaf-1_a.b", "0"] {
            assert_eq!(daemon_name(right).as_deref(), Ok(right));
        }
        for wrong in ["", ".", "..", "../x", "a/b", "-x", "a b", "a\n", &"a".repeat(65)] {
            assert!(daemon_name(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn nohup_is_respected() {
        assert!(ignores_hangup("Name:\tweft\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!ignores_hangup("Name:\tweft\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
