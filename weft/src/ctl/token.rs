//! `weft ctl token`: makes a token for a caller of the REST API.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

use crate::controllerd::auth::{Role, mint};

/// Prints a new token, and adds its line to a file, or prints that, too.
pub fn make(name: &str, role: &Role, file: Option<&Path>) -> anyhow::Result<()> {
    let (token, line) = mint(name, role);
    match file {
        Some(path) => {
            // What is in there is no secret, but nobody else may add to it.
            let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
            let written = file.and_then(|mut file| writeln!(file, "{line}"));
            written.with_context(|| format!("cannot add to {}", path.display()))?;
            eprintln!("{} has it from the controller's next start on", path.display());
        }
        None => eprintln!("{line}"),
    }
    println!("{token}");
    Ok(())
}
