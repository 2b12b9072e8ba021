//! What is known of the network: switches, ports, links, hosts; and traces through it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use controller::{At, HostKey, Role};
use controller_api::{Host, Link, Mac, Port, PortRole, Problem, Switch, TraceReply, TraceRequest};
use openflow::{Dpid, PortStats, Reply, Request};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::{Page, Paging, Part};
use super::{Answer, Shared, switch_named};
use crate::controllerd::convert::{counters_of, dpid_of, mac_of, port_ref};
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Body, Name, Query, Refusal};

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .routes(routes!(switches))
        .routes(routes!(switch))
        .routes(routes!(ports))
        .routes(routes!(links))
        .routes(routes!(hosts))
        .routes(routes!(trace))
}

/// Every switch.
#[utoipa::path(
    get, path = "/api/v1/switches", tag = "network", params(Paging), responses((status = 200, body = Vec<Switch>))
)]
async fn switches(
    State(hub): Shared,
    uri: Uri,
    Query(paging): Query<Paging>,
) -> Result<Page<Switch>, Refusal> {
    let part = Part::new(&uri, paging.limit, paging.cursor.as_deref(), usize::MAX)?;
    let dpids: Vec<Dpid> = hub.read(|core| core.view().switches().keys().copied().collect());
    let found = dpids.into_iter().filter_map(|dpid| Some((dpid.to_string(), describe(&hub, dpid)?)));
    Ok(part.of(found))
}

/// One switch.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}", tag = "network",
    params(("switch", description = "Name or dpid")),
    responses((status = 200, body = Switch), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
async fn switch(State(hub): Shared, Name(name): Name) -> Answer<Switch> {
    let dpid = switch_named(&hub, &name)?;
    Ok(Json(describe(&hub, dpid).ok_or_else(|| Problem::not_found(format!("switch {name:?}")))?))
}

fn describe(hub: &Hub, dpid: Dpid) -> Option<Switch> {
    let peer = hub.peer(dpid);
    hub.read(|core| {
        let switch = core.view().switches().get(&dpid)?;
        let description = core.description(dpid).map(|desc| {
            let parts = [&desc.manufacturer, &desc.hardware, &desc.software];
            let parts: Vec<String> =
                parts.into_iter().filter(|part| !part.is_empty()).map(ToString::to_string).collect();
            parts.join(", ")
        });
        Some(Switch {
            dpid: dpid_of(dpid),
            name: switch.name.clone(),
            connected: core.connection(dpid).is_some(),
            realised: core.is_realised(dpid) && core.is_settled(dpid),
            peer: peer.unwrap_or_default(),
            description: description.unwrap_or_default(),
            n_tables: switch.n_tables,
            n_ports: u32::try_from(switch.ports.len()).unwrap_or(u32::MAX),
            peers: Vec::new(),
        })
    })
}

/// The ports of a switch with their counters.
#[utoipa::path(
    get, path = "/api/v1/switches/{switch}/ports", tag = "network",
    params(("switch", description = "Name or dpid"), Paging),
    responses((status = 200, body = Vec<Port>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
async fn ports(
    State(hub): Shared,
    Name(name): Name,
    uri: Uri,
    Query(paging): Query<Paging>,
) -> Result<Page<Port>, Refusal> {
    let part = Part::new(&uri, paging.limit, paging.cursor.as_deref(), usize::MAX)?;
    let dpid = switch_named(&hub, &name)?;
    // A switch that does not answer still has ports.
    let stats = match hub.ask(dpid, Request::PortStats(None)).await {
        Ok(Reply::PortStats(stats)) => stats,
        _ => Vec::new(),
    };
    let ports = hub.read(|core| ports_of(core, dpid, &stats));
    Ok(part.of(ports.into_iter().map(|port| (format!("{:010}", port.number), port))))
}

fn ports_of(core: &controller::Controller, dpid: Dpid, stats: &[PortStats]) -> Vec<Port> {
    let view = core.view();
    let Some(switch) = view.switches().get(&dpid) else { return Vec::new() };
    let port = |(&number, port): (&packet::PortNo, &controller::Port)| {
        let at = (dpid, number);
        Port {
            number: number.0,
            name: port.name.clone(),
            mac: mac_of(port.mac),
            up: port.up,
            role: match view.role(at) {
                _ if core.lanes().functions.contains_key(&at) => PortRole::Function,
                Role::Link => PortRole::Link,
                Role::Edge => PortRole::Edge,
                Role::Unknown => PortRole::Unknown,
            },
            spec: None,
            peer: view.links().get(&at).map(|peer| port_ref(view, *peer)),
            rate: None,
            queues: Vec::new(),
            counters: stats.iter().find(|stats| stats.port == number).map(counters_of),
        }
    };
    switch.ports.iter().map(port).collect()
}

/// Which links are wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LinksOf {
    /// Only those that begin or end at this switch: name or dpid.
    #[serde(default)]
    switch: Option<String>,
    /// Most items of an answer; what follows is behind its `Link` header.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Where to go on, from the `Link` header of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

/// Links between switches, each direction by itself.
#[utoipa::path(
    get, path = "/api/v1/links", tag = "network", params(LinksOf), responses((status = 200, body = Vec<Link>))
)]
async fn links(State(hub): Shared, uri: Uri, Query(wanted): Query<LinksOf>) -> Result<Page<Link>, Refusal> {
    let part = Part::new(&uri, wanted.limit, wanted.cursor.as_deref(), usize::MAX)?;
    let of = wanted.switch.map(|name| switch_named(&hub, &name)).transpose()?;
    Ok(hub.read(|core| {
        let view = core.view();
        let links = view.links().iter().filter(|(from, to)| of.is_none_or(|of| from.0 == of || to.0 == of));
        part.of(links.map(|(from, to)| {
            let link = Link { from: port_ref(view, *from), to: port_ref(view, *to) };
            (format!("{}/{:010}", from.0, from.1.0), link)
        }))
    }))
}

/// Which hosts are wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct HostsOf {
    /// Only those at this switch: name or dpid.
    #[serde(default)]
    switch: Option<String>,
    /// Only those of this network.
    #[serde(default)]
    network: Option<String>,
    /// Only those with this MAC address.
    #[serde(default)]
    mac: Option<Mac>,
    /// Only those with this IP address.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// Most items of an answer; what follows is behind its `Link` header.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Where to go on, from the `Link` header of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

impl HostsOf {
    fn takes(&self, host: &Host) -> bool {
        self.network.as_ref().is_none_or(|network| host.network.as_ref() == Some(network))
            && self.mac.is_none_or(|mac| host.mac == mac)
            && self.address.is_none_or(|address| host.addresses.contains(&address))
    }
}

/// Hosts, learned and declared.
#[utoipa::path(
    get, path = "/api/v1/hosts", tag = "network", params(HostsOf), responses((status = 200, body = Vec<Host>))
)]
async fn hosts(State(hub): Shared, uri: Uri, Query(wanted): Query<HostsOf>) -> Result<Page<Host>, Refusal> {
    let part = Part::new(&uri, wanted.limit, wanted.cursor.as_deref(), usize::MAX)?;
    let of = wanted.switch.as_ref().map(|name| switch_named(&hub, name)).transpose()?;
    Ok(hub.read(|core| {
        let lanes = core.lanes();
        let planned = lanes.hosts.iter().map(|(key, host)| (*key, (host.at, Some(&host.addresses))));
        let asked_for = core.asked_for().map(|(key, at)| (key, (at, None)));
        let all: BTreeMap<HostKey, _> = planned.chain(asked_for).collect();
        let found = all.into_iter().filter(|(_, (at, _))| of.is_none_or(|of| at.0 == of));
        let shape = |((vlan, mac), (at, addresses)): (HostKey, (At, Option<&BTreeSet<IpAddr>>))| {
            let label = lanes.lanes.get(&vlan).and_then(|lane| lane.label.strip_prefix("network/"));
            let host = Host {
                mac: mac_of(mac),
                addresses: addresses.into_iter().flatten().copied().collect(),
                port: port_ref(core.view(), at),
                network: label.map(str::to_owned),
            };
            (format!("{:04}/{}", vlan.get(), host.mac), host)
        };
        part.of(found.map(shape).filter(|(_, host)| wanted.takes(host)))
    }))
}

/// Follows a frame from switch to switch through the flows they hold, and through the routers between them; nothing is sent.
#[utoipa::path(
    post, path = "/api/v1/trace", tag = "network", request_body = TraceRequest,
    responses((status = 200, body = TraceReply), (status = 422, body = Problem, content_type = "application/problem+json"))
)]
async fn trace(State(hub): Shared, Body(request): Body<TraceRequest>) -> Answer<TraceReply> {
    Ok(Json(crate::controllerd::trace::trace(&hub, &request).await?))
}
