//! Other people's programs, installed from PyPI by `cargo xtask python`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// A program of the controllers' virtual environment, not started yet, that finds the other programs of it.
///
/// # Panics
/// When the environment is missing.
pub fn controller_command(program: &str) -> Command {
    environment_command("controllers", program)
}

/// The same of another environment.
///
/// # Panics
/// When the environment is missing.
pub fn environment_command(environment: &str, program: &str) -> Command {
    let bin = folder_of(environment).join("bin");
    let mut command = Command::new(bin.join(program));
    let mut path = OsString::from(bin);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.env("PATH", path);
    command
}

/// `target/venv/NAME` beside `target/PROFILE/deps/test-hash`.
fn folder_of(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its own path");
    let target = test.ancestors().nth(3).expect("cargo puts tests three folders deep");
    let venv = target.join("venv").join(name);
    assert!(
        venv.join("installed").exists(),
        "this test needs what `cargo xtask python` installs in {}",
        venv.display()
    );
    venv
}
