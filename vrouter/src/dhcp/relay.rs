//! A relay between clients of one link and servers elsewhere (RFC 1542 §4, RFC 3046).

use core::net::Ipv4Addr;

use super::wire::{Message, option};
use crate::snapshot::IfIndex;

/// RFC 1542 §4.1.1.
const MAX_HOPS: u8 = 16;
/// Of option 82 (RFC 3046 §2.0).
const CIRCUIT: u8 = 1;

/// An interface whose clients have their servers elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    pub interface: IfIndex,
    /// The name by which option 82 tells the server of the interface.
    pub circuit: String,
    /// Address of the interface that the server chooses the network by.
    pub own: Ipv4Addr,
    pub servers: Vec<Ipv4Addr>,
}

impl Relay {
    /// The request as servers get it; none if it must not be passed on.
    pub(crate) fn to_servers(&self, message: &Message) -> Option<Message> {
        let mut relayed = message.clone();
        relayed.hops = message.hops.checked_add(1).filter(|hops| *hops <= MAX_HOPS)?;
        if message.relay.is_unspecified() {
            // RFC 3046 §2.1: a client does not say by which circuit it comes.
            if message.option(option::RELAY).is_some() {
                return None;
            }
            relayed.relay = self.own;
            let circuit = &self.circuit.as_bytes()[..self.circuit.len().min(200)];
            relayed.push(option::RELAY, [&[CIRCUIT, circuit.len() as u8], circuit].concat());
        }
        Some(relayed)
    }

    /// The reply as the client gets it; none if it is not for this relay.
    pub(crate) fn to_client(&self, message: &Message) -> Option<Message> {
        if message.relay != self.own {
            return None;
        }
        let mut reply = message.clone();
        reply.options.retain(|(number, _)| *number != option::RELAY);
        Some(reply)
    }
}
