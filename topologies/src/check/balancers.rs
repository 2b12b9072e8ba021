//! Balancers: the ports of their members resolved to switch ports, their network to one that is there.

use controller_api::{Balancer, BalancerMember};

use super::Context;
use super::paths::one_end;
use crate::diagnostics::Diagnostic;
use crate::model::Model;
use crate::yaml::join;

pub(super) fn resolve(c: &mut Context<'_>, model: &Model) -> Vec<Balancer> {
    let mut list = Vec::new();
    for (i, spec) in c.spec.balancers.iter().enumerate() {
        let at = join("balancers", i);
        let thing = format!("balancer {}", spec.name);
        check_network(c, model, (&join(&at, "network"), &thing), &spec.network);
        if spec.services.is_empty() {
            c.wrong(c.key(&at), &thing, "it has no services");
        }
        if spec.members.is_empty() {
            c.wrong(c.key(&at), &thing, "it has no members");
        }
        let mut balancer = spec.clone();
        balancer.members.clear();
        for (n, member) in spec.members.iter().enumerate() {
            if let Some(port) = one_end(c, model, (&format!("{at}/members/{n}/port"), &thing), &member.port) {
                balancer.members.push(BalancerMember { port, ..member.clone() });
            }
        }
        list.push(balancer);
    }
    list
}

fn check_network(c: &mut Context<'_>, model: &Model, (at, thing): (&str, &str), name: &str) {
    let known = model.networks.iter().map(|network| network.name.as_str());
    if known.clone().all(|known| known != name) {
        let what = format!("no network \"{name}\"");
        c.report(Diagnostic::new(c.value(at), thing, what).meant(name, known));
    }
}
