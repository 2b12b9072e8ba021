//! What a host is.

use core::net::IpAddr;

use packet::{MacAddr, VlanId};

/// What a host is.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its addresses with the length of their networks.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Where to send what is not in its networks.
    pub gateways: Vec<IpAddr>,
    /// The tag of its frames, if it speaks tagged.
    pub vlan: Option<VlanId>,
    /// Leaves UDP checksums to the network, as a guest with offloads does.
    pub offload: bool,
}

impl HostConfig {
    /// A host with one address and no gateway.
    pub fn new(mac: MacAddr, address: impl Into<IpAddr>, prefix_len: u8) -> Self {
        let addresses = vec![(address.into(), prefix_len)];
        Self { mac, addresses, gateways: Vec::new(), vlan: None, offload: false }
    }

    /// The same with another address.
    pub fn address(mut self, address: impl Into<IpAddr>, prefix_len: u8) -> Self {
        self.addresses.push((address.into(), prefix_len));
        self
    }

    /// The same with a gateway.
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.gateways.push(gateway.into());
        self
    }

    /// The same speaking tagged.
    pub fn vlan(mut self, vlan: VlanId) -> Self {
        self.vlan = Some(vlan);
        self
    }
}
