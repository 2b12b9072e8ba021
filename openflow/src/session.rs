//! One connection between a switch and a controller (§6.3), from either side.
//!
//! The shell owns the transport and the clock. It passes what arrives to [`Session::handle_bytes`] and takes messages
//! from [`Session::poll_event`]; it writes what [`Session::poll_transmit`] shows and says how much went out; it calls
//! [`Session::handle_timeout`] at [`Session::poll_timeout`]. Hellos, echoes and the answers to bad messages happen
//! inside. Messages are decoded when they are polled, so a shell that stops polling stops the work; it should not read
//! from the transport while [`Session::wants_input`] is false.

use core::time::Duration;
use std::collections::BTreeMap;

use packet::Instant;

use crate::codec::{self, DecodeError, ERROR_DATA_LEN, EncodeError, Header};
use crate::error::HelloFailed;
use crate::frame::{Desynchronised, Framer};
use crate::{Error, ErrorKind, Hello, Message, MultipartReply, Reply, Version, Xid};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Answers bad requests with errors.
    Switch,
    /// Puts the parts of multipart replies together.
    Controller,
}

/// How a session behaves.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Versions spoken. At least one.
    pub versions: Vec<Version>,
    /// Silence after which an echo request goes out.
    pub echo_interval: Duration,
    /// Time for the answer to an echo request, or for the peer's hello.
    pub echo_timeout: Duration,
    /// Time for a message to arrive whole.
    pub message_timeout: Duration,
    /// Unsent bytes above which [`Session::wants_input`] is false and asynchronous messages are dropped.
    pub tx_soft_limit: usize,
    /// Unsent bytes above which the session ends.
    pub tx_hard_limit: usize,
    /// Entries of incomplete multipart replies that are kept.
    pub reassembly_limit: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            versions: vec![Version::V13],
            echo_interval: Duration::from_secs(5),
            echo_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(15),
            tx_soft_limit: 1 << 20,
            tx_hard_limit: 64 << 20,
            reassembly_limit: 256,
        }
    }
}

/// What happened on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The sides agreed on a version: messages may be sent.
    Established(Version),
    /// A message that is not the session's own business.
    Message {
        /// Transaction.
        xid: Xid,
        /// The message.
        message: Message,
    },
    /// A message that could not be understood. A switch has answered it.
    Refused {
        /// Transaction.
        xid: Xid,
        /// What is wrong with it.
        kind: ErrorKind,
    },
    /// The session is over: send what is left to transmit and close the transport. Nothing follows.
    Closed(CloseReason),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// No version in common.
    #[error("the peer speaks none of our versions of OpenFlow (its bitmap is {0:#x})")]
    Incompatible(u32),
    /// The first message was no hello.
    #[error("the peer's first message is not a hello")]
    NoHello,
    /// Its first bytes are those of TLS.
    #[error(
        "the peer speaks TLS, but plain OpenFlow is spoken here: give it tcp: or ptcp:, or this side ssl: or pssl:"
    )]
    Tls,
    /// No hello in time.
    #[error("the peer sent no hello in time")]
    HelloTimeout,
    /// No answer to an echo request in time.
    #[error("the peer did not answer an echo request in time")]
    EchoTimeout,
    /// A message was begun and not finished in time.
    #[error("the peer did not finish a message in time")]
    MessageTimeout,
    /// The stream cannot be followed.
    #[error(transparent)]
    Desynchronised(#[from] Desynchronised),
    /// The peer does not read what it asked for.
    #[error("the peer does not read: {0} bytes wait for it")]
    TooMuchUnread(usize),
    /// The peer refused our hello.
    #[error("the peer refused the connection: {0}")]
    RefusedByPeer(ErrorKind),
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Before the hellos, or after the end.
    #[error("the session is not established")]
    NotEstablished,
    /// An asynchronous message for a peer that does not keep up.
    #[error("the peer does not keep up")]
    Backlog,
    /// The message cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What went through a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Messages received.
    pub rx_messages: u64,
    /// Messages that could not be understood.
    pub rx_refused: u64,
    /// Messages sent, each part of a split reply counting as part of one.
    pub tx_messages: u64,
    /// Asynchronous messages dropped because the peer does not keep up.
    pub tx_dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Our hello is out, the peer's is awaited until this time.
    Hello(Instant),
    Established(Version),
    Closed,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    side: Side,
    config: SessionConfig,
    state: State,
    framer: Framer,
    tx: Vec<u8>,
    sent: usize,
    next_xid: u32,
    last_rx: Instant,
    /// When the echo request went out that is not yet answered.
    echo_sent: Option<Instant>,
    /// Of the last echo request of ours.
    echo_xid: Xid,
    /// Since when a message is waited for that has begun.
    begun: Option<Instant>,
    /// An event that is due before the next message.
    due: Option<Event>,
    /// The start of the message handed out last: an error reply to it quotes it.
    last_request: (Xid, Vec<u8>),
    /// Parts of multipart replies whose last part is still to come.
    parts: BTreeMap<Xid, Reply>,
    counters: SessionCounters,
}

impl Session {
    /// A new connection: the hello is waiting to be transmitted.
    pub fn new(now: Instant, side: Side, config: SessionConfig) -> Self {
        let mut session = Self {
            side,
            state: State::Hello(now + config.echo_timeout),
            config,
            framer: Framer::new(),
            tx: Vec::new(),
            sent: 0,
            next_xid: 1,
            last_rx: now,
            echo_sent: None,
            echo_xid: Xid(0),
            begun: None,
            due: None,
            last_request: (Xid(0), Vec::new()),
            parts: BTreeMap::new(),
            counters: SessionCounters::default(),
        };
        let hello = Message::Hello(Hello { versions: Some(session.bitmap()) });
        let highest = session.highest();
        let xid = session.allocate_xid();
        session.put(highest, xid, &hello).expect("a hello is short");
        session
    }

    /// Takes bytes from the transport.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if self.state != State::Closed && !bytes.is_empty() {
            self.last_rx = now;
            self.echo_sent = None;
            // A handshake or alert record of TLS (RFC 8446 §5.1); a hello has type 0, never 3.
            if matches!((self.state, bytes), (State::Hello(_), [0x15 | 0x16, 3, ..])) {
                return self.close(CloseReason::Tls);
            }
            self.framer.push(bytes);
        }
    }

    /// Lets time pass: sends an echo request after silence, ends the session after more of it.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match (self.state, self.echo_sent) {
            (State::Hello(_), _) => self.close(CloseReason::HelloTimeout),
            (State::Established(_), _) if self.message_due().is_some_and(|due| due <= now) => {
                self.close(CloseReason::MessageTimeout);
            }
            (State::Established(_), Some(_)) if !self.wants_input() => {
                self.close(CloseReason::TooMuchUnread(self.backlog()));
            }
            (State::Established(_), Some(_)) => self.close(CloseReason::EchoTimeout),
            (State::Established(version), None) => {
                self.echo_sent = Some(now);
                let xid = self.allocate_xid();
                self.echo_xid = xid;
                self.put(version, xid, &Message::EchoRequest(Vec::new())).expect("an echo request is short");
            }
            (State::Closed, _) => {}
        }
    }

    /// When [`Session::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let echo = match (self.state, self.echo_sent) {
            (State::Hello(until), _) => return Some(until),
            (State::Established(_), Some(sent)) => sent + self.config.echo_timeout,
            (State::Established(_), None) => self.last_rx + self.config.echo_interval,
            (State::Closed, _) => return None,
        };
        Some(self.message_due().map_or(echo, |due| due.min(echo)))
    }

    /// When a message that has begun must be there; while nothing is read it has time.
    fn message_due(&self) -> Option<Instant> {
        self.begun.filter(|_| self.wants_input()).map(|begun| begun + self.config.message_timeout)
    }

    /// The shell did not read for a while, by its own choice: the peer is not to blame for its silence.
    pub fn excuse(&mut self, now: Instant) {
        self.last_rx = now;
        self.echo_sent = None;
        self.begun = self.begun.map(|_| now);
    }

    /// Bytes to write to the transport. Tell [`Session::handle_transmitted`] how many went out.
    pub fn poll_transmit(&self) -> Option<&[u8]> {
        Some(&self.tx[self.sent..]).filter(|bytes| !bytes.is_empty())
    }

    /// `n` bytes of what [`Session::poll_transmit`] showed went out.
    pub fn handle_transmitted(&mut self, now: Instant, n: usize) {
        // A peer that works off a long reply is alive, though nothing is read from it meanwhile.
        if n > 0 && !self.wants_input() {
            self.excuse(now);
        }
        self.sent = (self.sent + n).min(self.tx.len());
        if self.sent == self.tx.len() {
            self.tx.clear();
            self.sent = 0;
            // A long reply is the exception: do not keep its memory.
            self.tx.shrink_to(1 << 16);
        } else if self.sent > self.tx.len() / 2 {
            self.tx.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// The peer keeps up, so more may be read from the transport.
    pub fn wants_input(&self) -> bool {
        self.state != State::Closed && self.backlog() <= self.config.tx_soft_limit
    }

    /// The next event. Call again until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.due.take() {
                return Some(event);
            }
            if self.state == State::Closed || !self.wants_input() {
                return None;
            }
            let Some(next) = self.next_message() else { return self.due.take() };
            match next {
                Ok((xid, message)) => {
                    if let Some(event) = self.handle_message(xid, message) {
                        return Some(event);
                    }
                }
                Err(refused) => return Some(self.refuse(refused)),
            }
        }
    }

    /// Decodes the next message; `None` if there is none. Closes the session if the stream makes no sense.
    fn next_message(&mut self) -> Option<Result<(Xid, Message), DecodeError>> {
        let waits = self.last_rx;
        let bytes = match self.framer.take() {
            Ok(Some(bytes)) => {
                self.begun = None;
                bytes
            }
            Ok(None) => {
                self.begun = (!self.framer.is_empty()).then(|| self.begun.unwrap_or(waits));
                return None;
            }
            Err(desynchronised) => {
                self.close(CloseReason::Desynchronised(desynchronised));
                return None;
            }
        };
        self.counters.rx_messages += 1;
        let header = Header::parse(bytes);
        let version = match self.state {
            State::Established(version) => version,
            // Only a hello is understood before there is a version, and an error about our hello.
            _ => header.and_then(|h| Version::from_number(h.version)).unwrap_or(Version::V13),
        };
        self.last_request.0 = header.map_or(Xid(0), |h| h.xid);
        self.last_request.1.clear();
        self.last_request.1.extend_from_slice(&bytes[..bytes.len().min(ERROR_DATA_LEN)]);
        let hello_version = header.filter(Header::is_hello).map(|h| h.version);
        let mut decoded = codec::decode(version, bytes);
        // A hello without a bitmap speaks for its header's version and those below (§6.3.1).
        if let (Ok((_, Message::Hello(hello))), Some(version)) = (&mut decoded, hello_version) {
            hello.versions.get_or_insert(below(version));
        }
        Some(decoded)
    }

    fn handle_message(&mut self, xid: Xid, message: Message) -> Option<Event> {
        match (self.state, message) {
            (State::Hello(_), Message::Hello(hello)) => Some(self.negotiate(hello.versions.unwrap_or(0))),
            (State::Hello(_), Message::Error(error)) => {
                self.close(CloseReason::RefusedByPeer(error.kind));
                self.due.take()
            }
            (State::Hello(_), _) => {
                self.close(CloseReason::NoHello);
                self.due.take()
            }
            // A second hello means nothing.
            (_, Message::Hello(_)) => None,
            // A controller may have asked for an echo of its own; everything else is the session's business.
            (_, Message::EchoReply(_)) if self.side == Side::Switch || xid == self.echo_xid => None,
            (State::Established(version), Message::EchoRequest(data)) => {
                // The reply is as long as the request, which was received.
                self.put(version, xid, &Message::EchoReply(data)).ok();
                None
            }
            (_, Message::MultipartReply(part)) if self.side == Side::Controller => {
                let whole = self.reassemble(xid, part)?;
                Some(Event::Message { xid, message: Message::MultipartReply(whole) })
            }
            (_, message) => Some(Event::Message { xid, message }),
        }
    }

    /// §6.3.1: the highest version in both bitmaps.
    fn negotiate(&mut self, theirs: u32) -> Event {
        let common = self.bitmap() & theirs;
        let version =
            common.checked_ilog2().and_then(|v| u8::try_from(v).ok()).and_then(Version::from_number);
        if let Some(version) = version {
            self.state = State::Established(version);
            return Event::Established(version);
        }
        let error = Error {
            kind: HelloFailed::Incompatible.into(),
            data: format!("we support versions {:#x}, you {theirs:#x}", self.bitmap()).into_bytes(),
        };
        self.put(self.highest(), self.last_request.0, &Message::Error(error)).ok();
        self.close(CloseReason::Incompatible(theirs));
        self.due.take().expect("closing is an event")
    }

    /// The reply if this was its last part.
    fn reassemble(&mut self, xid: Xid, part: MultipartReply) -> Option<MultipartReply> {
        let MultipartReply { more, body } = part;
        let whole = match self.parts.remove(&xid) {
            Some(mut whole) => {
                whole.append(body);
                whole
            }
            None => body,
        };
        if !more {
            return Some(MultipartReply { more: false, body: whole });
        }
        // A peer that leaves replies unfinished loses the oldest of them.
        while self.parts.len() >= self.config.reassembly_limit {
            self.parts.pop_first();
        }
        self.parts.insert(xid, whole);
        None
    }

    fn refuse(&mut self, refused: DecodeError) -> Event {
        self.counters.rx_refused += 1;
        let kind = refused.error.kind;
        match self.state {
            State::Established(version) if self.side == Side::Switch && !refused.was_error => {
                self.put(version, refused.xid, &Message::Error(refused.error)).ok();
            }
            State::Established(_) => {}
            _ => {
                self.close(CloseReason::NoHello);
                return self.due.take().expect("closing is an event");
            }
        }
        Event::Refused { xid: refused.xid, kind }
    }

    /// Queues a message. An error without data quotes the message last polled if it has the same transaction id.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&mut self, xid: Xid, message: &Message) -> Result<(), SendError> {
        let State::Established(version) = self.state else { return Err(SendError::NotEstablished) };
        if message.is_asynchronous() && self.backlog() > self.config.tx_soft_limit {
            self.counters.tx_dropped += 1;
            return Err(SendError::Backlog);
        }
        match message {
            Message::Error(error) if error.data.is_empty() && self.last_request.0 == xid => {
                let data = self.last_request.1.clone();
                self.put(version, xid, &Message::Error(Error { kind: error.kind, data }))?;
            }
            _ => self.put(version, xid, message)?,
        }
        if self.backlog() > self.config.tx_hard_limit {
            let unread = self.backlog();
            self.tx = Vec::new();
            self.sent = 0;
            self.close(CloseReason::TooMuchUnread(unread));
        }
        Ok(())
    }

    /// Queues a message under a transaction id of its own, which the reply will carry.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn request(&mut self, message: &Message) -> Result<Xid, SendError> {
        let xid = self.allocate_xid();
        self.send(xid, message).map(|()| xid)
    }

    /// A transaction id that was not used lately. Zero is left to asynchronous messages.
    pub fn allocate_xid(&mut self) -> Xid {
        let xid = self.next_xid;
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        Xid(xid)
    }

    /// The version agreed on.
    pub fn version(&self) -> Option<Version> {
        match self.state {
            State::Established(version) => Some(version),
            _ => None,
        }
    }

    /// The session is over.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// What went through.
    pub fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// The first bytes of the message last polled, for an error reply that is made elsewhere.
    pub fn last_request(&self) -> &[u8] {
        &self.last_request.1
    }

    /// Bytes waiting to be written.
    pub fn backlog(&self) -> usize {
        self.tx.len() - self.sent
    }

    fn put(&mut self, version: Version, xid: Xid, message: &Message) -> Result<(), EncodeError> {
        codec::encode(version, xid, message, &mut self.tx)?;
        self.counters.tx_messages += 1;
        Ok(())
    }

    fn close(&mut self, reason: CloseReason) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.framer = Framer::new();
            self.parts.clear();
            self.due = Some(Event::Closed(reason));
        }
    }

    fn bitmap(&self) -> u32 {
        self.config.versions.iter().fold(0, |bits, v| bits | (1 << v.number()))
    }

    fn highest(&self) -> Version {
        self.config.versions.iter().copied().max().unwrap_or(Version::V13)
    }
}

/// Bits of a version and those below it.
fn below(version: u8) -> u32 {
    1u32.checked_shl(u32::from(version) + 1).map_or(u32::MAX, |bit| bit - 1)
}

#[cfg(test)]
mod tests;
