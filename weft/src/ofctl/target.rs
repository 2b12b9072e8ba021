//! Which switch is meant: an address, a socket, or the name of a weft switch of this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use openflow::text::closest;
use tokio::net::UnixStream;

use super::link::{Link, Stream};
use super::options::Options;
use crate::channel::{self, Tls, Transport};
use crate::service::{lab_of, run_dir, sockets};
use crate::switchd::OPENFLOW_SOCKET;

/// Connects to a switch and agrees on a version.
///
/// # Errors
/// There is nobody, or nobody who speaks OpenFlow with us.
pub async fn connect(target: &str, options: &Options) -> anyhow::Result<Link> {
    let stream = stream_to(target, options).await?;
    Link::open(stream, target, &options.versions()).await
}

async fn stream_to(target: &str, options: &Options) -> anyhow::Result<Box<dyn Stream>> {
    match target.split_once(':') {
        Some(("tcp" | "ssl", _)) => {
            let place: channel::Target = target.parse()?;
            let tls = options.tls.load()?;
            if place.transport == Transport::Tls {
                Tls::needed(tls.as_ref(), &place)?;
            }
            let stream = channel::connect(&place, tls.as_deref()).await;
            Ok(Box::new(stream.with_context(|| format!("connecting to {target}"))?))
        }
        Some(("unix", path)) => local(Path::new(path), target).await,
        Some(_) => bail!(
            "\"{target}\" is no switch: tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH or a name is expected"
        ),
        None if target.contains('/') && Path::new(target).exists() => local(Path::new(target), target).await,
        None => local(&named(target)?, target).await,
    }
}

async fn local(path: &Path, target: &str) -> anyhow::Result<Box<dyn Stream>> {
    if let Some(meant) = openflow_beside(path) {
        bail!("{target} is where the switch serves its API; it speaks OpenFlow at unix:{}", meant.display());
    }
    let stream = UnixStream::connect(path).await.with_context(|| format!("connecting to {target}"))?;
    Ok(Box::new(stream))
}

/// The socket for OpenFlow beside the one that a weft switch has for its API.
fn openflow_beside(path: &Path) -> Option<PathBuf> {
    let is_api = path.extension().is_some_and(|extension| extension == "sock");
    Some(path.with_extension(OPENFLOW_SOCKET)).filter(|meant| is_api && meant.exists())
}

/// The socket of the weft switch `NAME`, or `LAB/NAME`.
fn named(target: &str) -> anyhow::Result<PathBuf> {
    let dir = run_dir()?;
    let all = sockets(&dir, OPENFLOW_SOCKET);
    let (lab, name) = match target.split_once('/') {
        Some((lab, name)) => (Some(lab), name),
        None => (None, target),
    };
    let name_of = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let meant = |path: &&PathBuf| {
        name_of(path).as_deref() == Some(name) && (lab.is_none() || lab_of(path).as_deref() == lab)
    };
    let found: Vec<&PathBuf> = all.iter().filter(meant).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let names: Vec<String> = all.iter().filter_map(name_of).collect();
            let hint = match closest(name, names.iter().map(String::as_str)) {
                Some(meant) => format!("; did you mean \"{meant}\"?"),
                None if names.is_empty() => String::new(),
                None => format!("; there are {}", names.join(", ")),
            };
            bail!("no weft switch \"{target}\" is running in {}{hint}", dir.display())
        }
        several => {
            let labs: Vec<String> = several.iter().filter_map(|path| lab_of(path)).collect();
            bail!("there are several switches \"{name}\": write LAB/{name}, LAB one of {}", labs.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_that_speaks_openflow_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        for name in ["s1.sock", "s1.mgmt", "other.sock"] {
            std::fs::write(path(name), "").expect("the folder is writable");
        }
        let error = local(&path("s1.sock"), "unix:s1.sock").await.map(drop).expect_err("not there");
        assert!(
            error.to_string().contains(&format!("OpenFlow at unix:{}", path("s1.mgmt").display())),
            "{error}"
        );
        assert_eq!(openflow_beside(&path("other.sock")), None);
        assert_eq!(openflow_beside(&path("s1.mgmt")), None);
    }
}
