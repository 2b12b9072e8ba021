//! Changes of what is declared, as they happen (server-sent events).
//!
//! A reader takes them from the store at its own pace: what it has not read is kept there and nowhere else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use controller_api::{Label, Problem, ResourceKind, Revision, WatchEvent};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use crate::controllerd::hub::Hub;
use crate::controllerd::problem::{Query, Refusal};

/// Most readers at a time.
const MAX_READERS: usize = 256;
/// Intents, or revisions, that are fetched at a time for one reader.
const FETCH: usize = 16;

pub fn router() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// What is wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Changes after this revision. Without it what is declared comes first, then `synced`, then changes.
    #[serde(default)]
    since: Option<u64>,
    /// Only intents of this kind.
    #[serde(default)]
    #[param(inline)]
    kind: Option<ResourceKind>,
}

/// Changes as they happen: events `put` and `delete`, `synced` once after what is there already, `gone` as the last one
/// if revisions were dropped that were not read yet. The id of an event is a revision to go on from, in `since` or
/// in the header Last-Event-ID.
#[utoipa::path(
    get, path = "/api/v1/watch", tag = "intents",
    params(Wish, ("Last-Event-ID" = Option<u64>, Header, description = "As `since`, which comes first")),
    responses(
        (status = 200, body = WatchEvent, content_type = "text/event-stream"),
        (status = 410, description = "The revisions are not kept any more", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many readers", body = Problem, content_type = "application/problem+json")
    )
)]
async fn follow(
    State(hub): Shared,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    static PLACES: Semaphore = Semaphore::const_new(MAX_READERS);
    let place = PLACES.try_acquire().map_err(|_| {
        Problem::new(503, "busy", "Too many readers").with_detail(format!("{MAX_READERS} watch already"))
    })?;
    let last_id = headers.get("last-event-id").map(|id| {
        let number = id.to_str().ok().and_then(|id| id.parse().ok());
        number.ok_or_else(|| Problem::bad_request("Last-Event-ID is not a revision"))
    });
    let since = match (wish.since, last_id.transpose()?) {
        (Some(since), _) | (None, Some(since)) => Some(check(&hub, since).await?),
        (None, None) => None,
    };
    let revisions = hub.revisions();
    let now = hub.declared(|declared| declared.revision);
    let reader = Reader {
        hub,
        kind: wish.kind,
        last: since.unwrap_or(now),
        listing: if since.is_some() { None } else { Some(None) },
        ready: VecDeque::new(),
        revisions,
        over: false,
        _place: place,
    };
    Ok(Sse::new(stream::unfold(reader, Reader::next)).keep_alive(KeepAlive::default()).into_response())
}

/// That changes after `since` can be had.
async fn check(hub: &Hub, since: u64) -> Result<u64, Problem> {
    let latest = hub.declared(|declared| declared.revision);
    if since > latest {
        return Err(Problem::bad_request(format!("since is {since}, the latest revision {latest}")));
    }
    let next = hub.in_store(move |store| store.revisions_after(since, 1)).await?;
    match next.first() {
        Some(next) if next.revision != since + 1 => {
            let detail = format!("the oldest revision that is kept is {}", next.revision);
            Err(Problem::new(410, "gone", "The revisions are not kept any more").with_detail(detail))
        }
        _ => Ok(since),
    }
}

struct Reader {
    hub: Arc<Hub>,
    kind: Option<ResourceKind>,
    /// The revision read last.
    last: u64,
    /// What is declared is being read; the last one of it.
    listing: Option<Option<Label>>,
    ready: VecDeque<Event>,
    revisions: watch::Receiver<u64>,
    over: bool,
    _place: SemaphorePermit<'static>,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.over {
                return None;
            }
            if self.listing.is_some() {
                self.list();
                continue;
            }
            self.revisions.mark_unchanged();
            let last = self.last;
            let found = self.hub.in_store(move |store| store.revisions_after(last, FETCH)).await.ok()?;
            if found.is_empty() {
                let closed = self.hub.closed();
                tokio::select! {
                    changed = self.revisions.changed() => changed.ok()?,
                    () = closed => return None,
                }
            }
            found.into_iter().for_each(|revision| self.take(revision));
        }
    }

    fn wanted(&self, label: &Label) -> bool {
        self.kind.is_none_or(|kind| kind == label.kind)
    }

    /// Some of what is declared. What changes meanwhile comes again, as a change.
    fn list(&mut self) {
        let after = self.listing.take().flatten();
        let found: Vec<WatchEvent> = self.hub.declared(|declared| {
            let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            let some = declared.revisions.range((from, std::ops::Bound::Unbounded));
            let event = |(label, revision): (&Label, &u64)| WatchEvent {
                revision: *revision,
                intent: label.clone(),
                spec: declared.intents.get(label),
            };
            some.filter(|(label, _)| self.wanted(label)).take(FETCH).map(event).collect()
        });
        match found.last() {
            Some(last) => self.listing = Some(Some(last.intent.clone())),
            None => {
                self.ready.push_back(Event::default().event("synced").id(self.last.to_string()).data("{}"))
            }
        }
        self.ready.extend(found.iter().map(event));
    }

    fn take(&mut self, revision: Revision) {
        if self.over {
            return;
        }
        if revision.revision != self.last + 1 {
            self.over = true;
            self.ready.push_back(Event::default().event("gone").data("{}"));
            return;
        }
        self.last = revision.revision;
        let number = revision.revision;
        let wanted = revision.changes.into_iter().filter(|change| self.wanted(&change.intent));
        let events: Vec<WatchEvent> = wanted
            .map(|change| WatchEvent { revision: number, intent: change.intent, spec: change.after })
            .collect();
        let n_events = events.len();
        // Whoever goes on from an id has all of that revision, so only its last event has it.
        let with_id =
            |(idx, it)| if idx + 1 == n_events { event(it).id(number.to_string()) } else { event(it) };
        self.ready.extend(events.iter().enumerate().map(with_id));
    }
}

fn event(change: &WatchEvent) -> Event {
    let name = if change.spec.is_some() { "put" } else { "delete" };
    Event::default().event(name).data(serde_json::to_string(change).unwrap_or_default())
}
