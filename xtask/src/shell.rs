//! Running programs, and stages with a name and a time.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// A command that runs in the root of the workspace without standard input.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that started us.
pub fn cargo(args: &[&str]) -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = command(&program, args);
    // What `cargo run` sets for xtask itself must not leak into other crates' build scripts.
    for variable in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(variable);
    }
    command
}

/// Runs `command` to its end, its output going to ours.
pub fn run(command: &mut Command) -> Result<()> {
    let what = describe(command);
    println!("$ {what}");
    let status = command.status().with_context(|| format!("cannot start `{what}`"))?;
    if !status.success() {
        bail!("`{what}` ended with {status}");
    }
    Ok(())
}

/// Runs `command` to its end in silence; its output appears only in the error.
pub fn run_quietly(command: &mut Command) -> Result<()> {
    let what = describe(command);
    let output = command.output().with_context(|| format!("cannot start `{what}`"))?;
    if !output.status.success() {
        bail!("`{what}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Runs `command`, its output going to ours, and keeps the lines that `keep` wants, whatever the result.
pub fn run_keeping(command: &mut Command, keep: fn(&str) -> bool, kept: &mut Vec<String>) -> Result<()> {
    let what = describe(command);
    println!("$ {what}");
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command.stdout(writer.try_clone().context("cannot duplicate a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start `{what}`"))?;
    // The command holds the pipe's write end: without this the reader below would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("cannot read a pipe")?).into_owned();
        writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")?;
        if keep(&line) {
            kept.push(line);
        }
    }
    let status = child.wait().context("cannot wait for a child")?;
    if !status.success() {
        bail!("`{what}` ended with {status}");
    }
    Ok(())
}

/// Whether `program` is in the PATH or one of the sbin folders.
pub fn has_program(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).any(|dir| dir.join(program).is_file())
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Stages of a run, with the time each took.
#[derive(Debug, Default)]
pub struct Stages {
    /// Whether a stage that fails is noted and the next one still runs.
    pub keep_going: bool,
    done: Vec<(String, Duration)>,
    failed: Vec<String>,
}

impl Stages {
    /// Runs one stage under a heading.
    ///
    /// # Errors
    /// When the stage fails, unless the run keeps going; then [`Stages::finish`] tells.
    #[expect(clippy::disallowed_methods, reason = "tooling measures real time")]
    pub fn run(&mut self, name: &str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        let result = stage();
        self.done.push((name.to_owned(), start.elapsed()));
        let result = result.with_context(|| format!("stage `{name}` failed"));
        let Err(error) = result else { return Ok(()) };
        self.failed.push(name.to_owned());
        if !self.keep_going {
            return Err(error);
        }
        println!("{error:#}");
        Ok(())
    }

    /// Prints the time of each stage.
    ///
    /// # Errors
    /// With the names of the stages that failed, if any did.
    pub fn finish(&self) -> Result<()> {
        println!("\n== time per stage");
        let total = self.done.iter().map(|(_, time)| *time).sum::<Duration>();
        for (name, time) in
            self.done.iter().map(|(name, time)| (name.as_str(), time)).chain([("total", &total)])
        {
            let note = if self.failed.iter().any(|failed| failed == name) { "  FAILED" } else { "" };
            println!("{name:<28} {:>7.1} s{note}", time.as_secs_f64());
        }
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_outputs_are_kept() {
        let mut kept = Vec::new();
        let mut command = command("sh", &["-c", "echo keep 1; echo drop; echo keep 2 >&2"]);
        run_keeping(&mut command, |line| line.starts_with("keep"), &mut kept).expect("sh runs");
        assert_eq!(kept, ["keep 1", "keep 2"]);
    }

    #[test]
    fn a_run_that_keeps_going_fails_at_its_end() {
        let mut stages = Stages { keep_going: true, ..Stages::default() };
        stages.run("one", || bail!("no")).expect("noted");
        stages.run("two", || Ok(())).expect("passes");
        assert_eq!(stages.finish().expect_err("one failed").to_string(), "failed: one");
        assert!(Stages::default().run("one", || bail!("no")).is_err());
    }

    #[test]
    fn a_failing_command_is_an_error_with_its_name() {
        let error = run(&mut command("sh", &["-c", "exit 3"])).expect_err("exit 3 is a failure");
        assert!(error.to_string().contains("sh -c exit 3"), "{error}");
    }
}
