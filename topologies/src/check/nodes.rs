//! Nodes: names, interfaces, datapath ids, functions, guests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use controller_api::Cidr;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netio::InterfaceName;
use packet::MacAddr;

use super::{Context, check_name, units};
use crate::diagnostics::Diagnostic;
use crate::model::{FunctionNode, Host, Interface, Node, NodeKind, Program, Route, Switch, Vm};
use crate::spec::{BuiltIn, FunctionSpec, InterfaceSpec, NodeSpec, Protocol, RouteSpec, SwitchSpec, VmSpec};
use crate::yaml::join;

/// MTU where none is said.
pub(super) const MTU: u32 = 1500;
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65_521;

pub(super) fn resolve(c: &mut Context<'_>) -> Vec<Node> {
    let order = c.tree.keys.get("nodes").cloned().unwrap_or_default();
    if order.is_empty() {
        let at = c.key("nodes");
        c.wrong(at, "nodes", "there is none");
    }
    let taken: BTreeSet<u64> = explicit_dpids(c);
    let mut next_dpid = 1;
    let mut nodes = Vec::new();
    for (idx, name) in order.iter().enumerate() {
        let at = c.key(&join("nodes", name));
        check_name(c, at, "node", name);
        let Some(spec) = c.spec.nodes.get(name) else { continue };
        let kind = match spec {
            NodeSpec::Switch(spec) => {
                check_protocols(c, name, spec);
                NodeKind::Switch(switch(spec, &taken, &mut next_dpid))
            }
            NodeSpec::Router(_) => NodeKind::Router,
            NodeSpec::Host(spec) => NodeKind::Host(Host {
                interfaces: interfaces(c, idx, name, &spec.interfaces),
                routes: routes(spec.gateway, &spec.routes),
            }),
            NodeSpec::Function(spec) => NodeKind::Function(function(c, idx, name, spec)),
            NodeSpec::Vm(spec) => NodeKind::Vm(vm(c, idx, name, spec)),
        };
        nodes.push(Node { name: name.clone(), kind });
    }
    nodes
}

fn explicit_dpids(c: &mut Context<'_>) -> BTreeSet<u64> {
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    for name in c.tree.keys.get("nodes").into_iter().flatten() {
        let Some(NodeSpec::Switch(SwitchSpec { dpid: Some(dpid), .. })) = c.spec.nodes.get(name) else {
            continue;
        };
        let path = format!("nodes/{name}/dpid");
        if dpid.0 == 0 {
            c.found.push(Diagnostic::new(c.tree.value(&path), format!("node {name}"), "a dpid is not 0"));
        }
        if let Some(first) = seen.get(&dpid.0) {
            let what = format!("the dpid {dpid} is taken by {first}");
            let note = c.tree.value(&format!("nodes/{first}/dpid"));
            let wrong = Diagnostic::new(c.tree.value(&path), format!("node {name}"), what);
            c.found.push(wrong.note(note, "first used here"));
        }
        seen.entry(dpid.0).or_insert_with(|| name.clone());
    }
    seen.into_keys().collect()
}

fn switch(spec: &SwitchSpec, taken: &BTreeSet<u64>, next: &mut u64) -> Switch {
    let dpid = spec.dpid.map_or_else(
        || {
            while taken.contains(next) {
                *next += 1;
            }
            *next += 1;
            *next - 1
        },
        |dpid| dpid.0,
    );
    let protocols = spec.protocols.clone().unwrap_or_else(|| Protocol::ALL.to_vec());
    Switch { dpid, fail_mode: spec.fail_mode.unwrap_or_default(), protocols }
}

/// The controller of a topology speaks one version.
fn check_protocols(c: &mut Context<'_>, name: &str, spec: &SwitchSpec) {
    let lacking = |protocols: &Vec<Protocol>| !protocols.contains(&Protocol::OpenFlow13);
    if spec.protocols.as_ref().is_some_and(lacking) {
        let at = c.tree.value(&format!("nodes/{name}/protocols"));
        let what = "OpenFlow13 is missing, which the controller speaks";
        c.wrong(at, format!("node {name}"), what);
    }
}

fn function(c: &mut Context<'_>, idx: usize, name: &str, spec: &FunctionSpec) -> FunctionNode {
    let path = join("nodes", name);
    let thing = format!("node {name}");
    let program = match (&spec.function, &spec.exec) {
        (Some(function), None) => Program::BuiltIn { function: *function, rules: spec.rules.clone() },
        (None, Some(exec)) if !exec.is_empty() => Program::Exec(exec.clone()),
        (None, Some(_)) => {
            let at = c.value(&join(&path, "exec"));
            c.wrong(at, thing.clone(), "\"exec\" names no program");
            Program::Exec(Vec::new())
        }
        (None, None) => {
            let missing = Diagnostic::new(c.key(&path), thing.clone(), "\"function\" or \"exec\" is missing");
            c.report(missing.hint("write `function: forward`, `firewall` or `inspect`"));
            Program::Exec(Vec::new())
        }
        (Some(_), Some(_)) => {
            let at = c.key(&join(&path, "exec"));
            c.wrong(at, thing.clone(), "\"function\" and \"exec\" exclude each other");
            Program::Exec(Vec::new())
        }
    };
    if !spec.rules.is_empty() && spec.function != Some(BuiltIn::Firewall) {
        let at = c.key(&join(&path, "rules"));
        c.wrong(at, thing, "only a firewall has rules");
    }
    let plain = |i: usize, name: &str| Interface {
        name: name.to_owned(),
        mac: mac(&c.spec.name, idx, i),
        mtu: MTU,
        addresses: Vec::new(),
    };
    FunctionNode { interfaces: vec![plain(0, "in"), plain(1, "out")], program }
}

fn vm(c: &mut Context<'_>, idx: usize, name: &str, spec: &VmSpec) -> Vm {
    let path = join("nodes", name);
    let memory = spec.memory.as_deref().map_or(Some(128), units::mebibytes);
    if !memory.is_some_and(|mib| (16..=1 << 20).contains(&mib)) {
        let at = c.value(&join(&path, "memory"));
        let what = format!("\"{}\" is not a size", spec.memory.as_deref().unwrap_or_default());
        c.report(Diagnostic::new(at, format!("node {name}"), what).hint("write 128M or 1G"));
    }
    let cpus = spec.cpus.unwrap_or(1);
    if !(1..=64).contains(&cpus) {
        let at = c.value(&join(&path, "cpus"));
        c.wrong(at, format!("node {name}"), format!("{cpus} processors: 1 to 64 are possible"));
    }
    Vm {
        kernel: c.folder.join(&spec.kernel),
        initrd: c.folder.join(&spec.initrd),
        memory: memory.unwrap_or(128),
        cpus,
        interfaces: interfaces(c, idx, name, &spec.interfaces),
        routes: routes(spec.gateway, &spec.routes),
    }
}

fn routes(gateway: Option<IpAddr>, routes: &[RouteSpec]) -> Vec<Route> {
    let default = gateway.map(|via| Route { to: default_of(via), via });
    default.into_iter().chain(routes.iter().map(|route| Route { to: route.to, via: route.via })).collect()
}

fn default_of(via: IpAddr) -> Cidr {
    match via {
        IpAddr::V4(_) => Cidr(IpNet::V4(Ipv4Net::default())),
        IpAddr::V6(_) => Cidr(IpNet::V6(Ipv6Net::default())),
    }
}

fn interfaces(
    c: &mut Context<'_>,
    idx: usize,
    node: &str,
    written: &BTreeMap<String, InterfaceSpec>,
) -> Vec<Interface> {
    let path = format!("nodes/{node}/interfaces");
    let order = c.tree.keys.get(&path).cloned().unwrap_or_default();
    let mut list = Vec::new();
    for (i, name) in order.iter().enumerate() {
        let Some(spec) = written.get(name) else { continue };
        let path = join(&path, name);
        let thing = format!("interface {node}:{name}");
        let at = c.key(&path);
        check_interface_name(c, at, &thing, name);
        check_mtu(c, &join(&path, "mtu"), &thing, spec.mtu);
        let mac = spec.mac.map_or_else(|| mac(&c.spec.name, idx, i), |written| MacAddr(written.0));
        if !mac.is_unicast() {
            let at = c.value(&join(&path, "mac"));
            c.wrong(at, thing.clone(), format!("{mac} is not the address of one interface"));
        }
        list.push(Interface {
            name: name.clone(),
            mac,
            mtu: spec.mtu.unwrap_or(0),
            addresses: spec.address.into_iter().chain(spec.addresses.iter().copied()).collect(),
        });
    }
    list
}

pub(super) fn check_interface_name(c: &mut Context<'_>, at: std::ops::Range<usize>, thing: &str, name: &str) {
    if InterfaceName::new(name).is_ok() {
        return;
    }
    let what = if name.len() > 15 {
        format!("the name has {} characters, an interface has at most 15", name.len())
    } else {
        "an interface has no \"/\", \":\", \"%\" or white space in its name".to_owned()
    };
    c.wrong(at, thing, what);
}

pub(super) fn check_mtu(c: &mut Context<'_>, path: &str, thing: &str, mtu: Option<u32>) {
    if let Some(mtu) = mtu.filter(|mtu| !MTU_RANGE.contains(mtu)) {
        let at = c.value(path);
        c.wrong(at, thing, format!("mtu {mtu}: 68 to 65521 are possible"));
    }
}

/// A locally administered address that stays the same from run to run and differs between labs.
pub(super) fn mac(lab: &str, node: usize, interface: usize) -> MacAddr {
    // FNV-1a, folded to 16 bits.
    let hash = lab.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let lab = ((hash >> 16) ^ hash) as u16;
    let [a, b] = lab.to_be_bytes();
    let [n, m] = (node as u16 + 1).to_be_bytes();
    MacAddr([0x02, a, b, n, m, interface as u8 + 1])
}
