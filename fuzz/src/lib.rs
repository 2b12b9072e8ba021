//! What each fuzz target does with its bytes, as plain functions: the targets call them, and so does a reader who
//! wants to replay a finding in a debugger (`cargo run --example replay -- TARGET FILE`).

mod frames;
mod messages;
mod text;

pub use frames::frames;
pub use messages::openflow_decode;
pub use text::flow_text;

/// Every target by name.
pub const TARGETS: &[(&str, fn(&[u8]))] =
    &[("frames", frames), ("openflow_decode", openflow_decode), ("flow_text", flow_text)];
