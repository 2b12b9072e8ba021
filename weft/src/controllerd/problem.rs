//! Errors of the API as answers, bodies and paths as arguments.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use controller_api::Problem;
use serde::de::DeserializeOwned;

use super::auth::Caller;
use super::edit::Origin;

/// A problem as an answer.
#[derive(Debug)]
pub struct Refusal(pub Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

/// The body of a request as JSON. What is wrong with it is named with a pointer to the field.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        Ok(Self(read_json(&bytes_of(request, state).await?)?))
    }
}

async fn bytes_of<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let status = rejection.status().as_u16();
        Problem::new(status, "body", "The body cannot be read").with_detail(rejection.body_text())
    })
}

/// The body of a request as any JSON object; nothing at all is an empty one.
#[derive(Debug)]
pub struct Loose(pub serde_json::Value);

impl<S: Send + Sync> FromRequest<S> for Loose {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = bytes_of(request, state).await?;
        let is_empty = bytes.iter().all(u8::is_ascii_whitespace);
        let value = if is_empty { serde_json::json!({}) } else { read_json(&bytes)? };
        match value {
            serde_json::Value::Object(_) => Ok(Self(value)),
            _ => Err(Problem::invalid("", "expected a JSON object").into()),
        }
    }
}

/// The query of a request. What is wrong with it is a problem, too.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text()).into()),
        }
    }
}

/// Refuses parameters that a resource does not have.
///
/// # Errors
/// 400 with the name of the parameter.
pub async fn known_parameters(request: Request, next: axum::middleware::Next) -> Result<Response, Refusal> {
    let uri = request.uri();
    let has = |name: &str| match name {
        "match" => uri.path().ends_with("/flows") || uri.path().ends_with("/samples"),
        "port" | "count" => ["/mirror", "/samples"].iter().any(|end| uri.path().ends_with(end)),
        "flow" | "direction" | "snaplen" => uri.path().ends_with("/mirror"),
        "every" => uri.path().ends_with("/samples"),
        "dry_run" => uri.path().ends_with("/config"),
        _ => false,
    };
    let names = uri.query().into_iter().flat_map(|query| query.split('&'));
    let mut names = names.map(|pair| pair.split('=').next().unwrap_or(pair)).filter(|name| !name.is_empty());
    match names.find(|name| !has(name)) {
        Some(name) => {
            let detail = format!("{} has no parameter \"{name}\"", uri.path());
            Err(Problem::bad_request(detail).into())
        }
        None => Ok(next.run(request).await),
    }
}

/// The variable part of a path. What is not UTF-8 in there is a problem, too.
#[derive(Debug)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(name)) => Ok(Self(name)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text()).into()),
        }
    }
}

/// The variable parts of a path. What is not UTF-8 in there is a problem, too.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(variables)) => Ok(Self(variables)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text()).into()),
        }
    }
}

/// The variable part of a path, if it is a number.
#[derive(Debug)]
pub struct Number(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Name(name) = Name::from_request_parts(parts, state).await?;
        let number = name.parse().map_err(|_| Problem::not_found(format!("number {name:?}")))?;
        Ok(Self(number))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let by = parts.extensions.get::<Caller>().cloned().unwrap_or_default().name;
        Ok(Self { by, request: format!("{} {}", parts.method, parts.uri) })
    }
}

/// Reads JSON; the problem of a failure has the pointer.
pub fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer_to(error.path());
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => Problem::invalid(pointer, inner),
            _ => Problem::bad_request(inner),
        }
    })?;
    reader.end().map_err(Problem::bad_request)?;
    Ok(value)
}

/// RFC 6901.
fn pointer_to(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use controller_api::Router;

    #[test]
    fn problems_point_to_the_field() {
        let body = br#"{"name":"r1","interfaces":[{"name":"lan","address":"10.1.0.1"}]}"#;
        let problem = read_json::<Router>(body).unwrap_err();
        assert_eq!((problem.status, problem.pointer.as_deref()), (422, Some("/interfaces/0/address")));
        let problem = read_json::<Router>(br#"{"name":"r1","colour":1}"#).unwrap_err();
        assert_eq!(problem.status, 422);
        assert!(problem.detail.unwrap().contains("unknown field `colour`"));
        assert_eq!(read_json::<Router>(b"{").unwrap_err().status, 400);
        assert_eq!(read_json::<Router>(br#"{"name":"r1"} x"#).unwrap_err().status, 400);
    }
}
