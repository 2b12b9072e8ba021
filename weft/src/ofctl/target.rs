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
    let stream = UnixStream::connect(path).await.with_context(|| format!("connecting to {target}"))?;
    Ok(Box::new(stream))
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
