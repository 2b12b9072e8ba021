//! Runs inputs through a target without libFuzzer: `replay TARGET FILE...`. With `--minimise OUT` it makes the one file
//! as small as it can while it still fails, writes that, and says what it means.

use std::process::ExitCode;

use weft_fuzz::minimise::{fails, minimise};
use weft_fuzz::{TARGETS, Target, target};

/// Inputs that a minimisation tries at most.
const MAX_TRIES: usize = 20_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some((target, rest)) = words.split_first().and_then(|(name, rest)| Some((target(name)?, rest)))
    else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: replay {} FILE... | FILE --minimise OUT", names.join("|"));
        return ExitCode::from(2);
    };
    let result = match rest {
        [file, "--minimise", out] => shrink(target, file, out),
        files => files.iter().try_for_each(|file| Ok((target.run)(&std::fs::read(file)?))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn shrink(target: &Target, file: &str, out: &str) -> std::io::Result<()> {
    let data = std::fs::read(file)?;
    if !fails(target, &data) {
        return Err(std::io::Error::other(format!("{file} does not fail")));
    }
    let small = minimise(target, &data, MAX_TRIES);
    std::fs::write(out, &small)?;
    println!("{} bytes of {}: {}", small.len(), data.len(), (target.describe)(&small));
    Ok(())
}
