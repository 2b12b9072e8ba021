//! Which TCP segments can belong to a connection, by the sequence numbers and windows that both ends have shown
//! (G. van Rooij, "Real stateful TCP packet filtering in IP Filter", 2001; resets by RFC 5961 §3).

use packet::tcp::Flags;

use crate::{Side, State};

/// The numbers of a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window as it is written.
    pub window: u16,
    /// Window scale option, of a SYN.
    pub scale: Option<u8>,
    /// Bytes of data.
    pub len: u32,
}

/// What one end has shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Half {
    /// Behind the last byte it has sent.
    end: u32,
    /// Up to where the other end lets it send.
    max_end: u32,
    /// Largest window it has offered; zero: nothing is known of it.
    max_window: u32,
    /// Highest byte it has acknowledged, once `answered`.
    max_ack: u32,
    answered: bool,
    scale: Option<u8>,
}

impl Half {
    /// As it is stored.
    pub(crate) fn pack(self) -> [u32; 5] {
        let scale = self.scale.map_or(0, |scale| 1 << 8 | u32::from(scale));
        [self.end, self.max_end, self.max_window, self.max_ack, u32::from(self.answered) << 16 | scale]
    }

    /// What was stored; of nothing but zeros, what nothing is known of.
    pub(crate) fn unpack([end, max_end, max_window, max_ack, rest]: [u32; 5]) -> Self {
        let scale = (rest >> 8 & 1 != 0).then_some(rest as u8);
        Self { end, max_end, max_window, max_ack, answered: rest >> 16 != 0, scale }
    }
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    /// It may pass but proves nothing: its receiver will answer if it is wrong.
    Doubtful,
    Invalid,
}

/// RFC 9293 §3.4: `a` before `b`, both modulo 2^32.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// No window is so small that acknowledgements of more than this are late.
const LEAST_ACK_WINDOW: u32 = 66_000;

/// Judges a segment from side `from` of a connection in `state`, and remembers what it shows.
pub(crate) fn judge(halves: &mut [Half; 2], state: State, from: Side, flags: Flags, s: &Segment) -> Verdict {
    let (me, you) = (from as usize, 1 - from as usize);
    let [syn, ack, rst] = [Flags::SYN, Flags::ACK, Flags::RST].map(|f| flags.contains(f));
    match state {
        // Picked up in mid-stream: windows may be scaled, nobody knows by how much.
        State::Pickup(_) => return Verdict::Valid,
        // Another connection between the same ends, or an echo of an old one: who is right, the ends must find out
        // (RFC 5961 §4).
        State::Established | State::Fin(_) if syn => return Verdict::Doubtful,
        State::Opening(by) if by != from && syn && ack && s.ack != halves[you].end => {
            return Verdict::Doubtful;
        }
        State::Closed | State::Reset | State::Reopening(_) if syn => halves[me] = Half::default(),
        _ => {}
    }
    let mut pair = (halves[me], halves[you]);
    let sent = pair.0.end;
    let verdict = match fits(&mut pair, flags, s) {
        true if rst => judge_reset(state, sent, &pair.1, s),
        true => Verdict::Valid,
        false if matches!(state, State::Opening(_)) => Verdict::Doubtful,
        false => Verdict::Invalid,
    };
    if verdict == Verdict::Valid {
        (halves[me], halves[you]) = pair;
    }
    verdict
}

/// RFC 5961 §3.2: only a reset with exactly the next sequence number ends an open connection; for one that is near, the
/// receiver asks its sender. `sent` is what its sender had sent before.
fn judge_reset(state: State, sent: u32, receiver: &Half, s: &Segment) -> Verdict {
    let open = matches!(state, State::Established | State::Fin(_));
    match receiver.answered.then_some(receiver.max_ack) {
        Some(expected) if before(s.seq, expected) => Verdict::Invalid,
        Some(expected) if open && s.seq != expected && s.seq != sent => Verdict::Doubtful,
        _ => Verdict::Valid,
    }
}

/// What the first segment of an end, which ends at `end`, shows of it.
fn introduce(sender: &mut Half, receiver: &mut Half, (syn, end): (bool, u32), s: &Segment) {
    sender.end = end;
    sender.max_window = u32::from(s.window).max(1);
    if syn {
        (sender.max_end, sender.scale) = (end, s.scale);
        // RFC 7323 §2.2: both ends must have offered it.
        if receiver.max_window != 0 && (sender.scale.is_none() || receiver.scale.is_none()) {
            (sender.scale, receiver.scale) = (None, None);
        }
        return;
    }
    sender.max_end = end.wrapping_add(sender.max_window);
    if receiver.max_window == 0 {
        (receiver.end, receiver.max_end) = (s.ack, s.ack);
    }
}

/// Whether a segment lies within both windows; moves them on.
fn fits((sender, receiver): &mut (Half, Half), flags: Flags, s: &Segment) -> bool {
    let has = |flag| flags.contains(flag);
    let (syn, rst) = (has(Flags::SYN), has(Flags::RST));
    let controls = u32::from(syn) + u32::from(has(Flags::FIN));
    let mut seq = s.seq;
    let mut end = seq.wrapping_add(s.len).wrapping_add(controls);
    let scaled = |half: &Half| {
        if syn { u32::from(s.window) } else { u32::from(s.window) << half.scale.unwrap_or(0).min(14) }
    };
    if sender.max_window == 0 {
        introduce(sender, receiver, (syn, end), s);
        if syn && !has(Flags::ACK) {
            return true;
        }
    } else if syn && before(sender.end, end) {
        // Begun again before it was answered.
        (sender.end, sender.max_end, sender.max_window) = (end, end, scaled(sender).max(1));
    }
    let answers = has(Flags::ACK) && !(rst && s.ack == 0);
    let ack = if answers { s.ack } else { receiver.end };
    if rst && seq == 0 {
        // RFC 9293 §3.10.7.1: a reset that answers a SYN has no sequence number of its own.
        (seq, end) = (sender.end, sender.end);
    }
    let in_window = receiver.max_window == 0 || !before(end, sender.end.wrapping_sub(receiver.max_window));
    let ack_window = sender.max_window.max(LEAST_ACK_WINDOW);
    let fits = !before(sender.max_end, seq)
        && in_window
        && !before(receiver.end, ack)
        && !before(ack, receiver.end.wrapping_sub(ack_window));
    if !fits {
        return false;
    }
    let window = scaled(sender);
    sender.max_window = sender.max_window.max(window);
    if before(sender.end, end) {
        sender.end = end;
    }
    if answers && (!sender.answered || before(sender.max_ack, ack)) {
        (sender.max_ack, sender.answered) = (ack, true);
    }
    if receiver.max_window != 0 && before(sender.max_end, end) {
        receiver.max_window = receiver.max_window.wrapping_add(end.wrapping_sub(sender.max_end));
    }
    let allowed = ack.wrapping_add(window.max(1));
    if before(receiver.max_end, allowed) {
        receiver.max_end = allowed;
    }
    true
}
