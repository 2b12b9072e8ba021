//! Mirrors: their ports resolved to switch ports, the outlet one that nothing else has.

use controller_api::Mirror;

use super::Context;
use super::intents::end;
use super::paths::one_end;
use crate::diagnostics::Diagnostic;
use crate::model::Model;
use crate::yaml::join;

pub(super) fn resolve(c: &mut Context<'_>, model: &Model) -> Vec<Mirror> {
    let mut list = Vec::new();
    for (i, spec) in c.spec.mirrors.iter().enumerate() {
        let at = join("mirrors", i);
        let thing = format!("mirror {}", spec.name);
        let mut mirror = spec.clone();
        mirror.ports.clear();
        for (n, port) in spec.ports.iter().enumerate() {
            mirror.ports.extend(end(c, model, &format!("{at}/ports/{n}"), &thing, port));
        }
        if spec.ports.is_empty() {
            c.wrong(c.key(&at), &thing, "it names no ports");
        }
        let own = join(&at, "to");
        if let Some(to) = one_end(c, model, (&own, &thing), &spec.to) {
            check_outlet(c, model, (&own, &thing), (&to, &mirror));
            mirror.to = to;
        }
        list.push(mirror);
    }
    list
}

fn check_outlet(
    c: &mut Context<'_>,
    model: &Model,
    (at, thing): (&str, &str),
    (to, mirror): (&str, &Mirror),
) {
    if mirror.ports.iter().any(|port| port == to) {
        c.wrong(c.value(at), thing, format!("{to} is mirrored itself"));
    }
    let has = |network: &&controller_api::Network| {
        network.ports.iter().chain(&network.trunks).any(|port| port.to_string() == *to)
    };
    if let Some(network) = model.networks.iter().find(has) {
        let what = format!("{to} is a port of network {}", network.name);
        let hint = "copies leave by a port that is in no network";
        c.report(Diagnostic::new(c.value(at), thing, what).hint(hint));
    }
}
