//! A slow interpreter of flows: follows one frame through the tables of a switch, step by step.
//!
//! It serves traces across switches, and judges plans in tests. It knows the fields and actions that plans use and
//! the common ones of flows added by hand; what it does not know it names in [`Walk::unknown`].

mod rewrite;

use openflow::{
    Action, Bucket, Cookie, Field, FlowStats, GroupDesc, GroupId, GroupType, Instruction, Match, Oxm,
    Priority, TableId, oxm, ports,
};
use packet::vlan::{Tag, Tci};
use packet::{
    EtherType, Frame, IpProtocol, MacAddr, PortNo, arp, ethernet, icmpv4, icmpv6, ipv4, ipv6, tcp, udp,
};

use crate::blueprint::Flows;

/// One flow to be interpreted.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Where it is.
    pub table: TableId,
    /// Precedence, highest first.
    pub priority: Priority,
    /// Whose it is.
    pub cookie: Cookie,
    /// Which frames.
    pub matches: &'a Match,
    /// What happens to them.
    pub instructions: &'a [Instruction],
}

/// The flows of a blueprint.
pub fn entries_of(flows: &Flows) -> Vec<Entry<'_>> {
    let mut entries = Vec::with_capacity(flows.len());
    for (key, body) in flows {
        let (table, priority, cookie) = (key.table, key.priority, body.cookie);
        entries.push(Entry {
            table,
            priority,
            cookie,
            matches: &key.matches,
            instructions: &body.instructions,
        });
    }
    entries
}

/// The flows as a switch reports them.
pub fn entries_of_stats(stats: &[FlowStats]) -> Vec<Entry<'_>> {
    let mut entries = Vec::with_capacity(stats.len());
    for flow in stats {
        let FlowStats { table, priority, cookie, matches, instructions, .. } = flow;
        entries.push(Entry { table: *table, priority: *priority, cookie: *cookie, matches, instructions });
    }
    entries
}

/// What happened to a frame in one switch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// Tables visited, and the index of the entry that matched; none for a miss.
    pub steps: Vec<(TableId, Option<usize>)>,
    /// Copies that leave by real ports.
    pub outputs: Vec<(PortNo, Vec<u8>)>,
    /// Copies that go to the controller: the table that sent them, metadata, and the frame.
    pub punts: Vec<(TableId, u64, Vec<u8>)>,
    /// Actions and instructions that were left out.
    pub unknown: Vec<String>,
}

/// What a switch has beside its flows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around<'a> {
    /// The ports that FLOOD and ALL stand for.
    pub flood: &'a [PortNo],
    /// Its groups.
    pub groups: &'a [GroupDesc],
    /// Ports that are down.
    pub dead: &'a [PortNo],
}

/// Most groups within groups.
const MAX_DEPTH: u8 = 4;

/// Follows `frame` through `entries`. Of a select group it takes the first bucket that is alive.
pub fn walk(entries: &[Entry<'_>], around: Around<'_>, in_port: PortNo, frame: &[u8]) -> Walk {
    let mut walker = Walker::new(around, in_port, frame);
    let mut next = Some(TableId(0));
    while let Some(table) = next {
        walker.table = table;
        let fields = walker.fields();
        let hit = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.table == table && fields.satisfy(entry.matches))
            .max_by_key(|(_, entry)| entry.priority);
        walker.out.steps.push((table, hit.map(|(idx, _)| idx)));
        next =
            hit.and_then(|(_, entry)| walker.instructions(entry.instructions)).filter(|next| *next > table);
    }
    let set = std::mem::take(&mut walker.set);
    walker.actions(&set);
    walker.out
}

/// Applies `actions` to a frame that does not go through tables, as a packet-out does.
pub fn act(actions: &[Action], around: Around<'_>, in_port: PortNo, frame: &[u8]) -> Walk {
    let mut walker = Walker::new(around, in_port, frame);
    walker.actions(actions);
    walker.out
}

struct Walker<'a> {
    in_port: PortNo,
    around: Around<'a>,
    depth: u8,
    metadata: u64,
    frame: Frame,
    /// The action set, in the order of execution (OpenFlow 1.3.5 §5.10).
    set: Vec<Action>,
    table: TableId,
    out: Walk,
}

impl<'a> Walker<'a> {
    fn new(around: Around<'a>, in_port: PortNo, frame: &[u8]) -> Self {
        let (frame, table) = (Frame::from_bytes(frame), TableId(0));
        Self { in_port, around, depth: 0, metadata: 0, frame, set: Vec::new(), table, out: Walk::default() }
    }

    fn instructions(&mut self, instructions: &[Instruction]) -> Option<TableId> {
        let mut next = None;
        for instruction in instructions {
            match instruction {
                Instruction::GotoTable(table) => next = Some(*table),
                Instruction::WriteMetadata { metadata, mask } => {
                    self.metadata = self.metadata & !mask | metadata & mask;
                }
                Instruction::ApplyActions(actions) => self.actions(actions),
                Instruction::WriteActions(actions) => actions.iter().for_each(|action| self.write(action)),
                Instruction::ClearActions => self.set.clear(),
                // How much came before is not known here: it passes.
                Instruction::Meter(_) => {}
                other => self.out.unknown.push(format!("{other:?}")),
            }
        }
        next
    }

    fn write(&mut self, action: &Action) {
        let rank = |action: &Action| match action {
            Action::PopVlan => 0,
            Action::PushVlan(_) => 1,
            Action::SetField(_) => 2,
            Action::Output { .. } => 4,
            _ => 3,
        };
        let same = |a: &Action| match (a, action) {
            (Action::SetField(a), Action::SetField(b)) => a.field == b.field,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        self.set.retain(|a| !same(a));
        self.set.push(action.clone());
        self.set.sort_by_key(rank);
    }

    fn actions(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Output { port, .. } => self.output(*port),
                Action::PopVlan => drop(self.frame.pop_vlan()),
                Action::PushVlan(tpid) => {
                    // §5.9: the new tag copies the fields of the one outside before.
                    let tci = self.frame.outer_vlan().map_or(Tci(0), |tag| tag.tci);
                    let _ = self.frame.push_vlan(Tag { tpid: EtherType(*tpid), tci });
                }
                Action::SetField(oxm) => self.set_field(oxm),
                // Which queue it leaves by changes nothing of the frame.
                Action::SetQueue(_) => {}
                Action::Group(group) if self.depth < MAX_DEPTH => self.group(*group),
                other => self.out.unknown.push(format!("{other:?}")),
            }
        }
    }

    /// §5.6: each bucket has a copy of the frame; its actions are a set.
    fn group(&mut self, group: GroupId) {
        let Some(desc) = self.around.groups.iter().find(|desc| desc.group == group) else {
            return self.out.unknown.push(format!("{group:?}"));
        };
        let is_alive =
            |bucket: &&Bucket| bucket.watch_port.is_none_or(|port| !self.around.dead.contains(&port));
        let buckets: Vec<&Bucket> = match desc.group_type {
            GroupType::All | GroupType::Indirect => desc.buckets.iter().collect(),
            GroupType::Select | GroupType::FastFailover => {
                desc.buckets.iter().find(is_alive).into_iter().collect()
            }
        };
        let (frame, set) = (self.frame.to_vec(), std::mem::take(&mut self.set));
        self.depth += 1;
        for bucket in buckets {
            bucket.actions.iter().for_each(|action| self.write(action));
            let actions = std::mem::take(&mut self.set);
            self.actions(&actions);
            self.frame = Frame::from_bytes(&frame);
        }
        self.depth -= 1;
        self.set = set;
    }

    fn set_field(&mut self, oxm: &Oxm) {
        let mac = MacAddr::from_u64(oxm.value as u64).0;
        match oxm.field {
            Field::EthDst => self.set_mac(0, mac),
            Field::EthSrc => self.set_mac(6, mac),
            Field::VlanVid | Field::VlanPcp => {
                let Some(tag) = self.frame.outer_vlan() else { return };
                let tci = match oxm.field {
                    Field::VlanPcp => tag.tci.with_pcp(oxm.value as u8),
                    _ => Tci(tag.tci.0 & 0xf000 | oxm.value as u16 & 0x0fff),
                };
                self.frame.set_outer_tci(tci);
            }
            other => {
                let mut frame = self.frame.to_vec();
                if rewrite::set_field(&mut frame, other, oxm.value) {
                    self.frame = Frame::from_bytes(&frame);
                } else {
                    self.out.unknown.push(format!("set_field of {}", other.name()));
                }
            }
        }
    }

    fn set_mac(&mut self, at: usize, mac: [u8; 6]) {
        if let Some(bytes) = self.frame.head_mut().get_mut(at..at + 6) {
            bytes.copy_from_slice(&mac);
        }
    }

    /// §4.5: what goes to the ingress port must say so.
    fn output(&mut self, port: PortNo) {
        let bytes = self.frame.to_vec();
        match port {
            ports::CONTROLLER => self.out.punts.push((self.table, self.metadata, bytes)),
            ports::IN_PORT => self.out.outputs.push((self.in_port, bytes)),
            ports::FLOOD | ports::ALL => {
                let others = self.around.flood.iter().filter(|port| **port != self.in_port);
                self.out.outputs.extend(others.map(|port| (*port, bytes.clone())));
            }
            port if ports::is_real(port) || port == ports::LOCAL => {
                if port != self.in_port {
                    self.out.outputs.push((port, bytes));
                }
            }
            other => self.out.unknown.push(format!("output to {other}")),
        }
    }

    fn fields(&self) -> Fields {
        let mut fields = Fields::of(&self.frame.to_vec());
        fields.set(Field::InPort, self.in_port.0.into());
        fields.set(Field::Metadata, self.metadata.into());
        fields
    }
}

/// The header fields of a frame that matches may ask for.
#[derive(Debug, Default)]
struct Fields(Vec<(Field, u128)>);

impl Fields {
    fn set(&mut self, field: Field, value: u128) {
        self.0.push((field, value));
    }

    fn satisfy(&self, matches: &Match) -> bool {
        matches.iter().all(|oxm| {
            let value = self.0.iter().find(|(field, _)| *field == oxm.field).map(|(_, value)| *value);
            value.is_some_and(|value| oxm.accepts(value))
        })
    }

    fn of(frame: &[u8]) -> Self {
        let mut fields = Self::default();
        let Ok(header) = ethernet::Header::parse(frame) else { return fields };
        fields.set(Field::EthDst, header.dst.to_u64().into());
        fields.set(Field::EthSrc, header.src.to_u64().into());
        fields.set(Field::EthType, header.ethertype.0.into());
        let tag = header.tags.outer();
        fields.set(Field::VlanVid, tag.map_or(0, |tag| (oxm::VID_PRESENT | tag.tci.vid()).into()));
        fields.set(Field::VlanPcp, tag.map_or(0, |tag| tag.tci.pcp().into()));
        let payload = frame.get(header.len()..).unwrap_or_default();
        fields.network(header.ethertype, payload);
        fields
    }

    fn network(&mut self, ethertype: EtherType, payload: &[u8]) {
        match ethertype {
            EtherType::ARP => {
                let Ok(arp) = arp::View::parse(payload) else { return };
                self.set(Field::ArpOp, arp.operation().to_u16().into());
                self.set(Field::ArpSpa, arp.sender_ip().to_bits().into());
                self.set(Field::ArpTpa, arp.target_ip().to_bits().into());
                self.set(Field::ArpSha, arp.sender_mac().to_u64().into());
                self.set(Field::ArpTha, arp.target_mac().to_u64().into());
            }
            EtherType::IPV4 => {
                let Ok(ip) = ipv4::View::parse(payload) else { return };
                self.set(Field::Ipv4Src, ip.src().to_bits().into());
                self.set(Field::Ipv4Dst, ip.dst().to_bits().into());
                self.set(Field::IpProto, ip.protocol().0.into());
                self.transport(ip.protocol(), ip.payload());
            }
            EtherType::IPV6 => {
                let Ok(ip) = ipv6::View::parse(payload) else { return };
                self.set(Field::Ipv6Src, ip.src().to_bits());
                self.set(Field::Ipv6Dst, ip.dst().to_bits());
                self.set(Field::IpProto, ip.next_header().0.into());
                self.transport(ip.next_header(), ip.payload());
            }
            _ => {}
        }
    }

    fn transport(&mut self, protocol: IpProtocol, payload: &[u8]) {
        match protocol {
            IpProtocol::TCP => {
                let Ok(tcp) = tcp::View::parse(payload) else { return };
                self.set(Field::TcpSrc, tcp.src_port().into());
                self.set(Field::TcpDst, tcp.dst_port().into());
            }
            IpProtocol::UDP => {
                let Ok(udp) = udp::View::parse(payload) else { return };
                self.set(Field::UdpSrc, udp.src_port().into());
                self.set(Field::UdpDst, udp.dst_port().into());
            }
            IpProtocol::ICMP => {
                let Ok(icmp) = icmpv4::View::parse(payload) else { return };
                self.set(Field::Icmpv4Type, icmp.kind().into());
                self.set(Field::Icmpv4Code, icmp.code().into());
            }
            IpProtocol::ICMPV6 => {
                let Ok(icmp) = icmpv6::View::parse(payload) else { return };
                self.set(Field::Icmpv6Type, icmp.kind().into());
                self.set(Field::Icmpv6Code, icmp.code().into());
            }
            _ => {}
        }
    }
}
