//! Networks, routers, functions, chains, policies, rates and queues: read, written and deleted, each with its status.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use controller_api::{
    Balancer, Chain, Forecast, Function, Label, Mirror, Network, Path, Policy, PortRef, Problem, Qos, Router,
    State as IntentState, Stored, Tenant,
};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::conditional::etag;
use super::page::{Page, Part};
use crate::controllerd::auth::Caller;
use crate::controllerd::edit::{Condition, Edit, Origin, Step};
use crate::controllerd::hub::Hub;
use crate::controllerd::intents::Kind;
use crate::controllerd::problem::{Body, Name, Query, Refusal};

/// Longest wait for an intent to be realised.
const WAIT: Duration = Duration::from_secs(10);

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .merge(networks::router())
        .merge(routers::router())
        .merge(functions::router())
        .merge(chains::router())
        .merge(policies::router())
        .merge(qos::router())
        .merge(paths::router())
        .merge(mirrors::router())
        .merge(balancers::router())
        .merge(tenants::router())
}

/// How a write is done.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct How {
    /// `realised`: answer when every switch concerned has confirmed, or after ten seconds as it is then.
    #[serde(default)]
    #[param(inline)]
    wait: Option<WaitFor>,
    /// Change nothing: answer what would happen.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum WaitFor {
    Realised,
}

/// Which intents are wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Select {
    /// Only those in this state.
    #[serde(default)]
    #[param(inline)]
    state: Option<IntentState>,
    /// Only those that name this port, as it is written there.
    #[serde(default)]
    port: Option<PortRef>,
    /// Most of them; the next ones are behind the `Link` header. Without it all.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Where to go on, from the `Link` header of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

/// A forecast instead of what a write answers otherwise.
pub struct Foretold(pub Forecast);

impl IntoResponse for Foretold {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        ([(axum::http::header::CONTENT_TYPE, "application/vnd.weft.forecast+json")], body).into_response()
    }
}

/// Carries out a write, or foretells it; `answer` makes the answer to the former.
pub async fn carry_out<R: IntoResponse>(
    hub: &Arc<Hub>,
    how: &How,
    (edit, origin): (Edit, Origin),
    answer: impl FnOnce(controller_api::Written) -> Result<R, Refusal>,
) -> Result<Response, Refusal> {
    if how.dry_run {
        let hub = hub.clone();
        let forecast = tokio::task::spawn_blocking(move || hub.forecast(edit)).await;
        let forecast = forecast.map_err(|_| Problem::internal("a bug: see the log"))??;
        return Ok(Foretold(forecast).into_response());
    }
    let written = hub.write(edit, origin).await?;
    if how.wait.is_some() {
        let generation = hub.read(|core| core.blueprint().generation);
        let settled = |hub: &Hub| {
            hub.read(|core| core.is_confirmed(generation))
                && written.changed.iter().all(|it| !is_pending(hub, it))
        };
        hub.wait_until(WAIT, settled).await;
    }
    answer(written).map(IntoResponse::into_response)
}

/// Whether something is still under way for an intent.
fn is_pending(hub: &Hub, label: &Label) -> bool {
    fn of<K: Kind>(hub: &Hub, name: &str) -> bool {
        hub.stored::<K>(name).is_some_and(|(_, stored)| stored.status.state == IntentState::Pending)
    }
    use controller_api::ResourceKind::{
        Balancer as B, Chain as C, Function as F, Mirror as M, Network as N, Path as W, Policy as P,
        Qos as Q, Router as R, Tenant as T,
    };
    match label.kind {
        N => of::<Network>(hub, &label.name),
        R => of::<Router>(hub, &label.name),
        F => of::<Function>(hub, &label.name),
        C => of::<Chain>(hub, &label.name),
        P => of::<Policy>(hub, &label.name),
        Q => of::<Qos>(hub, &label.name),
        W => of::<Path>(hub, &label.name),
        M => of::<Mirror>(hub, &label.name),
        B => of::<Balancer>(hub, &label.name),
        T => of::<Tenant>(hub, &label.name),
    }
}

fn read<K: Kind>(hub: &Hub, name: &str) -> Result<impl IntoResponse + use<K>, Refusal>
where
    Stored<K>: serde::Serialize,
{
    let found = hub.stored::<K>(name);
    let (revision, stored) = found.ok_or_else(|| Problem::not_found(format!("{} {name:?}", K::KIND)))?;
    Ok((etag(revision), Json(stored)))
}

fn list<K: Kind>(hub: &Hub, caller: &Caller, uri: &Uri, select: &Select) -> Result<Page<Stored<K>>, Refusal> {
    let part = Part::new(uri, select.limit, select.cursor.as_deref(), usize::MAX)?;
    let port = select.port.as_ref().map(PortRef::to_string);
    let wanted = |spec: &K| {
        caller.sees(spec.name())
            && part.after().is_none_or(|after| spec.name() > after)
            && port.as_ref().is_none_or(|port| spec.ports().contains(port))
    };
    let found = hub.list(wanted).into_iter();
    let found = found.filter(|stored| select.state.is_none_or(|state| stored.status.state == state));
    Ok(part.of(found.map(|stored| (stored.spec.name().to_owned(), stored))))
}

fn step<K: Kind>(name: &str, to: Option<K>, condition: Condition) -> Edit {
    let label = Label { kind: K::KIND, name: name.to_owned() };
    let step = Step { label, to: to.map(K::resource), condition, pointer: String::new() };
    Edit { steps: vec![step], replace: false, condition: Condition::Always }
}

async fn write<K: Kind>(
    hub: &Arc<Hub>,
    how: &How,
    (name, intent): (String, K),
    (condition, origin): (Condition, Origin),
) -> Result<Response, Refusal>
where
    Stored<K>: serde::Serialize,
{
    if intent.name() != name {
        let detail = format!("the body says {:?}, the path {name:?}", intent.name());
        return Err(Problem::invalid("/name", detail).into());
    }
    let created = hub.stored::<K>(&name).is_none();
    let edit = step(&name, Some(intent), condition);
    carry_out(hub, how, (edit, origin), |_| {
        let status = if created { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, read::<K>(hub, &name)?))
    })
    .await
}

async fn delete<K: Kind>(
    hub: &Arc<Hub>,
    how: &How,
    name: &str,
    (condition, origin): (Condition, Origin),
) -> Result<Response, Refusal> {
    carry_out(hub, how, (step::<K>(name, None, condition), origin), |_| Ok(StatusCode::NO_CONTENT)).await
}

/// The four handlers of a kind of intent.
macro_rules! collection {
    ($module:ident, $type:ident, $tag:literal, $all:literal, $one:literal) => {
        mod $module {
            use super::*;

            // utoipa does not take generic types here.
            type Item = Stored<$type>;

            pub fn router() -> OpenApiRouter<Arc<Hub>> {
                OpenApiRouter::new().routes(routes!(all)).routes(routes!(get, put, remove))
            }

            /// All of them, or a part.
            #[utoipa::path(
                get, path = $all, tag = $tag, operation_id = concat!("list_", $tag), params(Select),
                responses((status = 200, body = Vec<Item>))
            )]
            async fn all(
                State(hub): Shared,
                caller: Caller,
                uri: Uri,
                Query(select): Query<Select>,
            ) -> Result<Page<Stored<$type>>, Refusal> {
                list(&hub, &caller, &uri, &select)
            }

            /// One of them. The ETag begins with the revision that changed it last.
            #[utoipa::path(
                get, path = $one, tag = $tag, operation_id = concat!("get_", $tag),
                params(("name", description = "Its name")),
                responses(
                    (status = 200, body = Item),
                    (status = 404, body = Problem, content_type = "application/problem+json")
                )
            )]
            async fn get(State(hub): Shared, Name(name): Name) -> Result<Response, Refusal> {
                read::<$type>(&hub, &name).map(IntoResponse::into_response)
            }

            /// Creates or replaces it. Doing so twice changes nothing.
            #[utoipa::path(
                put, path = $one, tag = $tag, operation_id = concat!("put_", $tag), request_body = $type,
                params(
                    ("name", description = "Its name"), How,
                    ("If-Match" = Option<String>, Header, description = "Only as it was then: an ETag, or * if it exists"),
                    ("If-None-Match" = Option<String>, Header, description = "*: only if it does not exist"),
                ),
                responses(
                    (status = 200, content(
                        (Item = "application/json"), (Forecast = "application/vnd.weft.forecast+json")
                    )),
                    (status = 201, body = Item),
                    (status = 409, description = "It contradicts another intent", body = Problem,
                        content_type = "application/problem+json"),
                    (status = 412, description = "It has changed meanwhile", body = Problem,
                        content_type = "application/problem+json"),
                    (status = 422, body = Problem, content_type = "application/problem+json")
                )
            )]
            async fn put(
                State(hub): Shared,
                Name(name): Name,
                Query(how): Query<How>,
                condition: Condition,
                origin: Origin,
                Body(intent): Body<$type>,
            ) -> Result<Response, Refusal> {
                write(&hub, &how, (name, intent), (condition, origin)).await
            }

            /// Deletes it.
            #[utoipa::path(
                delete, path = $one, tag = $tag, operation_id = concat!("delete_", $tag),
                params(
                    ("name", description = "Its name"), How,
                    ("If-Match" = Option<String>, Header, description = "Only as it was then: an ETag, or *"),
                ),
                responses(
                    (status = 200, body = Forecast, content_type = "application/vnd.weft.forecast+json"),
                    (status = 204),
                    (status = 404, body = Problem, content_type = "application/problem+json"),
                    (status = 409, description = "Another intent needs it", body = Problem,
                        content_type = "application/problem+json"),
                    (status = 412, description = "It has changed meanwhile", body = Problem,
                        content_type = "application/problem+json")
                )
            )]
            async fn remove(
                State(hub): Shared,
                Name(name): Name,
                Query(how): Query<How>,
                condition: Condition,
                origin: Origin,
            ) -> Result<Response, Refusal> {
                delete::<$type>(&hub, &how, &name, (condition, origin)).await
            }
        }
    };
}

collection!(networks, Network, "networks", "/api/v1/networks", "/api/v1/networks/{name}");
collection!(routers, Router, "routers", "/api/v1/routers", "/api/v1/routers/{name}");
collection!(functions, Function, "functions", "/api/v1/functions", "/api/v1/functions/{name}");
collection!(chains, Chain, "chains", "/api/v1/chains", "/api/v1/chains/{name}");
collection!(policies, Policy, "policies", "/api/v1/policies", "/api/v1/policies/{name}");
collection!(qos, Qos, "qos", "/api/v1/qos", "/api/v1/qos/{name}");
collection!(paths, Path, "paths", "/api/v1/paths", "/api/v1/paths/{name}");
collection!(mirrors, Mirror, "mirrors", "/api/v1/mirrors", "/api/v1/mirrors/{name}");
collection!(balancers, Balancer, "balancers", "/api/v1/balancers", "/api/v1/balancers/{name}");
collection!(tenants, Tenant, "tenants", "/api/v1/tenants", "/api/v1/tenants/{name}");
