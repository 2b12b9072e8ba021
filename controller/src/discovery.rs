//! When to probe which port, and when a link is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openflow::Dpid;
use packet::Instant;

use crate::config::Config;
use crate::layout;
use crate::view::{At, View};

/// Probes sent in quick succession when a port comes up.
const FAST_PROBES: u32 = 5;

/// Edge ports that are probed again in a second, at most: with very many ports each has its turn more seldom.
const EDGE_PROBES_PER_SECOND: u32 = 1000;

/// The schedule of discovery.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    ports: BTreeMap<At, Probing>,
    queue: BTreeSet<(Instant, At)>,
    /// When each link was last confirmed, by the port that sends.
    seen: BTreeMap<At, Instant>,
}

#[derive(Debug)]
struct Probing {
    next: Instant,
    settles: Instant,
    n_sent: u32,
}

/// What is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Ports to send a probe from.
    pub probes: Vec<At>,
    /// Ports that have been probed long enough, if their switches have sent all those probes by now.
    pub patient: Vec<At>,
}

impl Discovery {
    /// Begins anew with a port: quick probes, then settled.
    pub(crate) fn start(&mut self, now: Instant, config: &Config, at: At) {
        self.stop(at);
        self.ports.insert(at, Probing { next: now, settles: now + config.settle, n_sent: 0 });
        self.queue.insert((now, at));
    }

    /// One more probe soon: something new may be at the other end.
    pub(crate) fn hurry(&mut self, now: Instant, at: At) {
        if let Some(probing) = self.ports.get_mut(&at) {
            self.queue.remove(&(probing.next, at));
            probing.next = probing.next.min(now);
            self.queue.insert((probing.next, at));
        }
    }

    /// The port is gone, down, or cannot be reached.
    pub(crate) fn stop(&mut self, at: At) {
        if let Some(probing) = self.ports.remove(&at) {
            self.queue.remove(&(probing.next, at));
        }
        self.seen.remove(&at);
    }

    /// Nothing of this switch can be probed.
    pub(crate) fn stop_switch(&mut self, dpid: Dpid) {
        let ports: Vec<At> = self.ports.keys().filter(|at| at.0 == dpid).copied().collect();
        ports.into_iter().for_each(|at| self.stop(at));
    }

    pub(crate) fn is_probed(&self, at: At) -> bool {
        self.ports.contains_key(&at)
    }

    /// A probe sent from `from` arrived.
    pub(crate) fn confirm(&mut self, now: Instant, from: At) {
        self.seen.insert(from, now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(crate) fn due(&mut self, now: Instant, config: &Config, view: &View) -> Due {
        let mut due = Due::default();
        let n_ports = u32::try_from(self.ports.len()).unwrap_or(u32::MAX);
        let probe_edge = config.probe_edge.max(Duration::from_secs(1) * n_ports / EDGE_PROBES_PER_SECOND);
        while let Some((when, at)) = self.queue.first().copied().filter(|(when, _)| *when <= now) {
            self.queue.remove(&(when, at));
            let Some(probing) = self.ports.get_mut(&at) else { continue };
            due.probes.push(at);
            probing.n_sent += 1;
            if now >= probing.settles && view.port(at).is_some_and(|port| !port.settled) {
                due.patient.push(at);
            }
            let interval = match () {
                () if probing.n_sent < FAST_PROBES || now < probing.settles => config.probe_fast,
                () if view.is_link(at) => config.probe_link,
                () => probe_edge,
            };
            // Up to an eighth later, each port by its own share: probes of many ports spread in time.
            let share = layout::fnv(&[at.0.0.to_be_bytes(), u64::from(at.1.0).to_be_bytes()].concat()) % 128;
            probing.next = now + interval + interval * share as u32 / 1024;
            if now < probing.settles {
                probing.next = probing.next.min(probing.settles);
            }
            self.queue.insert((probing.next, at));
        }
        due
    }

    /// Links that were probed and not seen for too long.
    pub(crate) fn aged(&self, now: Instant, config: &Config, view: &View) -> Vec<At> {
        let old = |from: &At| match self.seen.get(from) {
            Some(seen) => now.saturating_since(*seen) > config.link_age,
            None => false,
        };
        view.links()
            .iter()
            .filter(|(from, to)| old(from) && self.is_probed(**to))
            .map(|(from, _)| *from)
            .collect()
    }
}
