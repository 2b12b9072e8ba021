//! `weft test`, `weft validate` and `weft graph`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use serde_json::json;
use topology::LoadError;

use super::{place, privilege, probe, read_model, report, table};

/// Arguments of `weft test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// The lab; may be left out when there is only one.
    name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the tests of a running lab; exit status 1 when one does not hold.
///
/// # Errors
/// When there is no such lab, or privilege is missing.
pub fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let lab = place::find(args.name.as_deref())?;
    if !lab.is_alive() {
        bail!("lab {} is dead; remove what is left with `weft down {}`", lab.name, lab.name);
    }
    privilege::check("testing a lab")?;
    let model = lab.model()?;
    let mut tell = report::for_people(args.json);
    let context = probe::Lab { model: &model, dir: &lab.dir };
    let outcomes = probe::run(&context, &AtomicBool::new(false), |outcome| {
        tell(report::Event::Outcome(outcome.clone()))
    });
    drop(tell);
    let pass = outcomes.iter().all(|outcome| outcome.pass);
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({"lab": lab.name, "pass": pass, "tests": outcomes}))?
        );
    } else if outcomes.is_empty() {
        println!("lab {} has no tests", lab.name);
    } else {
        println!("{}", table::outcomes(&outcomes));
    }
    Ok(if pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Arguments of `weft validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// The topology file.
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print the JSON schema of topology files instead.
    #[arg(long)]
    schema: bool,
}

/// Checks a file and makes nothing; exit status 1 when it is wrong.
///
/// # Errors
/// When it cannot be read.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    if args.schema {
        print!("{}", topology::schema());
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.file.as_deref().context("a file is needed")?;
    if args.json {
        return validate_json(file);
    }
    let Some((model, _)) = read_model(file)? else { return Ok(ExitCode::FAILURE) };
    println!(
        "{} is right: lab {}, {} nodes, {} links, {} tests",
        file.display(),
        model.name,
        model.nodes.len(),
        model.links.len(),
        model.tests.len()
    );
    Ok(ExitCode::SUCCESS)
}

fn validate_json(file: &std::path::Path) -> anyhow::Result<ExitCode> {
    let errors: Vec<_> = match topology::load(file) {
        Ok(_) => Vec::new(),
        Err(LoadError::Wrong(diagnostics)) => {
            let describe = |diagnostic: &topology::Diagnostic| {
                let (line, column) = diagnostics.source.position(diagnostic.at.start);
                json!({
                    "file": diagnostics.source.name, "line": line, "column": column,
                    "thing": diagnostic.thing, "what": diagnostic.what, "hint": diagnostic.hint,
                })
            };
            diagnostics.found.iter().map(describe).collect()
        }
        Err(error) => return Err(error.into()),
    };
    let right = errors.is_empty();
    println!("{}", serde_json::to_string_pretty(&json!({"right": right, "errors": errors}))?);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Arguments of `weft graph`.
#[derive(Debug, clap::Args)]
pub struct GraphArgs {
    /// The topology file.
    file: PathBuf,
    /// As what it is drawn; by default what the name of the output file says, else SVG.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where to; standard output when left out.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Svg,
    Dot,
}

/// Draws a file.
///
/// # Errors
/// When a file cannot be read or written.
pub fn graph(args: &GraphArgs) -> anyhow::Result<ExitCode> {
    let Some((model, _)) = read_model(&args.file)? else { return Ok(ExitCode::FAILURE) };
    let is_dot = |path: &PathBuf| path.extension().is_some_and(|end| end == "dot" || end == "gv");
    let dot =
        args.format.map_or_else(|| args.output.as_ref().is_some_and(is_dot), |format| format == Format::Dot);
    let text = if dot { topology::graph::dot(&model) } else { topology::graph::svg(&model) };
    match &args.output {
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?
        }
        None => print!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}
