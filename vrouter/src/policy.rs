//! Routes by more than the destination, made ready: the first that matches and leads somewhere decides.

use core::net::IpAddr;

use crate::config::{ConfigError, PolicyRoute, RouteTarget};
use crate::decide::Input;
use crate::fib::{Hop, SetId};
use crate::snapshot::{Base, IfIndex, Snapshot};

#[derive(Debug)]
struct Rule {
    input: Option<IfIndex>,
    route: PolicyRoute,
    hop: Hop,
}

#[derive(Debug, Default)]
pub(crate) struct Policy(Vec<Rule>);

impl Policy {
    pub(crate) fn compile(base: &Base, routes: &[PolicyRoute]) -> Result<Self, ConfigError> {
        let compile = |(index, route): (usize, &PolicyRoute)| {
            let bad = |reason: String| ConfigError::BadPolicy { index, reason };
            let place = || format!("policy_routes[{index}].in");
            let input = route.input.as_ref().map(|name| base.interface_named(name, place)).transpose()?;
            if route.destination_ports.is_some_and(|(first, last)| first > last) {
                return Err(bad("the first destination port is above the last".into()));
            }
            if matches!(route.target, RouteTarget::Group(_)) {
                return Err(
                    bad("a policy route has one next hop; a VRF may have routes with several".into()),
                );
            }
            let gateway = match &route.target {
                RouteTarget::Via { gateway, .. } => *gateway,
                _ => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            };
            let any = crate::Prefix::new(gateway, 0).expect("no bits fit every address");
            let vrf = input.map_or(0, |i| base.interface(i).vrf);
            let (hops, _) = base.resolve(index, (vrf, any), &route.target).map_err(|e| bad(e.to_string()))?;
            let (hop, _) = hops.first().copied().ok_or_else(|| bad("it leads nowhere".into()))?;
            Ok(Rule { input, route: route.clone(), hop })
        };
        routes.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first rule that matches and leads somewhere, where, and by which set.
    pub(crate) fn find(
        &self,
        snapshot: &Snapshot,
        input: &Input,
        dst: IpAddr,
        hash: impl Fn() -> u64,
    ) -> Option<(usize, Hop, Option<SetId>)> {
        let matching = self.0.iter().enumerate().filter(|(_, rule)| rule.matches(input, dst));
        matching.into_iter().find_map(|(at, rule)| match rule.hop {
            Hop::Table(vrf) => {
                let set = snapshot.fib.set_id(vrf, dst);
                Some((at, snapshot.fib.lookup_from(set, dst, &hash)?, set))
            }
            Hop::Gateway(_, via) if via.is_ipv4() != dst.is_ipv4() => None,
            hop => Some((at, hop, None)),
        })
    }
}

impl Rule {
    fn matches(&self, input: &Input, dst: IpAddr) -> bool {
        let (r, ip) = (&self.route, &input.ip);
        self.input.is_none_or(|i| i == input.interface)
            && r.source.is_none_or(|net| net.contains(ip.src))
            && r.destination.is_none_or(|net| net.contains(dst))
            && r.protocol.is_none_or(|n| n == ip.protocol.0)
            && r.destination_ports
                .is_none_or(|(a, b)| input.ports[1] != 0 && (a..=b).contains(&input.ports[1]))
    }
}
