//! Connections made and accepted.

use std::sync::Arc;
use std::time::Duration;

use dataplane::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::Target;
use super::connection::{Far, serve};
use super::owner::Request;

/// Wait before the second attempt; each after that waits twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Time for a TCP connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most connections accepted at a time by one listener; others wait in the kernel.
const MAX_ACCEPTED: usize = 64;

/// Connects to a controller, again whenever that ends.
pub async fn keep_connected(target: Target, owner: mpsc::Sender<Request>, clock: Clock) {
    let mut wait = FIRST_WAIT;
    while !owner.is_closed() {
        let established = attempt(&target, &owner, clock).await;
        if established {
            wait = FIRST_WAIT;
        }
        // Half of the wait is left to chance, so that switches do not come back all at once.
        tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection to its end; whether it came to be.
async fn attempt(target: &Target, owner: &mpsc::Sender<Request>, clock: Clock) -> bool {
    match target {
        Target::Pipe(connector) => {
            serve(connector.connect(), far("in process".to_owned()), owner.clone(), clock).await
        }
        Target::Tcp(addr) => {
            let stream = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%addr, %error, "cannot connect to the controller");
                    return false;
                }
                Err(_) => {
                    tracing::debug!(%addr, "the controller does not answer");
                    return false;
                }
            };
            // Replies are small and waited for.
            let _ = stream.set_nodelay(true);
            serve(stream, far(format!("tcp:{addr}")), owner.clone(), clock).await
        }
    }
}

/// A controller that we connect to.
fn far(name: String) -> Far {
    Far { name, service: false }
}

/// Accepts connections for ever.
pub async fn accept(listener: TcpListener, owner: mpsc::Sender<Request>, clock: Clock) {
    let places = Arc::new(Semaphore::new(MAX_ACCEPTED));
    // Ended with this task, which ends with the switch.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let owner = owner.clone();
                connections.spawn(async move {
                    let far = Far { name: format!("tcp:{peer}"), service: true };
                    serve(stream, far, owner, clock).await;
                    drop(place);
                });
            }
            Err(error) => {
                // For instance no descriptors left: others may be freed.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(FIRST_WAIT).await;
            }
        }
    }
}
