//! The states of a TCP connection as seen from between the ends (RFC 6146 §3.5.2, RFC 7857 §2).

use packet::tcp::Flags;

use crate::Side;
use crate::record::State;

/// The state after a segment.
pub(crate) fn next(state: State, from: Side, flags: Flags, assured: bool) -> State {
    let (syn, fin, rst) =
        (flags.contains(Flags::SYN), flags.contains(Flags::FIN), flags.contains(Flags::RST));
    match state {
        // A second SYN from the other side opens, be it an answer or a simultaneous open (RFC 5382 REQ-2).
        State::Opening(by) if rst && by != from => State::Reset,
        State::Opening(by) if syn && by != from => State::Established,
        State::Opening(by) => State::Opening(by),
        State::Pickup(_) if rst => State::Reset,
        State::Pickup(by) if by != from => State::Established,
        State::Established | State::Fin(_) if rst => State::Reset,
        State::Established if fin => State::Fin(from),
        State::Fin(by) if fin && by != from => State::Closed,
        // RFC 7857 §2.2: what follows a reset shows that the ends ignored it.
        State::Reset if syn => State::Opening(from),
        State::Reset if !rst && assured => State::Established,
        // A new life for the same tuple needs the SYNs of both sides.
        State::Closed if syn && !rst => State::Reopening(from),
        State::Reopening(by) if rst && by != from => State::Closed,
        State::Reopening(by) if syn && by != from => State::Established,
        other => other,
    }
}

/// The state after the first segment, or none if it cannot begin a connection.
pub(crate) fn first(from: Side, flags: Flags, loose: bool) -> Option<State> {
    if flags.contains(Flags::RST) {
        return None;
    }
    match (flags.contains(Flags::SYN), flags.contains(Flags::ACK)) {
        (true, false) => Some(State::Opening(from)),
        // An answer to what nobody asked is not the middle of a connection.
        (true, true) => None,
        (false, _) if loose => Some(State::Pickup(from)),
        (false, _) => None,
    }
}
