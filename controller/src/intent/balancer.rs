//! Virtual addresses, and who serves there.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::PortName;

/// Most members of a balancer: their buckets fit into one message.
const MAX_MEMBERS: usize = 256;
/// Most services of a balancer.
const MAX_SERVICES: usize = 64;

/// A virtual address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// The network that it is in.
    pub network: String,
    /// The address.
    pub address: Ipv4Addr,
    /// What is served there.
    pub services: Vec<Service>,
    /// Who serves.
    pub members: Vec<Member>,
}

/// A port of a virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Of TCP; otherwise of UDP.
    pub tcp: bool,
    /// The port.
    pub port: u16,
    /// The port of the members.
    pub target: u16,
}

/// One that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is attached.
    pub port: PortName,
    /// Its own address.
    pub address: Ipv4Addr,
    /// Its share.
    pub weight: u16,
}

/// What a member answers from, in a network: an address, whether of TCP, and the port.
pub(super) type Source = (String, Ipv4Addr, bool, u16);

impl Balancer {
    /// What members answer from, each with the member's place in the list.
    pub(super) fn sources(&self) -> impl Iterator<Item = (Source, usize)> + '_ {
        self.services.iter().flat_map(move |Service { tcp, target, .. }| {
            let members = self.members.iter().enumerate();
            members.map(move |(idx, own)| ((self.network.clone(), own.address, *tcp, *target), idx))
        })
    }

    /// Says what is wrong with it by itself.
    pub(super) fn check(&self, add: &mut impl FnMut(String, String)) {
        if !is_of_a_host(self.address) {
            add("/address".to_owned(), format!("{} is not the address of a host", self.address));
        }
        self.check_services(add);
        self.check_members(add);
    }

    fn check_services(&self, add: &mut impl FnMut(String, String)) {
        if self.services.is_empty() {
            add("/services".to_owned(), "at least one service is needed".to_owned());
        }
        if self.services.len() > MAX_SERVICES {
            add("/services".to_owned(), format!("more than {MAX_SERVICES} services"));
        }
        let (mut ports, mut targets) = (BTreeSet::new(), BTreeSet::new());
        for (idx, Service { tcp, port, target }) in self.services.iter().take(MAX_SERVICES).enumerate() {
            for (field, number) in [("port", port), ("target_port", target)] {
                if *number == 0 {
                    add(format!("/services/{idx}/{field}"), "0 is not a port: 1 to 65535".to_owned());
                }
            }
            if !ports.insert((tcp, port)) {
                add(format!("/services/{idx}/port"), format!("port {port} is served twice"));
            } else if !targets.insert((tcp, target)) {
                // An answer from there could be of either.
                let reason = format!("port {target} of the members is for another service already");
                add(format!("/services/{idx}/target_port"), reason);
            }
        }
    }

    fn check_members(&self, add: &mut impl FnMut(String, String)) {
        if self.members.is_empty() {
            add("/members".to_owned(), "at least one member is needed".to_owned());
        }
        if self.members.len() > MAX_MEMBERS {
            add("/members".to_owned(), format!("more than {MAX_MEMBERS} members"));
        }
        let mut seen = BTreeSet::new();
        for (idx, Member { address, weight, .. }) in self.members.iter().take(MAX_MEMBERS).enumerate() {
            let pointer = format!("/members/{idx}/address");
            if *address == self.address {
                add(pointer, format!("{address} is the virtual address"));
            } else if !is_of_a_host(*address) {
                add(pointer, format!("{address} is not the address of a host"));
            } else if !seen.insert(*address) {
                add(pointer, format!("{address} is a member already"));
            }
            if *weight == 0 {
                add(format!("/members/{idx}/weight"), "the lowest weight is 1".to_owned());
            }
        }
    }
}

fn is_of_a_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast() && !address.is_broadcast()
}
