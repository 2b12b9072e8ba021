//! Whole messages as `ovs-ofctl` prints them.

mod features;
mod frame;
mod mods;
mod multipart;
mod notices;
mod port;
mod table;

use core::fmt::{self, Display, Formatter};

use super::naming::{NO_NAMES, NO_NAMES_10, Names};
use crate::{Config, FragMode, Message, Reply, Request, Version, Xid, codec};

pub use frame::FrameText;

/// Prints a message over one or several lines, each with its newline: `Printed::new(version, xid, &message)`.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a> {
    version: Version,
    xid: Xid,
    message: &'a Message,
    names: &'a Names,
    frames: bool,
}

impl<'a> Printed<'a> {
    /// Without names of ports, and without the frames in packet-ins and packet-outs.
    pub fn new(version: Version, xid: Xid, message: &'a Message) -> Self {
        let names = if version == Version::V10 { &NO_NAMES_10 } else { &NO_NAMES };
        Self { version, xid, message, names, frames: false }
    }

    /// With the names of a switch.
    #[must_use]
    pub fn names(self, names: &'a Names) -> Self {
        Self { names, ..self }
    }

    /// A line for the frame in a packet-in or packet-out, too.
    #[must_use]
    pub fn frames(self) -> Self {
        Self { frames: true, ..self }
    }

    /// A message inside this one.
    fn inner(&self, xid: Xid, message: &'a Message) -> Self {
        Self { xid, message, ..*self }
    }
}

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = name(self.version, self.message);
        let version = match self.version {
            Version::V10 => "",
            Version::V13 => " (OF1.3)",
            Version::V14 => " (OF1.4)",
        };
        write!(f, "{name}{version} (xid={:#x}):", self.xid.0)?;
        let body = Body(self).to_string();
        f.write_str(&body)?;
        if body.ends_with('\n') { Ok(()) } else { f.write_str("\n") }
    }
}

/// What follows the colon.
struct Body<'a, 'm>(&'a Printed<'m>);

impl Display for Body<'_, '_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Printed { version, message, names, .. } = *self.0;
        match message {
            Message::Hello(hello) => write_hello(f, hello.versions),
            Message::Error(error) => notices::write_error(f, self.0, error),
            Message::EchoRequest(data) | Message::EchoReply(data) => {
                write!(f, " {} bytes of payload", data.len())
            }
            Message::FeaturesReply(features) => features::write_features(f, features),
            Message::GetConfigReply(config) | Message::SetConfig(config) => write_config(f, config),
            Message::PacketIn(packet) => notices::write_packet_in(f, self.0, packet),
            Message::FlowRemoved(removed) => notices::write_flow_removed(f, removed, names),
            Message::PortStatus(status) => port::write_status(f, version, status),
            Message::TableStatus(status) => table::write_status(f, status),
            Message::RoleStatus(status) => notices::write_role_status(f, status),
            Message::RequestForward(forward) => notices::write_forward(f, self.0, forward),
            Message::PacketOut(packet) => mods::write_packet_out(f, self.0, packet),
            Message::FlowMod(flow) => mods::write_flow_mod(f, flow, names),
            Message::GroupMod(group) => mods::write_group_mod(f, group, names),
            Message::MeterMod(meter) => mods::write_meter_mod(f, meter),
            Message::PortMod(port) => port::write_mod(f, port, names),
            Message::TableMod(table) => table::write_mod(f, table),
            Message::RoleRequest(role) | Message::RoleReply(role) => notices::write_role(f, role),
            Message::MultipartRequest(request) => multipart::write_request(f, version, &request.body, names),
            Message::MultipartReply(reply) => multipart::write_reply(f, version, &reply.body, names),
            Message::QueueGetConfigRequest(port) => multipart::write_port_wanted(f, "port", *port, names),
            Message::QueueGetConfigReply(queues) => multipart::write_queue_config(f, queues, names),
            Message::BundleControl(control) => mods::write_bundle_control(f, control),
            Message::BundleAdd(add) => mods::write_bundle_add(f, self.0, add),
            _ => Ok(()),
        }
    }
}

/// The message that an error quotes, if all of it is there.
fn quoted(version: Version, data: &[u8]) -> Option<(Xid, Message)> {
    codec::decode(version, data).ok()
}

fn write_hello(f: &mut Formatter<'_>, versions: Option<u32>) -> fmt::Result {
    let Some(bits) = versions else { return Ok(()) };
    let set: Vec<String> = (0..32).filter(|n| bits >> n & 1 == 1).map(|n| format!("0x{n:02x}")).collect();
    writeln!(f, "\n version bitmap: {}", set.join(", "))
}

/// How a mode of handling fragments is called.
pub fn frag_mode(mode: FragMode) -> &'static str {
    match mode {
        FragMode::Normal => "normal",
        FragMode::Drop => "drop",
        FragMode::Reassemble => "reassemble",
    }
}

fn write_config(f: &mut Formatter<'_>, config: &Config) -> fmt::Result {
    writeln!(f, " frags={} miss_send_len={}", frag_mode(config.frag), config.miss_send_len)
}

fn name(version: Version, message: &Message) -> String {
    let bundle = if version == Version::V13 { "ONFT_BUNDLE" } else { "OFPT_BUNDLE" };
    let kind = match message {
        Message::MultipartRequest(request) => {
            return format!("OFPST_{} request", request_name(&request.body));
        }
        Message::MultipartReply(reply) => return format!("OFPST_{} reply", reply_name(&reply.body)),
        Message::BundleControl(_) => return format!("{bundle}_CONTROL"),
        Message::BundleAdd(_) => return format!("{bundle}_ADD_MESSAGE"),
        Message::Hello(_) => "HELLO",
        Message::Error(_) => "ERROR",
        Message::EchoRequest(_) => "ECHO_REQUEST",
        Message::EchoReply(_) => "ECHO_REPLY",
        Message::Experimenter { .. } => "EXPERIMENTER",
        Message::FeaturesRequest => "FEATURES_REQUEST",
        Message::FeaturesReply(_) => "FEATURES_REPLY",
        Message::GetConfigRequest => "GET_CONFIG_REQUEST",
        Message::GetConfigReply(_) => "GET_CONFIG_REPLY",
        Message::SetConfig(_) => "SET_CONFIG",
        Message::PacketIn(_) => "PACKET_IN",
        Message::FlowRemoved(_) => "FLOW_REMOVED",
        Message::PortStatus(_) => "PORT_STATUS",
        Message::PacketOut(_) => "PACKET_OUT",
        Message::FlowMod(_) => "FLOW_MOD",
        Message::GroupMod(_) => "GROUP_MOD",
        Message::PortMod(_) => "PORT_MOD",
        Message::TableMod(_) => "TABLE_MOD",
        Message::BarrierRequest => "BARRIER_REQUEST",
        Message::BarrierReply => "BARRIER_REPLY",
        Message::QueueGetConfigRequest(_) => "QUEUE_GET_CONFIG_REQUEST",
        Message::QueueGetConfigReply(_) => "QUEUE_GET_CONFIG_REPLY",
        Message::RoleRequest(_) => "ROLE_REQUEST",
        Message::RoleReply(_) => "ROLE_REPLY",
        Message::GetAsyncRequest => "GET_ASYNC_REQUEST",
        Message::GetAsyncReply(_) => "GET_ASYNC_REPLY",
        Message::SetAsync(_) => "SET_ASYNC",
        Message::MeterMod(_) => "METER_MOD",
        Message::RoleStatus(_) => "ROLE_STATUS",
        Message::TableStatus(_) => "TABLE_STATUS",
        Message::RequestForward(_) => "REQUESTFORWARD",
    };
    format!("OFPT_{kind}")
}

fn request_name(request: &Request) -> &'static str {
    match request {
        Request::Desc => "DESC",
        Request::Flow(_) => "FLOW",
        Request::Aggregate(_) => "AGGREGATE",
        Request::Table => "TABLE",
        Request::PortStats(_) => "PORT",
        Request::Queue { .. } => "QUEUE",
        Request::Group(_) => "GROUP",
        Request::GroupDesc => "GROUP_DESC",
        Request::GroupFeatures => "GROUP_FEATURES",
        Request::Meter(_) => "METER",
        Request::MeterConfig(_) => "METER_CONFIG",
        Request::MeterFeatures => "METER_FEATURES",
        Request::TableFeatures(_) => "TABLE_FEATURES",
        Request::PortDesc => "PORT_DESC",
        Request::TableDesc => "TABLE_DESC",
        Request::QueueDesc { .. } => "QUEUE_DESC",
        Request::Experimenter { .. } => "EXPERIMENTER",
    }
}

fn reply_name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Desc(_) => "DESC",
        Reply::Flow(_) => "FLOW",
        Reply::Aggregate(_) => "AGGREGATE",
        Reply::Table(_) => "TABLE",
        Reply::PortStats(_) => "PORT",
        Reply::Queue(_) => "QUEUE",
        Reply::Group(_) => "GROUP",
        Reply::GroupDesc(_) => "GROUP_DESC",
        Reply::GroupFeatures(_) => "GROUP_FEATURES",
        Reply::Meter(_) => "METER",
        Reply::MeterConfig(_) => "METER_CONFIG",
        Reply::MeterFeatures(_) => "METER_FEATURES",
        Reply::TableFeatures(_) => "TABLE_FEATURES",
        Reply::PortDesc(_) => "PORT_DESC",
        Reply::TableDesc(_) => "TABLE_DESC",
        Reply::QueueDesc(_) => "QUEUE_DESC",
        Reply::Experimenter { .. } => "EXPERIMENTER",
    }
}

/// Names of the bits that are set, `0` if none is.
fn bits(set: u32, names: impl Iterator<Item = (u32, &'static str)>) -> String {
    let mut rest = set;
    let mut words: Vec<String> = Vec::new();
    for (bit, name) in names.filter(|(bit, _)| set & bit != 0) {
        rest &= !bit;
        words.push(name.to_owned());
    }
    if rest != 0 || words.is_empty() {
        words.push(if rest == 0 { "0".to_owned() } else { format!("{rest:#x}") });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests;
