//! A typed client of the API: HTTP/1.1 over a unix socket or TCP, one connection a request.

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::{
    Balancer, Batch, Chain, Declaration, Flow, FlowAdd, Forecast, Function, Health, Host, Link, Mirror,
    Network, Path, Policy, Port, PortAdd, PortQueues, Problem, Qos, Revision, Router, Stats, Stored, Switch,
    Tenant, TraceReply, TraceRequest, Written,
};

mod connect;

pub use connect::{Trust, TrustError};

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Longest wait for an answer unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where a server listens: `unix:/run/weft/s1.sock`, `http://127.0.0.1:8080`, or `127.0.0.1:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A unix socket.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
    /// The same over TLS.
    Tls(String),
}

/// A server address that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected unix:/path/to.sock, http://host:port, https://host:port or host:port, found {0:?}")]
pub struct ServerError(String);

impl FromStr for Server {
    type Err = ServerError;
    fn from_str(text: &str) -> std::result::Result<Self, ServerError> {
        let wrong = || ServerError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let secret = text.strip_prefix("https://");
        let host = secret.or(text.strip_prefix("http://")).unwrap_or(text).trim_end_matches('/');
        match host.rsplit_once(':') {
            Some((name, port)) if !name.is_empty() && !name.contains('/') && port.parse::<u16>().is_ok() => {
                let of = if secret.is_some() { Self::Tls } else { Self::Tcp };
                Ok(of(host.to_owned()))
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host) => write!(f, "http://{host}"),
            Self::Tls(host) => write!(f, "https://{host}"),
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("cannot connect to {server}")]
    Connect {
        /// Where.
        server: Server,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("{method} {path} on {server} failed")]
    Http {
        /// Where.
        server: Server,
        /// Method of the request.
        method: Method,
        /// Path of the request.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer broke off: whoever gave it has ended.
    #[error("{server} has ended")]
    Ended {
        /// Where.
        server: Server,
        /// How it was seen.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What answers speaks HTTP, but not this API.
    #[error(
        "{server} answered {method} {path} with \"{status}\": it does not serve weft's API there \
         (the address of --metrics serves metrics only)"
    )]
    Foreign {
        /// Where.
        server: Server,
        /// Method of the request.
        method: Method,
        /// Path of the request.
        path: String,
        /// What it said.
        status: StatusCode,
    },
    /// No answer in time.
    #[error("{server} does not answer within {} s", timeout.as_secs_f32())]
    Timeout {
        /// Where.
        server: Server,
        /// How long was waited.
        timeout: Duration,
    },
    /// The server says no.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The answer is not what the API promises, or the request cannot be written.
    #[error("unexpected JSON of {method} {path} on {server}")]
    Json {
        /// Where.
        server: Server,
        /// Method of the request.
        method: Method,
        /// Path of the request.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    /// The server's own words, if it answered.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}

type Result<T> = std::result::Result<T, ClientError>;

/// A client of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    server: Server,
    timeout: Duration,
    token: Option<String>,
    trust: Option<Trust>,
}

impl Client {
    /// A client of `server`.
    pub fn new(server: Server) -> Self {
        Self { server, timeout: TIMEOUT, token: None, trust: None }
    }

    /// A client of the daemon that listens on this unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Server::Unix(path.into()))
    }

    /// The same with another limit on the wait for an answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whom it asks.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// `GET path`, path from the root: `/api/v1/switches`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// `PUT path`.
    pub async fn put<B: Serialize + ?Sized, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// `POST path`.
    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `DELETE path`; the answer may be empty (`()`).
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::DELETE, path, None::<&()>).await
    }

    /// One request. An empty answer reads as JSON `null`, so `T` may be `()`.
    pub async fn call<B, T>(&self, method: Method, path: &str, body: Option<&B>) -> Result<T>
    where
        B: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        let json = |source| self.json_error(&method, path, source);
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(json)?,
            None => Vec::new(),
        };
        let (status, answer) = self.exchange(&method, path, body).await?;
        if !status.is_success() {
            return Err(self.refusal(&method, path, status, &answer));
        }
        let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(answer).map_err(json)
    }

    /// One request, bytes in and out: the status and the body, whatever the status.
    pub async fn exchange(&self, method: &Method, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes)> {
        let answer = self.exchange_with(method, path, &[], body).await?;
        let status = answer.status();
        Ok((status, answer.into_body()))
    }

    /// One request with headers of its own (`If-Match`), bytes in and out: the answer, whatever its status.
    pub async fn exchange_with(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<hyper::Response<Bytes>> {
        let exchange = async {
            let mut request = self
                .request(method, path)
                .header(header::ACCEPT, "application/json, application/problem+json")
                .header(header::CONTENT_TYPE, "application/json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::new(Bytes::from(body)));
            let request = request.map_err(|e| self.http_error(method, path, e.into()))?;
            let stream = self.connect().await?;
            self.exchange_over(stream, method, path, request).await
        };
        let late = ClientError::Timeout { server: self.server.clone(), timeout: self.timeout };
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_| late)?
    }

    async fn exchange_over<S>(
        &self,
        stream: S,
        method: &Method,
        path: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Bytes>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |e| self.http_error(method, path, e);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| failed(e.into()))?;
        // The connection ends with the request; its error, if any, comes out of `send_request` too.
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|e| failed(e.into()))?;
        let (parts, body) = answer.into_parts();
        let bytes = Limited::new(body, MAX_ANSWER).collect().await.map_err(failed)?.to_bytes();
        connection.abort();
        Ok(hyper::Response::from_parts(parts, bytes))
    }

    /// `GET path`, whose answer is handed out as it comes, without a limit of time or size, until it ends or `take`
    /// wants no more.
    pub async fn download(&self, path: &str, mut take: impl FnMut(&[u8]) -> ControlFlow<()>) -> Result<()> {
        let method = Method::GET;
        let failed = |e: Box<dyn std::error::Error + Send + Sync>| self.http_error(&method, path, e);
        let stream = self.connect().await?;
        let (answer, connection) = self.begin(stream, path).await?;
        let status = answer.status();
        if !status.is_success() {
            let body =
                Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(failed)?.to_bytes();
            return Err(self.refusal(&method, path, status, &body));
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let ended = |source| ClientError::Ended { server: self.server.clone(), source };
            let frame = frame.map_err(|error| ended(error.into()))?;
            if let Some(piece) = frame.data_ref()
                && take(piece).is_break()
            {
                break;
            }
        }
        connection.abort();
        Ok(())
    }

    async fn begin<S>(
        &self,
        stream: S,
        path: &str,
    ) -> Result<(hyper::Response<Incoming>, JoinHandle<hyper::Result<()>>)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |e| self.http_error(&Method::GET, path, e);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| failed(e.into()))?;
        let connection = tokio::spawn(connection);
        let request = self.request(&Method::GET, path).body(Full::new(Bytes::new()));
        let request = request.map_err(|e| failed(e.into()))?;
        let answer = sender.send_request(request).await.map_err(|e| failed(e.into()))?;
        Ok((answer, connection))
    }

    /// What a server means that says no.
    fn refusal(&self, method: &Method, path: &str, status: StatusCode, body: &[u8]) -> ClientError {
        if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
            return problem.into();
        }
        match std::str::from_utf8(body) {
            Ok(text) if !text.is_empty() && text.len() < 500 => {
                let title = status.canonical_reason().unwrap_or("error");
                Problem::new(status.as_u16(), "http", title).with_detail(text).into()
            }
            _ => {
                let (server, method, path) = (self.server.clone(), method.clone(), path.to_owned());
                ClientError::Foreign { server, method, path, status }
            }
        }
    }

    fn connect_error(&self, source: std::io::Error) -> ClientError {
        ClientError::Connect { server: self.server.clone(), source }
    }

    fn http_error(
        &self,
        method: &Method,
        path: &str,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> ClientError {
        ClientError::Http {
            server: self.server.clone(),
            method: method.clone(),
            path: path.to_owned(),
            source,
        }
    }

    fn json_error(&self, method: &Method, path: &str, source: serde_json::Error) -> ClientError {
        ClientError::Json {
            server: self.server.clone(),
            method: method.clone(),
            path: path.to_owned(),
            source,
        }
    }
}

/// The resources by name. A switch is named by its name or its dpid in 16 hexadecimal digits.
impl Client {
    /// `GET /api/v1/health`.
    pub async fn health(&self) -> Result<Health> {
        self.get("/api/v1/health").await
    }

    /// `GET /api/v1/switches`.
    pub async fn switches(&self) -> Result<Vec<Switch>> {
        self.get("/api/v1/switches").await
    }

    /// `GET /api/v1/switches/{switch}/ports`.
    pub async fn ports(&self, switch: &str) -> Result<Vec<Port>> {
        self.get(&format!("/api/v1/switches/{}/ports", escape(switch))).await
    }

    /// `POST /api/v1/switches/{switch}/ports`; only a switch itself offers this.
    pub async fn add_port(&self, switch: &str, port: &PortAdd) -> Result<Port> {
        self.post(&format!("/api/v1/switches/{}/ports", escape(switch)), port).await
    }

    /// `DELETE /api/v1/switches/{switch}/ports/{number}`; only a switch itself offers this.
    pub async fn delete_port(&self, switch: &str, number: u32) -> Result<()> {
        self.delete(&format!("/api/v1/switches/{}/ports/{number}", escape(switch))).await
    }

    /// `PUT /api/v1/switches/{switch}/ports/{number}/queues`: instead of what was there; only a switch itself offers this.
    pub async fn set_queues(&self, switch: &str, number: u32, queues: &PortQueues) -> Result<Port> {
        self.put(&format!("/api/v1/switches/{}/ports/{number}/queues", escape(switch)), queues).await
    }

    /// `GET /api/v1/switches/{switch}/flows`.
    pub async fn flows(&self, switch: &str) -> Result<Vec<Flow>> {
        self.get(&format!("/api/v1/switches/{}/flows", escape(switch))).await
    }

    /// `POST /api/v1/switches/{switch}/flows`: adds a raw flow and waits until the switch confirmed it.
    pub async fn add_flow(&self, switch: &str, flow: &FlowAdd) -> Result<Flow> {
        self.post(&format!("/api/v1/switches/{}/flows", escape(switch)), flow).await
    }

    /// `DELETE /api/v1/switches/{switch}/flows?match=...`: deletes raw flows; the number of deleted ones.
    pub async fn delete_flows(&self, switch: &str, matching: &str) -> Result<u64> {
        self.delete(&format!("/api/v1/switches/{}/flows?match={}", escape(switch), escape(matching))).await
    }

    /// `GET /api/v1/links`.
    pub async fn links(&self) -> Result<Vec<Link>> {
        self.get("/api/v1/links").await
    }

    /// `GET /api/v1/hosts`.
    pub async fn hosts(&self) -> Result<Vec<Host>> {
        self.get("/api/v1/hosts").await
    }

    /// `GET /api/v1/stats`; only switches and routers offer this.
    pub async fn stats(&self) -> Result<Stats> {
        self.get("/api/v1/stats").await
    }

    /// `POST /api/v1/trace`.
    pub async fn trace(&self, request: &TraceRequest) -> Result<TraceReply> {
        self.post("/api/v1/trace", request).await
    }
}

/// What is declared as a whole. Nothing but `forecast_*` leaves things as they are.
impl Client {
    /// `GET /api/v1/intents`.
    pub async fn declared(&self) -> Result<Declaration> {
        self.get("/api/v1/intents").await
    }

    /// `POST /api/v1/batch`: all of it happens, or nothing.
    pub async fn batch(&self, batch: &Batch) -> Result<Written> {
        self.post("/api/v1/batch", batch).await
    }

    /// `POST /api/v1/batch?dry_run=true`: what the batch would do.
    pub async fn forecast_batch(&self, batch: &Batch) -> Result<Forecast> {
        self.post("/api/v1/batch?dry_run=true", batch).await
    }

    /// `GET /api/v1/revisions`: the latest ones, newest first.
    pub async fn revisions(&self, limit: u16) -> Result<Vec<Revision>> {
        self.get(&format!("/api/v1/revisions?limit={limit}")).await
    }

    /// `POST /api/v1/revisions/{revision}/rollback`.
    pub async fn rollback(&self, revision: u64) -> Result<Written> {
        self.post(&format!("/api/v1/revisions/{revision}/rollback"), &()).await
    }

    /// `POST /api/v1/revisions/{revision}/rollback?dry_run=true`.
    pub async fn forecast_rollback(&self, revision: u64) -> Result<Forecast> {
        self.post(&format!("/api/v1/revisions/{revision}/rollback?dry_run=true"), &()).await
    }
}

/// One kind of intent: how it is called in paths.
pub trait Intent: Serialize + DeserializeOwned {
    /// The collection's name in paths.
    const COLLECTION: &'static str;
    /// The resource's name.
    fn name(&self) -> &str;
}

macro_rules! intents {
    ($($type:ident => $collection:literal),*) => {
        $(impl Intent for $type {
            const COLLECTION: &'static str = $collection;
            fn name(&self) -> &str {
                &self.name
            }
        })*
    };
}

intents!(
    Network => "networks", Router => "routers", Chain => "chains", Function => "functions", Policy => "policies",
    Qos => "qos", Path => "paths", Mirror => "mirrors", Balancer => "balancers", Tenant => "tenants"
);

impl Client {
    /// `GET /api/v1/{collection}`.
    pub async fn list<I: Intent>(&self) -> Result<Vec<Stored<I>>> {
        self.get(&format!("/api/v1/{}", I::COLLECTION)).await
    }

    /// `GET /api/v1/{collection}/{name}`.
    pub async fn read<I: Intent>(&self, name: &str) -> Result<Stored<I>> {
        self.get(&format!("/api/v1/{}/{}", I::COLLECTION, escape(name))).await
    }

    /// `PUT /api/v1/{collection}/{name}`: creates or replaces; idempotent.
    pub async fn write<I: Intent>(&self, intent: &I) -> Result<Stored<I>> {
        self.put(&format!("/api/v1/{}/{}", I::COLLECTION, escape(intent.name())), intent).await
    }

    /// `DELETE /api/v1/{collection}/{name}`.
    pub async fn remove<I: Intent>(&self, name: &str) -> Result<()> {
        self.delete(&format!("/api/v1/{}/{}", I::COLLECTION, escape(name))).await
    }
}

/// Percent-encodes all but the unreserved characters (RFC 3986 §2.3).
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn servers_are_read_as_people_write_them() {
        assert_eq!("unix:/run/a.sock".parse(), Ok(Server::Unix("/run/a.sock".into())));
        assert_eq!("unix:///run/a.sock".parse(), Ok(Server::Unix("/run/a.sock".into())));
        assert_eq!("/run/a.sock".parse(), Ok(Server::Unix("/run/a.sock".into())));
        assert_eq!("http://[::1]:80/".parse(), Ok(Server::Tcp("[::1]:80".into())));
        for wrong in ["", "unix:", "localhost", "https://a:1/x", "a:99999"] {
            assert!(wrong.parse::<Server>().is_err(), "{wrong}");
        }
    }

    async fn answer_once(answer: &'static str) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        Client::new(Server::Tcp(host))
    }

    #[tokio::test]
    async fn a_problem_is_an_error_with_the_servers_words() {
        let body = concat!(
            r#"{"type":"urn:weft:problem:not-found","status":404,"title":"Not found","#,
            r#""detail":"there is no switch \"s9\""}"#
        );
        let answer = format!(
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let client = answer_once(answer.leak()).await;
        let error = client.flows("s9").await.unwrap_err();
        assert_eq!(error.problem().unwrap().status, 404);
        assert_eq!(error.to_string(), "there is no switch \"s9\"");
    }

    #[tokio::test]
    async fn an_answer_is_typed_and_an_empty_one_is_unit() {
        let client = answer_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
        assert!(client.switches().await.unwrap().is_empty());
        let client = answer_once("HTTP/1.1 204 No Content\r\n\r\n").await;
        client.remove::<Network>("blue").await.unwrap();
    }

    #[tokio::test]
    async fn a_server_of_something_else_is_named() {
        let client = answer_once("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        let error = client.health().await.unwrap_err().to_string();
        assert!(error.contains("answered GET /api/v1/health with \"404 Not Found\""), "{error}");
        assert!(error.contains("metrics only"), "{error}");
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_has_ended() {
        let client = answer_once("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        let mut seen = Vec::new();
        let take = |piece: &[u8]| {
            seen.extend_from_slice(piece);
            ControlFlow::Continue(())
        };
        let error = client.download("/x", take).await.unwrap_err();
        assert!(matches!(error, ClientError::Ended { .. }), "{error:?}");
        assert_eq!(seen, b"abc");
    }

    #[tokio::test]
    async fn nobody_there_names_the_server() {
        let client = Client::unix("/nonexistent/a.sock");
        assert_eq!(
            client.health().await.unwrap_err().to_string(),
            "cannot connect to unix:/nonexistent/a.sock"
        );
    }
}
