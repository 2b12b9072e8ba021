//! The store of earlier versions: one JSON file with the intents, and no revisions.

use std::path::{Path, PathBuf};

use anyhow::Context;
use controller_api::{ResourceChange, Revision};

use super::Store;
use crate::controllerd::clock;
use crate::controllerd::intents::Intents;

/// What a file of an earlier version holds; none if it is not of one.
pub fn read(path: &Path) -> anyhow::Result<Option<Intents>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("it cannot be read"),
    };
    if !bytes.starts_with(b"{") {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).context("it is damaged")
}

/// Puts a store of this version in its place; the old file stays beside it as `NAME.old`.
pub fn replace(path: &Path, intents: Intents) -> anyhow::Result<()> {
    let beside = |end: &str| -> PathBuf {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(end);
        path.with_file_name(name)
    };
    let (old, new) = (beside(".old"), beside(".new"));
    std::fs::copy(path, &old).with_context(|| format!("cannot write {}", old.display()))?;
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let store = Store::at(&new)?;
    let change = |label| ResourceChange { before: None, after: intents.get(&label), intent: label };
    let changes: Vec<ResourceChange> = intents.labels().map(change).collect();
    if !changes.is_empty() {
        let request = format!("taken over from {}", path.display());
        let by = "weft".to_owned();
        store.commit(&Revision { revision: 1, at: clock::stamp(), by, request, changes })?;
    }
    drop(store);
    std::fs::rename(&new, path).context("it cannot be replaced")
}
