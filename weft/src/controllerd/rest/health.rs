//! Whether the controller lives, whether it does its work, and what it counts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use controller_api::{Counter, Health, Problem};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::Refusal;

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(alive))
        .routes(routes!(ready))
        .routes(routes!(counters))
}

/// Whether the controller does its work.
#[utoipa::path(get, path = "/api/v1/health", tag = "controller", responses((status = 200, body = Health)))]
async fn health(State(hub): Shared) -> Json<Health> {
    let realised = hub.is_realised();
    Json(Health {
        service: "controller".to_owned(),
        name: hub.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        ready: true,
        detail: (!realised).then(|| "not everything that is wanted is confirmed yet".to_owned()),
    })
}

/// The process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "controller", responses((status = 200, body = String, content_type = "text/plain"))
)]
async fn alive() -> &'static str {
    "ok\n"
}

/// Writes are taken: the store can be written.
#[utoipa::path(
    get, path = "/readyz", tag = "controller",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 503, description = "The store cannot be written", body = Problem,
            content_type = "application/problem+json")
    )
)]
async fn ready(State(hub): Shared) -> Result<&'static str, Refusal> {
    hub.in_store(|store| store.check()).await?;
    Ok("ok\n")
}

/// What was not done, by reason.
#[utoipa::path(get, path = "/api/v1/counters", tag = "controller", responses((status = 200, body = Vec<Counter>)))]
async fn counters(State(hub): Shared) -> Json<Vec<Counter>> {
    let named = hub.read(|core| core.counters().named());
    Json(named.into_iter().map(|(name, value)| Counter { name: name.to_owned(), value }).collect())
}
