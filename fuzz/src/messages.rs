//! OpenFlow: no bytes make the codec or a session panic, and what is read is written and read again the same.

use openflow::{Message, Reply, Request, Session, SessionConfig, Side, Version, Xid, codec};
use packet::Instant;

/// The bytes are one message, and the stream of a session.
pub fn openflow_decode(data: &[u8]) {
    if let Ok((xid, message)) = codec::decode(Version::V13, data)
        && let Some(again) = rewritten(xid, &message)
    {
        assert!(again == message || is_mended(&message), "{message:?} became {again:?}");
        assert_eq!(rewritten(xid, &again), Some(again));
    }
    for side in [Side::Switch, Side::Controller] {
        stream(side, data);
    }
}

/// The message after writing and reading it; none if it cannot be written as one.
fn rewritten(xid: Xid, message: &Message) -> Option<Message> {
    let mut out = Vec::new();
    codec::encode(Version::V13, xid, message, &mut out).ok()?;
    if is_split(&out) {
        return None;
    }
    let (read, again) = codec::decode(Version::V13, &out).expect("what was written can be read");
    assert_eq!(read, xid);
    Some(again)
}

/// What may come back different once: names of bytes that are no text or have no end, reasons of later versions.
fn is_mended(message: &Message) -> bool {
    match message {
        Message::PortStatus(_) | Message::PacketIn(_) | Message::FlowRemoved(_) => true,
        Message::MultipartReply(reply) => {
            matches!(reply.body, Reply::Desc(_) | Reply::PortDesc(_) | Reply::TableFeatures(_))
        }
        Message::MultipartRequest(request) => matches!(request.body, Request::TableFeatures(_)),
        _ => false,
    }
}

/// A multipart reply may become longer than one message.
fn is_split(bytes: &[u8]) -> bool {
    codec::Header::parse(bytes).is_some_and(|header| usize::from(header.len) != bytes.len())
}

fn stream(side: Side, data: &[u8]) {
    let now = Instant::from_secs(1);
    let mut session = Session::new(now, side, SessionConfig::default());
    let mut hello = Vec::new();
    let greeting = Message::Hello(openflow::Hello { versions: None });
    codec::encode(Version::V13, Xid(1), &greeting, &mut hello).expect("a hello is short");
    session.handle_bytes(now, &hello);
    for piece in data.chunks(7) {
        session.handle_bytes(now, piece);
        while session.poll_event().is_some() {}
    }
}
