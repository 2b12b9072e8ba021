//! The clock of this shell: monotonic, from the first use in this process.

use std::sync::OnceLock;

use packet::Instant;

fn origin() -> tokio::time::Instant {
    static ORIGIN: OnceLock<tokio::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(tokio::time::Instant::now)
}

/// Now, for cores. A second after the origin at least, so that nothing is at time zero.
pub fn now() -> Instant {
    let nanos = origin().elapsed().as_nanos();
    Instant::from_secs(1) + std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Sleeps until `when`; forever if there is no time.
pub async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep(when.saturating_since(now())).await,
        None => std::future::pending().await,
    }
}
