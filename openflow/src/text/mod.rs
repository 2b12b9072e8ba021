//! Flows, groups, meters and packet-outs as people write them: the syntax of ovs-ofctl(8), read and written; and whole
//! messages as it prints them.
//!
//! What is written is what `ovs-ofctl -O OpenFlow13 dump-flows` would print, and can be read again. Ports and tables may
//! go by the names that a switch has for them ([`Names`], [`Named`]). Names of header
//! fields that 1.3 cannot match (`nw_ttl`, `nw_frag`, registers) and actions of the Nicira extensions are refused.

mod actions;
mod extension;
mod flow;
mod format;
mod group;
mod lex;
mod matches;
mod meter;
mod names;
mod naming;
mod packet_out;
mod print;
mod value;

pub use extension::closest;
pub use flow::{
    parse_flow, parse_flow_mod, parse_flow_mod_with, parse_flow_stats_request, parse_flow_stats_request_with,
};
pub use format::{Actions, Instructions, WithoutStats};
pub use group::{parse_group_id, parse_group_mod};
pub use meter::{parse_meter_id, parse_meter_mod};
pub use names::field as field_by_name;
pub use naming::{Named, Names, Text};
pub use packet_out::parse_packet_out;
pub use print::{FrameText, Printed, frag_mode};

use crate::{Action, Match};

/// Why a text is no flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {}: \"{token}\": {reason}", .position + 1)]
pub struct TextError {
    /// The word that is wrong.
    pub token: String,
    /// Bytes before it in the text.
    pub position: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Something is wrong with the text as a whole.
fn whole(text: &str, reason: &str) -> TextError {
    TextError {
        token: text.trim().to_owned(),
        position: text.len() - text.trim_start().len(),
        reason: reason.to_owned(),
    }
}

/// Reads a match, such as `tcp,nw_dst=10.0.0.0/8,tp_dst=80`. An empty text matches everything.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_match(text: &str) -> Result<Match, TextError> {
    let words = lex::bare_words(text)?;
    let (matches, rest) = matches::read(&words)?;
    match rest.first() {
        Some(word) => Err(word.unknown("no such match field", names::in_any_match())),
        None => Ok(matches),
    }
}

/// Reads a list of actions, such as `set_field:10.0.0.1->ip_dst,output:2`. `drop` and the empty text are no action.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_actions(text: &str) -> Result<Vec<Action>, TextError> {
    let mut list = actions::ActionList::default();
    for word in lex::bare_words(text)? {
        list.add(&word)?;
    }
    Ok(list.actions)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
