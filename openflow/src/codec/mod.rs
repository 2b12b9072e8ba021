//! The bytes of messages (§7). One module for each version; everything else in this crate is the same in all.

mod bundle;
mod lower;
mod port;
mod reader;
mod v10;
mod v13;
mod v14;
mod writer;

use crate::error::BadRequest;
use crate::{Error, ErrorKind, Hello, Message, Version, Xid};
use reader::{Decoded, Reader};
use writer::Put;

/// Bytes of the header that starts every message (§7.1.1).
pub const HEADER_LEN: usize = 8;
/// Bytes of the longest message.
pub const MAX_LEN: usize = 0xffff;
/// How much of a refused message goes into the error reply. The standard wants at least 64 bytes.
pub const ERROR_DATA_LEN: usize = 1024;

/// The number of an error message, which never deserves an error reply.
const TYPE_HELLO: u8 = 0;
const TYPE_ERROR: u8 = 1;

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Longer than 65,535 bytes, or a part of it longer than its length field can say.
    #[error("the message is longer than an OpenFlow message can be")]
    TooLong,
    /// The version has no such message.
    #[error("{0:?} has no such message")]
    NoSuchMessage(Version),
    /// The version has such messages, but a part of this one has no form in it.
    #[error("{0:?} cannot say what is in the message")]
    Inexpressible(Version),
}

/// Why bytes are no message, as the standard wants it said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .error.kind)]
pub struct DecodeError {
    /// Of the message refused.
    pub xid: Xid,
    /// The reply it deserves: type, code and its first bytes.
    pub error: Error,
    /// The refused message was an error itself, and must not be answered by one.
    pub was_error: bool,
}

/// What starts every message (§7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of the version.
    pub version: u8,
    /// Number of the message type.
    pub kind: u8,
    /// Bytes of the message with its header.
    pub len: u16,
    /// Transaction.
    pub xid: Xid,
}

impl Header {
    /// Reads the first 8 bytes; `None` if there are fewer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [version, kind, l0, l1, x0, x1, x2, x3] = *bytes.first_chunk::<HEADER_LEN>()?;
        let len = u16::from_be_bytes([l0, l1]);
        Some(Self { version, kind, len, xid: Xid(u32::from_be_bytes([x0, x1, x2, x3])) })
    }

    /// A hello, whose version need not be the one negotiated.
    pub const fn is_hello(&self) -> bool {
        self.kind == TYPE_HELLO
    }
}

/// Appends a message to `out`; a multipart reply too long for one message becomes several.
///
/// # Errors
/// See [`EncodeError`]; `out` is then as it was.
pub fn encode(version: Version, xid: Xid, message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let result = match (version, message) {
        (_, Message::Hello(hello)) => encode_hello(version, xid, hello, out),
        (Version::V10, _) => v10::encode(xid, message, out),
        (Version::V13, _) => v13::encode(xid, message, out),
        (Version::V14, _) => v14::encode(xid, message, out),
    };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Reads one message, `bytes` being all of it. A hello may be of any version.
///
/// # Errors
/// The error reply the standard wants for it.
pub fn decode(version: Version, bytes: &[u8]) -> Result<(Xid, Message), DecodeError> {
    let header = Header::parse(bytes).ok_or_else(|| refuse(bytes, BadRequest::BadLen.into()))?;
    let message = decode_body(version, header, bytes).map_err(|kind| refuse(bytes, kind))?;
    Ok((header.xid, message))
}

/// Of the start of a message that puts another into a bundle, what is the start of that other: an error about it quotes
/// that (1.4 §7.3.9.7). Of 1.4, or of the extension of 1.3.
pub fn bundled(bytes: &[u8]) -> &[u8] {
    const OF_EXPERIMENTER: u8 = 4;
    let start = match Header::parse(bytes) {
        Some(Header { kind: OF_EXPERIMENTER, .. }) => HEADER_LEN + 16,
        _ => HEADER_LEN + 8,
    };
    bytes.get(start..).unwrap_or_default()
}

fn decode_body(version: Version, header: Header, bytes: &[u8]) -> Decoded<Message> {
    if usize::from(header.len) != bytes.len() {
        return Err(BadRequest::BadLen.into());
    }
    let body = Reader::new(&bytes[HEADER_LEN..], BadRequest::BadLen);
    if header.is_hello() {
        return decode_hello(body).map(Message::Hello);
    }
    match version {
        _ if header.version != version.number() => Err(BadRequest::BadVersion.into()),
        Version::V13 => v13::decode(header.kind, body),
        Version::V14 => v14::decode(header.kind, body),
        Version::V10 => v10::decode(header.kind, body),
    }
}

fn refuse(bytes: &[u8], kind: ErrorKind) -> DecodeError {
    let header = Header::parse(bytes);
    DecodeError {
        xid: header.map_or(Xid(0), |h| h.xid),
        error: Error { kind, data: bytes[..bytes.len().min(ERROR_DATA_LEN)].to_vec() },
        was_error: header.is_some_and(|h| h.kind == TYPE_ERROR),
    }
}

/// Starts a message; its length is set by [`finish`].
fn begin(version: Version, kind: u8, xid: Xid, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.u8(version.number());
    out.u8(kind);
    out.u16(0);
    out.u32(xid.0);
    start
}

fn finish(out: &mut Vec<u8>, start: usize) -> Result<(), EncodeError> {
    out.patch_len(start + 2, start)
}

/// The only element defined: a bitmap of versions (§7.5.1).
const HELLO_VERSIONBITMAP: u16 = 1;

fn encode_hello(version: Version, xid: Xid, hello: &Hello, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = begin(version, TYPE_HELLO, xid, out);
    if let Some(versions) = hello.versions {
        out.u16(HELLO_VERSIONBITMAP);
        out.u16(8);
        out.u32(versions);
    }
    finish(out, start)
}

/// Elements that are not known, or do not parse, are ignored: §7.5.1 wants implementations to accept any hello.
fn decode_hello(mut body: Reader<'_>) -> Decoded<Hello> {
    let mut hello = Hello::default();
    while body.remaining() >= 4 {
        let (kind, len) = (body.u16()?, usize::from(body.u16()?));
        let Some(payload) = len.checked_sub(4).filter(|&n| n <= body.remaining()) else { break };
        let mut element = body.sub(payload, BadRequest::BadLen)?;
        // Elements are padded to 8 bytes, which the length leaves out.
        let padding = (8 - len % 8) % 8;
        body.skip(padding.min(body.remaining()))?;
        if kind == HELLO_VERSIONBITMAP && hello.versions.is_none() {
            hello.versions = element.u32().ok();
        }
    }
    Ok(hello)
}

#[cfg(test)]
pub(crate) mod strategies;
#[cfg(test)]
mod tests;
