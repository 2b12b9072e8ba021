//! Processes told apart by pid and start time, so that a pid used again is never taken for the one that was meant.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::clock::Deadline;

/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// A process that was there once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot (proc(5), field 22 of stat).
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything, so fields are counted from its end.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
        if fields.first() == Some(&"Z") {
            return None;
        }
        Some(Self { pid, start_time: fields.get(19)?.parse().ok()? })
    }

    /// This process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal, if it still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Ok(pid) = i32::try_from(self.pid)
        {
            // It may have ended in between: then there is nothing to do.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits for its end; whether it came in time.
    pub fn wait_gone(self, wait: Duration) -> bool {
        let deadline = Deadline::after(wait);
        while self.is_alive() {
            if deadline.passed() {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// Asks it to end, and kills it when it does not.
    pub fn end(self) {
        self.signal(Signal::SIGTERM);
        if !self.wait_gone(GRACE) {
            self.signal(Signal::SIGKILL);
            self.wait_gone(GRACE);
        }
    }
}

/// Processes that carry `NAME=value` in their environment, this one excepted.
pub fn marked(name: &str, value: &str) -> Vec<ProcessId> {
    let mark = format!("{name}={value}").into_bytes();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        })
        .filter_map(ProcessId::of)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_ends() {
        assert!(ProcessId::own().expect("this process runs").is_alive());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("coreutils");
        let id = ProcessId::of(child.id()).expect("it runs");
        let other = ProcessId { start_time: id.start_time + 1, ..id };
        assert!(id.is_alive() && !other.is_alive());
        other.signal(Signal::SIGKILL);
        assert!(id.is_alive());
        id.end();
        assert!(!id.is_alive());
        child.wait().expect("a child can be waited for");
    }
}
