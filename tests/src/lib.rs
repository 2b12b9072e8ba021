//! Black box tests: the real binary, real namespaces, real third-party peers.
//!
//! A test begins with [`Sandbox::enter`]: its thread and every process it starts live in a network and mount
//! namespace of their own, where `/run/netns` is empty, port 6653 is free and no other test can be seen. So tests
//! use plain names (`h1`), run beside each other, and the leak check at the end is exact.
//!
//! ```no_run
//! use system_tests::{Sandbox, Weft};
//! let sandbox = Sandbox::enter("two_hosts");
//! let weft = Weft::new(&sandbox);
//! let before = sandbox.snapshot();
//! weft.run(&["up", "topologies/01-two-hosts.yaml", "--detach"]).success();
//! weft.run(&["exec", "h1", "--", "true"]).success();
//! weft.run(&["down"]).success();
//! sandbox.assert_nothing_left(&before);
//! ```
//!
//! Everything here panics with what was expected, what was seen and the logs that explain it: a panic is how a test
//! fails. Waits are level-triggered with a deadline ([`wait_until`]), never a sleep.

mod controllers;
mod namespace;
mod openflow;
mod ovs;
mod process;
mod raw;
mod rest;
mod sandbox;
mod tcp;
mod unixctl;
mod vm;
mod wait;
mod weft;

pub use controllers::{controller_command, environment_command};
pub use namespace::{Namespace, veth_pair};
pub use openflow::{OfController, OfMessage};
pub use ovs::Ovs;
pub use process::{Finished, Process, run};
pub use raw::RawSocket;
pub use rest::wait_call;
pub use sandbox::{Sandbox, Snapshot};
pub use tcp::{connects, transfer};
pub use unixctl::UnixCtl;
pub use vm::Vm;
pub use wait::{free_port, wait_for, wait_until};
pub use weft::{Weft, workspace_root};

/// Fails the test when it does not run as root.
///
/// # Panics
/// With the way out, when the effective user id is not 0. A test is never skipped silently.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces and devices and needs root: run `sudo -E cargo xtask ci` \
         (or `unshare --user --map-root-user --net --mount cargo test -p system-tests`)"
    );
}

/// Fails the test when `program` is not in the PATH, naming the Debian package that has it.
///
/// # Panics
/// When the program is missing.
pub fn require_program(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(std::path::PathBuf::from);
    let found = std::env::split_paths(&path).chain(extra).any(|dir| dir.join(program).is_file());
    assert!(
        found,
        "this test needs `{program}`: `apt-get install {package}`, or run `cargo xtask ci`, which does that"
    );
}
