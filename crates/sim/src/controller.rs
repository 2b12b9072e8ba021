//! The controller as a node without links.

use packet::Instant;

/// The controller.
#[derive(Debug)]
pub struct ControllerNode {}

impl ControllerNode {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
