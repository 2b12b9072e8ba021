//! OpenFlow: no bytes make the codec or a session panic, and what is read is written and read again the same.

use openflow::{Message, Session, SessionConfig, Side, Version, codec};
use packet::Instant;

/// The bytes are one message, and the stream of a session.
pub fn openflow_decode(data: &[u8]) {
    if let Ok((xid, message)) = codec::decode(Version::V13, data) {
        let mut out = Vec::new();
        if codec::encode(Version::V13, xid, &message, &mut out).is_ok() && !is_split(&out) {
            let again = codec::decode(Version::V13, &out);
            assert_eq!(again.as_ref(), Ok(&(xid, message)), "what was written is read");
        }
    }
    for side in [Side::Switch, Side::Controller] {
        stream(side, data);
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
    codec::encode(Version::V13, openflow::Xid(1), &greeting, &mut hello).expect("a hello is short");
    session.handle_bytes(now, &hello);
    for piece in data.chunks(7) {
        session.handle_bytes(now, piece);
        while session.poll_event().is_some() {}
    }
}
