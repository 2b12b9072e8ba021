//! A frame in words: `tcp,vlan_tci=0x0000,dl_src=...,tp_dst=80,tcp_flags=syn tcp_csum:abcd`.

use core::fmt::{self, Display, Formatter};

use packet::layout::{Layout, Transport};
use packet::{EtherType, IpProtocol, MacAddr, ParseError, arp, ethernet, ipv4, ipv6, nd};

use crate::text::names::{PROTOCOLS, TCP_FLAGS};

/// Writes the fields of a frame in the flow syntax, as far as its headers are whole.
#[derive(Clone, Copy, Debug)]
pub struct FrameText<'a>(pub &'a [u8]);

impl Display for FrameText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Ok(ethernet) = ethernet::View::parse(self.0) else {
            return write!(f, "{} bytes, too short for Ethernet", self.0.len());
        };
        let Ok(tags) = ethernet.tags() else {
            return write!(f, "dl_src={},dl_dst={},a VLAN tag is cut", ethernet.src(), ethernet.dst());
        };
        let layout = Layout::parse(self.0, self.0.len());
        let transport = layout.ok().and_then(|layout| layout.transport);
        let kind = if tags.ethertype.is_length() { EtherType(0x05ff) } else { tags.ethertype };
        let protocol = transport.map(|transport| transport.protocol.0);
        let named = |with: Option<u8>| PROTOCOLS.iter().find(|(_, e, p)| *e == kind.0 && *p == with);
        let name = protocol.and_then(|p| named(Some(p))).or_else(|| named(None));
        if let Some((name, ..)) = name {
            write!(f, "{name},")?;
        }
        let mut tcis = tags.list.iter().map(|tag| tag.tci.0);
        write_tag(f, tcis.next(), "")?;
        if !tags.list.is_empty() {
            write_tag(f, tcis.next(), "1")?;
        }
        write!(f, "dl_src={},dl_dst={}", ethernet.src(), ethernet.dst())?;
        if name.is_none() {
            return write!(f, ",dl_type=0x{:04x}", kind.0);
        }
        let rest = self.0.get(tags.payload_at..).unwrap_or_default();
        match kind {
            EtherType::IPV4 | EtherType::IPV6 => {
                let said = name.is_some_and(|(_, _, protocol)| protocol.is_some());
                match write_ip(f, rest, said) {
                    Ok(written) => written?,
                    Err(_) => return f.write_str(",the IP header is cut or wrong"),
                }
                transport.map_or(Ok(()), |transport| write_transport(f, self.0, &transport))
            }
            EtherType::MPLS | EtherType::MPLS_MULTICAST => write_mpls(f, rest),
            // ARP and RARP.
            _ => write_arp(f, rest),
        }
    }
}

fn write_tag(f: &mut Formatter<'_>, tci: Option<u16>, suffix: &str) -> fmt::Result {
    match tci {
        Some(tci) => write!(f, "dl_vlan{suffix}={},dl_vlan_pcp{suffix}={},", tci & 0xfff, tci >> 13),
        None => write!(f, "vlan_tci{suffix}=0x0000,"),
    }
}

fn write_arp(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let Ok(arp) = arp::View::parse(bytes) else {
        return f.write_str(",the ARP packet is cut or wrong");
    };
    write!(f, ",arp_spa={},arp_tpa={}", arp.sender_ip(), arp.target_ip())?;
    write!(f, ",arp_op={}", arp.operation().to_u16())?;
    write!(f, ",arp_sha={},arp_tha={}", arp.sender_mac(), arp.target_mac())
}

fn write_mpls(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (idx, entry) in bytes.chunks_exact(4).take(3).enumerate() {
        let lse = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
        if idx == 0 {
            write!(f, ",mpls_label={},mpls_tc={}", lse >> 12, lse >> 9 & 7)?;
            write!(f, ",mpls_ttl={},mpls_bos={}", lse & 0xff, lse >> 8 & 1)?;
        } else {
            write!(f, ",mpls_lse{idx}={lse}")?;
        }
        if lse >> 8 & 1 == 1 {
            break;
        }
    }
    Ok(())
}

/// Addresses and what else the IP header says; the outer error is that of the header.
fn write_ip(f: &mut Formatter<'_>, bytes: &[u8], protocol_said: bool) -> Result<fmt::Result, ParseError> {
    let (addresses, protocol, dscp, ecn, ttl, fragment) = if bytes.first().is_some_and(|b| b >> 4 == 6) {
        let ip = ipv6::View::parse(bytes)?;
        let extensions = ip.extensions()?;
        let addresses =
            format!("ipv6_src={},ipv6_dst={},ipv6_label=0x{:05x}", ip.src(), ip.dst(), ip.flow_label());
        let fragment = extensions.fragment.map(|_| extensions.is_later_fragment());
        (addresses, extensions.protocol, ip.dscp(), ip.ecn(), ip.hop_limit(), fragment)
    } else {
        let ip = ipv4::View::parse(bytes)?;
        let addresses = format!("nw_src={},nw_dst={}", ip.src(), ip.dst());
        let fragment = ip.is_fragment().then(|| ip.is_later_fragment());
        (addresses, ip.protocol(), ip.dscp(), ip.ecn(), ip.ttl(), fragment)
    };
    let fragment = match fragment {
        None => "no",
        Some(false) => "first",
        Some(true) => "later",
    };
    let protocol = if protocol_said { String::new() } else { format!("nw_proto={},", protocol.0) };
    let tos = dscp << 2;
    Ok(write!(f, ",{addresses},{protocol}nw_tos={tos},nw_ecn={ecn},nw_ttl={ttl},nw_frag={fragment}"))
}

fn write_transport(f: &mut Formatter<'_>, frame: &[u8], transport: &Transport) -> fmt::Result {
    let bytes = frame.get(transport.at..).unwrap_or_default();
    let bytes = &bytes[..transport.len.min(bytes.len())];
    if transport.is_later_fragment {
        return Ok(());
    }
    let word = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let (ports, len, sum_at, name) = match transport.protocol {
        IpProtocol::TCP => (true, 20, 16, "tcp"),
        IpProtocol::UDP => (true, 8, 6, "udp"),
        IpProtocol::SCTP => (true, 12, 8, "sctp"),
        IpProtocol::ICMP => (false, 8, 2, "icmp"),
        IpProtocol::ICMPV6 => (false, 8, 2, "icmp6"),
        _ => return Ok(()),
    };
    let (true, Some(first), Some(second), Some(sum)) = (bytes.len() >= len, word(0), word(2), word(sum_at))
    else {
        return Ok(());
    };
    if ports {
        write!(f, ",tp_src={first},tp_dst={second}")?;
    } else {
        write!(f, ",icmp_type={},icmp_code={}", first >> 8, first & 0xff)?;
    }
    match transport.protocol {
        IpProtocol::TCP => write!(f, ",tcp_flags={}", tcp_flags(word(12).unwrap_or(0) & 0xfff))?,
        IpProtocol::ICMPV6 => write_nd(f, bytes)?,
        _ => {}
    }
    match (transport.protocol, word(sum_at + 2)) {
        (IpProtocol::SCTP, Some(low)) => {
            write!(f, " {name}_csum:{:x}", u32::from(sum) << 16 | u32::from(low))
        }
        _ => write!(f, " {name}_csum:{sum:x}"),
    }
}

fn tcp_flags(flags: u16) -> String {
    let set: Vec<&str> = TCP_FLAGS
        .iter()
        .enumerate()
        .filter(|(bit, _)| flags >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() { "0".to_owned() } else { set.join("|") }
}

/// Neighbour discovery: the target, and the link-layer addresses in the options.
fn write_nd(f: &mut Formatter<'_>, icmp: &[u8]) -> fmt::Result {
    let (Some(135 | 136), Some(target)) = (icmp.first(), icmp.get(8..24).and_then(|b| b.first_chunk::<16>()))
    else {
        return Ok(());
    };
    let (mut source, mut own) = (MacAddr([0; 6]), MacAddr([0; 6]));
    for option in nd::Options::new(&icmp[24..]).flatten() {
        match option {
            nd::NdOption::Source(mac) => source = mac,
            nd::NdOption::Target(mac) => own = mac,
            _ => {}
        }
    }
    let target = core::net::Ipv6Addr::from(*target);
    write!(f, ",nd_target={target},nd_sll={source},nd_tll={own}")
}
