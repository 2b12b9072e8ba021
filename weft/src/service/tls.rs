//! HTTPS: connections that have come through their handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Most handshakes at a time; the oldest goes for one more.
const MAX_HANDSHAKES: usize = 64;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Accepts TCP connections and does the handshakes beside each other, so that a slow one keeps nobody waiting.
#[derive(Debug)]
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    place: SocketAddr,
    task: JoinHandle<()>,
}

impl TlsListener {
    /// Serves `listener` with these keys.
    ///
    /// # Errors
    /// A listener without an address.
    pub fn new(listener: TcpListener, keys: Arc<ServerConfig>) -> io::Result<Self> {
        let place = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(1);
        Ok(Self { ready, place, task: tokio::spawn(accept(listener, keys.into(), sender)) })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut handshakes = JoinSet::new();
    let mut order = std::collections::VecDeque::new();
    loop {
        // That of axum, which sleeps over errors.
        let (stream, peer) = Listener::accept(&mut listener).await;
        while handshakes.try_join_next().is_some() {}
        order.retain(|task: &tokio::task::AbortHandle| !task.is_finished());
        if order.len() >= MAX_HANDSHAKES
            && let Some(oldest) = order.pop_front()
        {
            oldest.abort();
        }
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        order.push_back(handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                // Without a receiver the server is gone.
                Ok(Ok(stream)) => drop(ready.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        }));
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task ends with this listener alone.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.place)
    }
}
