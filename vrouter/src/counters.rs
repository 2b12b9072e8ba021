//! Why packets were dropped, and how many of them.

macro_rules! drops {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a frame went no further. Each has a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Drop { $($(#[doc = $doc])+ $name,)+ }

        impl Drop {
            /// All of them, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// A word for scripts and people.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

drops! {
    /// Ethernet header or tag cut short, or too many tags.
    BadEthernet = "bad-ethernet",
    /// No interface on this port and VLAN.
    NoInterface = "no-interface",
    /// Unicast for another station.
    NotForUs = "not-for-us",
    /// An EtherType that is not routed.
    UnknownEthertype = "unknown-ethertype",
    /// ARP cut short, not for IPv4, or from an impossible sender.
    BadArp = "bad-arp",
    /// ARP that asks for or tells about somebody else.
    ArpIgnored = "arp-ignored",
    /// Someone else claims an address of this router, or it is still being asked whether somebody has it.
    DuplicateAddress = "duplicate-address",
    /// IPv4 header cut short or lying about its lengths.
    BadIpv4 = "bad-ipv4",
    /// IPv4 header checksum wrong.
    BadIpv4Checksum = "bad-ipv4-checksum",
    /// A source that cannot be one (RFC 1812 §5.3.7).
    MartianSource = "martian-source",
    /// A destination that is never forwarded (RFC 1812 §5.3.7).
    MartianDestination = "martian-destination",
    /// Multicast or broadcast that the router has no use for.
    Multicast = "multicast",
    /// Arrived as a link-layer broadcast (RFC 1812 §5.3.4).
    LinkBroadcast = "link-broadcast",
    /// TTL used up.
    TtlExpired = "ttl-expired",
    /// No route.
    NoRoute = "no-route",
    /// A blackhole route.
    Blackhole = "blackhole",
    /// An unreachable route.
    Unreachable = "unreachable",
    /// A prohibit route.
    Prohibited = "prohibited",
    /// Denied by a firewall rule.
    FirewallDenied = "firewall-denied",
    /// Allowed by a firewall rule, but beyond its limit.
    FirewallLimit = "firewall-limit",
    /// From a station that may not speak here, or not with this address.
    Spoofed = "spoofed",
    /// Beyond the rate that its interface takes in.
    Policed = "policed",
    /// For a service of this router, which has too much to do.
    ServiceLimit = "service-limit",
    /// Too big for the way out, and DF is set.
    TooBig = "too-big",
    /// The neighbour did not answer.
    NeighbourUnreachable = "neighbour-unreachable",
    /// Too many packets wait for this neighbour.
    NeighbourQueueFull = "neighbour-queue-full",
    /// No room for another neighbour.
    NeighbourTableFull = "neighbour-table-full",
    /// For this router, but nothing listens.
    NoListener = "no-listener",
    /// For this router, and of a protocol it does not speak.
    NoProtocol = "no-protocol",
    /// ICMP cut short or with a wrong checksum.
    BadIcmp = "bad-icmp",
    /// ICMP the router has no use for.
    IcmpIgnored = "icmp-ignored",
    /// TCP or UDP header cut short.
    BadTransport = "bad-transport",
    /// From outside to what hides behind an address, without a binding or not allowed by it.
    NatNoBinding = "nat-no-binding",
    /// A protocol that cannot be translated.
    NatProtocol = "nat-protocol",
    /// No outside port is free.
    NatPortsExhausted = "nat-ports-exhausted",
    /// The connection table is full of connections that must not be pushed out.
    NatTableFull = "nat-table-full",
    /// Two connections would be the same on one side.
    NatClash = "nat-clash",
    /// The source, or its VRF, has as many connections as it may have, or begins them too fast.
    ConnectionLimit = "connection-limit",
    /// TCP that lies outside the windows of its connection.
    TcpWindow = "tcp-window",
    /// TCP that does not begin with a SYN where it must.
    NatNotSyn = "nat-not-syn",
    /// An ICMP error about a packet that no connection knows.
    NatErrorUnknown = "nat-error-unknown",
    /// Fragments that overlap, never came together, or are too many.
    BadFragments = "bad-fragments",
    /// Engines entered too often.
    HopLimit = "hop-limit",
    /// IPv6 on an interface without an IPv6 address, or a header cut short or lying about its lengths.
    BadIpv6 = "bad-ipv6",
    /// Neighbour discovery from another link, damaged, or against RFC 4861.
    BadNd = "bad-nd",
    /// Neighbour discovery that asks for or tells about somebody else.
    NdIgnored = "nd-ignored",
    /// For a link-local address of another station, which is never forwarded to.
    LinkLocal = "link-local",
    /// From a source that must not come by this interface (RFC 3704).
    SourceRefused = "source-refused",
    /// No headroom left in the frame.
    NoHeadroom = "no-headroom",
}

const N_DROPS: usize = Drop::ALL.len();

/// What a worker has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    drops: [u64; N_DROPS],
    /// Frames that came in.
    pub received: u64,
    /// Packets forwarded to another host.
    pub forwarded: u64,
    /// Packets for this router.
    pub local: u64,
    /// ICMP errors sent.
    pub icmp_errors: u64,
    /// ICMP errors not sent because of the rate limit or RFC 1812 §4.3.2.7.
    pub icmp_suppressed: u64,
    /// Fragments made on output.
    pub fragments_made: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            drops: [0; N_DROPS],
            received: 0,
            forwarded: 0,
            local: 0,
            icmp_errors: 0,
            icmp_suppressed: 0,
            fragments_made: 0,
        }
    }
}

impl Counters {
    /// Counts one drop.
    pub(crate) fn drop(&mut self, why: Drop) {
        self.drops[why as usize] += 1;
    }

    /// Drops for one reason.
    pub fn dropped(&self, why: Drop) -> u64 {
        self.drops[why as usize]
    }

    /// Reasons that have occurred, with their number.
    pub fn drops(&self) -> impl Iterator<Item = (Drop, u64)> + '_ {
        Drop::ALL.iter().map(|d| (*d, self.dropped(*d))).filter(|(_, n)| *n != 0)
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.drops.iter_mut().zip(other.drops) {
            *mine += theirs;
        }
        self.received += other.received;
        self.forwarded += other.forwarded;
        self.local += other.local;
        self.icmp_errors += other.icmp_errors;
        self.icmp_suppressed += other.icmp_suppressed;
        self.fragments_made += other.fragments_made;
    }
}
