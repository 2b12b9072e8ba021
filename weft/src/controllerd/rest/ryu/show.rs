//! What switches answer, in the words of Ryu (`ryu/lib/ofctl_v1_3.py`): the same keys, the same types.

use std::net::{Ipv4Addr, Ipv6Addr};

use openflow::oxm::{Form, VID_PRESENT};
use openflow::{
    Action, AggregateStats, BandKind, Bucket, Field, FlowStats, GroupDesc, GroupFeatures, GroupStats,
    GroupType, Instruction, Match, Message, MeterConfig, MeterFeatures, MeterFlags, MeterStats,
    MultipartReply, Oxm, PacketQueue, PortDesc, PortStats, QueueConfig, QueueStats, Reply, Rewrite,
    RoleRequest, SwitchDesc, TableFeature, TableFeatures, TableStats, Version, Xid,
};
use packet::MacAddr;
use serde_json::{Map, Value, json};

use super::base64;
use super::names::{GROUPS, METERS, PORTS, QUEUES, ROLES, TABLES};

/// Port and group of a bucket that watches none.
const ANY: u32 = 0xffff_ffff;
/// Bytes of a header of a multipart reply.
const MULTIPART_HEADER: usize = 16;

/// The description of a switch.
pub fn desc(desc: &SwitchDesc) -> Value {
    json!({
        "mfr_desc": desc.manufacturer.to_string(), "hw_desc": desc.hardware.to_string(),
        "sw_desc": desc.software.to_string(), "serial_num": desc.serial.to_string(),
        "dp_desc": desc.datapath.to_string(),
    })
}

/// A flow.
pub fn flow(flow: &FlowStats) -> Value {
    json!({
        "priority": flow.priority.0, "cookie": flow.cookie.0, "idle_timeout": flow.idle_timeout,
        "hard_timeout": flow.hard_timeout, "byte_count": flow.bytes,
        "duration_sec": flow.duration.as_secs(), "duration_nsec": flow.duration.subsec_nanos(),
        "packet_count": flow.packets, "length": length_of(flow), "flags": flow.flags.0,
        "actions": instructions(&flow.instructions), "match": matches(&flow.matches),
        "table_id": TABLES.show(flow.table.0.into()),
    })
}

/// Bytes of its entry in a reply (ofp_flow_stats).
fn length_of(flow: &FlowStats) -> usize {
    let body = Reply::Flow(vec![flow.clone()]);
    let message = Message::MultipartReply(MultipartReply { more: false, body });
    let mut bytes = Vec::new();
    match openflow::codec::encode(Version::V13, Xid(0), &message, &mut bytes) {
        Ok(()) => bytes.len().saturating_sub(MULTIPART_HEADER),
        Err(_) => 0,
    }
}

/// Sums over flows.
pub fn aggregate(sums: &AggregateStats) -> Value {
    json!({"packet_count": sums.packets, "byte_count": sums.bytes, "flow_count": sums.flows})
}

/// The counters of a table.
pub fn table(table: &TableStats) -> Value {
    json!({
        "active_count": table.active, "lookup_count": table.lookups, "matched_count": table.matched,
        "table_id": TABLES.show(table.table.0.into()),
    })
}

/// What a table can do.
pub fn table_features(table: &TableFeatures) -> Value {
    json!({
        "name": table.name.to_string(), "metadata_match": table.metadata_match,
        "metadata_write": table.metadata_write, "config": table.config, "max_entries": table.max_entries,
        "properties": table.features.iter().map(table_feature).collect::<Vec<_>>(),
        "table_id": TABLES.show(table.table.0.into()),
    })
}

fn table_feature(feature: &TableFeature) -> Value {
    let name = |name: &str, miss: bool| if miss { format!("{name}_MISS") } else { name.to_owned() };
    let ids =
        |types: &[u16]| -> Vec<Value> { types.iter().map(|kind| json!({"len": 4, "type": kind})).collect() };
    let when = |apply: bool| if apply { "APPLY" } else { "WRITE" };
    match feature {
        TableFeature::Instructions { miss, types } => {
            json!({"type": name("INSTRUCTIONS", *miss), "instruction_ids": ids(types)})
        }
        TableFeature::NextTables { miss, tables } => {
            let tables: Vec<u8> = tables.iter().map(|table| table.0).collect();
            json!({"type": name("NEXT_TABLES", *miss), "table_ids": tables})
        }
        TableFeature::Actions { apply, miss, types } => {
            json!({"type": name(&format!("{}_ACTIONS", when(*apply)), *miss), "action_ids": ids(types)})
        }
        TableFeature::Match(fields) => {
            let ids: Vec<Value> = fields.iter().map(|(field, masked)| oxm_id(*field, *masked)).collect();
            json!({"type": "MATCH", "oxm_ids": ids})
        }
        TableFeature::Wildcards(fields) => {
            let ids: Vec<Value> = fields.iter().map(|field| oxm_id(*field, false)).collect();
            json!({"type": "WILDCARDS", "oxm_ids": ids})
        }
        TableFeature::SetField { apply, miss, fields } => {
            let ids: Vec<Value> = fields.iter().map(|field| oxm_id(*field, false)).collect();
            json!({"type": name(&format!("{}_SETFIELD", when(*apply)), *miss), "oxm_ids": ids})
        }
        TableFeature::Unknown { kind, .. } => {
            json!({"type": if *kind >= 0xfffe { name("EXPERIMENTER", *kind == 0xffff) } else { "UNKNOWN".to_owned() }})
        }
    }
}

fn oxm_id(field: Field, masked: bool) -> Value {
    // A field of an experimenter carries its number in the value.
    let experimenter = if field.class() == openflow::oxm::CLASS_EXPERIMENTER { 4 } else { 0 };
    let length = experimenter + field.bytes() * if masked { 2 } else { 1 };
    json!({"hasmask": u8::from(masked), "length": length, "type": field.name()})
}

/// The counters of a port.
pub fn port(port: &PortStats) -> Value {
    json!({
        "rx_packets": port.rx_packets, "tx_packets": port.tx_packets, "rx_bytes": port.rx_bytes,
        "tx_bytes": port.tx_bytes, "rx_dropped": port.rx_dropped, "tx_dropped": port.tx_dropped,
        "rx_errors": port.rx_errors, "tx_errors": port.tx_errors, "rx_frame_err": port.rx_frame_err,
        "rx_over_err": port.rx_over_err, "rx_crc_err": port.rx_crc_err, "collisions": port.collisions,
        "duration_sec": port.duration.as_secs(), "duration_nsec": port.duration.subsec_nanos(),
        "port_no": PORTS.show(port.port.0),
    })
}

/// The description of a port.
pub fn port_desc(port: &PortDesc) -> Value {
    json!({
        "hw_addr": port.mac.to_string(), "name": port.name.to_string(), "config": port.config.0,
        "state": port.state.0, "curr": port.current.0, "advertised": port.advertised.0,
        "supported": port.supported.0, "peer": port.peer.0, "curr_speed": port.current_speed,
        "max_speed": port.max_speed, "port_no": PORTS.show(port.port.0),
    })
}

/// The counters of a queue.
pub fn queue(queue: &QueueStats) -> Value {
    json!({
        "duration_nsec": queue.duration.subsec_nanos(), "duration_sec": queue.duration.as_secs(),
        "port_no": queue.port.0, "queue_id": queue.queue.0, "tx_bytes": queue.tx_bytes,
        "tx_errors": queue.tx_errors, "tx_packets": queue.tx_packets,
    })
}

/// Rates of a queue with their names and the numbers of their properties in 1.3.
fn rates(queue: &PacketQueue) -> impl Iterator<Item = (&'static str, u16)> {
    [("MIN_RATE", queue.min_rate), ("MAX_RATE", queue.max_rate)]
        .into_iter()
        .filter_map(|(name, rate)| Some((name, rate?)))
}

/// The queues of a port.
pub fn queue_config(config: &QueueConfig) -> Value {
    let queue = |queue: &PacketQueue| {
        let properties: Vec<Value> =
            rates(queue).map(|(name, rate)| json!({"property": name, "rate": rate})).collect();
        json!({
            "properties": properties, "port": PORTS.show(queue.port.0), "queue_id": QUEUES.show(queue.queue.0),
        })
    };
    json!({
        "queues": config.queues.iter().map(queue).collect::<Vec<_>>(),
        "port": PORTS.show(config.port.map_or(ANY, |port| port.0)),
    })
}

/// A queue as OpenFlow 1.4 describes it (ofp_queue_desc).
pub fn queue_desc(queue: &PacketQueue) -> Value {
    let properties: Vec<Value> =
        rates(queue).map(|(name, rate)| json!({"type": name, "length": 8, "rate": rate})).collect();
    json!({
        "len": 16 + 8 * properties.len(), "port_no": queue.port.0, "queue_id": queue.queue.0,
        "properties": properties,
    })
}

/// The counters of a group.
pub fn group(group: &GroupStats) -> Value {
    let bucket =
        |bucket: &openflow::BucketStats| json!({"packet_count": bucket.packets, "byte_count": bucket.bytes});
    json!({
        // ofp_group_stats, ofp_bucket_counter
        "length": 40 + 16 * group.buckets.len(), "ref_count": group.ref_count, "packet_count": group.packets,
        "byte_count": group.bytes, "duration_sec": group.duration.as_secs(),
        "duration_nsec": group.duration.subsec_nanos(),
        "bucket_stats": group.buckets.iter().map(bucket).collect::<Vec<_>>(),
        "group_id": GROUPS.show(group.group.0),
    })
}

/// What a kind of group is called.
pub const fn group_type(kind: GroupType) -> &'static str {
    match kind {
        GroupType::All => "ALL",
        GroupType::Select => "SELECT",
        GroupType::Indirect => "INDIRECT",
        GroupType::FastFailover => "FF",
    }
}

/// A group.
pub fn group_desc(group: &GroupDesc) -> Value {
    let bucket = |bucket: &Bucket| {
        json!({
            "weight": bucket.weight, "watch_port": bucket.watch_port.map_or(ANY, |port| port.0),
            "watch_group": bucket.watch_group.map_or(ANY, |group| group.0),
            "actions": bucket.actions.iter().map(action).collect::<Vec<_>>(),
        })
    };
    json!({
        "buckets": group.buckets.iter().map(bucket).collect::<Vec<_>>(), "group_id": GROUPS.show(group.group.0),
        "type": group_type(group.group_type),
    })
}

/// The numbers of actions (ofp_action_type) with their names.
const ACTIONS: &[(u32, &str)] = &[
    (0, "OUTPUT"),
    (11, "COPY_TTL_OUT"),
    (12, "COPY_TTL_IN"),
    (15, "SET_MPLS_TTL"),
    (16, "DEC_MPLS_TTL"),
    (17, "PUSH_VLAN"),
    (18, "POP_VLAN"),
    (19, "PUSH_MPLS"),
    (20, "POP_MPLS"),
    (21, "SET_QUEUE"),
    (22, "GROUP"),
    (23, "SET_NW_TTL"),
    (24, "DEC_NW_TTL"),
    (25, "SET_FIELD"),
    (26, "PUSH_PBB"),
    (27, "POP_PBB"),
];

/// What groups can do.
pub fn group_features(features: &GroupFeatures) -> Value {
    let has = |kind: &&GroupType| features.types >> kind.number() & 1 == 1;
    let types: Vec<&str> = GroupType::ALL.iter().filter(has).map(|kind| group_type(*kind)).collect();
    let capabilities = openflow::GroupCapabilities::NAMES.iter();
    let capabilities: Vec<String> = capabilities
        .filter(|(flag, _)| features.capabilities.contains(*flag))
        .map(|(_, name)| name.to_ascii_uppercase())
        .collect();
    let each = |value: &dyn Fn(usize) -> Value| -> Vec<Value> {
        let one = |kind: &GroupType| {
            let value = value(usize::from(kind.number()));
            Value::Object(Map::from_iter([(group_type(*kind).to_owned(), value)]))
        };
        GroupType::ALL.iter().map(one).collect()
    };
    let actions = |idx: usize| {
        let mask = features.actions.get(idx).copied().unwrap_or_default();
        json!(ACTIONS.iter().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, name)| *name).collect::<Vec<_>>())
    };
    json!({
        "types": types, "capabilities": capabilities,
        "max_groups": each(&|idx| json!(features.max_groups.get(idx).copied().unwrap_or_default())),
        "actions": each(&actions),
    })
}

/// The counters of a meter.
pub fn meter(meter: &MeterStats) -> Value {
    let band = |band: &openflow::BandStats| json!({"packet_band_count": band.packets, "byte_band_count": band.bytes});
    json!({
        // ofp_meter_stats, ofp_meter_band_stats
        "len": 40 + 16 * meter.bands.len(), "flow_count": meter.flow_count,
        "packet_in_count": meter.packets_in, "byte_in_count": meter.bytes_in,
        "duration_sec": meter.duration.as_secs(), "duration_nsec": meter.duration.subsec_nanos(),
        "band_stats": meter.bands.iter().map(band).collect::<Vec<_>>(),
        "meter_id": METERS.show(meter.meter.0),
    })
}

fn meter_flags(flags: MeterFlags) -> Vec<String> {
    let named = MeterFlags::NAMES.iter().filter(|(flag, _)| flags.contains(*flag));
    named.map(|(_, name)| name.to_ascii_uppercase()).collect()
}

/// A meter.
pub fn meter_config(meter: &MeterConfig) -> Value {
    let band = |band: &openflow::Band| {
        let mut shape = json!({"rate": band.rate, "burst_size": band.burst});
        let (name, more) = match band.kind {
            BandKind::Drop => ("DROP", None),
            BandKind::DscpRemark { prec_level } => ("DSCP_REMARK", Some(("prec_level", prec_level.into()))),
            BandKind::Experimenter { experimenter } => ("EXPERIMENTER", Some(("experimenter", experimenter))),
            BandKind::Unknown { .. } => ("", None),
        };
        shape["type"] = json!(name);
        if let Some((key, value)) = more {
            shape[key] = json!(value);
        }
        shape
    };
    json!({
        "flags": meter_flags(meter.flags), "bands": meter.bands.iter().map(band).collect::<Vec<_>>(),
        "meter_id": METERS.show(meter.meter.0),
    })
}

/// What meters can do.
pub fn meter_features(features: &MeterFeatures) -> Value {
    // OFPMBT_DROP, OFPMBT_DSCP_REMARK
    let types = [(1, "DROP"), (2, "DSCP_REMARK")];
    let types: Vec<&str> =
        types.into_iter().filter(|(n, _)| features.band_types >> n & 1 == 1).map(|(_, name)| name).collect();
    json!({
        "max_meter": features.max_meter, "band_types": types,
        "capabilities": meter_flags(features.capabilities), "max_bands": features.max_bands,
        "max_color": features.max_color,
    })
}

/// The role of the controller.
pub fn role(role: &RoleRequest) -> Value {
    json!({"generation_id": role.generation, "role": ROLES.show(role.role.number())})
}

fn instructions(instructions: &[Instruction]) -> Vec<Value> {
    let mut shown = Vec::new();
    for instruction in instructions {
        match instruction {
            Instruction::ApplyActions(actions) => shown.extend(actions.iter().map(|act| json!(action(act)))),
            Instruction::WriteActions(actions) if actions.is_empty() => {}
            Instruction::WriteActions(actions) => {
                shown.push(json!({"WRITE_ACTIONS": actions.iter().map(action).collect::<Vec<_>>()}));
            }
            Instruction::ClearActions => shown.push(json!("CLEAR_ACTIONS")),
            Instruction::GotoTable(table) => {
                shown.push(json!(format!("GOTO_TABLE:{}", TABLES.text(table.0.into()))));
            }
            Instruction::WriteMetadata { metadata, mask: 0 } => {
                shown.push(json!(format!("WRITE_METADATA:{metadata:#x}")));
            }
            Instruction::WriteMetadata { metadata, mask } => {
                shown.push(json!(format!("WRITE_METADATA:{metadata:#x}/{mask:#x}")));
            }
            Instruction::Meter(meter) => shown.push(json!(format!("METER:{}", METERS.text(meter.0)))),
            Instruction::Experimenter { .. } | Instruction::Unknown { .. } => {}
        }
    }
    shown
}

fn action(action: &Action) -> String {
    match action {
        Action::Output { port, .. } => format!("OUTPUT:{}", PORTS.text(port.0)),
        Action::CopyTtlOut => "COPY_TTL_OUT".to_owned(),
        Action::CopyTtlIn => "COPY_TTL_IN".to_owned(),
        Action::SetMplsTtl(ttl) => format!("SET_MPLS_TTL:{ttl}"),
        Action::DecMplsTtl => "DEC_MPLS_TTL".to_owned(),
        Action::PushVlan(ethertype) => format!("PUSH_VLAN:{ethertype}"),
        Action::PopVlan => "POP_VLAN".to_owned(),
        Action::PushMpls(ethertype) => format!("PUSH_MPLS:{ethertype}"),
        Action::PopMpls(ethertype) => format!("POP_MPLS:{ethertype}"),
        Action::SetQueue(queue) => format!("SET_QUEUE:{}", QUEUES.text(queue.0)),
        Action::Group(group) => format!("GROUP:{}", GROUPS.text(group.0)),
        Action::SetNwTtl(ttl) => format!("SET_NW_TTL:{ttl}"),
        Action::DecNwTtl => "DEC_NW_TTL".to_owned(),
        Action::SetField(oxm) => set_field(*oxm),
        Action::PushPbb(ethertype) => format!("PUSH_PBB:{ethertype}"),
        Action::PopPbb => "POP_PBB".to_owned(),
        Action::Rewrite(rewrite) => rewritten(*rewrite),
        // A pair of actions since 1.1.
        Action::Enqueue { port, .. } => format!("OUTPUT:{}", PORTS.text(port.0)),
        Action::Experimenter { experimenter, data } => {
            format!("EXPERIMENTER: {{experimenter:{experimenter}, data:{}}}", base64::encode(data))
        }
        Action::Unknown { .. } => "UNKNOWN".to_owned(),
    }
}

fn set_field(oxm: Oxm) -> String {
    format!("SET_FIELD: {{{}:{}}}", oxm.field.name(), text(oxm.field, oxm.value))
}

fn rewritten(rewrite: Rewrite) -> String {
    rewrite.fields().first().map_or_else(|| "UNKNOWN".to_owned(), |oxm| set_field(*oxm))
}

/// A value as text, without quotes around it.
fn text(field: Field, value: u128) -> String {
    match field.form() {
        Form::Mac => MacAddr::from_u64(value as u64).to_string(),
        Form::Ipv4 => Ipv4Addr::from_bits(value as u32).to_string(),
        Form::Ipv6 => Ipv6Addr::from_bits(value).to_string(),
        Form::Decimal | Form::Hex | Form::Port => value.to_string(),
    }
}

/// A match. Some fields go by their names of OpenFlow 1.0.
fn matches(matches: &Match) -> Value {
    let mut shape = Map::new();
    for oxm in matches.iter() {
        let name = match oxm.field {
            Field::EthSrc => "dl_src",
            Field::EthDst => "dl_dst",
            Field::EthType => "dl_type",
            Field::VlanVid => "dl_vlan",
            Field::Ipv4Src => "nw_src",
            Field::Ipv4Dst => "nw_dst",
            Field::IpProto => "nw_proto",
            Field::TcpSrc | Field::UdpSrc => "tp_src",
            Field::TcpDst | Field::UdpDst => "tp_dst",
            field => field.name(),
        };
        shape.entry(name).or_insert_with(|| match_value(*oxm));
    }
    Value::Object(shape)
}

fn match_value(oxm: Oxm) -> Value {
    match (oxm.field, oxm.mask) {
        (Field::VlanVid, Some(mask)) => json!(format!("{:#06x}/{mask:#06x}", oxm.value)),
        (Field::VlanVid, None) if oxm.value & u128::from(VID_PRESENT) != 0 => {
            json!((oxm.value & !u128::from(VID_PRESENT)).to_string())
        }
        (Field::VlanVid, None) => json!(format!("{:#06x}", oxm.value)),
        (Field::InPort, _) => PORTS.show(oxm.value as u32),
        (field, Some(mask)) => json!(format!("{}/{}", text(field, oxm.value), text(field, mask))),
        (field, None) => match field.form() {
            // No number has more than 64 bits.
            Form::Decimal | Form::Hex | Form::Port => json!(oxm.value as u64),
            Form::Mac | Form::Ipv4 | Form::Ipv6 => json!(text(field, oxm.value)),
        },
    }
}
