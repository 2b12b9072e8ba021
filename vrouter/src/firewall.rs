//! The rules for packets between interfaces, made ready: the first that matches decides.

use crate::config::{ConfigError, FirewallAction, FirewallRule};
use crate::flow::Flow;
use crate::snapshot::{Base, IfIndex};

#[derive(Debug)]
struct Rule {
    input: Option<IfIndex>,
    out: Option<IfIndex>,
    rule: FirewallRule,
}

#[derive(Debug, Default)]
pub(crate) struct Firewall(Vec<Rule>);

impl Firewall {
    pub(crate) fn compile(base: &Base, rules: &[FirewallRule]) -> Result<Self, ConfigError> {
        let compile = |(index, rule): (usize, &FirewallRule)| {
            if rule.destination_ports.is_some_and(|(first, last)| first > last) {
                let reason = "the first destination port is above the last".to_owned();
                return Err(ConfigError::BadFirewall { index, reason });
            }
            let find = |name: &Option<String>, field: &'static str| {
                let place = move || format!("firewall[{index}].{field}");
                name.as_ref().map(|name| base.interface_named(name, place)).transpose()
            };
            let (input, out) = (find(&rule.input, "in")?, find(&rule.out, "out")?);
            Ok(Rule { input, out, rule: rule.clone() })
        };
        rules.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the rules say of a packet that begins a connection, and which rule; without a match it may pass.
    pub(crate) fn decide(
        &self,
        input: IfIndex,
        out: IfIndex,
        flow: &Flow,
    ) -> (FirewallAction, Option<usize>) {
        let p = &flow.packet;
        let matches = |r: &Rule| {
            r.input.is_none_or(|i| i == input)
                && r.out.is_none_or(|o| o == out)
                && r.rule.protocol.is_none_or(|n| n == p.protocol.0)
                && r.rule.source.is_none_or(|net| net.contains(p.src.addr))
                && r.rule.destination.is_none_or(|net| net.contains(p.dst.addr))
                && r.rule.destination_ports.is_none_or(|(a, b)| (a..=b).contains(&p.dst.port))
        };
        match self.0.iter().position(matches) {
            Some(at) => (self.0[at].rule.action, Some(at)),
            None => (FirewallAction::Allow, None),
        }
    }
}
