//! What can be set.

use std::time::Duration;

use crate::siphash::Key;

/// Clocks and bounds of the controller.
#[derive(Debug, Clone)]
pub struct Config {
    /// Signs discovery frames. Random for each controller, or shared by those that work together.
    pub key: Key,
    /// Number of the election in which this controller became the master of its switches; it outranks lower ones. None: it
    /// shares them with others as equals.
    pub master: Option<u64>,
    /// How long a port is probed before it counts as an edge port. Until then nothing that arrives there is
    /// forwarded and nothing is flooded there, unless a network declares the port.
    pub settle: Duration,
    /// Between the first probes of a port.
    pub probe_fast: Duration,
    /// Between probes of a known link.
    pub probe_link: Duration,
    /// Between probes of an edge port.
    pub probe_edge: Duration,
    /// A link not seen for so long is gone.
    pub link_age: Duration,
    /// A switch not connected for so long is left out of paths.
    pub retire: Duration,
    /// Between comparisons of what a switch holds with what it was told; longer where they always differ.
    pub audit: Duration,
    /// Time for the handshake.
    pub handshake: Duration,
    /// Time for a connection to show that it is alive when its switch connects again.
    pub rival: Duration,
    /// Least time between two plans, longer for large ones; what happens in between goes into the next one together.
    pub plan_interval: Duration,
    /// Hosts at ports that no network declares are not planned for: each frame that a switch has no flow for is answered
    /// with flow mods and the frame itself, and what no frame comes for is forgotten.
    pub reactive: bool,
    /// Most hosts that are learned.
    pub max_hosts: usize,
    /// Most hosts that are learned at one port: what one neighbour makes up is not everybody's trouble.
    pub max_hosts_per_port: usize,
}

impl Config {
    /// The usual clocks.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            master: None,
            settle: Duration::from_millis(600),
            probe_fast: Duration::from_millis(100),
            probe_link: Duration::from_secs(2),
            probe_edge: Duration::from_secs(5),
            link_age: Duration::from_secs(9),
            retire: Duration::from_secs(10),
            audit: Duration::from_secs(15),
            handshake: Duration::from_secs(10),
            rival: Duration::from_secs(2),
            plan_interval: Duration::from_millis(5),
            reactive: false,
            max_hosts: 16_384,
            max_hosts_per_port: 1024,
        }
    }
}
