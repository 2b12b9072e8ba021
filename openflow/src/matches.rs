//! The match of a flow (§5.3, §7.2.3).

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::error::BadMatch;
use crate::oxm::{Prerequisite, VID_PRESENT};
use crate::{Field, MacAddr, Oxm, PortNo, VlanId};

/// Why fields make no match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// A field is there twice.
    #[error("{0} appears twice")]
    Duplicate(Field),
    /// A field lacks what it needs beside it.
    #[error("{field} needs {need}", field = .0, need = needs(*.0))]
    Prerequisite(Field),
    /// A value no packet can have.
    #[error("{0} cannot have this value")]
    BadValue(Field),
    /// Value bits outside the mask.
    #[error("the value of {0} has bits outside its mask")]
    BadWildcards(Field),
    /// A mask on a field that takes none.
    #[error("{0} takes no mask")]
    BadMask(Field),
}

fn needs(field: Field) -> String {
    match field.prerequisite() {
        Prerequisite::None => "nothing".to_owned(),
        Prerequisite::Present(f) => f.name().to_owned(),
        Prerequisite::OneOf(f, values) => {
            let values: Vec<_> = values.iter().map(|v| format!("{}={v:#x}", f.name())).collect();
            values.join(" or ")
        }
        Prerequisite::Tagged => "a vlan_vid that demands a tag".to_owned(),
    }
}

impl MatchError {
    /// The code of the standard (ofp_bad_match_code).
    pub const fn code(self) -> BadMatch {
        match self {
            Self::Duplicate(_) => BadMatch::DupField,
            Self::Prerequisite(_) => BadMatch::BadPrereq,
            Self::BadValue(_) => BadMatch::BadValue,
            Self::BadWildcards(_) => BadMatch::BadWildcards,
            Self::BadMask(_) => BadMatch::BadMask,
        }
    }
}

/// Which packets a flow applies to: fields in ascending order, each at most once, every one with its prerequisites.
/// Fields of which no bit counts are left out.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Match {
    fields: Vec<Oxm>,
}

impl Match {
    /// Matches every packet.
    pub const ANY: Self = Self { fields: Vec::new() };

    /// Matches every packet.
    pub const fn new() -> Self {
        Self::ANY
    }

    /// Checks and sorts fields.
    ///
    /// # Errors
    /// See [`MatchError`].
    pub fn from_fields(fields: impl IntoIterator<Item = Oxm>) -> Result<Self, MatchError> {
        let mut fields: Vec<Oxm> = fields.into_iter().collect();
        fields.sort_by_key(|oxm| oxm.field);
        if let Some(pair) = fields.windows(2).find(|pair| pair[0].field == pair[1].field) {
            return Err(MatchError::Duplicate(pair[0].field));
        }
        for oxm in &mut fields {
            *oxm = checked(*oxm)?;
        }
        fields.retain(|oxm| oxm.mask != Some(0));
        let this = Self { fields };
        match this.iter().find(|oxm| !this.satisfies(oxm.field.prerequisite())) {
            Some(oxm) => Err(MatchError::Prerequisite(oxm.field)),
            None => Ok(this),
        }
    }

    /// Builds a match of whatever was received, in order, without checking prerequisites: for packet-ins, whose
    /// pipeline fields stand alone. A later value of the same field wins.
    pub fn pipeline(fields: impl IntoIterator<Item = Oxm>) -> Self {
        fields.into_iter().fold(Self::new(), Self::set)
    }

    /// With one field more.
    ///
    /// # Errors
    /// See [`MatchError`].
    pub fn with(&self, oxm: Oxm) -> Result<Self, MatchError> {
        Self::from_fields(self.fields.iter().copied().chain([oxm]))
    }

    fn satisfies(&self, prerequisite: Prerequisite) -> bool {
        match prerequisite {
            Prerequisite::None => true,
            Prerequisite::Present(field) => self.get(field).is_some(),
            Prerequisite::OneOf(field, values) => self
                .get(field)
                .is_some_and(|oxm| oxm.mask.is_none() && values.iter().any(|&v| u128::from(v) == oxm.value)),
            // §7.2.3.7: VLAN_PCP needs VLAN_VID != NONE, so the present bit must be demanded.
            Prerequisite::Tagged => self
                .get(Field::VlanVid)
                .is_some_and(|oxm| oxm.value & oxm.effective_mask() & u128::from(VID_PRESENT) != 0),
        }
    }

    /// The fields in ascending order.
    pub fn iter(&self) -> core::slice::Iter<'_, Oxm> {
        self.fields.iter()
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Matches every packet.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The condition on `field`, if there is one.
    pub fn get(&self, field: Field) -> Option<&Oxm> {
        self.fields.binary_search_by_key(&field, |oxm| oxm.field).ok().map(|idx| &self.fields[idx])
    }

    /// The value of `field` if all its bits count.
    pub fn exact(&self, field: Field) -> Option<u128> {
        self.get(field).filter(|oxm| oxm.mask.is_none()).map(|oxm| oxm.value)
    }

    /// The ingress port it demands.
    pub fn ingress(&self) -> Option<PortNo> {
        self.exact(Field::InPort).and_then(|v| u32::try_from(v).ok()).map(PortNo)
    }

    /// Every packet that matches `other` matches this: `other` is equal or more specific (§6.4, non-strict).
    pub fn covers(&self, other: &Self) -> bool {
        self.iter().all(|oxm| other.get(oxm.field).is_some_and(|theirs| oxm.covers(theirs)))
    }

    /// Some packet matches both (§6.4, overlap check).
    pub fn overlaps(&self, other: &Self) -> bool {
        self.iter().all(|oxm| other.get(oxm.field).is_none_or(|theirs| oxm.overlaps(theirs)))
    }

    /// Sets one condition without looking at the others; normalises it.
    fn set(mut self, oxm: Oxm) -> Self {
        let oxm = Oxm::masked(oxm.field, oxm.value, oxm.effective_mask());
        match self.fields.binary_search_by_key(&oxm.field, |o| o.field) {
            Ok(idx) if oxm.mask == Some(0) => drop(self.fields.remove(idx)),
            Ok(idx) => self.fields[idx] = oxm,
            Err(_) if oxm.mask == Some(0) => {}
            Err(idx) => self.fields.insert(idx, oxm),
        }
        self
    }
}

/// One condition, normalised.
fn checked(oxm: Oxm) -> Result<Oxm, MatchError> {
    let field = oxm.field;
    let full = field.full_mask();
    if oxm.value & !full != 0 {
        return Err(MatchError::BadValue(field));
    }
    // §7.2.3.7: VLAN_VID without the present bit is only the value NONE. A mask of all bits is none.
    let (vid, is_exact) = (u128::from(VID_PRESENT), oxm.effective_mask() & full == full);
    if field == Field::VlanVid && is_exact && oxm.value & vid == 0 && oxm.value != 0 {
        return Err(MatchError::BadValue(field));
    }
    match oxm.mask {
        None => Ok(oxm),
        Some(mask) if mask & full == full => Ok(Oxm::new(field, oxm.value)),
        Some(_) if !field.is_maskable() => Err(MatchError::BadMask(field)),
        // §7.2.3.5: it is an error for a value bit to be set where the mask bit is clear.
        Some(mask) if oxm.value & !mask != 0 => Err(MatchError::BadWildcards(field)),
        Some(mask) => Ok(Oxm::masked(field, oxm.value, mask)),
    }
}

/// Constructors that bring their prerequisites with them; each replaces an earlier condition on the same field.
impl Match {
    /// Came by this port.
    #[must_use]
    pub fn in_port(self, port: PortNo) -> Self {
        self.set(Oxm::in_port(port))
    }

    /// These bits of the metadata.
    #[must_use]
    pub fn metadata(self, value: u64, mask: u64) -> Self {
        self.set(Oxm::masked(Field::Metadata, value.into(), mask.into()))
    }

    /// To this address.
    #[must_use]
    pub fn eth_dst(self, mac: MacAddr) -> Self {
        self.set(Oxm::mac(Field::EthDst, mac))
    }

    /// To an address with these bits.
    #[must_use]
    pub fn eth_dst_masked(self, mac: MacAddr, mask: MacAddr) -> Self {
        self.set(Oxm::masked(Field::EthDst, mac.to_u64().into(), mask.to_u64().into()))
    }

    /// From this address.
    #[must_use]
    pub fn eth_src(self, mac: MacAddr) -> Self {
        self.set(Oxm::mac(Field::EthSrc, mac))
    }

    /// Of this Ethertype.
    #[must_use]
    pub fn eth_type(self, ethertype: u16) -> Self {
        self.set(Oxm::new(Field::EthType, ethertype.into()))
    }

    /// Tagged with this VLAN.
    #[must_use]
    pub fn vlan(self, vlan: VlanId) -> Self {
        self.set(Oxm::vlan(vlan))
    }

    /// Without a VLAN tag.
    #[must_use]
    pub fn untagged(self) -> Self {
        self.set(Oxm::new(Field::VlanVid, 0))
    }

    /// With any VLAN tag.
    #[must_use]
    pub fn tagged(self) -> Self {
        self.set(Oxm::masked(Field::VlanVid, VID_PRESENT.into(), VID_PRESENT.into()))
    }

    /// From this IPv4 network.
    #[must_use]
    pub fn ipv4_src(self, addr: Ipv4Addr, prefix_len: u8) -> Self {
        self.eth_type(0x0800).set(v4_prefix(Field::Ipv4Src, addr, prefix_len))
    }

    /// To this IPv4 network.
    #[must_use]
    pub fn ipv4_dst(self, addr: Ipv4Addr, prefix_len: u8) -> Self {
        self.eth_type(0x0800).set(v4_prefix(Field::Ipv4Dst, addr, prefix_len))
    }

    /// From this IPv6 network.
    #[must_use]
    pub fn ipv6_src(self, addr: Ipv6Addr, prefix_len: u8) -> Self {
        self.eth_type(0x86dd).set(v6_prefix(Field::Ipv6Src, addr, prefix_len))
    }

    /// To this IPv6 network.
    #[must_use]
    pub fn ipv6_dst(self, addr: Ipv6Addr, prefix_len: u8) -> Self {
        self.eth_type(0x86dd).set(v6_prefix(Field::Ipv6Dst, addr, prefix_len))
    }

    /// An ARP packet that asks for, or tells about, an address of this network.
    #[must_use]
    pub fn arp_tpa(self, addr: Ipv4Addr, prefix_len: u8) -> Self {
        self.eth_type(0x0806).set(v4_prefix(Field::ArpTpa, addr, prefix_len))
    }

    /// An IP packet of this protocol. IPv4 unless the match already says IPv6.
    #[must_use]
    pub fn ip_proto(self, proto: u8) -> Self {
        let ip = self.satisfies(Field::IpProto.prerequisite());
        let this = if ip { self } else { self.eth_type(0x0800) };
        this.set(Oxm::new(Field::IpProto, proto.into()))
    }

    /// To this TCP port.
    #[must_use]
    pub fn tcp_dst(self, port: u16) -> Self {
        self.ip_proto(6).set(Oxm::new(Field::TcpDst, port.into()))
    }

    /// From this TCP port.
    #[must_use]
    pub fn tcp_src(self, port: u16) -> Self {
        self.ip_proto(6).set(Oxm::new(Field::TcpSrc, port.into()))
    }

    /// To this UDP port.
    #[must_use]
    pub fn udp_dst(self, port: u16) -> Self {
        self.ip_proto(17).set(Oxm::new(Field::UdpDst, port.into()))
    }

    /// From this UDP port.
    #[must_use]
    pub fn udp_src(self, port: u16) -> Self {
        self.ip_proto(17).set(Oxm::new(Field::UdpSrc, port.into()))
    }
}

fn v4_prefix(field: Field, addr: Ipv4Addr, prefix_len: u8) -> Oxm {
    let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix_len.into())).unwrap_or(0);
    Oxm::masked(field, addr.to_bits().into(), mask.into())
}

fn v6_prefix(field: Field, addr: Ipv6Addr, prefix_len: u8) -> Oxm {
    let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix_len.into())).unwrap_or(0);
    Oxm::masked(field, addr.to_bits(), mask)
}

impl core::fmt::Debug for Match {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(&self.fields).finish()
    }
}

impl<'a> IntoIterator for &'a Match {
    type Item = &'a Oxm;
    type IntoIter = core::slice::Iter<'a, Oxm>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prerequisites_are_enforced() {
        let tcp = Oxm::new(Field::TcpDst, 80);
        let proto = Oxm::new(Field::IpProto, 6);
        let ip = Oxm::new(Field::EthType, 0x800);
        assert_eq!(Match::from_fields([tcp]), Err(MatchError::Prerequisite(Field::TcpDst)));
        assert_eq!(Match::from_fields([tcp, proto]), Err(MatchError::Prerequisite(Field::IpProto)));
        assert_eq!(Match::from_fields([tcp, proto, ip]), Ok(Match::new().tcp_dst(80)));
        let pcp = Oxm::new(Field::VlanPcp, 3);
        assert!(Match::from_fields([pcp, Oxm::new(Field::VlanVid, 0)]).is_err());
        assert!(Match::from_fields([pcp, Oxm::masked(Field::VlanVid, 0x1000, 0x1000)]).is_ok());
    }

    #[test]
    fn bad_fields_have_their_codes() {
        let mask = Oxm { field: Field::EthType, value: 0, mask: Some(0xff) };
        assert_eq!(Match::from_fields([mask]), Err(MatchError::BadMask(Field::EthType)));
        let wild = Oxm { field: Field::EthDst, value: 3, mask: Some(1) };
        assert_eq!(Match::from_fields([wild]), Err(MatchError::BadWildcards(Field::EthDst)));
        let value = Oxm { field: Field::VlanPcp, value: 8, mask: None };
        assert_eq!(Match::from_fields([value]), Err(MatchError::BadValue(Field::VlanPcp)));
        for mask in [None, Some(0x1fff), Some(0xffff)] {
            let untagged = Oxm { field: Field::VlanVid, value: 0xff, mask };
            assert_eq!(Match::from_fields([untagged]), Err(MatchError::BadValue(Field::VlanVid)));
        }
        let twice = Oxm::in_port(PortNo(1));
        assert_eq!(Match::from_fields([twice, twice]), Err(MatchError::Duplicate(Field::InPort)));
    }

    #[test]
    fn covering_and_overlapping() {
        let net = Match::new().ipv4_dst(Ipv4Addr::new(10, 0, 0, 0), 8);
        let host = Match::new().ipv4_dst(Ipv4Addr::new(10, 1, 2, 3), 32).in_port(PortNo(1));
        assert!(net.covers(&host) && !host.covers(&net) && Match::ANY.covers(&net));
        assert!(net.overlaps(&host) && host.overlaps(&net));
        assert!(!net.overlaps(&Match::new().ipv4_dst(Ipv4Addr::new(11, 0, 0, 0), 8)));
        assert_eq!(Match::new().ipv4_dst(Ipv4Addr::new(1, 2, 3, 4), 0), Match::new().eth_type(0x800));
    }
}
