//! What becomes of a packet: the one walk through translation, routes and rules, for frames and for traces.
//!
//! First destination translation is looked up, not yet made; second comes the route of the new destination; third TTL,
//! hidden addresses, MTU and firewall, where nothing is written for a packet that fails; fourth connections are made or
//! moved on, and the source is translated. The packet itself is not touched: errors quote it as it came.

mod errors;
mod rules;

use core::cell::Cell;
use core::net::IpAddr;

use conntrack::{Endpoint, Mapping, OutOfWindow, Packet, Pass, Refusal, Side, Translation};
use packet::Instant;

use crate::ahead::Foreseen;
use crate::fib::{SetId, VrfId};
use crate::flow::{Flow, Ip, Kind};
use crate::input::is_link_local;
use crate::rewrite::Rewrite;
use crate::shards::Shards;
use crate::snapshot::{Hop, IfIndex, Snapshot};
use crate::tell::Tell;
use crate::{Drop, RouterEvent};

/// Listens to the walk.
pub(crate) trait Observer {
    /// Look only; change nothing.
    const DRY: bool;
    /// A step was taken.
    fn note(&mut self, step: impl FnOnce() -> String);
}

/// Hears nothing.
pub(crate) struct Silent;

impl Observer for Silent {
    const DRY: bool = false;
    fn note(&mut self, _: impl FnOnce() -> String) {}
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To this router.
    Local,
    /// Out.
    Forward { interface: IfIndex, next: IpAddr, rewrite: Rewrite },
}

/// Why a packet goes nowhere, and what its sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub why: Drop,
    pub tell: Option<Tell>,
    pub event: Option<Box<RouterEvent>>,
}

impl From<Drop> for Refused {
    fn from(why: Drop) -> Self {
        Self { why, tell: None, event: None }
    }
}

impl From<OutOfWindow> for Refused {
    fn from(_: OutOfWindow) -> Self {
        Drop::TcpWindow.into()
    }
}

fn refuse(why: Drop, tell: Tell) -> Refused {
    Refused { why, tell: Some(tell), event: None }
}

/// A connection that step 4 will make.
#[derive(Clone, Copy, Debug)]
enum Opening {
    Forward { outside: Endpoint, inside: Endpoint },
    Binding { outside: Endpoint },
}

/// What is known after step 1.
#[derive(Clone, Copy, Debug, Default)]
struct Inbound {
    opening: Option<Opening>,
    /// The destination was translated by a connection that this side began.
    known: Option<Side>,
    /// The interface a packet from the inside would have left by, had it not been for another inside endpoint.
    hairpin: Option<IfIndex>,
    /// The hairpin's source has been translated by a known connection.
    source_known: bool,
}

pub(crate) struct Decider<'a, O> {
    pub snapshot: &'a Snapshot,
    pub shards: &'a Shards,
    pub now: Instant,
    pub observer: &'a mut O,
    /// What a rule that is to be logged has said.
    pub log: Option<Box<RouterEvent>>,
    /// The set that the packet goes by, and for which destination.
    pub way: Option<(SetId, IpAddr)>,
    moved: Cell<Moved>,
}

/// Connections that the walk has made or moved on.
#[derive(Clone, Copy, Debug, Default)]
enum Moved {
    #[default]
    None,
    /// One that there was, in this shard, by a packet from this side of it.
    One(u32, Side),
    More,
}

/// A packet at the entrance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input {
    pub interface: IfIndex,
    pub ip: Ip,
    /// Bytes of the longest packet it is on the wire.
    pub longest: usize,
    /// Source and destination port, zeros where there are none.
    pub ports: [u16; 2],
    /// None where nothing is tracked.
    pub flow: Option<Flow>,
    /// Where its destination leads, if that was looked up for the whole batch.
    pub foreseen: Foreseen,
}

impl<'a, O: Observer> Decider<'a, O> {
    pub(crate) fn new(snapshot: &'a Snapshot, shards: &'a Shards, now: Instant, observer: &'a mut O) -> Self {
        Self { snapshot, shards, now, observer, log: None, way: None, moved: Cell::default() }
    }
}

impl<O: Observer> Decider<'_, O> {
    pub(crate) fn decide(&mut self, input: &Input) -> Result<Decision, Refused> {
        let ip = &input.ip;
        let mut flow = input.flow;
        let vrf = self.snapshot.interface(input.interface).vrf;
        if let Some(flow) = &mut flow {
            (flow.packet.zone, flow.packet.to_zone) = (vrf, vrf);
        }
        if !self.snapshot.accepts_source(input.interface, ip.src) {
            return Err(Drop::SourceRefused.into());
        }
        if self.snapshot.nat.redirect(input.interface, ip.protocol, input.ports[1]) == Some(None) {
            self.observer.note(|| "redirected to this router".into());
            return Ok(Decision::Local);
        }
        // First.
        let inbound = match &mut flow {
            Some(flow) if !self.snapshot.nat.is_empty() => self.look_inbound(input.interface, flow)?,
            _ => Inbound::default(),
        };
        let (vrf, dst) = flow.map_or((vrf, ip.dst), |f| (f.packet.to_zone, f.packet.dst.addr));
        // Second.
        let found = match self.by_policy(input, vrf, dst) {
            Some(hop) => self.follow(hop, dst)?,
            None => self.route(input, vrf, dst)?,
        };
        let (interface, next) = match found {
            Some(out) => out,
            None => return Ok(Decision::Local),
        };
        // Third.
        if ip.ttl <= 1 {
            return Err(refuse(Drop::TtlExpired, Tell::TimeExceeded));
        }
        if is_link_local(ip.src) && interface != input.interface {
            return Err(refuse(Drop::LinkLocal, Tell::BeyondScope));
        }
        self.check_hidden(input, interface, dst)?;
        let mtu = self.snapshot.interface(interface).mtu;
        if input.longest > usize::from(mtu) && ip.dont_fragment {
            return Err(refuse(Drop::TooBig, Tell::TooBig(mtu)));
        }
        let Some(flow) = &mut flow else {
            return Ok(Decision::Forward { interface, next, rewrite: Rewrite::default() });
        };
        flow.packet.to_zone = self.snapshot.interface(interface).vrf;
        let passed = self.check_firewall(input.interface, interface, flow, &inbound)?;
        // Fourth.
        self.commit(flow, &inbound, interface)?;
        let before = input.flow.as_ref().expect("there is a flow after, so there was one before");
        let rewrite = Rewrite::between(before, flow);
        if passed == Passed::ByRule && rewrite == Rewrite::default() {
            self.open_identity(flow)?;
        }
        self.remember(input, &inbound, flow, interface);
        Ok(Decision::Forward { interface, next, rewrite })
    }

    /// Notes in the connection how the packet went, if it is one whose followers go the same way.
    fn remember(&self, input: &Input, inbound: &Inbound, after: &Flow, out: IfIndex) {
        let is_alike = after.kind == Kind::Ports && !input.ip.is_fragment();
        let is_simple = inbound.opening.is_none() && inbound.hairpin.is_none();
        let (Moved::One(shard, side), Some(before)) = (self.moved.get(), &input.flow) else { return };
        let p = Packet { zone: self.snapshot.interface(input.interface).vrf, ..before.packet };
        let (beyond, other) = match side {
            Side::Inside => (after.packet.src, after.packet.dst == p.dst),
            Side::Outside => (after.packet.dst, after.packet.src == p.src),
        };
        if is_alike
            && is_simple
            && other
            && let Some(mut tracker) = self.shards.tracker(shard as usize)
        {
            let pass = Pass { config: self.snapshot.generation as u16, input: input.interface, out };
            tracker.remember(side, &p, beyond, pass);
        }
    }

    /// A connection there was has been moved on by a packet from this side.
    fn note_moved(&self, shard: u32, side: Side) {
        self.moved.set(match self.moved.get() {
            Moved::None => Moved::One(shard, side),
            _ => Moved::More,
        });
    }

    /// Where a policy route sends the packet, if one does.
    fn by_policy(&mut self, input: &Input, vrf: VrfId, dst: IpAddr) -> Option<Hop> {
        let policy = &self.snapshot.policy;
        let own = || matches!(self.snapshot.fib.lookup(vrf, dst, || 0), Some(Hop::Local(_) | Hop::Broadcast));
        if policy.is_empty() || is_link_local(dst) || own() {
            return None;
        }
        let hash = || self.snapshot.flow_hash((input.ip.src, dst), input.ip.protocol, input.ports);
        let (at, hop, set) = policy.find(self.snapshot, input, dst, hash)?;
        self.way = set.map(|set| (set, dst));
        self.observer.note(|| format!("policy route {at}"));
        Some(hop)
    }

    /// The way out and the neighbour there; none for this router itself.
    fn route(
        &mut self,
        input: &Input,
        vrf: VrfId,
        dst: IpAddr,
    ) -> Result<Option<(IfIndex, IpAddr)>, Refused> {
        let hop = match is_link_local(dst) {
            true => self.snapshot.route(input.interface, dst),
            false => {
                let hash = || self.snapshot.flow_hash((input.ip.src, dst), input.ip.protocol, input.ports);
                let foreseen = input.foreseen.set(vrf, dst);
                let set = foreseen.unwrap_or_else(|| self.snapshot.fib.set_id(vrf, dst));
                self.way = set.map(|set| (set, dst));
                self.snapshot.fib.lookup_from(set, dst, hash)
            }
        };
        match hop {
            Some(hop) => self.follow(hop, dst),
            None => {
                self.observer.note(|| format!("route: none to {dst}"));
                Err(refuse(Drop::NoRoute, Tell::NoRoute))
            }
        }
    }

    /// What a next hop comes to.
    fn follow(&mut self, hop: Hop, dst: IpAddr) -> Result<Option<(IfIndex, IpAddr)>, Refused> {
        let name = |i: IfIndex| &self.snapshot.interface(i).name;
        self.observer.note(|| match hop {
            Hop::Connected(i) => format!("route: {dst} is a neighbour on {}", name(i)),
            Hop::Gateway(i, via) => format!("route: {dst} via {via} on {}", name(i)),
            Hop::Local(i) => format!("route: {dst} is this router's, on {}", name(i)),
            hop => format!("route: {dst} is {hop:?}"),
        });
        match hop {
            Hop::Local(_) => Ok(None),
            Hop::Connected(_) if is_link_local(dst) => Err(Drop::LinkLocal.into()),
            Hop::Connected(interface) if self.snapshot.interface(interface).port.is_some() => {
                Ok(Some((interface, dst)))
            }
            Hop::Gateway(interface, via) => Ok(Some((interface, via))),
            Hop::Broadcast => Err(Drop::MartianDestination.into()),
            Hop::Blackhole => Err(Drop::Blackhole.into()),
            Hop::Unreachable => Err(refuse(Drop::Unreachable, Tell::Host)),
            Hop::Prohibit => Err(refuse(Drop::Prohibited, Tell::Prohibited)),
            Hop::Connected(_) | Hop::Table(_) => Err(refuse(Drop::NoRoute, Tell::NoRoute)),
        }
    }

    /// From outside, what hides behind an address is reached by that address only.
    fn check_hidden(&self, input: &Input, out: IfIndex, dst: IpAddr) -> Result<(), Refused> {
        let crossing = out != input.interface && input.ip.dst == dst;
        match crossing && self.snapshot.nat.hides(input.interface, input.ip.src, dst) {
            true => Err(Drop::NatNoBinding.into()),
            false => Ok(()),
        }
    }

    // ---- step 1 --------------------------------------------------------------------------------------------------

    fn look_inbound(&mut self, arrival: IfIndex, flow: &mut Flow) -> Result<Inbound, Refused> {
        let mut inbound = Inbound::default();
        let nat = &self.snapshot.nat;
        if let Some(Some(to)) = nat.redirect(arrival, flow.packet.protocol, flow.packet.dst.port) {
            self.look_redirected(flow, to, &mut inbound)?;
            return Ok(inbound);
        }
        let Some(owner) = nat.outside(flow.packet.zone, flow.packet.dst.addr) else { return Ok(inbound) };
        if arrival != owner {
            let has_target = self.has_target(flow);
            if !has_target {
                return Ok(inbound);
            }
            inbound.hairpin = Some(owner);
            self.observer.note(|| "hairpin: as if it had left and come back".into());
            inbound.source_known = self.source_known(flow, owner)?;
        }
        if let Kind::Error(quoted) = flow.kind {
            if self.error_inbound(flow, quoted) {
                inbound.known = Some(Side::Inside);
            }
            return Ok(inbound);
        }
        let p = flow.packet;
        if let Some(inside) = nat.whole_inside(p.dst.addr) {
            self.observer.note(|| format!("one-to-one: destination {} becomes {inside}", p.dst.addr));
            flow.packet.dst.addr = inside;
            return Ok(inbound);
        }
        if !matches!(flow.kind, Kind::Ports | Kind::Reply) && !flow.is_portless() {
            return Ok(inbound);
        }
        let fixed = nat.forward(p.zone, p.protocol, p.dst);
        if let Some(known) = self.translate_in(&p, fixed)? {
            self.observer.note(|| format!("connection: destination {} becomes {}", p.dst, known.endpoint));
            (flow.packet.dst, flow.packet.to_zone) = (known.endpoint, known.zone);
            inbound.known = Some(known.origin);
        } else if let Some((vrf, inside)) = fixed {
            self.observer.note(|| format!("port forward: destination {} becomes {inside}", p.dst));
            inbound.opening = Some(Opening::Forward { outside: p.dst, inside });
            (flow.packet.dst, flow.packet.to_zone) = (inside, vrf);
        } else if let Some((zone, inside)) = self.binding_inside(&p) {
            self.observer.note(|| format!("binding: destination {} becomes {inside}", p.dst));
            inbound.opening = Some(Opening::Binding { outside: p.dst });
            (flow.packet.dst, flow.packet.to_zone) = (inside, zone);
        }
        Ok(inbound)
    }

    /// What goes to a port of somebody goes to another of his.
    fn look_redirected(
        &mut self,
        flow: &mut Flow,
        to: u16,
        inbound: &mut Inbound,
    ) -> Result<(), OutOfWindow> {
        let p = flow.packet;
        let inside = Endpoint::new(p.dst.addr, to);
        self.observer.note(|| format!("redirect: destination {} becomes {inside}", p.dst));
        match self.translate_in(&p, Some((p.zone, inside)))? {
            Some(known) => inbound.known = Some(known.origin),
            None => inbound.opening = Some(Opening::Forward { outside: p.dst, inside }),
        }
        flow.packet.dst = inside;
        Ok(())
    }

    fn translate_in(
        &self,
        p: &Packet,
        fixed: Option<(VrfId, Endpoint)>,
    ) -> Result<Option<Translation>, OutOfWindow> {
        let index = match fixed {
            Some((vrf, inside)) => self.shards.index_of_inside(vrf, inside),
            None => self.shards.index_of_port(p.dst.port),
        };
        let mut tracker = self.shards.at(index);
        if O::DRY {
            let c = tracker.peek_in(self.now, p);
            return Ok(c.map(|c| Translation { endpoint: c.inside, zone: c.zone, origin: c.origin }));
        }
        let known = tracker.translate_in(self.now, p)?;
        known.inspect(|_| self.note_moved(index, Side::Outside));
        Ok(known)
    }

    fn binding_inside(&self, p: &Packet) -> Option<(VrfId, Endpoint)> {
        let tracker = self.shards.of_port(p.dst.port);
        let binding = tracker.binding_of(p.zone, p.protocol, p.dst)?;
        (binding.n_connections > 0).then_some((binding.zone, binding.inside))
    }

    /// Whether something of the inside is behind the destination, which is an outside address.
    fn has_target(&self, flow: &Flow) -> bool {
        let nat = &self.snapshot.nat;
        let (protocol, dst) = match flow.kind {
            Kind::Error(quoted) => (quoted.protocol, quoted.src),
            _ => (flow.packet.protocol, flow.packet.dst),
        };
        let p = Packet { protocol, dst, ..flow.packet };
        nat.whole_inside(dst.addr).is_some()
            || nat.forward(p.zone, protocol, dst).is_some()
            || (flow.kind != Kind::Request && self.binding_inside(&p).is_some())
    }

    /// Translates the source of a hairpin if its connection is known.
    fn source_known(&mut self, flow: &mut Flow, owner: IfIndex) -> Result<bool, Refused> {
        if let Kind::Error(quoted) = flow.kind {
            self.error_outbound(flow, quoted, owner, true)?;
            // What it is about may have another name now.
            return Ok(true);
        }
        if self.snapshot.nat.whole_outside(owner, flow.packet.src.addr).is_some() {
            return Ok(false);
        }
        let Some(known) = self.translate_out(&flow.packet)? else { return Ok(false) };
        flow.packet.src = known.endpoint;
        Ok(true)
    }

    // ---- step 4 --------------------------------------------------------------------------------------------------

    fn commit(&mut self, flow: &mut Flow, inbound: &Inbound, out: IfIndex) -> Result<(), Refused> {
        if self.snapshot.nat.is_empty() {
            return Ok(());
        }
        match inbound.hairpin {
            Some(owner) if !inbound.source_known => {
                // The connection is with what the destination was before it was translated.
                let inside = flow.packet.dst;
                let outside = match inbound.opening {
                    Some(Opening::Forward { outside, .. } | Opening::Binding { outside }) => outside,
                    None => flow.packet.dst,
                };
                flow.packet.dst = outside;
                let result = self.translate_source(flow, owner, true);
                flow.packet.dst = inside;
                result?;
            }
            _ => {}
        }
        if let Some(opening) = inbound.opening {
            self.open_inbound(flow, opening)?;
        }
        if inbound.hairpin.is_none() {
            // A reply to what went out translated is not a connection of its own.
            let may_open = inbound.known != Some(Side::Inside);
            self.translate_source(flow, out, may_open)?;
        }
        Ok(())
    }

    fn open_inbound(&mut self, flow: &Flow, opening: Opening) -> Result<(), Refused> {
        if O::DRY {
            return Ok(());
        }
        // The source of a hairpin has only now the name by which the connection may be known.
        let (outside, fixed) = match opening {
            Opening::Forward { outside, inside } => (outside, Some((flow.packet.to_zone, inside))),
            Opening::Binding { outside } => (outside, None),
        };
        if self.translate_in(&Packet { dst: outside, ..flow.packet }, fixed)?.is_some() {
            return Ok(());
        }
        self.moved.set(Moved::More);
        let result = match opening {
            Opening::Forward { outside, inside } => {
                let p = Packet { dst: outside, ..flow.packet };
                self.shards.of_inside(p.to_zone, inside).open_forward(self.now, &p, inside)
            }
            Opening::Binding { outside } => {
                let p = Packet { dst: outside, ..flow.packet };
                let filtering = self.snapshot.tuning.filtering;
                self.shards.of_port(outside.port).open_in(self.now, &p, filtering)
            }
        };
        result.map(|_| ()).map_err(|refusal| match refusal {
            // From outside nobody is told about what is inside.
            Refusal::Filtered | Refusal::NoBinding => Drop::NatNoBinding.into(),
            refusal => Refused { tell: None, ..self.refused(refusal, flow) },
        })
    }

    fn translate_out(&self, p: &Packet) -> Result<Option<Translation>, OutOfWindow> {
        let index = self.shards.index_of_inside(p.zone, p.src);
        let mut tracker = self.shards.at(index);
        if O::DRY {
            let c = tracker.peek_out(self.now, p);
            return Ok(c.map(|c| Translation { endpoint: c.outside, zone: c.zone, origin: c.origin }));
        }
        let known = tracker.translate_out(self.now, p)?;
        known.inspect(|_| self.note_moved(index, Side::Inside));
        Ok(known)
    }

    /// Gives the packet the source it has beyond `out`.
    fn translate_source(&mut self, flow: &mut Flow, out: IfIndex, may_open: bool) -> Result<(), Refused> {
        if let Kind::Error(quoted) = flow.kind {
            return self.error_outbound(flow, quoted, out, may_open);
        }
        let nat = &self.snapshot.nat;
        let p = flow.packet;
        if nat.is_exempt(p.src.addr, p.dst.addr) {
            self.observer.note(|| "translation: exempt".into());
            return Ok(());
        }
        let service = nat.service_of(p.zone, p.protocol, p.src);
        let whole = nat.whole_outside(out, p.src.addr);
        let hides = whole.is_none() && nat.masquerades(out, p.src.addr);
        let answers = || nat.is_redirected(p.protocol, p.src.port) || nat.answers(p.zone, p.protocol, p.src);
        if (service.is_some() || hides || answers())
            && let Some(known) = self.translate_out(&p)?
        {
            self.observer.note(|| format!("connection: source {} becomes {}", p.src, known.endpoint));
            flow.packet.src = known.endpoint;
            return Ok(());
        }
        if let Some(outside) = whole {
            self.observer.note(|| format!("one-to-one: source {} becomes {outside}", p.src.addr));
            flow.packet.src.addr = outside;
            return Ok(());
        }
        let masquerade = (hides && may_open).then(|| nat.masquerade(out, p.src.addr)).flatten();
        let Some((addr, sharing)) = masquerade else { return Ok(()) };
        match flow.kind {
            Kind::Ports | Kind::Request => {}
            Kind::Bare if flow.is_portless() && nat.hides_portless(out, p.src.addr) => {}
            Kind::Reply => return Err(Drop::NatNoBinding.into()),
            _ => return Err(Drop::NatProtocol.into()),
        }
        let mapping = match service {
            Some((interface, outside)) if interface == out => Mapping::Fixed(outside),
            _ if flow.is_portless() => Mapping::Fixed(Endpoint::new(addr, 0)),
            _ => Mapping::Dynamic(addr, sharing),
        };
        self.observer.note(|| format!("translation: source {} gets {mapping:?}", p.src));
        if O::DRY {
            flow.packet.src.addr = addr;
            return Ok(());
        }
        self.moved.set(Moved::More);
        let opened = self.shards.of_inside(p.zone, p.src).open_out(self.now, &p, mapping);
        flow.packet.src = opened.map_err(|refusal| self.refused(refusal, flow))?.endpoint;
        Ok(())
    }

    fn refused(&self, refusal: Refusal, flow: &Flow) -> Refused {
        // RFC 5508 REQ-8 for queries, RFC 6888 REQ-11 for the rest.
        let tell = match flow.kind {
            Kind::Request => Tell::Prohibited,
            _ => Tell::Host,
        };
        match refusal {
            Refusal::PortsExhausted => {
                let event = Some(Box::new(RouterEvent::PortsExhausted));
                Refused { event, ..refuse(Drop::NatPortsExhausted, tell) }
            }
            Refusal::TableFull => {
                let event = Some(Box::new(RouterEvent::TableFull));
                Refused { event, ..refuse(Drop::NatTableFull, tell) }
            }
            Refusal::Limit => refuse(Drop::ConnectionLimit, tell),
            Refusal::Clash => Drop::NatClash.into(),
            Refusal::NotSyn => Drop::NatNotSyn.into(),
            Refusal::Filtered | Refusal::NoBinding => Drop::NatNoBinding.into(),
        }
    }
}

/// How a packet came past the firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    Unasked,
    Established,
    ByRule,
}
