//! What the REST API promises about writes: conditions, batches, dry runs, revisions, watching, parts of lists.

use controller_api::{
    AuditEntry, Batch, Declaration, Forecast, Operation, Problem, Resource, Revision, Stored, WatchEvent,
    Written,
};
use hyper::{Method, StatusCode};
use std::ops::ControlFlow;

use super::*;

/// A request; status, ETag, and the body as it should be.
async fn ask<T: serde::de::DeserializeOwned>(
    client: &Client,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: &impl serde::Serialize,
) -> (StatusCode, String, T) {
    let body = serde_json::to_vec(body).unwrap();
    let answer = client.exchange_with(&method, path, headers, body).await.unwrap();
    let tag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
    let bytes: &[u8] = if answer.body().is_empty() { b"null" } else { answer.body() };
    let body = serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{method} {path}: {error} in {}", String::from_utf8_lossy(bytes)));
    (answer.status(), tag, body)
}

fn put(network: Network) -> Operation {
    Operation::put(Resource::Network(network))
}

const BLUE: (Method, &str) = (Method::PUT, "/api/v1/networks/blue");

#[tokio::test]
async fn two_writers_at_once_do_not_overwrite_each_other() {
    let (handle, client) = started(1).await;
    let (created, first, _) =
        ask::<Stored<Network>>(&client, BLUE, &[("if-none-match", "*")], &network("blue", 10, &["s1:1"]))
            .await;
    assert_eq!((created, first.starts_with("\"1.")), (StatusCode::CREATED, true), "{first}");
    let (status, ..) =
        ask::<Problem>(&client, BLUE, &[("if-none-match", "*")], &network("blue", 11, &[])).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);

    let (status, second, _) =
        ask::<Stored<Network>>(&client, BLUE, &[("if-match", &first)], &network("blue", 11, &["s1:1"])).await;
    assert_eq!((status, second.starts_with("\"2.")), (StatusCode::OK, true), "{second}");
    let (status, _, problem) =
        ask::<Problem>(&client, BLUE, &[("if-match", &first)], &network("blue", 12, &["s1:1"])).await;
    assert_eq!(
        (status, problem.kind.as_str()),
        (StatusCode::PRECONDITION_FAILED, "urn:weft:problem:precondition-failed")
    );
    let (status, ..) = ask::<Problem>(&client, (Method::DELETE, BLUE.1), &[("if-match", &first)], &()).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(client.read::<Network>("blue").await.unwrap().spec.vlan, 11);

    // What the client has already is not sent again, until it changes.
    let list = (Method::GET, "/api/v1/networks/blue");
    handle.hub().wait_until(Duration::from_secs(10), Hub::is_realised).await;
    let (_, tag, _) = ask::<serde_json::Value>(&client, list.clone(), &[], &()).await;
    let (status, ..) = ask::<()>(&client, list.clone(), &[("if-none-match", &tag)], &()).await;
    assert_eq!(status, StatusCode::NOT_MODIFIED);
    client.write(&network("blue", 13, &["s1:1"])).await.unwrap();
    let (status, ..) = ask::<serde_json::Value>(&client, list, &[("if-none-match", &tag)], &()).await;
    assert_eq!(status, StatusCode::OK);
    let (status, ..) = ask::<()>(&client, (Method::DELETE, BLUE.1), &[("if-match", "*")], &()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    handle.stop().await;
}

#[tokio::test]
async fn a_condition_is_required_where_that_was_asked_for() {
    let spec = ControllerSpec {
        rest: Some("127.0.0.1:0".parse().unwrap()),
        strict: true,
        ..ControllerSpec::default()
    };
    let handle = start(spec).await.unwrap();
    let client = Client::new(Server::Tcp(handle.rest_addr().unwrap().to_string()));
    let blue = network("blue", 10, &[]);
    let (created, tag, _) = ask::<Stored<Network>>(&client, BLUE, &[], &blue).await;
    assert_eq!(created, StatusCode::CREATED);
    let (status, ..) = ask::<Problem>(&client, BLUE, &[], &network("blue", 11, &[])).await;
    assert_eq!(status, StatusCode::PRECONDITION_REQUIRED);
    let (status, ..) =
        ask::<Stored<Network>>(&client, BLUE, &[("if-match", &tag)], &network("blue", 11, &[])).await;
    assert_eq!(status, StatusCode::OK);
    handle.stop().await;
}

#[tokio::test]
async fn a_batch_happens_as_a_whole_or_not_at_all() {
    let (handle, client) = started(1).await;
    let batch = |operations| Batch { operations };
    let both = batch(vec![put(network("blue", 10, &["s1:1"])), put(network("red", 20, &["s1:2"]))]);
    let written = client.batch(&both).await.unwrap();
    assert_eq!((written.revision, written.changed.len()), (1, 2));
    assert_eq!(
        client.batch(&both).await.unwrap(),
        Written { revision: 1, changed: vec![] },
        "the same again"
    );

    // One takes the other's place in the same breath; a step of its own each could not.
    let swap = batch(vec![put(network("blue", 20, &["s1:1"])), put(network("red", 10, &["s1:2"]))]);
    assert_eq!(client.batch(&swap).await.unwrap().revision, 2);

    let wrong = batch(vec![
        put(network("green", 30, &[])),
        put(network("grey", 40, &["s1:3"])),
        put(network("black", 41, &["s1:3"])),
    ]);
    let error = client.batch(&wrong).await.unwrap_err();
    assert_eq!(pointer(error), (422, "/operations/1/put/network/ports/0".to_owned()));
    let stale = batch(vec![
        put(network("green", 30, &[])),
        Operation { if_revision: Some(1), ..Operation::delete("network/blue".parse().unwrap()) },
    ]);
    assert_eq!(client.batch(&stale).await.unwrap_err().problem().unwrap().status, 412);
    for (body, at) in [
        (r#"{"operations":[{}]}"#, "/operations/0"),
        (
            r#"{"operations":[{"put":{"network":{"name":"x","vlan":10,"colour":1}}}]}"#,
            "/operations/0/put/network/colour",
        ),
        (r#"{"operations":[{"delete":"network/blue"},{"delete":"network/blue"}]}"#, "/operations/1/delete"),
    ] {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let error = client.post::<_, Written>("/api/v1/batch", &body).await.unwrap_err();
        assert_eq!(pointer(error), (422, at.to_owned()), "{body}");
    }
    let many = batch(vec![Operation::delete("network/x".parse().unwrap()); 10_001]);
    assert_eq!(pointer(client.batch(&many).await.unwrap_err()), (422, "/operations".to_owned()));
    assert_eq!(client.list::<Network>().await.unwrap().len(), 2, "nothing was half applied");
    assert_eq!(client.revisions(10).await.unwrap().len(), 2);
    handle.stop().await;
}

#[tokio::test]
async fn every_revision_is_kept_and_can_be_rolled_back_to() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ControllerSpec {
        name: "test".into(),
        unix: Some(dir.path().join("test.sock")),
        store: Some(dir.path().join("store")),
        ..ControllerSpec::default()
    };
    let client = Client::unix(spec.unix.clone().unwrap());
    let handle = start(spec.clone()).await.unwrap();
    client.write(&network("blue", 10, &[])).await.unwrap();
    client.write(&network("red", 20, &[])).await.unwrap();
    let two = client.declared().await.unwrap();
    client.remove::<Network>("blue").await.unwrap();
    handle.stop().await;

    let handle = start(spec).await.unwrap();
    let revisions = client.revisions(10).await.unwrap();
    assert_eq!(revisions.iter().map(|r| r.revision).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(
        (revisions[0].request.as_str(), revisions[0].by.as_str()),
        ("DELETE /api/v1/networks/blue", "unix socket")
    );
    assert!(revisions[0].changes[0].after.is_none() && revisions[0].at.ends_with('Z'));
    let one: Revision = client.get("/api/v1/revisions/2").await.unwrap();
    assert_eq!(one, revisions[1]);
    let then: Declaration = client.get("/api/v1/revisions/2/intents").await.unwrap();
    assert_eq!(then, two);
    assert_eq!(
        client.get::<Revision>("/api/v1/revisions/4").await.unwrap_err().problem().unwrap().status,
        404
    );
    assert_eq!(client.rollback(9).await.unwrap_err().problem().unwrap().status, 404);

    let written = client.rollback(2).await.unwrap();
    assert_eq!((written.revision, written.changed), (4, vec!["network/blue".parse().unwrap()]));
    assert_eq!(client.declared().await.unwrap(), two);
    // Exported and imported again it is the same.
    let nothing: Written = client.put("/api/v1/intents", &Declaration::default()).await.unwrap();
    assert_eq!((nothing.revision, client.declared().await.unwrap()), (5, Declaration::default()));
    client.put::<_, Written>("/api/v1/intents", &two).await.unwrap();
    assert_eq!(client.declared().await.unwrap(), two);

    let audit: Vec<AuditEntry> = client.get("/api/v1/audit?limit=2").await.unwrap();
    let entries: Vec<_> =
        audit.iter().map(|entry| (entry.entry, entry.revision, entry.what.as_str())).collect();
    assert_eq!(
        entries,
        [
            (6, Some(6), "network/blue created, network/red created"),
            (5, Some(5), "network/blue deleted, network/red deleted")
        ]
    );
    handle.stop().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let (handle, client) = started(2).await;
    client.write(&network("blue", 10, &["s1:1", "s1:2"])).await.unwrap();
    handle.hub().wait_until(Duration::from_secs(10), Hub::is_realised).await;
    let flows = client.flows("s1").await.unwrap();
    let smaller = network("blue", 10, &["s1:1", "s1:3"]);
    let forecast: Forecast = client.put("/api/v1/networks/blue?dry_run=true", &smaller).await.unwrap();
    assert_eq!(forecast.switches.iter().map(|s| s.switch.as_str()).collect::<Vec<_>>(), ["s1"]);
    let pairs = |list: &controller_api::PairList| -> Vec<String> {
        list.pairs.iter().map(|pair| format!("{} {}", pair.a, pair.b)).collect()
    };
    // Port 2 goes to the undeclared ones, from which port 3 comes.
    assert_eq!(pairs(&forecast.lost), ["s1:1 s1:2", "s1:3 s1:4"]);
    assert_eq!(pairs(&forecast.gained), ["s1:1 s1:3", "s1:2 s1:4"]);
    assert_eq!(client.flows("s1").await.unwrap().len(), flows.len());
    assert_eq!(client.revisions(10).await.unwrap().len(), 1);

    // What was foretold is what is then there.
    let stored: Stored<Network> = client.put("/api/v1/networks/blue?wait=realised", &smaller).await.unwrap();
    assert_eq!(stored.status.state, State::Realised);
    let key = |flow: &FlowMod| format!("{} {} {}", flow.table, flow.priority.0, flow.matches);
    let after: Vec<String> = client
        .flows("s1")
        .await
        .unwrap()
        .iter()
        .map(|flow| {
            let text = flow.text.split(", ").filter(|part| !part.starts_with(['d', 'n'])).collect::<Vec<_>>();
            key(&openflow::text::parse_flow(&text.join(",")).unwrap())
        })
        .collect();
    let switch = &forecast.switches[0];
    for text in switch.adds.iter().chain(&switch.modifies) {
        let flow = openflow::text::parse_flow(text).unwrap();
        assert!(after.contains(&key(&flow)), "{text}");
    }
    for text in &switch.deletes {
        let flow = openflow::text::parse_flow_mod(FlowModCommand::DeleteStrict, text).unwrap();
        assert!(!after.contains(&key(&flow)), "{text}");
    }
    assert!(!switch.adds.is_empty() && !switch.deletes.is_empty() && !switch.modifies.is_empty());

    let gone: Forecast = client.delete("/api/v1/networks/blue?dry_run=true").await.unwrap();
    assert!(!gone.is_empty());
    let error = client.delete::<Forecast>("/api/v1/networks/red?dry_run=true").await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 404);
    let raw = FlowAdd { text: Some("table=0,priority=7,tcp,actions=drop".into()), ..FlowAdd::default() };
    let forecast: Forecast = client.post("/api/v1/switches/s1/flows?dry_run=true", &raw).await.unwrap();
    assert_eq!((forecast.switches[0].adds.len(), forecast.switches[0].deletes.len()), (1, 0));
    client.add_flow("s1", &raw).await.unwrap();
    let forecast: Forecast = client.post("/api/v1/switches/s1/flows?dry_run=true", &raw).await.unwrap();
    assert_eq!(forecast.switches[0].modifies.len(), 1);
    let forecast: Forecast = client.delete("/api/v1/switches/s1/flows?match=tcp&dry_run=true").await.unwrap();
    assert_eq!(forecast.switches[0].deletes.len(), 1);
    assert_eq!(client.delete_flows("s1", "tcp").await.unwrap(), 1);
    handle.stop().await;
}

/// The first `n` events of a watch: name, id, and the intent.
async fn events(client: &Client, path: &str, n: usize) -> Vec<(String, String, String)> {
    let (mut text, mut events) = (String::new(), Vec::new());
    let read = client.download(path, |piece| {
        text.push_str(&String::from_utf8_lossy(piece));
        while let Some((one, rest)) = text.clone().split_once("\n\n") {
            text = rest.to_owned();
            let field = |name: &str| {
                let mut lines = one.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                lines.next().unwrap_or_default().trim().to_owned()
            };
            if field("event").is_empty() {
                continue;
            }
            let intent =
                serde_json::from_str::<WatchEvent>(&field("data")).map(|event| event.intent.to_string());
            events.push((field("event"), field("id"), intent.unwrap_or_default()));
        }
        if events.len() >= n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("the events come").unwrap();
    events
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_goes_on_from_a_revision() {
    let (handle, client) = started(0).await;
    client.write(&network("blue", 10, &[])).await.unwrap();
    let follow = tokio::spawn({
        let client = client.clone();
        async move { events(&client, "/api/v1/watch?kind=network", 4).await }
    });
    // Whether it comes as what is there or as a change: it comes once.
    client.write(&network("red", 20, &[])).await.unwrap();
    client
        .write(&Function { name: "fw".into(), ingress: PortRef::new("s1", 1), egress: PortRef::new("s1", 2) })
        .await
        .unwrap();
    client.remove::<Network>("blue").await.unwrap();
    let seen = follow.await.unwrap();
    let of = |name: &str, intent: &str| {
        seen.iter().filter(|event| (event.0.as_str(), event.2.as_str()) == (name, intent)).count()
    };
    assert_eq!(
        (of("put", "network/red"), of("delete", "network/blue"), of("synced", "")),
        (1, 1, 1),
        "{seen:?}"
    );

    let batch = Batch { operations: vec![put(network("a", 1, &[])), put(network("b", 2, &[]))] };
    client.batch(&batch).await.unwrap();
    let text = |events: Vec<(String, String, String)>| -> Vec<String> {
        events.into_iter().map(|(name, id, intent)| format!("{name} {intent} {id}")).collect()
    };
    assert_eq!(
        text(events(&client, "/api/v1/watch?since=2", 4).await),
        ["put function/fw 3", "delete network/blue 4", "put network/a ", "put network/b 5"]
    );
    for (path, status) in
        [("/api/v1/watch?since=99", 400), ("/api/v1/watch?kind=colour", 400), ("/api/v1/watch?since=x", 400)]
    {
        let error = client.download(path, |_| ControlFlow::Continue(())).await.unwrap_err();
        assert_eq!(error.problem().unwrap().status, status, "{path}");
    }
    handle.stop().await;
}

#[tokio::test]
async fn a_reader_that_reads_nothing_costs_nobody_anything() {
    let (handle, client) = started(0).await;
    let mut silent = tokio::net::TcpStream::connect(handle.rest_addr().unwrap()).await.unwrap();
    silent.write_all(b"GET /api/v1/watch?since=0 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Each write is answered, whether it reads or not.
    let ports: Vec<String> = (0..1000).map(|n| format!("s1:port{n}")).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    for round in 0..20 {
        client.write(&network("blue", 10 + round, &ports)).await.unwrap();
    }
    drop(silent);
    assert_eq!(client.revisions(1).await.unwrap()[0].revision, 20);
    client.remove::<Network>("blue").await.unwrap();
    // Who comes late for too much is told so.
    for round in 0..1001u16 {
        client.write(&network("red", 100 + round, &[])).await.unwrap();
    }
    let error = client.download("/api/v1/watch?since=1", |_| ControlFlow::Continue(())).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 410);
    handle.stop().await;
}

#[tokio::test]
async fn lists_come_in_parts_and_filtered() {
    let (handle, client) = started(2).await;
    for n in 1..=5u16 {
        let port = format!("s1:{n}");
        client.write(&network(&format!("n{n}"), n, &[&port])).await.unwrap();
    }
    let (mut path, mut names) = ("/api/v1/networks?limit=2".to_owned(), Vec::new());
    loop {
        let answer = client.exchange_with(&Method::GET, &path, &[], vec![]).await.unwrap();
        let page: Vec<Stored<Network>> = serde_json::from_slice(answer.body()).unwrap();
        names.push(page.iter().map(|stored| stored.spec.name.clone()).collect::<Vec<_>>().join(" "));
        let Some(link) = answer.headers().get("link") else { break };
        let link = link.to_str().unwrap();
        path = link[1..link.find('>').unwrap()].to_owned();
    }
    assert_eq!(names, ["n1 n2", "n3 n4", "n5"]);
    let names = async |path: &str| -> Vec<String> {
        let found: Vec<Stored<Network>> = client.get(path).await.unwrap();
        found.into_iter().map(|stored| stored.spec.name).collect()
    };
    assert_eq!(names("/api/v1/networks?port=s1:3").await, ["n3"]);
    assert_eq!(names("/api/v1/networks?state=pending").await, ["n5"], "s1 has four ports");
    handle.hub().wait_until(Duration::from_secs(10), Hub::is_realised).await;
    let flows: Vec<controller_api::Flow> =
        client.get("/api/v1/switches/s1/flows?intent=network/n1&table=0").await.unwrap();
    assert!(!flows.is_empty() && flows.iter().all(|flow| flow.intent.as_deref() == Some("network/n1")));
    let switches: Vec<controller_api::Switch> = client.get("/api/v1/switches?limit=1").await.unwrap();
    assert_eq!(switches.len(), 1);
    for path in [
        "/api/v1/networks?limit=0",
        "/api/v1/networks?limit=1001",
        "/api/v1/networks?cursor=zz",
        "/api/v1/networks?wait=realised",
        "/api/v1/networks?state=sad",
        "/api/v1/networks?limit=1&limit=2",
        "/api/v1/hosts?mac=1",
        "/api/v1/revisions?cursor=ffff",
        "/healthz?x=1",
    ] {
        let error = client.get::<serde_json::Value>(path).await.unwrap_err();
        assert_eq!(error.problem().unwrap().status, 400, "{path}: {error}");
    }
    assert_eq!(client.get::<()>("/nothing?x=1").await.unwrap_err().problem().unwrap().status, 404);
    handle.stop().await;
}

#[tokio::test]
async fn it_says_whether_it_lives_and_whether_it_takes_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let spec = ControllerSpec {
        rest: Some("127.0.0.1:0".parse().unwrap()),
        store: Some(store.clone()),
        ..ControllerSpec::default()
    };
    let handle = start(spec).await.unwrap();
    let client = Client::new(Server::Tcp(handle.rest_addr().unwrap().to_string()));
    for path in ["/healthz", "/readyz"] {
        let (status, body) = client.exchange(&Method::GET, path, vec![]).await.unwrap();
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"ok\n"[..]), "{path}");
    }
    handle.stop().await;
}
