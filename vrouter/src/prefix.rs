//! Address prefixes, as routes, connected networks and rules name them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::str::FromStr;

/// Why something is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not `address/length`.
    #[error("\"{0}\" is not a prefix: address/length is expected, such as 10.1.0.0/24")]
    Syntax(String),
    /// The length exceeds the address.
    #[error("prefix length {len} is longer than {addr}")]
    Length {
        /// The address.
        addr: IpAddr,
        /// The length in bits.
        len: u8,
    },
}

/// A network: an address with the bits behind `len` cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// All of IPv4.
    pub const ANY_V4: Self = Self { addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 };

    /// The network that holds `addr` and has `len` bits.
    ///
    /// # Errors
    /// [`PrefixError::Length`] when `len` exceeds 32 or 128.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let addr = match addr {
            IpAddr::V4(a) if len <= 32 => IpAddr::V4(Ipv4Addr::from(u32::from(a) & mask4(len))),
            IpAddr::V6(a) if len <= 128 => IpAddr::V6((a.to_bits() & mask6(len)).into()),
            _ => return Err(PrefixError::Length { addr, len }),
        };
        Ok(Self { addr, len })
    }

    /// First address.
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Length in bits.
    pub fn prefix_len(&self) -> u8 {
        self.len
    }

    /// Whether `addr` is of this family and in this network.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => addr.to_bits() & mask4(self.len) == net.to_bits(),
            (IpAddr::V6(net), IpAddr::V6(addr)) => addr.to_bits() & mask6(self.len) == net.to_bits(),
            _ => false,
        }
    }

    /// The subnet's directed broadcast address (RFC 1812 §4.2.2.11), none for /31, /32 (RFC 3021) and IPv6.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.addr {
            IpAddr::V4(net) if self.len < 31 => Some(Ipv4Addr::from(u32::from(net) | !mask4(self.len))),
            _ => None,
        }
    }
}

/// The mask of the first `len` bits, `len` at most 128.
fn mask6(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

/// The mask of the first `len` bits, `len` at most 32.
fn mask4(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `10.1.0.0/24`, or a lone address for a host route. Host bits are cleared.
    fn from_str(s: &str) -> Result<Self, PrefixError> {
        let bad = || PrefixError::Syntax(s.to_owned());
        let (addr, len) = match s.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (s, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| bad())?;
        let full = if addr.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Ok(full), |l| l.parse().map_err(|_| bad()))?;
        Self::new(addr, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_have_edges() {
        let p: Prefix = "10.1.2.3/24".parse().expect("valid");
        assert_eq!(p.to_string(), "10.1.2.0/24");
        assert_eq!(p.broadcast(), Some(Ipv4Addr::new(10, 1, 2, 255)));
        assert!(p.contains([10, 1, 2, 255].into()) && !p.contains([10, 1, 3, 0].into()));
        assert!(Prefix::ANY_V4.contains(Ipv4Addr::BROADCAST.into()));
        assert_eq!("10.0.0.0/31".parse::<Prefix>().expect("valid").broadcast(), None);
        assert_eq!("10.0.0.7".parse::<Prefix>().expect("valid").prefix_len(), 32);
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/x", "fe80::/129", "10.0.0.0/-1"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
        let six: Prefix = "2001:db8::1/64".parse().expect("valid");
        assert_eq!(six.to_string(), "2001:db8::/64");
        assert!(!six.contains("10.0.0.1".parse().expect("valid")));
    }
}
