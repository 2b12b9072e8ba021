//! What a port counts, and why it drops.

use core::fmt;
use core::ops::{AddAssign, Index};

use packet::Frame;
use packet::offload::wire_size;

macro_rules! port_drops {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a port dropped a frame. Each has a counter in [`PortCounters`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PortDrop { $($(#[$doc])* $name,)* }

        impl PortDrop {
            /// All reasons, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason as it appears in output, such as `rx-too-short`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

port_drops! {
    /// Received with fewer bytes than an Ethernet header.
    RxTooShort = "rx-too-short",
    /// Received longer than any frame may be; the kernel cut it.
    RxTooLong = "rx-too-long",
    /// The virtio-net header in front of a received frame contradicts the frame.
    RxBadVnetHeader = "rx-bad-vnet-header",
    /// The kernel dropped it because the receive queue was full.
    RxOverrun = "rx-overrun",
    /// To be sent with fewer bytes than an Ethernet header.
    TxTooShort = "tx-too-short",
    /// Longer than the device takes.
    TxTooLong = "tx-too-long",
    /// The device's queue is full.
    TxQueueFull = "tx-queue-full",
    /// The device is down.
    TxLinkDown = "tx-link-down",
    /// The device needs the frame segmented or its checksum completed, which its headers do not allow.
    TxNotSegmentable = "tx-not-segmentable",
    /// The kernel refused it.
    TxRefused = "tx-refused",
}

impl PortDrop {
    /// Number of reasons.
    pub const N: usize = Self::ALL.len();

    /// Whether the frame was lost while being received (as OpenFlow's `rx_dropped` counts).
    pub const fn is_rx(self) -> bool {
        matches!(self, Self::RxTooShort | Self::RxTooLong | Self::RxBadVnetHeader | Self::RxOverrun)
    }
}

impl fmt::Display for PortDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went through a port. A super-frame counts as the frames and bytes it would be on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames received and handed on.
    pub rx_frames: u64,
    /// Their bytes, from the Ethernet header on, without FCS.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    drops: [u64; PortDrop::N],
}

impl PortCounters {
    /// Numbers a set of counters consists of, for [`to_array`](Self::to_array).
    pub const N: usize = 4 + PortDrop::N;

    /// Counts a frame that was received and handed on.
    #[inline]
    pub fn received(&mut self, frame: &Frame) {
        let size = wire_size(frame);
        self.rx_frames += u64::from(size.n_frames);
        self.rx_bytes += size.bytes;
    }

    /// Counts a frame that was sent.
    #[inline]
    pub fn sent(&mut self, frame: &Frame) {
        let size = wire_size(frame);
        self.tx_frames += u64::from(size.n_frames);
        self.tx_bytes += size.bytes;
    }

    /// Counts `n` drops for `reason`.
    pub fn drop_n(&mut self, reason: PortDrop, n: u64) {
        self.drops[reason as usize] += n;
    }

    /// Frames lost while being received, all reasons together.
    pub fn rx_dropped(&self) -> u64 {
        PortDrop::ALL.iter().filter(|r| r.is_rx()).map(|r| self[*r]).sum()
    }

    /// Frames lost while being sent, all reasons together.
    pub fn tx_dropped(&self) -> u64 {
        PortDrop::ALL.iter().filter(|r| !r.is_rx()).map(|r| self[*r]).sum()
    }

    /// Every reason with its count, zeros included.
    pub fn drops(&self) -> impl Iterator<Item = (PortDrop, u64)> + '_ {
        PortDrop::ALL.iter().map(|r| (*r, self[*r]))
    }

    /// All numbers in a fixed order, so that they can be shared as atomics.
    pub fn to_array(self) -> [u64; Self::N] {
        let mut all = [0; Self::N];
        all[..4].copy_from_slice(&[self.rx_frames, self.rx_bytes, self.tx_frames, self.tx_bytes]);
        all[4..].copy_from_slice(&self.drops);
        all
    }

    /// The inverse of [`to_array`](Self::to_array).
    pub fn from_array(all: [u64; Self::N]) -> Self {
        let mut drops = [0; PortDrop::N];
        drops.copy_from_slice(&all[4..]);
        Self { rx_frames: all[0], rx_bytes: all[1], tx_frames: all[2], tx_bytes: all[3], drops }
    }
}

impl Index<PortDrop> for PortCounters {
    type Output = u64;

    fn index(&self, reason: PortDrop) -> &u64 {
        &self.drops[reason as usize]
    }
}

impl AddAssign for PortCounters {
    fn add_assign(&mut self, rhs: Self) {
        self.rx_frames += rhs.rx_frames;
        self.rx_bytes += rhs.rx_bytes;
        self.tx_frames += rhs.tx_frames;
        self.tx_bytes += rhs.tx_bytes;
        for (mine, theirs) in self.drops.iter_mut().zip(rhs.drops) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_survive_the_array_and_add_up() {
        let mut a =
            PortCounters { rx_frames: 1, rx_bytes: 2, tx_frames: 3, tx_bytes: 4, ..Default::default() };
        a.drop_n(PortDrop::RxTooShort, 5);
        a.drop_n(PortDrop::TxQueueFull, 6);
        assert_eq!(PortCounters::from_array(a.to_array()), a);
        let mut sum = a;
        sum += a;
        assert_eq!((sum.rx_dropped(), sum.tx_dropped(), sum.tx_bytes), (10, 12, 8));
    }
}
