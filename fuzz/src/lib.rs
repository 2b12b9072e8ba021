//! What each fuzz target does with its bytes, as plain functions: the targets call them, and so do the test below and
//! a reader who wants to replay a finding in a debugger (`cargo run --example replay -- TARGET FILE`).

mod codec;
mod frames;
pub mod minimise;
pub mod mutate;
mod router;
mod switch;
mod text;

#[path = "../../vswitch/tests/operations/mod.rs"]
pub mod operations;

pub use codec::codec;
pub use frames::frames;
pub use router::{EVENT_SIZE, router};
pub use switch::switch;
pub use text::flow_text;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its binary, and of its folder in `corpus`.
    pub name: &'static str,
    /// What it does with its bytes. It panics when something does not hold.
    pub run: fn(&[u8]),
    /// Bytes before the pieces of its input.
    pub head: usize,
    /// Bytes of a piece that can be taken out by itself.
    pub piece: usize,
    /// What the bytes mean, for readers.
    pub describe: fn(&[u8]) -> String,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "codec", run: codec, head: 1, piece: 8, describe: codec::describe },
    Target { name: "flow_text", run: flow_text, head: 0, piece: 1, describe: text::describe },
    Target { name: "frames", run: frames, head: 8, piece: 2, describe: frames::describe },
    Target { name: "router", run: router, head: 0, piece: EVENT_SIZE, describe: router::describe },
    Target {
        name: "switch",
        run: switch,
        head: switch::HEAD,
        piece: operations::OP_SIZE,
        describe: switch::describe,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings of the past are seeds of the future: all of them must pass.
    #[test]
    fn every_seed_passes() {
        for target in TARGETS {
            let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
            let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
            let mut n_seeds = 0;
            for entry in entries {
                let path = entry.expect("a directory entry").path();
                println!("{}", path.display());
                (target.run)(&std::fs::read(&path).expect("a seed"));
                n_seeds += 1;
            }
            assert!(n_seeds > 5, "{}: {n_seeds} seeds", target.name);
        }
    }
}
