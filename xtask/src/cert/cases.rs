//! The case files and how they are dealt to shards.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// One file of cases.
#[derive(Clone, Debug)]
pub struct CaseFile {
    /// Path under the edition, such as `match/06_VLAN_VID.json`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Cases in it.
    pub n_cases: usize,
    /// Seconds it is likely to take.
    weight: usize,
}

/// All case files under `folder`, however deep.
pub fn find(folder: &Path) -> Result<Vec<CaseFile>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "json") {
                files.push(read(folder, path)?);
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn read(folder: &Path, path: PathBuf) -> Result<CaseFile> {
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let cases: Value = serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))?;
    // The first element is the description of the file.
    let cases: &[Value] = cases.as_array().and_then(|all| all.get(1..)).unwrap_or(&[]);
    let weight = cases.iter().map(case_weight).sum();
    let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
    Ok(CaseFile { name, n_cases: cases.len(), weight, path })
}

impl CaseFile {
    /// Its cases measure a rate: they need the machine for themselves.
    pub fn measures_rate(&self) -> bool {
        self.weight > self.n_cases
    }
}

/// Cases that measure a rate send for thirty seconds.
fn case_weight(case: &Value) -> usize {
    let tests = case.get("tests").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    1 + 30 * tests.iter().filter(|test| test.pointer("/ingress/packets").is_some()).count()
}

/// Deals the files to at most `n` shards of nearly equal weight.
pub fn deal(mut files: Vec<CaseFile>, n: usize) -> Vec<Vec<CaseFile>> {
    files.sort_by_key(|file| std::cmp::Reverse(file.weight));
    let mut shards: Vec<(usize, Vec<CaseFile>)> = vec![(0, Vec::new()); n.min(files.len())];
    for file in files {
        if let Some((weight, shard)) = shards.iter_mut().min_by_key(|(weight, _)| *weight) {
            *weight += file.weight;
            shard.push(file);
        }
    }
    shards.into_iter().map(|(_, shard)| shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_hold_every_file_once_and_are_even() {
        let file = |weight| CaseFile { name: String::new(), path: PathBuf::new(), n_cases: weight, weight };
        let shards = deal([9, 1, 1, 1, 5, 4].map(file).to_vec(), 3);
        let mut weights: Vec<usize> = shards.iter().map(|s| s.iter().map(|f| f.weight).sum()).collect();
        weights.sort_unstable();
        assert_eq!(weights, [6, 6, 9]);
        assert_eq!(deal(vec![file(1)], 4).len(), 1);
    }
}
