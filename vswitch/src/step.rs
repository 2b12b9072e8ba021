//! Steps: what actions and instructions compile to. Everything about an action that can be known beforehand is
//! decided here, once, when the flow is installed.

use openflow::error::{BadAction, BadInstruction, FlowModFailed, MeterModFailed};
use openflow::oxm::{Prerequisite, VID_PRESENT};
use openflow::{
    Action, Cookie, ErrorKind, Field, GroupId, Instruction, Match, MeterId, Oxm, PacketInReason, PortNo,
    Priority, QueueId, Rewrite, ports,
};

use crate::entry::Body;
use crate::key::{self, Key};
use crate::meter::Meter;
use crate::queue;

/// One thing to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// To a real port, or LOCAL.
    Output(PortNo),
    /// Back where it came from.
    InPort,
    /// To every other port that floods.
    Flood,
    /// To every other port.
    All,
    /// By learned addresses.
    Normal,
    /// To the controller.
    Punt(Punt),
    /// Through the tables; in packet-outs only.
    Table,
    /// Through a group.
    Group(GroupId, Whence),
    /// Leave by this queue of whatever port.
    SetQueue(u16),
    /// Push a C-tag of zeros if there is no tag.
    EnsureTag,
    /// Measure; may drop the frame or remark it.
    Meter(MeterId),
    /// Change a field, if the frame has it.
    SetField(Field, Value),
    /// Push a tag with this TPID.
    PushVlan(u16),
    /// Take the outermost tag off, if there is one.
    PopVlan,
    /// Push a shim with this Ethertype.
    PushMpls(u16),
    /// Take the outermost shim off, if there is one; the frame gets this Ethertype.
    PopMpls(u16),
    /// Push a service tag with this Ethertype.
    PushPbb(u16),
    /// Take the outermost service tag off, if there is one.
    PopPbb,
    /// Set the TTL of the outermost shim.
    SetMplsTtl(u8),
    /// Decrement the TTL of the outermost shim; a frame that cannot is dropped and may be punted.
    DecMplsTtl(Punt),
    /// Copy the TTL outwards.
    CopyTtlOut,
    /// Copy the TTL inwards.
    CopyTtlIn,
    /// Set TTL or hop limit.
    SetTtl(u8),
    /// Decrement TTL or hop limit; a frame that cannot is dropped and may be punted.
    DecTtl(Punt),
}

/// A value of a field, in halves: as a u128 it would make every step half as large again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Value(u64, u64);

impl Value {
    pub(crate) const fn new(value: u128) -> Self {
        Self((value >> 64) as u64, value as u64)
    }

    #[inline(always)]
    pub(crate) const fn get(self) -> u128 {
        (self.0 as u128) << 64 | self.1 as u128
    }
}

/// How a frame goes to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Punt {
    pub reason: PacketInReason,
    pub table: u8,
    pub cookie: Cookie,
    pub max_len: u16,
    /// As of then; filled in when a program is put together.
    pub metadata: u64,
    /// There was no flow, not even a table-miss flow.
    pub is_miss: bool,
}

impl Punt {
    /// The frame found no flow in `table`.
    pub(crate) const fn miss(table: u8, metadata: u64) -> Self {
        Self {
            reason: PacketInReason::NoMatch,
            table,
            cookie: Cookie(u64::MAX),
            max_len: openflow::NO_BUFFER_LEN,
            metadata,
            is_miss: true,
        }
    }
}

/// Where in the pipeline a frame is: what packet-ins of a group's buckets say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Whence {
    /// It was looked up there last.
    pub table: u8,
    pub metadata: u64,
}

impl Step {
    /// The same with the metadata a packet-in is to report.
    pub(crate) fn with_metadata(mut self, now: u64) -> Self {
        match &mut self {
            Self::Punt(punt) | Self::DecTtl(punt) | Self::DecMplsTtl(punt) => punt.metadata = now,
            Self::Group(_, whence) => whence.metadata = now,
            _ => {}
        }
        self
    }

    /// The same in an action set that is executed behind this table.
    pub(crate) fn behind_table(mut self, last: u8) -> Self {
        match &mut self {
            Self::Punt(punt) | Self::DecTtl(punt) | Self::DecMplsTtl(punt) => punt.table = last,
            Self::Group(_, whence) => whence.table = last,
            _ => {}
        }
        self
    }

    /// It moves or renames headers: the frame must be complete for it, and be read again before a later table sees it.
    pub(crate) const fn rebuilds(&self) -> bool {
        matches!(
            self,
            Self::PushMpls(_)
                | Self::PopMpls(_)
                | Self::PushPbb(_)
                | Self::PopPbb
                | Self::SetField(Field::EthType | Field::IpProto | Field::Icmpv6Type, _)
        )
    }
}

/// Who asks for a step: what packet-ins will say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub reason: PacketInReason,
    pub table: u8,
    pub cookie: Cookie,
}

impl Origin {
    /// A packet-out: no flow is to blame.
    pub(crate) const PACKET_OUT: Self = Self::nameless(PacketInReason::PacketOut);
    /// A bucket of a group: whoever sends a frame there says where it was.
    pub(crate) const GROUP: Self = Self::nameless(PacketInReason::Group);

    /// §7.4.1: no cookie where no single flow is the cause, "for example, if the packet-in was generated in a group bucket
    /// or from the action set".
    const fn nameless(reason: PacketInReason) -> Self {
        Self { reason, table: 0, cookie: Cookie(u64::MAX) }
    }

    fn punt(self, max_len: u16) -> Punt {
        Punt {
            reason: self.reason,
            table: self.table,
            cookie: self.cookie,
            max_len,
            metadata: 0,
            is_miss: false,
        }
    }
}

impl Step {
    /// What the step does to the key that later tables see.
    #[inline]
    pub(crate) fn apply(&self, key: &mut Key) {
        match *self {
            Self::SetField(field, value) => set_in_key(key, field, value.get()),
            Self::PushVlan(_) => {
                let outer = key[key::PORT_TYPE_VLAN] & 0xffff;
                // §5.9.1 table 7: VLAN id and priority are copied from the tag below, else zero.
                key[key::PORT_TYPE_VLAN] |= key::VID_PRESENT;
                let inner = key[key::INNER_TAGS];
                if outer != 0 {
                    key[key::INNER_TAGS + 1] = key[key::INNER_TAGS + 1] >> 16 | inner << 48;
                    key[key::INNER_TAGS] = inner >> 16 | outer << 48;
                }
            }
            // A tag of zeros but for being there.
            Self::EnsureTag => key[key::PORT_TYPE_VLAN] |= key::VID_PRESENT,
            Self::PopVlan => {
                let (inner, rest) = (key[key::INNER_TAGS], key[key::INNER_TAGS + 1]);
                key[key::PORT_TYPE_VLAN] = key[key::PORT_TYPE_VLAN] & !0xffff | inner >> 48;
                key[key::INNER_TAGS] = inner << 16 | rest >> 48;
                key[key::INNER_TAGS + 1] = rest << 16;
            }
            _ => {}
        }
    }

    /// [`apply`](Self::apply) may do something.
    pub(crate) fn changes_key(&self) -> bool {
        matches!(self, Self::SetField(..) | Self::PushVlan(_) | Self::PopVlan | Self::EnsureTag)
    }

    /// The bits of a key that the step may change.
    pub(crate) fn writes(&self, mask: &mut Key) {
        match *self {
            Self::SetField(field, _) => {
                for (word, bits) in key::spread(field, field.full_mask()) {
                    mask[word] |= bits;
                }
            }
            Self::PushVlan(_) | Self::PopVlan => {
                mask[key::PORT_TYPE_VLAN] |= 0xffff;
                mask[key::INNER_TAGS] = u64::MAX;
                mask[key::INNER_TAGS + 1] = u64::MAX;
            }
            Self::EnsureTag => mask[key::PORT_TYPE_VLAN] |= key::VID_PRESENT,
            _ => {}
        }
    }

    /// The bits of a key that decide what the step does to the key.
    pub(crate) fn reads(&self, mask: &mut Key) {
        match *self {
            Self::SetField(field, _) => {
                mark_needed(mask, field);
                if matches!(field, Field::VlanVid | Field::VlanPcp) {
                    mask[key::PORT_TYPE_VLAN] |= key::VID_PRESENT;
                }
            }
            Self::PushVlan(_) | Self::PopVlan => {
                mask[key::PORT_TYPE_VLAN] |= 0xffff;
                mask[key::INNER_TAGS] = u64::MAX;
                mask[key::INNER_TAGS + 1] = u64::MAX;
            }
            _ => {}
        }
    }
}

/// Sets a field of a key as the action would set it in the frame: only if it is there.
fn set_in_key(key: &mut Key, field: Field, value: u128) {
    let tagged = key[key::PORT_TYPE_VLAN] & key::VID_PRESENT != 0;
    match field {
        Field::VlanVid | Field::VlanPcp if !tagged => {}
        Field::VlanVid => key::set(key, field, value | u128::from(VID_PRESENT)),
        _ if is_there(key, field) => key::set(key, field, value),
        _ => {}
    }
}

/// The frame has the header of the field. Its bits alone do not say: fields that no frame has together share them.
fn is_there(key: &Key, field: Field) -> bool {
    let valid = key::slot(field).valid;
    let suits = match field.prerequisite() {
        Prerequisite::OneOf(of, values) => {
            values.iter().any(|&value| key::get(key, of) == value.into()) && is_there(key, of)
        }
        Prerequisite::Present(of) => is_there(key, of),
        Prerequisite::Tagged | Prerequisite::None => true,
    };
    suits && key[key::SRC_VALID] & valid == valid
}

/// The bits that [`is_there`] looks at.
fn mark_needed(mask: &mut Key, field: Field) {
    mask[key::SRC_VALID] |= key::slot(field).valid;
    if let Prerequisite::OneOf(of, _) | Prerequisite::Present(of) = field.prerequisite() {
        for (word, bits) in key::spread(of, of.full_mask()) {
            mask[word] |= bits;
        }
        mark_needed(mask, of);
    }
}

/// What a list of actions is checked against.
pub(crate) struct Checks<'a> {
    /// The match of the flow; none for packet-outs and groups, whose frames can be anything.
    pub matches: Option<&'a Match>,
    /// The switch has this group.
    pub has_group: &'a dyn Fn(GroupId) -> bool,
    /// The meter of this number, if the switch has it.
    pub meter: &'a dyn Fn(MeterId) -> Option<&'a Meter>,
    /// TABLE is a port: in packet-outs.
    pub table_port: bool,
}

/// Compiles a list of actions.
///
/// # Errors
/// The error of the standard (§7.4.4.3).
pub(crate) fn compile(
    actions: &[Action],
    origin: Origin,
    checks: &Checks<'_>,
) -> Result<Vec<Step>, ErrorKind> {
    // What the frame is known to be; nothing is known once its headers are others.
    let mut known = checks.matches.cloned();
    let mut tagged = checks.matches.is_none_or(|m| m.get(Field::VlanVid).is_none_or(|oxm| oxm.value != 0));
    let mut steps = Vec::with_capacity(actions.len());
    for action in actions {
        match action {
            Action::PushVlan(_) => tagged = true,
            Action::Rewrite(rewrite) => {
                tagged |= rewrite.tags();
                steps.extend(compile_rewrite(*rewrite));
                continue;
            }
            Action::Enqueue { port, queue } => {
                steps.extend(compile_enqueue(*port, *queue, origin, checks)?);
                continue;
            }
            Action::PushMpls(ethertype) | Action::PushPbb(ethertype) => {
                known = known.map(|_| Match::new().eth_type(*ethertype));
            }
            Action::PopMpls(_) | Action::PopPbb => (known, tagged) = (None, true),
            Action::SetField(oxm) => {
                check_set_field(oxm, tagged, known.as_ref())?;
                if matches!(oxm.field, Field::EthType | Field::IpProto | Field::Icmpv6Type) {
                    (known, tagged) = (None, true);
                }
            }
            _ => {}
        }
        steps.extend(compile_one(action, origin, checks)?);
    }
    Ok(steps)
}

/// 1.0.1 §5.2.4: what the frame does not have stays as it is, but a tag is made.
fn compile_rewrite(rewrite: Rewrite) -> impl Iterator<Item = Step> {
    let tag = rewrite.tags().then_some(Step::EnsureTag);
    let set = |oxm: Oxm| Step::SetField(oxm.field, Value::new(oxm.value));
    tag.into_iter().chain(rewrite.fields().into_iter().map(set))
}

/// 1.0.1 §5.2.4: a queue for one output, to a port that exists or the one the frame came by.
fn compile_enqueue(
    port: PortNo,
    queue: QueueId,
    origin: Origin,
    checks: &Checks<'_>,
) -> Result<Vec<Step>, ErrorKind> {
    if !ports::is_real(port) && port != ports::IN_PORT {
        return Err(BadAction::BadOutPort.into());
    }
    let list = [Action::SetQueue(queue), Action::output(port), Action::SetQueue(QueueId(0))];
    list.iter().filter_map(|action| compile_one(action, origin, checks).transpose()).collect()
}

fn compile_one(action: &Action, origin: Origin, checks: &Checks<'_>) -> Result<Option<Step>, ErrorKind> {
    Ok(Some(match *action {
        Action::Output { port, max_len } => match port {
            ports::IN_PORT => Step::InPort,
            ports::TABLE if checks.table_port => Step::Table,
            ports::NORMAL => Step::Normal,
            ports::FLOOD => Step::Flood,
            ports::ALL => Step::All,
            ports::CONTROLLER => Step::Punt(origin.punt(max_len)),
            ports::LOCAL => Step::Output(port),
            _ if ports::is_real(port) => Step::Output(port),
            _ => return Err(BadAction::BadOutPort.into()),
        },
        Action::PushVlan(tpid @ (0x8100 | 0x88a8)) => Step::PushVlan(tpid),
        Action::PushVlan(_) => return Err(BadAction::BadArgument.into()),
        Action::PopVlan => Step::PopVlan,
        Action::PushMpls(ethertype @ (0x8847 | 0x8848)) => Step::PushMpls(ethertype),
        Action::PushPbb(ethertype @ 0x88e7) => Step::PushPbb(ethertype),
        Action::PushMpls(_) | Action::PushPbb(_) => return Err(BadAction::BadArgument.into()),
        Action::PopMpls(ethertype) => Step::PopMpls(ethertype),
        Action::PopPbb => Step::PopPbb,
        Action::SetMplsTtl(ttl) => Step::SetMplsTtl(ttl),
        Action::CopyTtlOut => Step::CopyTtlOut,
        Action::CopyTtlIn => Step::CopyTtlIn,
        Action::DecMplsTtl => Step::DecMplsTtl(
            Origin { reason: PacketInReason::InvalidTtl, ..origin }.punt(openflow::NO_BUFFER_LEN),
        ),
        Action::Group(group) if (checks.has_group)(group) => {
            Step::Group(group, Whence { table: origin.table, metadata: 0 })
        }
        Action::Group(_) => return Err(BadAction::BadOutGroup.into()),
        Action::SetNwTtl(ttl) => Step::SetTtl(ttl),
        Action::DecNwTtl => Step::DecTtl(
            Origin { reason: PacketInReason::InvalidTtl, ..origin }.punt(openflow::NO_BUFFER_LEN),
        ),
        Action::SetField(oxm) => Step::SetField(oxm.field, Value::new(oxm.value)),
        // Which port it will be, and which queues that has then, is not known here: as with Open vSwitch, a queue that a
        // port does not have is its queue 0.
        Action::SetQueue(QueueId::ALL) => return Err(BadAction::BadQueue.into()),
        Action::SetQueue(queue) => Step::SetQueue(queue::number(queue)),
        Action::Experimenter { .. } => return Err(BadAction::BadExperimenter.into()),
        _ => return Err(BadAction::BadType.into()),
    }))
}

fn check_set_field(oxm: &Oxm, tagged: bool, known: Option<&Match>) -> Result<(), ErrorKind> {
    let field = oxm.field;
    if !field.is_settable() || oxm.mask.is_some() {
        return Err(BadAction::BadSetType.into());
    }
    let vid = u128::from(VID_PRESENT);
    if oxm.value & !field.full_mask() != 0 || field == Field::VlanVid && oxm.value & vid == 0 {
        return Err(BadAction::BadSetArgument.into());
    }
    // §7.2.5: the match must hold the prerequisites, or an action before it must make them.
    let Some(matches) = known else { return Ok(()) };
    let consistent = match field {
        Field::VlanVid | Field::VlanPcp => tagged,
        _ => matches.get(field).is_some() || matches.with(Oxm::new(field, oxm.value)).is_ok(),
    };
    if consistent { Ok(()) } else { Err(BadAction::MatchInconsistent.into()) }
}

/// Compiles the instructions of a flow of `table` among `n_tables`.
///
/// # Errors
/// The error of the standard (§7.4.4.3, §7.4.4.4).
pub(crate) fn compile_body(
    instructions: &[Instruction],
    (table, n_tables): (u8, u8),
    (priority, cookie): (Priority, Cookie),
    checks: &Checks<'_>,
) -> Result<Body, ErrorKind> {
    // §5.4: the table-miss flow matches everything with priority zero.
    let miss = priority.0 == 0 && checks.matches.is_some_and(Match::is_empty);
    let reason = if miss { PacketInReason::NoMatch } else { PacketInReason::Action };
    let origin = Origin { reason, table, cookie };
    // What the table-miss flow sends is a miss, in whatever way it does.
    let set_origin = Origin::nameless(if miss { reason } else { PacketInReason::ActionSet });
    let mut body = Body::default();
    let mut seen = Vec::new();
    let mut meter = None;
    for instruction in instructions {
        let kind = core::mem::discriminant(instruction);
        // §5.9: at most one instruction of each type.
        if seen.contains(&kind) {
            return Err(BadInstruction::UnsupInst.into());
        }
        seen.push(kind);
        match instruction {
            Instruction::GotoTable(next) if next.0 <= table || next.0 >= n_tables => {
                return Err(BadInstruction::BadTableId.into());
            }
            Instruction::GotoTable(next) => body.goto = Some(next.0),
            Instruction::WriteMetadata { metadata, mask } => body.metadata = (metadata & mask, *mask),
            Instruction::WriteActions(actions) => body.write = compile(actions, set_origin, checks)?.into(),
            Instruction::ApplyActions(actions) => body.apply = compile(actions, origin, checks)?.into(),
            Instruction::ClearActions => body.clear = true,
            Instruction::Meter(id) => {
                let known = (checks.meter)(*id).ok_or(MeterModFailed::UnknownMeter)?;
                body.remarked = known.remarks();
                meter = Some(Step::Meter(*id));
            }
            Instruction::Experimenter { .. } => return Err(BadInstruction::BadExperimenter.into()),
            Instruction::Unknown { .. } => return Err(BadInstruction::UnknownInst.into()),
        }
    }
    // §5.9: the meter comes before the actions.
    if meter.is_some() {
        body.apply = meter.into_iter().chain(body.apply).collect();
    }
    Ok(body)
}

/// What is wrong with the flags of a flow mod.
pub(crate) fn check_flags(flags: openflow::FlowModFlags) -> Result<(), ErrorKind> {
    if flags.unknown() == 0 { Ok(()) } else { Err(FlowModFailed::BadFlags.into()) }
}

/// The action set of a frame on its way through the tables (§5.10): at most one action of each kind, at most one
/// set-field of each field.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActionSet {
    steps: Vec<Step>,
}

/// The place of a step in an action set: order of §5.10, then what may be there once.
fn place(step: &Step) -> (u8, u8) {
    match step {
        Step::CopyTtlIn => (1, 0),
        Step::PopVlan => (2, 0),
        Step::PopMpls(_) => (2, 1),
        Step::PopPbb => (2, 2),
        Step::PushMpls(_) => (3, 0),
        Step::PushPbb(_) => (4, 0),
        Step::PushVlan(_) => (5, 0),
        Step::EnsureTag => (5, 1),
        Step::CopyTtlOut => (6, 0),
        Step::DecTtl(_) => (7, 0),
        Step::DecMplsTtl(_) => (7, 1),
        Step::SetMplsTtl(_) => (8, u8::MAX - 1),
        Step::SetField(field, _) => (8, *field as u8),
        Step::SetTtl(_) => (8, u8::MAX),
        Step::SetQueue(_) => (9, 0),
        Step::Group(..) => (10, 0),
        _ => (11, 0),
    }
}

impl ActionSet {
    pub(crate) fn clear(&mut self) {
        self.steps.clear();
    }

    /// Merges the actions of a write-actions instruction or a bucket: a later one of a kind replaces the earlier.
    pub(crate) fn write(&mut self, steps: &[Step]) {
        for step in steps {
            match self.steps.binary_search_by_key(&place(step), place) {
                Ok(at) => self.steps[at] = *step,
                Err(at) => self.steps.insert(at, *step),
            }
        }
    }

    /// The steps in the order they are to be done. §5.10: with a group, the output is ignored.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        let grouped = self.steps.iter().any(|s| matches!(s, Step::Group(..)));
        self.steps.iter().copied().filter(move |step| !grouped || place(step).0 != 11)
    }
}

/// An action set compiled from one list.
pub(crate) fn as_set(steps: &[Step]) -> Box<[Step]> {
    let mut set = ActionSet::default();
    set.write(steps);
    set.steps().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_small() {
        assert!(size_of::<Step>() <= 32, "{} bytes", size_of::<Step>());
    }
}
