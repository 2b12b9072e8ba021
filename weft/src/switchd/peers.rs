//! What the owner keeps of each connection, and how much may wait for it.
//!
//! Nothing grows with what a peer does. It has two bursts with the owner at most; while much waits for it its requests
//! are not handled, long replies pause and asynchronous messages for it are dropped; what is behind a barrier waits
//! for its answer, and what is behind many incomplete replies for one of them; and its packet-outs wait for the
//! workers. Connections take turns, and between two of them the owner looks at everything else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use openflow::{Message, Reply, Version, Xid};
use packet::Instant;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use vswitch::ConnId;

use super::owner::{Owner, Received};

/// Bytes waiting for a peer above which it is asked for patience.
const HIGH: usize = 1 << 20;
/// Bytes at which its patience ends.
const LOW: usize = HIGH / 2;
/// Messages of one connection that are handled before it is another's turn.
const TURN: usize = 256;
/// Replies of one connection that may be incomplete.
const MAX_DUE: usize = 16;
/// Bytes of packet-outs of one connection that the workers may have before them.
const MAX_INJECTED: usize = 256 << 10;

/// Why a connection may have its turn again.
#[derive(Debug, Clone, Copy)]
pub enum Wake {
    /// Little waits for it now.
    Drained(ConnId),
    /// The workers have done its packet-outs.
    Injected(ConnId),
}

/// How much waits for a peer, between the owner and the connection.
#[derive(Debug)]
pub struct Account {
    conn: ConnId,
    /// Bytes on the way to the connection, by estimate.
    outbox: AtomicUsize,
    /// Bytes that the session has not written.
    session: AtomicUsize,
    /// The owner wants to hear when little waits.
    paused: AtomicBool,
    dropped: AtomicU64,
    wake: mpsc::UnboundedSender<Wake>,
}

impl Account {
    /// Nothing waits for `conn`.
    pub fn new(conn: ConnId, wake: mpsc::UnboundedSender<Wake>) -> Arc<Self> {
        Arc::new(Self {
            conn,
            outbox: AtomicUsize::new(0),
            session: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            wake,
        })
    }

    /// Bytes that wait, about.
    pub fn waiting(&self) -> usize {
        self.outbox.load(Ordering::SeqCst) + self.session.load(Ordering::SeqCst)
    }

    /// The connection took messages of this weight; the session has `backlog` bytes to write.
    pub fn update(&self, taken: usize, backlog: usize) {
        self.session.store(backlog, Ordering::SeqCst);
        self.outbox.fetch_sub(taken, Ordering::SeqCst);
        if self.waiting() <= LOW && self.paused.swap(false, Ordering::SeqCst) {
            // An owner that is gone waits for nothing.
            let _ = self.wake.send(Wake::Drained(self.conn));
        }
    }

    /// The connection is gone and nothing waits for it any more.
    pub fn close(&self) {
        self.outbox.store(0, Ordering::SeqCst);
        self.update(0, 0);
    }

    /// True: `update` will wake the owner.
    fn pause(&self) -> bool {
        self.paused.store(true, Ordering::SeqCst);
        // It may have been drained meanwhile; then whoever takes the mark back has the say.
        self.waiting() > LOW || !self.paused.swap(false, Ordering::SeqCst)
    }
}

/// Messages of a connection, and its leave to send the next ones.
#[derive(Debug)]
pub struct Burst {
    pub messages: Vec<Received>,
    pub credit: OwnedSemaphorePermit,
}

/// The other side of an established session.
#[derive(Debug)]
pub struct Peer {
    pub name: String,
    /// What was agreed.
    pub version: Version,
    /// When.
    pub since: Instant,
    /// The name in the certificate that it has shown.
    pub certificate: Option<String>,
    /// It connected to us, so it does not count as a controller for the fail mode.
    pub service: bool,
    /// The main connection whose auxiliary one this is, and its number.
    pub auxiliary: Option<(ConnId, u8)>,
    pub sender: mpsc::UnboundedSender<(Xid, Message)>,
    pub account: Arc<Account>,
    pub queue: Queue,
}

/// What is to be done for a peer, and what it waits for.
#[derive(Debug, Default)]
pub struct Queue {
    messages: VecDeque<Received>,
    /// How many of `messages` are before the end of each burst.
    credits: VecDeque<(usize, OwnedSemaphorePermit)>,
    /// It is in the list of those that wait for their turn.
    listed: bool,
    paused: bool,
    /// Many replies to it are incomplete.
    owed: bool,
    /// Not yet answered.
    barrier: Option<Xid>,
    /// Bytes of packet-outs since the workers last caught up.
    injected: usize,
    injecting: bool,
}

impl Queue {
    fn push(&mut self, burst: Burst) {
        let before: usize = self.credits.iter().map(|(n, _)| n).sum();
        debug_assert_eq!(before, self.messages.len());
        self.credits.push_back((burst.messages.len(), burst.credit));
        self.messages.extend(burst.messages);
    }

    fn waits(&self) -> bool {
        self.paused || self.owed || self.injecting || self.barrier.is_some()
    }

    fn next(&mut self) -> Option<Received> {
        if self.waits() {
            return None;
        }
        let next = self.messages.pop_front()?;
        if let Some((n, _)) = self.credits.front_mut() {
            *n -= 1;
            if *n == 0 {
                self.credits.pop_front();
            }
        }
        Some(next)
    }
}

impl Owner {
    /// A connection says who is there.
    pub(super) fn connect(&mut self, conn: ConnId, peer: Peer) {
        tracing::debug!(switch = self.name, peer = peer.name, "connected");
        let now = self.clock.now();
        match (peer.auxiliary, peer.service) {
            (Some(main), _) => {
                // Otherwise the main one is gone; without a sender this one ends, too (§6.3.6).
                if self.switch.handle_auxiliary_connected(now, conn, main) {
                    self.peers.insert(conn, peer);
                }
                return;
            }
            (None, true) => self.switch.handle_service_connected(now, conn),
            (None, false) => self.switch.handle_connected(now, conn),
        }
        self.peers.insert(conn, peer);
    }

    pub(super) fn disconnect(&mut self, conn: ConnId) {
        if let Some(peer) = self.peers.remove(&conn) {
            tracing::debug!(switch = self.name, peer = peer.name, "disconnected");
            if !peer.service && peer.auxiliary.is_none() {
                self.attempts.lost(self.clock.now(), &peer.name);
            }
            let n = peer.account.dropped.load(Ordering::Relaxed);
            if n > 0 {
                tracing::warn!(
                    switch = self.name,
                    peer = peer.name,
                    n,
                    "it did not keep up: asynchronous messages were dropped"
                );
            }
        }
        self.peers.retain(|_, peer| peer.auxiliary.is_none_or(|(main, _)| main != conn));
        self.switch.handle_disconnected(self.clock.now(), conn);
    }

    /// Messages of a connection: it gets its turn.
    pub(super) fn receive(&mut self, conn: ConnId, burst: Burst) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.queue.push(burst);
            self.list(conn);
        }
    }

    /// Puts a connection that has something to do in the list, behind those that wait already.
    fn list(&mut self, conn: ConnId) {
        let Some(Peer { queue, .. }) = self.peers.get_mut(&conn) else { return };
        if !queue.listed && !queue.waits() && !queue.messages.is_empty() {
            queue.listed = true;
            self.turns.push_back(conn);
        }
    }

    /// What a connection waited for has come.
    pub(super) fn wake(&mut self, wake: Wake) {
        let (Wake::Drained(conn) | Wake::Injected(conn)) = wake;
        let Some(Peer { queue, .. }) = self.peers.get_mut(&conn) else { return };
        match wake {
            Wake::Drained(conn) => {
                queue.paused = false;
                self.switch.set_paused(conn, false);
            }
            Wake::Injected(_) => (queue.injecting, queue.injected) = (false, 0),
        }
        self.list(conn);
    }

    /// Handles some messages of the connection whose turn it is. Flow mods among them are published in one step,
    /// unless a message between them must see those before.
    pub(super) async fn take_turn(&mut self) {
        let Some(conn) = self.turns.pop_front() else { return };
        for _ in 0..TURN {
            let Some(Peer { queue, .. }) = self.peers.get_mut(&conn) else { return };
            let Some(received) = queue.next() else { break };
            match &received.message {
                // §6.2: what is behind it is not begun before all that is before it is done and said.
                Message::BarrierRequest => queue.barrier = Some(received.xid),
                Message::PacketOut(packet_out) => {
                    queue.injected += packet_out.data.len() + weight(&received.message);
                    if queue.injected > MAX_INJECTED {
                        queue.injecting = true;
                    }
                }
                _ => {}
            }
            let (wait, asks) = (queue.injecting, matches!(received.message, Message::MultipartRequest(_)));
            self.handle_message(conn, received).await;
            if asks
                && self.switch.replies_due(conn) >= MAX_DUE
                && let Some(Peer { queue, .. }) = self.peers.get_mut(&conn)
            {
                queue.owed = true;
            }
            if wait {
                let wake = self.wake.clone();
                // The owner itself holds the other end.
                self.ask(None, move |_| {
                    let _ = wake.send(Wake::Injected(conn));
                });
            }
        }
        if let Some(Peer { queue, .. }) = self.peers.get_mut(&conn) {
            queue.listed = false;
            self.list(conn);
        }
    }

    /// Hands a message to a connection.
    pub(super) fn send_to_peer(&mut self, conn: ConnId, xid: Xid, message: Message) {
        let Some(Peer { queue, account, sender, .. }) = self.peers.get_mut(&conn) else { return };
        if queue.paused && message.is_asynchronous() {
            account.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let answers_barrier = message == Message::BarrierReply && queue.barrier == Some(xid);
        let completes = matches!(&message, Message::MultipartReply(reply) if !reply.more);
        // Before it is sent: the connection takes as much off.
        let size = weight(&message);
        account.outbox.fetch_add(size, Ordering::SeqCst);
        if sender.send((xid, message)).is_err() {
            // A connection that has just ended wants nothing more.
            account.close();
        }
        if !queue.paused && account.waiting() > HIGH && account.pause() {
            queue.paused = true;
            self.switch.set_paused(conn, true);
        }
        if answers_barrier {
            queue.barrier = None;
        }
        if completes && self.switch.replies_due(conn) < MAX_DUE {
            queue.owed = false;
        }
        if answers_barrier || completes {
            self.list(conn);
        }
    }
}

/// About how many bytes a message takes. Exact for the parts that a peer chooses.
pub fn weight(message: &Message) -> usize {
    const SMALL: usize = 128;
    SMALL
        + match message {
            Message::PacketIn(packet_in) => packet_in.data.len(),
            Message::PacketOut(packet_out) => packet_out.data.len(),
            Message::Error(error) => error.data.len(),
            Message::EchoRequest(data) | Message::EchoReply(data) => data.len(),
            Message::RequestForward(forward) => weight(&forward.request),
            Message::BundleAdd(add) => weight(&add.message),
            Message::MultipartReply(reply) => match &reply.body {
                Reply::Flow(flows) => flows.len() * 256,
                Reply::TableFeatures(tables) => tables.len() * 2048,
                Reply::PortStats(ports) => ports.len() * SMALL,
                Reply::PortDesc(ports) => ports.len() * SMALL,
                Reply::Group(groups) => groups.len() * SMALL,
                Reply::GroupDesc(groups) => groups.len() * 256,
                _ => SMALL,
            },
            _ => 0,
        }
}
