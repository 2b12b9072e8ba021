//! Follows a frame from switch to switch through the flows they hold, and through the routers between them.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

use controller::interpret::{Around, Walk, entries_of_stats, walk};
use controller::{At, Controller};
use controller_api::{
    PortRef, Problem, Router, RouterInterface, TraceCopy, TraceHop, TraceReply, TraceRequest, TraceStep,
};
use openflow::{Dpid, Field, FlowStats, FlowStatsRequest, GroupDesc, Match, Reply, Request};
use packet::{EtherType, MacAddr, PortNo, VlanId, build};

use super::convert::port_ref;
use super::hub::Hub;
use super::routers;

/// Most switches a frame and its copies may visit.
const MAX_HOPS: usize = 256;

/// Follows the frame of `request`. Nothing is sent.
pub async fn trace(hub: &Arc<Hub>, request: &TraceRequest) -> Result<TraceReply, Problem> {
    let frame = frame_of(request)?;
    let name = controller::PortName::new(request.port.node.clone(), &request.port.port);
    let start = hub.read(|core| core.view().find_port(&name));
    let start =
        start.ok_or_else(|| Problem::invalid("/port", format!("there is no port {}", request.port)))?;
    let mut tracer = Tracer {
        hub,
        holds: HashMap::new(),
        routers: Plugged::of(hub),
        reply: TraceReply::default(),
        queue: VecDeque::from([(Place::Switch(start), frame)]),
    };
    while let Some((place, frame)) = tracer.queue.pop_front() {
        if tracer.reply.hops.len() >= MAX_HOPS {
            tracer.reply.drops.push(format!("after {MAX_HOPS} hops: a loop"));
            break;
        }
        match place {
            Place::Switch(at) => tracer.hop(at, &frame).await?,
            Place::Router(plug) => tracer.cross(plug, &frame).await,
        }
    }
    tracer.reply.text = text_of(&tracer.reply);
    Ok(tracer.reply)
}

/// Where a frame comes in.
enum Place {
    Switch(At),
    Router(Plug),
}

/// A port of a router, and the port of a switch that it is plugged into.
#[derive(Clone)]
struct Plug {
    port: PortRef,
    at: At,
    /// Where the router is asked; none: in this process.
    server: Option<String>,
}

/// What is plugged in where.
struct Plugged(Vec<Plug>);

impl Plugged {
    fn of(hub: &Hub) -> Self {
        let routers = hub.list::<Router>(|_| true);
        let interfaces = routers.iter().flat_map(|stored| {
            let router = &stored.spec;
            router
                .interfaces
                .iter()
                .filter_map(move |interface| Some((router, interface, interface.attachment.as_ref()?)))
        });
        let plug = |(router, interface, attachment): (&Router, &RouterInterface, &PortRef)| {
            let name = controller::PortName::new(attachment.node.clone(), &attachment.port);
            let at = hub.read(|core| core.view().find_port(&name))?;
            let port = PortRef::new(&router.name, interface.port_name());
            Some(Plug { port, at, server: router.server.clone() })
        };
        Self(interfaces.filter_map(plug).collect())
    }

    fn at(&self, at: At) -> Option<&Plug> {
        self.0.iter().find(|plug| plug.at == at)
    }

    fn of_port(&self, port: &PortRef) -> Option<&Plug> {
        self.0.iter().find(|plug| plug.port == *port)
    }
}

struct Tracer<'a> {
    hub: &'a Arc<Hub>,
    holds: HashMap<Dpid, (Vec<FlowStats>, Vec<GroupDesc>)>,
    routers: Plugged,
    reply: TraceReply,
    queue: VecDeque<(Place, Vec<u8>)>,
}

impl Tracer<'_> {
    async fn hop(&mut self, at: At, frame: &[u8]) -> Result<(), Problem> {
        if !self.holds.contains_key(&at.0) {
            let holds = (flows_of(self.hub, at.0).await?, groups_of(self.hub, at.0).await?);
            self.holds.insert(at.0, holds);
        }
        let Some((flows, groups)) = self.holds.get(&at.0) else { return Ok(()) };
        self.hub.read(|core| {
            let view = core.view();
            let ports = || view.switches().get(&at.0).into_iter().flat_map(|switch| &switch.ports);
            let all: Vec<PortNo> = ports().map(|(number, _)| *number).collect();
            let dead: Vec<PortNo> = ports().filter(|(_, port)| !port.up).map(|(number, _)| *number).collect();
            let walk =
                walk(&entries_of_stats(flows), Around { flood: &all, groups, dead: &dead }, at.1, frame);
            let steps = walk.steps.iter().map(|(table, idx)| {
                let flow = idx.and_then(|idx| flows.get(idx));
                let intent = flow.and_then(|flow| core.blueprint().label(flow.cookie)).map(str::to_owned);
                TraceStep { table: table.0, flow: flow.map(ToString::to_string), intent }
            });
            let port = port_ref(view, at);
            self.reply.hops.push(TraceHop {
                port: port.clone(),
                steps: steps.collect(),
                notes: Vec::new(),
                outputs: walk.outputs.iter().map(|(port, _)| port.0).collect(),
                copies: copies_of(&walk),
            });
            self.reply.punted |= !walk.punts.is_empty();
            if walk.outputs.is_empty() && walk.punts.is_empty() {
                self.reply.drops.push(format!("at {port}: {}", why(core, &walk, flows)));
            }
            let drops = walk.unknown.iter().map(|what| format!("at {port}: {what} was not followed"));
            self.reply.drops.extend(drops);
            for (out, frame) in walk.outputs {
                let from = (at.0, out);
                match view.links().get(&from) {
                    Some(peer) => self.queue.push_back((Place::Switch(*peer), frame)),
                    None => match self.routers.at(from) {
                        Some(plug) => self.queue.push_back((Place::Router(plug.clone()), frame)),
                        None => self.reply.delivered.push(port_ref(view, from)),
                    },
                }
            }
        });
        Ok(())
    }

    /// Through a router, if somebody can be asked; else the frame has been delivered to it.
    async fn cross(&mut self, plug: Plug, frame: &[u8]) {
        let request = TraceRequest { port: plug.port.clone(), frame: Some(hex_of(frame)), flow: None };
        let tracer = self.hub.routers(|routers| routers.tracer.clone());
        let Some(answer) = routers::trace(plug.server.as_deref(), tracer, request).await else {
            self.reply.delivered.push(self.hub.read(|core| port_ref(core.view(), plug.at)));
            return;
        };
        let reply = match answer {
            Ok(reply) => reply,
            Err(why) => {
                self.reply.drops.push(format!("at {}: the router cannot be asked: {why}", plug.port));
                return;
            }
        };
        let copies = reply.hops.iter().flat_map(|hop| &hop.copies);
        for (port, copy) in reply.delivered.iter().zip(copies) {
            match (self.routers.of_port(port), bytes_of(&copy.frame)) {
                (Some(out), Some(frame)) => self.queue.push_back((Place::Switch(out.at), frame)),
                _ => self.reply.delivered.push(port.clone()),
            }
        }
        self.reply.drops.extend(reply.drops);
        self.reply.hops.extend(reply.hops);
    }
}

fn copies_of(walk: &Walk) -> Vec<TraceCopy> {
    let copy = |port, frame: &[u8]| TraceCopy { port, reason: None, frame: hex_of(frame) };
    let outputs = walk.outputs.iter().map(|(port, frame)| copy(Some(port.0), frame));
    outputs.chain(walk.punts.iter().map(|(_, _, frame)| copy(None, frame))).collect()
}

fn why(core: &Controller, walk: &Walk, flows: &[FlowStats]) -> String {
    let whose = |idx: usize| {
        let label = flows.get(idx).and_then(|flow| core.blueprint().label(flow.cookie));
        label.map(|label| format!(", {label}")).unwrap_or_default()
    };
    match walk.steps.last() {
        Some((table, Some(idx))) if flows.get(*idx).is_some_and(|flow| flow.instructions.is_empty()) => {
            format!("dropped by a flow of table {table}{}", whose(*idx))
        }
        Some((table, Some(_))) => format!("the actions of table {table} lead nowhere else"),
        Some((table, None)) => format!("no flow of table {table} matches"),
        None => "no table".to_owned(),
    }
}

/// Every flow of a switch.
pub async fn flows_of(hub: &Hub, dpid: Dpid) -> Result<Vec<FlowStats>, Problem> {
    match hub.ask(dpid, Request::Flow(FlowStatsRequest::default())).await? {
        Reply::Flow(flows) => Ok(flows),
        _ => Err(Problem::internal("an answer of the wrong kind")),
    }
}

/// Every group of a switch; one that knows no groups has none.
async fn groups_of(hub: &Hub, dpid: Dpid) -> Result<Vec<GroupDesc>, Problem> {
    match hub.ask(dpid, Request::GroupDesc).await {
        Ok(Reply::GroupDesc(groups)) => Ok(groups),
        Ok(_) => Err(Problem::internal("an answer of the wrong kind")),
        Err(problem) if problem.status == 422 => Ok(Vec::new()),
        Err(problem) => Err(problem),
    }
}

fn text_of(reply: &TraceReply) -> String {
    let mut text = String::new();
    for hop in &reply.hops {
        let _ = writeln!(text, "{}", hop.port);
        for step in &hop.steps {
            let flow = step.flow.as_deref().unwrap_or("no match");
            let intent = step.intent.as_ref().map(|intent| format!("  [{intent}]")).unwrap_or_default();
            let _ = writeln!(text, "  {:3}. {flow}{intent}", step.table);
        }
        for note in &hop.notes {
            let _ = writeln!(text, "       {note}");
        }
        if hop.notes.is_empty() {
            let _ = writeln!(text, "       out: {:?}", hop.outputs);
        }
    }
    for port in &reply.delivered {
        let _ = writeln!(text, "delivered at {port}");
    }
    if reply.punted {
        let _ = writeln!(text, "a copy goes to the controller");
    }
    for drop in &reply.drops {
        let _ = writeln!(text, "dropped {drop}");
    }
    text
}

/// The frame given, or one that has the fields given.
pub(crate) fn frame_of(request: &TraceRequest) -> Result<Vec<u8>, Problem> {
    match (&request.frame, &request.flow) {
        (Some(hex), None) => bytes_of(hex)
            .ok_or_else(|| Problem::invalid("/frame", "expected an even number of hexadecimal digits")),
        (None, Some(flow)) => {
            let matches =
                openflow::text::parse_match(flow).map_err(|error| Problem::invalid("/flow", error))?;
            Ok(sample(&matches))
        }
        _ => Err(Problem::invalid("", "either `frame` or `flow` is needed")),
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b':').collect();
    let digit = |b: u8| char::from(b).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

/// Bytes as digits.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A frame with the fields of a match; what the match leaves open is zero, or what hosts usually send.
fn sample(matches: &Match) -> Vec<u8> {
    let number = |field: Field| matches.get(field).map(|oxm| oxm.value);
    let get = |field: Field| number(field).unwrap_or(0);
    let mac = |field| MacAddr::from_u64(get(field) as u64);
    let v4 = |field| std::net::Ipv4Addr::from_bits(get(field) as u32);
    let v6 = |field| std::net::Ipv6Addr::from_bits(get(field));
    let mut link = build::ethernet(mac(Field::EthSrc), mac(Field::EthDst));
    if let Ok(vlan) = VlanId::new((get(Field::VlanVid) & 0xfff) as u16) {
        link = link.vlan(vlan);
    }
    let ethertype = EtherType(number(Field::EthType).unwrap_or(0x88b5) as u16);
    let (tcp, udp) = ((Field::TcpSrc, Field::TcpDst), (Field::UdpSrc, Field::UdpDst));
    let ports = |(src, dst): (Field, Field)| (get(src) as u16, get(dst) as u16);
    let ip = match ethertype {
        EtherType::IPV4 => link.ipv4(v4(Field::Ipv4Src), v4(Field::Ipv4Dst)),
        EtherType::IPV6 => link.ipv6(v6(Field::Ipv6Src), v6(Field::Ipv6Dst)),
        EtherType::ARP => {
            let operation = packet::arp::Operation::from_u16(number(Field::ArpOp).unwrap_or(1) as u16);
            let sender_mac =
                number(Field::ArpSha).map_or(mac(Field::EthSrc), |n| MacAddr::from_u64(n as u64));
            return link.arp(&packet::arp::Packet {
                operation,
                sender_mac,
                sender_ip: v4(Field::ArpSpa),
                target_mac: mac(Field::ArpTha),
                target_ip: v4(Field::ArpTpa),
            });
        }
        other => return link.payload(other, &[0; 46]),
    };
    match number(Field::IpProto) {
        Some(17) => ip.udp(ports(udp).0, ports(udp).1, &[]),
        Some(1) => ip.echo_request(1, 1, &[]),
        Some(6) => {
            let (src_port, dst_port) = ports(tcp);
            ip.tcp(&packet::tcp::Header { src_port, dst_port, ..Default::default() }, &[])
        }
        other => ip.payload(packet::IpProtocol(other.unwrap_or(253) as u8), &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_fields_of_its_match() {
        let matches = openflow::text::parse_match("udp,dl_vlan=10,nw_dst=10.0.0.2,tp_dst=53").unwrap();
        let frame = sample(&matches);
        let header = packet::ethernet::Header::parse(&frame).unwrap();
        assert_eq!(header.tags.outer().unwrap().tci.vid(), 10);
        let udp = packet::udp::View::parse(&frame[18 + 20..]).unwrap();
        assert_eq!(udp.dst_port(), 53);
    }

    #[test]
    fn frames_are_read_as_people_paste_them() {
        assert_eq!(bytes_of("02 00:ff\n"), Some(vec![2, 0, 255]));
        assert_eq!((bytes_of("0"), bytes_of("0g")), (None, None));
    }
}
