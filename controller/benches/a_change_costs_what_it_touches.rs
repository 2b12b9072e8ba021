//! Claim: one thread plans a hundred thousand flows a second and more, and a link that goes down among 200 switches is
//! followed in milliseconds.
//!
//! The core alone: no sockets, no bytes, no JSON. The switches answer at once and keep nothing, so what is measured is what
//! the controller does. `weft bench controller` measures the same with all that belongs to it.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant as Clock};

use controller::{
    At, Config, ConnId, Controller, Declared, Edit, Effect, Key, Kind, Label, Network, Outgoing, PortName,
    Reservation,
};
use openflow::{
    Action, BundleControl, BundleControlKind, Dpid, Features, GroupCapabilities, GroupFeatures, Match,
    Message, MeterFeatures, MeterFlags, MultipartReply, Oxm, PacketIn, PacketInReason, PortDesc, PortReason,
    PortState, PortStatus, Reply, Request, SwitchCapabilities, SwitchDesc, Xid,
};
use packet::{Instant, MacAddr, PortNo, VlanId};

const HOSTS_PER_NETWORK: u32 = 50;

/// A leaf-spine: port n of a spine leads to leaf n, the first ports of a leaf to the spines, hosts are behind those.
struct Fabric {
    now: Instant,
    controller: Controller,
    n_spines: u32,
    n_leaves: u32,
    n_ports: u32,
    down: BTreeSet<At>,
    n_mods: usize,
}

impl Fabric {
    fn new(n_spines: u32, n_leaves: u32, n_hosts: u32) -> Self {
        let mut fabric = Self {
            now: Instant::from_secs(100),
            controller: Controller::new(Config {
                audit: Duration::from_secs(3600),
                ..Config::new(Key(1, 2))
            }),
            n_spines,
            n_leaves,
            n_ports: n_hosts.div_ceil(n_leaves),
            down: BTreeSet::new(),
            n_mods: 0,
        };
        for n in 1..=n_spines + n_leaves {
            fabric.controller.handle_connected(fabric.now, ConnId(n.into()));
            fabric.drain();
        }
        fabric.run(Duration::from_secs(3));
        assert_eq!(fabric.controller.view().links().len(), 2 * (n_spines * n_leaves) as usize);
        fabric
    }

    fn peer(&self, (dpid, port): At) -> Option<At> {
        let (n, spines) = (dpid.0 as u32, self.n_spines);
        match n.checked_sub(spines + 1) {
            None => Some((Dpid(u64::from(spines + port.0)), PortNo(n))),
            Some(leaf) => (port.0 <= spines).then_some((Dpid(port.0.into()), PortNo(leaf + 1))),
        }
    }

    fn desc(&self, at: At) -> PortDesc {
        let mac = MacAddr([2, 0, at.0.0 as u8, (at.0.0 >> 8) as u8, at.1.0 as u8, (at.1.0 >> 8) as u8]);
        let mut desc = PortDesc::new(at.1, mac, format!("p{}", at.1));
        desc.state = if self.down.contains(&at) { PortState::LINK_DOWN } else { PortState::LIVE };
        desc
    }

    fn multipart(&self, dpid: Dpid, request: &Request) -> Reply {
        let n_ports =
            if dpid.0 as u32 <= self.n_spines { self.n_leaves } else { self.n_spines + self.n_ports };
        match request {
            Request::Desc => {
                Reply::Desc(SwitchDesc { datapath: format!("s{}", dpid.0).into(), ..Default::default() })
            }
            Request::PortDesc => {
                Reply::PortDesc((1..=n_ports).map(|port| self.desc((dpid, PortNo(port)))).collect())
            }
            Request::Flow(_) => Reply::Flow(vec![]),
            Request::GroupFeatures => Reply::GroupFeatures(GroupFeatures {
                types: 0b1111,
                capabilities: GroupCapabilities::SELECT_LIVENESS | GroupCapabilities::CHAINING,
                max_groups: [100_000; 4],
                actions: [u32::MAX; 4],
            }),
            Request::GroupDesc => Reply::GroupDesc(vec![]),
            Request::MeterFeatures => Reply::MeterFeatures(MeterFeatures {
                max_meter: 65_536,
                band_types: 0b110,
                capabilities: MeterFlags::KBPS,
                max_bands: 8,
                max_color: 0,
            }),
            Request::MeterConfig(_) => Reply::MeterConfig(vec![]),
            other => panic!("not expected: {other:?}"),
        }
    }

    /// What a switch answers at once.
    fn answer(&mut self, dpid: Dpid, message: Outgoing) -> Option<Message> {
        use BundleControlKind as Kind;
        let Outgoing::Message(message) = message else {
            self.n_mods += 1;
            return None;
        };
        match message {
            Message::FeaturesRequest => Some(Message::FeaturesReply(Features {
                dpid,
                n_buffers: 0,
                n_tables: 9,
                auxiliary_id: 0,
                capabilities: SwitchCapabilities::NONE,
                ports: Vec::new(),
            })),
            Message::MultipartRequest(request) => {
                let body = self.multipart(dpid, &request.body);
                Some(Message::MultipartReply(MultipartReply { more: false, body }))
            }
            Message::BundleControl(control) => {
                let kind = match control.kind {
                    Kind::OpenRequest => Kind::OpenReply,
                    Kind::CommitRequest => Kind::CommitReply,
                    _ => Kind::DiscardReply,
                };
                Some(Message::BundleControl(BundleControl { kind, ..control }))
            }
            Message::RoleRequest(request) => Some(Message::RoleReply(request)),
            Message::BarrierRequest => Some(Message::BarrierReply),
            Message::PacketOut(out) => {
                let port = out.actions.iter().find_map(|action| match action {
                    Action::Output { port, .. } => Some(*port),
                    _ => None,
                })?;
                let peer = self.peer((dpid, port)).filter(|peer| !self.down.contains(peer))?;
                let packet_in = PacketIn {
                    buffer: None,
                    total_len: out.data.len() as u16,
                    reason: PacketInReason::Action,
                    table: controller::layout::ADMIT,
                    cookie: openflow::Cookie(0),
                    matches: Match::pipeline([Oxm::in_port(peer.1)]),
                    data: out.data,
                };
                let conn = ConnId(peer.0.0);
                self.controller.handle_message(self.now, conn, Xid(0), Message::PacketIn(packet_in));
                None
            }
            _ => None,
        }
    }

    /// Hands over what the controller sends, and answers.
    fn drain(&mut self) {
        while let Some(effect) = self.controller.poll_effect() {
            if let Effect::Send { conn, xid, message } = effect
                && let Some(answer) = self.answer(Dpid(conn.0), message)
            {
                self.controller.handle_message(self.now, conn, xid, answer);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.controller.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.controller.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Time that the controller works on a link that goes down, or comes back.
    fn set_link(&mut self, at: At, is_up: bool) -> f64 {
        let ends: Vec<At> = [Some(at), self.peer(at)].into_iter().flatten().collect();
        self.now = self.now + Duration::from_secs(1);
        let began = Clock::now();
        for end in ends {
            if is_up {
                self.down.remove(&end)
            } else {
                self.down.insert(end)
            };
            let status = PortStatus { reason: PortReason::Modify, desc: self.desc(end) };
            self.controller.handle_message(self.now, ConnId(end.0.0), Xid(0), Message::PortStatus(status));
            self.drain();
        }
        self.run(Duration::from_millis(500));
        began.elapsed().as_secs_f64() * 1e3
    }

    fn networks(&self, n_hosts: u32) -> BTreeMap<String, Network> {
        let host = |n: u32| {
            let (leaf, port) = (self.n_spines + n % self.n_leaves + 1, self.n_spines + n / self.n_leaves + 1);
            let [_, _, a, b] = n.to_be_bytes();
            let addresses = vec![std::net::Ipv4Addr::new(10, 0, a, b).into()];
            let port = PortName::new(format!("s{leaf}"), port.to_string());
            Reservation { port, mac: MacAddr([2, 0xcc, 0, 0, a, b]), addresses }
        };
        let network = |idx: u32| {
            let all = idx * HOSTS_PER_NETWORK..n_hosts.min((idx + 1) * HOSTS_PER_NETWORK);
            let hosts: Vec<Reservation> = all.map(host).collect();
            let access = hosts.iter().map(|host| host.port.clone()).collect();
            let vlan = VlanId::new((idx + 1) as u16).expect("few networks");
            (format!("n{idx}"), Network { vlan, access, trunks: BTreeSet::new(), hosts })
        };
        (0..n_hosts.div_ceil(HOSTS_PER_NETWORK)).map(network).collect()
    }

    fn declare(&mut self, networks: BTreeMap<String, Network>) {
        let edit = |(name, network): (String, Network)| Edit {
            label: Label { kind: Kind::Network, name: name.into() },
            to: Some(Declared::Network(network)),
        };
        let edits = networks.into_iter().map(edit).collect();
        self.controller.edit(self.now, edits).expect("sound intents");
    }
}

fn median(mut of: Vec<f64>) -> (f64, f64) {
    of.sort_unstable_by(f64::total_cmp);
    (of[of.len() / 2], of[of.len() - 1])
}

fn main() {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wants = |part: &str| only.as_ref().is_none_or(|only| only == part);
    let parts = [("declared", 0, 10_000), ("spread", 4, 2_000), ("fabric", 4, 10_000)];
    for (part, n_spines, n_hosts) in parts.into_iter().filter(|(part, ..)| wants(part)) {
        let mut took = Vec::new();
        let (mut parts, mut best) = (String::new(), Duration::MAX);
        for _ in 0..5 {
            let mut fabric = Fabric::new(n_spines, 100 - n_spines, n_hosts);
            let networks = fabric.networks(n_hosts);
            fabric.n_mods = 0;
            let began = Clock::now();
            fabric.declare(networks);
            let planned = began.elapsed();
            fabric.drain();
            let realised = began.elapsed();
            took.push(fabric.n_mods as f64 / realised.as_secs_f64() / 1e3);
            if realised < best {
                best = realised;
                parts = format!(
                    "best: {} flow mods, {planned:.1?} until planned, {realised:.1?} in all",
                    fabric.n_mods
                );
            }
        }
        println!(
            "{part}: {n_hosts} hosts, {n_spines} spines: {:.0} thousand flow mods a second ({parts})",
            median(took).0
        );
    }
    if wants("links") {
        let mut fabric = Fabric::new(4, 196, 1000);
        let networks = fabric.networks(1000);
        fabric.declare(networks);
        fabric.run(Duration::from_secs(1));
        let (mut downs, mut ups, mut most) = (Vec::new(), Vec::new(), 0);
        for nth in 0..40u32 {
            let link = (Dpid(u64::from(nth % 4) + 1), PortNo(nth * 7919 % 196 + 1));
            let before = fabric.n_mods;
            downs.push(fabric.set_link(link, false));
            most = most.max(fabric.n_mods - before);
            ups.push(fabric.set_link(link, true));
        }
        let ((down, worst), (up, most_up)) = (median(downs), median(ups));
        println!(
            "links: a link down among 200 switches: {down:.1} ms, worst {worst:.1}, {most} changes at most; back: {up:.1} ms, worst {most_up:.1}"
        );
    }
}
