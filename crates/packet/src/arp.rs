//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use crate::bytes::{array, be16, put, put16};
use crate::error::room;
use crate::{EmitError, EtherType, Layer, MacAddr, ParseError};

/// Size in bytes of the packet.
pub const PACKET_LEN: usize = 28;

const HARDWARE_ETHERNET: u16 = 1;

/// What the packet asks or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Who has the target protocol address?
    Request,
    /// The sender has it.
    Reply,
    /// Anything else (RARP, InARP, …).
    Other(u16),
}

impl Operation {
    /// From the wire.
    #[inline(always)]
    pub const fn from_u16(op: u16) -> Self {
        match op {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Other(other),
        }
    }

    /// To the wire.
    #[inline(always)]
    pub const fn to_u16(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Other(other) => other,
        }
    }
}

/// A packet; padding after it is not looked at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    packet: &'a [u8; PACKET_LEN],
}

impl<'a> View<'a> {
    /// Reads the packet at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`ParseError::Truncated`], or [`ParseError::AddressType`] if it is not for IPv4 over Ethernet.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let Some((packet, _)) = bytes.split_first_chunk::<PACKET_LEN>() else {
            return Err(ParseError::Truncated(Layer::Arp));
        };
        let kind = u64::from_be_bytes(array(packet, 0)) >> 16;
        // Hardware type 1, protocol type IPv4, sizes 6 and 4.
        if kind != (HARDWARE_ETHERNET as u64) << 32 | (EtherType::IPV4.0 as u64) << 16 | 0x0604 {
            return Err(ParseError::AddressType(Layer::Arp));
        }
        Ok(Self { packet })
    }

    /// What the packet asks or says.
    #[inline(always)]
    pub fn operation(&self) -> Operation {
        Operation::from_u16(be16(self.packet, 6))
    }

    /// MAC address of the sender.
    #[inline(always)]
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr(array(self.packet, 8))
    }

    /// IPv4 address of the sender.
    #[inline(always)]
    pub fn sender_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(array::<4, PACKET_LEN>(self.packet, 14))
    }

    /// MAC address of the target; nothing of meaning in a request.
    #[inline(always)]
    pub fn target_mac(&self) -> MacAddr {
        MacAddr(array(self.packet, 18))
    }

    /// IPv4 address of the target.
    #[inline(always)]
    pub fn target_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(array::<4, PACKET_LEN>(self.packet, 24))
    }
}

/// A packet to be changed in place.
#[derive(Debug)]
pub struct ViewMut<'a> {
    packet: &'a mut [u8; PACKET_LEN],
}

impl<'a> ViewMut<'a> {
    /// Reads the packet at the beginning of `bytes`.
    ///
    /// # Errors
    /// As [`View::parse`].
    #[inline(always)]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, ParseError> {
        View::parse(bytes)?;
        match bytes.split_first_chunk_mut() {
            Some((packet, _)) => Ok(Self { packet }),
            None => Err(ParseError::Truncated(Layer::Arp)),
        }
    }

    /// The same bytes, to be read.
    #[inline(always)]
    pub fn view(&self) -> View<'_> {
        View { packet: self.packet }
    }

    /// Sets the operation.
    #[inline(always)]
    pub fn set_operation(&mut self, operation: Operation) {
        put16(self.packet, 6, operation.to_u16());
    }

    /// Sets the sender's MAC address.
    #[inline(always)]
    pub fn set_sender_mac(&mut self, addr: MacAddr) {
        put(self.packet, 8, addr.0);
    }

    /// Sets the sender's IPv4 address.
    #[inline(always)]
    pub fn set_sender_ip(&mut self, addr: Ipv4Addr) {
        put(self.packet, 14, addr.octets());
    }

    /// Sets the target's MAC address.
    #[inline(always)]
    pub fn set_target_mac(&mut self, addr: MacAddr) {
        put(self.packet, 18, addr.0);
    }

    /// Sets the target's IPv4 address.
    #[inline(always)]
    pub fn set_target_ip(&mut self, addr: Ipv4Addr) {
        put(self.packet, 24, addr.octets());
    }
}

/// A packet as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What the packet asks or says.
    pub operation: Operation,
    /// MAC address of the sender.
    pub sender_mac: MacAddr,
    /// IPv4 address of the sender.
    pub sender_ip: Ipv4Addr,
    /// MAC address of the target; zero in a request.
    pub target_mac: MacAddr,
    /// IPv4 address of the target.
    pub target_ip: Ipv4Addr,
}

impl Packet {
    /// Who has `target_ip`?
    pub const fn request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Self {
        Self { operation: Operation::Request, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip }
    }

    /// The answer to `self`: its target address is at `mac`.
    pub const fn reply(&self, mac: MacAddr) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Reads the packet at the beginning of `bytes`.
    ///
    /// # Errors
    /// As [`View::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let view = View::parse(bytes)?;
        Ok(Self {
            operation: view.operation(),
            sender_mac: view.sender_mac(),
            sender_ip: view.sender_ip(),
            target_mac: view.target_mac(),
            target_ip: view.target_ip(),
        })
    }

    /// Writes the packet, returns the bytes written.
    ///
    /// # Errors
    /// [`EmitError`] below 28 bytes.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let packet = room::<PACKET_LEN>(out)?;
        put16(packet, 0, HARDWARE_ETHERNET);
        put16(packet, 2, EtherType::IPV4.0);
        put16(packet, 4, 0x0604);
        let mut view = ViewMut { packet };
        view.set_operation(self.operation);
        view.set_sender_mac(self.sender_mac);
        view.set_sender_ip(self.sender_ip);
        view.set_target_mac(self.target_mac);
        view.set_target_ip(self.target_ip);
        Ok(PACKET_LEN)
    }
}
