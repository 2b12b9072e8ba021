//! A configuration made ready for forwarding; never changed once it is published.

#[derive(Debug, Default)]
pub(crate) struct Snapshot {}
