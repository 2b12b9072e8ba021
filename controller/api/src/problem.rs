//! Errors as RFC 9457 problem details.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error answer, `application/problem+json` (RFC 9457 §3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Problem {
    /// A stable identifier of the kind of problem, `urn:weft:problem:...` (§3.1.1).
    #[serde(rename = "type")]
    pub kind: String,
    /// HTTP status code (§3.1.2).
    pub status: u16,
    /// The kind of problem in words (§3.1.3).
    pub title: String,
    /// This occurrence in words: the thing, the place, the way out (§3.1.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The field at fault as a JSON pointer into the body (RFC 6901), where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

impl Problem {
    /// A problem of kind `urn:weft:problem:KIND`.
    pub fn new(status: u16, kind: &str, title: &str) -> Self {
        let kind = format!("urn:weft:problem:{kind}");
        Self { kind, status, title: title.to_owned(), detail: None, pointer: None }
    }

    /// 404: `what` does not exist.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(404, "not-found", "Not found").with_detail(format!("there is no {what}"))
    }

    /// 400: the body or a parameter cannot be read.
    pub fn bad_request(detail: impl fmt::Display) -> Self {
        Self::new(400, "bad-request", "The request cannot be read").with_detail(detail)
    }

    /// 422: readable, but wrong; `pointer` names the field.
    pub fn invalid(pointer: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self::new(422, "invalid", "The request is not valid").with_detail(detail).with_pointer(pointer)
    }

    /// 409: it contradicts what is already there.
    pub fn conflict(detail: impl fmt::Display) -> Self {
        Self::new(409, "conflict", "Conflict with what exists").with_detail(detail)
    }

    /// 500: a fault of ours.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self::new(500, "internal", "Internal error").with_detail(detail)
    }

    /// Adds the words of this occurrence.
    #[must_use]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// Adds the field at fault.
    #[must_use]
    pub fn with_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail.as_deref().unwrap_or(&self.title))?;
        match &self.pointer {
            // People write `queues.0.max`.
            Some(pointer) if !pointer.is_empty() => {
                write!(f, " (in {} of the request)", pointer.trim_start_matches('/').replace('/', "."))
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}
