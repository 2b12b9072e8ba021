//! Ways that an operator lays out.

use super::PortName;

/// A way of its own for what one endpoint sends to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it begins.
    pub from: PortName,
    /// Where it ends.
    pub to: PortName,
    /// Switches that it passes, in order.
    pub via: Vec<String>,
    /// Switches that it does not pass.
    pub avoid: Vec<String>,
    /// Links that it does not take, each by a port at one of its ends.
    pub avoid_links: Vec<PortName>,
    /// A second way that shares no link with it stands by.
    pub backup: bool,
    /// What returns takes the same way.
    pub symmetric: bool,
    /// Without such a way nothing passes.
    pub strict: bool,
}

impl Route {
    /// The directions that it is for.
    pub(super) fn headings(&self) -> impl Iterator<Item = (PortName, PortName)> + use<> {
        let there = (self.from.clone(), self.to.clone());
        let back = self.symmetric.then(|| (self.to.clone(), self.from.clone()));
        [there].into_iter().chain(back)
    }

    /// Says what is wrong with it by itself.
    pub(super) fn check(&self, add: &mut impl FnMut(String, String)) {
        if self.from == self.to {
            add("/to".to_owned(), format!("{} is at both ends", self.to));
        }
        for (idx, switch) in self.via.iter().enumerate() {
            if self.avoid.contains(switch) {
                add(format!("/via/{idx}"), format!("switch {switch:?} is to be avoided, too"));
            }
            if self.via[..idx].contains(switch) {
                add(format!("/via/{idx}"), format!("switch {switch:?} stands twice in the way"));
            }
        }
    }
}
