//! Long lists in pages: a limit, and a cursor that leads on.

use axum::Json;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use controller_api::Problem;
use serde::{Deserialize, Serialize};

/// Most items of one page.
const MAX_LIMIT: u16 = 1000;

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// Most items of an answer; what follows is behind its `Link` header.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// Where to go on, from the `Link` header of the answer before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Part of a list; what follows it is behind the `Link` header (RFC 8288).
#[derive(Debug)]
pub struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        if let Some(next) = self.next.and_then(|next| HeaderValue::try_from(next).ok()) {
            response.headers_mut().insert(header::LINK, next);
        }
        response
    }
}

/// Which part is asked for.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    uri: &'a Uri,
    limit: usize,
    after: Option<String>,
}

impl<'a> Part<'a> {
    /// Without a limit, `or_else` is one.
    ///
    /// # Errors
    /// 400: a limit out of range, or a cursor that is none.
    pub fn new(
        uri: &'a Uri,
        limit: Option<u16>,
        cursor: Option<&str>,
        or_else: usize,
    ) -> Result<Self, Problem> {
        let limit = match limit {
            Some(limit) if (1..=MAX_LIMIT).contains(&limit) => usize::from(limit),
            Some(limit) => {
                return Err(Problem::bad_request(format!("limit is {limit}: 1 to {MAX_LIMIT} are possible")));
            }
            None => or_else,
        };
        let after = cursor.map(|cursor| read(cursor).ok_or_else(|| not_a_cursor(cursor))).transpose()?;
        Ok(Self { uri, limit, after })
    }

    /// How many items are wanted.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The key behind which the part begins.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The part of a list that is ordered by the keys.
    pub fn of<T>(&self, items: impl Iterator<Item = (String, T)>) -> Page<T> {
        let mut wanted = items.filter(|(key, _)| self.after.as_ref().is_none_or(|after| key > after));
        let mut page = Page { items: Vec::new(), next: None };
        let mut last = None;
        while page.items.len() < self.limit
            && let Some((key, item)) = wanted.next()
        {
            page.items.push(item);
            last = Some(key);
        }
        if wanted.next().is_some() {
            page.next = last.map(|key| self.next(&key));
        }
        page
    }

    /// A part that was made elsewhere; `last` is its last key, if there may be more.
    pub fn made<T>(&self, items: Vec<T>, last: Option<String>) -> Page<T> {
        Page { items, next: last.map(|key| self.next(&key)) }
    }

    fn next(&self, key: &str) -> String {
        let query = self.uri.query().unwrap_or_default();
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="))
            .map(str::to_owned)
            .collect();
        pairs.push(format!("cursor={}", write(key)));
        format!("<{}?{}>; rel=\"next\"", self.uri.path(), pairs.join("&"))
    }
}

fn not_a_cursor(cursor: &str) -> Problem {
    Problem::bad_request(format!("{cursor:?} is no cursor: take it from the Link header of the page before"))
}

fn write(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read(cursor: &str) -> Option<String> {
    let digits = cursor.bytes().all(|byte| byte.is_ascii_hexdigit());
    if cursor.is_empty() || !digits || !cursor.len().is_multiple_of(2) || cursor.len() > 4096 {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(cursor.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..cursor.len()).step_by(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lead_from_one_to_the_next_and_end() {
        let all: Vec<(String, u32)> = (0..25).map(|n| (format!("{n:03}"), n)).collect();
        let mut uri: Uri = "/api/v1/hosts?limit=10&network=blue".parse().unwrap();
        let mut seen = Vec::new();
        for expected in [10, 10, 5] {
            let cursor = uri.query().unwrap().split("cursor=").nth(1).map(str::to_owned);
            let page = Part::new(&uri, Some(10), cursor.as_deref(), 99).unwrap().of(all.iter().cloned());
            assert_eq!(page.items.len(), expected);
            seen.extend(page.items);
            match page.next {
                Some(next) => {
                    assert!(next.contains("limit=10&network=blue&cursor="), "{next}");
                    uri = next[1..next.find('>').unwrap()].parse().unwrap();
                }
                None => assert_eq!(expected, 5),
            }
        }
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
    }

    #[test]
    fn limits_and_cursors_are_checked() {
        let uri: Uri = "/x".parse().unwrap();
        for (limit, cursor) in
            [(Some(0), None), (Some(1001), None), (None, Some("x")), (None, Some("+1")), (None, Some(""))]
        {
            assert_eq!(Part::new(&uri, limit, cursor, 1).unwrap_err().status, 400, "{limit:?} {cursor:?}");
        }
        assert_eq!(read(&write("blue/é")), Some("blue/é".to_owned()));
    }
}
