//! The REST API, /api/v1. Every handler is described in the OpenAPI document that is served with it.

mod browse;
mod conditional;
mod flows;
mod health;
mod history;
mod intents;
mod network;
mod page;
mod parameters;
mod raw;
mod ryu;
mod watch;

pub(crate) use conditional::etag;
pub(crate) use flows::{flow_of_request, flow_shape};

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use controller_api::Problem;
use openflow::Dpid;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::auth::{self, Gate};
use super::hub::Hub;
use super::problem::Refusal;

/// Longest body of a request, in bytes.
const MAX_BODY: usize = 16 << 20;

type Shared = State<Arc<Hub>>;
type Answer<T> = Result<axum::Json<T>, Refusal>;

#[derive(OpenApi)]
#[openapi(info(
    title = "weft controller",
    description = "Networks, routers, chains and policies are declared; flows follow from them. Errors are RFC 9457 problem details."
))]
struct Document;

/// All routes.
pub fn router(hub: Arc<Hub>, gate: Arc<Gate>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(health::router())
        .merge(network::router())
        .merge(flows::router())
        .merge(raw::router())
        .merge(ryu::router())
        .merge(intents::router())
        .merge(history::router())
        .merge(watch::router())
        .split_for_parts();
    let mut document = serde_json::to_value(&document).unwrap_or_default();
    parameters::complete(&mut document);
    let known = parameters::known(&document);
    // Written once: every connection has a copy of every handler, and of what that holds.
    let document = bytes::Bytes::from(document.to_string());
    let document = move || async move { ([(header::CONTENT_TYPE, "application/json")], document) };
    router
        .route("/", get(browse::page))
        .route("/api/v1/openapi.json", get(document))
        .route("/metrics", get(super::stats::metrics))
        .fallback(no_such_resource)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(known, parameters::check))
        .layer(from_fn(conditional::tagged))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(gate, auth::check))
        .layer(CatchPanicLayer::custom(|_| {
            axum::response::IntoResponse::into_response(Refusal(Problem::internal("a bug: see the log")))
        }))
        .with_state(hub)
}

async fn no_such_resource(uri: Uri) -> Refusal {
    let what = format!("resource {}; GET / shows them, GET /api/v1/openapi.json lists them", uri.path());
    Problem::not_found(what).into()
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let detail = format!("{} cannot be used with {method}", uri.path());
    Problem::new(405, "method", "Method not allowed").with_detail(detail).into()
}

/// The switch that a path names.
fn switch_named(hub: &Hub, name: &str) -> Result<Dpid, Problem> {
    hub.read(|core| {
        let dpid = core.view().find_switch(name);
        // Dpids are read in all spellings people know.
        let dpid = dpid.or_else(|| {
            let dpid = Dpid(name.parse::<controller_api::Dpid>().ok()?.0);
            core.view().switches().contains_key(&dpid).then_some(dpid)
        });
        dpid.ok_or_else(|| {
            let known: Vec<&str> =
                core.view().switches().values().map(|switch| switch.name.as_str()).collect();
            Problem::not_found(format!("switch {name:?}; known are: {}", known.join(", ")))
        })
    })
}
