//! Matches read from words.

use super::lex::Word;
use super::names::{PROTOCOLS, TCP_FLAGS, field};
use super::value::{int, number, oxm};
use super::{TextError, extension};
use crate::oxm::VID_PRESENT;
use crate::{Field, Match, MatchError, Oxm};

/// Takes the match fields out of `words`; the words that are none are left over.
pub(super) fn read<'w, 'a>(words: &'w [Word<'a>]) -> Result<(Match, Vec<&'w Word<'a>>), TextError> {
    let mut reader = MatchReader::default();
    // What nw_src or tp_dst mean depends on the protocol, wherever that stands.
    for word in words {
        reader.protocol(word)?;
    }
    let mut rest = Vec::new();
    for word in words {
        if !reader.field(word)? {
            rest.push(word);
        }
    }
    Ok((reader.finish()?, rest))
}

#[derive(Default)]
struct MatchReader<'w, 'a> {
    eth_type: Option<u16>,
    ip_proto: Option<u8>,
    fields: Vec<(&'w Word<'a>, Oxm)>,
}

impl<'w, 'a> MatchReader<'w, 'a> {
    /// Learns Ethertype and protocol.
    fn protocol(&mut self, word: &'w Word<'a>) -> Result<(), TextError> {
        if word.value.is_none() {
            if let Some(&(_, eth_type, ip_proto)) = PROTOCOLS.iter().find(|(name, ..)| *name == word.name) {
                self.eth_type = Some(eth_type);
                self.put(word, Oxm::new(Field::EthType, eth_type.into()));
                if let Some(proto) = ip_proto {
                    self.ip_proto = Some(proto);
                    self.put(word, Oxm::new(Field::IpProto, proto.into()));
                }
            }
            return Ok(());
        }
        match word.name {
            "dl_type" | "eth_type" => self.eth_type = Some(int(word)?),
            "nw_proto" | "ip_proto" => self.ip_proto = Some(int(word)?),
            _ => {}
        }
        Ok(())
    }

    /// Takes one word; false if it is no match field.
    fn field(&mut self, word: &'w Word<'a>) -> Result<bool, TextError> {
        if word.value.is_none() && PROTOCOLS.iter().any(|(name, ..)| *name == word.name) {
            return Ok(true);
        }
        match word.name {
            "dl_vlan" => self.dl_vlan(word)?,
            "vlan_tci" => self.vlan_tci(word)?,
            "nw_tos" => self.nw_tos(word)?,
            "tcp_flags" => {
                let flags = tcp_flags(word)?;
                self.put(word, flags);
            }
            name => {
                let Some(field) = self.resolve(name).or_else(|| field(name)) else {
                    return if extension::is_field(name) {
                        Err(word.error(extension::UNSUPPORTED))
                    } else {
                        Ok(false)
                    };
                };
                let value =
                    oxm(field, word.need()?, word.names).map_err(|reason| word.value_error(reason))?;
                self.put(word, value);
            }
        }
        Ok(true)
    }

    /// Names whose meaning depends on the protocol.
    fn resolve(&self, name: &str) -> Option<Field> {
        let arp = matches!(self.eth_type, Some(0x0806 | 0x8035));
        let v6 = self.eth_type == Some(0x86dd);
        Some(match (name, self.ip_proto) {
            ("nw_src", _) if arp => Field::ArpSpa,
            ("nw_dst", _) if arp => Field::ArpTpa,
            ("nw_proto", _) if arp => Field::ArpOp,
            ("nw_src", _) if v6 => Field::Ipv6Src,
            ("nw_dst", _) if v6 => Field::Ipv6Dst,
            ("nw_src", _) => Field::Ipv4Src,
            ("nw_dst", _) => Field::Ipv4Dst,
            ("tp_src", Some(6)) => Field::TcpSrc,
            ("tp_dst", Some(6)) => Field::TcpDst,
            ("tp_src", Some(17)) => Field::UdpSrc,
            ("tp_dst", Some(17)) => Field::UdpDst,
            ("tp_src", Some(132)) => Field::SctpSrc,
            ("tp_dst", Some(132)) => Field::SctpDst,
            ("icmp_type" | "tp_src", Some(1)) => Field::Icmpv4Type,
            ("icmp_code" | "tp_dst", Some(1)) => Field::Icmpv4Code,
            ("icmp_type" | "tp_src", Some(58)) => Field::Icmpv6Type,
            ("icmp_code" | "tp_dst", Some(58)) => Field::Icmpv6Code,
            // Without a protocol: the missing prerequisite will be named.
            ("tp_src", _) => Field::TcpSrc,
            ("tp_dst", _) => Field::TcpDst,
            ("icmp_type", _) => Field::Icmpv4Type,
            ("icmp_code", _) => Field::Icmpv4Code,
            _ => return None,
        })
    }

    /// A VLAN id; 0xffff is "no tag".
    fn dl_vlan(&mut self, word: &'w Word<'a>) -> Result<(), TextError> {
        let vid = match int::<u16>(word)? {
            0xffff => 0,
            vid @ 0..=0xfff => vid | VID_PRESENT,
            _ => return Err(word.value_error("a VLAN id has 12 bits")),
        };
        self.put(word, Oxm::new(Field::VlanVid, vid.into()));
        Ok(())
    }

    /// A tag control word whose DEI bit says that there is a tag.
    fn vlan_tci(&mut self, word: &'w Word<'a>) -> Result<(), TextError> {
        let text = word.need()?;
        let (value, mask) = text.split_once('/').unwrap_or((text, "0xffff"));
        let word_of = |s: &str| {
            number(s)
                .and_then(|n| u16::try_from(n).ok())
                .ok_or_else(|| word.value_error("no number of 16 bits"))
        };
        let (value, mask) = (word_of(value)?, word_of(mask)?);
        let vid_mask = mask & 0x1fff;
        self.put(word, Oxm::masked(Field::VlanVid, value.into(), vid_mask.into()));
        // Without a tag there is no priority either.
        let untagged = mask & VID_PRESENT != 0 && value & VID_PRESENT == 0;
        match mask & 0xe000 {
            0 => {}
            pcp if untagged && value & pcp == 0 => {}
            0xe000 => self.put(word, Oxm::new(Field::VlanPcp, (value >> 13).into())),
            _ => return Err(word.value_error("OpenFlow 1.3 cannot mask the priority bits one by one")),
        }
        Ok(())
    }

    /// The DSCP as the byte that holds it.
    fn nw_tos(&mut self, word: &'w Word<'a>) -> Result<(), TextError> {
        let tos: u8 = int(word)?;
        if tos & 3 != 0 {
            return Err(word.value_error("the two low bits of nw_tos are ECN and must be zero"));
        }
        self.put(word, Oxm::new(Field::IpDscp, (tos >> 2).into()));
        Ok(())
    }

    fn put(&mut self, word: &'w Word<'a>, oxm: Oxm) {
        self.fields.push((word, oxm));
    }

    fn finish(mut self) -> Result<Match, TextError> {
        // As in ovs-ofctl, a priority alone says that there is a tag.
        let has = |field| self.fields.iter().find(|(_, oxm)| oxm.field == field).map(|(word, _)| *word);
        if let (Some(word), None) = (has(Field::VlanPcp), has(Field::VlanVid)) {
            self.put(word, Oxm::masked(Field::VlanVid, VID_PRESENT.into(), VID_PRESENT.into()));
        }
        // `tcp` and `ip` say the same twice: that is no duplicate.
        let mut seen: Vec<Oxm> = Vec::new();
        self.fields.retain(|(_, oxm)| {
            let new = !seen.contains(oxm);
            seen.push(*oxm);
            new
        });
        Match::from_fields(self.fields.iter().map(|(_, oxm)| *oxm)).map_err(|error| {
            let (MatchError::Duplicate(field)
            | MatchError::Prerequisite(field)
            | MatchError::BadValue(field)
            | MatchError::BadWildcards(field)
            | MatchError::BadMask(field)) = error;
            let word = self.fields.iter().rev().find(|(_, oxm)| oxm.field == field).map(|(word, _)| word);
            word.map_or_else(
                || TextError { token: field.name().to_owned(), position: 0, reason: error.to_string() },
                |word| word.error(error.to_string()),
            )
        })
    }
}

/// `+syn-ack`, `syn|ack`, or a number with or without mask.
fn tcp_flags(word: &Word<'_>) -> Result<Oxm, TextError> {
    let text = word.need()?;
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return oxm(Field::TcpFlags, text, word.names).map_err(|reason| word.value_error(reason));
    }
    let bit = |name: &str| {
        let idx = TCP_FLAGS.iter().position(|flag| *flag == name);
        idx.map(|idx| 1u128 << idx).ok_or_else(|| word.value_error(format!("\"{name}\" is no TCP flag")))
    };
    if !text.starts_with(['+', '-']) {
        let value = text.split('|').try_fold(0, |bits, name| Ok(bits | bit(name)?))?;
        return Ok(Oxm::new(Field::TcpFlags, value));
    }
    let (mut value, mut mask) = (0, 0);
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        let end = rest[1..].find(['+', '-']).map_or(rest.len(), |n| n + 1);
        let flag = bit(&rest[1..end])?;
        mask |= flag;
        if sign == '+' {
            value |= flag;
        }
        rest = &rest[end..];
    }
    Ok(Oxm::masked(Field::TcpFlags, value, mask))
}
