//! ADMIT, LANE and SOURCE: what may enter, by which lane, and who is known to speak.

use openflow::{Action, Dpid, Instruction, Match, Priority, TableId};
use packet::{EtherType, MacAddr, VlanId};

use super::{FABRIC, Planner, Slot, in_lane, punt, write_lane};
use crate::layout::{self, ADMIT, LANE, SOURCE, STEER, admit, source};
use crate::lldp;

/// Group addresses have this bit.
const GROUP_BIT: MacAddr = MacAddr([1, 0, 0, 0, 0, 0]);
/// Addresses that bridges do not forward: 01:80:c2:00:00:00 to 0f (IEEE 802.1Q §8.6.3).
const RESERVED: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
const RESERVED_MASK: MacAddr = MacAddr([0xff, 0xff, 0xff, 0xff, 0xff, 0xf0]);

fn fabric(dpid: Dpid, table: TableId, priority: Priority) -> Slot<'static> {
    Slot { dpid, table, priority, label: FABRIC }
}

impl Planner<'_> {
    pub(super) fn edge(&mut self) {
        let switches: Vec<Dpid> = self.out.switches.keys().copied().collect();
        for dpid in switches {
            self.always(dpid);
        }
        self.ports();
        self.sources();
    }

    /// What every switch holds from the beginning.
    fn always(&mut self, dpid: Dpid) {
        let discovery = Match::new().eth_dst(lldp::DESTINATION).eth_type(EtherType::LLDP.0);
        self.put(fabric(dpid, ADMIT, admit::DISCOVERY), discovery, vec![punt()]);
        let reserved = Match::new().eth_dst_masked(RESERVED, RESERVED_MASK);
        self.put(fabric(dpid, ADMIT, admit::REFUSE), reserved, vec![]);
        let from_group = Match::from_fields([group_source()]).expect("a source address needs no other field");
        self.put(fabric(dpid, ADMIT, admit::REFUSE), from_group, vec![]);
        let learn = vec![punt(), Instruction::GotoTable(STEER)];
        self.put(fabric(dpid, SOURCE, source::MISS), Match::ANY, learn);
        let pass = vec![Instruction::GotoTable(layout::FORWARD)];
        self.put(fabric(dpid, STEER, layout::steer::MISS), Match::ANY, pass);
    }

    /// Ports of hosts.
    fn ports(&mut self) {
        let lanes = std::mem::take(&mut self.lanes.lanes);
        self.refuse_foreign(lanes.keys().copied());
        for (&vlan, lane) in &lanes {
            let enter = [write_lane(vlan, true), Instruction::GotoTable(SOURCE)];
            for &(dpid, port) in &lane.access {
                let slot = Slot { dpid, table: ADMIT, priority: admit::ACCESS, label: &lane.label };
                let matches = Match::new().in_port(port);
                let matches = if lane.transparent { matches } else { matches.untagged() };
                self.put(slot, matches, enter.to_vec());
            }
            for &(dpid, port) in &lane.trunks {
                let slot = Slot { dpid, table: ADMIT, priority: admit::TRUNK, label: &lane.label };
                let mut instructions = vec![Instruction::ApplyActions(vec![Action::PopVlan])];
                instructions.extend(enter.clone());
                self.put(slot, Match::new().in_port(port).vlan(vlan), instructions);
            }
        }
        self.lanes.lanes = lanes;
    }

    /// The tag of a lane may come by a link or a trunk only. A switch that is out of reach goes on sending it by what it
    /// still takes for its links, while they look like edge ports from here: flooding it would close a loop.
    pub(super) fn refuse_foreign(&mut self, lanes: impl Iterator<Item = VlanId>) {
        let switches: Vec<Dpid> = self.out.switches.keys().copied().collect();
        for vlan in lanes {
            for &dpid in &switches {
                self.put(fabric(dpid, ADMIT, admit::FOREIGN), Match::new().vlan(vlan), vec![]);
            }
        }
    }

    /// Hosts that need not be reported any more.
    fn sources(&mut self) {
        let hosts = std::mem::take(&mut self.lanes.hosts);
        for (&(vlan, mac), host) in &hosts {
            let Some(label) = self.lanes.lanes.get(&vlan).map(|lane| lane.label.clone()) else { continue };
            let (dpid, port) = host.at;
            let matches = in_lane(vlan).in_port(port).eth_src(mac);
            let slot = Slot { dpid, table: SOURCE, priority: source::KNOWN, label: &label };
            self.put(slot, matches.clone(), vec![Instruction::GotoTable(STEER)]);
            if host.addresses.is_empty() {
                let slot = Slot { priority: source::ADDRESS, ..slot };
                let learn = vec![punt(), Instruction::GotoTable(STEER)];
                self.put(slot, matches.eth_type(EtherType::ARP.0), learn);
            }
        }
        self.lanes.hosts = hosts;
    }

    /// Links, after everything else has said which lanes come by them.
    pub(super) fn links(&mut self) {
        let switches: Vec<Dpid> = self.out.switches.keys().copied().collect();
        for dpid in switches {
            let ports: Vec<_> = self.graph.ports(dpid).collect();
            for port in ports {
                let mut instructions = Vec::new();
                if self.graph.in_tree((dpid, port)) {
                    let flood = layout::MAY_FLOOD;
                    instructions.push(Instruction::WriteMetadata { metadata: flood, mask: flood });
                }
                instructions.push(Instruction::GotoTable(LANE));
                self.put(fabric(dpid, ADMIT, admit::PORT), Match::new().in_port(port).tagged(), instructions);
            }
        }
        for (dpid, lane) in std::mem::take(&mut self.entries) {
            self.lane_entry(dpid, lane);
        }
    }

    fn lane_entry(&mut self, dpid: Dpid, lane: VlanId) {
        let instructions = vec![
            Instruction::ApplyActions(vec![Action::PopVlan]),
            Instruction::WriteMetadata { metadata: layout::lane(lane), mask: layout::LANE_MASK },
            Instruction::GotoTable(layout::FORWARD),
        ];
        self.put(fabric(dpid, LANE, admit::PORT), Match::new().vlan(lane), instructions);
    }
}

fn group_source() -> openflow::Oxm {
    let bit = u128::from(GROUP_BIT.to_u64());
    openflow::Oxm::masked(openflow::Field::EthSrc, bit, bit)
}
