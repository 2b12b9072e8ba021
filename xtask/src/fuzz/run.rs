//! Runs targets, several at a time, and says what came of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use super::grown;
use crate::shell::{self, cargo};

/// An input may take so many seconds.
const TIMEOUT: u32 = 20;
/// A target may use so many MiB.
const MEMORY: u32 = 2048;
/// Longest inputs, in bytes, of the targets that want other than most.
const MAX_LEN: &[(&str, u32)] = &[("switch", 1 + 64 * 150)];
const USUAL_MAX_LEN: u32 = 4096;

/// What libFuzzer said at the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    executions: u64,
    edges: u64,
    corpus: u64,
    new: u64,
}

/// How a run of a target ended.
#[derive(Debug)]
pub struct Outcome {
    summary: Summary,
    /// The input it failed with.
    pub finding: Option<PathBuf>,
}

/// Folders and files of one target.
#[derive(Debug)]
pub struct Places {
    /// Seeds, not written to.
    pub seeds: PathBuf,
    /// Inputs that reach something new are added here.
    pub corpus: PathBuf,
    /// What fails is written here.
    pub findings: PathBuf,
    /// What the fuzzer says.
    pub log: PathBuf,
}

impl Places {
    /// Below `dir`, with the seeds of `tree`.
    pub fn new(dir: &Path, tree: &Path, target: &str) -> Self {
        Self {
            seeds: tree.join("fuzz/corpus").join(target),
            corpus: dir.join("corpus").join(target),
            findings: dir.join("findings").join(target),
            log: dir.join(format!("{target}.log")),
        }
    }
}

/// Runs every target for `seconds`, `jobs` at a time.
///
/// # Errors
/// When one found something.
pub fn run_all(targets: &[String], binaries: &Path, seconds: u64, jobs: usize) -> Result<()> {
    let waiting = std::sync::Mutex::new(targets.iter());
    let next = || waiting.lock().ok()?.next();
    let outcomes: Vec<(String, Result<Outcome>)> = thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            while let Some(target) = next() {
                let places = Places::new(&grown(), shell::root(), target);
                done.push((target.clone(), run_one(target, binaries, &places, seconds)));
            }
            done
        };
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    println!("\n{:<12} {:>12} {:>8} {:>8} {:>6}", "target", "executions", "edges", "corpus", "new");
    let mut n_found = 0;
    for (target, outcome) in outcomes {
        let Outcome { summary: s, finding } = outcome.with_context(|| format!("target {target}"))?;
        println!("{target:<12} {:>12} {:>8} {:>8} {:>6}", s.executions, s.edges, s.corpus, s.new);
        if let Some(file) = finding {
            n_found += 1;
            report(&target, &file)?;
        }
    }
    if n_found > 0 {
        bail!("{n_found} of the targets found something");
    }
    Ok(())
}

/// Makes a finding smaller and says how to replay it.
fn report(target: &str, file: &Path) -> Result<()> {
    let small = file.with_extension("small");
    let (from, to) = (file.to_string_lossy(), small.to_string_lossy());
    println!("\n{target} fails on {from}; making it smaller");
    let words = ["run", "--quiet", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--no-default-features"];
    let mut replay = cargo(&words);
    replay.args(["--example", "replay", "--", target, &from, "--minimise", &to]);
    replay.env("RUST_BACKTRACE", "0");
    let shown = if shell::run(&mut replay).is_ok() { small } else { file.to_owned() };
    let tail = fs::read_to_string(Places::new(&grown(), shell::root(), target).log).unwrap_or_default();
    let told = tail.lines().skip_while(|line| !line.contains("panicked at")).take(2);
    told.for_each(|line| println!("{}", line.chars().take(2_000).collect::<String>()));
    println!("to replay it:\n    cargo {} --example replay -- {target} {}", words.join(" "), shown.display());
    Ok(())
}

/// Starts a target.
///
/// # Errors
/// When it cannot be started.
pub fn start(target: &str, binaries: &Path, places: &Places, seconds: u64) -> Result<Child> {
    for dir in [&places.corpus, &places.findings] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let log = File::create(&places.log).context("cannot write the log")?;
    let max_len = MAX_LEN.iter().find(|(name, _)| *name == target).map_or(USUAL_MAX_LEN, |(_, len)| *len);
    let mut command = Command::new(binaries.join(target));
    command.args([&places.corpus, &places.seeds]);
    command.arg(format!("-artifact_prefix={}/", places.findings.display()));
    command.args([format!("-max_total_time={seconds}"), format!("-timeout={TIMEOUT}")]);
    command.args([format!("-rss_limit_mb={MEMORY}"), format!("-max_len={max_len}")]);
    command.args(["-print_final_stats=1", "-use_value_profile=1", "-len_control=20"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir(shell::root());
    command.spawn().with_context(|| format!("cannot start {target}"))
}

/// Runs a target to its end.
///
/// # Errors
/// When it cannot be run, or ends in a way that is no finding.
pub fn run_one(target: &str, binaries: &Path, places: &Places, seconds: u64) -> Result<Outcome> {
    let status = start(target, binaries, places, seconds)?.wait().context("cannot wait for a target")?;
    let text = fs::read(&places.log).context("cannot read the log")?;
    let text = String::from_utf8_lossy(&text);
    let finding = finding(&text);
    if !status.success() && finding.is_none() {
        bail!("it ended with {status}; see {}", places.log.display());
    }
    Ok(Outcome { summary: summary(&text), finding })
}

/// The file a failing input was written to.
fn finding(log: &str) -> Option<PathBuf> {
    log.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path.into())
}

/// The last status line, as `#8192 pulse cov: 412 ft: 980 corp: 120/34Kb exec/s: 4096 rss: 45Mb`, and the totals.
fn summary(log: &str) -> Summary {
    let number = |text: &str| {
        let digits = text.trim_start().split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    let mut summary = Summary::default();
    for line in log.lines() {
        let after = |word: &str| line.split_once(word).map(|(_, rest)| number(rest));
        if let (Some(executions), Some(edges)) = (line.strip_prefix('#').map(number), after(" cov: ")) {
            summary.executions = executions;
            summary.edges = edges;
            summary.corpus = after(" corp: ").unwrap_or(summary.corpus);
        }
        summary.executions = after("stat::number_of_executed_units:").unwrap_or(summary.executions);
        summary.new = after("stat::new_units_added:").unwrap_or(summary.new);
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
INFO: Seed: 12
#2\tINITED cov: 300 ft: 310 corp: 1/1b exec/s: 0 rss: 41Mb
#8192\tpulse  cov: 412 ft: 980 corp: 120/34Kb lim: 4096 exec/s: 4096 rss: 45Mb
#9000\tDONE   cov: 413 ft: 981 corp: 121/34Kb lim: 4096 exec/s: 4096 rss: 45Mb
Done 9000 runs in 3 second(s)
stat::number_of_executed_units: 9001
stat::new_units_added:          17
";

    #[test]
    fn the_last_status_counts() {
        let expected = Summary { executions: 9001, edges: 413, corpus: 121, new: 17 };
        assert_eq!(summary(LOG), expected);
        assert_eq!(finding(LOG), None);
    }

    #[test]
    fn a_finding_names_its_file() {
        let log = "artifact_prefix='/x/'; Test unit written to /x/crash-12\nBase64: AA==\n";
        assert_eq!(finding(log), Some(PathBuf::from("/x/crash-12")));
    }
}
