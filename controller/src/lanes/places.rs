//! What a port is for: decided from what is said of it, and from nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use packet::VlanId;

use super::names::Claim;
use crate::blueprint::Issue;
use crate::intent::{Attachment, Intent, PortName};
use crate::layout;
use crate::view::{At, Role, View};

/// What a port is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The lane of its untagged frames.
    pub access: Option<VlanId>,
    /// The lanes of its tagged ones.
    pub trunks: BTreeSet<VlanId>,
    /// The function it belongs to.
    pub function: Option<Arc<str>>,
    /// Copies leave there.
    pub is_outlet: bool,
    /// A link, a function or an outlet of copies: no hosts.
    pub is_taken: bool,
    /// What cannot be as it was said.
    pub issues: Vec<Issue>,
}

impl Place {
    /// Lanes, and whether frames carry their tag.
    pub fn lanes(&self) -> BTreeMap<VlanId, bool> {
        let trunks = self.trunks.iter().map(|vlan| (*vlan, true));
        trunks.chain(self.access.map(|vlan| (vlan, false))).collect()
    }

    fn issue(&mut self, claim: &Claim, reason: String) {
        self.issues.push(Issue::new(claim.label().to_string(), reason));
    }
}

/// Who wants what of a port.
pub(super) struct Case<'a> {
    pub intent: &'a Intent,
    /// Number of each network.
    pub networks: &'a BTreeMap<Arc<str>, VlanId>,
    /// The network with each number.
    pub owners: &'a BTreeMap<VlanId, Arc<str>>,
    pub view: &'a View,
    pub at: At,
    /// In order.
    pub claims: Vec<(&'a Claim, &'a PortName)>,
}

impl Case<'_> {
    pub fn decide(&self) -> Place {
        let mut place = Place::default();
        let is_link = self.view.role(self.at) == Role::Link;
        let other_use = self.other_use(is_link);
        place.is_taken = other_use.is_some();
        let mut first: Option<&Arc<str>> = None;
        for &(claim, name) in &self.claims {
            if let Some(what) = other_use.filter(|_| claim.is_edge()) {
                place.issue(claim, format!("{name} is {what}, so it cannot be a port of a network"));
                continue;
            }
            match claim {
                // Two spellings of one port get past the check of the intents.
                Claim::Access(network) => match first {
                    Some(other) if other != network => {
                        place.issue(claim, format!("{name} is already an access port of network {other:?}"));
                    }
                    _ => {
                        first = Some(network);
                        place.access = self.networks.get(network).copied();
                    }
                },
                Claim::Trunk(network) => {
                    let vlan = self.networks.get(network).filter(|vlan| place.access != Some(**vlan));
                    place.trunks.extend(vlan);
                }
                Claim::Attach(router, idx) => {
                    let attachments = self.intent.routers.get(&**router);
                    if let Some(attachment) = attachments.and_then(|attachments| attachments.get(*idx)) {
                        self.attach(&mut place, claim, attachment);
                    }
                }
                Claim::Function(function) => match &place.function {
                    Some(other) if other != function => {
                        place.issue(claim, format!("{name} is already a port of function {other:?}"));
                    }
                    _ => place.function = Some(function.clone()),
                },
                Claim::Outlet(_) => match other_use.filter(|_| is_link || place.function.is_some()) {
                    Some(what) => place.issue(claim, format!("{name} is {what}, so no copies leave there")),
                    None => place.is_outlet = true,
                },
                Claim::Chain(_)
                | Claim::Via(_)
                | Claim::Policy(_)
                | Claim::Qos(_)
                | Claim::Path(_)
                | Claim::Mirrored(_)
                | Claim::Member(_)
                | Claim::Host(_) => {}
            }
        }
        // Ports that nobody declares, once discovery is sure that no switch is behind them.
        let declared =
            place.access.is_some() || !place.trunks.is_empty() || place.function.is_some() || place.is_outlet;
        if !declared && !is_link && self.view.port(self.at).is_some_and(|port| port.settled) {
            place.access = Some(default_lane());
        }
        place
    }

    /// What a port is when no hosts may be there.
    fn other_use(&self, is_link: bool) -> Option<&'static str> {
        let claimed = |wanted: fn(&Claim) -> bool| self.claims.iter().any(|(claim, _)| wanted(claim));
        match () {
            () if is_link => Some("a link to another switch"),
            () if claimed(|claim| matches!(claim, Claim::Function(_))) => Some("the port of a function"),
            () if claimed(|claim| matches!(claim, Claim::Outlet(_))) => Some("where copies leave"),
            () => None,
        }
    }

    fn attach(&self, place: &mut Place, claim: &Claim, attachment: &Attachment) {
        let vlan = match &attachment.network {
            Some(network) => self.networks.get(&**network).copied(),
            None => attachment.vlan,
        };
        let access = place.access.filter(|vlan| *vlan != default_lane());
        match (vlan, attachment.vlan) {
            // A sub-interface: the router writes the tag itself, so it must be the network's.
            (Some(vlan), Some(tag)) if vlan != tag => {
                let network = attachment.network.as_deref().unwrap_or_default();
                let reason = format!("network {network:?} has VLAN {vlan}, the sub-interface has {tag}");
                place.issue(claim, reason);
            }
            (Some(vlan), Some(_)) if !self.owners.contains_key(&vlan) => {
                place.issue(claim, format!("no network has VLAN {vlan}"));
            }
            (Some(vlan), Some(_)) if access != Some(vlan) => drop(place.trunks.insert(vlan)),
            (Some(_), Some(_)) => {}
            (Some(vlan), None) if access.is_none_or(|lane| lane == vlan) => {
                place.trunks.remove(&vlan);
                place.access = Some(vlan);
            }
            (Some(_), None) => place.issue(claim, format!("{} is in another network", attachment.port)),
            // Plain, and in no network by name: where the networks put the port, or with the undeclared ones.
            (None, _) if access.is_none() => place.access = Some(default_lane()),
            (None, _) => {}
        }
    }
}

/// The lane of ports that no network declares.
pub(crate) fn default_lane() -> VlanId {
    VlanId::new(layout::DEFAULT_LANE).expect("a constant in range")
}
