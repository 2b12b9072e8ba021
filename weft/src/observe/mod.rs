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

use std::net::SocketAddr;

use anyhow::Context;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use controller_api::Stats;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::service::serve;

/// Serves `/metrics`, and nothing else, where Prometheus can reach it.
///
/// # Errors
/// An address that cannot be listened on.
pub async fn serve_metrics<F, A>(address: SocketAddr, ask: F) -> anyhow::Result<JoinHandle<()>>
where
    F: Fn() -> A + Clone + Send + Sync + 'static,
    A: Future<Output = anyhow::Result<Stats>> + Send,
{
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!("metrics are on http://{}/metrics", listener.local_addr()?);
    let answer = move || {
        let ask = ask.clone();
        async move {
            match ask().await {
                Ok(stats) => exposition(metrics::text(&[stats])),
                Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")).into_response(),
            }
        }
    };
    let router = axum::Router::new().route("/metrics", axum::routing::get(answer));
    Ok(serve(listener, router))
}

/// An answer to Prometheus.
pub fn exposition(text: String) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
