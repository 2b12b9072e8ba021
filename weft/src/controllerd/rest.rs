//! The REST API, /api/v1. Every handler is described in the OpenAPI document that is served with it.

mod flows;
mod intents;
mod network;

pub(crate) use flows::{flow_of_request, flow_shape};

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, Uri};
use axum::routing::get;
use controller_api::{Counter, Health, Problem};
use openflow::Dpid;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::hub::Hub;
use super::problem::{Refusal, known_parameters};

/// Longest body of a request, in bytes.
const MAX_BODY: usize = 16 << 20;

type Shared = State<Arc<Hub>>;
type Answer<T> = Result<axum::Json<T>, Refusal>;

#[derive(OpenApi)]
#[openapi(info(
    title = "weft controller",
    description = "Networks, routers and chains are declared; flows follow from them. Errors are RFC 9457 problem details."
))]
struct Document;

/// All routes.
pub fn router(hub: Arc<Hub>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health))
        .routes(routes!(counters))
        .merge(network::router())
        .merge(flows::router())
        .merge(intents::router())
        .split_for_parts();
    let document = document.to_json().unwrap_or_default();
    let document =
        move || async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], document) };
    router
        .route("/api/v1/openapi.json", get(document))
        .route("/metrics", get(super::stats::metrics))
        .fallback(no_such_resource)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn(known_parameters))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(|_| {
            axum::response::IntoResponse::into_response(Refusal(Problem::internal("a bug: see the log")))
        }))
        .with_state(hub)
}

async fn no_such_resource(uri: Uri) -> Refusal {
    let what = format!("resource {}; GET /api/v1/openapi.json lists them", uri.path());
    Problem::not_found(what).into()
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let detail = format!("{} cannot be used with {method}", uri.path());
    Problem::new(405, "method", "Method not allowed").with_detail(detail).into()
}

/// Whether the controller does its work.
#[utoipa::path(get, path = "/api/v1/health", tag = "controller", responses((status = 200, body = Health)))]
async fn health(State(hub): Shared) -> axum::Json<Health> {
    axum::Json(Health {
        service: "controller".to_owned(),
        name: hub.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        ready: true,
        detail: (!hub.is_realised()).then(|| "not everything that is wanted is confirmed yet".to_owned()),
    })
}

/// What was not done, by reason.
#[utoipa::path(get, path = "/api/v1/counters", tag = "controller", responses((status = 200, body = Vec<Counter>)))]
async fn counters(State(hub): Shared) -> axum::Json<Vec<Counter>> {
    let named = hub.read(|core| core.counters().named());
    axum::Json(named.into_iter().map(|(name, value)| Counter { name: name.to_owned(), value }).collect())
}

/// The switch that a path names.
fn switch_named(hub: &Hub, name: &str) -> Result<Dpid, Problem> {
    hub.read(|core| {
        let dpid = core.view().find_switch(name);
        // Dpids are read in all spellings people know.
        let dpid = dpid.or_else(|| {
            let dpid = Dpid(name.parse::<controller_api::Dpid>().ok()?.0);
            core.view().switches.contains_key(&dpid).then_some(dpid)
        });
        dpid.ok_or_else(|| {
            let known: Vec<&str> = core.view().switches.values().map(|switch| switch.name.as_str()).collect();
            Problem::not_found(format!("switch {name:?}; known are: {}", known.join(", ")))
        })
    })
}
