//! How often somebody may ask: a bucket of tokens for each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use packet::Instant;

/// Most callers that are remembered; those whose buckets are full need not be.
const MAX_CALLERS: usize = 10_000;

/// Requests a second for each caller; as many may come at once.
#[derive(Debug)]
pub struct Limit {
    rate: u32,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Limit {
    /// So many requests a second.
    pub fn new(rate: u32) -> Self {
        Self { rate: rate.max(1), buckets: Mutex::default() }
    }

    /// Requests a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Counts a request of `name`.
    ///
    /// # Errors
    /// It is too early: how long to wait.
    pub fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let most = f64::from(self.rate);
        let filled = |bucket: &Bucket| {
            let since = now.saturating_since(bucket.at).as_secs_f64();
            (bucket.left + since * most).min(most)
        };
        // A panic under the lock is a bug of one request; a bucket is still a bucket.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_CALLERS && !buckets.contains_key(name) {
            buckets.retain(|_, bucket| filled(bucket) < most);
            if buckets.len() >= MAX_CALLERS {
                // So many at once are no callers of ours.
                return Err(Duration::from_secs(1));
            }
        }
        let left = buckets.get(name).map_or(most, filled);
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / most));
        }
        buckets.insert(name.to_owned(), Bucket { left: left - 1.0, at: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_rate_of_its_own() {
        let (limit, start) = (Limit::new(10), Instant::from_secs(1));
        for _ in 0..10 {
            limit.take("alice", start).unwrap();
        }
        let wait = limit.take("alice", start).unwrap_err();
        assert!((0.09..0.11).contains(&wait.as_secs_f64()), "{wait:?}");
        limit.take("bob", start).unwrap();
        let later = start + Duration::from_millis(150);
        limit.take("alice", later).unwrap();
        assert!(limit.take("alice", later).is_err());
    }

    #[test]
    fn callers_without_end_cost_no_memory() {
        let (limit, start) = (Limit::new(1), Instant::from_secs(1));
        for n in 0..MAX_CALLERS {
            limit.take(&n.to_string(), start).unwrap();
        }
        assert!(limit.take("one more", start).is_err());
        limit.take("0", start + Duration::from_secs(1)).unwrap();
        limit.take("one more", start + Duration::from_secs(5)).unwrap();
        assert_eq!(limit.buckets.lock().unwrap().len(), 1);
    }
}
