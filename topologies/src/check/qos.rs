//! Rates and queues: their ports resolved to switch ports, each limited once.

use std::collections::HashMap;

use controller_api::{Qos, Rate};

use super::Context;
use super::intents::end;
use crate::diagnostics::Diagnostic;
use crate::model::Model;
use crate::yaml::join;

pub(super) fn resolve(c: &mut Context<'_>, model: &Model) -> Vec<Qos> {
    // Where each port and network was said first.
    let mut first: HashMap<String, String> = HashMap::new();
    let mut list = Vec::new();
    for (i, spec) in c.spec.qos.iter().enumerate() {
        let path = join("qos", i);
        let thing = format!("qos {}", spec.name);
        check_values(c, &path, &thing, spec);
        let mut qos = spec.clone();
        qos.ports.clear();
        for (p, written) in spec.ports.iter().enumerate() {
            let own = format!("{path}/ports/{p}");
            let ports = end(c, model, &own, &thing, written);
            for port in &ports {
                once(c, &mut first, (&own, &thing), format!("port {port}"));
            }
            qos.ports.extend(ports);
        }
        for (n, network) in spec.networks.iter().enumerate() {
            let own = format!("{path}/networks/{n}");
            if !model.networks.iter().any(|known| known.name == *network) {
                let unknown = Diagnostic::new(c.value(&own), &thing, format!("no network \"{network}\""));
                c.report(unknown.meant(network, model.networks.iter().map(|known| known.name.as_str())));
            }
            once(c, &mut first, (&own, &thing), format!("network {network}"));
        }
        list.push(qos);
    }
    list
}

fn check_values(c: &mut Context<'_>, path: &str, thing: &str, spec: &Qos) {
    if spec.rate.is_none() && spec.queue.is_none() {
        let missing = Diagnostic::new(c.key(path), thing, "it says neither a rate nor a queue");
        c.report(missing.hint("write `rate: 20M`"));
    }
    check_rate(c, path, thing, (spec.rate, spec.burst));
    if spec.ports.is_empty() && spec.networks.is_empty() {
        c.wrong(c.key(path), thing, "it names neither ports nor networks");
    }
}

/// A rate and its burst, of whatever has one.
pub(super) fn check_rate(
    c: &mut Context<'_>,
    path: &str,
    thing: &str,
    (rate, burst): (Option<Rate>, Option<u32>),
) {
    if rate.is_some_and(|Rate(rate)| rate < 1000) {
        let at = c.value(&join(path, "rate"));
        c.wrong(at, thing, "the lowest rate is 1k");
    }
    if burst.is_some() && rate.is_none() {
        let at = c.key(&join(path, "burst"));
        c.wrong(at, thing, "a burst needs a rate");
    }
}

fn once(c: &mut Context<'_>, first: &mut HashMap<String, String>, (own, thing): (&str, &str), what: String) {
    let at = c.value(own);
    match first.get(&what) {
        Some(other) => {
            let note = c.value(other);
            c.report(Diagnostic::new(at, thing, format!("{what} is limited twice")).note(note, "first here"));
        }
        None => drop(first.insert(what, own.to_owned())),
    }
}
