//! Address resolution for IPv4 (RFC 826): requests for addresses of the router are answered, neighbours remembered.

use core::net::IpAddr;

use packet::{Frame, arp};

use crate::forwarder::Forwarder;
use crate::input::Arrived;
use crate::message::{Learned, ReportKind};
use crate::neighbour::Heard;
use crate::output::{Io, link, send_frame};
use crate::snapshot::Snapshot;
use crate::{Drop, RouterEvent};

impl Forwarder {
    /// Takes in a message of ARP. Answers go up as well: a shadow asks its own questions.
    pub(crate) fn receive_arp(&mut self, s: &Snapshot, io: &mut Io<'_>, frame: Frame, arrived: &Arrived) {
        let result = match self.admits_neighbours(io, arrived.interface) {
            true => self.arp(s, io, &frame, arrived),
            false => Err(Drop::ServiceLimit),
        };
        match result {
            Ok(arp::Operation::Reply) => self.frame_up(s, io, frame, (arrived, None)),
            Ok(_) => io.pool.free(frame),
            Err(why) => self.drop(io, frame, why),
        }
    }

    /// Answers a request, remembers who spoke; what the message was, if it was for this router.
    fn arp(
        &mut self,
        s: &Snapshot,
        io: &mut Io<'_>,
        frame: &Frame,
        arrived: &Arrived,
    ) -> Result<arp::Operation, Drop> {
        let bytes = frame.head().get(arrived.network_at..).unwrap_or(&[]);
        let packet = arp::Packet::parse(bytes).map_err(|_| Drop::BadArp)?;
        let interface = s.interface(arrived.interface);
        let (sender, mac) = (IpAddr::V4(packet.sender_ip), packet.sender_mac);
        if !mac.is_unicast() || mac != arrived.src {
            return Err(Drop::BadArp);
        }
        let ours = |addr: IpAddr| interface.has(addr) || s.nat.is_proxied(arrived.interface, addr);
        if ours(sender) {
            if mac == interface.mac {
                return Err(Drop::ArpIgnored);
            }
            let interface = interface.name.clone();
            let event = RouterEvent::DuplicateAddress { interface, address: sender, mac };
            self.report_event(io.now, event);
            return Err(Drop::DuplicateAddress);
        }
        if !sender.is_unspecified() && !s.may_speak(arrived.interface, sender, mac) {
            return Err(Drop::Spoofed);
        }
        let for_us =
            ours(packet.target_ip.into()) || s.is_proxied(arrived.interface, packet.target_ip.into());
        // A sender of 0.0.0.0 only asks whether an address is taken (RFC 5227 §2.1.1).
        if interface.network_of(sender).is_some() && !sender.is_unspecified() {
            let (generation, address) = (s.generation, sender);
            let heard = Heard::by_arp(mac);
            let learned = Learned { generation, interface: arrived.interface, address, heard };
            if self.learned(s, io, &learned, for_us) {
                self.report(ReportKind::Learned(learned));
            }
        } else if !sender.is_unspecified() {
            return Err(Drop::BadArp);
        }
        match packet.operation {
            arp::Operation::Request if for_us => {
                send_frame(io, interface, &link(interface, mac).arp(&packet.reply(interface.mac)));
                Ok(packet.operation)
            }
            arp::Operation::Reply if for_us => Ok(packet.operation),
            _ => Err(Drop::ArpIgnored),
        }
    }

    /// Remembers a neighbour and sends what waited for it; false if it was not remembered.
    pub(crate) fn learned(&mut self, s: &Snapshot, io: &mut Io<'_>, learned: &Learned, create: bool) -> bool {
        let key = (learned.interface, learned.address);
        let Some(queue) = self.neighbours.learn(io.now, &s.tuning, key, learned.heard, create) else {
            return false;
        };
        for waiting in queue {
            self.emit(s, io, learned.interface, learned.heard.mac, waiting);
        }
        true
    }
}
