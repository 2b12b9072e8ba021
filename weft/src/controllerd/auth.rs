//! Who may ask for what, and how often. Without tokens everybody who reaches the address may do everything; whoever can
//! open the unix socket may in any case, for that is a matter of the file's mode.

mod limit;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use controller_api::{Problem, ResourceKind};

pub use limit::Limit;
pub use tokens::{Account, Role, Tokens, mint};

use super::clock;
use super::problem::Refusal;

/// The gate before the API.
#[derive(Debug, Default)]
pub struct Gate {
    /// Without: nobody is asked who they are.
    pub tokens: Option<Tokens>,
    /// Without: as often as they like.
    pub limit: Option<Limit>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// For the record: `alice (127.0.0.1:40000)`, an address, or `unix socket`.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

impl Default for Caller {
    fn default() -> Self {
        Self { name: "unix socket".to_owned(), role: Role::Admin }
    }
}

impl Caller {
    /// Whether an intent of this name is theirs to see.
    pub fn sees(&self, name: &str) -> bool {
        match &self.role {
            Role::Tenant(tenant) => is_of(tenant, name),
            Role::Viewer | Role::Operator | Role::Admin => true,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// The intents of a tenant have its name and a hyphen before their own.
fn is_of(tenant: &str, name: &str) -> bool {
    name.strip_prefix(tenant).is_some_and(|rest| rest.starts_with('-'))
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Nothing,
    /// To look.
    Read,
    /// To change intents, and switches by hand.
    Write,
    /// To replace all that is declared, to see who did what, to speak for the controller.
    Rule,
}

/// Lets a request pass, or not.
///
/// # Errors
/// 401: who is that? 403: not with this token. 429: too often.
pub async fn check(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    match gate.admit(&request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => *refusal,
    }
}

impl Gate {
    fn admit(&self, request: &Request) -> Result<Caller, Box<Response>> {
        let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
            return Ok(Caller::default());
        };
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
        let account = match self.account(request.headers()) {
            Ok(account) => account,
            Err(_) if need(request.method(), path, request.uri().query()) == Need::Nothing => None,
            Err(problem) => {
                // Guesses count, too.
                self.count(&peer.ip().to_string())?;
                return Err(Box::new(unknown(problem)));
            }
        };
        let caller = match account {
            Some(account) => {
                self.count(&account.name)?;
                Caller { name: format!("{} ({peer})", account.name), role: account.role.clone() }
            }
            None => {
                self.count(&peer.ip().to_string())?;
                Caller { name: peer.to_string(), role: Role::Admin }
            }
        };
        let need = need(request.method(), path, request.uri().query());
        match may(&caller.role, need, path, request.uri().path()) {
            Ok(()) => Ok(caller),
            Err(detail) => {
                let problem = Problem::new(403, "forbidden", "Not with this token").with_detail(detail);
                Err(Box::new(Refusal(problem).into_response()))
            }
        }
    }

    /// Whose token it is; `None` if none is asked for.
    fn account(&self, headers: &HeaderMap) -> Result<Option<&Account>, Problem> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        let wrong = |detail: &str| Problem::new(401, "unauthorised", "Who is that?").with_detail(detail);
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let header = header.ok_or_else(|| wrong("a token is needed: `Authorization: Bearer TOKEN`"))?;
        // RFC 9110 §11.1: the name of a scheme is of either case.
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(wrong("`Authorization: Bearer TOKEN` is expected")),
        };
        tokens.account(token).map(Some).ok_or_else(|| wrong("nobody has this token"))
    }

    fn count(&self, name: &str) -> Result<(), Box<Response>> {
        let Some(limit) = &self.limit else { return Ok(()) };
        limit.take(name, clock::now()).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let detail = format!("{} requests a second are allowed; again in {seconds} s", limit.rate());
            let problem = Problem::new(429, "too-often", "Too many requests").with_detail(detail);
            let mut response = Refusal(problem).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            Box::new(response)
        })
    }
}

/// RFC 9110 §15.5.2: it says how to do better.
fn unknown(problem: Problem) -> Response {
    let mut response = Refusal(problem).into_response();
    debug_assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// What a request to `path`, as the document names it, needs.
fn need(method: &Method, path: &str, query: Option<&str>) -> Need {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    // Doubled and disguised parameters are refused later on.
    let is_forecast = || query.is_some_and(|query| query.split('&').any(|pair| pair == "dry_run=true"));
    match path {
        "/" | "/healthz" | "/readyz" | "/api/v1/openapi.json" if is_read => Need::Nothing,
        "/api/v1/audit" => Need::Rule,
        "/api/v1/trace" | "/stats/flow/{dpid}" | "/stats/aggregateflow/{dpid}" => Need::Read,
        _ if is_read => Need::Read,
        _ if path.starts_with("/api/v1/") && is_forecast() => Need::Read,
        "/api/v1/intents" | "/api/v1/revisions/{revision}/rollback" => Need::Rule,
        "/stats/role" | "/stats/experimenter/{dpid}" => Need::Rule,
        _ => Need::Write,
    }
}

/// Whether somebody of this role may; otherwise why not.
fn may(role: &Role, need: Need, path: &str, place: &str) -> Result<(), String> {
    let needs = |role: &str| Err(format!("this needs a token of role {role}"));
    match (role, need) {
        (_, Need::Nothing) | (Role::Admin, _) => Ok(()),
        (Role::Viewer | Role::Operator, Need::Read) | (Role::Operator, Need::Write) => Ok(()),
        (Role::Viewer, Need::Write) => needs("operator or admin"),
        (Role::Viewer | Role::Operator, Need::Rule) => needs("admin"),
        (Role::Tenant(tenant), _) => tenant_may(tenant, need, path, place),
    }
}

/// A tenant sees and changes its own intents by name, and nothing else.
fn tenant_may(tenant: &str, need: Need, path: &str, place: &str) -> Result<(), String> {
    let rest = path.strip_prefix("/api/v1/").unwrap_or_default();
    let mut collections = ResourceKind::ALL.iter().map(|kind| kind.collection());
    let own = format!("the token of tenant {tenant} is for intents named {tenant}-...");
    match rest.split_once('/') {
        // The list shows what is theirs.
        None if rest == "health" || collections.any(|name| name == rest) => Ok(()),
        // What it may have is for others to say.
        Some(("tenants", "{name}")) => match place.rsplit('/').next() {
            Some(name) if name == tenant && need == Need::Read => Ok(()),
            _ => Err(own),
        },
        Some((collection, "{name}")) if collections.any(|name| name == collection) => {
            // What is escaped in a path is not what a name of ours begins with.
            let name = place.rsplit('/').next().unwrap_or_default();
            if is_of(tenant, name) { Ok(()) } else { Err(own) }
        }
        _ => Err(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_it_is_for() {
        let tenant = Role::Tenant("acme".to_owned());
        let of = |method: Method, path: &str, query: Option<&str>, place: &str| {
            let need = need(&method, path, query);
            [&Role::Viewer, &Role::Operator, &tenant, &Role::Admin]
                .map(|role| may(role, need, path, place).is_ok())
        };
        let one = "/api/v1/networks/{name}";
        let cases = [
            (Method::GET, "/", None, "/", [true; 4]),
            (Method::GET, "/api/v1/openapi.json", None, "", [true; 4]),
            (Method::GET, "/api/v1/switches", None, "", [true, true, false, true]),
            (Method::GET, "/metrics", None, "", [true, true, false, true]),
            (Method::GET, "/api/v1/audit", None, "", [false, false, false, true]),
            (Method::POST, "/api/v1/trace", None, "", [true, true, false, true]),
            (Method::POST, "/stats/flow/{dpid}", None, "", [true, true, false, true]),
            (Method::POST, "/stats/flowentry/{command}", None, "", [false, true, false, true]),
            (
                Method::POST,
                "/stats/flowentry/{command}",
                Some("dry_run=true"),
                "",
                [false, true, false, true],
            ),
            (Method::POST, "/stats/role", None, "", [false, false, false, true]),
            (Method::GET, "/api/v1/networks", None, "", [true; 4]),
            (Method::PUT, one, None, "/api/v1/networks/blue", [false, true, false, true]),
            (Method::PUT, one, Some("dry_run=true"), "/api/v1/networks/blue", [true, true, false, true]),
            (Method::PUT, one, Some("dry_run=false"), "/api/v1/networks/blue", [false, true, false, true]),
            (Method::PUT, one, None, "/api/v1/networks/acme-web", [false, true, true, true]),
            (Method::GET, one, None, "/api/v1/networks/acmeweb", [true, true, false, true]),
            (Method::GET, one, None, "/api/v1/networks/%61cme-web", [true, true, false, true]),
            (Method::POST, "/api/v1/batch", None, "", [false, true, false, true]),
            (Method::PUT, "/api/v1/intents", None, "", [false, false, false, true]),
            (Method::PUT, "/api/v1/intents", Some("dry_run=true"), "", [true, true, false, true]),
            (Method::POST, "/api/v1/revisions/{revision}/rollback", None, "", [false, false, false, true]),
            (Method::DELETE, "/api/v1/switches/{switch}/flows", None, "", [false, true, false, true]),
        ];
        for (method, path, query, place, expected) in cases {
            assert_eq!(of(method.clone(), path, query, place), expected, "{method} {path} {place} {query:?}");
        }
    }
}
