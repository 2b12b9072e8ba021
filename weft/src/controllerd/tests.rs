//! The daemon over its own sockets, with a switch that knows just enough OpenFlow.

use std::time::Duration;

use controller_api::client::{Client, ClientError, Server};
use controller_api::{
    Chain, FlowAdd, FlowOwner, Forecast, Function, Mac, Network, Policy, PolicyAction, PolicyProtocol,
    PortRef, Qos, Rate, Reservation, Router, State, Stored, TraceRequest,
};
use openflow::{
    AggregateStats, Dpid, Event, Features, FlowMod, FlowModCommand, FlowStats, FlowStatsRequest, Message,
    MultipartReply, PortDesc, PortNo, Reply, Request, Session, SessionConfig, Side, SwitchCapabilities,
    SwitchDesc,
};
use packet::MacAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// Answers requests and keeps flows until the pipe ends.
async fn fake_switch(mut pipe: DuplexStream, dpid: u64, n_ports: u32) {
    let mut session = Session::new(clock::now(), Side::Switch, SessionConfig::default());
    let mut flows: Vec<FlowStats> = Vec::new();
    let mut bytes = vec![0; 65536];
    loop {
        while let Some(event) = session.poll_event() {
            if let Event::Message { xid, message } = event
                && let Some(answer) = answer(dpid, n_ports, &mut flows, message)
            {
                session.send(xid, &answer).unwrap();
            }
        }
        while let Some(out) = session.poll_transmit() {
            let n = out.len();
            if pipe.write_all(out).await.is_err() {
                return;
            }
            session.handle_transmitted(clock::now(), n);
        }
        match pipe.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(n) => session.handle_bytes(clock::now(), &bytes[..n]),
        }
    }
}

fn answer(dpid: u64, n_ports: u32, flows: &mut Vec<FlowStats>, message: Message) -> Option<Message> {
    let reply = |body| Some(Message::MultipartReply(MultipartReply { more: false, body }));
    match message {
        Message::FeaturesRequest => Some(Message::FeaturesReply(Features {
            dpid: Dpid(dpid),
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: SwitchCapabilities::NONE,
            ports: Vec::new(),
        })),
        Message::BarrierRequest => Some(Message::BarrierReply),
        Message::FlowMod(flow) => {
            flow_mod(flows, flow);
            None
        }
        Message::MultipartRequest(request) => match request.body {
            Request::Desc => reply(Reply::Desc(SwitchDesc {
                datapath: format!("s{dpid}").into(),
                ..SwitchDesc::default()
            })),
            Request::PortDesc => {
                let port = |n| PortDesc::new(PortNo(n), MacAddr([2, 0, 0, 0, 0, n as u8]), format!("p{n}"));
                reply(Reply::PortDesc((1..=n_ports).map(port).collect()))
            }
            Request::Flow(request) => {
                let wanted = |flow: &&FlowStats| covers(&request, flow);
                reply(Reply::Flow(flows.iter().filter(wanted).cloned().collect()))
            }
            Request::Aggregate(request) => {
                let wanted = flows.iter().filter(|flow| covers(&request, flow)).count();
                let flows = u32::try_from(wanted).unwrap_or(u32::MAX);
                reply(Reply::Aggregate(AggregateStats { packets: 0, bytes: 0, flows }))
            }
            Request::PortStats(_) => reply(Reply::PortStats(vec![])),
            // No groups, no meters.
            Request::GroupFeatures
            | Request::GroupDesc
            | Request::MeterFeatures
            | Request::MeterConfig(_) => {
                Some(Message::Error(openflow::Error::new(openflow::error::BadRequest::BadMultipart)))
            }
            _ => None,
        },
        _ => None,
    }
}

fn covers(request: &FlowStatsRequest, flow: &FlowStats) -> bool {
    flow.cookie.0 & request.cookie_mask == request.cookie.0 & request.cookie_mask
        && (request.table == openflow::TableId::ALL || request.table == flow.table)
        && request.matches.covers(&flow.matches)
}

fn flow_mod(flows: &mut Vec<FlowStats>, flow: FlowMod) {
    let same =
        |f: &FlowStats| (f.table, f.priority, &f.matches) == (flow.table, flow.priority, &flow.matches);
    match flow.command {
        FlowModCommand::Delete => {
            let request = FlowStatsRequest {
                table: flow.table,
                cookie: flow.cookie,
                cookie_mask: flow.cookie_mask,
                matches: flow.matches,
                ..FlowStatsRequest::default()
            };
            flows.retain(|f| !covers(&request, f));
        }
        FlowModCommand::DeleteStrict => flows.retain(|f| !same(f)),
        _ => {
            flows.retain(|f| !same(f));
            flows.push(FlowStats {
                table: flow.table,
                duration: Duration::ZERO,
                priority: flow.priority,
                idle_timeout: flow.idle_timeout,
                hard_timeout: flow.hard_timeout,
                flags: flow.flags,
                importance: 0,
                cookie: flow.cookie,
                packets: 0,
                bytes: 0,
                matches: flow.matches,
                instructions: flow.instructions,
            });
        }
    }
}

async fn started(n_switches: u64) -> (ControllerHandle, Client) {
    let spec = ControllerSpec {
        name: "test".into(),
        rest: Some("127.0.0.1:0".parse().unwrap()),
        ..ControllerSpec::default()
    };
    let handle = start(spec).await.unwrap();
    for dpid in 1..=n_switches {
        tokio::spawn(fake_switch(handle.connector().connect(), dpid, 4));
    }
    let client = Client::new(Server::Tcp(handle.rest_addr().unwrap().to_string()));
    let there = |hub: &Hub| hub.read(|core| core.view().switches().len() as u64 == n_switches);
    assert!(handle.hub().wait_until(Duration::from_secs(10), there).await);
    (handle, client)
}

fn network(name: &str, vlan: u16, ports: &[&str]) -> Network {
    let ports = ports.iter().map(|port| port.parse().unwrap()).collect();
    Network { name: name.into(), vlan, ports, trunks: vec![], hosts: vec![] }
}

fn pointer(error: ClientError) -> (u16, String) {
    let problem = error.problem().unwrap_or_else(|| panic!("{error}")).clone();
    (problem.status, problem.pointer.unwrap_or_default())
}

#[tokio::test]
async fn a_network_is_declared_realised_and_deleted() {
    let (handle, client) = started(2).await;
    let blue = network("blue", 10, &["s1:1", "s1:p2", "0000000000000002:1"]);
    let stored = client
        .put::<_, controller_api::Stored<Network>>("/api/v1/networks/blue?wait=realised", &blue)
        .await
        .unwrap();
    assert_eq!((stored.status.state, stored.spec.clone()), (State::Realised, blue.clone()));
    assert_eq!(stored.status.switches.iter().map(|s| s.switch.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    assert_eq!(client.list::<Network>().await.unwrap().len(), 1);
    // The same once more changes nothing.
    let generation = stored.status.generation;
    assert_eq!(client.write(&blue).await.unwrap().status.generation, generation);

    let waiting = client.write(&network("red", 20, &["s3:1"])).await.unwrap().status;
    assert_eq!((waiting.state, waiting.reason.as_deref()), (State::Pending, Some("waiting for port s3:1")));
    client.remove::<Network>("blue").await.unwrap();
    assert_eq!(client.read::<Network>("blue").await.unwrap_err().problem().unwrap().status, 404);
    handle.stop().await;
}

#[tokio::test]
async fn mistakes_are_answered_with_a_pointer_and_change_nothing() {
    let (handle, client) = started(1).await;
    client.write(&network("blue", 10, &["s1:1"])).await.unwrap();
    let put = async |name: &str, body: serde_json::Value| -> (u16, String) {
        let path = format!("/api/v1/networks/{name}");
        pointer(client.put::<_, serde_json::Value>(&path, &body).await.unwrap_err())
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let cases = [
        ("red", r#"{"name":"red","vlan":0,"ports":[]}"#, (422, "/vlan")),
        ("red", r#"{"name":"red","vlan":10,"ports":[]}"#, (422, "/vlan")),
        ("red", r#"{"name":"red","vlan":20,"ports":["s1:1"]}"#, (422, "/ports/0")),
        ("red", r#"{"name":"red","vlan":20,"ports":["s1"]}"#, (422, "/ports/0")),
        ("red", r#"{"name":"red","vlan":20,"colour":1}"#, (422, "/colour")),
        ("red", r#"{"name":"green","vlan":20}"#, (422, "/name")),
    ];
    for (name, body, (status, at)) in cases {
        assert_eq!(put(name, json(body)).await, (status, at.to_owned()), "{body}");
    }
    assert_eq!(client.list::<Network>().await.unwrap().len(), 1);
    for path in ["/api/v1/nothing", "/api/v1/switches/s9/flows"] {
        assert_eq!(client.get::<()>(path).await.unwrap_err().problem().unwrap().status, 404);
    }
    for path in
        ["/api/v1/networks/blue?wait=forever", "/api/v1/networks/blue?colour=1", "/api/v1/networks/%ff"]
    {
        let error = client.put::<_, ()>(path, &network("blue", 10, &[])).await.unwrap_err();
        assert!(error.problem().unwrap().kind.starts_with("urn:weft:problem:"), "{path}: {error}");
    }
    let long = "x".repeat(17 << 20);
    let error = client.put::<_, ()>("/api/v1/networks/blue", &long).await.unwrap_err();
    assert_eq!(error.problem().unwrap().kind, "urn:weft:problem:body");
    assert_eq!(client.post::<_, ()>("/api/v1/health", &1).await.unwrap_err().problem().unwrap().status, 405);
    handle.stop().await;
}

#[tokio::test]
async fn a_function_in_use_is_not_deleted() {
    let (handle, client) = started(1).await;
    let [ingress, egress] = [2, 3].map(|port| PortRef::new("s1", port));
    client.write(&Function { name: "fw".into(), ingress, egress }).await.unwrap();
    let chain = Chain {
        name: "web".into(),
        from: vec!["s1:1".into()],
        to: vec!["s1:4".into()],
        functions: vec!["fw".into()],
        symmetric: true,
    };
    client.write(&chain).await.unwrap();
    assert_eq!(client.remove::<Function>("fw").await.unwrap_err().problem().unwrap().status, 409);
    let nobody = Chain { from: vec!["client".into()], ..chain };
    assert_eq!(pointer(client.write(&nobody).await.unwrap_err()), (422, "/from/0".into()));
    handle.stop().await;
}

#[tokio::test]
async fn policies_are_checked_traced_and_foretold() {
    let (handle, client) = started(1).await;
    let host = |n: u8| Reservation {
        port: PortRef::new("s1", n),
        mac: Mac([2, 0, 0, 0, 0, n]),
        addresses: vec![[10, 0, 0, n].into()],
    };
    let hosts = vec![host(1), host(2)];
    client.write(&Network { hosts, ..network("blue", 10, &["s1:1", "s1:2"]) }).await.unwrap();
    let web = Policy {
        name: "web".into(),
        priority: 20,
        action: PolicyAction::Deny,
        from: vec!["s1:1".into()],
        to: vec!["s1:2".into()],
        protocol: Some(PolicyProtocol::Tcp),
        ports: vec![80],
        stateful: false,
    };
    for (wrong, expected) in [
        (Policy { ports: vec![80, 0], ..web.clone() }, "/ports/1"),
        (Policy { protocol: None, ..web.clone() }, "/protocol"),
        (Policy { from: vec!["h1".into()], ..web.clone() }, "/from/0"),
        (Policy { priority: u16::MAX, ..web.clone() }, "/priority"),
    ] {
        assert_eq!(pointer(client.write(&wrong).await.unwrap_err()), (422, expected.into()));
    }
    client.put::<_, Stored<Policy>>("/api/v1/policies/web?wait=realised", &web).await.unwrap();
    let twice = Policy { name: "zeta".into(), ..web.clone() };
    assert_eq!(pointer(client.write(&twice).await.unwrap_err()), (422, "/priority".into()));

    let traced = |port: u16| {
        let flow = format!("tcp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,tp_dst={port}");
        TraceRequest { port: PortRef::new("s1", 1), frame: None, flow: Some(flow) }
    };
    let passed = client.trace(&traced(81)).await.unwrap();
    assert_eq!(passed.delivered, [PortRef::new("s1", 2)], "{}", passed.text);
    let dropped = client.trace(&traced(80)).await.unwrap();
    assert_eq!(dropped.drops, ["at s1:1: dropped by a flow of table 6, policy/web"], "{}", dropped.text);
    let last = dropped.hops[0].steps.last().unwrap();
    assert_eq!(last.intent.as_deref(), Some("policy/web"));

    let all = Policy { protocol: None, ports: vec![], ..web.clone() };
    let forecast: Forecast = client.put("/api/v1/policies/web?dry_run=true", &all).await.unwrap();
    assert_eq!((forecast.lost.n_pairs, forecast.gained.n_pairs), (1, 0));
    let stateful = Policy { stateful: true, ..web };
    let stored = client.write(&stateful).await.unwrap();
    assert_eq!(stored.status.state, State::Failed);
    assert!(stored.status.reason.unwrap().starts_with("no weft router is on the path"));
    handle.stop().await;
}

#[tokio::test]
async fn rates_are_checked_and_say_where_there_are_no_meters() {
    let (handle, client) = started(1).await;
    client.write(&network("blue", 10, &["s1:1", "s1:2"])).await.unwrap();
    let gold = Qos {
        name: "gold".into(),
        ports: vec!["s1:1".into()],
        networks: vec!["blue".into()],
        rate: Some(Rate(20_000_000)),
        queue: Some(2),
        ..Qos::default()
    };
    for (wrong, expected) in [
        (Qos { rate: Some(Rate(999)), ..gold.clone() }, "/rate"),
        (Qos { rate: Some(Rate(u64::MAX)), ..gold.clone() }, "/rate"),
        (Qos { ports: vec!["h1".into()], ..gold.clone() }, "/ports/0"),
        (Qos { networks: vec!["red".into()], ..gold.clone() }, "/networks/0"),
        (Qos { rate: None, queue: None, ..gold.clone() }, "/rate"),
    ] {
        assert_eq!(pointer(client.write(&wrong).await.unwrap_err()), (422, expected.into()));
    }
    client.write(&gold).await.unwrap();
    let failed =
        |hub: &Hub| hub.stored::<Qos>("gold").is_some_and(|(_, it)| it.status.state == State::Failed);
    assert!(handle.hub().wait_until(Duration::from_secs(10), failed).await);
    let stored: Stored<Qos> = client.read("gold").await.unwrap();
    assert_eq!(stored.status.reason.as_deref(), Some("s1 has no meters: nothing is limited there"));
    assert_eq!(client.remove::<Network>("blue").await.unwrap_err().problem().unwrap().status, 409);
    client.remove::<Qos>("gold").await.unwrap();
    client.remove::<Network>("blue").await.unwrap();
    handle.stop().await;
}

#[tokio::test]
async fn raw_flows_live_beside_those_of_intents() {
    let (handle, client) = started(1).await;
    handle.hub().wait_until(Duration::from_secs(10), Hub::is_realised).await;
    let n_flows = client.flows("s1").await.unwrap().len();
    let add = |text: &str| FlowAdd { text: Some(text.into()), ..FlowAdd::default() };
    let flow =
        client.add_flow("s1", &add("table=0,priority=7,tcp,tp_dst=80,actions=output:2")).await.unwrap();
    assert_eq!((flow.owner, flow.actions.as_slice()), (FlowOwner::Raw, &["output:2".to_owned()][..]));
    client.add_flow("0x1", &add("table=0,priority=8,udp,actions=drop")).await.unwrap();
    assert_eq!(client.flows("s1").await.unwrap().len(), n_flows + 2);
    let error = client.add_flow("s1", &add("priority=8,colour=1,actions=drop")).await.unwrap_err();
    assert_eq!(pointer(error), (422, "/text".into()));
    // A flow of an intent is nobody's to overwrite.
    let error = client.add_flow("s1", &add("table=3,priority=0,actions=drop")).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 409);
    assert_eq!(client.delete_flows("s1", "tcp").await.unwrap(), 1);
    assert_eq!(client.delete_flows("s1", "").await.unwrap(), 1);
    assert_eq!(client.flows("s1").await.unwrap().len(), n_flows);
    handle.stop().await;
}

#[tokio::test]
async fn a_trace_names_the_intent_and_the_reason() {
    let (handle, client) = started(1).await;
    let blue = network("blue", 10, &["s1:1", "s1:2"]);
    client.write(&blue).await.unwrap();
    handle.hub().wait_until(Duration::from_secs(10), Hub::is_realised).await;
    let request = |port: &str, flow: &str| TraceRequest {
        port: port.parse().unwrap(),
        frame: None,
        flow: Some(flow.into()),
    };
    let arp = "arp,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff";
    let reply = client.trace(&request("s1:1", arp)).await.unwrap();
    assert_eq!(reply.delivered, [PortRef::new("s1", 2)]);
    assert!(reply.punted, "the sender is not known yet");
    assert!(
        reply.hops[0].steps.iter().any(|step| step.intent.as_deref() == Some("network/blue")),
        "{}",
        reply.text
    );
    let reply = client.trace(&request("s1:1", &format!("{arp},dl_vlan=20"))).await.unwrap();
    assert_eq!(reply.drops, ["at s1:1: no flow of table 0 matches"]);
    handle.stop().await;
}

#[tokio::test]
async fn routers_are_pushed_and_their_refusal_is_a_status() {
    let (handle, client) = started(1).await;
    let router = |name: &str| Router { name: name.into(), ..Router::default() };
    client.write(&router("r1")).await.unwrap();
    let sink: RouterSink = Arc::new(|change| {
        Box::pin(async move {
            match change {
                RouterChange::Put(router) if router.name == "r2" => Err("no such router".to_owned()),
                _ => Ok(()),
            }
        })
    });
    handle.hub().set_router_sink(sink);
    client.write(&router("r2")).await.unwrap();
    let states =
        |hub: &Hub| -> Vec<State> { hub.list::<Router>(|_| true).iter().map(|r| r.status.state).collect() };
    let done = |hub: &Hub| states(hub) == [State::Realised, State::Failed];
    assert!(handle.hub().wait_until(Duration::from_secs(10), done).await);
    assert_eq!(client.read::<Router>("r2").await.unwrap().status.reason.as_deref(), Some("no such router"));
    handle.stop().await;
}

#[tokio::test]
async fn policies_that_keep_state_become_rules_of_routers() {
    let (handle, client) = started(1).await;
    let host = |port: u8, address: [u8; 4]| Reservation {
        port: PortRef::new("s1", port),
        mac: Mac([2, 0, 0, 0, 0, port]),
        addresses: vec![address.into()],
    };
    let red = network("red", 20, &["s1:2", "s1:4"]);
    let blue = network("blue", 10, &["s1:1", "s1:3"]);
    client.write(&Network { hosts: vec![host(2, [10, 2, 0, 2])], ..red }).await.unwrap();
    client.write(&Network { hosts: vec![host(1, [10, 1, 0, 1])], ..blue.clone() }).await.unwrap();
    let interface = |network: &str, port: u8| controller_api::RouterInterface {
        name: network.into(),
        network: Some(network.into()),
        attachment: Some(PortRef::new("s1", port)),
        ..Default::default()
    };
    let interfaces = vec![interface("blue", 3), interface("red", 4)];
    client.write(&Router { name: "r1".into(), interfaces, ..Router::default() }).await.unwrap();
    let web = Policy {
        name: "web".into(),
        priority: 20,
        action: PolicyAction::Deny,
        from: vec!["s1:1".into()],
        to: vec!["s1:2".into()],
        protocol: Some(PolicyProtocol::Tcp),
        ports: vec![80],
        stateful: true,
    };
    let forecast: Forecast = client.put("/api/v1/policies/web?dry_run=true", &web).await.unwrap();
    assert!(forecast.switches.is_empty() && forecast.issues.is_empty(), "{forecast:?}");
    let stored = client.write(&web).await.unwrap();
    assert_eq!(stored.status.state, State::Failed, "{:?}", stored.status);
    assert!(stored.status.reason.unwrap().contains("nobody here configures it"));

    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = seen.clone();
    let sink: RouterSink = Arc::new(move |change| {
        if let RouterChange::Put(router) = change {
            let rules = router.firewall.iter().map(|rule| rule.from_group.clone().unwrap_or_default());
            told.lock().unwrap().push(rules.collect::<Vec<_>>());
        }
        Box::pin(async { Ok(()) })
    });
    handle.hub().set_router_sink(sink);
    let is = |name: &'static str, state: State| {
        move |hub: &Hub| hub.stored::<Policy>(name).is_some_and(|(_, it)| it.status.state == state)
    };
    assert!(handle.hub().wait_until(Duration::from_secs(10), is("web", State::Realised)).await);
    assert_eq!(seen.lock().unwrap().last().unwrap()[..], ["policy/web/from"]);
    // Nobody has an address at this port.
    let far = Policy { name: "far".into(), priority: 30, from: vec!["s1:3".into()], ..web };
    let far = Policy { to: vec!["s1:2".into()], ..far };
    let stored = client.write(&far).await.unwrap();
    assert_eq!(stored.status.state, State::Pending, "{:?}", stored.status);
    assert!(stored.status.reason.unwrap().contains("nobody at s1:3"));
    // Without it the router is as it was written.
    client.remove::<Policy>("far").await.unwrap();
    client.remove::<Policy>("web").await.unwrap();
    let is_bare = |_: &Hub| seen.lock().unwrap().last().is_some_and(Vec::is_empty);
    assert!(handle.hub().wait_until(Duration::from_secs(10), is_bare).await);
    assert!(handle.hub().wait_until(Duration::from_secs(10), Hub::is_realised).await);
    handle.stop().await;
}

#[tokio::test]
async fn intents_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ControllerSpec {
        name: "test".into(),
        unix: Some(dir.path().join("run/test.sock")),
        store: Some(dir.path().join("intents.json")),
        ..ControllerSpec::default()
    };
    for round in 0..2 {
        let handle = start(spec.clone()).await.unwrap();
        let client = Client::unix(spec.unix.clone().unwrap());
        assert_eq!(client.list::<Network>().await.unwrap().len(), round);
        client.write(&network("blue", 10, &["s1:1"])).await.unwrap();
        assert!(start(spec.clone()).await.is_err(), "the socket is in use");
        handle.stop().await;
        assert!(!spec.unix.as_ref().unwrap().exists());
    }
}

#[tokio::test]
async fn the_document_describes_every_resource() {
    let (handle, client) = started(0).await;
    let document: serde_json::Value = client.get("/api/v1/openapi.json").await.unwrap();
    for path in
        ["health", "switches/{switch}/flows", "networks/{name}", "routers", "functions", "chains", "trace"]
    {
        assert!(document["paths"].get(format!("/api/v1/{path}")).is_some(), "{path}");
    }
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"].get(name).is_some(), "{name} is referred to and not there");
    }
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let ids: Vec<&str> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
    let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    let twice: Vec<&&str> =
        ids.iter().filter(|id| ids.iter().filter(|other| other == id).count() > 1).collect();
    assert_eq!((unique.len(), ids.len() > 60), (ids.len(), true), "{twice:?}");
    assert_eq!(client.health().await.unwrap().service, "controller");
    handle.stop().await;

    // The copy in the repository is for people and generators of clients; WEFT_BLESS=1 writes it anew.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../controller/api/openapi.json");
    let served = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("WEFT_BLESS").is_some() {
        std::fs::write(path, &served).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == served,
        "controller/api/openapi.json is not what is served: run this test with WEFT_BLESS=1"
    );
}

mod auth;
mod rest;
