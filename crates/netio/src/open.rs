//! From a specification to the queues of a port.

use std::io;

use crate::link::LinkError;
use crate::netns::NetnsError;
use crate::port::Port;
use crate::spec::PortSpec;

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The namespace cannot be had.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// The interface cannot be set up.
    #[error("{port}: cannot set up the interface")]
    Link {
        /// The port's specification.
        port: String,
        /// What went wrong.
        #[source]
        source: LinkError,
    },
    /// There is no such interface.
    #[error("{port}: there is no interface \"{interface}\"")]
    Missing {
        /// The port's specification.
        port: String,
        /// What was looked for.
        interface: String,
    },
    /// Another process or another device has the name.
    #[error("{port}: an interface \"{interface}\" exists and is {what}")]
    InUse {
        /// The port's specification.
        port: String,
        /// Its name.
        interface: String,
        /// What stands in the way.
        what: &'static str,
    },
    /// Not allowed.
    #[error("{port}: not permitted to {what}: {needs} is needed")]
    Privilege {
        /// The port's specification.
        port: String,
        /// What was tried.
        what: &'static str,
        /// What would permit it.
        needs: &'static str,
    },
    /// `link:` ports are made by the dataplane, and an option may not fit a kind.
    #[error("{port}: {why}")]
    Unsupported {
        /// The port's specification.
        port: String,
        /// Why not.
        why: &'static str,
    },
    /// Anything else.
    #[error("{port}: cannot {what}")]
    Io {
        /// The port's specification.
        port: String,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// How ports are opened, beyond what their specification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Queues of a tap whose specification names no number; one a worker is right.
    pub n_queues: u16,
    /// Devices that are made survive the process and are attached again by name.
    pub persistent: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { n_queues: 1, persistent: false }
    }
}

/// Opens a port: one element for each of its queues. Interfaces that are not in a named namespace are looked for in
/// that of the calling thread. Blocks; from async code call it on a blocking thread.
///
/// # Errors
/// With the port, what was tried and what would help. What had been made by then is gone again.
pub fn open(spec: &PortSpec, options: OpenOptions) -> Result<Vec<Box<dyn Port>>, OpenError> {
    let _ = options;
    Err(OpenError::Unsupported { port: spec.to_string(), why: "not yet" })
}
