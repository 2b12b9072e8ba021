//! OpenFlow on the unix socket `NAME.mgmt` of the run directory, for the tools of this machine.

use std::path::{Path, PathBuf};

use openflow::SessionConfig;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::connection::{Far, ToOwner, serve};

/// What the file is called, behind the name of the switch.
pub const EXTENSION: &str = "mgmt";
/// Most tools served at a time; others wait in the kernel.
const MAX_TOOLS: usize = 16;

/// The file of the socket, which goes with this.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already, and there is nobody to tell.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens in `run_dir`.
///
/// # Errors
/// The socket is in use, or cannot be made.
pub async fn bind(run_dir: &Path, name: &str) -> anyhow::Result<(UnixListener, SocketFile)> {
    let path = run_dir.join(format!("{name}.{EXTENSION}"));
    let listener = crate::service::bind_unix(&path).await?;
    Ok((listener, SocketFile(path)))
}

/// Serves tools until it is aborted, and with it they are.
pub async fn accept(listener: UnixListener, config: SessionConfig, owner: ToOwner) {
    let mut tools = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if tools.len() < MAX_TOOLS => match accepted {
                Ok((stream, _)) => {
                    let far = Far::service("unix:".to_owned(), config.clone());
                    tools.spawn(serve(stream, far, owner.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "no more tools are served");
                    return;
                }
            },
            Some(_) = tools.join_next(), if !tools.is_empty() => {}
        }
    }
}
