//! Policies: who may speak IP to whom.

use std::collections::BTreeSet;

use super::PortName;
use crate::layout;

/// Most combinations of a source, a destination and a port in one policy.
const MAX_COMBINATIONS: usize = 65_536;

/// A rule between groups of endpoints. Of those that match, the one with the highest priority decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its place among policies; no two have the same.
    pub priority: u16,
    /// What happens to what matches.
    pub judgement: Judgement,
    /// Where it comes from; empty: anywhere.
    pub from: BTreeSet<PortName>,
    /// Where it goes to; empty: anywhere.
    pub to: BTreeSet<PortName>,
    /// Only this.
    pub traffic: Traffic,
    /// Answers pass because a connection was begun, not because of their ports.
    pub stateful: bool,
}

/// What a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// It passes.
    Allow,
    /// It is dropped.
    Deny,
    /// It is dropped, and the sender is told.
    Reject,
}

/// What a policy is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traffic {
    /// All of IP.
    Ip,
    /// TCP to these ports; none: to any.
    Tcp(BTreeSet<u16>),
    /// UDP to these ports; none: to any.
    Udp(BTreeSet<u16>),
    /// ICMP, and ICMPv6 other than neighbour discovery.
    Icmp,
}

impl Traffic {
    fn n_ports(&self) -> usize {
        match self {
            Self::Tcp(ports) | Self::Udp(ports) => ports.len().max(1),
            Self::Ip | Self::Icmp => 1,
        }
    }
}

impl Policy {
    /// Says what is wrong with it by itself.
    pub(super) fn check(&self, add: &mut impl FnMut(String, String)) {
        if self.priority > layout::policy::HIGHEST {
            let reason = format!("the highest priority is {}", layout::policy::HIGHEST);
            add("/priority".to_owned(), reason);
        }
        let n = self.from.len().max(1) * self.to.len().max(1) * self.traffic.n_ports();
        if n > MAX_COMBINATIONS {
            let reason = format!(
                "{n} combinations of source, destination and port; a policy may have {MAX_COMBINATIONS}"
            );
            add("/from".to_owned(), reason);
        }
    }
}
