//! OpenFlow 1.0 (1.0.1). Its clauses are cited with that number where others are meant too.

mod action;
mod error;
mod flow;
mod matches;
mod port;
mod stats;

use super::reader::{Decoded, Reader};
use super::writer::Put;
use super::{EncodeError, begin, finish};
use crate::error::{BadRequest, SwitchConfigFailed};
use crate::{Config, Dpid, Error, Features, FragMode, Message, SwitchCapabilities, Version, Xid};

/// Message types (ofp_type).
mod kind {
    pub const ERROR: u8 = 1;
    pub const ECHO_REQUEST: u8 = 2;
    pub const ECHO_REPLY: u8 = 3;
    pub const VENDOR: u8 = 4;
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
    pub const PORT_MOD: u8 = 15;
    pub const STATS_REQUEST: u8 = 16;
    pub const STATS_REPLY: u8 = 17;
    pub const BARRIER_REQUEST: u8 = 18;
    pub const BARRIER_REPLY: u8 = 19;
    pub const QUEUE_GET_CONFIG_REQUEST: u8 = 20;
    pub const QUEUE_GET_CONFIG_REPLY: u8 = 21;
}

pub(super) fn encode(xid: Xid, message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Message::MultipartReply(reply) = message {
        return stats::write_reply(xid, reply, out);
    }
    let kind = kind_of(message).ok_or(EncodeError::NoSuchMessage(Version::V10))?;
    let start = begin(Version::V10, kind, xid, out);
    encode_body(message, out)?;
    finish(out, start)
}

/// `None` for what came after 1.0.
fn kind_of(message: &Message) -> Option<u8> {
    Some(match message {
        Message::Error(_) => kind::ERROR,
        Message::EchoRequest(_) => kind::ECHO_REQUEST,
        Message::EchoReply(_) => kind::ECHO_REPLY,
        Message::Experimenter { .. } => kind::VENDOR,
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
        Message::PortMod(_) => kind::PORT_MOD,
        Message::MultipartRequest(_) => kind::STATS_REQUEST,
        Message::MultipartReply(_) => kind::STATS_REPLY,
        Message::BarrierRequest => kind::BARRIER_REQUEST,
        Message::BarrierReply => kind::BARRIER_REPLY,
        Message::QueueGetConfigRequest(_) => kind::QUEUE_GET_CONFIG_REQUEST,
        Message::QueueGetConfigReply(_) => kind::QUEUE_GET_CONFIG_REPLY,
        _ => return None,
    })
}

fn encode_body(message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match message {
        Message::Error(m) => {
            let (kind, code) = error::numbers(m.kind);
            out.u16(kind);
            out.u16(code);
            out.bytes(&m.data);
        }
        Message::EchoRequest(data) | Message::EchoReply(data) => out.bytes(data),
        Message::Experimenter { experimenter, kind, data } => {
            out.u32(*experimenter);
            out.u32(*kind);
            out.bytes(data);
        }
        Message::FeaturesReply(m) => write_features(out, m)?,
        Message::GetConfigReply(m) | Message::SetConfig(m) => {
            out.u16(m.frag.number());
            out.u16(m.miss_send_len);
        }
        Message::PacketIn(m) => flow::write_packet_in(out, m)?,
        Message::FlowRemoved(m) => flow::write_flow_removed(out, m)?,
        Message::PortStatus(m) => port::write_status(out, m)?,
        Message::PacketOut(m) => flow::write_packet_out(out, m)?,
        Message::FlowMod(m) => flow::write_flow_mod(out, m)?,
        Message::PortMod(m) => port::write_mod(out, m)?,
        Message::MultipartRequest(m) => stats::write_request(out, m)?,
        Message::QueueGetConfigRequest(port) => {
            out.u16(port::any_port(*port)?);
            out.zeros(2);
        }
        Message::QueueGetConfigReply(m) => port::write_queue_config(out, m)?,
        // Nothing but a header, or not of this version.
        _ => {}
    }
    Ok(())
}

/// Reads the body of a message of type `kind`; `r` is all of it.
pub(super) fn decode(kind: u8, mut r: Reader<'_>) -> Decoded<Message> {
    let r = &mut r;
    let message = match kind {
        kind::ERROR => {
            let kind = error::from_numbers(r.u16()?, r.u16()?);
            Message::Error(Error { kind, data: r.rest().to_vec() })
        }
        kind::ECHO_REQUEST => Message::EchoRequest(r.rest().to_vec()),
        kind::ECHO_REPLY => Message::EchoReply(r.rest().to_vec()),
        kind::VENDOR => {
            let (experimenter, kind, data) = stats::read_vendor(r)?;
            Message::Experimenter { experimenter, kind, data }
        }
        kind::FEATURES_REQUEST => Message::FeaturesRequest,
        kind::FEATURES_REPLY => Message::FeaturesReply(read_features(r)?),
        kind::GET_CONFIG_REQUEST => Message::GetConfigRequest,
        kind::GET_CONFIG_REPLY => Message::GetConfigReply(read_config(r)?),
        kind::SET_CONFIG => Message::SetConfig(read_config(r)?),
        kind::PACKET_IN => Message::PacketIn(flow::read_packet_in(r)?),
        kind::FLOW_REMOVED => Message::FlowRemoved(flow::read_flow_removed(r)?),
        kind::PORT_STATUS => Message::PortStatus(port::read_status(r)?),
        kind::PACKET_OUT => Message::PacketOut(flow::read_packet_out(r)?),
        kind::FLOW_MOD => Message::FlowMod(flow::read_flow_mod(r)?),
        kind::PORT_MOD => Message::PortMod(port::read_mod(r)?),
        kind::STATS_REQUEST => Message::MultipartRequest(stats::read_request(r)?),
        kind::STATS_REPLY => Message::MultipartReply(stats::read_reply(r)?),
        kind::BARRIER_REQUEST => Message::BarrierRequest,
        kind::BARRIER_REPLY => Message::BarrierReply,
        kind::QUEUE_GET_CONFIG_REQUEST => {
            let port = port::some_port(r.u16()?);
            r.skip(2)?;
            Message::QueueGetConfigRequest(port)
        }
        kind::QUEUE_GET_CONFIG_REPLY => Message::QueueGetConfigReply(port::read_queue_config(r)?),
        _ => return Err(BadRequest::BadType.into()),
    };
    r.finish()?;
    Ok(message)
}

/// ofp_capabilities: those of later versions, but for groups and blocked ports, and one more.
const CAPABILITIES: u32 = SwitchCapabilities::FLOW_STATS.0
    | SwitchCapabilities::TABLE_STATS.0
    | SwitchCapabilities::PORT_STATS.0
    | SwitchCapabilities::IP_REASM.0
    | SwitchCapabilities::QUEUE_STATS.0;
/// Addresses in ARP packets can be matched.
const ARP_MATCH_IP: u32 = 1 << 7;

fn write_features(out: &mut Vec<u8>, m: &Features) -> Result<(), EncodeError> {
    out.u64(m.dpid.0);
    out.u32(m.n_buffers);
    out.u8(m.n_tables);
    out.zeros(3);
    out.u32(m.capabilities.0 & CAPABILITIES | ARP_MATCH_IP);
    out.u32(action::SUPPORTED);
    port::write_list(out, &m.ports)
}

fn read_features(r: &mut Reader<'_>) -> Decoded<Features> {
    let (dpid, n_buffers, n_tables) = (Dpid(r.u64()?), r.u32()?, r.u8()?);
    r.skip(3)?;
    let capabilities = SwitchCapabilities(r.u32()? & CAPABILITIES);
    r.skip(4)?;
    let ports = r.list(port::read_desc)?;
    Ok(Features { dpid, n_buffers, n_tables, auxiliary_id: 0, capabilities, ports })
}

fn read_config(r: &mut Reader<'_>) -> Decoded<Config> {
    let frag = FragMode::from_number(r.u16()?).ok_or(SwitchConfigFailed::BadFlags)?;
    Ok(Config { frag, miss_send_len: r.u16()? })
}

#[cfg(test)]
mod tests;
