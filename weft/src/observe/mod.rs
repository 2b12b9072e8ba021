//! What runs, made visible: statistics of nodes and workers, `weft top`, metrics for Prometheus, mirrors of ports and
//! traces of real frames.
//!
//! Nodes answer with [`controller_api::Stats`]; everything here is made from that shape, whoever asks.

pub mod metrics;
pub mod mirror;
pub mod mirror_command;
pub mod nodes;
pub mod top;
pub mod workers;

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// An answer to Prometheus.
pub fn exposition(text: String) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
