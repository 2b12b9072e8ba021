//! Runs one input through one target without libFuzzer: `replay TARGET FILE...`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let Some((_, target)) = weft_fuzz::TARGETS.iter().find(|(known, _)| *known == name) else {
        let names: Vec<&str> = weft_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: replay {} FILE...", names.join("|"));
        return ExitCode::from(2);
    };
    for file in args {
        match std::fs::read(&file) {
            Ok(data) => target(&data),
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
