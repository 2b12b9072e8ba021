//! POLICY: what hosts may send to whom.
//!
//! A frame is judged once, where a host's port (or that of a router, for what comes from another network) brings it in.
//! Within a network the ends of a policy are the port it came by and the addresses of the hosts it may go to; from one
//! network to another, it is judged where the router hands it back, by the source's IP address. Flows keep no state: who is
//! allowed to ask is answered, whichever side begins, as far as the ports are those of an answer.

use std::net::IpAddr;

use openflow::{Dpid, Field, Instruction, Match};
use packet::{EtherType, IpProtocol, VlanId};

use super::{Draft, Planner, Slot, in_lane, punt};
use crate::intent::{Judgement, Traffic};
use crate::lanes::{Ends, Rule};
use crate::layout::{FORWARD, POLICY, STEER, forward, policy};
use crate::view::At;

/// Which port of a packet counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The destination's.
    There,
    /// The source's: it is an answer.
    Back,
}

impl Planner {
    /// The flows of a policy.
    pub(super) fn policy(&self, draft: &mut Draft, name: &str) {
        let Some(rule) = self.lanes().rules.get(name) else { return };
        self.judge(draft, rule, (rule.from.as_ref(), rule.to.as_ref()), Way::There);
        if rule.judgement == Judgement::Allow {
            self.judge(draft, rule, (rule.to.as_ref(), rule.from.as_ref()), Way::Back);
        }
    }

    fn judge(&self, draft: &mut Draft, rule: &Rule, (from, to): (Option<&Ends>, Option<&Ends>), way: Way) {
        let instructions = match rule.judgement {
            Judgement::Allow => vec![Instruction::GotoTable(STEER)],
            Judgement::Deny => vec![],
            Judgement::Reject => vec![punt()],
        };
        let priority = policy::of(rule.priority);
        for (dpid, scope) in self.scopes(from, to) {
            for matches in traffic(&scope, &rule.traffic, way) {
                let slot = Slot { dpid, table: POLICY, priority, label: &rule.label };
                draft.put(slot, matches, instructions.clone());
            }
        }
    }

    /// Where frames from some ends to others enter, and what tells them.
    fn scopes(&self, from: Option<&Ends>, to: Option<&Ends>) -> Vec<(Dpid, Match)> {
        match (from, to) {
            (None, None) => self.blueprint.switches.keys().map(|dpid| (*dpid, Match::ANY)).collect(),
            (Some(from), None) => from.keys().map(|at| (at.0, Match::new().in_port(at.1))).collect(),
            (from, Some(to)) => {
                let mut scopes = Vec::new();
                for (lane, at) in to.iter().flat_map(|(at, lanes)| lanes.iter().map(|lane| (*lane, *at))) {
                    for goal in self.goals(lane, at) {
                        match from {
                            None => scopes.extend(self.starts(lane).map(|dpid| (dpid, goal.clone()))),
                            Some(from) => self.between(&mut scopes, from, lane, &goal),
                        }
                    }
                }
                scopes
            }
        }
    }

    /// Frames to each host of a port in a lane.
    fn goals(&self, lane: VlanId, at: At) -> Vec<Match> {
        let hosts = self.lanes().hosts_at.get(&at).into_iter().flatten();
        hosts.filter(|(own, _)| *own == lane).map(|(_, mac)| in_lane(lane).eth_dst(*mac)).collect()
    }

    /// Switches where frames of a lane may come from hosts.
    fn starts(&self, lane: VlanId) -> impl Iterator<Item = Dpid> + '_ {
        self.spans.get(&lane).into_iter().flat_map(|span| &span.starts).copied()
    }

    /// Frames for `goal` in `lane`: from ports of the same lane by the port, from others by their IP address, wherever a
    /// router brings them in.
    fn between(&self, scopes: &mut Vec<(Dpid, Match)>, from: &Ends, lane: VlanId, goal: &Match) {
        for (at, lanes) in from {
            if lanes.contains(&lane) {
                scopes.push((at.0, goal.clone().in_port(at.1)));
                continue;
            }
            let keys = self.lanes().hosts_at.get(at).into_iter().flatten();
            let hosts = keys.filter_map(|key| self.lanes().hosts.get(key));
            for address in hosts.flat_map(|host| &host.addresses) {
                let matches = match address {
                    IpAddr::V4(address) => goal.clone().ipv4_src(*address, 32),
                    IpAddr::V6(address) => goal.clone().ipv6_src(*address, 128),
                };
                scopes.extend(self.starts(lane).map(|dpid| (dpid, matches.clone())));
            }
        }
    }

    /// What policies are about must not be flooded: it waits at the controller until it is known who is behind the address.
    pub(super) fn hold(&self, draft: &mut Draft, vlan: VlanId, at: At) {
        let Some(lane) = self.lanes().lanes.get(&vlan).filter(|lane| lane.has(at)) else { return };
        if !self.waits(vlan, at) {
            return;
        }
        for ethertype in [EtherType::IPV4, EtherType::IPV6] {
            let slot =
                Slot { dpid: at.0, table: FORWARD, priority: forward::HOLD_POLICY, label: &lane.label };
            let matches = in_lane(vlan).in_port(at.1).eth_type(ethertype.0);
            draft.put(slot, matches, vec![punt()]);
        }
    }

    /// Whether traffic to unknown addresses waits at a port of a lane.
    pub(super) fn waits(&self, vlan: VlanId, at: At) -> bool {
        let holds = &self.lanes().holds;
        holds.contains_key(&(vlan, None)) || holds.contains_key(&(vlan, Some(at)))
    }
}

/// The traffic of a policy, within `scope`.
fn traffic(scope: &Match, traffic: &Traffic, way: Way) -> Vec<Match> {
    let family = scope.exact(Field::EthType);
    let mut all = Vec::new();
    for (ethertype, icmp) in [(EtherType::IPV4, IpProtocol::ICMP), (EtherType::IPV6, IpProtocol::ICMPV6)] {
        if family.is_some_and(|family| family != u128::from(ethertype.0)) {
            continue;
        }
        let ip = scope.clone().eth_type(ethertype.0);
        let port: fn(Match, u16) -> Match = match (traffic, way) {
            (Traffic::Tcp(_), Way::There) => Match::tcp_dst,
            (Traffic::Tcp(_), Way::Back) => Match::tcp_src,
            (_, Way::There) => Match::udp_dst,
            (_, Way::Back) => Match::udp_src,
        };
        match traffic {
            Traffic::Ip => all.push(ip),
            Traffic::Icmp => all.push(ip.ip_proto(icmp.0)),
            Traffic::Tcp(ports) if ports.is_empty() => all.push(ip.ip_proto(IpProtocol::TCP.0)),
            Traffic::Udp(ports) if ports.is_empty() => all.push(ip.ip_proto(IpProtocol::UDP.0)),
            Traffic::Tcp(ports) | Traffic::Udp(ports) => {
                all.extend(ports.iter().map(|number| port(ip.clone(), *number)));
            }
        }
    }
    all
}
