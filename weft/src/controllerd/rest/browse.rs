//! The API as a page for people: all in one file, made in the browser from the document that is served beside it.

use axum::http::header;
use axum::response::IntoResponse;

/// Nothing comes from elsewhere, and nothing goes there.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`.
pub async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, include_str!("browse.html"))
}

#[cfg(test)]
mod tests {
    /// A controller may have no way to the world, nor its users.
    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = include_str!("browse.html");
        for word in ["http://", "https://", "src=", "@import", "url(", "integrity="] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("/api/v1/openapi.json"));
    }
}
