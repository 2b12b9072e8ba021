//! Programs of a run: those that end by themselves, and those that are ended.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What `program` prints; its errors are in the error.
///
/// # Errors
/// When it cannot be started, fails, or takes longer than `patience` seconds.
pub fn output(command: &mut Command, patience: u32) -> Result<String> {
    // `timeout` of coreutils: the wait needs neither a thread nor a signal of ours.
    let mut bounded = Command::new("timeout");
    bounded.arg("--kill-after=2").arg(patience.to_string());
    bounded.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    let what = describe(command);
    let output = bounded.output().with_context(|| format!("cannot start `{what}`"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => Ok(out.into_owned()),
        Some(124) => bail!("`{what}` did not end within {patience} s"),
        _ => bail!("`{what}` ended with {}: {} {}", output.status, err.trim(), out.trim()),
    }
}

/// The same for words.
///
/// # Errors
/// As [`output`].
pub fn run(words: &[&str]) -> Result<String> {
    output(Command::new(words[0]).args(&words[1..]), 30)
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    what: String,
    log: std::path::PathBuf,
}

impl Daemon {
    /// Starts it; what it prints goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let what = describe(command);
        let out = std::fs::File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("cannot start `{what}`"))?;
        Ok(Self { child, what, log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks again and again until the answer is there.
    ///
    /// # Errors
    /// When the program has ended or the time is over: with the end of its log.
    pub fn until<T>(&mut self, what: &str, patience: u32, ask: impl Fn() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        loop {
            let error = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let ended = self.child.try_wait().context("cannot wait for a program")?;
            if ended.is_some() || start.elapsed() > Duration::from_secs(patience.into()) {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(5).collect();
                let end = end.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(error.context(format!("`{}`: {what} in vain\n{end}", self.what)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended by force: what it made lies in namespaces that end with the run. Fails only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_takes_too_long_is_named() {
        let error = output(Command::new("sleep").arg("5"), 1).expect_err("too long").to_string();
        assert!(error.contains("sleep 5") && error.contains("within 1 s"), "{error}");
        assert_eq!(run(&["echo", "yes"]).expect("echo works"), "yes\n");
    }

    #[test]
    fn a_daemon_ends_with_its_guard() {
        let log = std::env::temp_dir().join(format!("weft-peers-daemon-{}", std::process::id()));
        let mut daemon = Daemon::start(Command::new("sleep").arg("60"), &log).expect("starts");
        daemon.until("to run", 1, || Ok(())).expect("it runs");
        let proc = format!("/proc/{}", daemon.id());
        drop(daemon);
        assert!(!Path::new(&proc).exists());
        let mut broken = Daemon::start(Command::new("sh").args(["-c", "echo oops"]), &log).expect("starts");
        let error = broken.until::<()>("wait", 5, || bail!("no")).expect_err("it ended");
        assert!(format!("{error:#}").contains("oops"), "{error:#}");
        std::fs::remove_file(log).expect("made above");
    }
}
