//! A controller written by hand: bytes as OpenFlow 1.3.5 and 1.4 have them.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const SOON: Duration = Duration::from_secs(20);

const HELLO: u8 = 0;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const BARRIER_REQUEST: u8 = 20;
const BARRIER_REPLY: u8 = 21;

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfMessage {
    /// Its type (§7.1).
    pub kind: u8,
    /// Its transaction.
    pub xid: u32,
    /// What is behind the header.
    pub body: Vec<u8>,
}

impl OfMessage {
    /// Type and code of an error message (§7.4.4).
    pub fn error(&self) -> Option<(u16, u16)> {
        let [a, b, c, d] = *self.body.first_chunk()?;
        (self.kind == 1).then_some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }
}

/// The controller's end of a connection that a switch has made.
#[derive(Debug)]
pub struct OfController {
    stream: TcpStream,
    version: u8,
    last_xid: u32,
}

impl OfController {
    /// Waits for a switch and agrees on `version`: 4 for 1.3, 5 for 1.4.
    ///
    /// # Panics
    /// When what comes is no hello.
    pub fn accept(listener: &TcpListener, version: u8) -> Self {
        let (stream, _) = listener.accept().expect("a listener accepts");
        stream.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
        let mut controller = Self { stream, version, last_xid: 0 };
        controller.send(HELLO, &[]);
        assert_eq!(controller.read().expect("a switch says hello").kind, HELLO);
        controller
    }

    /// Sends a message; its transaction.
    ///
    /// # Panics
    /// When the switch has gone.
    pub fn send(&mut self, kind: u8, body: &[u8]) -> u32 {
        self.last_xid += 1;
        self.write(kind, self.last_xid, body).expect("the switch is there");
        self.last_xid
    }

    fn write(&mut self, kind: u8, xid: u32, body: &[u8]) -> io::Result<()> {
        let size = u16::try_from(8 + body.len()).expect("a message is short").to_be_bytes();
        let header = [&[self.version, kind][..], &size, &xid.to_be_bytes()].concat();
        self.stream.write_all(&[&header[..], body].concat())
    }

    fn read(&mut self) -> io::Result<OfMessage> {
        let mut header = [0; 8];
        self.stream.read_exact(&mut header)?;
        let [_, kind, high, low, xid @ ..] = header;
        let size = usize::from(u16::from_be_bytes([high, low]));
        let mut body = vec![0; size.checked_sub(8).expect("a message has a header")];
        self.stream.read_exact(&mut body)?;
        Ok(OfMessage { kind, xid: u32::from_be_bytes(xid), body })
    }

    /// The next message; echo requests are answered meanwhile.
    ///
    /// # Panics
    /// When none comes.
    pub fn receive(&mut self) -> OfMessage {
        loop {
            let message = self.read().expect("the switch says something");
            if message.kind != ECHO_REQUEST {
                return message;
            }
            self.write(ECHO_REPLY, message.xid, &message.body).expect("the switch is there");
        }
    }

    /// The answer to a request.
    ///
    /// # Panics
    /// When none comes.
    pub fn ask(&mut self, kind: u8, body: &[u8]) -> OfMessage {
        let xid = self.send(kind, body);
        loop {
            let message = self.receive();
            if message.xid == xid {
                return message;
            }
        }
    }

    /// Everything that came up to now, and an answer to everything that was asked.
    ///
    /// # Panics
    /// When the barrier is not answered.
    pub fn everything(&mut self) -> Vec<OfMessage> {
        let xid = self.send(BARRIER_REQUEST, &[]);
        let mut all = Vec::new();
        loop {
            match self.receive() {
                message if message.kind == BARRIER_REPLY && message.xid == xid => return all,
                message => all.push(message),
            }
        }
    }
}
