//! What people ask of switches in the words of Ryu (`ryu/lib/ofctl_v1_3.py`). A field that Ryu passes over with a line in
//! its log is a mistake here: a match without it would be wider than was meant.

use std::net::IpAddr;

use controller_api::Problem;
use openflow::oxm::{Form, VID_PRESENT};
use openflow::{
    Action, Band, BandKind, Bucket, BufferId, Cookie, Field, FlowMod, FlowModCommand, FlowModFlags,
    FlowStatsRequest, GroupId, GroupMod, GroupModCommand, GroupType, Instruction, Match, Message, MeterFlags,
    MeterId, MeterMod, MeterModCommand, Oxm, PortConfig, PortFeatures, PortMod, PortNo, Priority, QueueId,
    Role, TableId,
};
use packet::MacAddr;

use super::base64;
use super::names::{BUFFERS, GROUPS, LENGTHS, METERS, PORTS, QUEUES, ROLES, TABLES};
use super::node::{Node, number_in};
use super::show::group_type;

/// No port, no group, no buffer.
const ANY: u32 = 0xffff_ffff;
/// Bytes of a packet-in unless told otherwise (OFPCML_MAX).
const MAX_LEN: u32 = 0xffe5;

fn some<T>(number: u32, of: impl Fn(u32) -> T) -> Option<T> {
    (number != ANY).then(|| of(number))
}

fn table(node: &Node<'_>, or_else: TableId) -> Result<TableId, Problem> {
    let number = node.named(TABLES, or_else.0.into())?;
    u8::try_from(number).map(TableId).map_err(|_| node.wrong("a table from 0 to 254, or ALL"))
}

/// Which flows are meant.
pub fn selection(body: &Node<'_>) -> Result<FlowStatsRequest, Problem> {
    Ok(FlowStatsRequest {
        table: table(&body.get("table_id")?, TableId::ALL)?,
        out_port: some(body.get("out_port")?.named(PORTS, ANY)?, PortNo),
        out_group: some(body.get("out_group")?.named(GROUPS, ANY)?, GroupId),
        cookie: Cookie(body.get("cookie")?.number(u64::MAX, Some(0))?),
        cookie_mask: body.get("cookie_mask")?.number(u64::MAX, Some(0))?,
        matches: matches(&body.get("match")?)?,
    })
}

/// The priority that selected flows must have; switches cannot be asked for it.
pub fn priority(body: &Node<'_>) -> Result<Option<u16>, Problem> {
    let node = body.get("priority")?;
    if node.is_absent() || node.value().and_then(serde_json::Value::as_i64).is_some_and(|n| n < 0) {
        return Ok(None);
    }
    node.short().map(Some)
}

/// A change of flows.
pub fn flow_mod(body: &Node<'_>, command: FlowModCommand) -> Result<FlowMod, Problem> {
    let FlowStatsRequest { out_port, out_group, cookie, cookie_mask, matches, .. } = selection(body)?;
    Ok(FlowMod {
        command,
        table: table(&body.get("table_id")?, TableId(0))?,
        cookie,
        cookie_mask,
        priority: Priority(body.get("priority")?.short()?),
        idle_timeout: body.get("idle_timeout")?.short()?,
        hard_timeout: body.get("hard_timeout")?.short()?,
        buffer: some(body.get("buffer_id")?.named(BUFFERS, ANY)?, BufferId),
        out_port,
        out_group,
        flags: FlowModFlags(body.get("flags")?.short()?),
        matches,
        instructions: instructions(&body.get("actions")?)?,
        ..FlowMod::default()
    })
}

/// A change of a group.
pub fn group_mod(body: &Node<'_>, command: GroupModCommand) -> Result<GroupMod, Problem> {
    let kind = body.get("type")?;
    let name = if kind.is_absent() { "ALL" } else { kind.text()? };
    let group_type = GroupType::ALL.iter().copied().find(|known| group_type(*known) == name);
    let bucket = |node: &Node<'_>| -> Result<Bucket, Problem> {
        Ok(Bucket {
            weight: node.get("weight")?.short()?,
            watch_port: some(node.get("watch_port")?.named(PORTS, ANY)?, PortNo),
            watch_group: some(node.get("watch_group")?.named(GROUPS, ANY)?, GroupId),
            actions: node.get("actions")?.items()?.iter().map(action).collect::<Result<_, _>>()?,
        })
    };
    Ok(GroupMod {
        command,
        group_type: group_type.ok_or_else(|| kind.wrong("ALL, SELECT, INDIRECT or FF"))?,
        group: GroupId(body.get("group_id")?.named(GROUPS, 0)?),
        buckets: body.get("buckets")?.items()?.iter().map(bucket).collect::<Result<_, _>>()?,
    })
}

/// A change of a meter.
pub fn meter_mod(body: &Node<'_>, command: MeterModCommand) -> Result<MeterMod, Problem> {
    let flags = body.get("flags")?;
    // One flag may stand alone.
    let named =
        if flags.value().is_some_and(|value| value.is_string()) { vec![flags] } else { flags.items()? };
    let flag = |node: &Node<'_>| -> Result<MeterFlags, Problem> {
        let name = node.text()?;
        let mut known = MeterFlags::NAMES.iter();
        let known = known.find(|(_, known)| known.eq_ignore_ascii_case(name));
        known.map(|(flag, _)| *flag).ok_or_else(|| node.wrong("KBPS, PKTPS, BURST or STATS"))
    };
    let flags = named.iter().try_fold(MeterFlags::NONE, |all, node| Ok::<_, Problem>(all | flag(node)?))?;
    Ok(MeterMod {
        command,
        flags,
        meter: MeterId(body.get("meter_id")?.named(METERS, 0)?),
        bands: body.get("bands")?.items()?.iter().map(band).collect::<Result<_, _>>()?,
    })
}

fn band(node: &Node<'_>) -> Result<Band, Problem> {
    let kind = node.get("type")?;
    let kind = match kind.text()? {
        "DROP" => BandKind::Drop,
        "DSCP_REMARK" => {
            let prec_level = node.get("prec_level")?.number(u8::MAX.into(), Some(0))?;
            BandKind::DscpRemark { prec_level: prec_level as u8 }
        }
        "EXPERIMENTER" => BandKind::Experimenter { experimenter: node.get("experimenter")?.long()? },
        _ => return Err(kind.wrong("DROP, DSCP_REMARK or EXPERIMENTER")),
    };
    Ok(Band { kind, rate: node.get("rate")?.long()?, burst: node.get("burst_size")?.long()? })
}

/// A change of a port. What is not said of it stays as `known`: its address, and what it advertises.
pub fn port_mod(body: &Node<'_>, known: (MacAddr, PortFeatures)) -> Result<PortMod, Problem> {
    let mac = body.get("hw_addr")?;
    let mac = if mac.is_absent() {
        known.0
    } else {
        mac.text()?.parse().map_err(|_| mac.wrong("a MAC address"))?
    };
    let advertise = body.get("advertise")?.number(u32::MAX.into(), Some(known.1.0.into()))?;
    Ok(PortMod {
        port: PortNo(body.get("port_no")?.named(PORTS, 0)?),
        mac,
        config: PortConfig(body.get("config")?.long()?),
        mask: PortConfig(body.get("mask")?.long()?),
        advertise: PortFeatures(advertise as u32),
    })
}

/// A message of an experimenter.
pub fn experimenter(body: &Node<'_>) -> Result<Message, Problem> {
    Ok(Message::Experimenter {
        experimenter: body.get("experimenter")?.long()?,
        kind: body.get("exp_type")?.long()?,
        data: data(body)?,
    })
}

/// Bytes, as they are or in base 64.
fn data(body: &Node<'_>) -> Result<Vec<u8>, Problem> {
    let (data, kind) = (body.get("data")?, body.get("data_type")?);
    let text = if data.is_absent() { "" } else { data.text()? };
    match if kind.is_absent() { "ascii" } else { kind.text()? } {
        "ascii" if text.is_ascii() => Ok(text.as_bytes().to_vec()),
        "ascii" => Err(data.wrong("ASCII")),
        "base64" => base64::decode(text).ok_or_else(|| data.wrong("base 64")),
        _ => Err(kind.wrong("ascii or base64")),
    }
}

/// A role.
pub fn role(body: &Node<'_>) -> Result<Role, Problem> {
    let node = body.get("role")?;
    let role = Role::from_number(node.named(ROLES, Role::Equal.number())?);
    role.ok_or_else(|| node.wrong(&format!("one of {}", ROLES.all())))
}

/// Instructions, and actions that stand for an apply-actions behind them.
fn instructions(list: &Node<'_>) -> Result<Vec<Instruction>, Problem> {
    let (mut instructions, mut actions) = (Vec::new(), Vec::new());
    for node in list.items()? {
        match node.get("type")?.text()? {
            "WRITE_ACTIONS" => {
                let written: Vec<Action> =
                    node.get("actions")?.items()?.iter().map(action).collect::<Result<_, _>>()?;
                if !written.is_empty() {
                    instructions.push(Instruction::WriteActions(written));
                }
            }
            "CLEAR_ACTIONS" => instructions.push(Instruction::ClearActions),
            "GOTO_TABLE" => {
                let to = node.get("table_id")?;
                if to.is_absent() {
                    return Err(to.wrong("a table"));
                }
                instructions.push(Instruction::GotoTable(table(&to, TableId(0))?));
            }
            "WRITE_METADATA" => instructions.push(Instruction::WriteMetadata {
                metadata: node.get("metadata")?.number(u64::MAX, None)?,
                mask: node.get("metadata_mask")?.number(u64::MAX, Some(u64::MAX))?,
            }),
            "METER" => {
                let meter = node.get("meter_id")?;
                if meter.is_absent() {
                    return Err(meter.wrong("a meter"));
                }
                instructions.push(Instruction::Meter(MeterId(meter.named(METERS, 0)?)));
            }
            _ => actions.push(action(&node)?),
        }
    }
    if !actions.is_empty() {
        instructions.push(Instruction::ApplyActions(actions));
    }
    Ok(instructions)
}

fn action(node: &Node<'_>) -> Result<Action, Problem> {
    let kind = node.get("type")?;
    let ethertype = || node.get("ethertype")?.number(u16::MAX.into(), None).map(|n| n as u16);
    let ttl = |key: &str| node.get(key)?.number(u8::MAX.into(), None).map(|n| n as u8);
    let there = |key: &str, what: &str| {
        let value = node.get(key)?;
        if value.is_absent() { Err(value.wrong(what)) } else { Ok(value) }
    };
    Ok(match kind.text()? {
        "OUTPUT" => Action::Output {
            port: PortNo(node.get("port")?.named(PORTS, ANY)?),
            max_len: {
                let length = node.get("max_len")?;
                let number = length.named(LENGTHS, MAX_LEN)?;
                u16::try_from(number).map_err(|_| length.wrong("a number from 0 to 65535"))?
            },
        },
        "COPY_TTL_OUT" => Action::CopyTtlOut,
        "COPY_TTL_IN" => Action::CopyTtlIn,
        "SET_MPLS_TTL" => Action::SetMplsTtl(ttl("mpls_ttl")?),
        "DEC_MPLS_TTL" => Action::DecMplsTtl,
        "PUSH_VLAN" => Action::PushVlan(ethertype()?),
        "POP_VLAN" => Action::PopVlan,
        "PUSH_MPLS" => Action::PushMpls(ethertype()?),
        "POP_MPLS" => Action::PopMpls(ethertype()?),
        "SET_QUEUE" => Action::SetQueue(QueueId(there("queue_id", "a queue")?.named(QUEUES, 0)?)),
        "GROUP" => Action::Group(GroupId(there("group_id", "a group")?.named(GROUPS, 0)?)),
        "SET_NW_TTL" => Action::SetNwTtl(ttl("nw_ttl")?),
        "DEC_NW_TTL" => Action::DecNwTtl,
        "SET_FIELD" => Action::SetField(set_field(node)?),
        "PUSH_PBB" => Action::PushPbb(ethertype()?),
        "POP_PBB" => Action::PopPbb,
        "EXPERIMENTER" => {
            Action::Experimenter { experimenter: node.get("experimenter")?.long()?, data: data(node)? }
        }
        _ => return Err(kind.wrong("an action or instruction of OpenFlow 1.3 such as OUTPUT")),
    })
}

fn set_field(node: &Node<'_>) -> Result<Oxm, Problem> {
    let name = node.get("field")?;
    let field = Field::from_name(name.text()?).filter(|field| field.is_settable());
    let field = field.ok_or_else(|| name.wrong("a field that can be set, such as eth_dst"))?;
    let value = node.get("value")?;
    Ok(Oxm::new(field, one_value(field, &value)?))
}

/// A match, its fields by their names of OpenFlow 1.3 or 1.0.
fn matches(node: &Node<'_>) -> Result<Match, Problem> {
    let members = node.members()?;
    let number = |names: [&str; 2]| {
        let mut found = members.iter().filter(|(key, _)| names.contains(key)).map(|(_, node)| node);
        found.next().and_then(|node| node.number(u64::MAX, None).ok())
    };
    let is_arp = number(["dl_type", "eth_type"]) == Some(0x0806);
    let proto = number(["nw_proto", "ip_proto"]);
    let mut fields = Vec::new();
    for (key, value) in members.iter().filter(|(_, value)| !value.is_absent()) {
        let unknown = || Problem::invalid(value.pointer(), format!("there is no match field \"{key}\""));
        fields.push(match_value(field_named(key, is_arp, proto).ok_or_else(unknown)?, value)?);
    }
    Match::from_fields(fields).map_err(|error| Problem::invalid(node.pointer(), error))
}

/// The field of a name; where transport ports belong says the protocol.
fn field_named(name: &str, is_arp: bool, proto: Option<u64>) -> Option<Field> {
    Some(match (name, proto) {
        ("dl_src", _) => Field::EthSrc,
        ("dl_dst", _) => Field::EthDst,
        ("dl_type", _) => Field::EthType,
        ("dl_vlan", _) => Field::VlanVid,
        ("nw_src", _) if is_arp => Field::ArpSpa,
        ("nw_dst", _) if is_arp => Field::ArpTpa,
        ("nw_src", _) => Field::Ipv4Src,
        ("nw_dst", _) => Field::Ipv4Dst,
        ("nw_proto", _) => Field::IpProto,
        ("tp_src", Some(6)) => Field::TcpSrc,
        ("tp_dst", Some(6)) => Field::TcpDst,
        ("tp_src", Some(17)) => Field::UdpSrc,
        ("tp_dst", Some(17)) => Field::UdpDst,
        _ => return Field::from_name(name),
    })
}

fn match_value(field: Field, node: &Node<'_>) -> Result<Oxm, Problem> {
    if field == Field::InPort {
        return Ok(Oxm::in_port(PortNo(node.named(PORTS, 0)?)));
    }
    let text = node.value().and_then(|value| value.as_str());
    if let Some((value, mask)) = text.and_then(|text| text.split_once('/')) {
        if !field.is_maskable() {
            return Err(node.wrong("a value without a mask"));
        }
        let read = |text: &str| parse(field, text).ok_or_else(|| node.wrong(expected(field)));
        // Addresses may have the length of their prefix for a mask.
        let prefix = match field.form() {
            Form::Ipv4 | Form::Ipv6 => mask.parse::<u32>().ok().filter(|len| *len <= field.bits().into()),
            _ => None,
        };
        let mask = match prefix {
            Some(len) => prefix_mask(field.bits().into(), len),
            None => read(mask)?,
        };
        return Ok(Oxm::masked(field, read(value)?, mask));
    }
    if field == Field::VlanVid {
        return Ok(Oxm::new(field, vlan(node)?));
    }
    Ok(Oxm::new(field, one_value(field, node)?))
}

fn prefix_mask(bits: u32, len: u32) -> u128 {
    let full = u128::MAX >> (128 - bits);
    full & !full.checked_shr(len).unwrap_or(0)
}

/// A decimal number is the id of a tag; a hexadecimal one is the value of the field, with the bit that says that there is
/// a tag, or without.
fn vlan(node: &Node<'_>) -> Result<u128, Problem> {
    let decimal = match node.value().and_then(|value| value.as_str()) {
        Some(text) => text.bytes().all(|byte| byte.is_ascii_digit()),
        None => true,
    };
    let most = Field::VlanVid.full_mask() as u64;
    let number = node.number(most, None).map_err(|_| node.wrong("a VLAN id"))?;
    Ok(u128::from(if decimal { number | u64::from(VID_PRESENT) } else { number }))
}

fn one_value(field: Field, node: &Node<'_>) -> Result<u128, Problem> {
    let wrong = || node.wrong(expected(field));
    match node.value() {
        Some(serde_json::Value::String(text)) => parse(field, text).ok_or_else(wrong),
        Some(serde_json::Value::Number(number)) if is_number(field) => {
            let number = number.as_u64().map(u128::from);
            number.filter(|number| *number <= field.full_mask()).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn is_number(field: Field) -> bool {
    matches!(field.form(), Form::Decimal | Form::Hex | Form::Port)
}

fn expected(field: Field) -> &'static str {
    match field.form() {
        Form::Mac => "a MAC address",
        Form::Ipv4 => "an IPv4 address",
        Form::Ipv6 => "an IPv6 address",
        Form::Decimal | Form::Hex | Form::Port => "a number that fits into the field",
    }
}

fn parse(field: Field, text: &str) -> Option<u128> {
    let value = match field.form() {
        Form::Mac => text.parse::<MacAddr>().ok().map(|mac| mac.to_u64().into()),
        Form::Ipv4 | Form::Ipv6 => match (text.parse::<IpAddr>().ok()?, field.form()) {
            (IpAddr::V4(address), Form::Ipv4) => Some(address.to_bits().into()),
            (IpAddr::V6(address), Form::Ipv6) => Some(address.to_bits()),
            _ => None,
        },
        Form::Decimal | Form::Hex | Form::Port => number_in(text),
    };
    value.filter(|value| *value <= field.full_mask())
}

#[cfg(test)]
mod tests {
    use openflow::text::parse_flow;
    use serde_json::{Value, json};

    use super::*;

    fn add(body: &Value) -> Result<FlowMod, Problem> {
        flow_mod(&Node::root(body), FlowModCommand::Add)
    }

    #[test]
    fn what_ryu_takes_is_what_ovs_ofctl_means() {
        let cases = [
            (json!({}), "priority=0,actions=drop"),
            (
                json!({"cookie": "0x10", "table_id": 3, "idle_timeout": 30, "hard_timeout": 60, "priority": 11111, "flags": 1,
                    "match": {"in_port": 1}, "actions": [{"type": "OUTPUT", "port": 2}]}),
                "cookie=0x10,table=3,idle_timeout=30,hard_timeout=60,priority=11111,send_flow_rem,in_port=1,actions=output:2",
            ),
            (
                json!({"match": {"dl_type": 2048, "nw_proto": 6, "nw_dst": "10.1.0.0/16", "tp_dst": "80"},
                    "actions": [{"type": "SET_FIELD", "field": "ipv4_dst", "value": "10.0.0.1"}, {"type": "GOTO_TABLE", "table_id": 1}]}),
                "priority=0,tcp,nw_dst=10.1.0.0/16,tp_dst=80,actions=set_field:10.0.0.1->ip_dst,goto_table:1",
            ),
            (
                json!({"match": {"dl_vlan": 10, "eth_src": "02:00:00:00:00:01/ff:ff:00:00:00:00"}, "actions": [{"type": "POP_VLAN"}]}),
                "priority=0,dl_vlan=10,dl_src=02:00:00:00:00:01/ff:ff:00:00:00:00,actions=pop_vlan",
            ),
            (json!({"match": {"vlan_vid": "0x0000"}}), "priority=0,vlan_tci=0x0000,actions=drop"),
            (
                json!({"match": {"vlan_vid": "0x1000/0x1000"}}),
                "priority=0,vlan_tci=0x1000/0x1000,actions=drop",
            ),
            (
                json!({"match": {"dl_type": "0x0806", "nw_src": "10.0.0.1", "arp_op": 1}}),
                "priority=0,arp,arp_spa=10.0.0.1,arp_op=1,actions=drop",
            ),
        ];
        for (body, text) in cases {
            let mine = add(&body).unwrap_or_else(|error| panic!("{body}: {error}"));
            let theirs = parse_flow(text).unwrap();
            // Outputs differ in the length of packet-ins alone.
            let shown = |flow: &FlowMod| openflow::text::Instructions(&flow.instructions).to_string();
            assert_eq!((&mine.matches, shown(&mine)), (&theirs.matches, shown(&theirs)), "{body}");
            let numbers = |flow: &FlowMod| {
                (flow.table, flow.priority, flow.cookie, flow.flags, flow.idle_timeout, flow.hard_timeout)
            };
            assert_eq!(numbers(&mine), numbers(&theirs), "{body}");
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        let cases = [
            (json!({"priority": 65536}), "/priority"),
            (json!({"match": []}), "/match"),
            (json!({"match": {"colour": 1}}), "/match/colour"),
            (json!({"match": {"nw_src": "10.0.0.0/40", "dl_type": 2048}}), "/match/nw_src"),
            (json!({"match": {"tp_dst": 80}}), "/match/tp_dst"),
            (json!({"match": {"ipv4_src": "10.0.0.1"}}), "/match"),
            (json!({"match": {"dl_vlan": "9000"}}), "/match/dl_vlan"),
            (json!({"actions": {}}), "/actions"),
            (json!({"actions": [{"type": "PAINT"}]}), "/actions/0/type"),
            (json!({"actions": [{"port": 1}]}), "/actions/0/type"),
            (json!({"actions": [{"type": "GOTO_TABLE"}]}), "/actions/0/table_id"),
            (
                json!({"actions": [{"type": "WRITE_ACTIONS", "actions": [{"type": "OUTPUT", "port": "x"}]}]}),
                "/actions/0/actions/0/port",
            ),
            (json!({"actions": [{"type": "SET_FIELD", "field": "in_port", "value": 1}]}), "/actions/0/field"),
            (
                json!({"actions": [{"type": "SET_FIELD", "field": "vlan_vid", "value": 8192}]}),
                "/actions/0/value",
            ),
        ];
        for (body, pointer) in cases {
            let problem = add(&body).expect_err(pointer);
            assert_eq!(
                (problem.status, problem.pointer.as_deref()),
                (422, Some(pointer)),
                "{body}: {problem}"
            );
        }
        let group = json!({"type": "SOME"});
        assert_eq!(
            group_mod(&Node::root(&group), GroupModCommand::Add).unwrap_err().pointer.unwrap(),
            "/type"
        );
        let meter = json!({"flags": ["KBPS", "MBPS"]});
        assert_eq!(
            meter_mod(&Node::root(&meter), MeterModCommand::Add).unwrap_err().pointer.unwrap(),
            "/flags/1"
        );
        let message = json!({"data_type": "base64", "data": "?"});
        assert_eq!(experimenter(&Node::root(&message)).unwrap_err().pointer.unwrap(), "/data");
    }
}
