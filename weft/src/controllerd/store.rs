//! Where intents and their revisions are kept: one file (redb), or the memory of the process.
//!
//! A write is durable when it is answered. After a crash the file holds all of it or nothing.

mod legacy;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use controller_api::{AuditEntry, Label, Problem, Resource, Revision};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, TableDefinition,
    TableError, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::edit::Declared;

/// Every revision by its number.
const REVISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("revisions");
/// What is declared now, by label.
const INTENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("intents");
/// Accepted writes by number.
const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");

/// Revisions and accepted writes that are remembered without a file.
const KEPT_IN_MEMORY: u64 = 1000;

/// Why the store does not do what it is to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system, or a file that is damaged.
    #[error("the store cannot be used")]
    Database(#[from] redb::Error),
    /// What it holds is not what was written.
    #[error("the store holds what this version cannot read")]
    Content(#[from] serde_json::Error),
}

macro_rules! database_errors {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}

database_errors!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = format!("{:#}", anyhow::Error::from(error));
        Problem::new(503, "store", "The store cannot be used").with_detail(detail)
    }
}

/// An intent as the file has it.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    revision: u64,
    spec: Resource,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    /// None: in memory.
    path: Option<PathBuf>,
    /// Closed after a failure; the next use begins with what the file says.
    open: Mutex<Option<Arc<Database>>>,
}

impl Store {
    /// A store that is forgotten with the process, and remembers the last thousand revisions only.
    pub fn in_memory() -> anyhow::Result<Self> {
        Self::over(redb::backends::InMemoryBackend::new()).context("no store can be made in memory")
    }

    /// The store in a file, which is made if it is not there.
    ///
    /// # Errors
    /// A file that cannot be read, made or understood: better to stop than to start without its intents.
    pub fn at(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot use {} as a store", path.display());
        let old = legacy::read(path).with_context(context)?;
        if let Some(intents) = old {
            legacy::replace(path, intents).with_context(context)?;
        }
        let database = Database::create(path).map_err(StoreError::from).with_context(context)?;
        let open = Mutex::new(Some(Arc::new(database)));
        Ok(Self { path: Some(path.to_owned()), open })
    }

    /// A store over something else.
    fn over(backend: impl StorageBackend) -> Result<Self, StoreError> {
        let database = Database::builder().create_with_backend(backend)?;
        Ok(Self { path: None, open: Mutex::new(Some(Arc::new(database))) })
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*open {
            return Ok(database.clone());
        }
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        let database = Arc::new(Database::create(path)?);
        *open = Some(database.clone());
        Ok(database)
    }

    /// After an error the state of the file is not known until it is opened again.
    fn close(&self) {
        if self.path.is_some() {
            *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Whether a write would be taken now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), StoreError> {
        let check = || -> Result<(), StoreError> { Ok(self.database()?.begin_write()?.abort()?) };
        check().inspect_err(|_| self.close())
    }

    /// What is declared.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn load(&self) -> Result<Declared, StoreError> {
        let read = self.database()?.begin_read()?;
        let mut declared = Declared::default();
        if let Some(table) = present(read.open_table(INTENTS))? {
            for row in table.iter()? {
                let row: Row = serde_json::from_slice(row?.1.value())?;
                declared.revisions.insert(row.spec.label(), row.revision);
                declared.intents.put(row.spec);
            }
        }
        if let Some(table) = present(read.open_table(REVISIONS))? {
            declared.revision = table.last()?.map_or(0, |(number, _)| number.value());
        }
        Ok(declared)
    }

    /// Adds a revision, for good.
    ///
    /// # Errors
    /// What the file system says; then nothing is changed.
    pub fn commit(&self, revision: &Revision) -> Result<(), StoreError> {
        let commit = || -> Result<(), StoreError> {
            let write = self.database()?.begin_write()?;
            add(&write, revision)?;
            let what: Vec<String> = revision.changes.iter().take(10).map(what).collect();
            let more = revision.changes.len().saturating_sub(what.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let entry = AuditEntry {
                entry: 0,
                at: revision.at.clone(),
                by: revision.by.clone(),
                request: revision.request.clone(),
                revision: Some(revision.revision),
                what: what.join(", ") + &more,
            };
            note(&write, entry)?;
            self.forget(&write)?;
            Ok(write.commit()?)
        };
        commit().inspect_err(|_| self.close())
    }

    /// Notes a write that changed no intent.
    ///
    /// # Errors
    /// What the file system says.
    pub fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let commit = || -> Result<(), StoreError> {
            let write = self.database()?.begin_write()?;
            note(&write, entry)?;
            self.forget(&write)?;
            Ok(write.commit()?)
        };
        commit().inspect_err(|_| self.close())
    }

    /// Memory is bounded; a file keeps everything.
    fn forget(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        if self.path.is_some() {
            return Ok(());
        }
        for definition in [REVISIONS, AUDIT] {
            let mut table = write.open_table(definition)?;
            while table.len()? > KEPT_IN_MEMORY {
                table.pop_first()?;
            }
        }
        Ok(())
    }

    /// At most `limit` revisions after this one, oldest first.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn revisions_after(&self, revision: u64, limit: usize) -> Result<Vec<Revision>, StoreError> {
        self.some(REVISIONS, |table| {
            table.range(revision.saturating_add(1)..)?.take(limit).map(value).collect()
        })
    }

    /// At most `limit` revisions before this one, newest first.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn revisions_before(&self, revision: u64, limit: usize) -> Result<Vec<Revision>, StoreError> {
        self.some(REVISIONS, |table| table.range(..revision)?.rev().take(limit).map(value).collect())
    }

    /// At most `limit` accepted writes before this one, newest first.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn audit_before(&self, entry: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.some(AUDIT, |table| table.range(..entry)?.rev().take(limit).map(value).collect())
    }

    /// What was declared by a revision, made from the present by taking back what came later. None: it is not kept.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn as_of(&self, revision: u64) -> Result<Option<super::intents::Intents>, StoreError> {
        let now = self.load()?;
        let mut intents = now.intents;
        if revision > now.revision {
            return Ok(None);
        }
        let mut next = now.revision;
        while next > revision {
            let later = self.revisions_before(next + 1, 64)?;
            for record in later.iter().take_while(|record| record.revision > revision) {
                if record.revision != next {
                    return Ok(None);
                }
                for change in &record.changes {
                    intents.set(&change.intent, change.before.clone());
                }
                next -= 1;
            }
            if later.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(intents))
    }

    fn some<T>(
        &self,
        definition: TableDefinition<'static, u64, &'static [u8]>,
        read: impl FnOnce(&redb::ReadOnlyTable<u64, &'static [u8]>) -> Result<Vec<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let transaction = self.database()?.begin_read()?;
        match present(transaction.open_table(definition))? {
            Some(table) => read(&table),
            None => Ok(Vec::new()),
        }
    }
}

/// Nothing was written to it yet.
fn present<T>(table: Result<T, TableError>) -> Result<Option<T>, StoreError> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

type Found =
    Result<(redb::AccessGuard<'static, u64>, redb::AccessGuard<'static, &'static [u8]>), redb::StorageError>;

fn value<T: DeserializeOwned>(row: Found) -> Result<T, StoreError> {
    Ok(serde_json::from_slice(row?.1.value())?)
}

/// Adds a revision behind those before it. What a failed write has left behind all the same is taken back first.
fn add(write: &WriteTransaction, revision: &Revision) -> Result<(), StoreError> {
    let mut revisions = write.open_table(REVISIONS)?;
    let mut intents = write.open_table(INTENTS)?;
    let mut set = |label: &Label, number: u64, spec: Option<&Resource>| -> Result<(), StoreError> {
        let label = label.to_string();
        match spec {
            Some(spec) => {
                let row = serde_json::to_vec(&Row { revision: number, spec: spec.clone() })?;
                intents.insert(label.as_str(), row.as_slice())?;
            }
            None => drop(intents.remove(label.as_str())?),
        }
        Ok(())
    };
    loop {
        let last = match revisions.last()? {
            Some((number, _)) if number.value() >= revision.revision => number.value(),
            _ => break,
        };
        let stray: Option<Revision> = match revisions.remove(last)? {
            Some(row) => Some(serde_json::from_slice(row.value())?),
            None => None,
        };
        for change in stray.iter().flat_map(|stray| &stray.changes) {
            set(&change.intent, last.saturating_sub(1), change.before.as_ref())?;
        }
    }
    for change in &revision.changes {
        set(&change.intent, revision.revision, change.after.as_ref())?;
    }
    revisions.insert(revision.revision, serde_json::to_vec(revision)?.as_slice())?;
    Ok(())
}

fn note(write: &WriteTransaction, mut entry: AuditEntry) -> Result<(), StoreError> {
    let mut audit = write.open_table(AUDIT)?;
    let last = audit.last()?.map_or(0, |(number, _)| number.value());
    entry.entry = last + 1;
    audit.insert(entry.entry, serde_json::to_vec(&entry)?.as_slice())?;
    Ok(())
}

fn what(change: &controller_api::ResourceChange) -> String {
    let verb = match (&change.before, &change.after) {
        (None, _) => "created",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "deleted",
    };
    format!("{} {verb}", change.intent)
}
