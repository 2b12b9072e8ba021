//! Connections made and accepted.

use std::sync::Arc;
use std::time::Duration;

use dataplane::Clock;
use openflow::Version;
use tokio::sync::mpsc;

use super::Target;
use super::connection::{Far, serve};
use super::owner::Request;
use crate::channel::{self, Listener, MAX_CONNECTIONS, Tls};

/// Wait before the second attempt; each after that waits twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Connects to a controller, again whenever that ends.
pub async fn keep_connected(
    target: Target,
    (versions, tls): (Vec<Version>, Option<Arc<Tls>>),
    owner: mpsc::Sender<Request>,
    clock: Clock,
) {
    let mut wait = FIRST_WAIT;
    // Said once, not at each attempt.
    let mut told = String::new();
    while !owner.is_closed() {
        let established = attempt((&target, &versions, tls.as_deref()), &owner, clock, &mut told).await;
        if established {
            wait = FIRST_WAIT;
            told.clear();
        }
        // Half of the wait is left to chance, so that switches do not come back all at once.
        tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection to its end; whether it came to be.
async fn attempt(
    (target, versions, tls): (&Target, &[Version], Option<&Tls>),
    owner: &mpsc::Sender<Request>,
    clock: Clock,
    told: &mut String,
) -> bool {
    match target {
        Target::Pipe(connector) => {
            serve(connector.connect(), far("in process".to_owned(), versions), owner.clone(), clock).await
        }
        Target::Net(target) => match channel::connect(target, tls).await {
            Ok(stream) => serve(stream, far(target.to_string(), versions), owner.clone(), clock).await,
            Err(error) => {
                let error = format!("{error:#}");
                if *told != error {
                    tracing::warn!(%target, "no connection to the controller: {error}");
                    *told = error;
                }
                false
            }
        },
    }
}

/// A controller that we connect to.
fn far(name: String, versions: &[Version]) -> Far {
    Far { versions: versions.to_vec(), name, service: false }
}

/// Serves whoever connects to us.
pub async fn accept(listener: Listener, versions: Vec<Version>, owner: mpsc::Sender<Request>, clock: Clock) {
    channel::accept(listener, MAX_CONNECTIONS, move |stream, name| {
        let (owner, versions) = (owner.clone(), versions.clone());
        async move {
            serve(stream, Far { versions, name, service: true }, owner, clock).await;
        }
    })
    .await;
}
