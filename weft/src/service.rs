//! What every daemon does: find its run directory, serve on a unix socket, write a log, wait for signals.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

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

/// Waits for SIGINT or SIGTERM. To be called before anything is made, awaited after.
pub fn signals() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Runs an HTTP server until its task is aborted.
pub fn serve<F>(server: F) -> JoinHandle<()>
where
    F: IntoFuture<Output = std::io::Result<()>>,
    F::IntoFuture: Send + 'static,
{
    let server = server.into_future();
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the HTTP server stopped");
        }
    })
}

/// Writes what happens to standard error; `WEFT_LOG` chooses what (`debug`, `weft=trace`, ...).
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| "info".into());
    // A log file is read by people and programs that know no escape codes.
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second subscriber is a bug of this process, and then the first one serves.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour);
    let _ = log.with_writer(std::io::stderr).try_init();
}
