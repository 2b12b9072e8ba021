//! Copies of what some ports send and receive.

use std::collections::BTreeSet;

use super::PortName;

/// Copies of the frames of some ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Whose frames.
    pub ports: BTreeSet<PortName>,
    /// What hosts there send.
    pub sent: bool,
    /// What hosts there receive.
    pub received: bool,
    /// The port where the copies leave; nothing else does, and nothing enters there.
    pub to: PortName,
}

impl Mirror {
    /// Says what is wrong with it by itself.
    pub(super) fn check(&self, add: &mut impl FnMut(String, String)) {
        if self.ports.is_empty() {
            add("/ports".to_owned(), "at least one port is needed".to_owned());
        }
        if self.ports.contains(&self.to) {
            add("/to".to_owned(), format!("{} is mirrored itself", self.to));
        }
        if !self.sent && !self.received {
            add("/direction".to_owned(), "either what is sent or what is received is needed".to_owned());
        }
    }
}
