//! DHCP leases on disk: one line of JSON for each change, the last one of an address counts. A line is written before the
//! client is told (RFC 2131 §2.1), and costs the same whatever the number of leases.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use controller_api as api;
use dataplane::Clock;
use packet::{Instant, MacAddr};
use serde::{Deserialize, Serialize};
use vrouter::{KeptLease, LeaseState};

/// The file is written anew when it has so many lines, and four times as many as there are leases.
const LEAST_LINES: usize = 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    address: Ipv4Addr,
    /// In hexadecimal digits.
    client: String,
    mac: api::Mac,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    state: State,
    /// When it ends: seconds since 1970.
    until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Bound,
    Declined,
}

/// The two clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// That of the router.
    pub router: Instant,
    /// That of people.
    pub wall: SystemTime,
}

impl Now {
    /// What both show.
    #[expect(clippy::disallowed_methods, reason = "a file outlives the router's clock, and this is a shell")]
    pub fn of(clock: &Clock) -> Self {
        Self { router: clock.now(), wall: SystemTime::now() }
    }

    fn seconds(self) -> u64 {
        self.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Rounded up: a lease must not end here before it does at its client.
    fn to_unix(self, at: Instant) -> u64 {
        let left = at.saturating_since(self.router);
        self.seconds() + left.as_secs() + u64::from(left.subsec_nanos() > 0)
    }

    fn at_unix(self, until: u64) -> Instant {
        self.router + Duration::from_secs(until.saturating_sub(self.seconds()))
    }
}

impl Line {
    fn of(lease: &KeptLease, now: Now) -> Self {
        Self {
            address: lease.address,
            client: lease.client.iter().map(|byte| format!("{byte:02x}")).collect(),
            mac: api::Mac(lease.mac.0),
            name: lease.name.clone(),
            state: match lease.state {
                LeaseState::Declined => State::Declined,
                _ => State::Bound,
            },
            until: now.to_unix(lease.until),
        }
    }

    fn lease(&self, now: Now) -> Option<KeptLease> {
        let digits = self.client.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        Some(KeptLease {
            address: self.address,
            client: digits.collect::<Option<_>>()?,
            mac: MacAddr(self.mac.0),
            name: self.name.clone(),
            state: match self.state {
                State::Bound => LeaseState::Bound,
                State::Declined => LeaseState::Declined,
            },
            until: now.at_unix(self.until),
        })
    }
}

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    lines: BTreeMap<Ipv4Addr, Line>,
    n_written: usize,
}

impl Journal {
    /// Opens it, or makes it; what it holds.
    ///
    /// # Errors
    /// When it cannot be read or written, or a line is none. A last line that was cut short by the end of the process
    /// that wrote it is left out.
    pub fn open(path: &Path, now: Now) -> anyhow::Result<(Self, Vec<KeptLease>)> {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        let (mut lines, mut leases) = (BTreeMap::new(), BTreeMap::new());
        for (number, text) in (1..).zip(text.split_inclusive('\n')) {
            let line = serde_json::from_str::<Line>(text).map_err(anyhow::Error::from);
            let read = line.and_then(|line| {
                let lease = line.lease(now).context("the client is not written in hexadecimal digits")?;
                Ok((line, lease))
            });
            match read {
                Ok((line, lease)) => {
                    leases.insert(line.address, lease);
                    lines.insert(line.address, line);
                }
                Err(_) if !text.ends_with('\n') => {
                    tracing::warn!(file = %shown, "the last lease was not written to its end");
                }
                Err(error) => bail!("{shown}:{number}: not a lease: {error:#}"),
            }
        }
        let file = rewrite(path, lines.values())?;
        let n_written = lines.len();
        Ok((Self { path: path.to_owned(), file, lines, n_written }, leases.into_values().collect()))
    }

    /// Writes down what has become of a lease.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, lease: &KeptLease, now: Now) -> anyhow::Result<()> {
        let line = Line::of(lease, now);
        write_line(&mut self.file, &line).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.lines.insert(line.address, line);
        self.n_written += 1;
        if self.n_written >= LEAST_LINES.max(self.lines.len() * 4) {
            self.file = rewrite(&self.path, self.lines.values())?;
            self.n_written = self.lines.len();
        }
        Ok(())
    }
}

/// In one call, so that a line is there whole or not at all.
fn write_line(file: &mut impl Write, line: &Line) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

/// Writes the file anew, beside the old one, then in its place.
fn rewrite<'a>(path: &Path, lines: impl Iterator<Item = &'a Line>) -> anyhow::Result<File> {
    let context = || format!("cannot write {}", path.display());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut bytes = Vec::new();
    for line in lines {
        write_line(&mut bytes, line).with_context(context)?;
    }
    std::fs::write(&beside, bytes).with_context(context)?;
    std::fs::rename(&beside, path).with_context(context)?;
    OpenOptions::new().append(true).open(path).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(router: u64, wall: u64) -> Now {
        Now { router: Instant::from_secs(router), wall: UNIX_EPOCH + Duration::from_secs(wall) }
    }

    fn lease(last: u8, until: u64) -> KeptLease {
        KeptLease {
            address: Ipv4Addr::new(10, 1, 0, last),
            client: vec![1, 2, 0, 0, 0, 0xab, last],
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            name: (last == 7).then(|| "vm7".to_owned()),
            state: if last == 9 { LeaseState::Declined } else { LeaseState::Bound },
            until: Instant::from_secs(until),
        }
    }

    #[test]
    fn leases_outlive_the_process_and_the_clock_of_its_router() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("r1.leases");
        let (mut journal, none) = Journal::open(&path, at(5, 1_000_000)).expect("made");
        assert_eq!(none, []);
        for kept in [lease(7, 105), lease(8, 3605), lease(9, 605), lease(7, 3605)] {
            journal.put(&kept, at(5, 1_000_000)).expect("written");
        }
        // Another process, ten minutes later, whose router counts from zero.
        let (_, kept) = Journal::open(&path, at(0, 1_000_600)).expect("read");
        assert_eq!(kept, [lease(7, 3000), lease(8, 3000), lease(9, 0)]);
        assert_eq!(std::fs::read_to_string(&path).expect("there").lines().count(), 3, "the last ones alone");
    }

    #[test]
    fn the_file_does_not_grow_with_every_renewal() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("r1.leases");
        let (mut journal, _) = Journal::open(&path, at(0, 1)).expect("made");
        for n in 0..5000 {
            journal.put(&lease((n % 50) as u8, n), at(0, 1)).expect("written");
        }
        let n_lines = std::fs::read_to_string(&path).expect("there").lines().count();
        assert!((50..1100).contains(&n_lines), "{n_lines}");
        assert_eq!(Journal::open(&path, at(0, 1)).expect("read").1.len(), 50);
    }

    #[test]
    fn a_torn_line_is_left_out_and_a_wrong_one_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("r1.leases");
        let (mut journal, _) = Journal::open(&path, at(0, 1)).expect("made");
        journal.put(&lease(7, 60), at(0, 1)).expect("written");
        let whole = std::fs::read_to_string(&path).expect("there");
        std::fs::write(&path, format!("{whole}{}", &whole[..20])).expect("written");
        assert_eq!(Journal::open(&path, at(0, 1)).expect("read").1, [lease(7, 60)]);
        for wrong in [whole.replace("bound", "lent"), whole.replace("0102", "xyz2"), "nonsense\n".to_owned()]
        {
            std::fs::write(&path, format!("{whole}{wrong}{whole}")).expect("written");
            let error = format!("{:#}", Journal::open(&path, at(0, 1)).expect_err("refused"));
            assert!(error.contains("r1.leases:2: not a lease"), "{error}");
        }
    }
}
