//! The intents as people wrote them, and where they are kept.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use controller_api::{Chain, Function, Network, Router};
use serde::{Deserialize, Serialize};

/// Every intent by kind and name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intents {
    /// Networks.
    #[serde(default)]
    pub networks: BTreeMap<String, Network>,
    /// Routers.
    #[serde(default)]
    pub routers: BTreeMap<String, Router>,
    /// Chain functions.
    #[serde(default)]
    pub functions: BTreeMap<String, Function>,
    /// Chains.
    #[serde(default)]
    pub chains: BTreeMap<String, Chain>,
}

/// One kind of intent.
pub trait Kind: Clone + PartialEq + Send + Sync + 'static {
    /// How it is called in labels and messages.
    const KIND: &'static str;
    /// Its name.
    fn name(&self) -> &str;
    /// Those of its kind.
    fn of(intents: &Intents) -> &BTreeMap<String, Self>;
    /// Those of its kind, to be changed.
    fn of_mut(intents: &mut Intents) -> &mut BTreeMap<String, Self>;
}

macro_rules! kinds {
    ($($type:ident, $kind:literal, $field:ident;)*) => {$(
        impl Kind for $type {
            const KIND: &'static str = $kind;
            fn name(&self) -> &str {
                &self.name
            }
            fn of(intents: &Intents) -> &BTreeMap<String, Self> {
                &intents.$field
            }
            fn of_mut(intents: &mut Intents) -> &mut BTreeMap<String, Self> {
                &mut intents.$field
            }
        }
    )*};
}

kinds! {
    Network, "network", networks;
    Router, "router", routers;
    Function, "function", functions;
    Chain, "chain", chains;
}

/// Where intents outlive the process: one JSON file, replaced as a whole.
#[derive(Debug)]
pub struct File(pub PathBuf);

impl File {
    /// What it holds; nothing if it is not there yet.
    ///
    /// # Errors
    /// A file that cannot be read or understood: better to stop than to start without its intents.
    pub fn load(&self) -> anyhow::Result<Intents> {
        match std::fs::read(&self.0) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", self.0.display()))
            }
            // Not there yet: that it can be made is better known now than at the first intent.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let none = Intents::default();
                self.save(&none).map(|()| none)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.0.display())),
        }
    }

    /// Replaces it. After a crash it holds the old intents or the new ones.
    ///
    /// # Errors
    /// What the file system says; the old file stands.
    pub fn save(&self, intents: &Intents) -> anyhow::Result<()> {
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        let dir = self.0.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = dir.join(format!(".{name}.new"));
        let write = || {
            let mut file = std::fs::File::create(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(intents)?)?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.0)?;
            std::fs::File::open(dir)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", self.0.display()))
    }
}
