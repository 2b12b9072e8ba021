//! What tenants may have.

use std::collections::BTreeMap;

use super::*;
use crate::{Declared, Edit, Judgement, Kind, Label, Policy, Qos, Tenant, Traffic};

fn tenant(quota: &[(Kind, u32)], max_ports: Option<u32>, ports: Option<&[&str]>) -> Tenant {
    let ports = ports.map(|ports| ports.iter().map(|port| (*port).to_owned()).collect());
    Tenant { quota: quota.iter().copied().collect(), max_ports, ports, rate: None, burst: None }
}

fn put(name: &str, to: Declared) -> Edit {
    let kind = match &to {
        Declared::Network(_) => Kind::Network,
        Declared::Policy(_) => Kind::Policy,
        Declared::Qos(_) => Kind::Qos,
        _ => Kind::Tenant,
    };
    Edit { label: Label::new(kind, name), to: Some(to) }
}

/// Why an edit is refused; nothing if it is not, and then it is done.
fn refusal(net: &mut Net, edit: Edit) -> Vec<String> {
    let refused = net.controller.edit(net.now, vec![edit]);
    refused
        .err()
        .into_iter()
        .flatten()
        .map(|fault| format!("{}{}: {}", fault.label, fault.pointer, fault.reason))
        .collect()
}

#[test]
fn a_tenant_has_no_more_than_it_may_whoever_writes_it() {
    let mut net = leaf_spine();
    let quota = tenant(&[(Kind::Network, 2)], Some(3), None);
    assert_eq!(refusal(&mut net, put("acme", Declared::Tenant(quota.clone()))), [""; 0]);
    let own = |vlan, ports: &[&str]| Declared::Network(network(vlan, ports, &[]));
    assert_eq!(refusal(&mut net, put("acme-a", own(10, &["s3:3"]))), [""; 0]);
    assert_eq!(refusal(&mut net, put("acme-b", own(11, &["s3:4", "s4:3"]))), [""; 0]);
    let third = refusal(&mut net, put("acme-c", own(12, &[])));
    assert_eq!(third, ["tenant/acme/quota/networks: 3 networks where 2 are allowed"]);
    let fourth = refusal(&mut net, put("acme-a", own(10, &["s3:3", "s5:3"])));
    assert_eq!(fourth, ["tenant/acme/quota/ports: 4 ports of networks where 3 are allowed"]);
    // Others are none of its business, whatever their names begin with.
    assert_eq!(refusal(&mut net, put("acmetoo", own(13, &["s5:3"]))), [""; 0]);
    assert_eq!(
        refusal(&mut net, put("acme", Declared::Tenant(tenant(&[(Kind::Network, 1)], None, None)))).len(),
        1
    );
    // One that goes makes room.
    let gone = Edit { label: Label::new(Kind::Network, "acme-b"), to: None };
    assert_eq!(refusal(&mut net, gone), [""; 0]);
    assert_eq!(refusal(&mut net, put("acme-c", own(12, &["s4:3"]))), [""; 0]);
    assert_eq!(net.controller.intent().networks.len(), 3);
    assert_eq!(net.controller.status("tenant/acme").state, IntentState::Realised);
}

#[test]
fn a_tenant_names_its_own_ports_and_networks_only() {
    let mut net = leaf_spine();
    let own = tenant(&[], None, Some(&["s3", "s4:3"]));
    let mut intent = Intent { tenants: BTreeMap::from([("acme".to_owned(), own)]), ..Intent::default() };
    intent.networks.insert("blue".into(), network(10, &["s5:3"], &[]));
    intent.networks.insert("acme-web".into(), network(11, &["s3:3", "s3:4", "s4:3"], &[]));
    net.controller.set_intent(net.now, intent).unwrap();
    let policy = |from: &[&str], to: &[&str]| {
        let ports = |names: &[&str]| names.iter().map(|name| port(name)).collect();
        let (judgement, traffic) = (Judgement::Deny, Traffic::Ip);
        Declared::Policy(Policy {
            priority: 1,
            judgement,
            from: ports(from),
            to: ports(to),
            traffic,
            stateful: false,
        })
    };
    let refused = refusal(&mut net, put("acme-p", policy(&["s5:3"], &["s3:3"])));
    let reason = "tenant/acme/ports: policy/acme-p names s5:3, which is not among the ports of the tenant";
    assert_eq!(refused, [reason]);
    let refused = refusal(&mut net, put("acme-p", policy(&["s3:3"], &[])));
    let reason = "tenant/acme/name: policy/acme-p is about what is sent to anybody: it must name ports";
    assert_eq!(refused, [reason]);
    assert_eq!(refusal(&mut net, put("acme-p", policy(&[], &["s4:3"]))), [""; 0]);
    let limit = |network: &str| {
        let networks = vec![network.to_owned()];
        Declared::Qos(Qos { ports: BTreeSet::new(), networks, rate: Some(1), burst: None, queue: None })
    };
    let refused = refusal(&mut net, put("acme-q", limit("blue")));
    assert_eq!(refused, ["tenant/acme/name: qos/acme-q is about \"blue\", which is not the tenant's"]);
    assert_eq!(refusal(&mut net, put("acme-q", limit("acme-web"))), [""; 0]);
}
