//! As much TCP as messages of DNS need (RFC 9293, RFC 7766): one connection, each message with its length in front.
//! Segments that do not follow the one before are not kept, they come again; what is sent goes back to the first byte
//! that is not acknowledged.

use core::time::Duration;

use packet::Instant;
use packet::tcp::{Flags, Header, TcpOption, View};

/// Bytes of data that every path takes in one piece (RFC 8200 §5: 1280 less both headers).
const SEGMENT: usize = 1220;
/// Bytes on the way at a time, if the other end takes so many.
const WINDOW: usize = 32 << 10;
/// Waits before something is sent again, each twice the one before (RFC 6298 §2, §5.5): after 1, 3 and 7 seconds, which
/// is what [`IDLE`] leaves room for.
const RETRY: Duration = Duration::from_secs(1);
const N_TRIES: u8 = 3;
/// Without messages a connection ends (RFC 7766 §6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// A message of the greatest length.
const MAX_INBOX: usize = 2 + u16::MAX as usize;

/// RFC 9293 §3.4: `a` before `b`, both modulo 2^32.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// A segment, without its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    /// Of a SYN.
    pub mss: Option<u16>,
    pub data: Vec<u8>,
}

impl Segment {
    pub(crate) fn read(view: &View<'_>) -> Self {
        let mss = view.options().find_map(|option| match option {
            Ok(TcpOption::MaxSegmentSize(mss)) => Some(mss),
            _ => None,
        });
        let (seq, ack, flags, window) = (view.seq(), view.ack(), view.flags(), view.window());
        Self { seq, ack, flags, window, mss, data: view.payload().to_vec() }
    }

    pub(crate) fn header(&self, (src_port, dst_port): (u16, u16)) -> Header {
        let mss = self.mss.map(|mss| [2, 4, (mss >> 8) as u8, mss as u8]);
        let (seq, ack, flags, window) = (self.seq, self.ack, self.flags, self.window);
        let options = mss.map(Vec::from).unwrap_or_default();
        Header { src_port, dst_port, seq, ack, flags, window, checksum: 0, urgent: 0, options }
    }

    /// What answers a segment of no connection (RFC 9293 §3.10.7.1); a reset is not answered.
    pub(crate) fn refusal(&self) -> Option<Self> {
        let has = |flag| self.flags.contains(flag);
        if has(Flags::RST) {
            return None;
        }
        let len = self.data.len() as u32 + u32::from(has(Flags::SYN)) + u32::from(has(Flags::FIN));
        let (seq, ack, flags) = match has(Flags::ACK) {
            true => (self.ack, 0, Flags::RST),
            false => (0, self.seq.wrapping_add(len), Flags::RST.with(Flags::ACK)),
        };
        Some(Self { seq, ack, flags, window: 0, mss: None, data: Vec::new() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A SYN was sent.
    Opening,
    /// A SYN was received and answered.
    Accepting,
    Open,
    /// Nothing more will happen.
    Over,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    state: State,
    /// The first number that is not acknowledged, and the next to be sent.
    una: u32,
    next: u32,
    /// Behind the last number that was ever sent: what is sent again may have come already.
    highest: u32,
    /// Data from `una` on; while a SYN is under way, from behind it.
    out: Vec<u8>,
    /// Nothing follows `out`: its end is told.
    ends: bool,
    /// That was sent, as the number before `next`.
    ended: bool,
    /// The next number from the other end.
    expected: u32,
    other_ended: bool,
    window: usize,
    segment: usize,
    inbox: Vec<u8>,
    /// Messages taken out that have not been answered.
    n_owed: usize,
    n_tries: u8,
    retry_at: Instant,
    idle_at: Instant,
}

impl Connection {
    fn new(now: Instant, state: State, first: u32) -> Self {
        Self {
            state,
            una: first,
            next: first.wrapping_add(1),
            highest: first.wrapping_add(1),
            out: Vec::new(),
            ends: false,
            ended: false,
            expected: 0,
            other_ended: false,
            window: 0,
            segment: SEGMENT,
            inbox: Vec::new(),
            n_owed: 0,
            n_tries: 0,
            retry_at: now + RETRY,
            idle_at: now + IDLE,
        }
    }

    /// Answers a SYN; `first` is a number that nobody can guess (RFC 6528).
    pub(crate) fn accept(now: Instant, first: u32, syn: &Segment) -> (Self, Segment) {
        let mut connection = Self::new(now, State::Accepting, first);
        connection.hear_syn(syn);
        let answer = connection.syn();
        (connection, answer)
    }

    /// Begins one, to say one message.
    pub(crate) fn connect(now: Instant, first: u32, message: &[u8]) -> (Self, Segment) {
        let mut connection = Self::new(now, State::Opening, first);
        connection.push(message);
        let syn = connection.syn();
        (connection, syn)
    }

    fn hear_syn(&mut self, syn: &Segment) {
        self.expected = syn.seq.wrapping_add(1);
        self.window = syn.window.into();
        // RFC 9293 §3.7.1: 536 where nothing is said.
        self.segment = SEGMENT.min(usize::from(syn.mss.unwrap_or(536)).max(64));
    }

    fn syn(&self) -> Segment {
        let flags = match self.state {
            State::Opening => Flags::SYN,
            _ => Flags::SYN.with(Flags::ACK),
        };
        let mss = Some(SEGMENT as u16);
        Segment { seq: self.una, ack: self.expected, flags, window: u16::MAX, mss, data: Vec::new() }
    }

    fn speak(&self, seq: u32, flags: Flags, data: Vec<u8>) -> Segment {
        let window = (MAX_INBOX - self.inbox.len()).min(usize::from(u16::MAX)) as u16;
        Segment { seq, ack: self.expected, flags: flags.with(Flags::ACK), window, mss: None, data }
    }

    /// Ends it at once.
    pub(crate) fn abort(&mut self) -> Segment {
        self.state = State::Over;
        self.speak(self.next, Flags::RST, Vec::new())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn push(&mut self, message: &[u8]) {
        let message = &message[..message.len().min(usize::from(u16::MAX))];
        self.out.extend((message.len() as u16).to_be_bytes());
        self.out.extend_from_slice(message);
    }

    /// Says a message.
    pub(crate) fn send(&mut self, now: Instant, message: &[u8]) -> Vec<Segment> {
        self.n_owed = self.n_owed.saturating_sub(1);
        self.push(message);
        self.idle_at = now + IDLE;
        self.flush(now)
    }

    /// A message of the other end that is whole.
    pub(crate) fn take_message(&mut self) -> Option<Vec<u8>> {
        let (len, rest) = self.inbox.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*len));
        let message = rest.get(..len)?.to_vec();
        self.inbox.drain(..2 + len);
        self.n_owed += 1;
        Some(message)
    }

    /// Sends what the other end takes now.
    fn flush(&mut self, now: Instant) -> Vec<Segment> {
        let mut sent = Vec::new();
        if self.state != State::Open {
            return sent;
        }
        if self.other_ended && self.n_owed == 0 {
            self.ends = true;
        }
        let was_quiet = self.next == self.una;
        while !self.ended {
            let at = self.next.wrapping_sub(self.una) as usize;
            let room = self.window.min(WINDOW).saturating_sub(at);
            let n = self.out.len().saturating_sub(at).min(self.segment).min(room);
            if n > 0 {
                sent.push(self.speak(self.next, Flags::PSH, self.out[at..at + n].to_vec()));
                self.next = self.next.wrapping_add(n as u32);
            } else if at == self.out.len() && self.ends {
                sent.push(self.speak(self.next, Flags::FIN, Vec::new()));
                self.next = self.next.wrapping_add(1);
                self.ended = true;
            } else {
                break;
            }
        }
        if before(self.highest, self.next) {
            self.highest = self.next;
        }
        if was_quiet && !sent.is_empty() {
            (self.n_tries, self.retry_at) = (0, now + RETRY);
        }
        sent
    }

    /// A segment of the other end; what is to be said in return.
    pub(crate) fn handle(&mut self, now: Instant, segment: &Segment) -> Vec<Segment> {
        let has = |flag| segment.flags.contains(flag);
        if has(Flags::RST) {
            // RFC 5961 §3.2: only one that fits exactly.
            let fits = match self.state {
                State::Opening => has(Flags::ACK) && segment.ack == self.next,
                _ => segment.seq == self.expected,
            };
            if fits {
                self.state = State::Over;
            }
            return Vec::new();
        }
        match self.state {
            State::Over => Vec::new(),
            State::Opening => {
                if !has(Flags::SYN) || !has(Flags::ACK) || segment.ack != self.next {
                    return Vec::new();
                }
                self.hear_syn(segment);
                self.una = self.next;
                self.state = State::Open;
                let sent = self.flush(now);
                if sent.is_empty() { vec![self.speak(self.next, Flags::ACK, Vec::new())] } else { sent }
            }
            State::Accepting if has(Flags::SYN) => vec![self.syn()],
            _ if has(Flags::SYN) => vec![self.speak(self.next, Flags::ACK, Vec::new())],
            _ if !has(Flags::ACK) => Vec::new(),
            _ => self.go_on(now, segment),
        }
    }

    fn go_on(&mut self, now: Instant, segment: &Segment) -> Vec<Segment> {
        self.acknowledged(now, segment);
        let fin = segment.flags.contains(Flags::FIN);
        let brings = !segment.data.is_empty() || fin;
        let fits = segment.data.len() <= MAX_INBOX - self.inbox.len();
        if segment.seq == self.expected && fits && !self.other_ended {
            self.inbox.extend_from_slice(&segment.data);
            self.expected = self.expected.wrapping_add(segment.data.len() as u32);
            if fin {
                self.expected = self.expected.wrapping_add(1);
                self.other_ended = true;
            }
            if brings {
                self.idle_at = now + IDLE;
            }
        }
        let mut sent = self.flush(now);
        if brings && sent.is_empty() {
            sent.push(self.speak(self.next, Flags::ACK, Vec::new()));
        }
        if self.ended && self.other_ended && self.next == self.una {
            self.state = State::Over;
        }
        sent
    }

    fn acknowledged(&mut self, now: Instant, segment: &Segment) {
        let acked = segment.ack.wrapping_sub(self.una);
        if acked > self.highest.wrapping_sub(self.una) {
            return;
        }
        self.window = segment.window.into();
        if acked == 0 {
            return;
        }
        let mut n = acked as usize;
        if self.state == State::Accepting {
            (self.state, n) = (State::Open, n - 1);
        }
        if n > self.out.len() {
            // The end that was told.
            (self.ended, n) = (true, self.out.len());
        }
        self.out.drain(..n);
        self.una = segment.ack;
        if before(self.next, self.una) {
            self.next = self.una;
        }
        if self.ended && self.other_ended && self.next == self.una {
            self.state = State::Over;
        }
        (self.n_tries, self.retry_at) = (0, now + RETRY);
    }

    /// Something is under way, or would be if the other end took it.
    fn waits(&self) -> bool {
        self.next != self.una || !self.out.is_empty()
    }

    /// What has not been acknowledged is sent again; what is idle ends.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Segment> {
        if self.state == State::Over {
            return Vec::new();
        }
        if self.waits() && self.retry_at <= now {
            self.n_tries += 1;
            if self.n_tries > N_TRIES {
                self.state = State::Over;
                return Vec::new();
            }
            self.retry_at = now + RETRY * (1 << self.n_tries);
            if self.state != State::Open {
                return vec![self.syn()];
            }
            // A window that stays closed is tried with a byte (RFC 9293 §3.8.6.1).
            let window = self.window;
            self.window = window.max(1);
            (self.next, self.ended) = (self.una, false);
            let tries = self.n_tries;
            let mut sent = self.flush(now);
            sent.truncate(1);
            let again =
                sent.first().map_or(0, |s| s.data.len() as u32 + u32::from(s.flags.contains(Flags::FIN)));
            self.ended = self.ended && again as usize > self.out.len();
            self.next = self.una.wrapping_add(again);
            (self.window, self.n_tries, self.retry_at) = (window, tries, now + RETRY * (1 << tries));
            return sent;
        }
        if self.idle_at <= now {
            if self.ends || self.state != State::Open {
                self.state = State::Over;
                return Vec::new();
            }
            self.ends = true;
            self.idle_at = now + IDLE;
            return self.flush(now);
        }
        Vec::new()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Over => None,
            _ if self.waits() => Some(self.retry_at.min(self.idle_at)),
            _ => Some(self.idle_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Carries segments between two ends for a minute; `keep` says of each whether it arrives. What the first asks is
    /// answered by the second, which is there once a SYN has come.
    fn talk(
        question: &[u8],
        answer: &[u8],
        keep: &mut impl FnMut() -> bool,
    ) -> (Connection, Option<Connection>, Vec<Vec<u8>>) {
        let mut now = Instant::from_secs(1);
        let (mut client, syn) = Connection::connect(now, u32::MAX - 5, question);
        let (mut server, mut got): (Option<Connection>, _) = (None, Vec::new());
        let (mut to_server, mut to_client) = (vec![syn], Vec::new());
        for _ in 0..600 {
            for segment in std::mem::take(&mut to_server).into_iter().filter(|_| keep()) {
                match &mut server {
                    Some(server) => to_client.extend(server.handle(now, &segment)),
                    None if segment.flags.contains(Flags::SYN) => {
                        let (made, answer) = Connection::accept(now, u32::MAX - 1, &segment);
                        server = Some(made);
                        to_client.push(answer);
                    }
                    None => {}
                }
            }
            while let Some(asked) = server.as_mut().and_then(Connection::take_message) {
                assert_eq!(asked, question);
                to_client.extend(server.as_mut().expect("it asked").send(now, answer));
            }
            for segment in std::mem::take(&mut to_client).into_iter().filter(|_| keep()) {
                to_server.extend(client.handle(now, &segment));
            }
            while let Some(message) = client.take_message() {
                got.push(message);
                client.n_owed = 0;
            }
            now = now + Duration::from_millis(100);
            for (end, out) in [(Some(&mut client), &mut to_server), (server.as_mut(), &mut to_client)] {
                if let Some(end) = end.filter(|end| end.poll_timeout().is_some_and(|at| at <= now)) {
                    out.extend(end.handle_timeout(now));
                }
            }
        }
        (client, server, got)
    }

    #[test]
    fn a_question_an_answer_and_the_end() {
        let answer: Vec<u8> = (0..60_000u32).map(|n| (n % 251) as u8).collect();
        let (client, server, got) = talk(b"who?", &answer, &mut || true);
        assert_eq!(got, [answer]);
        let both = client.is_over() && server.as_ref().is_some_and(Connection::is_over);
        assert!(both, "both end when nothing is said: {client:?} {server:?}");
    }

    #[test]
    fn segments_of_nothing_are_refused_and_resets_must_fit() {
        let now = Instant::from_secs(1);
        let (mut client, syn) = Connection::connect(now, 7, b"x");
        assert_eq!(syn.refusal().map(|r| (r.ack, r.flags)), Some((8, Flags::RST.with(Flags::ACK))));
        let reset = |seq, ack, flags: Flags| Segment { seq, ack, flags, ..syn.clone() };
        client.handle(now, &reset(0, 9, Flags::RST.with(Flags::ACK)));
        assert!(!client.is_over());
        let (mut server, _) = Connection::accept(now, 100, &syn);
        server.handle(now, &reset(9, 0, Flags::RST));
        assert!(!server.is_over());
        server.handle(now, &reset(8, 0, Flags::RST));
        client.handle(now, &reset(0, 8, Flags::RST.with(Flags::ACK)));
        assert!(server.is_over() && client.is_over());
        assert_eq!(reset(0, 0, Flags::RST).refusal(), None);
    }

    #[test]
    fn what_is_never_answered_is_given_up() {
        let mut n = 0;
        let (client, _, got) = talk(b"x", b"y", &mut || {
            n += 1;
            n <= 2
        });
        assert!(client.is_over() && got.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever is lost, nothing comes wrong or twice. It comes if less is lost than there are tries; otherwise one end
        /// may give up.
        #[test]
        fn what_is_lost_comes_again(
            len in 1usize..4000,
            lost in proptest::collection::vec(0u8..8, 40),
        ) {
            let answer: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let n_lost = lost.iter().filter(|n| **n == 0).count();
            let mut lost = lost.into_iter();
            let (client, server, got) = talk(b"who?", &answer, &mut || lost.next().is_none_or(|n| n != 0));
            let gave_up = client.is_over() || server.is_some_and(|server| server.is_over());
            if n_lost <= usize::from(N_TRIES) || !gave_up || !got.is_empty() {
                prop_assert_eq!(got, [answer]);
            }
        }
    }
}
