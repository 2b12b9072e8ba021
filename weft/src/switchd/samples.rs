//! `GET /api/v1/samples`: real frames followed through the switch, a line of JSON for each.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use controller_api::Problem;
use dataplane::{Sample, SampleSpec, Watch};
use serde::Deserialize;

use super::Client;
use super::owner::Request;
use crate::observe::mirror::{Known, selection};

/// Wait while there is no sample.
const PAUSE: Duration = Duration::from_millis(20);

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// One frame in this many, of each worker.
    #[serde(default = "one")]
    every: u64,
    /// How many to follow; absent: until the reader goes away.
    count: Option<u64>,
    /// Matches, one a line; none: every frame.
    #[serde(rename = "match", default)]
    matching: String,
    /// Ports they come by, separated by commas; none: all.
    #[serde(default)]
    port: String,
}

fn one() -> u64 {
    1
}

struct Session {
    client: Client,
    watch: Watch<Sample>,
    left: Option<u64>,
}

/// Begins to follow frames and answers with what becomes of them.
///
/// # Errors
/// A port that is not there, or a match that cannot be read.
pub async fn answer(client: Client, query: Query) -> Result<Response, Problem> {
    if query.every == 0 {
        return Err(Problem::invalid("/every", "one frame in at least 1"));
    }
    let known: Vec<Known> = client.ask(Request::Ports).await?.iter().map(super::api::known_port).collect();
    let selection = selection(&query.port, &query.matching, &known)?;
    let spec = SampleSpec { selection, every: query.every };
    let watch = client.ask(|reply| Request::Sample { spec, reply }).await?;
    let session = Session { client, watch, left: query.count };
    let stream = futures_util::stream::unfold(session, |mut session| async move {
        let lines = session.next().await?;
        Some((Ok::<_, Infallible>(lines), session))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

impl Session {
    /// The next lines; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.left == Some(0) || self.watch.is_over() {
                return None;
            }
            let mut samples = Vec::new();
            self.watch.drain(|sample| samples.push(sample));
            let mut lines = Vec::new();
            for Sample { followed, .. } in samples {
                if self.left == Some(0) {
                    break;
                }
                self.left = self.left.map(|left| left - 1);
                let trace = self.client.ask(|reply| Request::Tell { followed, reply }).await.ok()?;
                let reply = super::api::trace_shape(&self.client.spec.name, &trace);
                lines.extend(serde_json::to_vec(&reply).ok()?);
                lines.push(b'\n');
            }
            if !lines.is_empty() {
                return Some(lines.into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
