//! Processes that end with the test, and programs that run to their end.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_for;

/// How long a process may take to obey SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How many lines of a log a failing test prints.
const LOG_LINES: usize = 60;

/// What a program that ran to its end left: status and output.
#[derive(Debug)]
pub struct Finished {
    /// The command line, for messages.
    pub what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl Finished {
    /// Standard output, of a program that must have succeeded.
    ///
    /// # Panics
    /// With both outputs when the exit status is not 0.
    pub fn success(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }

    /// Standard error, of a program that must have refused: an exit status above 0, not a signal.
    ///
    /// # Panics
    /// With both outputs when the program succeeded or was killed.
    pub fn failure(self) -> String {
        assert!(self.status.code().is_some_and(|code| code > 0), "expected a refusal: {self}");
        self.stderr
    }

    /// Standard output as JSON, of a program that must have succeeded.
    ///
    /// # Panics
    /// When it did not, or the output is no JSON.
    pub fn json(self) -> serde_json::Value {
        let text = self.success();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}` ended with {}", self.what, self.status)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Runs `command` to its end without standard input and gives what it left.
///
/// # Panics
/// When the program cannot be started.
pub fn run(command: &mut Command) -> Finished {
    let what = describe(command);
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start `{what}`: {error}"));
    Finished {
        what,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A process of this test: it is ended by its pid when the guard is dropped, and its log printed if the test fails.
#[derive(Debug)]
pub struct Process {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` without standard input, both outputs going to the file `log`.
    ///
    /// # Panics
    /// When the log cannot be written or the program cannot be started.
    pub fn spawn(command: &mut Command, log: &Path) -> Self {
        let what = describe(command);
        let out = File::create(log).unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        let err = out.try_clone().expect("a file descriptor can be duplicated");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start `{what}`: {error}"));
        Self { child, what, log: log.to_owned() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, both outputs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until its log contains `text`.
    ///
    /// # Panics
    /// With the log when `deadline` has passed or the process has ended before it said so.
    pub fn wait_for_log(&mut self, deadline: Duration, text: &str) {
        let what = format!("`{text}` in the log of `{}`", self.what);
        wait_for(deadline, &what, || {
            let running = self.is_running();
            let said = self.log().contains(text);
            assert!(running || said, "`{}` ended before it said `{text}`:\n{}", self.what, self.log());
            said.then_some(())
        });
    }

    /// Sends `signal`; a process that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = i32::try_from(self.child.id()).expect("a pid fits in pid_t");
            // The child is not reaped yet, so the pid is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// With the log when `deadline` has passed.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of `{}`", self.what);
        wait_for(deadline, &what, || self.child.try_wait().ok().flatten())
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Panics
    /// When it has not ended after five seconds.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(GRACE)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            eprintln!("--- log of `{}`\n{tail}\n---", self.what);
        }
        self.signal(Signal::SIGTERM);
        let mut tries = GRACE.as_millis() / 20;
        while self.is_running() && tries > 0 {
            std::thread::sleep(Duration::from_millis(20));
            tries -= 1;
        }
        if self.is_running() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_program_gives_status_and_output() {
        let done = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
        assert_eq!((done.status.code(), done.stdout.as_str()), (Some(3), "out\n"));
        assert_eq!(done.failure(), "err\n");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let process = Process::spawn(Command::new("sleep").arg("600"), &dir.path().join("log"));
        let proc_dir = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(proc_dir.exists());
        drop(process);
        assert!(!proc_dir.exists());
    }
}
