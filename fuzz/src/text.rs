//! Flows as text: no text makes the reader panic, and what is read is written and read again the same.

use openflow::text::{parse_actions, parse_flow, parse_flow_stats_request, parse_match};

/// The bytes are a flow.
pub fn flow_text(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let _ = (parse_actions(text), parse_flow_stats_request(text));
    if let Ok(matches) = parse_match(text) {
        let written = matches.to_string();
        assert_eq!(parse_match(&written).as_ref(), Ok(&matches), "{text:?} was written {written:?}");
    }
    if let Ok(flow) = parse_flow(text) {
        let written = flow.to_string();
        assert_eq!(parse_flow(&written).as_ref(), Ok(&flow), "{text:?} was written {written:?}");
    }
}

pub fn describe(data: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(data))
}
