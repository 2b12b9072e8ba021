//! Types and codes of errors (1.0.1 §5.4.4). 1.0 has few; for each of ours the one that says most of it.

use crate::ErrorKind;
use crate::error::{BadAction, BadRequest, FlowModFailed, PortModFailed, QueueOpFailed};

/// Error types (ofp_error_type).
const HELLO_FAILED: u16 = 0;
const BAD_REQUEST: u16 = 1;
const BAD_ACTION: u16 = 2;
const FLOW_MOD_FAILED: u16 = 3;
const PORT_MOD_FAILED: u16 = 4;
const QUEUE_OP_FAILED: u16 = 5;

/// Codes of OFPET_BAD_REQUEST up to this one are the same in later versions (OFPBRC_BUFFER_UNKNOWN).
const LAST_REQUEST: u16 = 8;
const REQUEST_EPERM: (u16, u16) = (BAD_REQUEST, 5);
const REQUEST_BAD_LEN: (u16, u16) = (BAD_REQUEST, 6);
/// Codes of OFPET_BAD_ACTION up to this one are the same in later versions (OFPBAC_BAD_QUEUE).
const LAST_ACTION: u16 = 8;
const ACTION_BAD_ARGUMENT: (u16, u16) = (BAD_ACTION, 5);

/// Codes of OFPET_FLOW_MOD_FAILED.
const ALL_TABLES_FULL: u16 = 0;
const OVERLAP: u16 = 1;
const FLOW_EPERM: u16 = 2;
const BAD_EMERG_TIMEOUT: u16 = 3;
const BAD_COMMAND: u16 = 4;
const UNSUPPORTED: u16 = 5;

/// Type and code in 1.0.
pub(super) fn numbers(kind: ErrorKind) -> (u16, u16) {
    let (number, code) = kind.numbers();
    match kind {
        ErrorKind::HelloFailed(_) => (HELLO_FAILED, code),
        ErrorKind::BadRequest(request) => bad_request(request, code),
        ErrorKind::BadAction(action) => bad_action(action, code),
        ErrorKind::FlowModFailed(failed) => (FLOW_MOD_FAILED, flow_mod_failed(failed)),
        ErrorKind::PortModFailed(PortModFailed::BadPort) => (PORT_MOD_FAILED, 0),
        ErrorKind::PortModFailed(PortModFailed::BadHwAddr) => (PORT_MOD_FAILED, 1),
        ErrorKind::QueueOpFailed(_) => (QUEUE_OP_FAILED, code),
        ErrorKind::BadMatch(crate::error::BadMatch::BadLen) => REQUEST_BAD_LEN,
        // A match or instruction that the switch cannot do makes a flow that it cannot do.
        ErrorKind::BadMatch(_) | ErrorKind::BadInstruction(_) => (FLOW_MOD_FAILED, UNSUPPORTED),
        ErrorKind::Unknown { .. } => (number, code),
        // What is not there in 1.0 cannot be asked for in it; what is left is a refusal.
        _ => REQUEST_EPERM,
    }
}

fn bad_request(request: BadRequest, code: u16) -> (u16, u16) {
    match request {
        _ if code <= LAST_REQUEST => (BAD_REQUEST, code),
        // A port that is not there, of a packet-out or a statistics request.
        BadRequest::BadPort => (BAD_ACTION, 4),
        BadRequest::BadPacket | BadRequest::MultipartBufferOverflow => REQUEST_BAD_LEN,
        _ => REQUEST_EPERM,
    }
}

fn bad_action(action: BadAction, code: u16) -> (u16, u16) {
    match action {
        _ if code <= LAST_ACTION => (BAD_ACTION, code),
        BadAction::UnsupportedOrder | BadAction::MatchInconsistent => (FLOW_MOD_FAILED, UNSUPPORTED),
        BadAction::BadSetType => (BAD_ACTION, 0),
        BadAction::BadSetLen => (BAD_ACTION, 1),
        _ => ACTION_BAD_ARGUMENT,
    }
}

fn flow_mod_failed(failed: FlowModFailed) -> u16 {
    match failed {
        FlowModFailed::TableFull => ALL_TABLES_FULL,
        FlowModFailed::Overlap => OVERLAP,
        FlowModFailed::BadTimeout => BAD_EMERG_TIMEOUT,
        FlowModFailed::BadCommand => BAD_COMMAND,
        FlowModFailed::Eperm | FlowModFailed::BadTableId => FLOW_EPERM,
        _ => UNSUPPORTED,
    }
}

/// The error with this type and code in 1.0.
pub(super) fn from_numbers(kind: u16, code: u16) -> ErrorKind {
    let later = match (kind, code) {
        (HELLO_FAILED | BAD_REQUEST | BAD_ACTION, _) => ErrorKind::from_numbers(kind, code),
        (FLOW_MOD_FAILED, ALL_TABLES_FULL) => FlowModFailed::TableFull.into(),
        (FLOW_MOD_FAILED, OVERLAP) => FlowModFailed::Overlap.into(),
        (FLOW_MOD_FAILED, FLOW_EPERM) => FlowModFailed::Eperm.into(),
        (FLOW_MOD_FAILED, BAD_EMERG_TIMEOUT) => FlowModFailed::BadTimeout.into(),
        (FLOW_MOD_FAILED, BAD_COMMAND) => FlowModFailed::BadCommand.into(),
        (FLOW_MOD_FAILED, UNSUPPORTED) => BadAction::UnsupportedOrder.into(),
        (PORT_MOD_FAILED, 0) => PortModFailed::BadPort.into(),
        (PORT_MOD_FAILED, 1) => PortModFailed::BadHwAddr.into(),
        (QUEUE_OP_FAILED, 0) => QueueOpFailed::BadPort.into(),
        (QUEUE_OP_FAILED, 1) => QueueOpFailed::BadQueue.into(),
        (QUEUE_OP_FAILED, 2) => QueueOpFailed::Eperm.into(),
        _ => ErrorKind::Unknown { kind, code },
    };
    // Codes that later versions added to the same types are none here.
    if numbers(later) == (kind, code) { later } else { ErrorKind::Unknown { kind, code } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_code_of_10() {
        let codes = [2, 9, 9, 6, 2, 3];
        for &kind in ErrorKind::ALL {
            let (number, code) = numbers(kind);
            let n_codes = codes.get(usize::from(number)).copied().unwrap_or(0);
            assert!(code < n_codes, "{kind}: type {number} code {code}");
        }
        for (number, &n_codes) in codes.iter().enumerate() {
            for code in 0..n_codes {
                let kind = from_numbers(number as u16, code);
                assert_eq!(numbers(kind), (number as u16, code), "{kind}");
                assert!(!matches!(kind, ErrorKind::Unknown { .. }), "type {number} code {code}");
            }
        }
    }
}
