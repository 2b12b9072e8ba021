//! Packet-outs: `in_port=1,packet=ffffffffffff...,actions=output:2`.

use core::fmt::{self, Display, Formatter};

use super::format::Actions;
use super::naming::{Named, Names, PortName, Text, display_as_text};
use super::{TextError, extension, lex, whole};
use crate::{PacketOut, ports};

/// Reads a packet-out, as `ovs-ofctl packet-out` takes it. Without `in_port=` it comes from the controller; without
/// `actions=` nothing happens to it.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_packet_out(text: &str, names: &Names) -> Result<PacketOut, TextError> {
    let (head, actions) = super::flow::split_actions(text);
    let mut out =
        PacketOut { buffer: None, in_port: ports::CONTROLLER, actions: Vec::new(), data: Vec::new() };
    for word in lex::words(head, 0, names)? {
        match word.name {
            "in_port" => out.in_port = word.port()?,
            "packet" => {
                let reason = "an even number of hexadecimal digits is expected";
                out.data = bytes(word.need()?).ok_or_else(|| word.value_error(reason))?;
            }
            name if extension::is_field(name) => return Err(word.error(extension::UNSUPPORTED)),
            _ => {
                let known = ["in_port", "packet", "actions"];
                return Err(word.unknown("no such property of a packet-out", known));
            }
        }
    }
    if out.data.is_empty() {
        return Err(whole(text, "packet= is missing"));
    }
    if let Some((actions, at)) = actions {
        let mut list = super::actions::ActionList::default();
        lex::words(actions, at, names)?.iter().try_for_each(|word| list.add(word))?;
        out.actions = list.actions;
    }
    Ok(out)
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        digits.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

impl Text for PacketOut {
    /// As packet-out takes it.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result {
        write!(f, "in_port={} packet=", PortName(self.in_port, names))?;
        self.data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, " actions={}", Named(&Actions(&self.actions), names))
    }
}

display_as_text!(PacketOut);
