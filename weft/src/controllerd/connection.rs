//! One connection of a switch: bytes to messages and back, with the session of the `openflow` crate.

use std::sync::Arc;

use controller::{ConnId, Outgoing};
use openflow::{Event, Message, Session, SessionConfig, Side, Xid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::clock;
use super::hub::Hub;
use super::outbox::{self, outbox};
use crate::channel::{Place, Stranger, write};

/// How long the last words may take.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);
/// Messages that the hub takes at a time: it serves one connection meanwhile.
const TOGETHER: usize = 64;
/// Messages taken from the hub before the transport gets its turn.
const BURST: usize = 1024;
/// Bytes read at a time: what they bring is answered before more is read, so the first does not wait for many others.
const READ: usize = 16 << 10;

/// Serves one connection to its end; a stranger is admitted once the versions are agreed.
pub async fn serve(
    hub: Arc<Hub>,
    stream: impl AsyncRead + AsyncWrite,
    peer: String,
    stranger: Option<Stranger>,
) {
    let session = Session::new(clock::now(), Side::Controller, SessionConfig::default());
    let (reader, writer) = tokio::io::split(stream);
    tokio::pin!(reader, writer);
    let mut connection = Connection {
        hub,
        session,
        peer,
        conn: None,
        stranger,
        place: None,
        received: vec![],
        sending: vec![],
    };
    match connection.run(&mut reader, &mut writer).await {
        Ok(()) => tracing::debug!(peer = connection.peer, "the switch closed the connection"),
        Err(error) => tracing::info!(peer = connection.peer, "connection of a switch ended: {error:#}"),
    }
    // What is left to say, an error perhaps; the peer may not be there to hear it.
    if let Some(rest) = connection.session.poll_transmit() {
        let last_words = async {
            writer.write_all(rest).await?;
            writer.flush().await
        };
        let _ = tokio::time::timeout(FAREWELL, last_words).await;
    }
    if let Some(conn) = connection.conn {
        connection.hub.disconnected(conn);
    }
}

struct Connection {
    hub: Arc<Hub>,
    session: Session,
    peer: String,
    conn: Option<ConnId>,
    /// There until it is admitted.
    stranger: Option<Stranger>,
    /// Where it is served, if places are counted.
    place: Option<Place>,
    /// Messages that the hub has not been given yet.
    received: Vec<(Xid, Message)>,
    /// Room for messages of the hub on their way into the session.
    sending: Vec<(Xid, Outgoing)>,
}

impl Connection {
    async fn run<R, W>(&mut self, reader: &mut R, writer: &mut W) -> anyhow::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        // Until the versions are agreed the hub knows nothing of the connection and has nothing for it.
        // From then on only the hub holds a sender: when it lets go, the connection is over.
        let (sender, messages) = outbox();
        let mut sender = Some(sender);
        let (mut bytes, mut unflushed) = (vec![0; READ], false);
        let closed = self.hub.closed();
        tokio::pin!(closed);
        loop {
            while let Some(event) = self.session.poll_event() {
                let result = self.event(event, &mut sender);
                if self.received.len() >= TOGETHER || result.is_err() {
                    self.deliver();
                }
                result?;
            }
            self.deliver();
            if !self.take(&messages)? {
                return Ok(());
            }
            let due = self.session.poll_timeout();
            let transmit = self.session.poll_transmit().unwrap_or_default();
            let writing = !transmit.is_empty();
            tokio::select! {
                // What is to be written goes before what more is asked.
                biased;
                () = &mut closed => return Ok(()),
                written = write(writer, transmit), if writing || unflushed => match written? {
                    0 if writing => return Ok(()),
                    n => {
                        unflushed = writing;
                        self.session.handle_transmitted(clock::now(), n);
                    }
                },
                read = reader.read(&mut bytes), if self.session.wants_input() => match read? {
                    0 => return Ok(()),
                    n => self.session.handle_bytes(clock::now(), &bytes[..n]),
                },
                () = messages.ready() => {}
                () = clock::sleep_until(due) => self.session.handle_timeout(clock::now()),
            }
        }
    }

    fn event(&mut self, event: Event, sender: &mut Option<outbox::Sender>) -> anyhow::Result<()> {
        match (event, self.conn) {
            (Event::Established(version), None) => {
                if let Some(stranger) = self.stranger.take() {
                    self.place = Some(stranger.admit()?);
                }
                if let Some(sender) = sender.take() {
                    tracing::debug!(peer = self.peer, ?version, "a switch connected");
                    self.conn = Some(self.hub.connected(self.peer.clone(), sender));
                }
            }
            (Event::Message { xid, message }, Some(_)) => self.received.push((xid, message)),
            (Event::Refused { xid, kind }, _) => {
                tracing::warn!(peer = self.peer, ?xid, %kind, "a message of the switch makes no sense");
            }
            (Event::Closed(reason), _) => return Err(reason.into()),
            (Event::Established(_) | Event::Message { .. }, _) => {}
        }
        Ok(())
    }

    /// Hands on what was received.
    fn deliver(&mut self) {
        if let Some(conn) = self.conn
            && !self.received.is_empty()
        {
            self.hub.messages(conn, self.received.drain(..));
        }
    }

    /// Takes over what the hub has. False: nothing more will come.
    fn take(&mut self, messages: &outbox::Receiver) -> anyhow::Result<bool> {
        let goes_on = messages.take(BURST, &mut self.sending);
        for (xid, message) in self.sending.drain(..) {
            self.session.send(xid, &message.into_message(xid))?;
        }
        Ok(goes_on)
    }
}
