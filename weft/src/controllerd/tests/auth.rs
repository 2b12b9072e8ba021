//! Who may ask, how often, and over TLS.

use std::path::Path;

use controller_api::client::Trust;
use controller_api::{AuditEntry, Problem, Stored};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::*;
use crate::channel::server_keys;
use crate::controllerd::auth::{Gate, Limit, Role, Tokens, mint};

/// A controller that asks for tokens, and a client for each of them.
async fn guarded<const N: usize>(dir: &Path, people: [(&str, Role); N]) -> (ControllerHandle, [Client; N]) {
    let minted = people.map(|(name, role)| mint(name, &role));
    let lines: Vec<&str> = minted.iter().map(|(_, line)| line.as_str()).collect();
    std::fs::write(dir.join("tokens"), lines.join("\n")).unwrap();
    let tokens = Some(Tokens::load(&dir.join("tokens")).unwrap());
    let spec = ControllerSpec {
        rest: Some("127.0.0.1:0".parse().unwrap()),
        unix: Some(dir.join("test.sock")),
        gate: Arc::new(Gate { tokens, limit: None }),
        ..ControllerSpec::default()
    };
    let handle = start(spec).await.unwrap();
    let plain = Client::new(Server::Tcp(handle.rest_addr().unwrap().to_string()));
    let clients = minted.map(|(token, _)| plain.clone().with_token(token));
    (handle, clients)
}

fn status(result: Result<impl std::fmt::Debug, ClientError>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(error) => error.problem().unwrap_or_else(|| panic!("{error}")).status,
    }
}

#[tokio::test]
async fn a_token_says_who_asks_and_what_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let people = [
        ("vera", Role::Viewer),
        ("olga", Role::Operator),
        ("anna", Role::Admin),
        ("tom", Role::Tenant("acme".to_owned())),
    ];
    let (handle, [viewer, operator, admin, tenant]) = guarded(dir.path(), people).await;
    let stranger = Client::new(viewer.server().clone());
    let (method, path) = (Method::GET, "/api/v1/networks");
    let answer = stranger.exchange_with(&method, path, &[], vec![]).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers().get("www-authenticate").unwrap(), "Bearer");
    let problem: Problem = serde_json::from_slice(answer.body()).unwrap();
    assert!(problem.detail.unwrap().contains("Authorization: Bearer"));
    assert_eq!(status(stranger.clone().with_token("weft_00").list::<Network>().await), 401);
    // What tells how to ask asks for nothing.
    for path in ["/", "/healthz", "/readyz", "/api/v1/openapi.json"] {
        let answer = stranger.exchange_with(&Method::GET, path, &[], vec![]).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }

    let blue = network("blue", 10, &[]);
    assert_eq!((status(viewer.write(&blue).await), status(viewer.list::<Network>().await)), (403, 200));
    let foretold = viewer.put::<_, serde_json::Value>("/api/v1/networks/blue?dry_run=true", &blue).await;
    assert_eq!(status(foretold), 200);
    assert_eq!(status(operator.write(&blue).await), 200);
    assert_eq!(status(operator.get::<Vec<AuditEntry>>("/api/v1/audit").await), 403);

    let web = network("acme-web", 20, &[]);
    assert_eq!((status(tenant.write(&web).await), status(tenant.write(&blue).await)), (200, 403));
    assert_eq!(status(tenant.switches().await), 403);
    let seen = tenant.list::<Network>().await.unwrap();
    assert_eq!(seen.iter().map(|stored| stored.spec.name.as_str()).collect::<Vec<_>>(), ["acme-web"]);
    assert_eq!(status(tenant.read::<Network>("blue").await), 403);

    // What a tenant may have is said by others, and kept whoever writes.
    let quota = |networks| json!({"name": "acme", "quota": {"networks": networks}, "ports": ["s1"]});
    let put = |client: &Client, quota: serde_json::Value| {
        let client = client.clone();
        async move { status(client.put::<_, serde_json::Value>("/api/v1/tenants/acme", &quota).await) }
    };
    // It is the quota that is wrong if there is more already.
    assert_eq!((put(&tenant, quota(9)).await, put(&operator, quota(0)).await), (403, 422));
    assert_eq!(put(&operator, quota(1)).await, 200);
    let own: serde_json::Value = tenant.get("/api/v1/tenants/acme").await.unwrap();
    assert_eq!(own["spec"]["quota"]["networks"], 1);
    let more = network("acme-more", 40, &[]);
    for client in [&tenant, &operator] {
        let error = client.write(&more).await.unwrap_err();
        let problem = error.problem().unwrap();
        assert_eq!(problem.status, 409);
        assert!(problem.detail.as_deref().unwrap().contains("2 networks where 1 are allowed"), "{problem}");
    }
    assert_eq!(status(tenant.write(&network("acme-web", 20, &["s2:1"])).await), 409);
    assert_eq!(status(tenant.write(&network("acme-web", 20, &["s1:1"])).await), 200);
    // Nor does it reach into namespaces of the machine.
    let shadow = json!({"name": "acme-r1", "shadow": "pid:1"});
    let error = tenant.put::<_, serde_json::Value>("/api/v1/routers/acme-r1", &shadow).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.status, problem.pointer.as_deref()), (422, Some("/shadow")), "{problem}");

    // Who it was is on the record, also of those who came by the socket and were not asked.
    let local = Client::unix(dir.path().join("test.sock"));
    local.put::<_, Stored<Network>>("/api/v1/networks/red", &network("red", 30, &[])).await.unwrap();
    let entries: Vec<AuditEntry> = admin.get("/api/v1/audit").await.unwrap();
    let by: Vec<&str> = entries.iter().map(|entry| entry.by.split(' ').next().unwrap()).collect();
    assert_eq!(by, ["unix", "tom", "olga", "tom", "olga"], "{entries:?}");
    assert!(entries[4].by.starts_with("olga (127.0.0.1:"), "{entries:?}");
    handle.stop().await;
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let spec = ControllerSpec {
        rest: Some("127.0.0.1:0".parse().unwrap()),
        gate: Arc::new(Gate { tokens: None, limit: Some(Limit::new(2)) }),
        ..ControllerSpec::default()
    };
    let handle = start(spec).await.unwrap();
    let client = Client::new(Server::Tcp(handle.rest_addr().unwrap().to_string()));
    // Two of them may be asked for while the bucket fills, on a slow machine some more.
    let mut refused = None;
    for _ in 0..1000 {
        let answer = client.exchange_with(&Method::GET, "/healthz", &[], vec![]).await.unwrap();
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("more than two a second");
    assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
    let problem: Problem = serde_json::from_slice(refused.body()).unwrap();
    assert_eq!(problem.kind, "urn:weft:problem:too-often");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.health().await.unwrap().service, "controller");
    handle.stop().await;
}

#[tokio::test]
async fn rest_is_served_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("certificate.pem"));
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    let spec = ControllerSpec {
        rest: Some("127.0.0.1:0".parse().unwrap()),
        rest_keys: Some(server_keys(&key, &certificate).unwrap()),
        ..ControllerSpec::default()
    };
    let handle = start(spec).await.unwrap();
    let place = handle.rest_addr().unwrap();
    // One that never finishes its handshake keeps nobody waiting.
    let _silent = tokio::net::TcpStream::connect(place).await.unwrap();
    let client = Client::new(format!("https://{place}").parse().unwrap());
    let trusting = client.clone().with_trust(Trust::of_pem(made.cert.pem().as_bytes()).unwrap());
    assert_eq!(trusting.health().await.unwrap().service, "controller");
    assert!(client.health().await.unwrap_err().to_string().contains("cannot connect"));
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let wary = client.with_trust(Trust::of_pem(other.cert.pem().as_bytes()).unwrap());
    assert!(wary.health().await.is_err(), "a certificate of somebody else");
    assert!(Client::new(Server::Tcp(place.to_string())).health().await.is_err(), "no TLS");
    assert_eq!(
        Trust::of_pem(b"x").unwrap_err().to_string().split(':').next().unwrap(),
        "no certificate of a CA in PEM form"
    );
    handle.stop().await;
}
