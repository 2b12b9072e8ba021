//! Planted bugs: patches that each put one small, likely bug into the code, and name the target that must find it.
//! What finds none of them would find none of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::run::{Places, run_one};
use super::{build, grown};
use crate::shell::{self, command};

/// A bug must be found within this time.
const PATIENCE: Duration = Duration::from_secs(600);

/// A patch of fuzz/planted.
#[derive(Debug, PartialEq, Eq)]
struct Bug {
    name: String,
    file: PathBuf,
    /// The target that must find it: its line `Found-by:`.
    target: String,
}

/// Every planted bug, by name.
fn bugs() -> Result<Vec<Bug>> {
    let dir = shell::root().join("fuzz/planted");
    let mut bugs = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let target =
            found_by(&text).with_context(|| format!("{}: no line `Found-by: TARGET`", file.display()))?;
        bugs.push(Bug { name, target: target.to_owned(), file });
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}

fn found_by(patch: &str) -> Option<&str> {
    patch.lines().find_map(|line| line.strip_prefix("Found-by: ")).map(str::trim)
}

/// Plants each bug in a copy of the tree, one after the other, and runs its target until it finds it.
///
/// # Errors
/// When one is not found in time, or a patch does not apply any more.
pub fn run(names: &[String]) -> Result<()> {
    let mut bugs = bugs()?;
    bugs.retain(|bug| names.is_empty() || names.contains(&bug.name));
    if bugs.is_empty() {
        bail!("no planted bug of these names: {}", names.join(", "));
    }
    let mut rows = Vec::new();
    for bug in &bugs {
        println!("\n== {}", bug.name);
        let result = hunt(bug);
        if let Err(error) = &result {
            println!("{error:#}");
        }
        rows.push((bug, result));
    }
    println!("\n{:<34} {:<10} {:>8}", "planted", "target", "seconds");
    let mut n_missed = 0;
    for (bug, result) in &rows {
        let seconds = match result {
            Ok(Some(time)) => format!("{:.0}", time.as_secs_f64()),
            Ok(None) => "not found".to_owned(),
            Err(_) => "failed".to_owned(),
        };
        n_missed += usize::from(!matches!(result, Ok(Some(_))));
        println!("{:<34} {:<10} {seconds:>8}", bug.name, bug.target);
    }
    if n_missed > 0 {
        bail!("{n_missed} of {} planted bugs were not found", rows.len());
    }
    Ok(())
}

/// The time it took to find a bug, from an empty corpus and the seeds; none if it was not found.
#[expect(clippy::disallowed_methods, reason = "tooling measures real time")]
fn hunt(bug: &Bug) -> Result<Option<Duration>> {
    let tree = grown().join("planted/tree");
    let dir = grown().join("planted").join(&bug.name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    copy_tree(&tree)?;
    let patch = bug.file.to_string_lossy();
    let mut apply = command("git", &["apply", &patch]);
    // Inside a repository, git would take paths from its root.
    shell::run_quietly(apply.current_dir(&tree).env("GIT_CEILING_DIRECTORIES", grown()))?;
    let binaries = build::build(&tree, core::slice::from_ref(&bug.target))?;
    let start = Instant::now();
    let places = Places::new(&dir, shell::root(), &bug.target);
    let outcome = run_one(&bug.target, &binaries, &places, PATIENCE.as_secs())?;
    Ok(outcome.finding.map(|_| start.elapsed()))
}

/// Copies what git knows of, or would, as it is in the working tree. Files that are the same keep their times, so that
/// only what a patch touches is built again.
pub(crate) fn copy_tree(to: &Path) -> Result<()> {
    let listed = command("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot start git")?;
    let text = String::from_utf8(listed.stdout).context("a name of a file is no text")?;
    for name in text.split_terminator('\0') {
        let (from, to) = (shell::root().join(name), to.join(name));
        let Ok(wanted) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == wanted) {
            continue;
        }
        let dir = to.parent().context("a file is in a folder")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        fs::write(&to, wanted).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_applies_and_names_a_target() {
        let targets = super::super::all_targets().expect("there are targets");
        let bugs = bugs().expect("there are patches");
        assert!(bugs.len() >= 10, "{} planted bugs", bugs.len());
        for bug in bugs {
            let patch = bug.file.to_string_lossy();
            let check = shell::run_quietly(&mut command("git", &["apply", "--check", &patch]));
            check.unwrap_or_else(|e| panic!("{}: {e:#}", bug.name));
            assert!(targets.contains(&bug.target), "{}: no target {}", bug.name, bug.target);
        }
    }
}
