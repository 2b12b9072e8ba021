use std::sync::Mutex;

use controller_api::{Network, ResourceChange, ResourceKind};

use super::*;

fn network(name: &str, vlan: u16) -> Resource {
    let name = name.to_owned();
    Resource::Network(Network { name, vlan, ports: vec![], trunks: vec![], hosts: vec![] })
}

fn label(name: &str) -> Label {
    Label { kind: ResourceKind::Network, name: name.to_owned() }
}

/// Revision `number`: `name` becomes a network with this VLAN, or goes.
fn revision(store: &Store, number: u64, name: &str, vlan: Option<u16>) -> Revision {
    let before = store.load().unwrap().intents.get(&label(name));
    let after = vlan.map(|vlan| network(name, vlan));
    let changes = vec![ResourceChange { intent: label(name), before, after }];
    let (by, request) = ("test".to_owned(), "PUT".to_owned());
    Revision { revision: number, at: "now".to_owned(), by, request, changes }
}

const HISTORY: [(&str, Option<u16>); 6] = [
    ("blue", Some(10)),
    ("red", Some(20)),
    ("blue", Some(11)),
    ("red", None),
    ("grey", Some(30)),
    ("blue", None),
];

fn write_history(store: &Store) {
    for (number, (name, vlan)) in (1..).zip(HISTORY) {
        store.commit(&revision(store, number, name, vlan)).unwrap();
    }
}

/// What is declared after so many revisions.
fn expected(revision: u64) -> super::super::intents::Intents {
    let mut intents = super::super::intents::Intents::default();
    for (name, vlan) in &HISTORY[..revision as usize] {
        intents.set(&label(name), vlan.map(|vlan| network(name, vlan)));
    }
    intents
}

#[test]
fn every_revision_can_be_had_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    write_history(&Store::at(&path).unwrap());
    let store = Store::at(&path).unwrap();
    assert_eq!(store.load().unwrap().revision, 6);
    for revision in 0..=6 {
        assert_eq!(store.as_of(revision).unwrap(), Some(expected(revision)), "{revision}");
    }
    assert_eq!(store.as_of(7).unwrap(), None);
    let numbers = |found: Vec<Revision>| found.iter().map(|r| r.revision).collect::<Vec<_>>();
    assert_eq!(numbers(store.revisions_after(2, 3).unwrap()), [3, 4, 5]);
    assert_eq!(numbers(store.revisions_before(u64::MAX, 2).unwrap()), [6, 5]);
    let audit = store.audit_before(u64::MAX, 2).unwrap();
    assert_eq!(
        (audit[0].entry, audit[0].revision, audit[0].what.as_str()),
        (6, Some(6), "network/blue deleted")
    );
}

#[test]
fn memory_keeps_the_last_thousand_only() {
    let store = Store::in_memory().unwrap();
    for number in 1..=1100 {
        store.commit(&revision(&store, number, "blue", Some(number as u16))).unwrap();
    }
    assert_eq!(store.revisions_after(0, 5000).unwrap().len(), 1000);
    assert_eq!(store.as_of(50).unwrap(), None);
    assert_eq!(store.as_of(1099).unwrap().unwrap().get(&label("blue")), Some(network("blue", 1099)));
}

#[test]
fn what_a_failed_write_left_behind_is_taken_back() {
    let store = Store::in_memory().unwrap();
    store.commit(&revision(&store, 1, "blue", Some(10))).unwrap();
    // This one was answered with an error, and is in the file all the same.
    store.commit(&revision(&store, 2, "blue", Some(11))).unwrap();
    let second = Revision {
        changes: revision(&store, 2, "red", Some(20)).changes,
        ..revision(&store, 2, "red", None)
    };
    store.commit(&second).unwrap();
    let now = store.load().unwrap();
    assert_eq!((now.revision, now.revisions.values().copied().collect::<Vec<_>>()), (2, vec![1, 2]));
    assert_eq!(now.intents.get(&label("blue")), Some(network("blue", 10)));
}

#[test]
fn the_file_of_an_earlier_version_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intents.json");
    std::fs::write(&path, r#"{"networks":{"blue":{"name":"blue","vlan":10}}}"#).unwrap();
    for _ in 0..2 {
        let now = Store::at(&path).unwrap().load().unwrap();
        assert_eq!((now.revision, now.intents.labels().collect::<Vec<_>>()), (1, vec![label("blue")]));
    }
    assert!(dir.path().join("intents.json.old").exists());
    std::fs::write(&path, "{ nonsense").unwrap();
    assert!(Store::at(&path).is_err());
}

/// A disk that can be had as it was after any of its writes.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Vec<Write>)>>);

#[derive(Debug, Clone)]
enum Write {
    Data(u64, Vec<u8>),
    Length(u64),
    /// What was written before is there for good.
    Sync,
}

impl Write {
    fn to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length as usize, 0),
            Self::Data(offset, data) => {
                let end = *offset as usize + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset as usize..end].copy_from_slice(data);
            }
            Self::Sync => {}
        }
    }

    /// So many bytes of it.
    fn torn(&self, at: usize) -> Self {
        match self {
            Self::Data(offset, data) => Self::Data(*offset, data[..at.min(data.len())].to_vec()),
            whole => whole.clone(),
        }
    }
}

impl Disk {
    fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new((bytes, Vec::new()))))
    }

    fn note(&self, write: Write) {
        let mut disk = self.0.lock().unwrap();
        write.to(&mut disk.0);
        disk.1.push(write);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.lock().unwrap().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let disk = self.0.lock().unwrap();
        let found = disk.0.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> std::io::Result<()> {
        self.note(Write::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.note(Write::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.note(Write::Data(offset, data.to_vec()));
        Ok(())
    }
}

/// What a disk saw while the history was written.
struct Recorded {
    writes: Vec<Write>,
    /// How many writes it had seen when each revision was answered; first, when the store was made.
    answered: Vec<usize>,
}

fn record() -> Recorded {
    let disk = Disk::default();
    let store = Store::over(disk.clone()).unwrap();
    let n_writes = || disk.0.lock().unwrap().1.len();
    let mut answered = vec![n_writes()];
    for (number, (name, vlan)) in (1..).zip(HISTORY) {
        store.commit(&revision(&store, number, name, vlan)).unwrap();
        answered.push(n_writes());
    }
    let writes = disk.0.lock().unwrap().1.clone();
    Recorded { writes, answered }
}

impl Recorded {
    /// Opens a disk on which the first `n` writes were made: it has what was answered by then, and of what was not, all
    /// or nothing.
    fn check(&self, n: usize, bytes: &[u8], how: &str) {
        let found = Store::over(Disk::holding(bytes.to_vec()));
        let found = found.unwrap_or_else(|error| panic!("write {n}, {how}: {error:?}"));
        let now = found.load().unwrap();
        let sure = self.answered.iter().filter(|at| **at <= n).count() as u64 - 1;
        assert!((sure..=sure + 1).contains(&now.revision), "write {n}, {how}: {} of {sure}", now.revision);
        assert_eq!(now.intents, expected(now.revision), "write {n}, {how}");
        assert_eq!(found.revisions_after(0, 100).unwrap().len() as u64, now.revision, "write {n}, {how}");
        // And goes on from there.
        let next = revision(&found, now.revision + 1, "green", Some(40));
        found.commit(&next).unwrap();
        assert_eq!(found.load().unwrap().revision, now.revision + 1, "write {n}, {how}");
    }
}

/// Killed at any write, between any two or halfway through, the process finds what was answered.
#[test]
fn it_survives_a_kill_at_every_write() {
    let recorded = record();
    let mut bytes = Vec::new();
    for (n, write) in recorded.writes.iter().enumerate() {
        // Before the first answer there is nothing to be kept.
        if n >= recorded.answered[0] {
            recorded.check(n, &bytes, "whole");
            for at in [1, 16, 64, 320, 1024] {
                let mut torn = bytes.clone();
                write.torn(at).to(&mut torn);
                recorded.check(n, &torn, "torn");
            }
        }
        write.to(&mut bytes);
    }
    recorded.check(recorded.writes.len(), &bytes, "whole");
    assert!(recorded.writes.len() > HISTORY.len());
}

/// When the power fails, what was written since the disk was last told to keep it may be there or not, each for itself.
#[test]
fn it_survives_a_power_failure_at_every_write() {
    let recorded = record();
    let (mut kept, mut unsure, mut n_cases) = (Vec::new(), Vec::new(), 0);
    for (n, write) in (1..).zip(&recorded.writes) {
        unsure.push(write);
        if matches!(write, Write::Sync) {
            unsure.drain(..).for_each(|write| write.to(&mut kept));
        }
        if n < recorded.answered[0] {
            continue;
        }
        for seed in 1..=4u64 {
            let mut bytes = kept.clone();
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n as u64;
            for write in &unsure {
                dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                if dice >> 63 == 1 {
                    write.to(&mut bytes);
                }
            }
            recorded.check(n, &bytes, "after a power failure");
            n_cases += 1;
        }
    }
    assert!(n_cases > 4 * HISTORY.len());
}
