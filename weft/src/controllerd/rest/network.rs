//! What is known of the network: switches, ports, links, hosts; and traces through it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use controller::Role;
use controller_api::{Host, Link, Port, PortRole, Problem, Switch, TraceReply, TraceRequest};
use openflow::{Dpid, PortStats, Reply, Request};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, Shared, switch_named};
use crate::controllerd::convert::{counters_of, dpid_of, mac_of, port_ref};
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Body, Name};

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
#[utoipa::path(get, path = "/api/v1/switches", tag = "network", responses((status = 200, body = Vec<Switch>)))]
async fn switches(State(hub): Shared) -> Json<Vec<Switch>> {
    let dpids: Vec<Dpid> = hub.read(|core| core.view().switches.keys().copied().collect());
    Json(dpids.into_iter().filter_map(|dpid| describe(&hub, dpid)).collect())
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
        let switch = core.view().switches.get(&dpid)?;
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
    params(("switch", description = "Name or dpid")),
    responses((status = 200, body = Vec<Port>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
async fn ports(State(hub): Shared, Name(name): Name) -> Answer<Vec<Port>> {
    let dpid = switch_named(&hub, &name)?;
    // A switch that does not answer still has ports.
    let stats = match hub.ask(dpid, Request::PortStats(None)).await {
        Ok(Reply::PortStats(stats)) => stats,
        _ => Vec::new(),
    };
    Ok(Json(hub.read(|core| ports_of(core, dpid, &stats))))
}

fn ports_of(core: &controller::Controller, dpid: Dpid, stats: &[PortStats]) -> Vec<Port> {
    let view = core.view();
    let Some(switch) = view.switches.get(&dpid) else { return Vec::new() };
    let port = |(&number, port): (&packet::PortNo, &controller::Port)| {
        let at = (dpid, number);
        Port {
            number: number.0,
            name: port.name.clone(),
            mac: mac_of(port.mac),
            up: port.up,
            role: match view.role(at) {
                _ if core.lanes().functions.contains(&at) => PortRole::Function,
                Role::Link => PortRole::Link,
                Role::Edge => PortRole::Edge,
                Role::Unknown => PortRole::Unknown,
            },
            spec: None,
            peer: view.links.get(&at).map(|peer| port_ref(view, *peer)),
            rate: None,
            queues: Vec::new(),
            counters: stats.iter().find(|stats| stats.port == number).map(counters_of),
        }
    };
    switch.ports.iter().map(port).collect()
}

/// Links between switches, each direction by itself.
#[utoipa::path(get, path = "/api/v1/links", tag = "network", responses((status = 200, body = Vec<Link>)))]
async fn links(State(hub): Shared) -> Json<Vec<Link>> {
    Json(hub.read(|core| {
        let view = core.view();
        let link = |(from, to): (&_, &_)| Link { from: port_ref(view, *from), to: port_ref(view, *to) };
        view.links.iter().map(link).collect()
    }))
}

/// Hosts, learned and declared.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "network", responses((status = 200, body = Vec<Host>)))]
async fn hosts(State(hub): Shared) -> Json<Vec<Host>> {
    Json(hub.read(|core| {
        let lanes = core.lanes();
        let host = |(&(vlan, mac), host): (&_, &controller::Host)| Host {
            mac: mac_of(mac),
            addresses: host.addresses.iter().copied().collect(),
            port: port_ref(core.view(), host.at),
            network: lanes
                .lanes
                .get(&vlan)
                .and_then(|lane| lane.label.strip_prefix("network/"))
                .map(str::to_owned),
        };
        lanes.hosts.iter().map(host).collect()
    }))
}

/// Follows a frame from switch to switch through the flows they hold; nothing is sent.
#[utoipa::path(
    post, path = "/api/v1/trace", tag = "network", request_body = TraceRequest,
    responses((status = 200, body = TraceReply), (status = 422, body = Problem, content_type = "application/problem+json"))
)]
async fn trace(State(hub): Shared, Body(request): Body<TraceRequest>) -> Answer<TraceReply> {
    Ok(Json(crate::controllerd::trace::trace(&hub, &request).await?))
}
