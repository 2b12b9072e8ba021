//! Networks, routers, functions and chains: read, written and deleted, each with its status.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use controller_api::{Chain, Function, Network, Problem, Router, State as IntentState, Stored};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Body, Name, Query, Refusal};
use crate::controllerd::store::Kind;

/// Longest wait for an intent to be realised.
const WAIT: Duration = Duration::from_secs(10);

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .merge(networks::router())
        .merge(routers::router())
        .merge(functions::router())
        .merge(chains::router())
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Wait {
    /// `realised`: answer when every switch concerned has confirmed, or after ten seconds as it is then.
    #[serde(default)]
    #[param(inline)]
    wait: Option<WaitFor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum WaitFor {
    Realised,
}

fn read<K: Kind>(hub: &Hub, name: &str) -> Result<Stored<K>, Refusal> {
    hub.stored(name).ok_or_else(|| Problem::not_found(format!("{} {name:?}", K::KIND)).into())
}

async fn write<K: Kind>(
    hub: &Arc<Hub>,
    name: String,
    wait: &Wait,
    intent: K,
) -> Result<(StatusCode, Json<Stored<K>>), Refusal> {
    if intent.name() != name {
        let detail = format!("the body says {:?}, the path {name:?}", intent.name());
        return Err(Problem::invalid("/name", detail).into());
    }
    if name.is_empty()
        || name.len() > 63
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        let detail = "a name has 1 to 63 letters, digits, hyphens, underscores and dots, and begins with a letter or digit";
        return Err(Problem::invalid("/name", detail).into());
    }
    let created = hub.stored::<K>(&name).is_none();
    let label = format!("{}/{name}", K::KIND);
    hub.write(&label, |intents| drop(K::of_mut(intents).insert(name.clone(), intent)))?;
    if wait.wait.is_some() {
        let done = |hub: &Hub| {
            hub.stored::<K>(&name).is_none_or(|stored| stored.status.state != IntentState::Pending)
        };
        hub.wait_until(WAIT, done).await;
    }
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(read(hub, &name)?)))
}

fn delete<K: Kind>(hub: &Arc<Hub>, name: &str) -> Result<StatusCode, Refusal> {
    read::<K>(hub, name)?;
    let label = format!("{}/{name}", K::KIND);
    hub.write(&label, |intents| drop(K::of_mut(intents).remove(name)))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The four handlers of a kind of intent.
macro_rules! collection {
    ($module:ident, $type:ident, $tag:literal, $all:literal, $one:literal) => {
        mod $module {
            use super::*;

            // utoipa does not take generic types here.
            type Item = Stored<$type>;

            pub fn router() -> OpenApiRouter<Arc<Hub>> {
                OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, put, remove))
            }

            /// All of them.
            #[utoipa::path(
                get, path = $all, tag = $tag, operation_id = concat!("list_", $tag),
                responses((status = 200, body = Vec<Item>))
            )]
            async fn list(State(hub): Shared) -> Json<Vec<Stored<$type>>> {
                Json(hub.list())
            }

            /// One of them.
            #[utoipa::path(
                get, path = $one, tag = $tag, operation_id = concat!("get_", $tag),
                params(("name", description = "Its name")),
                responses(
                    (status = 200, body = Item),
                    (status = 404, body = Problem, content_type = "application/problem+json")
                )
            )]
            async fn get(State(hub): Shared, Name(name): Name) -> Result<Json<Stored<$type>>, Refusal> {
                read(&hub, &name).map(Json)
            }

            /// Creates or replaces it. Doing so twice changes nothing.
            #[utoipa::path(
                put, path = $one, tag = $tag, operation_id = concat!("put_", $tag), request_body = $type,
                params(("name", description = "Its name"), Wait),
                responses(
                    (status = 200, body = Item),
                    (status = 201, body = Item),
                    (status = 409, description = "It contradicts another intent", body = Problem,
                        content_type = "application/problem+json"),
                    (status = 422, body = Problem, content_type = "application/problem+json")
                )
            )]
            async fn put(
                State(hub): Shared,
                Name(name): Name,
                Query(wait): Query<Wait>,
                Body(intent): Body<$type>,
            ) -> Result<(StatusCode, Json<Stored<$type>>), Refusal> {
                write(&hub, name, &wait, intent).await
            }

            /// Deletes it.
            #[utoipa::path(
                delete, path = $one, tag = $tag, operation_id = concat!("delete_", $tag),
                params(("name", description = "Its name")),
                responses(
                    (status = 204),
                    (status = 404, body = Problem, content_type = "application/problem+json"),
                    (status = 409, description = "Another intent needs it", body = Problem,
                        content_type = "application/problem+json")
                )
            )]
            async fn remove(State(hub): Shared, Name(name): Name) -> Result<StatusCode, Refusal> {
                delete::<$type>(&hub, &name)
            }
        }
    };
}

collection!(networks, Network, "networks", "/api/v1/networks", "/api/v1/networks/{name}");
collection!(routers, Router, "routers", "/api/v1/routers", "/api/v1/routers/{name}");
collection!(functions, Function, "functions", "/api/v1/functions", "/api/v1/functions/{name}");
collection!(chains, Chain, "chains", "/api/v1/chains", "/api/v1/chains/{name}");
