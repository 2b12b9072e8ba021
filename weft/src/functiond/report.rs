//! What a function tells about itself: one JSON document.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::engine::Function;

/// The document; `weft function --report FILE` keeps it up to date.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `forward`, `firewall` or `inspect`.
    function: &'static str,
    /// Frames passed from `in` to `out` and back.
    n_inbound: u64,
    n_outbound: u64,
    /// Frames dropped, by reason.
    n_denied_by_default: u64,
    n_malformed: u64,
    /// The rules with the frames each decided.
    rules: Vec<RuleReport>,
    /// Flows in the order of their first frames.
    flows: Vec<FlowReport>,
    /// Frames of flows beyond the most that are kept.
    n_frames_beyond: u64,
}

#[derive(Debug, Serialize)]
struct RuleReport {
    rule: String,
    n_frames: u64,
}

#[derive(Debug, Serialize)]
struct FlowReport {
    direction: String,
    ethertype: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_port: Option<u16>,
    n_frames: u64,
    bytes: u64,
    /// Monotonic clock of the machine, ns: comparable between the functions of a chain.
    first_ns: u64,
    last_ns: u64,
}

impl Report {
    /// The state of `function` now.
    pub fn of(name: &'static str, function: &Function) -> Self {
        let counters = &function.counters;
        let rules = function.rules().iter().zip(&counters.by_rule);
        Self {
            function: name,
            n_inbound: counters.n_inbound,
            n_outbound: counters.n_outbound,
            n_denied_by_default: counters.n_denied_by_default,
            n_malformed: counters.n_malformed,
            rules: rules.map(|(rule, &n_frames)| RuleReport { rule: rule.to_string(), n_frames }).collect(),
            flows: function.flows.in_order().into_iter().map(FlowReport::from).collect(),
            n_frames_beyond: function.flows.n_frames_beyond(),
        }
    }

    /// Replaces `path` in one step, so that a reader never sees half a document.
    ///
    /// # Errors
    /// When the file or its neighbour cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut next = path.as_os_str().to_owned();
        next.push(".next");
        std::fs::write(&next, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&next, path)
    }
}

impl From<(super::flows::Direction, super::flows::FlowKey, super::flows::Seen)> for FlowReport {
    fn from(
        (direction, key, seen): (super::flows::Direction, super::flows::FlowKey, super::flows::Seen),
    ) -> Self {
        Self {
            direction: direction.to_string(),
            ethertype: key.ethertype.to_string(),
            protocol: key.protocol.map(|p| p.0),
            src: key.src.map(|a| a.to_string()),
            dst: key.dst.map(|a| a.to_string()),
            src_port: key.src_port,
            dst_port: key.dst_port,
            n_frames: seen.n_frames,
            bytes: seen.bytes,
            first_ns: seen.first.as_nanos(),
            last_ns: seen.last.as_nanos(),
        }
    }
}
