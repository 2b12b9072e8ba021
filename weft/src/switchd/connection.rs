//! One connection: bytes to messages and back, with the session of the `openflow` crate.

use std::time::Duration;

use dataplane::Clock;
use openflow::{AsyncChange, Event, Message, Session, SessionConfig, Side, Version, Xid};
use packet::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use vswitch::ConnId;

use super::owner::{Peer, Received, Request};

/// Bytes read at once.
const READ_SIZE: usize = 64 << 10;
/// Messages that go to the owner at once.
const BURST: usize = 256;
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the owner sends.
pub type Outbox = mpsc::UnboundedReceiver<(Xid, Message)>;

/// Who is at the other end.
#[derive(Debug)]
pub struct Far {
    /// The versions offered to it.
    pub versions: Vec<Version>,
    /// For logs.
    pub name: String,
    /// It connected to us, not we to it.
    pub service: bool,
}

/// Serves one connection to its end; tells whether the sides had agreed on a version.
pub async fn serve<S>(stream: S, far: Far, owner: mpsc::Sender<Request>, clock: Clock) -> bool
where
    S: AsyncRead + AsyncWrite,
{
    let config = SessionConfig { versions: far.versions.clone(), ..SessionConfig::default() };
    let session = Session::new(clock.now(), Side::Switch, config);
    let (reader, writer) = tokio::io::split(stream);
    tokio::pin!(reader, writer);
    let conn = super::owner::next_conn();
    let mut connection = Connection { session, conn, owner, clock, far, outbox: None };
    match connection.run(&mut reader, &mut writer).await {
        Ok(()) => tracing::debug!(peer = connection.far.name, "the peer closed the connection"),
        Err(error) => tracing::info!(peer = connection.far.name, "connection ended: {error:#}"),
    }
    // What is left to say, an error perhaps; the peer may not be there to hear it.
    if let Some(rest) = connection.session.poll_transmit() {
        let _ = tokio::time::timeout(FAREWELL, writer.write_all(rest)).await;
    }
    let established = connection.outbox.is_some();
    if established {
        // An owner that is gone needs no word.
        let _ = connection.owner.send(Request::Disconnected(conn)).await;
    }
    established
}

struct Connection {
    session: Session,
    conn: ConnId,
    owner: mpsc::Sender<Request>,
    clock: Clock,
    far: Far,
    /// There from the moment the versions are agreed.
    outbox: Option<Outbox>,
}

impl Connection {
    async fn run<R, W>(&mut self, reader: &mut R, writer: &mut W) -> anyhow::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut bytes = vec![0; READ_SIZE];
        loop {
            self.hand_over().await?;
            let due = self.session.poll_timeout();
            let reads = self.session.wants_input();
            let transmit = self.session.poll_transmit().unwrap_or_default();
            let writes = !transmit.is_empty();
            tokio::select! {
                written = writer.write(transmit), if writes => match written? {
                    0 => return Ok(()),
                    n => self.session.handle_transmitted(self.clock.now(), n),
                },
                message = receive(&mut self.outbox) => match message {
                    Some((xid, message)) => self.send_burst(xid, &message),
                    // The owner wants no more of this connection.
                    None => return Ok(()),
                },
                read = reader.read(&mut bytes), if reads => match read? {
                    0 => return Ok(()),
                    n => self.session.handle_bytes(self.clock.now(), &bytes[..n]),
                },
                () = sleep_until(self.clock, due) => self.session.handle_timeout(self.clock.now()),
            }
        }
    }

    /// Gives the owner what has arrived, a burst at a time; waits while the owner is busy.
    async fn hand_over(&mut self) -> anyhow::Result<()> {
        loop {
            let mut burst = Vec::new();
            while burst.len() < BURST {
                match self.session.poll_event() {
                    Some(Event::Established(version)) => {
                        tracing::debug!(peer = self.far.name, ?version, "connected");
                        let (sender, outbox) = mpsc::unbounded_channel();
                        self.outbox = Some(outbox);
                        let (name, service) = (self.far.name.clone(), self.far.service);
                        let peer = Peer { name, service, sender };
                        self.owner.send(Request::Connected { conn: self.conn, peer }).await?;
                        // Before 1.3 a controller is sent what no flow matched, without asking.
                        if version < Version::V13 {
                            let misses = AsyncChange { misses: Some(true), ..AsyncChange::default() };
                            let message = Message::SetAsync(misses);
                            burst.push(Received { xid: Xid(0), message, head: Box::default() });
                        }
                    }
                    Some(Event::Message { xid, message }) => {
                        burst.push(Received { xid, message, head: self.session.last_request().into() });
                    }
                    Some(Event::Refused { xid, kind }) => {
                        tracing::debug!(peer = self.far.name, ?xid, %kind, "a message was refused");
                    }
                    Some(Event::Closed(reason)) => return Err(reason.into()),
                    None => break,
                }
            }
            if burst.is_empty() {
                return Ok(());
            }
            self.owner.send(Request::Messages { conn: self.conn, burst }).await?;
        }
    }

    /// Queues a message and what waits behind it.
    fn send_burst(&mut self, xid: Xid, message: &Message) {
        self.send(xid, message);
        for _ in 0..BURST {
            let Some(Ok((xid, message))) = self.outbox.as_mut().map(mpsc::UnboundedReceiver::try_recv) else {
                return;
            };
            self.send(xid, &message);
        }
    }

    fn send(&mut self, xid: Xid, message: &Message) {
        if let Err(error) = self.session.send(xid, message) {
            tracing::debug!(peer = self.far.name, %error, "a message was not sent");
        }
    }
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
