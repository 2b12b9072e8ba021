//! `cargo xtask bench stages`: the cost of a frame stage by stage, as a table and as a picture.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::peers::measured::{Case, Workload, machine, output, write_workload};
use crate::metadata;

/// What is drawn, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the picture goes.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The binary to measure, instead of a release build made now.
    #[arg(long, value_name = "FILE")]
    weft: Option<PathBuf>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// What is measured, and whether with the cache.
const ROWS: [(Case, bool); 10] = [
    (Case::L2Few, true),
    (Case::L2Many, true),
    (Case::L3, true),
    (Case::Acl, true),
    (Case::Acl, false),
    (Case::Gateway, true),
    (Case::Tse, true),
    (Case::Established, true),
    (Case::NewFlows, true),
    (Case::Colliding, true),
];

/// Budgets that VPP publishes for its nodes from input to output, in cycles a frame.
const BUDGETS: [(&str, f64); 3] = [("VPP, L2", 106.0), ("VPP, IPv4", 132.0), ("VPP, stateful ACL", 226.0)];

/// Colours of the stages, in the order in which frames pass them.
const COLOURS: [(&str, &str); 6] = [
    ("rx", "#4878a8"),
    ("extract", "#68a890"),
    ("cache", "#a8b858"),
    ("pipeline", "#d8a048"),
    ("actions", "#c86850"),
    ("tx", "#886890"),
];

#[derive(Debug, Deserialize)]
struct Outcome {
    cycles_per_frame: f64,
    stages: Vec<StageCost>,
}

#[derive(Debug, Deserialize)]
struct StageCost {
    stage: String,
    cycles_per_frame: f64,
}

/// One bar.
#[derive(Debug)]
struct Row {
    name: String,
    /// By stage; those of others have one part without a name.
    parts: Vec<(String, f64)>,
    /// Everything that the worker spent on a frame.
    total: f64,
}

/// Measures, prints, draws.
///
/// # Errors
/// When the bench fails or the picture cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let weft = metadata::weft(args.weft.as_deref())?;
    let dir = std::env::temp_dir().join(format!("weft-stages-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let rows = measure(&weft, &dir, args.seconds);
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    let (rows, machine) = (rows?, machine());
    println!("{machine}\n{}", table(&rows));
    if let Some(path) = &args.svg {
        std::fs::write(path, picture(&rows, &machine))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn measure(weft: &Path, dir: &Path, seconds: f64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (case, with_cache) in ROWS {
        let files: Workload = write_workload(case, dir)?;
        let mut command = std::process::Command::new(weft);
        command.args(["bench", "datapath", "--json", "--warm", "1", "--seconds", &seconds.to_string()]);
        command.arg("--pcap").arg(&files.capture).arg("--flows").arg(&files.flows);
        if !with_cache {
            command.arg("--no-cache");
        }
        let outcome: Outcome = serde_json::from_str(&output(&mut command, 600)?)?;
        ensure!(!outcome.stages.is_empty(), "no round was timed");
        let name = format!("{}{}", case.name(), if with_cache { "" } else { ", no cache" });
        let parts = outcome.stages.into_iter().map(|stage| (stage.stage, stage.cycles_per_frame)).collect();
        rows.push(Row { name, parts, total: outcome.cycles_per_frame });
    }
    let budgets = BUDGETS.iter().map(|(name, cycles)| Row {
        name: (*name).to_owned(),
        parts: vec![(String::new(), *cycles)],
        total: *cycles,
    });
    rows.extend(budgets);
    Ok(rows)
}

/// The table as documentation shows it.
fn table(rows: &[Row]) -> String {
    let heads = COLOURS.map(|(stage, _)| stage).join(" | ");
    let mut text =
        format!("| workload | {heads} | all, with the rounds between |\n|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let part = |(stage, _): &(&str, &str)| {
            let found = row.parts.iter().find(|(name, _)| name == stage);
            found.map_or_else(String::new, |(_, cycles)| format!("{cycles:.0}"))
        };
        let parts: Vec<String> = COLOURS.iter().map(part).collect();
        let _ = writeln!(text, "| {} | {} | {:.0} |", row.name, parts.join(" | "), row.total);
    }
    text
}

const ROW_HEIGHT: f64 = 26.0;
const LEFT: f64 = 150.0;
const WIDTH: f64 = 560.0;

/// Stacked bars, one a workload, and beside them the budgets of others.
fn picture(rows: &[Row], machine: &str) -> String {
    let longest =
        rows.iter().map(|row| row.total.max(row.parts.iter().map(|p| p.1).sum())).fold(1.0, f64::max);
    let (scale, height) = (WIDTH / longest, 70.0 + ROW_HEIGHT * rows.len() as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"18\" font-weight=\"bold\">Cycles a frame, stage by stage</text>\n\
         <text x=\"10\" y=\"{:.0}\" fill=\"#606060\" font-size=\"10\">{machine}</text>\n",
        LEFT + WIDTH + 60.0,
        height - 8.0
    );
    for (at, (stage, colour)) in COLOURS.iter().enumerate() {
        let x = LEFT + 90.0 * at as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"26\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"35\">{stage}</text>",
            x + 14.0
        );
    }
    for (at, row) in rows.iter().enumerate() {
        let y = 46.0 + ROW_HEIGHT * at as f64;
        let _ = writeln!(svg, "<text x=\"10\" y=\"{:.0}\">{}</text>", y + 14.0, row.name);
        let mut x = LEFT;
        for (stage, cycles) in &row.parts {
            let found = COLOURS.iter().find(|(name, _)| name == stage);
            let (colour, width) = (found.map_or("#b0b0b0", |(_, colour)| *colour), cycles * scale);
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>"
            );
            x += width;
        }
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.0}\">{:.0}</text>", x + 5.0, y + 14.0, row.total);
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_picture_show_every_part() {
        let parts = vec![("rx".to_owned(), 40.0), ("cache".to_owned(), 60.0)];
        let rows = [
            Row { name: "l2".to_owned(), parts, total: 110.0 },
            Row { name: "VPP, L2".to_owned(), parts: vec![(String::new(), 106.0)], total: 106.0 },
        ];
        let text = table(&rows);
        assert!(text.contains("| l2 | 40 |  | 60 |  |  |  | 110 |"), "{text}");
        assert!(text.contains("| VPP, L2 |  |  |  |  |  |  | 106 |"), "{text}");
        let svg = picture(&rows, "a machine");
        assert_eq!(svg.matches("height=\"18\"").count(), 3, "two parts and a budget");
        assert!(svg.contains("a machine") && svg.ends_with("</svg>\n"));
    }
}
