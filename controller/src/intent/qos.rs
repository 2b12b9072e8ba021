//! How much may be sent, and by which queue.

use std::collections::BTreeSet;

use super::PortName;

/// Limits and priority of what hosts send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qos {
    /// What comes by each of these ports, each by itself.
    pub ports: BTreeSet<PortName>,
    /// What comes into each of these networks, on each switch by itself.
    pub networks: Vec<String>,
    /// Beyond this it is dropped. In kbit/s.
    pub rate: Option<u32>,
    /// What may come at once, in kbit.
    pub burst: Option<u32>,
    /// The queue that it leaves by.
    pub queue: Option<u32>,
}

impl Qos {
    /// Says what is wrong with it by itself.
    pub(super) fn check(&self, add: &mut impl FnMut(String, String)) {
        if self.rate.is_none() && self.queue.is_none() {
            add("/rate".to_owned(), "a rate or a queue is needed".to_owned());
        }
        check_rate(self.rate, self.burst, add);
        if self.ports.is_empty() && self.networks.is_empty() {
            add("/ports".to_owned(), "at least one port or network is needed".to_owned());
        }
    }
}

/// Says what is wrong with a rate and its burst.
pub(super) fn check_rate(rate: Option<u32>, burst: Option<u32>, add: &mut impl FnMut(String, String)) {
    if rate == Some(0) {
        add("/rate".to_owned(), "the lowest rate is 1k, a thousand bits a second".to_owned());
    }
    if burst.is_some() && rate.is_none() {
        add("/burst".to_owned(), "a burst needs a rate".to_owned());
    }
}
