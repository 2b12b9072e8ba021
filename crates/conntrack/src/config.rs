//! Sizes, timers and policies of a tracker.

use core::time::Duration;

use packet::{Instant, IpProtocol};

use crate::State;

/// Idle times after which a connection is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// UDP: at least 2 minutes, 5 recommended (RFC 4787 REQ-5).
    pub udp: Duration,
    /// TCP while opening, closing or after a reset: at least 4 minutes (RFC 5382 REQ-5, RFC 7857 §2.1).
    pub tcp_transitory: Duration,
    /// TCP when established: at least 2 hours 4 minutes (RFC 5382 REQ-5).
    pub tcp_established: Duration,
    /// ICMP queries: at least 60 seconds (RFC 5508 REQ-2).
    pub icmp: Duration,
    /// Other protocols.
    pub other: Duration,
    /// An outside port that became free waits this long for another inside endpoint (RFC 6888 REQ-8).
    pub port_hold: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            udp: Duration::from_secs(300),
            tcp_transitory: Duration::from_secs(240),
            tcp_established: Duration::from_secs(7440),
            icmp: Duration::from_secs(60),
            other: Duration::from_secs(600),
            port_hold: Duration::from_secs(120),
        }
    }
}

/// Who may send to a binding from outside (RFC 4787 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Anyone.
    EndpointIndependent,
    /// Only addresses the inside endpoint has sent to.
    AddressDependent,
    /// Only addresses and ports the inside endpoint has sent to.
    AddressAndPortDependent,
}

/// What a tracker is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most connections; memory is taken when the tracker is made.
    pub n_connections: u32,
    /// Most bindings.
    pub n_bindings: u32,
    /// Secret for hashes and ports: 128 bits nobody outside can guess.
    pub seed: [u64; 2],
    /// Which share of the outside ports is this tracker's, and of how many.
    pub shard: Shard,
    /// Timers.
    pub timers: Timers,
    /// Whether a TCP connection may begin with something else than a SYN.
    pub tcp_loose: bool,
    /// Whether TCP segments must lie in the windows that both ends have shown.
    pub tcp_window: bool,
}

/// One of several trackers that share the outside addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Position, below `count`.
    pub index: u32,
    /// Number of trackers, at least 1 and at most 16.
    pub count: u32,
}

impl Shard {
    /// The only one.
    pub const ONLY: Self = Self { index: 0, count: 1 };

    /// Which of `count` shards owns an outside port or identifier: ports are dealt in blocks of 64.
    pub const fn of_port(port: u16, count: u32) -> u32 {
        (port as u32 >> 6) % count
    }
}

/// The timers in nanoseconds: who asks for each packet does not count in seconds and parts of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    udp: u64,
    tcp_transitory: u64,
    tcp_established: u64,
    icmp: u64,
    other: u64,
}

impl Idle {
    pub(crate) fn new(timers: &Timers) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            udp: nanos(timers.udp),
            tcp_transitory: nanos(timers.tcp_transitory),
            tcp_established: nanos(timers.tcp_established),
            icmp: nanos(timers.icmp),
            other: nanos(timers.other),
        }
    }

    /// When a connection of another protocol than TCP that a packet comes for now is forgotten.
    #[inline(always)]
    pub(crate) fn of_flow(&self, now: Instant, protocol: IpProtocol) -> Instant {
        self.deadline(now, protocol, State::BothWays)
    }

    /// When a connection that is in this state now is forgotten.
    #[inline(always)]
    pub(crate) fn deadline(&self, now: Instant, protocol: IpProtocol, state: State) -> Instant {
        let nanos = match (state, protocol) {
            (State::Established | State::Fin(_), _) => self.tcp_established,
            (State::OneWay(_) | State::BothWays, IpProtocol::UDP) => self.udp,
            (State::OneWay(_) | State::BothWays, IpProtocol::ICMP | IpProtocol::ICMPV6) => self.icmp,
            (State::OneWay(_) | State::BothWays, _) => self.other,
            _ => self.tcp_transitory,
        };
        Instant::from_nanos(now.as_nanos().saturating_add(nanos))
    }
}
