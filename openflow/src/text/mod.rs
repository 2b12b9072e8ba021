//! Flows as people write them: the syntax of ovs-ofctl(8), read and written.
//!
//! What is written is what `ovs-ofctl -O OpenFlow13 dump-flows` would print, and can be read again. Names of header
//! fields that 1.3 cannot match (`nw_ttl`, `nw_frag`, registers) and actions of the Nicira extensions are refused.

mod actions;
mod flow;
mod format;
mod lex;
mod matches;
mod names;
mod value;

pub use flow::{parse_flow, parse_flow_mod, parse_flow_stats_request};
pub use format::{Actions, Instructions};

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

/// Reads a match, such as `tcp,nw_dst=10.0.0.0/8,tp_dst=80`. An empty text matches everything.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_match(text: &str) -> Result<Match, TextError> {
    let words = lex::words(text, 0)?;
    let (matches, rest) = matches::read(&words)?;
    match rest.first() {
        Some(word) => Err(word.error("no such match field")),
        None => Ok(matches),
    }
}

/// Reads a list of actions, such as `set_field:10.0.0.1->ip_dst,output:2`. `drop` and the empty text are no action.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_actions(text: &str) -> Result<Vec<Action>, TextError> {
    let mut list = actions::ActionList::default();
    for word in lex::words(text, 0)? {
        list.add(&word)?;
    }
    Ok(list.actions)
}

#[cfg(test)]
mod tests;
