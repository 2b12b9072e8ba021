//! A switch of the bench: it keeps flows, answers, and forwards nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use openflow::{
    AggregateStats, Dpid, Event, Features, FlowMod, FlowModCommand, FlowStats, Message, MultipartReply,
    PortDesc, PortNo, Reply, Request, Session, SessionConfig, Side, SwitchCapabilities, SwitchDesc,
};
use packet::MacAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::controllerd::clock;

/// A switch of so many ports that keeps flows, answers, and forwards nothing.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut pipe: S, dpid: u64, n_ports: u32) {
    let mut session = Session::new(clock::now(), Side::Switch, SessionConfig::default());
    let mut flows = Flows::default();
    let mut bytes = vec![0; 65536];
    loop {
        while let Some(event) = session.poll_event() {
            let Event::Message { xid, message } = event else { continue };
            for message in answers(dpid, n_ports, &mut flows, message) {
                if session.send(xid, &message).is_err() {
                    return;
                }
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

type Flows = BTreeMap<::controller::FlowKey, FlowStats>;

fn answers(dpid: u64, n_ports: u32, flows: &mut Flows, message: Message) -> Vec<Message> {
    let reply = |body| vec![Message::MultipartReply(MultipartReply { more: false, body })];
    match message {
        Message::FeaturesRequest => vec![Message::FeaturesReply(Features {
            dpid: Dpid(dpid),
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: SwitchCapabilities::NONE,
            ports: Vec::new(),
        })],
        Message::BarrierRequest => vec![Message::BarrierReply],
        Message::FlowMod(flow) => {
            flow_mod(flows, flow);
            vec![]
        }
        Message::MultipartRequest(request) => match request.body {
            Request::Desc => reply(Reply::Desc(SwitchDesc {
                datapath: format!("s{dpid}").into(),
                ..SwitchDesc::default()
            })),
            Request::PortDesc => {
                let mac = |n: u32| MacAddr::from_u64(0x0200_0000_0000 | dpid << 16 | u64::from(n));
                let port = |n| PortDesc::new(PortNo(n), mac(n), format!("p{n}"));
                reply(Reply::PortDesc((1..=n_ports).map(port).collect()))
            }
            Request::Flow(_) => dump(flows),
            Request::Aggregate(_) => reply(Reply::Aggregate(AggregateStats {
                flows: u32::try_from(flows.len()).unwrap_or(u32::MAX),
                ..AggregateStats::default()
            })),
            Request::GroupFeatures
            | Request::GroupDesc
            | Request::MeterFeatures
            | Request::MeterConfig(_) => {
                vec![Message::Error(openflow::Error::new(openflow::error::BadRequest::BadMultipart))]
            }
            _ => vec![],
        },
        _ => vec![],
    }
}

/// All flows, in parts that fit into messages.
fn dump(flows: &Flows) -> Vec<Message> {
    let all: Vec<FlowStats> = flows.values().cloned().collect();
    let mut parts: Vec<Vec<FlowStats>> = all.chunks(200).map(<[FlowStats]>::to_vec).collect();
    let last = parts.pop().unwrap_or_default();
    let part = |more, part| Message::MultipartReply(MultipartReply { more, body: Reply::Flow(part) });
    parts.into_iter().map(|flows| part(true, flows)).chain([part(false, last)]).collect()
}

fn flow_mod(flows: &mut Flows, flow: FlowMod) {
    let FlowMod { table, priority, matches, cookie, instructions, command, .. } = flow;
    let key = ::controller::FlowKey { table, priority, matches: matches.clone() };
    if command == FlowModCommand::DeleteStrict {
        flows.remove(&key);
        return;
    }
    let stats = FlowStats {
        table,
        duration: Duration::ZERO,
        priority,
        idle_timeout: 0,
        hard_timeout: 0,
        flags: flow.flags,
        importance: 0,
        cookie,
        packets: 0,
        bytes: 0,
        matches,
        instructions,
    };
    flows.insert(key, stats);
}
