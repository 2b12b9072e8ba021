//! The match of 1.0 (1.0.1 §5.2.3): a structure of fixed size with a bit for each field that does not matter.

use super::port::{narrow, widen};
use crate::codec::EncodeError;
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::error::BadMatch;
use crate::oxm::VID_PRESENT;
use crate::{Field, MacAddr, Match, Oxm, Version};

/// Wildcards (ofp_flow_wildcards).
const IN_PORT: u32 = 1;
const DL_VLAN: u32 = 1 << 1;
const DL_SRC: u32 = 1 << 2;
const DL_DST: u32 = 1 << 3;
const DL_TYPE: u32 = 1 << 4;
const NW_PROTO: u32 = 1 << 5;
const TP_SRC: u32 = 1 << 6;
const TP_DST: u32 = 1 << 7;
/// Low bits of the addresses that do not matter; 32 and more for all.
const NW_SRC_SHIFT: u32 = 8;
const NW_DST_SHIFT: u32 = 14;
const NW_BITS: u32 = 0x3f;
const DL_VLAN_PCP: u32 = 1 << 20;
const NW_TOS: u32 = 1 << 21;
/// Nothing matters.
pub(super) const ALL: u32 = (1 << 22) - 1;
const NW_ANY: u32 = 32;

/// No VLAN tag (OFP_VLAN_NONE).
const VLAN_NONE: u16 = 0xffff;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// The structure, field by field.
#[derive(Clone, Copy)]
struct Raw {
    wildcards: u32,
    in_port: u16,
    dl_src: MacAddr,
    dl_dst: MacAddr,
    dl_vlan: u16,
    dl_vlan_pcp: u8,
    dl_type: u16,
    nw_tos: u8,
    nw_proto: u8,
    nw_src: u32,
    nw_dst: u32,
    tp_src: u16,
    tp_dst: u16,
}

impl Raw {
    const ANY: Self = Self {
        wildcards: ALL & !(NW_BITS << NW_SRC_SHIFT | NW_BITS << NW_DST_SHIFT)
            | NW_ANY << NW_SRC_SHIFT
            | NW_ANY << NW_DST_SHIFT,
        in_port: 0,
        dl_src: MacAddr([0; 6]),
        dl_dst: MacAddr([0; 6]),
        dl_vlan: 0,
        dl_vlan_pcp: 0,
        dl_type: 0,
        nw_tos: 0,
        nw_proto: 0,
        nw_src: 0,
        nw_dst: 0,
        tp_src: 0,
        tp_dst: 0,
    };

    fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        let (wildcards, in_port) = (r.u32()?, r.u16()?);
        let (dl_src, dl_dst) = (MacAddr(r.array()?), MacAddr(r.array()?));
        let (dl_vlan, dl_vlan_pcp) = (r.u16()?, r.u8()?);
        r.skip(1)?;
        let (dl_type, nw_tos, nw_proto) = (r.u16()?, r.u8()?, r.u8()?);
        r.skip(2)?;
        let (nw_src, nw_dst, tp_src, tp_dst) = (r.u32()?, r.u32()?, r.u16()?, r.u16()?);
        Ok(Self {
            wildcards,
            in_port,
            dl_src,
            dl_dst,
            dl_vlan,
            dl_vlan_pcp,
            dl_type,
            nw_tos,
            nw_proto,
            nw_src,
            nw_dst,
            tp_src,
            tp_dst,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.u32(self.wildcards);
        out.u16(self.in_port);
        out.bytes(&self.dl_src.0);
        out.bytes(&self.dl_dst.0);
        out.u16(self.dl_vlan);
        out.u8(self.dl_vlan_pcp);
        out.zeros(1);
        out.u16(self.dl_type);
        out.u8(self.nw_tos);
        out.u8(self.nw_proto);
        out.zeros(2);
        out.u32(self.nw_src);
        out.u32(self.nw_dst);
        out.u16(self.tp_src);
        out.u16(self.tp_dst);
    }

    fn cares(&self, bit: u32) -> bool {
        self.wildcards & bit == 0
    }

    /// The conditions that matter have values that a packet can have. The text does not say what becomes of others; cut
    /// to their bits, they would match packets that nobody asked for.
    fn check(&self) -> Decoded<()> {
        let vid_fits = self.dl_vlan < 1 << 12 || self.dl_vlan == VLAN_NONE;
        let tagged = !(self.cares(DL_VLAN) && self.dl_vlan == VLAN_NONE);
        let is_icmp = self.cares(DL_TYPE)
            && self.cares(NW_PROTO)
            && matches!((self.dl_type, self.nw_proto), (IPV4, 1) | (IPV6, 58));
        let is_wrong = self.cares(DL_VLAN) && !vid_fits
            || self.cares(DL_VLAN_PCP) && tagged && self.dl_vlan_pcp > 7
            || is_icmp && self.cares(TP_SRC) && self.tp_src > 0xff
            || is_icmp && self.cares(TP_DST) && self.tp_dst > 0xff;
        if is_wrong { Err(BadMatch::BadValue.into()) } else { Ok(()) }
    }

    /// 1.0.1 §3.4: fields of a protocol that the match does not demand do not matter.
    fn to_match(self) -> Match {
        let mut fields = Vec::new();
        let mut exact = |bit: u32, field: Field, value: u128| {
            if self.cares(bit) {
                fields.push(Oxm::new(field, value));
            }
        };
        exact(IN_PORT, Field::InPort, widen(self.in_port).0.into());
        exact(DL_SRC, Field::EthSrc, self.dl_src.to_u64().into());
        exact(DL_DST, Field::EthDst, self.dl_dst.to_u64().into());
        exact(DL_TYPE, Field::EthType, self.dl_type.into());
        self.vlan(&mut fields);
        match self.dl_type {
            IPV4 if self.cares(DL_TYPE) => {
                fields.push(self.address(Field::Ipv4Src, NW_SRC_SHIFT, self.nw_src));
                fields.push(self.address(Field::Ipv4Dst, NW_DST_SHIFT, self.nw_dst));
                self.ip(&mut fields);
            }
            // Not in the text, but tools and other switches know IPv6 this far.
            IPV6 if self.cares(DL_TYPE) => self.ip(&mut fields),
            ARP if self.cares(DL_TYPE) => self.arp(&mut fields),
            _ => {}
        }
        Match::pipeline(fields)
    }

    fn vlan(&self, fields: &mut Vec<Oxm>) {
        let present = u128::from(VID_PRESENT);
        let vid = match self.dl_vlan {
            // An untagged frame has no priority that could matter.
            VLAN_NONE if self.cares(DL_VLAN) => return fields.push(Oxm::new(Field::VlanVid, 0)),
            vid if self.cares(DL_VLAN) => Oxm::new(Field::VlanVid, u128::from(vid & 0x0fff) | present),
            _ if self.cares(DL_VLAN_PCP) => Oxm::masked(Field::VlanVid, present, present),
            _ => return,
        };
        fields.push(vid);
        if self.cares(DL_VLAN_PCP) {
            fields.push(Oxm::new(Field::VlanPcp, (self.dl_vlan_pcp & 7).into()));
        }
    }

    fn address(&self, field: Field, shift: u32, addr: u32) -> Oxm {
        let ignored = self.wildcards >> shift & NW_BITS;
        Oxm::masked(field, addr.into(), u32::MAX.checked_shl(ignored).unwrap_or(0).into())
    }

    fn ip(&self, fields: &mut Vec<Oxm>) {
        if self.cares(NW_TOS) {
            fields.push(Oxm::new(Field::IpDscp, (self.nw_tos >> 2).into()));
        }
        if !self.cares(NW_PROTO) {
            return;
        }
        fields.push(Oxm::new(Field::IpProto, self.nw_proto.into()));
        let Some((source, destination)) = transport(self.dl_type, self.nw_proto) else { return };
        for (bit, field, value) in [(TP_SRC, source, self.tp_src), (TP_DST, destination, self.tp_dst)] {
            if self.cares(bit) {
                fields.push(Oxm::new(field, value.into()));
            }
        }
    }

    fn arp(&self, fields: &mut Vec<Oxm>) {
        fields.push(self.address(Field::ArpSpa, NW_SRC_SHIFT, self.nw_src));
        fields.push(self.address(Field::ArpTpa, NW_DST_SHIFT, self.nw_dst));
        if self.cares(NW_PROTO) {
            // The low byte of the operation, whose high byte is zero in every ARP packet there is.
            fields.push(Oxm::new(Field::ArpOp, self.nw_proto.into()));
        }
    }

    /// Takes a condition in; `None` if there is no place for it.
    fn demand(&mut self, oxm: &Oxm, matches: &Match) -> Option<()> {
        let exact = oxm.mask.is_none();
        let value = oxm.value;
        let bit = match oxm.field {
            Field::InPort => {
                self.in_port = narrow(crate::PortNo(u32::try_from(value).ok()?))?;
                IN_PORT
            }
            Field::EthSrc if exact => {
                self.dl_src = MacAddr::from_u64(u64::try_from(value).ok()?);
                DL_SRC
            }
            Field::EthDst if exact => {
                self.dl_dst = MacAddr::from_u64(u64::try_from(value).ok()?);
                DL_DST
            }
            Field::EthType => {
                self.dl_type = u16::try_from(value).ok()?;
                DL_TYPE
            }
            Field::VlanVid => return self.demand_vid(oxm, matches),
            Field::VlanPcp => {
                self.dl_vlan_pcp = u8::try_from(value).ok()?;
                DL_VLAN_PCP
            }
            Field::Ipv4Src | Field::ArpSpa => return self.demand_address(oxm, NW_SRC_SHIFT),
            Field::Ipv4Dst | Field::ArpTpa => return self.demand_address(oxm, NW_DST_SHIFT),
            Field::IpDscp | Field::IpProto | Field::ArpOp => return self.demand_byte(oxm),
            field => return self.demand_transport(field, value),
        };
        self.wildcards &= !bit;
        Some(())
    }

    fn demand_vid(&mut self, oxm: &Oxm, matches: &Match) -> Option<()> {
        let present = u128::from(VID_PRESENT);
        match oxm.mask {
            None if oxm.value == 0 => {
                self.dl_vlan = VLAN_NONE;
                self.wildcards &= !(DL_VLAN | DL_VLAN_PCP);
            }
            None => {
                self.dl_vlan = u16::try_from(oxm.value).ok()? & 0x0fff;
                self.wildcards &= !DL_VLAN;
            }
            // "Any tag" can only be said with a priority, which demands one.
            Some(mask) if mask == present && oxm.value == present => {
                matches.get(Field::VlanPcp)?;
            }
            Some(_) => return None,
        }
        Some(())
    }

    /// A prefix of an address.
    fn demand_address(&mut self, oxm: &Oxm, shift: u32) -> Option<()> {
        let mask = u32::try_from(oxm.effective_mask()).ok()?;
        let ignored = mask.trailing_zeros();
        if mask.leading_ones() + ignored != 32 {
            return None;
        }
        let addr = u32::try_from(oxm.value).ok()?;
        *(if shift == NW_SRC_SHIFT { &mut self.nw_src } else { &mut self.nw_dst }) = addr;
        self.wildcards = self.wildcards & !(NW_BITS << shift) | ignored << shift;
        Some(())
    }

    /// DSCP, protocol or operation.
    fn demand_byte(&mut self, oxm: &Oxm) -> Option<()> {
        let value = u8::try_from(oxm.value).ok()?;
        if oxm.field == Field::IpDscp {
            self.nw_tos = value << 2;
            self.wildcards &= !NW_TOS;
        } else {
            self.nw_proto = value;
            self.wildcards &= !NW_PROTO;
        }
        Some(())
    }

    fn demand_transport(&mut self, field: Field, value: u128) -> Option<()> {
        let (source, destination) = transport(self.dl_type, self.nw_proto)?;
        let value = u16::try_from(value).ok()?;
        if field == source {
            self.tp_src = value;
            self.wildcards &= !TP_SRC;
        } else if field == destination {
            self.tp_dst = value;
            self.wildcards &= !TP_DST;
        } else {
            return None;
        }
        Some(())
    }
}

/// What the transport fields of a match are for this protocol.
const fn transport(dl_type: u16, proto: u8) -> Option<(Field, Field)> {
    match (dl_type, proto) {
        (IPV4, 1) => Some((Field::Icmpv4Type, Field::Icmpv4Code)),
        (IPV6, 58) => Some((Field::Icmpv6Type, Field::Icmpv6Code)),
        (IPV4 | IPV6, 6) => Some((Field::TcpSrc, Field::TcpDst)),
        (IPV4 | IPV6, 17) => Some((Field::UdpSrc, Field::UdpDst)),
        // Not in the text, but tools write it so.
        (IPV4 | IPV6, 132) => Some((Field::SctpSrc, Field::SctpDst)),
        _ => None,
    }
}

/// A match that must be one: of a request.
pub(super) fn read_match(r: &mut Reader<'_>) -> Decoded<Match> {
    let raw = Raw::read(r)?;
    raw.check()?;
    Ok(raw.to_match())
}

/// A match that a switch reports, whatever it says.
pub(super) fn read_reported_match(r: &mut Reader<'_>) -> Decoded<Match> {
    Raw::read(r).map(Raw::to_match)
}

/// The fields come in ascending order, so what a field depends on is there before it.
pub(super) fn write_match(out: &mut Vec<u8>, matches: &Match) -> Result<(), EncodeError> {
    let mut raw = Raw::ANY;
    for oxm in matches {
        raw.demand(oxm, matches).ok_or(EncodeError::Inexpressible(Version::V10))?;
    }
    raw.write(out);
    Ok(())
}
