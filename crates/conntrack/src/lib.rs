//! Connection tracking and NAT bindings.
