//! A switch of the bench: it keeps flows and groups as the bytes that they came in, answers, and forwards nothing but
//! discovery frames. It costs little beside the controller (`declared` shows how little): messages are told apart by their
//! headers, and what is asked for is there already in the form of an answer.

use std::collections::{BTreeMap, HashMap};

use super::wire;

/// Bytes of a message's header (OpenFlow 1.3.5 §7.1).
const HEADER: usize = 8;
/// Bytes of a flow mod in front of its match, header left out (§7.3.4.1).
const MATCH_AT: usize = 40;
/// Most bytes of one part of a long answer.
const PART: usize = 60_000;
/// Bytes of the description of a port (§7.2.1).
const PORT: usize = 64;

/// A frame that leaves by a port.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    /// The port.
    pub port: u32,
    /// The frame.
    pub frame: Vec<u8>,
}

/// A switch: bytes in, bytes and frames out.
#[derive(Debug)]
pub struct Switch {
    dpid: u64,
    /// Descriptions of all ports.
    ports: Vec<u8>,
    /// Table, priority and match to flow, the latter as statistics tell it.
    flows: HashMap<Box<[u8]>, Box<[u8]>>,
    /// By number, as described.
    groups: BTreeMap<u32, Vec<u8>>,
    /// What came of a message that is not complete.
    input: Vec<u8>,
    /// What is to be written.
    pub output: Vec<u8>,
    /// Frames to be carried on.
    pub sent: Vec<Sent>,
    /// Flow mods taken so far.
    pub n_mods: u64,
}

impl Switch {
    /// A switch with ports from 1 on.
    pub fn new(dpid: u64, n_ports: u32) -> Self {
        let mut switch = Self {
            dpid,
            ports: Vec::with_capacity(PORT * n_ports as usize),
            flows: HashMap::new(),
            groups: BTreeMap::new(),
            input: Vec::new(),
            output: Vec::new(),
            sent: Vec::new(),
            n_mods: 0,
        };
        for port in 1..=n_ports {
            switch.ports.extend(wire::port(dpid, port));
        }
        switch
    }

    /// A connection begins; flows stay.
    pub fn connect(&mut self) {
        self.input.clear();
        self.output.clear();
        self.message(wire::HELLO, 1, &[]);
    }

    /// Takes what came from the controller.
    pub fn handle(&mut self, bytes: &[u8]) {
        if self.input.is_empty() {
            let n = self.messages(bytes);
            self.input.extend_from_slice(&bytes[n..]);
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let n = self.messages(&input);
        input.drain(..n);
        self.input = input;
    }

    /// Handles complete messages; how many bytes they are.
    fn messages(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some(&[_, kind, l0, l1, x0, x1, x2, x3]) = rest.first_chunk::<HEADER>() {
            let len = usize::from(u16::from_be_bytes([l0, l1])).max(HEADER);
            let Some((message, behind)) = rest.split_at_checked(len) else { break };
            // What is cut short inside is left alone: the controller is not on trial for that here.
            let _ = self.message_in(kind, u32::from_be_bytes([x0, x1, x2, x3]), &message[HEADER..]);
            rest = behind;
        }
        bytes.len() - rest.len()
    }

    /// A frame came by a port, one for the controller.
    pub fn frame_in(&mut self, port: u32, frame: &[u8]) {
        if self.is_up(port) {
            let body = wire::packet_in(port, frame);
            self.message(wire::PACKET_IN, 0, &body);
        }
    }

    /// A port lost its link, or has it again.
    pub fn set_link(&mut self, port: u32, is_up: bool) {
        let Some(desc) = self.port_mut(port) else { return };
        wire::set_link(desc, is_up);
        // OFPPR_MODIFY
        let mut body = vec![2, 0, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(desc);
        self.message(wire::PORT_STATUS, 0, &body);
    }

    fn port_mut(&mut self, port: u32) -> Option<&mut [u8]> {
        let at = PORT * port.checked_sub(1)? as usize;
        self.ports.get_mut(at..at + PORT)
    }

    fn is_up(&mut self, port: u32) -> bool {
        self.port_mut(port).is_some_and(|desc| wire::has_link(desc))
    }

    fn message_in(&mut self, kind: u8, xid: u32, body: &[u8]) -> Option<()> {
        match kind {
            wire::ECHO_REQUEST => self.message(wire::ECHO_REPLY, xid, body),
            // There are no extensions, so no bundles either: OFPBRC_BAD_EXPERIMENTER
            wire::EXPERIMENTER => self.message(wire::ERROR, xid, &[0, 1, 0, 3]),
            wire::FEATURES_REQUEST => {
                let body = wire::features(self.dpid);
                self.message(wire::FEATURES_REPLY, xid, &body);
            }
            wire::PACKET_OUT => self.packet_out(body)?,
            wire::FLOW_MOD => self.flow_mod(body)?,
            wire::GROUP_MOD => self.group_mod(body)?,
            wire::MULTIPART_REQUEST => self.multipart(xid, body)?,
            wire::BARRIER_REQUEST => self.message(wire::BARRIER_REPLY, xid, &[]),
            // Granted.
            wire::ROLE_REQUEST => self.message(wire::ROLE_REPLY, xid, body),
            _ => {}
        }
        Some(())
    }

    fn packet_out(&mut self, body: &[u8]) -> Option<()> {
        let (port, frame) = wire::packet_out(body)?;
        if self.is_up(port) {
            self.sent.push(Sent { port, frame: frame.to_vec() });
        }
        Some(())
    }

    fn flow_mod(&mut self, body: &[u8]) -> Option<()> {
        self.n_mods += 1;
        let matches = body.get(MATCH_AT..)?;
        let len = usize::from(wire::u16_at(matches, 2)?);
        // Table and priority go before the match.
        let mut key = Vec::with_capacity(3 + len);
        key.push(*body.get(16)?);
        key.extend_from_slice(body.get(22..24)?);
        key.extend_from_slice(matches.get(..len)?);
        match body.get(17)? {
            // OFPFC_ADD, OFPFC_MODIFY_STRICT
            0 => drop(self.flows.insert(key.into(), wire::flow_stats(body)?)),
            2 => {
                if let Some(flow) = self.flows.get_mut(&*key) {
                    *flow = wire::flow_stats(body)?;
                }
            }
            // OFPFC_DELETE: those of a cookie, whatever they match
            3 => {
                let (cookie, mask) = (wire::u64_at(body, 0)?, wire::u64_at(body, 8)?);
                self.flows.retain(|_, flow| !wire::has_cookie(flow, cookie, mask));
            }
            // OFPFC_DELETE_STRICT
            4 => drop(self.flows.remove(&*key)),
            _ => {}
        }
        Some(())
    }

    fn group_mod(&mut self, body: &[u8]) -> Option<()> {
        let group = wire::u32_at(body, 4)?;
        // OFPGC_DELETE, else add or modify
        if wire::u16_at(body, 0)? == 2 {
            self.groups.remove(&group);
        } else {
            // A description is a group mod with its length in the place of the command (§7.3.5.10).
            let mut desc = u16::try_from(body.len()).ok()?.to_be_bytes().to_vec();
            desc.extend_from_slice(&body[2..]);
            self.groups.insert(group, desc);
        }
        Some(())
    }

    fn multipart(&mut self, xid: u32, body: &[u8]) -> Option<()> {
        let kind = wire::u16_at(body, 0)?;
        match kind {
            wire::DESC => self.reply(xid, kind, [&*wire::desc(self.dpid)]),
            wire::FLOW | wire::AGGREGATE => {
                let (cookie, mask) = (wire::u64_at(body, 24)?, wire::u64_at(body, 32)?);
                let flows = std::mem::take(&mut self.flows);
                let chosen = flows.values().filter(|flow| wire::has_cookie(flow, cookie, mask));
                if kind == wire::FLOW {
                    self.reply(xid, kind, chosen.map(|flow| &**flow));
                } else {
                    let body = wire::aggregate(chosen.count());
                    self.reply(xid, kind, [&body[..]]);
                }
                self.flows = flows;
            }
            wire::GROUP_DESC => {
                let groups = std::mem::take(&mut self.groups);
                self.reply(xid, kind, groups.values().map(Vec::as_slice));
                self.groups = groups;
            }
            wire::GROUP_FEATURES => self.reply(xid, kind, [&wire::group_features()[..]]),
            wire::PORT_DESC => {
                let ports = std::mem::take(&mut self.ports);
                self.reply(xid, kind, ports.chunks(PORT));
                self.ports = ports;
            }
            // Meters, for one. OFPET_BAD_REQUEST, OFPBRC_BAD_MULTIPART
            _ => self.message(wire::ERROR, xid, &[0, 1, 0, 2]),
        }
        Some(())
    }

    /// An answer in as many parts as it needs.
    fn reply<'a>(&mut self, xid: u32, kind: u16, entries: impl IntoIterator<Item = &'a [u8]>) {
        let [k0, k1] = kind.to_be_bytes();
        let head = |more| [k0, k1, 0, more, 0, 0, 0, 0];
        let mut part = head(0).to_vec();
        for entry in entries {
            if part.len() + entry.len() > PART {
                // OFPMPF_REPLY_MORE
                part[3] = 1;
                self.message(wire::MULTIPART_REPLY, xid, &part);
                part = head(0).to_vec();
            }
            part.extend_from_slice(entry);
        }
        self.message(wire::MULTIPART_REPLY, xid, &part);
    }

    fn message(&mut self, kind: u8, xid: u32, body: &[u8]) {
        let len = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
        self.output.extend([4, kind]);
        self.output.extend(len.to_be_bytes());
        self.output.extend(xid.to_be_bytes());
        self.output.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use openflow::{
        Cookie, Event, FlowMod, FlowStatsRequest, Match, Message, MultipartRequest, Priority, Reply, Request,
        Session, SessionConfig, Side, TableId, Xid,
    };
    use packet::{Instant, PortNo};

    use super::*;

    /// A controller's session that asks one switch.
    struct Asking {
        session: Session,
        switch: Switch,
    }

    impl Asking {
        fn new(n_ports: u32) -> Self {
            let session = Session::new(Instant::ZERO, Side::Controller, SessionConfig::default());
            let mut switch = Switch::new(7, n_ports);
            switch.connect();
            let mut this = Self { session, switch };
            assert!(matches!(this.turn()[..], [Event::Established(_)]));
            this
        }

        /// Carries bytes both ways; what the controller learns.
        fn turn(&mut self) -> Vec<Event> {
            while let Some(bytes) = self.session.poll_transmit() {
                self.switch.handle(bytes);
                let n = bytes.len();
                self.session.handle_transmitted(Instant::ZERO, n);
            }
            self.session.handle_bytes(Instant::ZERO, &std::mem::take(&mut self.switch.output));
            std::iter::from_fn(|| self.session.poll_event()).collect()
        }

        fn ask(&mut self, message: &Message) -> Vec<Message> {
            self.session.send(Xid(9), message).unwrap();
            let message = |event| match event {
                Event::Message { message, .. } => message,
                other => panic!("{other:?}"),
            };
            self.turn().into_iter().map(message).collect()
        }

        fn reply(&mut self, body: Request) -> Reply {
            match self.ask(&Message::MultipartRequest(MultipartRequest { more: false, body })).pop() {
                Some(Message::MultipartReply(reply)) => reply.body,
                other => panic!("{other:?}"),
            }
        }
    }

    fn flow(port: u32, cookie: u64) -> FlowMod {
        let matches = Match::new().in_port(PortNo(port));
        FlowMod { cookie: Cookie(cookie), ..FlowMod::add(TableId(3), Priority(9), matches, vec![]) }
    }

    #[test]
    fn flows_are_told_as_they_were_put() {
        let mut asking = Asking::new(4);
        for port in 1..=1000 {
            asking.ask(&Message::FlowMod(flow(port, 1 + u64::from(port % 2))));
        }
        asking.ask(&Message::FlowMod(flow(2, 1)));
        asking.ask(&Message::FlowMod(FlowMod::delete_strict(
            TableId(3),
            Priority(9),
            Match::new().in_port(PortNo(4)),
        )));
        assert_eq!((asking.switch.flows.len(), asking.switch.n_mods), (999, 1002));
        let ones = FlowStatsRequest { cookie: Cookie(1), cookie_mask: u64::MAX, ..Default::default() };
        let Reply::Flow(stats) = asking.reply(Request::Flow(ones.clone())) else { panic!("no flows") };
        assert_eq!(stats.len(), 499);
        let second = stats.iter().find(|stats| stats.matches.ingress() == Some(PortNo(2))).unwrap();
        assert_eq!((second.table, second.priority, second.cookie), (TableId(3), Priority(9), Cookie(1)));
        let Reply::Aggregate(sums) = asking.reply(Request::Aggregate(ones)) else { panic!("no sums") };
        assert_eq!(sums.flows, 499);
    }

    #[test]
    fn what_a_controller_asks_first_is_understood() {
        let mut asking = Asking::new(600);
        let features = asking.ask(&Message::FeaturesRequest);
        assert!(matches!(&features[..], [Message::FeaturesReply(features)] if features.dpid.0 == 7));
        let Reply::PortDesc(ports) = asking.reply(Request::PortDesc) else { panic!("no ports") };
        assert_eq!((ports.len(), ports[599].name.to_string()), (600, "p600".to_owned()));
        let Reply::Desc(desc) = asking.reply(Request::Desc) else { panic!("no description") };
        assert_eq!(desc.datapath.to_string(), "s7");
        assert!(matches!(asking.reply(Request::GroupFeatures), Reply::GroupFeatures(_)));
        assert_eq!(asking.ask(&Message::BarrierRequest), [Message::BarrierReply]);
    }

    #[test]
    fn a_port_that_is_down_says_so_and_carries_nothing() {
        let mut asking = Asking::new(2);
        asking.switch.set_link(2, false);
        let events = asking.turn();
        let [Event::Message { message: Message::PortStatus(status), .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(status.desc.port, PortNo(2));
        assert!(status.desc.state.contains(openflow::PortState::LINK_DOWN));
        asking.switch.frame_in(2, &[0; 60]);
        assert_eq!(asking.turn(), []);
        asking.switch.frame_in(1, &[7; 60]);
        let events = asking.turn();
        let [Event::Message { message: Message::PacketIn(packet_in), .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((packet_in.in_port(), &packet_in.data[..]), (Some(PortNo(1)), &[7; 60][..]));
    }

    #[test]
    fn a_frame_is_sent_by_the_port_of_its_packet_out() {
        let mut asking = Asking::new(2);
        let out = openflow::PacketOut {
            buffer: None,
            in_port: openflow::ports::CONTROLLER,
            actions: vec![openflow::Action::output(PortNo(2))],
            data: vec![5; 60],
        };
        asking.ask(&Message::PacketOut(out));
        assert_eq!(asking.switch.sent, [Sent { port: 2, frame: vec![5; 60] }]);
    }
}
