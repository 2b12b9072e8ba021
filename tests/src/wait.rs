//! Waiting for a condition, with a deadline and a name for what did not happen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `condition` gives a value, asking every 20 ms, and returns it.
///
/// # Panics
/// With `what` when `deadline` has passed. The condition is asked at least once, and once more after the deadline.
#[expect(clippy::disallowed_methods, reason = "the harness is a shell: it watches real time")]
pub fn wait_for<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        let last_try = Instant::now() >= end;
        if let Some(value) = condition() {
            return value;
        }
        assert!(!last_try, "waited {deadline:?} in vain for {what}");
        sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` holds, asking every 20 ms.
///
/// # Panics
/// With `what` when `deadline` has passed.
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(deadline, what, || condition().then_some(()));
}

/// A TCP port on loopback that nobody listens on, in the network namespace of the calling thread.
///
/// # Panics
/// When loopback is down or has no free port.
pub fn free_port() -> u16 {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any).expect("loopback is up and has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_for_returns_as_soon_as_the_condition_holds() {
        let mut calls = 0;
        let value = wait_for(Duration::from_secs(5), "the third call", || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "in vain for a miracle")]
    fn wait_until_names_what_did_not_happen() {
        wait_until(Duration::from_millis(1), "a miracle", || false);
    }
}
