//! One connection: bytes to messages and back, with the session of the `openflow` crate.

use std::sync::Arc;
use std::time::Duration;

use dataplane::Clock;
use openflow::error::HelloFailed;
use openflow::{AsyncChange, Event, Message, Session, SessionConfig, Side, Version, Xid};
use packet::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use vswitch::ConnId;

use super::owner::{Received, Request};
use super::peers::{Account, Burst, Peer, Queue, Wake, weight};
use crate::channel::{Place, Stranger, write};

/// Bytes read at once.
const READ_SIZE: usize = 64 << 10;
/// Messages that go to the owner at once.
const BURST: usize = 256;
/// Bytes of messages that go to the owner at once, about.
const BURST_SIZE: usize = 256 << 10;
/// Bursts of one connection that the owner may have before it.
const CREDITS: usize = 2;
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long the owner may take for what was said before the end.
const LAST_BURSTS: Duration = Duration::from_secs(5);

/// What the owner sends.
pub type Outbox = mpsc::UnboundedReceiver<(Xid, Message)>;

/// How a connection reaches the owner of the switch.
#[derive(Debug, Clone)]
pub struct ToOwner {
    pub requests: mpsc::Sender<Request>,
    pub wake: mpsc::UnboundedSender<Wake>,
    pub clock: Clock,
}

/// Who is at the other end, and how it is spoken to.
#[derive(Debug)]
pub struct Far {
    /// For logs.
    pub name: String,
    /// It connected to us, not we to it.
    pub service: bool,
    /// The main connection whose auxiliary one this is, and its number.
    pub auxiliary: Option<(ConnId, u8)>,
    /// Versions and times.
    pub config: SessionConfig,
    /// Told once the versions are agreed.
    pub established: Option<oneshot::Sender<(ConnId, Version)>>,
    /// The name in the certificate that it has shown.
    pub certificate: Option<String>,
    /// There if it has to be admitted then.
    pub stranger: Option<Stranger>,
}

impl Far {
    /// Somebody who connected to us.
    pub fn service(name: String, config: SessionConfig) -> Self {
        Self {
            name,
            service: true,
            auxiliary: None,
            config,
            established: None,
            certificate: None,
            stranger: None,
        }
    }
}

/// Serves one connection to its end; tells why it ended.
pub async fn serve<S>(stream: S, far: Far, owner: ToOwner) -> Option<anyhow::Error>
where
    S: AsyncRead + AsyncWrite,
{
    let session = Session::new(owner.clock.now(), Side::Switch, far.config.clone());
    let (reader, writer) = tokio::io::split(stream);
    tokio::pin!(reader, writer);
    let conn = super::owner::next_conn();
    let account = Account::new(conn, owner.wake.clone());
    let credits = Arc::new(Semaphore::new(CREDITS));
    let gathered = Gathered::default();
    let (outbox, place) = (None, None);
    let mut connection = Connection { session, conn, owner, far, account, credits, outbox, gathered, place };
    let ended = connection.run(&mut reader, &mut writer).await.err();
    match &ended {
        None => tracing::debug!(peer = connection.far.name, "the peer closed the connection"),
        Some(error) => tracing::info!(peer = connection.far.name, "connection ended: {error:#}"),
    }
    // What is left to say, an error perhaps; the peer may not be there to hear it.
    if let Some(rest) = connection.session.poll_transmit() {
        let last_words = async {
            writer.write_all(rest).await?;
            writer.flush().await
        };
        let _ = tokio::time::timeout(FAREWELL, last_words).await;
    }
    connection.leave().await;
    ended
}

struct Connection {
    session: Session,
    conn: ConnId,
    owner: ToOwner,
    far: Far,
    account: Arc<Account>,
    credits: Arc<Semaphore>,
    /// There from the moment the versions are agreed.
    outbox: Option<Outbox>,
    gathered: Gathered,
    /// Where it is served, if places are counted.
    place: Option<Place>,
}

/// What the owner has not yet taken.
#[derive(Default)]
struct Gathered {
    peer: Option<Peer>,
    messages: Vec<Received>,
    size: usize,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.peer.is_none() && self.messages.is_empty()
    }

    fn has_room(&self) -> bool {
        self.messages.len() < BURST && self.size < BURST_SIZE
    }

    /// The next request to the owner.
    fn take(&mut self, conn: ConnId, credit: OwnedSemaphorePermit) -> Request {
        if let Some(peer) = self.peer.take() {
            return Request::Connected { conn, peer };
        }
        self.size = 0;
        Request::Messages { conn, burst: Burst { messages: std::mem::take(&mut self.messages), credit } }
    }
}

impl Connection {
    /// While the owner is busy, up to a burst is gathered and echo requests among it are answered.
    async fn run<R, W>(&mut self, reader: &mut R, writer: &mut W) -> anyhow::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut bytes = vec![0; READ_SIZE];
        let (mut had_room, mut unflushed) = (true, false);
        loop {
            self.gather()?;
            let has_room = self.gathered.has_room();
            if has_room && !had_room {
                // Nothing was read from the peer meanwhile: it could not show that it is alive.
                self.session.excuse(self.owner.clock.now());
            }
            had_room = has_room;
            let due = self.session.poll_timeout().filter(|_| has_room);
            let reads = has_room && self.session.wants_input();
            let transmit = self.session.poll_transmit().unwrap_or_default();
            let wrote = !transmit.is_empty();
            tokio::select! {
                written = write(writer, transmit), if wrote || unflushed => match written? {
                    0 if wrote => return Ok(()),
                    n => {
                        unflushed = wrote;
                        self.session.handle_transmitted(self.owner.clock.now(), n);
                        self.account.update(0, self.session.backlog());
                    }
                },
                message = receive(&mut self.outbox) => match message {
                    Some((xid, message)) => self.send_burst(xid, &message),
                    // The owner wants no more of this connection.
                    None => return Ok(()),
                },
                read = reader.read(&mut bytes), if reads => match read? {
                    0 => return Ok(()),
                    n => self.session.handle_bytes(self.owner.clock.now(), &bytes[..n]),
                },
                slot = slot(&self.owner.requests, &self.credits), if !self.gathered.is_empty() => {
                    let (slot, credit) = slot?;
                    slot.send(self.gathered.take(self.conn, credit));
                }
                () = sleep_until(self.owner.clock, due) => self.session.handle_timeout(self.owner.clock.now()),
            }
        }
    }

    /// Gathers what has arrived, as far as there is room.
    fn gather(&mut self) -> anyhow::Result<()> {
        while self.gathered.has_room() {
            match self.session.poll_event() {
                Some(Event::Established(version)) => self.introduce(version)?,
                Some(Event::Message { xid, message }) => {
                    let head: Box<[u8]> = self.session.last_request().into();
                    self.gathered.size += weight(&message) + head.len();
                    self.gathered.messages.push(Received { xid, message, head });
                }
                Some(Event::Refused { xid, kind }) => {
                    tracing::debug!(peer = self.far.name, ?xid, %kind, "a message was refused");
                }
                Some(Event::Closed(reason)) => return Err(reason.into()),
                None => break,
            }
        }
        Ok(())
    }

    fn introduce(&mut self, version: Version) -> anyhow::Result<()> {
        if let Some(stranger) = self.far.stranger.take() {
            match stranger.admit() {
                Ok(place) => self.place = Some(place),
                Err(refusal) => {
                    let error = openflow::Error::new(HelloFailed::Eperm);
                    self.send(
                        Xid(0),
                        &Message::Error(openflow::Error { data: refusal.to_string().into(), ..error }),
                    );
                    return Err(refusal.into());
                }
            }
        }
        tracing::debug!(peer = self.far.name, ?version, "connected");
        let (sender, outbox) = mpsc::unbounded_channel();
        self.outbox = Some(outbox);
        self.gathered.peer = Some(Peer {
            name: self.far.name.clone(),
            version,
            since: self.owner.clock.now(),
            certificate: self.far.certificate.take(),
            service: self.far.service,
            auxiliary: self.far.auxiliary,
            sender,
            account: self.account.clone(),
            queue: Queue::default(),
        });
        // Before 1.3 a controller is sent what no flow matched, without asking.
        if version < Version::V13 {
            let misses = AsyncChange { misses: Some(true), ..AsyncChange::default() };
            let message = Message::SetAsync(misses);
            self.gathered.messages.push(Received { xid: Xid(0), message, head: Box::default() });
        }
        if let Some(established) = self.far.established.take() {
            // Whoever wanted to know may be gone.
            let _ = established.send((self.conn, version));
        }
        Ok(())
    }

    /// What was said before the end counts; then the owner hears of the end. An owner that is gone needs no word.
    async fn leave(mut self) {
        if self.outbox.take().is_none() {
            return;
        }
        self.account.close();
        while !self.gathered.is_empty() {
            let Ok((slot, credit)) = slot(&self.owner.requests, &self.credits).await else { return };
            slot.send(self.gathered.take(self.conn, credit));
        }
        // Not before the owner has handled what it has: it would forget the connection and its messages.
        let all = u32::try_from(CREDITS).unwrap_or(1);
        let _all = tokio::time::timeout(LAST_BURSTS, self.credits.acquire_many(all)).await;
        let _ = self.owner.requests.send(Request::Disconnected(self.conn)).await;
    }

    /// Queues a message and what waits behind it.
    fn send_burst(&mut self, xid: Xid, message: &Message) {
        let mut taken = weight(message);
        self.send(xid, message);
        for _ in 0..BURST {
            let Some(Ok((xid, message))) = self.outbox.as_mut().map(mpsc::UnboundedReceiver::try_recv) else {
                break;
            };
            taken += weight(&message);
            self.send(xid, &message);
        }
        self.account.update(taken, self.session.backlog());
    }

    fn send(&mut self, xid: Xid, message: &Message) {
        if let Err(error) = self.session.send(xid, message) {
            tracing::debug!(peer = self.far.name, %error, "a message was not sent");
        }
    }
}

/// A place in the owner's inbox, and leave to use it.
async fn slot(
    requests: &mpsc::Sender<Request>,
    credits: &Arc<Semaphore>,
) -> anyhow::Result<(mpsc::OwnedPermit<Request>, OwnedSemaphorePermit)> {
    let credit = credits.clone().acquire_owned().await?;
    Ok((requests.clone().reserve_owned().await?, credit))
}

/// The next message of the owner; never, before the owner knows the connection.
async fn receive(outbox: &mut Option<Outbox>) -> Option<(Xid, Message)> {
    match outbox {
        Some(outbox) => outbox.recv().await,
        None => std::future::pending().await,
    }
}

/// Sleeps until a moment of `clock`; forever if there is none.
pub async fn sleep_until(clock: Clock, due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(clock.to_std(due).into()).await,
        None => std::future::pending().await,
    }
}
