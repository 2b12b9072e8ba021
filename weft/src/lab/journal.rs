//! What a lab makes, written down before it is made, so that it can be taken back after a crash.
//!
//! One JSON document a line, appended. Taking back reads the file alone, goes from the last line to the first, and
//! touches nothing that no line names.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use netio::netns::{Namespace, NetnsError};
use serde::{Deserialize, Serialize};
use topology::Resource;

use super::process::{ProcessId, marked};

/// The variable by which processes of a lab are found that were started and not yet written down.
pub const MARK: &str = "WEFT_LAB_MARK";

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// First line: processes of this lab carry this value of [`MARK`].
    Mark(String),
    /// Something in the kernel is about to be made.
    Make(Resource),
    /// A process was started.
    Process {
        /// Which.
        id: ProcessId,
        /// What it is, for people.
        name: String,
    },
}

/// The journal of a lab that is being built.
#[derive(Debug)]
pub struct Journal {
    file: File,
    mark: String,
}

impl Journal {
    /// Begins one.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let mark = format!("{:032x}", rand::random::<u128>());
        let mut journal = Self { file, mark: mark.clone() };
        journal.write(&Record::Mark(mark))?;
        Ok(journal)
    }

    /// The value of [`MARK`] that processes of this lab must carry.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Appends a line. It is with the kernel when this returns, so it survives a kill of this process.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// The lines of a journal. A last line cut short names nothing that was made.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Takes back all that is named, in reverse order; what could not be taken back, for people.
pub fn take_back(records: &[Record]) -> Vec<String> {
    let mut problems = Vec::new();
    for record in records {
        if let Record::Mark(mark) = record {
            marked(MARK, mark).into_iter().for_each(ProcessId::end);
        }
    }
    for record in records.iter().rev() {
        let result = match record {
            Record::Mark(_) => Ok(()),
            Record::Process { id, .. } => {
                id.end();
                Ok(())
            }
            Record::Make(Resource::Namespace(name)) => match Namespace::delete(name) {
                Ok(()) | Err(NetnsError::Missing(_)) => Ok(()),
                Err(error) => Err(format!("namespace {name}: {}", chain(&error))),
            },
            Record::Make(Resource::Device(name)) => delete_device(name),
        };
        problems.extend(result.err());
    }
    problems
}

fn delete_device(name: &str) -> Result<(), String> {
    let name = name.to_owned();
    // On a thread of its own: this may be called within a runtime.
    let work = || {
        netio::link::blocking(None, async |netlink| {
            let exists = netlink.links().await?.iter().any(|link| link.name == name);
            if exists { netlink.delete(&name).await } else { Ok(()) }
        })
    };
    let result = std::thread::scope(|scope| scope.spawn(work).join());
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("device {name}: {}", chain(&error))),
        Err(_) => Err(format!("device {name}: the thread that deletes it died")),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// Where the journal of a lab lies.
pub fn path(lab_dir: &Path) -> PathBuf {
    lab_dir.join("journal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_and_a_cut_one_is_ignored() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = path(dir.path());
        let mut journal = Journal::create(&file).expect("a new file");
        let made = Record::Make(Resource::Namespace("weft-lab-h1".into()));
        journal.write(&made).expect("written");
        let mut raw = OpenOptions::new().append(true).open(&file).expect("it exists");
        raw.write_all(b"{\"make\":{\"names").expect("written");
        let records = read(&file).expect("readable");
        assert_eq!(records, [Record::Mark(journal.mark().to_owned()), made]);
        assert!(Journal::create(&file).is_err(), "a journal is never overwritten");
    }

    #[test]
    fn what_was_never_made_is_no_problem() {
        let records = [Record::Process { id: ProcessId { pid: 1, start_time: u64::MAX }, name: "x".into() }];
        assert_eq!(take_back(&records), Vec::<String>::new());
    }
}
