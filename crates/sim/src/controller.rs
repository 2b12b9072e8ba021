//! The controller as a node without links.

use controller::{Controller, Event};
use packet::Instant;

/// The controller and what it had to tell people.
#[derive(Debug)]
pub struct ControllerNode {
    pub(crate) controller: Controller,
    pub(crate) events: Vec<(Instant, Event)>,
}

impl ControllerNode {
    pub(crate) fn new(controller: Controller) -> Self {
        Self { controller, events: Vec::new() }
    }

    /// The core, to be asked questions.
    pub fn core(&self) -> &Controller {
        &self.controller
    }

    /// What it had to tell, oldest first.
    pub fn events(&self) -> &[(Instant, Event)] {
        &self.events
    }
}
