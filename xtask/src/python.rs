//! Other people's programs, from PyPI, in virtual environments that the interop tests find in the target folder.

use std::path::Path;

use anyhow::Result;

use crate::metadata::Metadata;
use crate::shell;

/// What is installed, by environment: FAUCET brings the os-ken it is made for, which runs other applications too.
const ENVIRONMENTS: &[(&str, &[&str])] = &[
    ("controllers", &["faucet==1.10.12", "os-ken==3.1.0", "eventlet==0.41.3"]),
    ("schemathesis", &["schemathesis==4.32.5"]),
];

/// Makes `target/venv/NAME` for each, or does nothing if it is there with these packages.
pub fn install() -> Result<()> {
    let folder = Metadata::load()?.target_directory.join("venv");
    ENVIRONMENTS.iter().try_for_each(|(name, packages)| install_one(&folder.join(name), packages))
}

fn install_one(venv: &Path, packages: &[&str]) -> Result<()> {
    let (python, mark) = (venv.join("bin/python"), venv.join("installed"));
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        println!("{} are installed", packages.join(", "));
        return Ok(());
    }
    shell::run(&mut shell::command("python3", &["-m", "venv", "--clear", &venv.to_string_lossy()]))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    shell::run(&mut shell::command(&python.to_string_lossy(), &[&pip, packages].concat()))?;
    std::fs::write(mark, wanted)?;
    Ok(())
}
