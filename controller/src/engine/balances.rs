//! ARP for virtual addresses, of hosts that the switches have no flow for.

use openflow::{Action, PacketOut, ports};
use packet::{VlanId, arp, build, ethernet};

use super::Controller;
use super::hosts::address_of;
use crate::lanes::Balance;
use crate::plan;
use crate::view::At;

impl Controller {
    /// Answers, if it asks for a virtual address of its lane.
    pub(super) fn answer_for_balance(&mut self, lane: VlanId, at: At, frame: &ethernet::View<'_>) {
        let Ok(request) = arp::Packet::parse(frame.payload()) else { return };
        let mut balances = self.lanes().balances.values();
        let balance = balances.find(|balance| balance.lane == lane && balance.address == request.target_ip);
        let asks = request.operation == arp::Operation::Request && request.sender_mac == frame.src();
        let Some(mac) = balance.map(Balance::mac).filter(|_| asks && frame.src().is_unicast()) else {
            return self.counters.useless_packet_ins += 1;
        };
        // A host may have more than one address.
        self.learn(lane, at, frame.src(), address_of(frame));
        let data = build::arp_reply(&request, mac);
        let tagged = self.lanes().lanes.get(&lane).is_some_and(|l| l.trunks.contains(&at));
        let actions = if tagged { plan::output_tagged(lane, at.1) } else { vec![Action::output(at.1)] };
        self.packet_out(at.0, PacketOut { buffer: None, in_port: ports::CONTROLLER, actions, data });
    }
}
