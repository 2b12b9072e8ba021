//! Own addresses of IPv6 that may not be used, yet or at all: each is probed for before it is (RFC 4862 §5.4), and left
//! alone where another station turns out to have it.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use packet::{Instant, MacAddr};

use crate::RouterEvent;
use crate::forwarder::Forwarder;
use crate::message::ReportKind;
use crate::output::{Io, advertise, ask, probe};
use crate::snapshot::{IfIndex, Interface, Snapshot};

/// How long nobody must answer (RFC 4861 §10, RetransTimer).
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked for until then.
    Tentative(Instant),
    /// Another station has it.
    Refused,
}

/// An address of an interface.
type Key = (IfIndex, Ipv6Addr);

/// Addresses that are not used.
#[derive(Debug, Default)]
pub(crate) struct Unused(BTreeMap<Key, State>);

fn own_v6(interface: &Interface) -> impl Iterator<Item = Ipv6Addr> + '_ {
    let global = interface.addresses.iter().filter_map(|(own, _)| match own {
        IpAddr::V6(own) => Some(*own),
        IpAddr::V4(_) => None,
    });
    global.chain(interface.link_local).filter(|_| interface.port.is_some())
}

impl Unused {
    /// Whether an interface may speak and be spoken to by this address.
    pub(crate) fn allows(&self, interface: IfIndex, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V6(addr) => self.0.is_empty() || !self.0.contains_key(&(interface, addr)),
            IpAddr::V4(_) => true,
        }
    }

    /// Whether some interface's address is meant that is not used.
    pub(crate) fn holds(&self, addr: IpAddr) -> bool {
        !self.0.is_empty() && self.0.keys().any(|(_, unused)| IpAddr::V6(*unused) == addr)
    }

    /// Until when an address is probed for; none if it is not.
    pub(crate) fn tentative_until(&self, key: Key) -> Option<Instant> {
        match self.0.get(&key)? {
            State::Tentative(until) => Some(*until),
            State::Refused => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.keys().filter_map(|key| self.tentative_until(*key)).min()
    }

    /// Takes up the addresses of another configuration: those that are new on their interface are probed for.
    pub(crate) fn adopt(&mut self, now: Instant, old: &Snapshot, new: &Snapshot) {
        let before = std::mem::take(&mut self.0);
        for (at, interface) in (0..).zip(&new.interfaces) {
            let known = (0..).zip(&old.interfaces).find(|(_, i)| i.is_same(interface));
            for own in own_v6(interface) {
                let state = match known {
                    Some((was_at, known)) if known.has(own.into()) => before.get(&(was_at, own)).copied(),
                    _ => Some(State::Tentative(now + PATIENCE)),
                };
                self.0.extend(state.map(|state| ((at, own), state)));
            }
        }
    }

    /// An address that nobody has answered for in time.
    fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let due = |(_, state): &(&Key, &State)| matches!(state, State::Tentative(until) if *until <= now);
        let (key, _) = self.0.iter().find(due)?;
        let key = *key;
        self.0.remove(&key);
        Some(key)
    }

    /// Another station has it: true if that was not known.
    pub(crate) fn refuse(&mut self, key: Key) -> bool {
        self.0.insert(key, State::Refused) != Some(State::Refused)
    }
}

impl Forwarder {
    /// Probes for the new addresses of IPv6; one worker does.
    pub(crate) fn probe_for(&self, io: &mut Io<'_>, interface: (IfIndex, &Interface)) {
        for own in own_v6(interface.1) {
            if self.unused.tentative_until((interface.0, own)).is_some() {
                probe(io, interface.1, own);
            }
        }
    }

    /// What nobody has answered for is used from now on, and said to be here (RFC 4861 §7.2.6).
    pub(crate) fn end_probes(&mut self, s: &Snapshot, io: &mut Io<'_>) {
        while let Some((interface, own)) = self.unused.pop_due(io.now) {
            if self.is_first() {
                advertise(io, s.interface(interface), own, None);
            }
        }
    }

    /// A message says that another station has, or probes for, an address that is probed for here: true if it is.
    pub(crate) fn meets_a_probe(
        &mut self,
        s: &Snapshot,
        io: &Io<'_>,
        key: (IfIndex, Ipv6Addr),
        mac: MacAddr,
    ) -> bool {
        if self.unused.tentative_until(key).is_none() {
            return false;
        }
        if self.unused.refuse(key) {
            let (interface, address) = key;
            self.report(ReportKind::Refused { generation: s.generation, interface, address });
            let (interface, address) = (s.interface(interface).name.clone(), address.into());
            self.report_event(io.now, RouterEvent::DuplicateAddress { interface, address, mac });
        }
        true
    }

    /// Asks for a neighbour, unless it would be asked by an address that may not be used.
    pub(crate) fn ask(
        &self,
        s: &Snapshot,
        io: &mut Io<'_>,
        (interface, addr): (IfIndex, IpAddr),
        known: Option<MacAddr>,
    ) {
        let own = s.interface(interface).address_for(addr);
        if own.is_none_or(|own| self.unused.allows(interface, own)) {
            ask(io, s.interface(interface), addr, known);
        }
    }
}
