//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process::{Finished, Process, run};
use crate::sandbox::Sandbox;

/// The real binary with a run directory of its own.
///
/// `WEFT_BIN` names it (`cargo xtask ci` sets it to the release build); otherwise cargo builds it first, in the
/// profile of the test, so that no stale binary is ever tested.
#[derive(Debug, Clone)]
pub struct Weft {
    binary: PathBuf,
    run_dir: PathBuf,
    log_dir: PathBuf,
}

impl Weft {
    /// The binary, its run directory inside `sandbox`.
    ///
    /// # Panics
    /// When the binary is missing and cannot be built.
    pub fn new(sandbox: &Sandbox) -> Self {
        let (run_dir, log_dir) = (sandbox.run_dir().to_owned(), sandbox.dir().to_owned());
        Self { binary: binary().to_owned(), run_dir, log_dir }
    }

    /// Where the binary is.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// `weft ARGS`, run from the root of the workspace, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(workspace_root()).env("WEFT_RUN_DIR", &self.run_dir);
        command
    }

    /// Runs `weft ARGS` to its end.
    ///
    /// # Panics
    /// When the binary cannot be started.
    pub fn run(&self, args: &[&str]) -> Finished {
        run(&mut self.command(args))
    }

    /// Starts `weft ARGS`, a daemon that ends with its guard. `name` names its log.
    ///
    /// # Panics
    /// When the binary cannot be started.
    pub fn spawn(&self, name: &str, args: &[&str]) -> Process {
        Process::spawn(&mut self.command(args), &self.log_dir.join(format!("{name}.log")))
    }
}

/// The root of the workspace: where `topologies/` is.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is a folder of the workspace")
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("WEFT_BIN") {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "WEFT_BIN={} is no file", path.display());
            return std::path::absolute(&path).expect("the working directory exists");
        }
        build()
    })
}

/// Builds the binary beside this test: `target/PROFILE/deps/test-hash` -> `target/PROFILE/weft`.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its own path");
    let profile_dir = test.ancestors().nth(2).expect("cargo puts tests two folders deep");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "weft", "--bin", "weft", "--target-dir"]);
    cargo.arg(profile_dir.parent().expect("a profile is a folder of the target directory"));
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    run(cargo.current_dir(workspace_root())).success();
    profile_dir.join("weft")
}
