//! `cargo xtask cert`: the certification cases that os-ken's wheel carries, with weft as the switch under test and as
//! the tester.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::metadata::Metadata;
use crate::shell;

mod cases;
mod pair;
mod report;

use cases::CaseFile;
use pair::Pair;
use report::Outcome;

/// The release that carries the cases and runs them.
const OS_KEN: &str = "os-ken==4.2.2";

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Editions of the suite.
    #[arg(long = "edition", value_enum, default_values_t = [Edition::Of13])]
    editions: Vec<Edition>,
    /// Only the case files whose path contains this, such as match/10_ or meter.
    filter: Option<String>,
    /// Pairs of switches working side by side; most of a case is waiting.
    #[arg(long, default_value_t = 10)]
    shards: usize,
    /// The same for cases that measure a rate, which come last; each needs most of a processor.
    #[arg(long, default_value_t = 2)]
    rate_shards: usize,
    /// Leave out the cases that measure a rate: half a minute each.
    #[arg(long)]
    no_rates: bool,
    /// Mend what os-ken 4.2.2 does wrong in its own part: the checksum of SCTP packets that it sends and expects, and the
    /// comparison of masked IPv6 addresses (docs/conformance.md).
    #[arg(long)]
    mend_tester: bool,
    /// Exit with an error when fewer cases of an edition pass than this.
    #[arg(long)]
    at_least: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Edition {
    /// OpenFlow 1.0, 192 cases.
    Of10,
    /// OpenFlow 1.3, 991 cases.
    Of13,
    /// OpenFlow 1.4, 1,003 cases.
    Of14,
}

impl Edition {
    fn folder(self) -> &'static str {
        match self {
            Self::Of10 => "of10",
            Self::Of13 => "of13",
            Self::Of14 => "of14",
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Of10 => "openflow10",
            Self::Of13 => "openflow13",
            Self::Of14 => "openflow14",
        }
    }
}

/// Runs the editions asked for and prints the counts of each; the results go to target/cert.
pub fn run(args: &Args) -> Result<()> {
    let target = Metadata::load()?.target_directory;
    let work = target.join("cert");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let weft = match std::env::var_os("WEFT_BIN") {
        Some(binary) => PathBuf::from(binary),
        None => {
            shell::run(&mut shell::cargo(&["build", "--release", "--package", "weft", "--locked"]))?;
            target.join("release/weft")
        }
    };
    let suite = Suite::install(&work, args.mend_tester)?;
    let mut too_few = Vec::new();
    for &edition in &args.editions {
        let outcomes = run_edition(args, &suite, edition, &weft, &work)?;
        let counts = report::print(edition.folder(), &outcomes);
        report::write(&work.join(format!("{}.json", edition.folder())), &outcomes)?;
        if args.at_least.is_some_and(|least| counts.n_passed < least) {
            too_few.push(format!("{}: {} of {}", edition.folder(), counts.n_passed, counts.n_cases));
        }
    }
    if too_few.is_empty() {
        Ok(())
    } else {
        bail!("fewer cases passed than asked for: {}", too_few.join(", "))
    }
}

fn run_edition(
    args: &Args,
    suite: &Suite,
    edition: Edition,
    weft: &Path,
    work: &Path,
) -> Result<Vec<Outcome>> {
    let mut files = cases::find(&suite.cases.join(edition.folder()))?;
    if let Some(filter) = &args.filter {
        files.retain(|file| file.name.contains(filter.as_str()));
    }
    if files.is_empty() {
        bail!("no case file of {} matches {:?}", edition.folder(), args.filter);
    }
    let (mut rates, others): (Vec<_>, Vec<_>) = files.into_iter().partition(CaseFile::measures_rate);
    if args.no_rates {
        rates.clear();
    }
    let mut outcomes =
        run_side_by_side(suite, edition, weft, work, &cases::deal(others, args.shards.max(1)))?;
    let shards = cases::deal(rates, args.rate_shards.max(1));
    outcomes.extend(run_side_by_side(suite, edition, weft, work, &shards)?);
    outcomes.sort();
    Ok(outcomes)
}

fn run_side_by_side<'a>(
    suite: &Suite,
    edition: Edition,
    weft: &Path,
    work: &Path,
    shards: &'a [Vec<CaseFile>],
) -> Result<Vec<Outcome>> {
    let results: Vec<Result<Vec<Outcome>>> = std::thread::scope(|scope| {
        let start = |(idx, files): (usize, &'a Vec<CaseFile>)| {
            let dir = work.join(format!("{}-{idx}", edition.folder()));
            scope.spawn(move || run_shard(suite, edition, weft, &dir, files))
        };
        let threads: Vec<_> = shards.iter().enumerate().map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| bail!("a shard's thread panicked"))
        };
        threads.into_iter().map(join).collect()
    });
    let mut outcomes = Vec::new();
    for result in results {
        outcomes.extend(result?);
    }
    Ok(outcomes)
}

fn run_shard(
    suite: &Suite,
    edition: Edition,
    weft: &Path,
    dir: &Path,
    files: &[CaseFile],
) -> Result<Vec<Outcome>> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    let cases = dir.join("cases");
    std::fs::create_dir_all(&cases).with_context(|| format!("cannot make {}", cases.display()))?;
    for (idx, file) in files.iter().enumerate() {
        std::fs::copy(&file.path, cases.join(format!("{idx:03}.json")))
            .with_context(|| format!("cannot copy {}", file.path.display()))?;
    }
    let pair = Pair::start(weft, dir)?;
    let log = pair.run_tester(suite, &cases, edition.protocol())?;
    let outcomes = report::parse(&log);
    let expected: BTreeMap<&str, usize> = files.iter().map(|f| (f.name.as_str(), f.n_cases)).collect();
    let n_expected: usize = expected.values().sum();
    if outcomes.len() != n_expected {
        bail!(
            "the tester reported {} of {n_expected} cases; its log is in {}",
            outcomes.len(),
            dir.display()
        );
    }
    Ok(outcomes)
}

/// os-ken in a virtual environment of its own.
struct Suite {
    python: PathBuf,
    cases: PathBuf,
    /// What the tester does wrong is to be mended.
    mend_tester: bool,
}

impl Suite {
    fn install(work: &Path, mend_tester: bool) -> Result<Self> {
        let venv = work.join("venv");
        let python = venv.join("bin/python");
        let venv_text = venv.to_string_lossy().into_owned();
        if !python.exists() {
            shell::run(&mut shell::command("python3", &["-m", "venv", &venv_text]))?;
        }
        let python_text = python.to_string_lossy().into_owned();
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", OS_KEN, "eventlet"];
        shell::run(&mut shell::command(&python_text, &pip))?;
        let locate = "import os_ken.tests.switch as s; print(list(s.__path__)[0])";
        let output = shell::command(&python_text, &["-c", locate]).output().context("cannot ask python")?;
        let cases = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if !cases.is_dir() {
            bail!("{OS_KEN} carries no cases: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self { python, cases, mend_tester })
    }
}
