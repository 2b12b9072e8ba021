//! Kernel and initrd of the test VM.

use anyhow::Result;

use crate::shell;

/// Makes build/vm/vmlinuz and build/vm/initrd.gz; does nothing when they are up to date.
pub fn run() -> Result<()> {
    shell::run(&mut shell::command("bash", &["topologies/vm/make-image.sh"]))
}
