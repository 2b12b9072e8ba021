//! The rules for packets between interfaces.

use crate::Prefix;

/// Addresses with a name, that rules may speak of: a security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// The name.
    pub name: String,
    /// Addresses and networks.
    pub members: Vec<Prefix>,
    /// Groups before this one whose members belong to it, too.
    pub groups: Vec<String>,
}

/// What a firewall rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FirewallAction {
    /// Lets it pass.
    Allow,
    /// Drops it silently.
    Drop,
    /// Drops it and says so: a reset for TCP, ICMP administratively prohibited for the rest.
    Reject,
}

/// How many connections a rule lets begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleLimit {
    /// A second, over all workers.
    pub rate: u32,
    /// At once.
    pub burst: u32,
}

/// What becomes of connections that began under other rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LiveFlows {
    /// Those that the new rules would not let begin end.
    #[default]
    Recheck,
    /// They go on.
    Keep,
}

/// One rule for packets between interfaces. Fields that are empty match everything. Packets of a connection that was
/// let in at its first packet pass without being asked again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FirewallRule {
    /// Name of the interface of arrival.
    pub input: Option<String>,
    /// Name of the interface of departure.
    pub out: Option<String>,
    /// Zone of the interface of arrival.
    pub from_zone: Option<String>,
    /// Zone of the interface of departure.
    pub to_zone: Option<String>,
    /// Sources, before translation.
    pub source: Option<Prefix>,
    /// Sources by the name of their group.
    pub source_group: Option<String>,
    /// Destinations, after translation of port forwards.
    pub destination: Option<Prefix>,
    /// Destinations by the name of their group.
    pub destination_group: Option<String>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Destination ports, first and last.
    pub destination_ports: Option<(u16, u16)>,
    /// What happens.
    pub action: FirewallAction,
    /// How many connections it lets begin; what exceeds it is dropped.
    pub limit: Option<RuleLimit>,
    /// Whether people are told of packets that it decides on.
    pub log: bool,
}

impl FirewallRule {
    /// A rule for everything.
    pub const fn new(action: FirewallAction) -> Self {
        Self {
            input: None,
            out: None,
            from_zone: None,
            to_zone: None,
            source: None,
            source_group: None,
            destination: None,
            destination_group: None,
            protocol: None,
            destination_ports: None,
            action,
            limit: None,
            log: false,
        }
    }
}
