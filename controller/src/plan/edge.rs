//! ADMIT, LANE and SOURCE: what may enter, by which lane, and who is known to speak.

use std::sync::Arc;

use openflow::{Action, Dpid, Field, Instruction, Match, Oxm, Priority, TableId};
use packet::{EtherType, IpProtocol, MacAddr, PortNo, VlanId};

use super::copies::Side;
use super::{Draft, FABRIC, Planner, Slot, in_lane, punt, write_lane};
use crate::blueprint::{FlowBody, FlowKey, Flows};
use crate::layout::{
    self, ADMIT, LANE, LANE_RATE, POLICY, PORT_RATE, SOURCE, STEER, TENANT_RATE, admit, policy, rate, source,
};
use crate::lldp;
use crate::view::{At, HostKey, View};

/// Group addresses have this bit.
pub(crate) const GROUP_BIT: MacAddr = MacAddr([1, 0, 0, 0, 0, 0]);
/// Addresses that bridges do not forward: 01:80:c2:00:00:00 to 0f (IEEE 802.1Q §8.6.3).
const RESERVED: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
const RESERVED_MASK: MacAddr = MacAddr([0xff, 0xff, 0xff, 0xff, 0xff, 0xf0]);

fn fabric(dpid: Dpid, table: TableId, priority: Priority) -> Slot<'static> {
    Slot { dpid, table, priority, label: FABRIC }
}

/// The ports of links, as the flows of a switch have them.
pub(crate) fn links_of(flows: &Flows) -> impl Iterator<Item = PortNo> {
    let is_link = |(key, body): &(&FlowKey, &Arc<FlowBody>)| {
        key.is_at(ADMIT, admit::PORT) && body.instructions.contains(&Instruction::GotoTable(LANE))
    };
    flows.iter().filter(is_link).filter_map(|(key, _)| key.matches.ingress())
}

impl Planner {
    /// What every switch holds from the beginning.
    pub(super) fn always(&self, draft: &mut Draft, view: &View, dpid: Dpid) {
        let Some(switch) = view.switches().get(&dpid) else { return };
        if switch.n_tables < layout::N_TABLES {
            let (name, n_tables) = (&switch.name, switch.n_tables);
            return draft
                .issue(FABRIC, format!("{name} has {n_tables} tables, {} are needed", layout::N_TABLES));
        }
        let discovery = Match::new().eth_dst(lldp::DESTINATION).eth_type(EtherType::LLDP.0);
        draft.put(fabric(dpid, ADMIT, admit::DISCOVERY), discovery, vec![punt()]);
        let reserved = Match::new().eth_dst_masked(RESERVED, RESERVED_MASK);
        draft.put(fabric(dpid, ADMIT, admit::REFUSE), reserved, vec![]);
        let from_group = Match::from_fields([group_source()]).expect("a source address needs no other field");
        draft.put(fabric(dpid, ADMIT, admit::REFUSE), from_group, vec![]);
        for (first, bits) in layout::USUAL_BYPASSES {
            let bypasses = Match::from_fields([Oxm::masked(Field::VlanVid, first.into(), bits.into())]);
            let bypasses = bypasses.expect("a tag needs no other field");
            draft.put(fabric(dpid, ADMIT, admit::FOREIGN), bypasses, vec![]);
        }
        for (table, next) in [(PORT_RATE, LANE_RATE), (LANE_RATE, TENANT_RATE), (TENANT_RATE, SOURCE)] {
            draft.put(fabric(dpid, table, rate::MISS), Match::ANY, vec![Instruction::GotoTable(next)]);
        }
        let learn = vec![punt(), Instruction::GotoTable(POLICY)];
        draft.put(fabric(dpid, SOURCE, source::MISS), Match::ANY, learn);
        // RFC 4861: from router solicitation to redirect.
        for kind in 133..=137 {
            let neighbours = Match::new().eth_type(EtherType::IPV6.0).ip_proto(IpProtocol::ICMPV6.0);
            let neighbours = neighbours.with(Oxm::new(Field::Icmpv6Type, kind));
            let neighbours = neighbours.expect("the fields that it needs are there");
            let pass = vec![Instruction::GotoTable(STEER)];
            draft.put(fabric(dpid, POLICY, policy::NEIGHBOURS), neighbours, pass);
        }
        draft.put(fabric(dpid, POLICY, policy::MISS), Match::ANY, vec![Instruction::GotoTable(STEER)]);
        let pass = vec![Instruction::GotoTable(layout::FORWARD)];
        draft.put(fabric(dpid, STEER, layout::steer::MISS), Match::ANY, pass);
    }

    /// A port of hosts.
    pub(super) fn port(&self, draft: &mut Draft, vlan: VlanId, at: At) {
        let Some(lane) = self.lanes().lanes.get(&vlan) else { return };
        let (dpid, port) = at;
        let enter = [write_lane(vlan, true), Instruction::GotoTable(PORT_RATE)];
        let copying = self.copying(at, Side::Sent, None);
        if lane.access.contains(&at) {
            let slot = Slot { dpid, table: ADMIT, priority: admit::ACCESS, label: &lane.label };
            let matches = Match::new().in_port(port);
            let matches = if lane.transparent { matches } else { matches.untagged() };
            let copies = (!copying.is_empty()).then(|| Instruction::ApplyActions(copying.clone()));
            draft.put(slot, matches, copies.into_iter().chain(enter.clone()).collect());
        }
        if lane.trunks.contains(&at) {
            let slot = Slot { dpid, table: ADMIT, priority: admit::TRUNK, label: &lane.label };
            let mut actions = copying;
            actions.push(Action::PopVlan);
            let mut instructions = vec![Instruction::ApplyActions(actions)];
            instructions.extend(enter);
            draft.put(slot, Match::new().in_port(port).vlan(vlan), instructions);
        }
    }

    /// The tag of a lane may come by a link or a trunk only. A switch that is out of reach goes on sending it by what it
    /// still takes for its links, while they look like edge ports from here: flooding it would close a loop.
    pub(super) fn refuse_foreign(&self, draft: &mut Draft, vlan: VlanId, dpid: Dpid) {
        let known = self.lanes().lanes.contains_key(&vlan)
            || self
                .segments
                .all()
                .chain(self.tracks.all())
                .chain(self.copy_lanes.all())
                .any(|segment| segment == vlan)
            || self.labels.contains(&vlan);
        if known && self.blueprint.switches.contains_key(&dpid) {
            draft.put(fabric(dpid, ADMIT, admit::FOREIGN), Match::new().vlan(vlan), vec![]);
        }
    }

    /// A host that need not be reported any more.
    pub(super) fn source(&self, draft: &mut Draft, key: HostKey) {
        let (Some(host), Some(lane)) = (self.lanes().hosts.get(&key), self.lanes().lanes.get(&key.0)) else {
            return;
        };
        let (dpid, port) = host.at;
        let matches = in_lane(key.0).in_port(port).eth_src(key.1);
        let slot = Slot { dpid, table: SOURCE, priority: source::KNOWN, label: &lane.label };
        draft.put(slot, matches.clone(), vec![Instruction::GotoTable(POLICY)]);
        if host.addresses.is_empty() {
            let slot = Slot { priority: source::ADDRESS, ..slot };
            let learn = vec![punt(), Instruction::GotoTable(POLICY)];
            draft.put(slot, matches.eth_type(EtherType::ARP.0), learn);
        }
    }

    /// Frames of another switch.
    pub(super) fn link(&self, draft: &mut Draft, (dpid, port): At) {
        if self.graph.peer((dpid, port)).is_none() {
            return;
        }
        let enter = |bits: Option<u64>| {
            let write = bits.map(|bits| Instruction::WriteMetadata { metadata: bits, mask: bits });
            write.into_iter().chain([Instruction::GotoTable(LANE)]).collect()
        };
        let (directed, flooded) = match self.graph.in_tree((dpid, port)) {
            true => (enter(Some(layout::MAY_FLOOD)), enter(Some(layout::MAY_FLOOD | layout::FLOODED))),
            false => (enter(None), vec![]),
        };
        let tagged = Match::new().in_port(port).tagged();
        let marked = tagged.clone().with(Oxm::new(Field::VlanPcp, layout::FLOODED_PCP.into()));
        let marked = marked.expect("a tag has a priority");
        draft.put(fabric(dpid, ADMIT, admit::FLOODED), marked, flooded);
        draft.put(fabric(dpid, ADMIT, admit::PORT), tagged, directed);
    }
}

/// Takes off the tag of a lane that comes by a link.
pub(crate) fn lane_entry(lane: VlanId) -> (FlowKey, FlowBody) {
    let instructions = vec![
        Instruction::ApplyActions(vec![Action::PopVlan]),
        Instruction::WriteMetadata { metadata: layout::lane(lane), mask: layout::LANE_MASK },
        Instruction::GotoTable(layout::FORWARD),
    ];
    let key = FlowKey::new(LANE, admit::PORT, Match::new().vlan(lane));
    (key, FlowBody { cookie: layout::intent_cookie(FABRIC), instructions })
}

fn group_source() -> openflow::Oxm {
    let bit = u128::from(GROUP_BIT.to_u64());
    openflow::Oxm::masked(openflow::Field::EthSrc, bit, bit)
}
