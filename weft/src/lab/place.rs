//! Where labs keep what they need while they run: `<run directory>/labs/<lab>/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use topology::Model;

use super::process::ProcessId;
use crate::service::run_dir;

/// How far a lab is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Being built.
    Starting,
    /// Up.
    Running,
    /// Being taken down.
    Stopping,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
        })
    }
}

/// What a lab tells about itself in its folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Its name.
    pub lab: String,
    /// The process that runs it.
    pub process: ProcessId,
    /// How far it is.
    pub phase: Phase,
    /// The file it was made of, as the user wrote it.
    pub file: String,
    /// Where relative paths of the file start.
    pub folder: PathBuf,
    /// Whether its parts are processes of their own.
    pub split: bool,
    /// Whether it lives in a user namespace of its own.
    pub userns: bool,
    /// Where its REST API is served over TCP.
    pub rest: Option<std::net::SocketAddr>,
    /// Processes of its nodes: functions, guests, and with `split` switches and routers.
    pub nodes: std::collections::BTreeMap<String, ProcessId>,
}

impl State {
    /// Writes it in one step.
    pub fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let (path, next) = (dir.join("state.json"), dir.join("state.next"));
        let text = serde_json::to_vec_pretty(self)?;
        fs::write(&next, text)
            .and_then(|()| fs::rename(&next, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads that of a folder; `None` while it is being made or when it was left half made.
    pub fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join("state.json")).ok()?).ok()
    }

    /// Whether its process runs.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }
}

/// A lab found in the run directory.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// What it tells.
    pub state: Option<State>,
}

impl Found {
    /// In words: `running`, `starting`, `dead`.
    pub fn word(&self) -> String {
        match &self.state {
            Some(state) if state.is_alive() => state.phase.to_string(),
            _ => "dead".to_owned(),
        }
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.state.as_ref().is_some_and(State::is_alive)
    }

    /// The topology it was made of.
    pub fn model(&self) -> anyhow::Result<Model> {
        let path = self.dir.join("topology.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let folder = self.state.as_ref().map(|state| state.folder.clone()).unwrap_or_default();
        let mut model = topology::parse(&path.display().to_string(), &text, &folder)?;
        // It may have been brought up under another name than its file gives it.
        model.name.clone_from(&self.name);
        Ok(model)
    }
}

/// All labs, running or left behind.
pub fn labs() -> anyhow::Result<Vec<Found>> {
    let dir = run_dir()?.join("labs");
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read {}", dir.display()))?,
    };
    let mut labs = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        labs.push(Found { name, dir: entry.path(), state: State::load(&entry.path()) });
    }
    labs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(labs)
}

/// The lab of this name, or the only one.
pub fn find(name: Option<&str>) -> anyhow::Result<Found> {
    let mut labs = labs()?;
    let names: Vec<String> = labs.iter().map(|lab| lab.name.clone()).collect();
    if let Some(name) = name {
        if let Some(at) = labs.iter().position(|lab| lab.name == name) {
            return Ok(labs.swap_remove(at));
        }
        match topology::closest(name, names.iter().map(String::as_str)) {
            Some(meant) => bail!("there is no lab \"{name}\"; did you mean \"{meant}\"?"),
            None if names.is_empty() => bail!("there is no lab \"{name}\": no lab runs here"),
            None => bail!("there is no lab \"{name}\"; there is {}", names.join(", ")),
        }
    }
    match labs.len() {
        0 => bail!("no lab runs here; bring one up with `weft up FILE`"),
        1 => Ok(labs.swap_remove(0)),
        _ => bail!("several labs run here: name one of {}", names.join(", ")),
    }
}

/// Refuses a name that a lab has, running or left behind.
pub fn check_free(name: &str) -> anyhow::Result<()> {
    let dir = run_dir()?.join("labs").join(name);
    if dir.exists() { Err(taken(name, &dir)) } else { Ok(()) }
}

/// Makes the folder of a new lab. That it can be made is what reserves the name.
pub fn reserve(name: &str) -> anyhow::Result<PathBuf> {
    reserve_in(&run_dir()?, name)
}

/// The same in a given run directory.
pub fn reserve_in(run_dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let dir = run_dir.join("labs").join(name);
    let parent = dir.parent().context("a lab has a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    match fs::create_dir(&dir) {
        Ok(()) => Ok(dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken(name, &dir)),
        Err(error) => Err(error).with_context(|| format!("cannot create {}", dir.display())),
    }
}

fn taken(name: &str, dir: &Path) -> anyhow::Error {
    match State::load(dir) {
        Some(state) if state.is_alive() => anyhow::anyhow!(
            "a lab named \"{name}\" is {} already (pid {}); take it down with `weft down {name}`, or give this one another name with `--name`",
            state.phase,
            state.process.pid
        ),
        _ => anyhow::anyhow!(
            "a lab named \"{name}\" was left behind by a process that died; remove what is left with `weft down {name}`"
        ),
    }
}

/// Removes the folder of a lab, and the folder of all labs if nothing is left in it. The run directory stays: it is the
/// user's, or that of the daemons.
pub fn release(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
        }
        _ => {}
    }
    if let Some(labs) = dir.parent() {
        // Others may use it: then it stays.
        let _ = fs::remove_dir(labs);
    }
    Ok(())
}
