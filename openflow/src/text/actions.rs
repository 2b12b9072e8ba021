//! Actions and instructions read from words.

use super::lex::Word;
use super::names::field;
use super::value::{exact, int, int_of, number, port};
use super::{TextError, extension};
use crate::oxm::VID_PRESENT;
use crate::{Action, Field, GroupId, Instruction, MeterId, NO_BUFFER_LEN, Oxm, QueueId, TableId};

/// The names of actions and instructions, for those who mistype one.
const INSTRUCTIONS: &[&str] =
    &["meter", "goto_table", "write_metadata", "write_actions", "apply_actions", "clear_actions"];

const ACTIONS: &[&str] = &[
    "output",
    "controller",
    "drop",
    "all",
    "flood",
    "normal",
    "local",
    "in_port",
    "table",
    "group",
    "set_queue",
    "enqueue",
    "set_field",
    "push_vlan",
    "pop_vlan",
    "strip_vlan",
    "push_mpls",
    "pop_mpls",
    "push_pbb",
    "pop_pbb",
    "dec_ttl",
    "mod_nw_ttl",
    "set_mpls_ttl",
    "dec_mpls_ttl",
    "copy_ttl_in",
    "copy_ttl_out",
    "mod_vlan_vid",
    "mod_vlan_pcp",
    "mod_dl_src",
    "mod_dl_dst",
    "mod_nw_src",
    "mod_nw_dst",
    "mod_nw_tos",
    "mod_nw_ecn",
    "mod_tp_src",
    "mod_tp_dst",
    "set_tunnel",
    "set_mpls_label",
    "set_mpls_tc",
    "meter",
    "goto_table",
    "write_metadata",
    "write_actions",
    "apply_actions",
    "clear_actions",
];

/// A list of actions being read.
#[derive(Default)]
pub(super) struct ActionList {
    pub actions: Vec<Action>,
    /// The packet is known to have a VLAN tag here.
    pub tagged: bool,
    /// IP protocol the match demands, for `mod_tp_src` and `mod_tp_dst`.
    pub ip_proto: Option<u8>,
    /// `drop` was written.
    pub dropped: bool,
}

impl ActionList {
    /// Reads one action.
    pub fn add(&mut self, word: &Word<'_>) -> Result<(), TextError> {
        if self.dropped || (word.name.eq_ignore_ascii_case("drop") && !self.actions.is_empty()) {
            return Err(word.error("drop stands alone"));
        }
        let action = match word.name {
            "drop" => {
                self.dropped = true;
                return word.bare();
            }
            "output" => output(word)?,
            "pop_vlan" | "strip_vlan" => {
                self.tagged = false;
                bare(word, Action::PopVlan)?
            }
            "push_vlan" => {
                self.tagged = true;
                Action::PushVlan(one_of(word, &[0x8100, 0x88a8])?)
            }
            "mod_vlan_vid" | "mod_vlan_pcp" => self.mod_vlan(word)?,
            "mod_tp_src" | "mod_tp_dst" => self.mod_tp(word)?,
            "enqueue" => {
                let bad = || word.value_error("PORT:QUEUE is expected");
                let (to, queue) = word.need()?.split_once([':', ',']).ok_or_else(bad)?;
                self.actions.push(Action::SetQueue(QueueId(int_of(queue).ok_or_else(bad)?)));
                Action::output(port(to, word.names).ok_or_else(bad)?)
            }
            _ => simple(word)?,
        };
        self.actions.push(action);
        Ok(())
    }

    /// The actions of OpenFlow 1.0 that also tag a packet that has no tag.
    fn mod_vlan(&mut self, word: &Word<'_>) -> Result<Action, TextError> {
        let oxm = if word.name == "mod_vlan_vid" {
            let vid: u16 = int(word)?;
            if vid > 0xfff {
                return Err(word.value_error("a VLAN id has 12 bits"));
            }
            Oxm::new(Field::VlanVid, (vid | VID_PRESENT).into())
        } else {
            checked(word, Field::VlanPcp, int::<u8>(word)?.into())?
        };
        if !self.tagged {
            self.actions.push(Action::PushVlan(0x8100));
            self.tagged = true;
        }
        Ok(Action::SetField(oxm))
    }

    fn mod_tp(&self, word: &Word<'_>) -> Result<Action, TextError> {
        let field = match (word.name, self.ip_proto) {
            ("mod_tp_src", Some(6)) => Field::TcpSrc,
            ("mod_tp_dst", Some(6)) => Field::TcpDst,
            ("mod_tp_src", Some(17)) => Field::UdpSrc,
            ("mod_tp_dst", Some(17)) => Field::UdpDst,
            ("mod_tp_src", Some(132)) => Field::SctpSrc,
            ("mod_tp_dst", Some(132)) => Field::SctpDst,
            _ => return Err(word.error("needs a match on tcp, udp or sctp")),
        };
        Ok(Action::SetField(Oxm::new(field, int::<u16>(word)?.into())))
    }
}

/// Actions that depend on nothing but their value.
fn simple(word: &Word<'_>) -> Result<Action, TextError> {
    let set = |field, value: u128| checked(word, field, value).map(Action::SetField);
    Ok(match word.name {
        "CONTROLLER" | "controller" => controller(word)?,
        "set_field" => set_field(word)?,
        "mod_dl_src" => set(Field::EthSrc, value(word, Field::EthSrc)?)?,
        "mod_dl_dst" => set(Field::EthDst, value(word, Field::EthDst)?)?,
        "mod_nw_src" => set(Field::Ipv4Src, value(word, Field::Ipv4Src)?)?,
        "mod_nw_dst" => set(Field::Ipv4Dst, value(word, Field::Ipv4Dst)?)?,
        "mod_nw_tos" => set(Field::IpDscp, (int::<u8>(word)? >> 2).into())?,
        "mod_nw_ecn" => set(Field::IpEcn, int::<u8>(word)?.into())?,
        "set_tunnel" | "set_tunnel64" => set(Field::TunnelId, int::<u64>(word)?.into())?,
        "set_mpls_label" => set(Field::MplsLabel, int::<u32>(word)?.into())?,
        "set_mpls_tc" => set(Field::MplsTc, int::<u8>(word)?.into())?,
        "mod_nw_ttl" => Action::SetNwTtl(int(word)?),
        "dec_ttl" => bare(word, Action::DecNwTtl)?,
        "set_mpls_ttl" => Action::SetMplsTtl(int(word)?),
        "dec_mpls_ttl" => bare(word, Action::DecMplsTtl)?,
        "copy_ttl_in" => bare(word, Action::CopyTtlIn)?,
        "copy_ttl_out" => bare(word, Action::CopyTtlOut)?,
        "push_mpls" => Action::PushMpls(one_of(word, &[0x8847, 0x8848])?),
        "pop_mpls" => Action::PopMpls(int(word)?),
        "push_pbb" => Action::PushPbb(one_of(word, &[0x88e7])?),
        "pop_pbb" => bare(word, Action::PopPbb)?,
        "set_queue" => Action::SetQueue(QueueId(int(word)?)),
        "group" => Action::Group(GroupId(int(word)?)),
        name => match port(name, word.names) {
            Some(to) => bare(word, Action::output(to))?,
            None if INSTRUCTIONS.contains(&name) => {
                return Err(word.error("an instruction, which cannot stand in a list of actions"));
            }
            None if extension::is_action(name) => return Err(word.error(extension::UNSUPPORTED)),
            None => return Err(word.unknown("no such action or port", ACTIONS.iter().copied())),
        },
    })
}

fn bare(word: &Word<'_>, action: Action) -> Result<Action, TextError> {
    word.bare().map(|()| action)
}

fn one_of(word: &Word<'_>, allowed: &[u16]) -> Result<u16, TextError> {
    let value = int(word)?;
    if allowed.contains(&value) {
        Ok(value)
    } else {
        Err(word.value_error(format!("{} takes one of {allowed:#06x?}", word.name)))
    }
}

fn value(word: &Word<'_>, field: Field) -> Result<u128, TextError> {
    exact(field, word.need()?, word.names).map_err(|reason| word.value_error(reason))
}

fn checked(word: &Word<'_>, field: Field, value: u128) -> Result<Oxm, TextError> {
    if value > field.full_mask() {
        return Err(word.value_error(format!("{field} has only {} bits", field.bits())));
    }
    Ok(Oxm::new(field, value))
}

/// `output:PORT`; the controller may be a port too.
fn output(word: &Word<'_>) -> Result<Action, TextError> {
    let text = word.need()?;
    let (name, max_len) = match text.split_once(':') {
        Some((name, len)) => (name, int_of(len)),
        None => (text, Some(NO_BUFFER_LEN)),
    };
    match (port(name, word.names), max_len) {
        (Some(crate::ports::CONTROLLER), Some(max_len)) => Ok(Action::controller(max_len)),
        (Some(port), _) if !text.contains(':') => Ok(Action::output(port)),
        // A register, or a port with a length to cut to.
        _ if text.contains(['[', '(']) || text.contains('=') => Err(word.value_error(extension::UNSUPPORTED)),
        _ => Err(word.no_port("no port")),
    }
}

/// `CONTROLLER`, `CONTROLLER:LEN` or `controller(max_len=LEN)`.
fn controller(word: &Word<'_>) -> Result<Action, TextError> {
    let Some(text) = word.value else { return Ok(Action::controller(NO_BUFFER_LEN)) };
    if let Some(len) = number(text) {
        let len = u16::try_from(len).map_err(|_| word.value_error("a length has 16 bits"))?;
        return Ok(Action::controller(len));
    }
    let mut max_len = NO_BUFFER_LEN;
    for option in word.inner()? {
        match option.name {
            "max_len" => max_len = int(&option)?,
            "reason" | "id" | "userdata" | "pause" | "meter_id" => {
                return Err(option.error(extension::UNSUPPORTED));
            }
            _ => return Err(option.unknown("only max_len can be given", ["max_len"])),
        }
    }
    Ok(Action::controller(max_len))
}

/// `set_field:VALUE->FIELD`.
fn set_field(word: &Word<'_>) -> Result<Action, TextError> {
    let Some((text, name)) = word.need()?.rsplit_once("->") else {
        return Err(word.value_error("VALUE->FIELD is expected"));
    };
    let field = field(name).ok_or_else(|| match extension::is_field(name) {
        true => word.value_error(extension::UNSUPPORTED),
        false => {
            let known = Field::ALL.iter().filter(|field| field.is_settable()).map(|field| field.name());
            word.value_error(extension::unknown(&format!("no field \"{name}\""), name, known))
        }
    })?;
    if !field.is_settable() {
        return Err(word.value_error(format!("{field} cannot be set")));
    }
    if text.contains('/') {
        return Err(word.value_error("up to OpenFlow 1.4 a field is set as a whole, without a mask"));
    }
    let value = exact(field, text, word.names).map_err(|reason| word.value_error(reason))?;
    Ok(Action::SetField(Oxm::new(field, value)))
}

/// Instructions from what follows `actions=`: plain actions are those to apply.
pub(super) fn read_instructions(
    words_: &[Word<'_>],
    apply: ActionList,
) -> Result<Vec<Instruction>, TextError> {
    let mut apply = apply;
    let mut others: Vec<Instruction> = Vec::new();
    for word in words_ {
        let instruction = match word.name {
            "meter" => Instruction::Meter(MeterId(int(word)?)),
            "clear_actions" => word.bare().map(|()| Instruction::ClearActions)?,
            "write_actions" => {
                let mut list =
                    ActionList { tagged: apply.tagged, ip_proto: apply.ip_proto, ..ActionList::default() };
                word.inner()?.iter().try_for_each(|word| list.add(word))?;
                Instruction::WriteActions(list.actions)
            }
            "write_metadata" => write_metadata(word)?,
            "goto_table" => Instruction::GotoTable(match word.names.table(word.need()?) {
                Some(table) => table,
                None => TableId(int(word)?),
            }),
            "apply_actions" => {
                word.inner()?.iter().try_for_each(|word| apply.add(word))?;
                continue;
            }
            _ => {
                apply.add(word)?;
                continue;
            }
        };
        if others.iter().any(|o| order(o) == order(&instruction)) {
            return Err(word.error("appears twice"));
        }
        others.push(instruction);
    }
    if !apply.actions.is_empty() {
        others.push(Instruction::ApplyActions(apply.actions));
    }
    others.sort_by_key(order);
    Ok(others)
}

fn write_metadata(word: &Word<'_>) -> Result<Instruction, TextError> {
    let text = word.need()?;
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffffffffffff"));
    match (int_of(value), int_of(mask)) {
        (Some(metadata), Some(mask)) => Ok(Instruction::WriteMetadata { metadata, mask }),
        _ => Err(word.value_error("VALUE or VALUE/MASK is expected")),
    }
}

/// The order in which instructions are executed (§5.9), and written.
pub(super) fn order(instruction: &Instruction) -> u8 {
    match instruction {
        Instruction::Meter(_) => 0,
        Instruction::ApplyActions(_) => 1,
        Instruction::ClearActions => 2,
        Instruction::WriteActions(_) => 3,
        Instruction::WriteMetadata { .. } => 4,
        Instruction::GotoTable(_) => 5,
        Instruction::Experimenter { .. } => 6,
        Instruction::Unknown { .. } => 7,
    }
}
