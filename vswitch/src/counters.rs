//! What is counted: drops by reason, and what the shell counts of ports.

use core::fmt;
use core::ops::{Index, IndexMut};

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why a frame went nowhere. Each has a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// A name for counters: lower case with underscores.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        const N_REASONS: usize = DropReason::ALL.len();
    };
}

drop_reasons! {
    /// Shorter than an Ethernet header, or cut within a header it announces.
    TooShort = "too_short";
    /// Longer than any packet can be.
    TooLong = "too_long";
    /// A length field says more or less than there is.
    BadLength = "bad_length";
    /// More VLAN tags than the switch reads.
    TooManyTags = "too_many_tags";
    /// It came by a port the switch was not told of.
    UnknownInPort = "unknown_in_port";
    /// It came by a port that must not receive.
    NoReceive = "no_receive";
    /// A fragment, and the configuration says to drop them.
    Fragment = "fragment";
    /// No flow matched (§5.4).
    TableMiss = "table_miss";
    /// The flows that matched output it nowhere: dropped on purpose.
    Flow = "flow";
    /// The output port does not exist.
    NoPort = "no_port";
    /// The output port is down or must not forward.
    PortDown = "port_down";
    /// It would leave by the port it came by (§7.2.5: that needs IN_PORT).
    SamePort = "same_port";
    /// Its TTL or hop limit was used up.
    Ttl = "ttl";
    /// An action needed more room than the buffer has, or more tags than the switch reads.
    NoRoom = "no_room";
    /// A group does not exist, has no live bucket, or groups form too deep a chain.
    Group = "group";
    /// Above the rate of a meter's drop band (§5.7.1), or the meter does not exist.
    Meter = "meter";
    /// Too many packets wait for the controller.
    PuntQueue = "punt_queue";
    /// More packets than the limit allows went to the controller for the same reason.
    PacketInRate = "packet_in_rate";
    /// A packet-out: too many wait for the worker that is to do them.
    PacketOutQueue = "packet_out_queue";
    /// For the controller, and none is connected that wants packets of its kind.
    NoController = "no_controller";
    /// The port it came by must send nothing to the controller.
    NoPacketIn = "no_packet_in";
    /// Its offload metadata does not fit its bytes, and a copy had to be finished.
    BadOffload = "bad_offload";
    /// A learned address is on the port it came by, or nothing is left to flood to.
    Filtered = "filtered";
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Frames dropped, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops([u64; N_REASONS]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; N_REASONS])
    }
}

impl Drops {
    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self[reason]))
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl Index<DropReason> for Drops {
    type Output = u64;
    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

impl IndexMut<DropReason> for Drops {
    fn index_mut(&mut self, reason: DropReason) -> &mut u64 {
        &mut self.0[reason as usize]
    }
}

/// What the shell counted at a queue, for queue statistics (§7.3.5.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames dropped because the queue was full.
    pub tx_errors: u64,
}

/// How often the cache was asked, and knew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Frames looked up; those of tables that are asked directly are not among them.
    pub lookups: u64,
    /// Frames whose program it knew without a check.
    pub hits: u64,
}

impl core::ops::AddAssign for CacheCounters {
    fn add_assign(&mut self, other: Self) {
        self.lookups += other.lookups;
        self.hits += other.hits;
    }
}

impl core::ops::Sub for CacheCounters {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { lookups: self.lookups - other.lookups, hits: self.hits - other.hits }
    }
}

/// What the shell counted at a port, for port statistics (§7.3.5.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames received and dropped.
    pub rx_dropped: u64,
    /// Frames dropped instead of being sent.
    pub tx_dropped: u64,
    /// Frames that could not be received as they were, those of `rx_overruns` among them.
    pub rx_errors: u64,
    /// Frames that could not be sent as they were.
    pub tx_errors: u64,
    /// Frames that the device lost because nobody took them in time.
    pub rx_overruns: u64,
}
