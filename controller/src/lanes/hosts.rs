//! Hosts in their lanes: declared ones, and those that were seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use packet::MacAddr;

use super::{Doubt, Resolver, Touched};
use crate::intent::{Intent, Reservation};
use crate::view::{At, Host, HostKey, View};

impl Resolver {
    /// Forgets declared hosts that a network has no longer.
    pub(super) fn unreserve(&mut self, intent: &Intent, network: &Arc<str>, doubt: &mut Doubt) {
        let wanted = intent.networks.get(&**network);
        let vlan = wanted.map(|network| network.vlan);
        let macs: BTreeSet<MacAddr> =
            wanted.into_iter().flat_map(|network| &network.hosts).map(|host| host.mac).collect();
        let before = self.reserving.remove(network).unwrap_or_default();
        for key in before.into_iter().filter(|key| Some(key.0) != vlan || !macs.contains(&key.1)) {
            if let Some((name, _)) = self.reserved.remove(&key) {
                self.names.remove_host(&name, key);
                doubt.hosts.insert(key);
            }
        }
    }

    /// Takes over the declared hosts of a network.
    pub(super) fn reserve(&mut self, intent: &Intent, network: &Arc<str>, doubt: &mut Doubt) {
        let Some(wanted) = intent.networks.get(&**network).filter(|network| !network.hosts.is_empty()) else {
            return;
        };
        let vlan = wanted.vlan;
        let now: BTreeMap<MacAddr, &Reservation> = wanted.hosts.iter().map(|host| (host.mac, host)).collect();
        for host in now.values() {
            let (key, addresses) = ((vlan, host.mac), host.addresses.iter().copied().collect());
            if self.reserved.get(&key).is_some_and(|(name, had)| *name == host.port && *had == addresses) {
                continue;
            }
            if let Some((name, _)) = self.reserved.insert(key, (host.port.clone(), addresses)) {
                self.names.remove_host(&name, key);
            }
            self.names.put_host(&host.port, key);
            doubt.hosts.insert(key);
        }
        self.reserving.insert(network.clone(), now.keys().map(|mac| (vlan, *mac)).collect());
    }

    /// Where a declared host is attached.
    pub fn reservation(&self, key: HostKey) -> Option<Option<At>> {
        self.reserved.get(&key).map(|(name, _)| self.names.at(name))
    }

    pub(super) fn host(&mut self, view: &View, key: HostKey, touched: &mut Touched) {
        let Some(has) = self.lanes.lanes.get(&key.0).map(|lane| |at| lane.has(at)) else {
            return self.put_host(key, None, touched);
        };
        let declared = self.reserved.get(&key).and_then(|(name, addresses)| {
            let at = self.names.at(name).filter(|at| has(*at))?;
            Some(Host { at, addresses: addresses.clone() })
        });
        let learned = || view.hosts().get(&key).filter(|host| has(host.at)).cloned();
        let host = declared.or_else(learned);
        self.put_host(key, host, touched);
    }

    pub(super) fn put_host(&mut self, key: HostKey, host: Option<Host>, touched: &mut Touched) {
        let before = self.lanes.hosts.get(&key);
        if before == host.as_ref() {
            return;
        }
        for at in before.iter().copied().chain(&host).map(|host| host.at) {
            touched.rules.extend(self.rules.at(at).map(|name| name.to_string()));
            touched.courses.extend(self.courses.at(at).map(|name| name.to_string()));
            touched.balances.extend(self.balances.at(at).map(|name| name.to_string()));
        }
        if let Some(before) = self.lanes.hosts.remove(&key) {
            super::take(&mut self.lanes.hosts_at, &before.at, &key);
        }
        if let Some(host) = host {
            self.lanes.hosts_at.entry(host.at).or_default().insert(key);
            self.lanes.hosts.insert(key, host);
        }
    }
}
