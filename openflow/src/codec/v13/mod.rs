//! OpenFlow 1.3.5.

mod action;
pub(in crate::codec) mod flow;
mod group;
pub(in crate::codec) mod multipart;
mod oxm;
pub(in crate::codec) mod port;
mod table;

use core::time::Duration;

use super::reader::{Decoded, Reader};
use super::writer::Put;
use super::{EncodeError, begin, bundle, finish};
use crate::error::{
    BadInstruction, BadProperty, BadRequest, RoleRequestFailed, SwitchConfigFailed, TableFeaturesFailed,
};
use crate::oxm::ONF;
use crate::{
    AsyncChange, AsyncConfig, Config, Dpid, Error, ErrorKind, Features, FragMode, Message, PacketInReason,
    PortNo, Role, RoleRequest, SwitchCapabilities, Version, Xid, ports,
};

/// Message types (ofp_type).
pub(in crate::codec) mod kind {
    pub const ERROR: u8 = 1;
    pub const ECHO_REQUEST: u8 = 2;
    pub const ECHO_REPLY: u8 = 3;
    pub const EXPERIMENTER: u8 = 4;
    pub const FEATURES_REQUEST: u8 = 5;
    pub const FEATURES_REPLY: u8 = 6;
    pub const GET_CONFIG_REQUEST: u8 = 7;
    pub const GET_CONFIG_REPLY: u8 = 8;
    pub const SET_CONFIG: u8 = 9;
    pub const PACKET_IN: u8 = 10;
    pub const FLOW_REMOVED: u8 = 11;
    pub const PORT_STATUS: u8 = 12;
    pub const PACKET_OUT: u8 = 13;
    pub const FLOW_MOD: u8 = 14;
    pub const GROUP_MOD: u8 = 15;
    pub const PORT_MOD: u8 = 16;
    pub const TABLE_MOD: u8 = 17;
    pub const MULTIPART_REQUEST: u8 = 18;
    pub const MULTIPART_REPLY: u8 = 19;
    pub const BARRIER_REQUEST: u8 = 20;
    pub const BARRIER_REPLY: u8 = 21;
    pub const QUEUE_GET_CONFIG_REQUEST: u8 = 22;
    pub const QUEUE_GET_CONFIG_REPLY: u8 = 23;
    pub const ROLE_REQUEST: u8 = 24;
    pub const ROLE_REPLY: u8 = 25;
    pub const GET_ASYNC_REQUEST: u8 = 26;
    pub const GET_ASYNC_REPLY: u8 = 27;
    pub const SET_ASYNC: u8 = 28;
    pub const METER_MOD: u8 = 29;
}

/// An error of an experimenter (OFPET_EXPERIMENTER).
const ERROR_EXPERIMENTER: u16 = 0xffff;
/// A bundle was refused, as 1.4 says it (OFPET_BUNDLE_FAILED).
const BUNDLE_FAILED: u16 = 17;

pub(in crate::codec) fn encode(xid: Xid, message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Message::MultipartReply(reply) = message {
        return multipart::write_reply(xid, reply, out);
    }
    let kind = kind_of(message).ok_or(EncodeError::NoSuchMessage(Version::V13))?;
    let start = begin(Version::V13, kind, xid, out);
    encode_body(message, out)?;
    finish(out, start)
}

/// `None` for what came after 1.3.
pub(in crate::codec) fn kind_of(message: &Message) -> Option<u8> {
    Some(match message {
        Message::Hello(_) => 0,
        Message::Error(_) => kind::ERROR,
        Message::EchoRequest(_) => kind::ECHO_REQUEST,
        Message::EchoReply(_) => kind::ECHO_REPLY,
        // Bundles are an extension.
        Message::Experimenter { .. } | Message::BundleControl(_) | Message::BundleAdd(_) => {
            kind::EXPERIMENTER
        }
        Message::FeaturesRequest => kind::FEATURES_REQUEST,
        Message::FeaturesReply(_) => kind::FEATURES_REPLY,
        Message::GetConfigRequest => kind::GET_CONFIG_REQUEST,
        Message::GetConfigReply(_) => kind::GET_CONFIG_REPLY,
        Message::SetConfig(_) => kind::SET_CONFIG,
        Message::PacketIn(_) => kind::PACKET_IN,
        Message::FlowRemoved(_) => kind::FLOW_REMOVED,
        Message::PortStatus(_) => kind::PORT_STATUS,
        Message::PacketOut(_) => kind::PACKET_OUT,
        Message::FlowMod(_) => kind::FLOW_MOD,
        Message::GroupMod(_) => kind::GROUP_MOD,
        Message::PortMod(_) => kind::PORT_MOD,
        Message::TableMod(_) => kind::TABLE_MOD,
        Message::MultipartRequest(_) => kind::MULTIPART_REQUEST,
        Message::MultipartReply(_) => kind::MULTIPART_REPLY,
        Message::BarrierRequest => kind::BARRIER_REQUEST,
        Message::BarrierReply => kind::BARRIER_REPLY,
        Message::QueueGetConfigRequest(_) => kind::QUEUE_GET_CONFIG_REQUEST,
        Message::QueueGetConfigReply(_) => kind::QUEUE_GET_CONFIG_REPLY,
        Message::RoleRequest(_) => kind::ROLE_REQUEST,
        Message::RoleReply(_) => kind::ROLE_REPLY,
        Message::GetAsyncRequest => kind::GET_ASYNC_REQUEST,
        Message::GetAsyncReply(_) => kind::GET_ASYNC_REPLY,
        Message::SetAsync(_) => kind::SET_ASYNC,
        Message::MeterMod(_) => kind::METER_MOD,
        Message::RoleStatus(_) | Message::TableStatus(_) | Message::RequestForward(_) => return None,
    })
}

pub(in crate::codec) fn encode_body(message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match message {
        Message::Error(error) => write_error(out, named(error.kind), &error.data),
        Message::EchoRequest(data) | Message::EchoReply(data) => out.bytes(data),
        Message::Experimenter { experimenter, kind, data } => {
            out.u32(*experimenter);
            out.u32(*kind);
            out.bytes(data);
        }
        Message::FeaturesReply(features) => write_features(out, features),
        Message::GetConfigReply(config) | Message::SetConfig(config) => {
            out.u16(config.frag.number());
            out.u16(config.miss_send_len);
        }
        Message::PacketIn(m) => flow::write_packet_in(Version::V13, out, m)?,
        Message::FlowRemoved(m) => flow::write_flow_removed(Version::V13, out, m)?,
        Message::PacketOut(m) => flow::write_packet_out(out, m)?,
        Message::FlowMod(m) => flow::write_flow_mod(Version::V13, out, m)?,
        Message::PortStatus(m) => port::write_status(out, m),
        Message::PortMod(m) => port::write_mod(out, m),
        Message::GroupMod(m) => group::write_group_mod(out, m)?,
        Message::MeterMod(m) => group::write_meter_mod(out, m),
        Message::TableMod(m) => table::write_mod(out, m),
        Message::MultipartRequest(m) => multipart::write_request(out, m)?,
        Message::QueueGetConfigRequest(port) => {
            out.u32(any_port(*port));
            out.zeros(4);
        }
        Message::QueueGetConfigReply(m) => port::write_queue_config(out, m)?,
        Message::RoleRequest(m) | Message::RoleReply(m) => {
            out.u32(m.role.number());
            out.zeros(4);
            out.u64(m.generation);
        }
        Message::GetAsyncReply(m) => {
            let packet_in = m.packet_in.map(|mask| mask & !LATER_REASONS);
            let masks = [packet_in, m.port_status, m.flow_removed];
            masks.iter().flatten().for_each(|mask| out.u32(*mask));
        }
        // What a change leaves as it is cannot be said: it gets the default.
        Message::SetAsync(m) => {
            let mut config = AsyncConfig::default();
            config.apply(m);
            let packet_in = config.packet_in.map(|mask| mask & !LATER_REASONS);
            let masks = [packet_in, config.port_status, config.flow_removed];
            masks.iter().flatten().for_each(|mask| out.u32(*mask));
        }
        // Nothing but a header. Hellos, multipart replies and what came after 1.3 are written elsewhere.
        Message::BundleControl(_) | Message::BundleAdd(_) => bundle::write_extension(out, message)?,
        Message::RoleStatus(_) | Message::TableStatus(_) | Message::RequestForward(_) => {}
        Message::Hello(_)
        | Message::MultipartReply(_)
        | Message::FeaturesRequest
        | Message::GetConfigRequest
        | Message::BarrierRequest
        | Message::BarrierReply
        | Message::GetAsyncRequest => {}
    }
    Ok(())
}

/// Reads the body of a message of type `kind`; `r` is all of it.
pub(in crate::codec) fn decode(kind: u8, mut r: Reader<'_>) -> Decoded<Message> {
    let r = &mut r;
    let message = match kind {
        kind::ERROR => Message::Error(read_error(r)?),
        kind::ECHO_REQUEST => Message::EchoRequest(r.rest().to_vec()),
        kind::ECHO_REPLY => Message::EchoReply(r.rest().to_vec()),
        kind::EXPERIMENTER => read_experimenter(r)?,
        kind::FEATURES_REQUEST => Message::FeaturesRequest,
        kind::FEATURES_REPLY => Message::FeaturesReply(read_features(r)?),
        kind::GET_CONFIG_REQUEST => Message::GetConfigRequest,
        kind::GET_CONFIG_REPLY => Message::GetConfigReply(read_config(r)?),
        kind::SET_CONFIG => Message::SetConfig(read_config(r)?),
        kind::PACKET_IN => Message::PacketIn(flow::read_packet_in(r)?),
        kind::FLOW_REMOVED => Message::FlowRemoved(flow::read_flow_removed(r)?),
        kind::PORT_STATUS => Message::PortStatus(port::read_status(r)?),
        kind::PACKET_OUT => Message::PacketOut(flow::read_packet_out(r)?),
        kind::FLOW_MOD => Message::FlowMod(flow::read_flow_mod(Version::V13, r)?),
        kind::GROUP_MOD => Message::GroupMod(group::read_group_mod(r)?),
        kind::PORT_MOD => Message::PortMod(port::read_mod(r)?),
        kind::TABLE_MOD => Message::TableMod(table::read_mod(r)?),
        kind::MULTIPART_REQUEST => Message::MultipartRequest(multipart::read_request(r)?),
        kind::MULTIPART_REPLY => Message::MultipartReply(multipart::read_reply(r)?),
        kind::BARRIER_REQUEST => Message::BarrierRequest,
        kind::BARRIER_REPLY => Message::BarrierReply,
        kind::QUEUE_GET_CONFIG_REQUEST => Message::QueueGetConfigRequest(read_port_request(r)?),
        kind::QUEUE_GET_CONFIG_REPLY => Message::QueueGetConfigReply(port::read_queue_config(r)?),
        kind::ROLE_REQUEST => Message::RoleRequest(read_role(r)?),
        kind::ROLE_REPLY => Message::RoleReply(read_role(r)?),
        kind::GET_ASYNC_REQUEST => Message::GetAsyncRequest,
        kind::GET_ASYNC_REPLY => Message::GetAsyncReply(read_async(r)?),
        kind::SET_ASYNC => {
            let config = read_async(r)?;
            Message::SetAsync(AsyncChange {
                packet_in: config.packet_in.map(Some),
                port_status: config.port_status.map(Some),
                flow_removed: config.flow_removed.map(Some),
                ..AsyncChange::default()
            })
        }
        kind::METER_MOD => Message::MeterMod(group::read_meter_mod(r)?),
        _ => return Err(BadRequest::BadType.into()),
    };
    r.finish()?;
    Ok(message)
}

fn read_experimenter(r: &mut Reader<'_>) -> Decoded<Message> {
    let (experimenter, kind) = (r.u32()?, r.u32()?);
    if experimenter == ONF
        && let Some(message) = bundle::read_extension(kind, r)?
    {
        return Ok(message);
    }
    Ok(Message::Experimenter { experimenter, kind, data: r.rest().to_vec() })
}

/// Errors that 1.4 brought and that extensions bring to 1.3, with their numbers among those of the ONF: an instruction
/// that is there twice (EXT-260), and parts of a multipart message that do not come in time (EXT-264).
const EXTENSION_ERRORS: [(ErrorKind, u16); 3] = [
    (ErrorKind::BadInstruction(BadInstruction::DupInst), 2600),
    (ErrorKind::BadRequest(BadRequest::MultipartRequestTimeout), 2640),
    (ErrorKind::BadRequest(BadRequest::MultipartReplyTimeout), 2641),
];

/// What 1.3 calls errors that came later: properties are those of table features, the rest are extensions.
fn named(kind: ErrorKind) -> ErrorKind {
    if let Some(&(_, number)) = EXTENSION_ERRORS.iter().find(|(later, _)| *later == kind) {
        return ErrorKind::Experimenter { kind: number, experimenter: ONF };
    }
    match kind {
        ErrorKind::BundleFailed(_) => {
            ErrorKind::Experimenter { kind: bundle::EXT_ERROR + kind.numbers().1, experimenter: ONF }
        }
        ErrorKind::BadProperty(
            BadProperty::BadType | BadProperty::BadExperimenter | BadProperty::BadExpType,
        ) => TableFeaturesFailed::BadType.into(),
        ErrorKind::BadProperty(BadProperty::BadLen) => TableFeaturesFailed::BadLen.into(),
        ErrorKind::BadProperty(_) => TableFeaturesFailed::BadArgument.into(),
        other => other,
    }
}

pub(in crate::codec) fn write_error(out: &mut Vec<u8>, error: ErrorKind, data: &[u8]) {
    let (kind, code) = error.numbers();
    out.u16(kind);
    out.u16(code);
    if let ErrorKind::Experimenter { experimenter, .. } = error {
        out.u32(experimenter);
    }
    out.bytes(data);
}

fn read_error(r: &mut Reader<'_>) -> Decoded<Error> {
    let (kind, code) = (r.u16()?, r.u16()?);
    let kind = if kind == ERROR_EXPERIMENTER {
        unnamed(code, r.u32()?)
    } else {
        ErrorKind::from_numbers(kind, code)
    };
    Ok(Error { kind, data: r.rest().to_vec() })
}

/// The error of an experimenter, as 1.4 calls it if that has it.
fn unnamed(kind: u16, experimenter: u32) -> ErrorKind {
    let known = EXTENSION_ERRORS.iter().find(|(_, number)| *number == kind && experimenter == ONF);
    if let Some(&(known, _)) = known {
        return known;
    }
    let code = kind.checked_sub(bundle::EXT_ERROR).filter(|_| experimenter == ONF);
    let failed = code.map(|code| ErrorKind::from_numbers(BUNDLE_FAILED, code));
    match failed {
        Some(failed @ ErrorKind::BundleFailed(_)) => failed,
        _ => ErrorKind::Experimenter { kind, experimenter },
    }
}

fn write_features(out: &mut Vec<u8>, features: &Features) {
    out.u64(features.dpid.0);
    out.u32(features.n_buffers);
    out.u8(features.n_tables);
    out.u8(features.auxiliary_id);
    out.zeros(2);
    out.u32(features.capabilities.0);
    out.zeros(4);
}

fn read_features(r: &mut Reader<'_>) -> Decoded<Features> {
    let dpid = Dpid(r.u64()?);
    let (n_buffers, n_tables, auxiliary_id) = (r.u32()?, r.u8()?, r.u8()?);
    r.skip(2)?;
    let capabilities = SwitchCapabilities(r.u32()?);
    r.skip(4)?;
    Ok(Features { dpid, n_buffers, n_tables, auxiliary_id, capabilities, ports: Vec::new() })
}

fn read_config(r: &mut Reader<'_>) -> Decoded<Config> {
    let frag = FragMode::from_number(r.u16()?).ok_or(SwitchConfigFailed::BadFlags)?;
    Ok(Config { frag, miss_send_len: r.u16()? })
}

fn read_role(r: &mut Reader<'_>) -> Decoded<RoleRequest> {
    let role = Role::from_number(r.u32()?);
    r.skip(4)?;
    let generation = r.u64()?;
    Ok(RoleRequest { role: role.ok_or(RoleRequestFailed::BadRole)?, generation })
}

/// Reasons of packet-ins that 1.4 brought: action set, group, packet-out.
const LATER_REASONS: u32 = 0b11_1000;

/// In 1.3 "action" is also what 1.4 calls action set, group and packet-out: who wants the one wants the others.
fn with_later_reasons(mask: u32) -> u32 {
    let wants_action = mask >> PacketInReason::Action.number() & 1 != 0;
    mask & !LATER_REASONS | if wants_action { LATER_REASONS } else { 0 }
}

fn read_async(r: &mut Reader<'_>) -> Decoded<AsyncConfig> {
    let mut pair = || Ok::<_, ErrorKind>([r.u32()?, r.u32()?]);
    let (packet_in, port_status, flow_removed) = (pair()?.map(with_later_reasons), pair()?, pair()?);
    Ok(AsyncConfig { packet_in, port_status, flow_removed, ..AsyncConfig::default() })
}

/// A request about one port or all: number and padding.
pub(in crate::codec) fn read_port_request(r: &mut Reader<'_>) -> Decoded<Option<PortNo>> {
    let port = r.u32()?;
    r.skip(4)?;
    Ok(some_port(port))
}

/// ANY on the wire is `None`.
pub(in crate::codec) fn some_port(port: u32) -> Option<PortNo> {
    (port != ports::ANY.0).then_some(PortNo(port))
}

pub(in crate::codec) fn any_port(port: Option<PortNo>) -> u32 {
    port.unwrap_or(ports::ANY).0
}

/// Seconds and nanoseconds beyond them.
pub(in crate::codec) fn write_duration(out: &mut Vec<u8>, duration: Duration) {
    out.u32(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX));
    out.u32(duration.subsec_nanos());
}

/// A peer that says a billion nanoseconds or more is not believed: what is read must be writable.
pub(in crate::codec) fn read_duration(r: &mut Reader<'_>) -> Decoded<Duration> {
    let (secs, nanos) = (r.u32()?, r.u32()?);

    Ok(Duration::new(secs.into(), nanos.min(999_999_999)))
}
