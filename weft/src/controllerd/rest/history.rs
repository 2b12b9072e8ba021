//! What is declared as a whole: several intents at once, all of them, and every revision of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use controller_api::{AuditEntry, Batch, Declaration, Forecast, Operation, Problem, Revision, Written};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::conditional::etag;
use super::intents::{How, carry_out};
use super::page::{Page, Paging, Part};
use crate::controllerd::edit::{Condition, Edit, Origin, Step};
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Body, Number, Query, Refusal};

/// Most operations of a batch.
const MAX_OPERATIONS: usize = 10_000;
/// Items of a page if no limit is given.
const PAGE: usize = 100;

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .routes(routes!(batch))
        .routes(routes!(declared, declare))
        .routes(routes!(revisions))
        .routes(routes!(revision))
        .routes(routes!(revision_intents))
        .routes(routes!(rollback))
        .routes(routes!(audit))
}

/// Changes several intents, all or nothing, in one revision.
#[utoipa::path(
    post, path = "/api/v1/batch", tag = "intents", request_body = Batch, params(How),
    responses(
        (status = 200, content((Written = "application/json"), (Forecast = "application/vnd.weft.forecast+json"))),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 16 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")
    )
)]
async fn batch(
    State(hub): Shared,
    Query(how): Query<How>,
    origin: Origin,
    Body(batch): Body<Batch>,
) -> Result<Response, Refusal> {
    let n_operations = batch.operations.len();
    if n_operations > MAX_OPERATIONS {
        let detail = format!("{n_operations} operations; a batch has at most {MAX_OPERATIONS}");
        return Err(Problem::invalid("/operations", detail).into());
    }
    let steps = batch.operations.into_iter().enumerate().map(|(idx, operation)| step(idx, operation));
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    let edit = Edit { steps, replace: false, condition: Condition::Always };
    carry_out(&hub, &how, (edit, origin), |written| Ok(Json(written))).await
}

fn step(idx: usize, operation: Operation) -> Result<Step, Problem> {
    let at = format!("/operations/{idx}");
    let condition = match operation.if_revision {
        Some(revision) => Condition::Revision(vec![revision]),
        None => Condition::Always,
    };
    match (operation.put, operation.delete) {
        (Some(resource), None) => {
            let (label, pointer) = (resource.label(), format!("{at}/put/{}", resource.kind()));
            Ok(Step { label, to: Some(resource), condition, pointer })
        }
        (None, Some(label)) => Ok(Step { label, to: None, condition, pointer: format!("{at}/delete") }),
        _ => Err(Problem::invalid(at, "an operation has either `put` or `delete`")),
    }
}

/// Everything that is declared. The ETag begins with the latest revision.
#[utoipa::path(get, path = "/api/v1/intents", tag = "intents", responses((status = 200, body = Declaration)))]
async fn declared(State(hub): Shared) -> impl IntoResponse {
    let (revision, all) = hub.declared(|declared| (declared.revision, declared.intents.declaration()));
    (etag(revision), Json(all))
}

/// Declares this and nothing else, all or nothing, in one revision.
#[utoipa::path(
    put, path = "/api/v1/intents", tag = "intents", request_body = Declaration,
    params(How, ("If-Match" = Option<String>, Header, description = "Only as it was then: the ETag")),
    responses(
        (status = 200, content((Written = "application/json"), (Forecast = "application/vnd.weft.forecast+json"))),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")
    )
)]
async fn declare(
    State(hub): Shared,
    Query(how): Query<How>,
    condition: Condition,
    origin: Origin,
    Body(all): Body<Declaration>,
) -> Result<Response, Refusal> {
    carry_out(&hub, &how, (replacement(all, condition), origin), |written| Ok(Json(written))).await
}

/// A write after which there is nothing but this.
fn replacement(all: Declaration, condition: Condition) -> Edit {
    let mut counts = std::collections::BTreeMap::new();
    let steps = all.into_resources().map(|resource| {
        let kind = resource.kind();
        let idx = counts.entry(kind).or_insert(0usize);
        let pointer = format!("/{}/{idx}", kind.collection());
        *idx += 1;
        Step { label: resource.label(), to: Some(resource), condition: Condition::Always, pointer }
    });
    Edit { steps: steps.collect(), replace: true, condition }
}

/// The part that is wanted of a list by number, newest first, and the number it begins below.
fn newest<'a>(uri: &'a Uri, paging: &Paging) -> Result<(Part<'a>, u64), Problem> {
    let part = Part::new(uri, paging.limit, paging.cursor.as_deref(), PAGE)?;
    let before = match part.after() {
        Some(text) => text.parse().map_err(|_| Problem::bad_request("the cursor is of another list"))?,
        None => u64::MAX,
    };
    Ok((part, before))
}

/// The revisions, newest first.
#[utoipa::path(
    get, path = "/api/v1/revisions", tag = "intents", params(Paging),
    responses((status = 200, body = Vec<Revision>))
)]
async fn revisions(
    State(hub): Shared,
    uri: Uri,
    Query(paging): Query<Paging>,
) -> Result<Page<Revision>, Refusal> {
    let (part, before) = newest(&uri, &paging)?;
    let limit = part.limit();
    let found = hub.in_store(move |store| store.revisions_before(before, limit)).await?;
    let last = found.last().filter(|last| found.len() == limit && last.revision > 1);
    let last = last.map(|last| last.revision.to_string());
    Ok(part.made(found, last))
}

fn no_revision(number: u64) -> Problem {
    Problem::not_found(format!("revision {number}, or it is not kept any more"))
}

/// One revision: what it changed.
#[utoipa::path(
    get, path = "/api/v1/revisions/{revision}", tag = "intents",
    params(("revision" = u64, Path, description = "Its number")),
    responses((status = 200, body = Revision), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
async fn revision(State(hub): Shared, Number(number): Number) -> Result<Json<Revision>, Refusal> {
    let found = hub.in_store(move |store| store.revisions_after(number.saturating_sub(1), 1)).await?;
    let found = found.into_iter().find(|found| found.revision == number);
    Ok(Json(found.ok_or_else(|| no_revision(number))?))
}

/// What was declared as of a revision.
#[utoipa::path(
    get, path = "/api/v1/revisions/{revision}/intents", tag = "intents",
    params(("revision" = u64, Path, description = "Its number; 0: before the first")),
    responses((status = 200, body = Declaration), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
async fn revision_intents(State(hub): Shared, Number(number): Number) -> Result<Json<Declaration>, Refusal> {
    Ok(Json(as_of(&hub, number).await?))
}

async fn as_of(hub: &Hub, number: u64) -> Result<Declaration, Problem> {
    let found = hub.in_store(move |store| store.as_of(number)).await?;
    found.map(|intents| intents.declaration()).ok_or_else(|| no_revision(number))
}

/// Declares again what was declared as of a revision, as a new revision.
#[utoipa::path(
    post, path = "/api/v1/revisions/{revision}/rollback", tag = "intents",
    params(
        ("revision" = u64, Path, description = "Its number; 0: before the first"), How,
        ("If-Match" = Option<String>, Header, description = "Only if the ETag of /api/v1/intents is this"),
    ),
    responses(
        (status = 200, content((Written = "application/json"), (Forecast = "application/vnd.weft.forecast+json"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json")
    )
)]
async fn rollback(
    State(hub): Shared,
    Number(number): Number,
    Query(how): Query<How>,
    condition: Condition,
    origin: Origin,
) -> Result<Response, Refusal> {
    let all = as_of(&hub, number).await?;
    carry_out(&hub, &how, (replacement(all, condition), origin), |written| Ok(Json(written))).await
}

/// Every write that was accepted, newest first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "controller", params(Paging),
    responses((status = 200, body = Vec<AuditEntry>))
)]
async fn audit(
    State(hub): Shared,
    uri: Uri,
    Query(paging): Query<Paging>,
) -> Result<Page<AuditEntry>, Refusal> {
    let (part, before) = newest(&uri, &paging)?;
    let limit = part.limit();
    let found = hub.in_store(move |store| store.audit_before(before, limit)).await?;
    let last = found.last().filter(|last| found.len() == limit && last.entry > 1);
    let last = last.map(|last| last.entry.to_string());
    Ok(part.made(found, last))
}
