//! Connections accepted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::admission::{Hall, Stranger};
use super::stream::{Stream, accepted};
use super::{Listen, Tls, Transport};

/// Most connections at a time to one listener.
pub const MAX_CONNECTIONS: usize = 64;
/// Pause after an error of the listener itself, such as that no descriptors are left.
const PAUSE: Duration = Duration::from_millis(250);
/// Strangers that had to go are told of this often.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// Listens, plain or with TLS.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<Tls>>,
}

impl Listener {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address cannot be listened on, or TLS is wanted and there are no keys.
    pub async fn bind(listen: Listen, tls: Option<&Arc<Tls>>) -> anyhow::Result<Self> {
        let tls = match listen.transport {
            Transport::Tcp => None,
            Transport::Tls => Some(Tls::needed(tls, &listen)?.clone()),
        };
        let tcp =
            TcpListener::bind(listen.addr).await.with_context(|| format!("cannot listen on {listen}"))?;
        Ok(Self { tcp, tls })
    }

    /// Where it listens, with the port that was found.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn place(&self) -> anyhow::Result<Listen> {
        let transport = if self.tls.is_some() { Transport::Tls } else { Transport::Tcp };
        Ok(Listen { transport, addr: self.tcp.local_addr()? })
    }

    /// The next connection before any handshake.
    #[cfg(test)]
    pub async fn accept_one(&self) -> (tokio::net::TcpStream, std::net::SocketAddr) {
        self.tcp.accept().await.expect("a connection")
    }
}

/// Accepts connections for ever, and serves at most `limit` at a time; they end when this ends. `serve` has a connection
/// admitted when it has said hello.
pub async fn accept<F, Served>(listener: Listener, limit: usize, serve: F)
where
    F: Fn(Stream, String, Stranger) -> Served + Clone + Send + 'static,
    Served: Future<Output = ()> + Send + 'static,
{
    let hall = Hall::new(limit);
    let mut connections = tokio::task::JoinSet::new();
    let mut crowd = Crowd::default();
    loop {
        while connections.try_join_next().is_some() {}
        let (tcp, peer) = match listener.tcp.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Those connected go on, and may free what is missing.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (stranger, expulsion, crowded_out) = hall.enter().await;
        if crowded_out {
            crowd.tell(&peer);
        }
        let (tls, serve) = (listener.tls.clone(), serve.clone());
        let served = async move {
            match accepted(tcp, tls.as_deref()).await {
                Ok(stream) => {
                    let scheme = if tls.is_some() { Transport::Tls } else { Transport::Tcp };
                    serve(stream, format!("{scheme}:{peer}"), stranger).await;
                }
                Err(error) => tracing::warn!(%peer, "refused a connection: {error:#}"),
            }
        };
        connections.spawn(async move {
            tokio::select! {
                () = served => {}
                () = expulsion.wait() => tracing::debug!(%peer, "closed a connection that did not say hello in time"),
            }
        });
    }
}

/// Counts strangers that went for others, and tells of it now and then.
#[derive(Default)]
struct Crowd {
    n: u64,
    told: Option<Instant>,
}

impl Crowd {
    fn tell(&mut self, peer: &std::net::SocketAddr) {
        self.n += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL) {
            self.told = Some(Instant::now());
            let n_closed = self.n;
            tracing::warn!(%peer, n_closed, "many connections do not say hello: the oldest of them are closed");
        }
    }
}
