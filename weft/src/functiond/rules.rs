//! The rules of the firewall function: ordered, stateless, first match decides.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use packet::{EtherType, IpProtocol};

use super::flows::{Direction, FlowKey};

/// What a rule does with the frames it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let the frame pass.
    Allow,
    /// Drop it.
    Deny,
}

/// One rule, such as `deny in tcp dst 10.0.0.0/8 dst-port 20-23`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens to a match.
    pub action: Action,
    direction: Option<Direction>,
    protocol: Option<Protocol>,
    src: Option<IpNet>,
    dst: Option<IpNet>,
    src_ports: Option<RangeInclusive<u16>>,
    dst_ports: Option<RangeInclusive<u16>>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Arp,
    Ip,
    Icmp,
    Tcp,
    Udp,
}

/// Why a rule cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "rule \"{rule}\": {why}; a rule reads: allow|deny [in|out] [arp|ip|icmp|tcp|udp] [src CIDR] [dst CIDR] [src-port N[-M]] [dst-port N[-M]]"
)]
pub struct RuleError {
    rule: String,
    why: String,
}

impl Rule {
    /// Whether the rule is about frames with `key` going in `direction`.
    pub fn matches(&self, direction: Direction, key: &FlowKey) -> bool {
        self.direction.is_none_or(|d| d == direction)
            && self.protocol.is_none_or(|p| p.matches(key))
            && net_matches(self.src.as_ref(), key.src)
            && net_matches(self.dst.as_ref(), key.dst)
            && ports_match(self.src_ports.as_ref(), key.src_port)
            && ports_match(self.dst_ports.as_ref(), key.dst_port)
    }
}

impl Protocol {
    fn matches(self, key: &FlowKey) -> bool {
        let is = |ethertypes: &[EtherType]| ethertypes.contains(&key.ethertype);
        match self {
            Self::Arp => is(&[EtherType::ARP]),
            Self::Ip => is(&[EtherType::IPV4, EtherType::IPV6]),
            Self::Icmp => matches!(key.protocol, Some(IpProtocol::ICMP | IpProtocol::ICMPV6)),
            Self::Tcp => key.protocol == Some(IpProtocol::TCP),
            Self::Udp => key.protocol == Some(IpProtocol::UDP),
        }
    }
}

fn net_matches(net: Option<&IpNet>, address: Option<IpAddr>) -> bool {
    net.is_none_or(|net| address.is_some_and(|a| net.contains(&a)))
}

fn ports_match(range: Option<&RangeInclusive<u16>>, port: Option<u16>) -> bool {
    range.is_none_or(|range| port.is_some_and(|p| range.contains(&p)))
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fail = |why: String| RuleError { rule: text.to_owned(), why };
        let mut words = text.split_whitespace();
        let action = match words.next() {
            Some("allow") => Action::Allow,
            Some("deny") => Action::Deny,
            Some(other) => return Err(fail(format!("\"{other}\" is neither allow nor deny"))),
            None => return Err(fail("it is empty".to_owned())),
        };
        let mut rule = Self {
            action,
            direction: None,
            protocol: None,
            src: None,
            dst: None,
            src_ports: None,
            dst_ports: None,
            text: text.trim().to_owned(),
        };
        while let Some(word) = words.next() {
            rule.read(word, &mut words).map_err(&fail)?;
        }
        if (rule.src_ports.is_some() || rule.dst_ports.is_some())
            && !matches!(rule.protocol, Some(Protocol::Tcp | Protocol::Udp))
        {
            return Err(fail("ports need tcp or udp".to_owned()));
        }
        Ok(rule)
    }
}

impl Rule {
    fn read<'a>(&mut self, word: &str, words: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
        let mut value = || words.next().ok_or_else(|| format!("a value is missing after \"{word}\""));
        match word {
            "in" => set(&mut self.direction, Direction::Inbound, word),
            "out" => set(&mut self.direction, Direction::Outbound, word),
            "arp" => set(&mut self.protocol, Protocol::Arp, word),
            "ip" => set(&mut self.protocol, Protocol::Ip, word),
            "icmp" => set(&mut self.protocol, Protocol::Icmp, word),
            "tcp" => set(&mut self.protocol, Protocol::Tcp, word),
            "udp" => set(&mut self.protocol, Protocol::Udp, word),
            "src" => set(&mut self.src, parse_net(value()?)?, word),
            "dst" => set(&mut self.dst, parse_net(value()?)?, word),
            "src-port" => set(&mut self.src_ports, parse_ports(value()?)?, word),
            "dst-port" => set(&mut self.dst_ports, parse_ports(value()?)?, word),
            other => Err(format!("\"{other}\" is not a word of a rule")),
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T, word: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("\"{word}\" says a second time what was said before")),
    }
}

fn parse_net(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("\"{text}\" is not a prefix such as 10.0.0.0/8"))
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if low <= high => Ok(low..=high),
        _ => Err(format!("\"{text}\" is not a port or a range such as 8000-8080")),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(dst: &str, dst_port: u16) -> FlowKey {
        FlowKey {
            ethertype: EtherType::IPV4,
            protocol: Some(IpProtocol::TCP),
            src: Some("10.0.0.1".parse().expect("an address")),
            dst: Some(dst.parse().expect("an address")),
            src_port: Some(40_000),
            dst_port: Some(dst_port),
        }
    }

    #[test]
    fn a_rule_matches_what_it_says_and_nothing_else() {
        let rule: Rule = "deny in tcp dst 10.1.0.0/16 dst-port 20-23".parse().expect("valid");
        assert!(rule.matches(Direction::Inbound, &tcp("10.1.2.3", 23)));
        assert!(!rule.matches(Direction::Outbound, &tcp("10.1.2.3", 23)));
        assert!(!rule.matches(Direction::Inbound, &tcp("10.2.2.3", 23)));
        assert!(!rule.matches(Direction::Inbound, &tcp("10.1.2.3", 24)));
        let arp = FlowKey { ethertype: EtherType::ARP, ..FlowKey::default() };
        assert!(!rule.matches(Direction::Inbound, &arp));
        assert!("allow".parse::<Rule>().expect("valid").matches(Direction::Inbound, &arp));
    }

    #[test]
    fn errors_name_the_rule_and_the_word() {
        for (text, word) in [
            ("", "empty"),
            ("drop tcp", "drop"),
            ("deny tcp dst-port", "dst-port"),
            ("deny tcp dst-port 70000", "70000"),
            ("deny dst-port 23", "tcp or udp"),
            ("deny tcp udp", "udp"),
            ("deny src 10.0.0.0/33", "10.0.0.0/33"),
            ("deny sideways", "sideways"),
        ] {
            let error = text.parse::<Rule>().expect_err(text).to_string();
            assert!(error.contains(word) && error.contains(text), "{error}");
        }
    }
}
