//! OpenFlow: no bytes make the codec or a session panic, and what is read is written and read again the same.

use openflow::{Message, Session, SessionConfig, Side, Version, Xid, codec};
use packet::Instant;

/// The first byte says which version, whether version and length of the message are put right first, and how the stream
/// is cut. The rest is one message, and the stream of a session.
pub fn codec(data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let version = version(how);
    let mut bytes = bytes.to_vec();
    if how & 4 == 0 && bytes.len() >= codec::HEADER_LEN {
        bytes.truncate(codec::MAX_LEN);
        let len = (bytes.len() as u16).to_be_bytes();
        bytes[0] = version.number();
        bytes[2..4].copy_from_slice(&len);
    }
    one_message(version, &bytes);
    for side in [Side::Switch, Side::Controller] {
        stream(side, version, &bytes, usize::from(how >> 3) + 1);
    }
}

fn version(how: u8) -> Version {
    [Version::V13, Version::V14, Version::V10, Version::V13][usize::from(how & 3)]
}

pub fn describe(data: &[u8]) -> String {
    let Some((&how, bytes)) = data.split_first() else { return "nothing".to_owned() };
    format!("version {:?}, {how:#04x}, message {bytes:02x?}", version(how))
}

fn one_message(version: Version, bytes: &[u8]) {
    if let Ok((xid, message)) = codec::decode(version, bytes)
        && let Some(again) = rewritten(version, xid, &message)
    {
        assert!(again == message || is_mended(&message), "{message:?} became {again:?}");
        assert_eq!(rewritten(version, xid, &again), Some(again));
    }
}

/// The message after writing and reading it; none if it cannot be written as one.
fn rewritten(version: Version, xid: Xid, message: &Message) -> Option<Message> {
    let mut out = Vec::new();
    codec::encode(version, xid, message, &mut out).ok()?;
    if is_split(&out) {
        return None;
    }
    let read = codec::decode(version, &out);
    let (read_xid, again) = read.unwrap_or_else(|e| panic!("{message:?} was written and not read: {e}"));
    assert_eq!(read_xid, xid);
    Some(again)
}

/// What may come back different once: reasons of later versions, errors that a version has another number for.
fn is_mended(message: &Message) -> bool {
    matches!(message, Message::Error(_) | Message::PacketIn(_) | Message::FlowRemoved(_))
}

/// A multipart reply may become longer than one message.
fn is_split(bytes: &[u8]) -> bool {
    codec::Header::parse(bytes).is_some_and(|header| usize::from(header.len) != bytes.len())
}

fn stream(side: Side, version: Version, data: &[u8], piece: usize) {
    let now = Instant::from_secs(1);
    let versions = vec![Version::V10, Version::V13, Version::V14];
    let mut session = Session::new(now, side, SessionConfig { versions, ..SessionConfig::default() });
    let hello = [version.number(), 0, 0, 8, 0, 0, 0, 1];
    session.handle_bytes(now, &hello);
    for piece in data.chunks(piece) {
        session.handle_bytes(now, piece);
        while session.poll_event().is_some() {}
        let n_sent = session.poll_transmit().map_or(0, <[u8]>::len);
        session.handle_transmitted(now, n_sent);
    }
}
