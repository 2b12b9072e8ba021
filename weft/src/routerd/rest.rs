//! A router's own API on its unix socket. A controller puts configurations at /api/v1/routers/NAME.

use std::sync::Weak;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use controller_api as api;
use controller_api::Problem;
use tower_http::limit::RequestBodyLimitLayer;

use super::{Change, FieldError, Inner, RouterHandle, Stale, empty};
use crate::controllerd::problem::{Body, Query, Refusal, known_parameters};
use crate::controllerd::{Condition, etag, frame_of_request, precondition_failed};
use crate::observe::exposition;
use crate::observe::mirror::Query as MirrorQuery;

/// Longest body of a request, in bytes.
const MAX_BODY: usize = 16 << 20;

type Shared = State<Weak<Inner>>;
type Answer<T> = Result<Json<T>, Refusal>;

/// All routes. The router may be gone while its server is still there.
pub fn router(inner: Weak<Inner>) -> Router {
    Router::new()
        .route("/api/v1/health", get(health))
        .route("/api/v1/config", get(config).put(put_config))
        .route("/api/v1/routers", get(routers))
        .route("/api/v1/routers/{name}", get(named).put(put_named).delete(delete_named))
        .route("/api/v1/fib", get(fib))
        .route("/api/v1/neighbours", get(neighbours))
        .route("/api/v1/connections", get(connections))
        .route("/api/v1/bindings", get(bindings))
        .route("/api/v1/firewall", get(firewall))
        .route("/api/v1/leases", get(leases))
        .route("/api/v1/drops", get(drops))
        .route("/api/v1/stats", get(stats))
        .route("/api/v1/mirror", get(mirror))
        .route("/api/v1/trace", post(trace))
        .route("/metrics", get(metrics))
        .route("/api/v1/ports", get(ports).post(add_port))
        .route("/api/v1/ports/{name}", axum::routing::delete(delete_port))
        .fallback(|uri: Uri| async move { Refusal(Problem::not_found(format!("resource {}", uri.path()))) })
        .layer(axum::middleware::from_fn(known_parameters))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .with_state(inner)
}

fn handle(inner: &Weak<Inner>) -> Result<RouterHandle, Refusal> {
    inner.upgrade().map(RouterHandle).ok_or_else(|| Problem::not_found("the router has been stopped").into())
}

fn internal(error: anyhow::Error) -> Refusal {
    Problem::internal(format!("{error:#}")).into()
}

async fn health(State(inner): Shared) -> Answer<api::Health> {
    let handle = handle(&inner)?;
    let configured = handle.config().is_some();
    Ok(Json(api::Health {
        service: "router".to_owned(),
        name: handle.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        ready: configured,
        detail: (!configured).then(|| "it has no configuration yet".to_owned()),
    }))
}

fn current(handle: &RouterHandle) -> api::Router {
    handle.config().unwrap_or_else(|| empty(handle.name()))
}

async fn set(
    handle: &RouterHandle,
    router: &api::Router,
    how: &Change,
) -> Result<api::RouterChanges, Refusal> {
    if router.name != handle.name() {
        let detail =
            format!("this is router {:?}, the configuration is for {:?}", handle.name(), router.name);
        return Err(Problem::invalid("/name", detail).into());
    }
    handle.change_config(router, how).await.map_err(|error| match error.downcast_ref::<FieldError>() {
        Some(field) => Problem::invalid(field.pointer(), field).into(),
        None if error.is::<Stale>() => precondition_failed(error).into(),
        None => internal(error),
    })
}

/// Its ETag is the generation.
async fn config(State(inner): Shared) -> Result<impl IntoResponse, Refusal> {
    let handle = handle(&inner)?;
    Ok((etag(handle.generation()), Json(current(&handle))))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    #[serde(default)]
    dry_run: bool,
}

async fn put_config(
    State(inner): Shared,
    Query(How { dry_run }): Query<How>,
    condition: Condition,
    Body(router): Body<api::Router>,
) -> Result<impl IntoResponse, Refusal> {
    let changes = set(&handle(&inner)?, &router, &Change { condition, dry_run }).await?;
    Ok((etag(changes.generation), Json(changes)))
}

async fn routers(State(inner): Shared) -> Answer<Vec<api::Router>> {
    Ok(Json(vec![current(&handle(&inner)?)]))
}

fn check_name(handle: &RouterHandle, name: &str) -> Result<(), Refusal> {
    match name == handle.name() {
        true => Ok(()),
        false => Err(Problem::not_found(format!("router {name:?}; this is {:?}", handle.name())).into()),
    }
}

async fn named(State(inner): Shared, Path(name): Path<String>) -> Answer<api::Router> {
    let handle = handle(&inner)?;
    check_name(&handle, &name)?;
    Ok(Json(current(&handle)))
}

async fn put_named(
    State(inner): Shared,
    Path(name): Path<String>,
    Body(router): Body<api::Router>,
) -> Answer<api::Router> {
    let handle = handle(&inner)?;
    check_name(&handle, &name)?;
    set(&handle, &router, &Change::default()).await?;
    Ok(Json(router))
}

/// The daemon goes on without a configuration.
async fn delete_named(State(inner): Shared, Path(name): Path<String>) -> Answer<api::Router> {
    let handle = handle(&inner)?;
    check_name(&handle, &name)?;
    let router = empty(handle.name());
    set(&handle, &router, &Change::default()).await?;
    Ok(Json(router))
}

async fn fib(State(inner): Shared) -> Answer<Vec<api::Route>> {
    handle(&inner)?.fib().await.map(Json).map_err(internal)
}

async fn neighbours(State(inner): Shared) -> Answer<Vec<api::Neighbour>> {
    handle(&inner)?.neighbours().await.map(Json).map_err(internal)
}

async fn connections(State(inner): Shared) -> Answer<Vec<api::Connection>> {
    handle(&inner)?.connections().await.map(Json).map_err(internal)
}

async fn bindings(State(inner): Shared) -> Answer<Vec<api::Binding>> {
    handle(&inner)?.bindings().await.map(Json).map_err(internal)
}

async fn firewall(State(inner): Shared) -> Answer<Vec<api::RuleCount>> {
    handle(&inner)?.firewall().await.map(Json).map_err(internal)
}

async fn leases(State(inner): Shared) -> Answer<Vec<api::Lease>> {
    handle(&inner)?.leases().await.map(Json).map_err(internal)
}

async fn drops(State(inner): Shared) -> Answer<Vec<api::Counter>> {
    handle(&inner)?.drops().await.map(Json).map_err(internal)
}

async fn stats(State(inner): Shared) -> Answer<api::Stats> {
    handle(&inner)?.stats().await.map(Json).map_err(internal)
}

async fn mirror(State(inner): Shared, Query(query): Query<MirrorQuery>) -> Result<Response, Refusal> {
    let handle = handle(&inner)?;
    Ok(crate::observe::mirror::answer(&handle.0.plane, handle.0.id, handle.known_ports(), query).await?)
}

async fn trace(State(inner): Shared, Body(wanted): Body<api::TraceRequest>) -> Answer<api::TraceReply> {
    let handle = handle(&inner)?;
    let frame = frame_of_request(&wanted)?;
    let reply = handle.trace(&wanted.port.port, frame).await.map_err(internal)?;
    let reply =
        reply.ok_or_else(|| Problem::invalid("/port", format!("there is no port {}", wanted.port)))?;
    Ok(Json(reply))
}

async fn metrics(State(inner): Shared) -> Result<Response, Refusal> {
    let stats = handle(&inner)?.stats().await.map_err(internal)?;
    Ok(exposition(crate::observe::metrics::text(&[stats])))
}

async fn ports(State(inner): Shared) -> Answer<Vec<api::Port>> {
    handle(&inner)?.ports().await.map(Json).map_err(internal)
}

async fn add_port(State(inner): Shared, Body(port): Body<api::PortAdd>) -> Answer<api::Port> {
    let handle = handle(&inner)?;
    let name = port.name.ok_or_else(|| Problem::invalid("/name", "a router's port needs a name"))?;
    let spec = port.spec.parse().map_err(|error| Problem::invalid("/spec", error))?;
    let number = handle.add_port(&name, spec).await;
    let number = number.map_err(|error| Problem::conflict(format!("{error:#}")))?;
    let ports = handle.ports().await.map_err(internal)?;
    let added = ports.into_iter().find(|p| p.number == number.0);
    added.map(Json).ok_or_else(|| Problem::conflict("the port was removed again at once").into())
}

async fn delete_port(State(inner): Shared, Path(name): Path<String>) -> Answer<Vec<api::Port>> {
    let handle = handle(&inner)?;
    handle.del_port(&name).await.map_err(|error| Problem::not_found(format!("{error:#}")))?;
    handle.ports().await.map(Json).map_err(internal)
}
