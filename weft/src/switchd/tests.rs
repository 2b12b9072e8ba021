use std::time::Duration;

use openflow::{Event, Message, Session, SessionConfig, Side};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::controllerd;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn spec(name: &str) -> SwitchSpec {
    let listen = vec!["ptcp:0".parse().expect("an address")];
    SwitchSpec { listen, ..SwitchSpec::new(name, Dpid(7)) }
}

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// A tool that connects to the switch.
pub(super) struct Tool {
    pub stream: TcpStream,
    pub session: Session,
    clock: dataplane::Clock,
}

impl Tool {
    pub async fn connect(handle: &SwitchHandle) -> Self {
        Self::over(TcpStream::connect(handle.listening()[0].addr).await.expect("the switch listens")).await
    }

    /// The controller's side of a connection.
    pub async fn over(stream: TcpStream) -> Self {
        let clock = dataplane::Clock::start();
        let session = Session::new(clock.now(), Side::Controller, SessionConfig::default());
        let mut tool = Self { stream, session, clock };
        assert!(matches!(tool.event().await, Event::Established(_)));
        tool
    }

    pub async fn event(&mut self) -> Event {
        let mut bytes = [0; 4096];
        loop {
            if let Some(event) = self.session.poll_event() {
                return event;
            }
            if let Some(transmit) = self.session.poll_transmit() {
                let n = transmit.len();
                self.stream.write_all(transmit).await.expect("the switch reads");
                self.session.handle_transmitted(self.clock.now(), n);
                continue;
            }
            let n = within("an answer", self.stream.read(&mut bytes)).await.expect("the switch answers");
            assert_ne!(n, 0, "the switch has closed the connection");
            self.session.handle_bytes(self.clock.now(), &bytes[..n]);
        }
    }

    pub async fn ask(&mut self, message: Message) -> Message {
        let asked = self.session.request(&message).expect("established");
        loop {
            match self.event().await {
                Event::Message { xid, message } if xid == asked => return message,
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_reads_and_changes_flows() {
    let handle = start(spec("t-flows"), Plane::start(2).expect("workers")).await.expect("a switch");
    let mut tool = Tool::connect(&handle).await;
    let Message::FeaturesReply(features) = tool.ask(Message::FeaturesRequest).await else {
        panic!("features")
    };
    assert_eq!(features.dpid, Dpid(7));
    let flow =
        openflow::text::parse_flow("table=1,priority=5,tcp,tp_dst=80,actions=output:1").expect("a flow");
    tool.session.request(&Message::FlowMod(flow)).expect("established");
    assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
    let flows = handle.flows().await.expect("running");
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].matches.to_string(), "tcp,tp_dst=80");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_alone_for_good_obeys_flows_and_learns_behind_them() {
    let alone = SwitchSpec { fail_mode: vswitch::FailMode::Standalone, ..spec("t-alone") };
    let handle = start(alone, Plane::start(1).expect("workers")).await.expect("a switch");
    let mut tool = Tool::connect(&handle).await;
    let flow = openflow::text::parse_flow("priority=9,ip,actions=drop").expect("a flow");
    tool.session.request(&Message::FlowMod(flow)).expect("established");
    assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
    let flows = handle.flows().await.expect("running");
    let shown: Vec<_> = flows.iter().map(|flow| (flow.priority.0, flow.matches.to_string())).collect();
    assert_eq!(shown, [(9, "ip".to_owned()), (0, String::new())]);
    assert_eq!(openflow::text::Instructions(&flows[1].instructions).to_string(), "NORMAL");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_quotes_its_request() {
    let handle = start(spec("t-error"), Plane::start(1).expect("workers")).await.expect("a switch");
    let mut tool = Tool::connect(&handle).await;
    let flow = openflow::text::parse_flow("actions=group:77").expect("a flow");
    let Message::Error(error) = tool.ask(Message::FlowMod(flow)).await else { panic!("an error") };
    assert_eq!(error.kind, openflow::error::BadAction::BadOutGroup.into());
    assert!(error.data.len() >= 64 && error.data[1] == 14, "the flow mod is quoted: {:?}", error.data);
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_silence_cost_their_connection_only() {
    let handle = start(spec("t-garbage"), Plane::start(1).expect("workers")).await.expect("a switch");
    let mut tool = Tool::connect(&handle).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 70_000], &[4, 0, 0, 3, 0, 0, 0, 0], &[]] {
        let mut stream = TcpStream::connect(handle.listening()[0].addr).await.expect("the switch listens");
        // It may be closed before all of it is written.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = within("the end of the connection", stream.read_to_end(&mut answer)).await;
    }
    assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_does_not_hold_up_others() {
    let handle = start(spec("t-flood"), Plane::start(1).expect("workers")).await.expect("a switch");
    let mut flood = Vec::new();
    let body = openflow::Request::Desc;
    let ask = Message::MultipartRequest(openflow::MultipartRequest { more: false, body });
    for xid in 0..50_000 {
        openflow::codec::encode(openflow::Version::V13, openflow::Xid(xid), &ask, &mut flood).expect("short");
    }
    let deaf = Tool::connect(&handle).await;
    let (_reader, mut writer) = deaf.stream.into_split();
    // 50 MB of answers: the switch stops reading before that.
    let flooding = tokio::spawn(async move { writer.write_all(&flood).await });
    let mut tool = Tool::connect(&handle).await;
    for _ in 0..20 {
        assert_eq!(tool.ask(Message::BarrierRequest).await, Message::BarrierReply);
    }
    flooding.abort();
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switch_and_controllers_meet_over_a_pipe_and_over_tcp_and_meet_again() {
    // Two controllers: one that is connected to twice keeps the later connection of a switch only.
    let piped = controllerd::start(controllerd::ControllerSpec::default()).await.expect("a controller");
    let spoken_to = controllerd::ControllerSpec {
        openflow: vec!["ptcp:0".parse().expect("a place")],
        ..controllerd::ControllerSpec::default()
    };
    let far = controllerd::start(spoken_to.clone()).await.expect("a controller");
    let addr = far.openflow()[0].addr;
    let controllers =
        vec![Target::Pipe(piped.connector()), Target::Net(format!("tcp:{addr}").parse().expect("a target"))];
    let spec = SwitchSpec { controllers, ..spec("t-pipe") };
    let handle = start(spec, Plane::start(1).expect("workers")).await.expect("a switch");
    let connected = async |wanted: &[&str]| {
        let same = |peers: &[String]| {
            peers.len() == wanted.len() && wanted.iter().all(|w| peers.iter().any(|p| p.starts_with(w)))
        };
        within("the connections", async {
            while !same(&handle.status().await.expect("running").peers) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    };
    connected(&["in process", "tcp:"]).await;
    piped.stop().await;
    connected(&["tcp:"]).await;
    far.stop().await;
    connected(&[]).await;
    let again = controllerd::ControllerSpec { openflow: vec![addr.into()], ..spoken_to };
    let far = controllerd::start(again).await.expect("a controller");
    connected(&["tcp:"]).await;
    handle.stop().await;
    far.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_come_and_go_over_the_unix_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = SwitchSpec { run_dir: Some(dir.path().to_owned()), ..spec("t-ports") };
    let handle = start(spec.clone(), Plane::start(2).expect("workers")).await.expect("a switch");
    let client = controller_api::client::Client::unix(dir.path().join("t-ports.sock"));
    let add = |number, spec: &str| controller_api::PortAdd { number, spec: spec.to_owned(), name: None };
    assert_eq!(client.add_port("t-ports", &add(Some(2), "mem:")).await.expect("added").number, 2);
    assert_eq!(client.add_port("0000000000000007", &add(None, "mem:")).await.expect("added").number, 1);
    for (wrong, status) in
        [(add(Some(2), "mem:"), 409), (add(Some(0), "mem:"), 422), (add(None, "nonsense"), 422)]
    {
        let error = client.add_port("t-ports", &wrong).await.expect_err("refused");
        assert_eq!(error.problem().map(|problem| problem.status), Some(status), "{error}");
    }
    let ports = client.ports("t-ports").await.expect("running");
    assert_eq!(ports.iter().map(|port| port.number).collect::<Vec<_>>(), [1, 2]);
    client.delete_port("t-ports", 1).await.expect("removed");
    assert_eq!(
        client.delete_port("t-ports", 1).await.expect_err("gone").problem().map(|p| p.status),
        Some(404)
    );
    assert_eq!(handle.ports().await.expect("running").len(), 1);

    let text = Some("priority=9,in_port=2,actions=IN_PORT".to_owned());
    let flow = controller_api::FlowAdd { text, ..controller_api::FlowAdd::default() };
    assert_eq!(client.add_flow("t-ports", &flow).await.expect("added").priority, 9);
    let request = controller_api::TraceRequest {
        port: controller_api::PortRef::new("t-ports", 2),
        frame: None,
        flow: Some("dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02".to_owned()),
    };
    let trace = client.trace(&request).await.expect("running");
    assert_eq!(trace.delivered, [controller_api::PortRef::new("t-ports", 2)], "{}", trace.text);
    let copies = &trace.hops[0].copies;
    assert_eq!(copies.iter().map(|copy| copy.port).collect::<Vec<_>>(), [Some(2)]);
    assert!(copies[0].frame.starts_with("020000000002020000000001"), "{}", copies[0].frame);
    assert_eq!(client.delete_flows("t-ports", "in_port=2").await.expect("running"), 1);

    let taken = start(spec, Plane::start(1).expect("workers")).await.expect_err("the name is taken");
    assert!(taken.to_string().contains("in use"), "{taken:#}");
    handle.stop().await;
    assert!(!dir.path().join("t-ports.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_how_it_stands_with_each_peer() {
    let target = |text: String| Target::Net(text.parse().expect("a target"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("free");
    let there = target(format!("tcp:{}", listener.local_addr().unwrap()));
    let gone = target(format!("tcp:{}", nobody.local_addr().unwrap()));
    drop(nobody);
    let names = [there.to_string(), gone.to_string()];
    let spec = SwitchSpec { controllers: vec![there, gone], ..spec("t-peers") };
    let handle = start(spec, Plane::start(1).expect("workers")).await.expect("a switch");
    let mut controller =
        Tool::over(within("a connection", listener.accept()).await.expect("accepted").0).await;
    let request = openflow::RoleRequest { role: openflow::Role::Master, generation: 1 };
    controller.ask(Message::RoleRequest(request)).await;
    let _tool = Tool::connect(&handle).await;
    let details = within("the failure", async {
        loop {
            let details = handle.status().await.expect("running").details;
            if details.len() == 3 && details[2].last_error.is_some() {
                break details;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!((&details[0].peer, &details[2].peer), (&names[0], &names[1]));
    let of = |at: usize| (details[at].controller, details[at].connected, details[at].role);
    assert_eq!(of(0), (true, true, Some(controller_api::PeerRole::Master)));
    assert_eq!(of(1), (false, true, Some(controller_api::PeerRole::Equal)));
    assert_eq!(of(2), (true, false, None));
    assert_eq!(details[0].version.as_deref(), Some("OpenFlow13"));
    let error = details[2].last_error.as_deref().unwrap_or_default();
    assert!(error.contains("cannot connect") && error.contains("refused"), "{error}");
    assert!(details[2].retry_ms.is_some_and(|wait| wait <= 8000), "{:?}", details[2]);
    // What is known of one that has gone.
    drop(controller);
    within("the end", async {
        while handle.status().await.expect("running").details.iter().any(|p| p.controller && p.connected) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_comes_before_its_port_is_known() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("in.pcap");
    let mut writer = netio::pcap::Writer::create(&file).expect("a file");
    let frame: Vec<u8> = [[0xff; 6], [2; 6]].concat().into_iter().chain([0; 48]).collect();
    for at in 0..500 {
        writer.write(at, &[&frame]).expect("written");
    }
    writer.flush().expect("written");
    let out = dir.path().join("out.pcap");
    let port = |number, text: String| (Some(PortNo(number)), text.parse().expect("a port"));
    let ports = vec![
        port(1, format!("pcap:{}", file.display())),
        port(2, format!("pcap:{},out={}", file.display(), out.display())),
    ];
    let spec = SwitchSpec { fail_mode: FailMode::Standalone, ..spec("t-pcap") };
    let handle = start(spec, Plane::start(2).expect("workers")).await.expect("a switch");
    handle.add_ports(ports).await.expect("added");
    let received = || async {
        let rows = handle.ports().await.expect("running");
        rows.iter().map(|row| row.counters.rx_frames).collect::<Vec<_>>()
    };
    within("the end of the files", async {
        while received().await != [500, 500] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The workers report what they have dropped once they are quiet.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let drops = handle.drops().await.expect("running");
    let unknown = drops.iter().find(|(reason, _)| reason == "unknown_in_port").expect("counted");
    assert_eq!(unknown.1, 0, "{drops:?}");
    handle.stop().await;
}
