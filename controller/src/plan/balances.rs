//! Balancers: where a frame for a virtual address comes in, STEER chooses a member and writes it to it; what the member answers is
//! written back where it comes in.
//!
//! A select group chooses (OpenFlow 1.3.5 §5.6.1), by addresses and ports in every switch we know. Its buckets write the member's
//! addresses and put the frame out in the lane of the network, by the group of the member's switch, which heals links: other switches
//! know nothing of it. ARP for the address is answered by flows for each host that is known, by the controller for others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use openflow::{Action, Bucket, Dpid, Field, GroupId, GroupType, Instruction, Match, Oxm, ports};
use packet::{EtherType, MacAddr, VlanId};

use super::{Draft, Part, Planner, Slot, in_lane, punt, push};
use crate::groups::GroupBody;
use crate::intent::Service;
use crate::lanes::{Balance, Serving};
use crate::layout::{self, FORWARD, STEER, steer};
use crate::view::{HostKey, View};

/// ARP operations (RFC 826).
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// The groups of the services of each balancer.
#[derive(Debug, Default)]
pub(super) struct ServiceGroups(BTreeMap<String, Vec<GroupId>>);

impl Planner {
    /// Gives all services the numbers of their groups, so that a new one does not move others unless they meet.
    pub(super) fn allocate_services(&mut self, stale: &mut BTreeSet<Part>) {
        let (mut taken, mut now) = (BTreeSet::new(), ServiceGroups::default());
        for (name, balance) in &self.lanes().balances {
            let number = |service: &Service| {
                let Service { tcp, port, .. } = service;
                let first = layout::fnv(format!("{name}/{tcp}/{port}").as_bytes()) as u32;
                let numbers = (0..layout::N_BALANCE_GROUPS)
                    .map(|step| layout::group_of_service(first.wrapping_add(step)));
                numbers.into_iter().find(|group| taken.insert(*group))
            };
            now.0.insert(name.clone(), balance.services.iter().filter_map(number).collect());
        }
        let differing =
            now.0.iter().filter(|(name, groups)| self.service_groups.0.get(*name) != Some(groups));
        stale.extend(differing.map(|(name, _)| Part::Balance(name.clone())));
        self.service_groups = now;
    }

    /// The flows and groups of a balancer.
    pub(super) fn balance(&self, draft: &mut Draft, view: &View, name: &str) {
        let Some(balance) = self.lanes().balances.get(name) else { return };
        let groups = self.service_groups.0.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut members = Vec::new();
        for member in &balance.members {
            match self.mac_of(balance.lane, member) {
                Some(mac) => members.push((member, mac)),
                None => {
                    let at = format!("{}:{}", view.name(member.at.0), member.at.1);
                    draft
                        .issue(&balance.label, format!("waiting for {} to be heard at {at}", member.address));
                }
            }
        }
        let starts = self.spans.get(&balance.lane).into_iter().flat_map(|span| &span.starts);
        for &here in starts {
            self.front(draft, balance, here);
            for (service, group) in balance.services.iter().zip(groups) {
                self.serve(draft, view, (balance, &members[..]), (*service, *group), here);
            }
        }
        for (member, _) in members {
            for service in &balance.services {
                write_back(draft, balance, member, *service);
            }
        }
    }

    fn mac_of(&self, lane: VlanId, member: &Serving) -> Option<MacAddr> {
        let hosts = self.lanes().hosts_at.get(&member.at).into_iter().flatten();
        let has = |key: &&HostKey| {
            let host = self.lanes().hosts.get(*key);
            key.0 == lane && host.is_some_and(|host| host.addresses.contains(&IpAddr::V4(member.address)))
        };
        hosts.into_iter().find(has).map(|key| key.1)
    }

    /// What a switch does with all that is about the address, but no service.
    fn front(&self, draft: &mut Draft, balance: &Balance, dpid: Dpid) {
        let slot = |priority| Slot { dpid, table: STEER, priority, label: &balance.label };
        let ask = requests(in_lane(balance.lane), balance.address);
        draft.put(slot(steer::BALANCE_ASK), ask, vec![punt()]);
        draft.put(slot(steer::BALANCE_REST), in_lane(balance.lane).eth_dst(balance.mac()), vec![]);
    }

    /// What a switch does with frames for a service.
    fn serve(
        &self,
        draft: &mut Draft,
        view: &View,
        (balance, members): (&Balance, &[(&Serving, MacAddr)]),
        (service, group): (Service, GroupId),
        dpid: Dpid,
    ) {
        let mut buckets = Vec::new();
        for &(member, mac) in members {
            match self.toward(draft, (balance, dpid), (member, mac), service) {
                Some(actions) => {
                    let watch_port = (member.at.0 == dpid).then_some(member.at.1);
                    buckets.push(Bucket { weight: member.weight, watch_port, watch_group: None, actions });
                }
                None => {
                    let [from, to] = [dpid, member.at.0].map(|dpid| view.name(dpid));
                    draft.issue(&balance.label, format!("there is no path from {from} to {to}"));
                }
            }
        }
        let support = self.support(dpid);
        let actions = if support.select && support.chaining && !buckets.is_empty() {
            draft.groups.insert((dpid, group), GroupBody { group_type: GroupType::Select, buckets });
            vec![Action::Group(group)]
        } else {
            // Nothing chooses here: each switch has one of them.
            let n = buckets.len().max(1) as u64;
            let choice = (layout::fnv(&dpid.0.to_be_bytes()) % n) as usize;
            if buckets.len() > 1 {
                let name = view.name(dpid);
                draft.refuse(
                    &balance.label,
                    format!("{name} has no groups that choose: one member serves its hosts"),
                );
            }
            buckets.into_iter().nth(choice).map(|bucket| bucket.actions).unwrap_or_default()
        };
        let matches = in_lane(balance.lane).eth_dst(balance.mac()).ipv4_dst(balance.address, 32);
        let matches = if service.tcp { matches.tcp_dst(service.port) } else { matches.udp_dst(service.port) };
        let slot = Slot { dpid, table: STEER, priority: steer::BALANCE, label: &balance.label };
        let instructions = if actions.is_empty() { vec![] } else { vec![Instruction::ApplyActions(actions)] };
        draft.put(slot, matches, instructions);
    }

    /// Writes a frame to a member and sends it there, in the order of an action set (§5.10).
    fn toward(
        &self,
        draft: &mut Draft,
        (balance, dpid): (&Balance, Dpid),
        (member, mac): (&Serving, MacAddr),
        service: Service,
    ) -> Option<Vec<Action>> {
        let lane = balance.lane;
        let local = member.at.0 == dpid;
        let mut actions = if member.tagged || !local { push(lane).to_vec() } else { vec![] };
        actions.push(set(Field::EthDst, mac.to_u64().into()));
        actions.push(set(Field::Ipv4Dst, member.address.to_bits().into()));
        if service.target != service.port {
            actions.push(set(if service.tcp { Field::TcpDst } else { Field::UdpDst }, service.target.into()));
        }
        let choice = layout::fnv(&[&mac.0[..], &lane.get().to_be_bytes()].concat());
        actions.push(match local {
            true => Action::output(member.at.1),
            false => self.first_step(draft, lane, (dpid, member.at.0), choice)?,
        });
        Some(actions)
    }

    /// Answers ARP of a host for the virtual addresses of its lane.
    pub(super) fn answer_for_balances(&self, draft: &mut Draft, key: HostKey) {
        let (lane, mac) = key;
        let Some(host) = self.lanes().hosts.get(&key) else { return };
        let tagged = self.lanes().lanes.get(&lane).is_some_and(|l| l.trunks.contains(&host.at));
        let (dpid, port) = host.at;
        for balance in self.lanes().balances.values().filter(|balance| balance.lane == lane) {
            let addresses = host.addresses.iter().filter_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            });
            for own in addresses {
                let from = in_lane(lane).in_port(port).eth_src(mac);
                let asked =
                    requests(from, balance.address).with(Oxm::new(Field::ArpSpa, own.to_bits().into()));
                let Ok(asked) = asked else { continue };
                let mut actions: Vec<Action> = answer(balance, (mac, own)).to_vec();
                if tagged {
                    actions.extend(push(lane));
                }
                actions.push(Action::output(ports::IN_PORT));
                let slot = Slot { dpid, table: STEER, priority: steer::BALANCE, label: &balance.label };
                draft.put(slot, asked, vec![Instruction::ApplyActions(actions)]);
            }
        }
    }
}

/// What a member answers comes from the virtual address, whoever gets it.
fn write_back(draft: &mut Draft, balance: &Balance, member: &Serving, service: Service) {
    let (dpid, port) = member.at;
    let matches = in_lane(balance.lane).in_port(port).ipv4_src(member.address, 32);
    let matches = if service.tcp { matches.tcp_src(service.target) } else { matches.udp_src(service.target) };
    let mut actions = vec![
        set(Field::EthSrc, balance.mac().to_u64().into()),
        set(Field::Ipv4Src, balance.address.to_bits().into()),
    ];
    if service.target != service.port {
        actions.push(set(if service.tcp { Field::TcpSrc } else { Field::UdpSrc }, service.port.into()));
    }
    let slot = Slot { dpid, table: STEER, priority: steer::BALANCE, label: &balance.label };
    draft.put(slot, matches, vec![Instruction::ApplyActions(actions), Instruction::GotoTable(FORWARD)]);
}

/// ARP requests for an address.
fn requests(scope: Match, address: Ipv4Addr) -> Match {
    let scope = scope.eth_type(EtherType::ARP.0);
    let scope = scope.with(Oxm::new(Field::ArpOp, REQUEST.into())).expect("the field that it needs is there");
    scope.arp_tpa(address, 32)
}

/// Makes a request of a host the answer to it.
fn answer(balance: &Balance, (mac, own): (MacAddr, Ipv4Addr)) -> [Action; 7] {
    let (virtual_mac, mac) = (balance.mac().to_u64().into(), mac.to_u64().into());
    [
        set(Field::EthSrc, virtual_mac),
        set(Field::EthDst, mac),
        set(Field::ArpOp, REPLY.into()),
        set(Field::ArpSha, virtual_mac),
        set(Field::ArpSpa, balance.address.to_bits().into()),
        set(Field::ArpTha, mac),
        set(Field::ArpTpa, own.to_bits().into()),
    ]
}

fn set(field: Field, value: u128) -> Action {
    Action::SetField(Oxm::new(field, value))
}
