//! Actions that only 1.0 has, told by those of later versions.

use std::borrow::Cow;

use crate::oxm::VID_PRESENT;
use crate::{Action, Field, Instruction, Match, Oxm, Rewrite};

/// The instructions of a flow with this match.
pub(in crate::codec) fn instructions<'a>(matches: &Match, all: &'a [Instruction]) -> Cow<'a, [Instruction]> {
    let lower = |instruction: &Instruction| match instruction {
        Instruction::ApplyActions(list) => Instruction::ApplyActions(actions(matches, list).into_owned()),
        Instruction::WriteActions(list) => Instruction::WriteActions(actions(matches, list).into_owned()),
        other => other.clone(),
    };
    let concerns = |instruction: &Instruction| match instruction {
        Instruction::ApplyActions(list) | Instruction::WriteActions(list) => list.iter().any(is_of_10),
        _ => false,
    };
    if all.iter().any(concerns) { all.iter().map(lower).collect() } else { Cow::Borrowed(all) }
}

/// A list of actions for frames with this match. A tag is pushed unless the frame is known to have one; which transport
/// a frame has may not be known, then the field of each is set.
pub(in crate::codec) fn actions<'a>(matches: &Match, all: &'a [Action]) -> Cow<'a, [Action]> {
    if !all.iter().any(is_of_10) {
        return Cow::Borrowed(all);
    }
    let present = u128::from(VID_PRESENT);
    let vid = matches.get(Field::VlanVid);
    let mut tagged = vid.is_some_and(|oxm| oxm.value & oxm.effective_mask() & present != 0);
    let mut lowered = Vec::with_capacity(all.len() + 1);
    for action in all {
        match *action {
            Action::Rewrite(rewrite) => {
                if rewrite.tags() && !tagged {
                    lowered.push(Action::PushVlan(0x8100));
                    tagged = true;
                }
                lowered.extend(fields(rewrite, matches).into_iter().map(Action::SetField));
            }
            Action::Enqueue { port, queue } => {
                lowered.extend([Action::SetQueue(queue), Action::output(port)]);
            }
            Action::PopVlan => {
                tagged = false;
                lowered.push(Action::PopVlan);
            }
            ref other => lowered.push(other.clone()),
        }
    }
    lowered.into()
}

fn is_of_10(action: &Action) -> bool {
    matches!(action, Action::Rewrite(_) | Action::Enqueue { .. })
}

fn fields(rewrite: Rewrite, matches: &Match) -> Vec<Oxm> {
    let mut fields = rewrite.fields();
    if let Some(known) = fields.iter().copied().find(|oxm| fields_suit(*oxm, matches)) {
        fields = vec![known];
    }
    fields
}

/// The match has the prerequisites of the field.
fn fields_suit(oxm: Oxm, matches: &Match) -> bool {
    matches.get(oxm.field).is_some() || matches.with(Oxm::new(oxm.field, oxm.value)).is_ok()
}
