//! ETags, and requests that depend on them (RFC 9110 §13).
//!
//! The ETag of an intent is `"REVISION.DIGEST"`: the revision that changed it last, and a digest of the whole answer,
//! which has the status, too. If-Match looks at the revision: a status that moves on is no reason to refuse a change.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use controller_api::Problem;

use crate::controllerd::edit::Condition;
use crate::controllerd::problem::Refusal;

impl<S: Send + Sync> FromRequestParts<S> for Condition {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(condition(&parts.headers)?)
    }
}

fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    match (tags(headers, header::IF_MATCH)?, tags(headers, header::IF_NONE_MATCH)?) {
        (Some(_), Some(_)) => Err(Problem::bad_request("If-Match and If-None-Match exclude each other")),
        (Some(tags), None) if tags == ["*"] => Ok(Condition::Exists),
        (Some(tags), None) => {
            // Tags that are not of this API stand for states that never were.
            let revision = |tag: &String| tag.trim_matches('"').split('.').next()?.parse().ok();
            Ok(Condition::Revision(tags.iter().filter_map(revision).collect()))
        }
        (None, Some(tags)) if tags == ["*"] => Ok(Condition::Absent),
        (None, Some(_)) => Err(Problem::bad_request("of If-None-Match a write takes \"*\" only")),
        (None, None) => Ok(Condition::Always),
    }
}

/// The tags of a header, with their quotes. Weak ones stay as they are: they match nothing (§8.8.3.2).
fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Vec<String>>, Problem> {
    let mut tags = Vec::new();
    for value in headers.get_all(&name) {
        let wrong = || Problem::bad_request(format!("{name} wants \"*\" or ETags in quotes"));
        for tag in
            value.to_str().map_err(|_| wrong())?.split(',').map(str::trim).filter(|tag| !tag.is_empty())
        {
            let strong = tag.strip_prefix("W/").unwrap_or(tag);
            let quoted = strong.len() >= 2 && strong.starts_with('"') && strong.ends_with('"');
            if tag != "*" && !quoted {
                return Err(wrong());
            }
            tags.push(tag.to_owned());
        }
    }
    Ok((!tags.is_empty()).then_some(tags))
}

/// The ETag of something that a revision changed last. [`tagged`] adds the digest.
pub fn etag(revision: u64) -> [(HeaderName, HeaderValue); 1] {
    let tag = HeaderValue::try_from(format!("\"{revision}\""));
    [(header::ETAG, tag.unwrap_or(HeaderValue::from_static("\"0\"")))]
}

/// Gives every JSON answer to a GET its ETag, and leaves out what the client has already.
pub async fn tagged(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = if is_read { tags(request.headers(), header::IF_NONE_MATCH) } else { Ok(None) };
    let known = match known {
        Ok(known) => known,
        Err(problem) => return Refusal(problem).into_response(),
    };
    let response = next.run(request).await;
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !is_json || !response.status().is_success() {
        return response;
    }
    // Every JSON answer is whole in memory already.
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Refusal(Problem::internal("an answer without an end")).into_response();
    };
    let mut digest = DefaultHasher::new();
    bytes.hash(&mut digest);
    let digest = digest.finish();
    let revision = parts.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let tag = match revision {
        Some(revision) => format!("\"{}.{digest:016x}\"", revision.trim_matches('"')),
        None => format!("\"{digest:016x}\""),
    };
    // §13.1.2: weak comparison.
    let same = |known: &String| known == "*" || known.trim_start_matches("W/") == tag;
    let unchanged = known.is_some_and(|known| known.iter().any(same));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if unchanged {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: HeaderName, value: &'static str) -> Result<Condition, u16> {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        condition(&headers).map_err(|problem| problem.status)
    }

    #[test]
    fn conditions_are_read_from_the_headers() {
        use Condition::{Absent, Always, Exists, Revision};
        assert_eq!(condition(&HeaderMap::new()).map_err(|p| p.status), Ok(Always));
        assert_eq!(of(header::IF_MATCH, "*"), Ok(Exists));
        assert_eq!(of(header::IF_MATCH, "\"7\""), Ok(Revision(vec![7])));
        assert_eq!(of(header::IF_MATCH, "\"7.0a\", \"9\""), Ok(Revision(vec![7, 9])));
        assert_eq!(of(header::IF_MATCH, "W/\"7\""), Ok(Revision(vec![])), "weak tags match nothing");
        assert_eq!(of(header::IF_MATCH, "\"x\""), Ok(Revision(vec![])));
        assert_eq!(of(header::IF_NONE_MATCH, "*"), Ok(Absent));
        for (name, value) in
            [(header::IF_MATCH, "7"), (header::IF_NONE_MATCH, "\"7\""), (header::IF_MATCH, "\"")]
        {
            assert_eq!(of(name, value), Err(400), "{value}");
        }
    }
}
