//! Other people's controllers, from PyPI, in a virtual environment that the interop tests find in the target folder.

use anyhow::Result;

use crate::metadata::Metadata;
use crate::shell;

/// What is installed: FAUCET brings the os-ken it is made for, which runs other applications too.
const PACKAGES: &[&str] = &["faucet==1.10.12", "os-ken==3.1.0", "eventlet==0.41.3"];

/// Makes `target/venv/controllers`, or does nothing if it is there with these packages.
pub fn install() -> Result<()> {
    let venv = Metadata::load()?.target_directory.join("venv/controllers");
    let (python, mark) = (venv.join("bin/python"), venv.join("installed"));
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        println!("{} are installed", PACKAGES.join(", "));
        return Ok(());
    }
    shell::run(&mut shell::command("python3", &["-m", "venv", "--clear", &venv.to_string_lossy()]))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    shell::run(&mut shell::command(&python.to_string_lossy(), &[&pip, PACKAGES].concat()))?;
    std::fs::write(mark, wanted)?;
    Ok(())
}
