//! A connection to a switch: requests go out, replies and errors come back, matched by transaction.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail};
use dataplane::Clock;
use openflow::text::Printed;
use openflow::{
    Error, Event, Message, MultipartReply, MultipartRequest, Reply, Request, Session, SessionConfig, Side,
    Version, Xid,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::switchd::sleep_until;

/// Bytes read at once.
const READ_SIZE: usize = 256 << 10;
/// Bytes that may wait to be written before more are queued.
const WRITE_LIMIT: usize = 1 << 20;
/// A switch that commits a large bundle answers nothing else meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// What carries the bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection on which a version is agreed.
pub struct Link {
    session: Session,
    stream: Box<dyn Stream>,
    clock: Clock,
    version: Version,
    target: String,
    buffer: Vec<u8>,
}

/// The switch answered a request with an error.
#[derive(Debug)]
pub struct Refusal {
    version: Version,
    /// Of the request.
    pub xid: Xid,
    /// What it said.
    pub error: Error,
}

impl fmt::Display for Refusal {
    /// As ovs-ofctl prints it: the error, and the request as far as the switch quoted it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = Message::Error(self.error.clone());
        f.write_str(Printed::new(self.version, self.xid, &message).to_string().trim_end())
    }
}

impl std::error::Error for Refusal {}

impl Link {
    /// Agrees on one of `versions` over `stream`. `target` is for messages.
    ///
    /// # Errors
    /// The peer speaks none of them, or no OpenFlow.
    pub async fn open(stream: Box<dyn Stream>, target: &str, versions: &[Version]) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let config = SessionConfig {
            versions: versions.to_vec(),
            echo_interval: PATIENCE,
            echo_timeout: PATIENCE,
            ..SessionConfig::default()
        };
        let session = Session::new(clock.now(), Side::Controller, config);
        let mut link = Self {
            session,
            stream,
            clock,
            version: Version::V13,
            target: target.to_owned(),
            buffer: vec![0; READ_SIZE],
        };
        match link.event().await {
            Ok(Event::Established(version)) => {
                link.version = version;
                // The peer's hello may have come before ours went out, and it does not wait for ever.
                while link.session.backlog() > 0 {
                    link.step().await?;
                }
                Ok(link)
            }
            Ok(other) => bail!("{target}: {other:?} before the versions are agreed"),
            Err(error) => Err(error),
        }
    }

    /// The version agreed on.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whom this is to.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Queues a request; it goes out while replies are awaited.
    ///
    /// # Errors
    /// The version cannot say it.
    pub fn send(&mut self, message: &Message) -> anyhow::Result<Xid> {
        let xid = self.session.allocate_xid();
        self.send_as(xid, message).map(|()| xid)
    }

    /// A transaction id for [`Link::send_as`].
    pub fn allocate_xid(&mut self) -> Xid {
        self.session.allocate_xid()
    }

    /// As [`Link::send`], under a transaction id chosen before.
    ///
    /// # Errors
    /// The version cannot say it.
    pub fn send_as(&mut self, xid: Xid, message: &Message) -> anyhow::Result<()> {
        let version = self.version;
        let sent = self.session.send(xid, message);
        sent.with_context(|| format!("{} cannot be asked over {}", self.target, version_name(version)))
    }

    /// So much waits to be written that the caller should let some of it go: see [`Link::drain`].
    pub fn is_full(&self) -> bool {
        self.session.backlog() > WRITE_LIMIT
    }

    /// Writes until little waits; gives the errors that come meanwhile.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn drain(&mut self) -> anyhow::Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        while self.session.backlog() > WRITE_LIMIT / 2 {
            if let Some(event) = self.step().await? {
                refusals.extend(self.refusal(event));
            }
        }
        Ok(refusals)
    }

    /// The next event, however long it takes.
    ///
    /// # Errors
    /// The connection broke or the session ended.
    pub async fn event(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(event) = self.step().await? {
                return Ok(event);
            }
        }
    }

    /// An event that is there, or some progress.
    async fn step(&mut self) -> anyhow::Result<Option<Event>> {
        match self.session.poll_event() {
            Some(Event::Closed(reason)) => {
                return Err(anyhow::Error::from(reason).context(self.target.clone()));
            }
            Some(event) => return Ok(Some(event)),
            None => {}
        }
        let due = self.session.poll_timeout();
        let transmit = self.session.poll_transmit().unwrap_or_default();
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        tokio::select! {
            written = writer.write(transmit), if !transmit.is_empty() => {
                let n = written.with_context(|| format!("talking to {}", self.target))?;
                self.session.handle_transmitted(self.clock.now(), n);
            }
            read = reader.read(&mut self.buffer) => match read {
                Ok(0) => bail!("{}: the switch closed the connection", self.target),
                Ok(n) => self.session.handle_bytes(self.clock.now(), &self.buffer[..n]),
                Err(error) => return Err(error).with_context(|| format!("talking to {}", self.target)),
            },
            () = sleep_until(self.clock, due) => self.session.handle_timeout(self.clock.now()),
        }
        Ok(None)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// A [`Refusal`] if that is an error; the connection broke.
    pub async fn ask(&mut self, message: &Message) -> anyhow::Result<(Xid, Message)> {
        let xid = self.send(message)?;
        loop {
            match self.event().await? {
                Event::Message { xid: of, message: Message::Error(error) } if of == xid => {
                    bail!(Refusal { version: self.version, xid, error })
                }
                Event::Message { xid: of, message } if of == xid => return Ok((xid, message)),
                Event::Refused { xid: of, kind } if of == xid => {
                    bail!("{}: its answer cannot be understood: {kind}", self.target)
                }
                _ => {}
            }
        }
    }

    /// Asks a multipart request; the parts of the answer are put together.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub async fn multipart(&mut self, body: Request) -> anyhow::Result<(Xid, Reply)> {
        let request = Message::MultipartRequest(MultipartRequest { more: false, body });
        match self.ask(&request).await? {
            (xid, Message::MultipartReply(MultipartReply { body, .. })) => Ok((xid, body)),
            (_, other) => bail!("{}: an answer of the wrong kind: {other:?}", self.target),
        }
    }

    /// Waits until everything sent so far is done; gives the errors that came meanwhile, by transaction.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn barrier(&mut self) -> anyhow::Result<BTreeMap<Xid, Refusal>> {
        let mut refusals = BTreeMap::new();
        let barrier = self.send(&Message::BarrierRequest)?;
        loop {
            match self.event().await? {
                Event::Message { xid, message: Message::BarrierReply } if xid == barrier => {
                    return Ok(refusals);
                }
                event => refusals.extend(self.refusal(event).map(|refusal| (refusal.xid, refusal))),
            }
        }
    }

    /// The event as an error, if it is one.
    pub fn refusal(&self, event: Event) -> Option<Refusal> {
        match event {
            Event::Message { xid, message: Message::Error(error) } => {
                Some(Refusal { version: self.version, xid, error })
            }
            _ => None,
        }
    }
}

/// As the option `-O` has it.
pub fn version_name(version: Version) -> &'static str {
    match version {
        Version::V10 => "OpenFlow10",
        Version::V13 => "OpenFlow13",
        Version::V14 => "OpenFlow14",
    }
}
