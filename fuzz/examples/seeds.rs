//! Writes the seeds of `corpus`: recorded messages and flows from the tests of the codec, frames from the builders,
//! operations from dice. Run it when those change; findings kept as seeds (`found-*`) stay.

use std::fs;
use std::io::Result;
use std::path::Path;

use weft_fuzz::EVENT_SIZE;
use weft_fuzz::operations::{self, Dice, OP_SIZE};

/// Seeds of operations; each is as long as its number says.
const N_RUNS: u8 = 24;

fn main() -> Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = fuzz.join("corpus");
    let vectors = fuzz.join("../openflow/tests/vectors");
    codec(&vectors, &corpus.join("codec"))?;
    flow_text(&vectors.join("text/ovs-ofctl.txt"), &corpus.join("flow_text"))?;
    frames(&corpus.join("frames"))?;
    dice(&corpus.join("router"), 0, EVENT_SIZE)?;
    dice(&corpus.join("switch"), 1, OP_SIZE)
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(name), bytes)
}

/// One message of each kind and version. The first byte is that of the target: version, and that lengths are right.
fn codec(vectors: &Path, dir: &Path) -> Result<()> {
    for (version, how) in [("v13", 0u8), ("v14", 1), ("v10", 2)] {
        let Ok(entries) = fs::read_dir(vectors.join(version)) else { continue };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // Of flow mods there are many: enough of them.
            if name.rsplit_once('-').is_some_and(|(_, n)| n.len() > 1) {
                continue;
            }
            let digits: Vec<u8> =
                fs::read_to_string(&path)?.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
            let bytes = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]);
            let all: Vec<u8> = [how | 0x40].into_iter().chain(bytes).collect();
            if all.len() < 2_000 {
                write(dir, &format!("{version}-{name}"), &all)?;
            }
        }
    }
    Ok(())
}

fn flow_text(vectors: &Path, dir: &Path) -> Result<()> {
    let text = fs::read_to_string(vectors)?;
    let lines = text.lines().filter(|line| line.contains("actions="));
    for (n, line) in lines.step_by(3).take(60).enumerate() {
        write(dir, &format!("flow-{n:02}"), line.as_bytes())?;
    }
    Ok(())
}

/// Every kind of frame, from each port, whole.
fn frames(dir: &Path) -> Result<()> {
    for kind in 0..18u8 {
        // With up to two tags, the outer one of which has a priority.
        let choices = [kind, 0, 1, kind % 3, 3, 4, 4, 8, 4, 8, 1, 2, 0, 1];
        let bytes = operations::frame(&mut Dice::new(&choices));
        // Metadata that says nothing, the port, the set of flows.
        for set in [0, 1 + kind % 4] {
            let all = [&[0, 0, 0, 0, 0, 0, kind % 4, set], &bytes[..]].concat();
            write(dir, &format!("kind-{kind:02}-flows-{set}"), &all)?;
        }
    }
    Ok(())
}

/// Runs of ever more pieces behind a head.
fn dice(dir: &Path, head: usize, piece: usize) -> Result<()> {
    for run in 0..N_RUNS {
        let mut state = u64::from(run) + 1;
        let mut number = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let size = head + piece * (10 + usize::from(run) * 2);
        let mut bytes: Vec<u8> = (0..size).map(|_| number()).collect();
        bytes[..head].fill(run);
        write(dir, &format!("dice-{run:02}"), &bytes)?;
    }
    Ok(())
}
