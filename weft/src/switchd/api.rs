//! What a switch serves on its unix socket: the resources of the controller's API that concern one switch.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use controller_api as api;
use controller_api::{
    Counter, Flow, FlowAdd, Health, PortAdd, PortRef, Problem, TraceCopy, TraceHop, TraceReply, TraceStep,
};
use openflow::{FlowMod, FlowModCommand};
use packet::PortNo;
use serde::Deserialize;
use tower_http::limit::RequestBodyLimitLayer;
use vswitch::{Trace, TraceOutcome};

use super::Client;
use super::owner::{PortRow, Request, rx_errors, tx_errors};
use super::queues::{queue_states, queues_of_request, queues_shape};
use super::samples;
use crate::controllerd::problem;
use crate::controllerd::{
    Body, Refusal, flow_of_request, flow_shape, frame_of_request, hex_of, known_parameters,
};
use crate::observe::exposition;
use crate::observe::mirror::{self, Known};

/// Longest body of a request, in bytes.
const MAX_BODY: usize = 1 << 20;

type Answer<T> = Result<Json<T>, Refusal>;

/// All routes.
pub fn router(client: Client) -> Router {
    let one = "/api/v1/switches/{switch}";
    Router::new()
        .route("/api/v1/health", get(health))
        .route("/api/v1/switches", get(switches))
        .route(one, get(switch))
        .route(&format!("{one}/ports"), get(ports).post(add_port))
        .route(&format!("{one}/ports/{{number}}"), delete(del_port))
        .route(&format!("{one}/ports/{{number}}/queues"), get(queues).put(set_queues).delete(del_queues))
        .route(&format!("{one}/flows"), get(flows).post(add_flow).delete(del_flows))
        .route(&format!("{one}/drops"), get(drops))
        .route("/api/v1/stats", get(stats))
        .route("/api/v1/mirror", get(mirror))
        .route("/api/v1/samples", get(samples))
        .route("/metrics", get(metrics))
        .route("/api/v1/trace", post(trace))
        .fallback(async || Refusal(Problem::not_found("such resource of a switch")))
        .layer(axum::middleware::from_fn(known_parameters))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .with_state(client)
}

impl Client {
    /// The path names this switch.
    fn named(&self, name: &str) -> Result<(), Problem> {
        let dpid = self.spec.dpid.to_string();
        if name == self.spec.name || name == dpid {
            return Ok(());
        }
        Err(Problem::not_found(format!(
            "switch {name} here; this one is {} with dpid {dpid}",
            self.spec.name
        )))
    }
}

async fn health(State(client): State<Client>) -> Json<Health> {
    let detail = client.ask(Request::Status).await.err().map(|problem| problem.to_string());
    Json(Health {
        service: "switch".to_owned(),
        name: client.spec.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        ready: detail.is_none(),
        detail,
    })
}

async fn describe(client: &Client) -> Result<api::Switch, Problem> {
    let status = client.ask(Request::Status).await?;
    Ok(api::Switch {
        dpid: api::Dpid(client.spec.dpid.0),
        name: client.spec.name.clone(),
        connected: !status.peers.is_empty(),
        realised: false,
        peer: status.peers.join(", "),
        description: format!("weft userspace {}", env!("CARGO_PKG_VERSION")),
        n_tables: status.n_tables,
        n_ports: u32::try_from(status.n_ports).unwrap_or(u32::MAX),
        peers: status.details,
    })
}

async fn switches(State(client): State<Client>) -> Answer<Vec<api::Switch>> {
    Ok(Json(vec![describe(&client).await?]))
}

async fn switch(State(client): State<Client>, Path(name): Path<String>) -> Answer<api::Switch> {
    client.named(&name)?;
    Ok(Json(describe(&client).await?))
}

async fn ports(State(client): State<Client>, Path(name): Path<String>) -> Answer<Vec<api::Port>> {
    client.named(&name)?;
    let rows = client.ask(Request::Ports).await?;
    Ok(Json(rows.iter().map(port_shape).collect()))
}

async fn add_port(
    State(client): State<Client>,
    Path(name): Path<String>,
    Body(wanted): Body<PortAdd>,
) -> Result<(StatusCode, Json<api::Port>), Refusal> {
    client.named(&name)?;
    let spec = wanted.spec.parse().map_err(|error| Problem::invalid("/spec", error))?;
    let number = wanted.number.map(PortNo);
    let row = client.add_port(number, wanted.name, spec).await?;
    Ok((StatusCode::CREATED, Json(port_shape(&row))))
}

async fn del_port(State(client): State<Client>, Path((name, number)): Path<(String, u32)>) -> Answer<()> {
    client.named(&name)?;
    client.ask(|reply| Request::DelPort { number: PortNo(number), reply }).await?;
    Ok(Json(()))
}

async fn queues(
    State(client): State<Client>,
    Path((name, number)): Path<(String, u32)>,
) -> Answer<api::PortQueues> {
    client.named(&name)?;
    let rows = client.ask(Request::Ports).await?;
    let row = rows.iter().find(|row| row.number == PortNo(number));
    let row = row.ok_or_else(|| Problem::not_found(format!("port {number} on switch {name}")))?;
    Ok(Json(queues_shape(&row.queues)))
}

async fn set_queues(
    State(client): State<Client>,
    Path((name, number)): Path<(String, u32)>,
    Body(wanted): Body<api::PortQueues>,
) -> Answer<api::Port> {
    client.named(&name)?;
    let (number, queues) = (PortNo(number), queues_of_request(&wanted));
    let row = client.ask(|reply| Request::SetQueues { number, queues, reply }).await?;
    Ok(Json(port_shape(&row)))
}

async fn del_queues(client: State<Client>, path: Path<(String, u32)>) -> Answer<api::Port> {
    set_queues(client, path, Body(api::PortQueues::default())).await
}

pub(super) fn port_shape(row: &PortRow) -> api::Port {
    api::Port {
        number: row.number.0,
        name: row.name.clone(),
        mac: api::Mac(row.mac.0),
        up: row.up,
        role: api::PortRole::default(),
        spec: Some(row.spec.to_string()),
        peer: None,
        counters: Some(api::PortCounters {
            rx_frames: row.counters.rx_frames,
            rx_bytes: row.counters.rx_bytes,
            rx_dropped: row.counters.rx_dropped(),
            rx_errors: rx_errors(&row.counters),
            tx_frames: row.counters.tx_frames,
            tx_bytes: row.counters.tx_bytes,
            tx_dropped: row.counters.tx_dropped()
                + row.queue_counters.values().map(|q| q.tx_errors).sum::<u64>(),
            tx_errors: tx_errors(&row.counters),
        }),
        rate: row.queues.rate.map(api::Rate),
        queues: queue_states(row),
    }
}

async fn flows(State(client): State<Client>, Path(name): Path<String>) -> Answer<Vec<Flow>> {
    client.named(&name)?;
    let flows = client.ask(Request::Flows).await?;
    Ok(Json(flows.iter().map(|flow| flow_shape(flow, None)).collect()))
}

async fn add_flow(
    State(client): State<Client>,
    Path(name): Path<String>,
    Body(wanted): Body<FlowAdd>,
) -> Result<(StatusCode, Json<Flow>), Refusal> {
    client.named(&name)?;
    let flow_mod = flow_of_request(&wanted)?;
    let (table, priority, matches) = (flow_mod.table, flow_mod.priority, flow_mod.matches.clone());
    client.ask(|reply| Request::FlowMod { flow_mod: Box::new(flow_mod), reply }).await?;
    let flows = client.ask(Request::Flows).await?;
    let added = flows.iter().find(|f| f.table == table && f.priority == priority && f.matches == matches);
    let added = added.ok_or_else(|| Problem::conflict("the flow was removed at once by somebody else"))?;
    Ok((StatusCode::CREATED, Json(flow_shape(added, None))))
}

#[derive(Debug, Deserialize)]
struct Selection {
    #[serde(rename = "match", default)]
    matching: String,
}

async fn del_flows(
    State(client): State<Client>,
    Path(name): Path<String>,
    Query(selection): Query<Selection>,
) -> Answer<u64> {
    client.named(&name)?;
    let flow_mod: FlowMod = openflow::text::parse_flow_mod(FlowModCommand::Delete, &selection.matching)
        .map_err(|error| Problem::bad_request(format!("match: {error}")))?;
    let before = client.ask(Request::Flows).await?.len();
    client.ask(|reply| Request::FlowMod { flow_mod: Box::new(flow_mod), reply }).await?;
    let after = client.ask(Request::Flows).await?.len();
    Ok(Json(before.saturating_sub(after) as u64))
}

async fn drops(State(client): State<Client>, Path(name): Path<String>) -> Answer<Vec<Counter>> {
    client.named(&name)?;
    let drops = client.ask(Request::Drops).await?;
    Ok(Json(drops.into_iter().map(|(name, value)| Counter { name, value }).collect()))
}

async fn stats(State(client): State<Client>) -> Answer<api::Stats> {
    Ok(Json(client.ask(Request::Stats).await?))
}

/// How watchers know a port.
pub(super) fn known_port(row: &PortRow) -> Known {
    Known { number: row.number, name: row.name.clone(), description: row.spec.to_string() }
}

async fn mirror(
    State(client): State<Client>,
    problem::Query(query): problem::Query<mirror::Query>,
) -> Result<Response, Refusal> {
    let known = client.ask(Request::Ports).await?.iter().map(known_port).collect();
    let (plane, engine) = client.ask(Request::Engine).await?;
    Ok(mirror::answer(&plane, engine, known, query).await?)
}

async fn samples(
    State(client): State<Client>,
    problem::Query(query): problem::Query<samples::Query>,
) -> Result<Response, Refusal> {
    Ok(samples::answer(client, query).await?)
}

async fn metrics(State(client): State<Client>) -> Result<Response, Refusal> {
    let stats = client.ask(Request::Stats).await?;
    Ok(exposition(crate::observe::metrics::text(&[stats])))
}

async fn trace(State(client): State<Client>, Body(wanted): Body<api::TraceRequest>) -> Answer<TraceReply> {
    let rows = client.ask(Request::Ports).await?;
    let named = |row: &&PortRow| row.name == wanted.port.port || row.number.to_string() == wanted.port.port;
    let in_port = rows.iter().find(named).map(|row| row.number);
    let in_port =
        in_port.ok_or_else(|| Problem::invalid("/port", format!("there is no port {}", wanted.port)))?;
    let frame = frame_of_request(&wanted)?;
    let trace = client.ask(|reply| Request::Trace { in_port, frame, reply }).await?;
    Ok(Json(trace_shape(&client.spec.name, &trace)))
}

pub(super) fn trace_shape(name: &str, trace: &Trace) -> TraceReply {
    let steps = trace.tables.iter().map(|table| TraceStep {
        table: table.table.0,
        flow: table.entry.as_ref().map(|entry| {
            let actions = openflow::text::Instructions(&entry.instructions);
            let comma = if entry.matches.is_empty() { "" } else { "," };
            format!("priority={}{comma}{} actions={actions}", entry.priority, entry.matches)
        }),
        intent: None,
    });
    let mut reply = TraceReply {
        hops: vec![TraceHop {
            port: PortRef::new(name, trace.in_port),
            steps: steps.collect(),
            notes: vec![],
            outputs: vec![],
            copies: vec![],
        }],
        delivered: Vec::new(),
        punted: false,
        drops: Vec::new(),
        text: trace.to_string(),
    };
    for outcome in &trace.outcomes {
        match outcome {
            TraceOutcome::Output { port, frame } => {
                let copy = TraceCopy { port: Some(port.0), reason: None, frame: hex_of(frame) };
                reply.hops[0].copies.push(copy);
                reply.hops[0].outputs.push(port.0);
                reply.delivered.push(PortRef::new(name, port));
            }
            TraceOutcome::Controller { reason, frame, .. } => {
                let copy = TraceCopy { port: None, reason: Some(reason.number()), frame: hex_of(frame) };
                reply.hops[0].copies.push(copy);
                reply.punted = true;
            }
            TraceOutcome::Drop(reason) => reply.drops.push(reason.to_string()),
        }
    }
    reply
}
