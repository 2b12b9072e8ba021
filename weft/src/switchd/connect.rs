//! Connections made and accepted.

use std::sync::Arc;
use std::time::Duration;

use openflow::{SessionConfig, Version};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use vswitch::ConnId;

use super::attempts::Attempt;
use super::connection::{Far, ToOwner, serve};
use super::owner::Request;
use super::{SwitchSpec, Target};
use crate::channel::{self, Listener};

/// Wait before the second attempt; each after that waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Connects to one controller.
#[derive(Debug, Clone)]
pub struct Caller {
    pub target: Target,
    pub spec: Arc<SwitchSpec>,
    pub owner: ToOwner,
}

/// How long to wait, and what was said about it.
struct Backoff {
    wait: Duration,
    longest: Duration,
    /// The trouble that was told: once, not at each attempt.
    told: String,
}

impl Backoff {
    fn new(longest: Duration) -> Self {
        Self { wait: FIRST_WAIT.min(longest), longest, told: String::new() }
    }

    /// Notes how an attempt went and says how long to wait. Only a connection that lasted longer than the wait before it
    /// begins anew: one that is made and ended at once, by a controller that does not want it, is an attempt that failed.
    fn after(&mut self, who: &str, lasted: Duration, trouble: Option<&String>) -> Duration {
        if lasted > self.wait.max(Duration::from_secs(1)) {
            *self = Self::new(self.longest);
        }
        if let Some(trouble) = trouble.filter(|trouble| **trouble != self.told) {
            tracing::warn!(controller = who, "no connection to the controller: {trouble}");
            self.told.clone_from(trouble);
        }
        // Half of the wait is left to chance, so that switches do not come back all at once.
        let wait = self.wait.mul_f64(rand::random_range(0.5..1.0));
        self.wait = (self.wait * 2).min(self.longest);
        wait
    }
}

impl Caller {
    /// Connects, again whenever that ends.
    pub async fn keep_connected(self) {
        let mut backoff = Backoff::new(self.spec.channel.max_backoff);
        while !self.owner.requests.is_closed() {
            let started = Instant::now();
            let (tell, established) = oneshot::channel();
            let far = Far { established: Some(tell), ..self.far(None) };
            // §6.3.6: auxiliary connections are made behind the main one, and end with it.
            let trouble = tokio::select! {
                trouble = self.attempt(far) => trouble,
                never = self.keep_auxiliaries(established) => never,
            };
            let wait = backoff.after(&self.target.to_string(), started.elapsed(), trouble.as_ref());
            self.wait(false, trouble, wait).await;
        }
    }

    /// Waits for the next attempt, and lets the owner know.
    async fn wait(&self, auxiliary: bool, trouble: Option<String>, wait: Duration) {
        let (target, at) = (self.target.to_string(), self.owner.clock.now());
        // An owner that is gone need not know.
        let _ =
            self.owner.requests.send(Request::Failed(Attempt { target, auxiliary, at, trouble, wait })).await;
        tokio::time::sleep(wait).await;
    }

    /// Never ends by itself.
    async fn keep_auxiliaries(&self, established: oneshot::Receiver<(ConnId, Version)>) -> Option<String> {
        let mut auxiliaries = JoinSet::new();
        if let Ok((main, version)) = established.await {
            // 1.0 knows none.
            let n_auxiliary = if version < Version::V13 { 0 } else { self.spec.channel.n_auxiliary };
            for id in 1..=n_auxiliary {
                let caller = self.clone();
                auxiliaries.spawn(async move {
                    let mut backoff = Backoff::new(caller.spec.channel.max_backoff);
                    loop {
                        let started = Instant::now();
                        let trouble = caller.attempt(caller.far(Some((main, id, version)))).await;
                        let who = format!("{} (auxiliary {id})", caller.target);
                        let wait = backoff.after(&who, started.elapsed(), trouble.as_ref());
                        caller.wait(true, trouble, wait).await;
                    }
                });
            }
        }
        while auxiliaries.join_next().await.is_some() {}
        std::future::pending().await
    }

    fn far(&self, auxiliary: Option<(ConnId, u8, Version)>) -> Far {
        let mut config = self.spec.session_config();
        if let Some((.., version)) = auxiliary {
            config.versions = vec![version];
        }
        let auxiliary = auxiliary.map(|(main, id, _)| (main, id));
        Far { service: false, auxiliary, ..Far::service(self.target.to_string(), config) }
    }

    /// One connection to its end; what was wrong.
    async fn attempt(&self, far: Far) -> Option<String> {
        let ended = match &self.target {
            Target::Pipe(connector) => serve(connector.connect(), far, self.owner.clone()).await,
            Target::Net(target) => match channel::connect(target, self.spec.tls.as_deref()).await {
                Ok(stream) => {
                    let far = Far { certificate: stream.certified(), ..far };
                    serve(stream, far, self.owner.clone()).await
                }
                Err(error) => Some(error),
            },
        };
        ended.map(|error| format!("{error:#}"))
    }
}

/// Serves whoever connects to us.
pub async fn accept(listener: Listener, config: SessionConfig, limit: usize, owner: ToOwner) {
    channel::accept(listener, limit, move |stream, name, stranger| {
        let certificate = stream.certified();
        let far = Far { stranger: Some(stranger), certificate, ..Far::service(name, config.clone()) };
        let owner = owner.clone();
        async move {
            serve(stream, far, owner).await;
        }
    })
    .await;
}
