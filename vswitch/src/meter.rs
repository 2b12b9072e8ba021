//! Meters (§5.7): rates measured by token buckets that all workers share.
//!
//! A band is one number, the time at which its bucket will be empty again (the generic cell rate algorithm, ITU-T I.371
//! appendix A): a frame costs its size divided by the rate and conforms if that time is at most a burst away. One
//! compare-and-swap a band, no lock, and exact whatever the number of workers.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use openflow::{Band, BandKind, BandStats, MeterConfig, MeterFlags};
use packet::Instant;
use packet::offload::WireSize;

/// Fixed point: a nanosecond in the clock of buckets, so that a bit at 100 Gbit/s still costs something.
const NANO: u64 = 256;
/// Burst of a band that names none, as a share of a second at its rate.
const DEFAULT_BURST: Duration = Duration::from_millis(100);
/// A burst that the band does not name holds at least this many frames of full size. With one alone a frame that comes
/// an instant early finds the bucket too empty, and what has been saved up by the next one is lost: frames offered at
/// three times the rate would pass at three quarters of it.
const LEAST_FRAMES: u64 = 2;
/// Bits of a frame of full size.
const FRAME_BITS: u64 = 1514 * 8;

/// A meter with its state.
#[derive(Debug)]
pub(crate) struct Meter {
    pub config: MeterConfig,
    bands: Vec<Bucket>,
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// A band with its state.
#[derive(Debug)]
struct Bucket {
    band: Band,
    /// Cost of a unit (bit or packet) in ticks.
    ticks_per_unit: f64,
    /// Ticks that may be owed.
    burst: u64,
    /// When nothing will be owed any more.
    empty_at: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// What a meter makes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// Below every rate.
    Pass,
    /// Raise the drop precedence by so many levels.
    Remark(u8),
    /// Above the rate of a drop band.
    Drop,
}

impl Meter {
    /// A meter that has measured nothing.
    pub(crate) fn new(config: MeterConfig) -> Self {
        let in_packets = config.flags.contains(MeterFlags::PKTPS);
        let with_burst = config.flags.contains(MeterFlags::BURST);
        let bands = config.bands.iter().map(|&band| Bucket::new(band, in_packets, with_burst)).collect();
        Self { config, bands, packets: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Another configuration; the totals go on, those of the bands begin again (§6.5 by analogy).
    pub(crate) fn reconfigured(&self, config: MeterConfig) -> Self {
        let next = Self::new(config);
        next.packets.store(self.packets.load(Relaxed), Relaxed);
        next.bytes.store(self.bytes.load(Relaxed), Relaxed);
        next
    }

    /// It may change the DSCP of what it lets pass.
    pub(crate) fn remarks(&self) -> bool {
        self.config.bands.iter().any(|band| matches!(band.kind, BandKind::DscpRemark { .. }))
    }

    /// Whether a frame that stands for several would be neither dropped nor remarked: nothing is counted.
    pub(crate) fn admits_whole(&self, now: Instant, size: WireSize) -> bool {
        self.bands.iter().all(|bucket| bucket.has_room(now, self.units(size)))
    }

    /// Measures a frame. §5.7.1: of the bands whose rate is exceeded, the one with the highest applies.
    pub(crate) fn measure(&self, now: Instant, size: WireSize) -> Measured {
        self.packets.fetch_add(u64::from(size.n_frames), Relaxed);
        self.bytes.fetch_add(size.bytes, Relaxed);
        let units = self.units(size);
        let exceeded = self.bands.iter().filter(|bucket| !bucket.take(now, units));
        let Some(bucket) = exceeded.max_by_key(|bucket| bucket.band.rate) else { return Measured::Pass };
        bucket.packets.fetch_add(u64::from(size.n_frames), Relaxed);
        bucket.bytes.fetch_add(size.bytes, Relaxed);
        match bucket.band.kind {
            BandKind::DscpRemark { prec_level } => Measured::Remark(prec_level),
            _ => Measured::Drop,
        }
    }

    fn units(&self, size: WireSize) -> u64 {
        match self.config.flags.contains(MeterFlags::PKTPS) {
            true => u64::from(size.n_frames),
            false => size.bytes * 8,
        }
    }

    /// Packets and bytes measured.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.packets.load(Relaxed), self.bytes.load(Relaxed))
    }

    /// What each band applied to.
    pub(crate) fn band_stats(&self) -> Vec<BandStats> {
        let stats = |b: &Bucket| BandStats { packets: b.packets.load(Relaxed), bytes: b.bytes.load(Relaxed) };
        self.bands.iter().map(stats).collect()
    }
}

impl Bucket {
    fn new(band: Band, in_packets: bool, with_burst: bool) -> Self {
        // kbit/s and kbit, or packets.
        let (scale, frame) = if in_packets { (1, 1) } else { (1000, FRAME_BITS) };
        let rate = u64::from(band.rate.max(1)) * scale;
        let ticks_per_unit = 1e9 * NANO as f64 / rate as f64;
        let burst = match with_burst && band.burst != 0 {
            true => (u64::from(band.burst) * scale).max(frame),
            false => ((rate as f64 * DEFAULT_BURST.as_secs_f64()) as u64).max(LEAST_FRAMES * frame),
        };
        Self {
            band,
            ticks_per_unit,
            burst: (burst as f64 * ticks_per_unit) as u64,
            empty_at: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    fn cost(&self, units: u64) -> u64 {
        (units as f64 * self.ticks_per_unit) as u64
    }

    fn has_room(&self, now: Instant, units: u64) -> bool {
        let now = now.as_nanos() * NANO;
        self.empty_at.load(Relaxed).max(now) + self.cost(units) <= now + self.burst
    }

    /// Takes the frame's share out of the bucket; false, and nothing taken, if there is too little.
    fn take(&self, now: Instant, units: u64) -> bool {
        let now = now.as_nanos() * NANO;
        let cost = self.cost(units);
        let next = |empty_at: u64| {
            let next = empty_at.max(now) + cost;
            (next <= now + self.burst).then_some(next)
        };
        self.empty_at.try_update(Relaxed, Relaxed, next).is_ok()
    }
}

/// DSCP with its drop precedence raised by `levels` (RFC 2597 §6): only the assured-forwarding classes have one.
pub(crate) fn raise_drop_precedence(dscp: u8, levels: u8) -> u8 {
    let (class, precedence) = (dscp >> 3, dscp >> 1 & 3);
    if !(1..=4).contains(&class) || precedence == 0 || dscp & 1 != 0 {
        return dscp;
    }
    class << 3 | precedence.saturating_add(levels).min(3) << 1
}

#[cfg(test)]
mod tests {
    use openflow::MeterId;

    use super::*;

    fn meter(flags: MeterFlags, bands: &[(u32, BandKind)]) -> Meter {
        let bands = bands.iter().map(|&(rate, kind)| Band { kind, rate, burst: 0 }).collect();
        Meter::new(MeterConfig { flags, meter: MeterId(1), bands })
    }

    /// Frames of `bytes` that pass in ten seconds when `pps` are offered.
    fn passed(meter: &Meter, pps: u64, bytes: u64) -> u64 {
        let size = WireSize { n_frames: 1, bytes, longest: bytes as u32 };
        let at = |n: u64| Instant::from_nanos(1_000_000_000 + n * 1_000_000_000 / pps);
        (0..10 * pps).filter(|&n| meter.measure(at(n), size) == Measured::Pass).count() as u64
    }

    #[test]
    fn rates_are_right_within_two_percent() {
        for (kbps, pps, bytes) in [(100, 1_000, 64), (1_000, 1_000, 1_500), (200_000, 100_000, 1_500)] {
            let drop = meter(MeterFlags::KBPS, &[(kbps, BandKind::Drop)]);
            let bits = passed(&drop, pps, bytes) * bytes * 8;
            let expected = u64::from(kbps) * 10_000;
            assert!(
                is_near(bits - LEAST_FRAMES * FRAME_BITS, expected),
                "{kbps} kbit/s: {bits} of {expected} bits"
            );
        }
        for rate in [10, 100, 1_000, 20_000] {
            let drop = meter(MeterFlags::PKTPS, &[(rate, BandKind::Drop)]);
            let n = passed(&drop, u64::from(rate) * 3, 64);
            assert!(is_near(n - LEAST_FRAMES, u64::from(rate) * 10), "{rate} packets/s: {n}");
        }
    }

    /// §5.7: from 100 kbit/s to 200 Mbit/s and to 20,000 packets/s, with little and with much too much, in small and in
    /// large frames and in super-frames, of which a part may pass.
    #[test]
    fn every_rate_is_right_within_five_percent() {
        const SECONDS: u64 = 4;
        let offer = |meter: &Meter, pps: u64, size: WireSize| {
            let one = WireSize { n_frames: 1, bytes: size.bytes / u64::from(size.n_frames), ..size };
            let mut passed = 0;
            for n in 0..SECONDS * pps {
                let now = Instant::from_nanos(1_000_000_000 + n * 1_000_000_000 / pps);
                if size.n_frames == 1 || meter.admits_whole(now, size) {
                    passed +=
                        u64::from(size.n_frames) * u64::from(meter.measure(now, size) == Measured::Pass);
                    continue;
                }
                passed +=
                    (0..size.n_frames).filter(|_| meter.measure(now, one) == Measured::Pass).count() as u64;
            }
            passed
        };
        let frames = [(1, 64), (1, 590), (1, 1514), (20, 20 * 1514)];
        for (n_frames, bytes) in frames {
            let size = WireSize { n_frames, bytes, longest: 1514 };
            for (kbps, factor) in [(100, 20), (1_000, 9), (10_000, 2), (100_000, 2), (200_000, 2)] {
                let drop = meter(MeterFlags::KBPS, &[(kbps, BandKind::Drop)]);
                let pps = (u64::from(kbps) * 1000 * factor).div_ceil(bytes * 8);
                let bits = offer(&drop, pps, size) * bytes * 8 / u64::from(n_frames);
                let burst = (u64::from(kbps) * 100).max(LEAST_FRAMES * FRAME_BITS);
                let expected = u64::from(kbps) * 1000 * SECONDS + burst;
                assert!(
                    bits.abs_diff(expected) * 20 <= expected,
                    "{kbps} kbit/s in {n_frames} of {bytes}: {bits}, not {expected}"
                );
            }
            for rate in [100u32, 1_000, 20_000] {
                let drop = meter(MeterFlags::PKTPS, &[(rate, BandKind::Drop)]);
                let pps = u64::from(rate) * 3 / u64::from(n_frames);
                let n = offer(&drop, pps, size);
                let expected = u64::from(rate) * SECONDS + u64::from(rate) / 10;
                assert!(
                    n.abs_diff(expected) * 20 <= expected,
                    "{rate} packets/s by {n_frames}: {n}, not {expected}"
                );
            }
        }
    }

    /// Within two percent, the burst at the beginning apart.
    fn is_near(measured: u64, expected: u64) -> bool {
        measured.abs_diff(expected) * 50 <= expected
    }

    #[test]
    fn below_its_rate_a_meter_touches_nothing() {
        let drop = meter(MeterFlags::PKTPS, &[(1_000, BandKind::Drop)]);
        assert_eq!(passed(&drop, 900, 64), 9_000);
        assert_eq!(drop.totals(), (9_000, 9_000 * 64));
        assert_eq!(drop.band_stats(), [BandStats::default()]);
    }

    #[test]
    fn of_the_bands_exceeded_the_highest_applies() {
        let bands = [(1, BandKind::DscpRemark { prec_level: 1 }), (10, BandKind::Drop)];
        let both = meter(MeterFlags::PKTPS, &bands);
        let size = WireSize { n_frames: 1, bytes: 64, longest: 64 };
        let now = Instant::from_secs(1);
        let seen = [0; 4].map(|_| both.measure(now, size));
        assert_eq!(seen, [Measured::Pass, Measured::Pass, Measured::Drop, Measured::Drop]);
        let later = both.measure(Instant::from_millis(1_150), size);
        assert_eq!(later, Measured::Remark(1), "a tenth of a second refills the higher band only");
    }

    #[test]
    fn only_assured_forwarding_has_a_drop_precedence() {
        assert_eq!(raise_drop_precedence(18, 1), 20, "AF21 to AF22");
        assert_eq!(raise_drop_precedence(18, 9), 22, "AF23 is the highest");
        assert_eq!(raise_drop_precedence(46, 1), 46, "EF has none");
        assert_eq!(raise_drop_precedence(0, 1), 0);
        assert_eq!(raise_drop_precedence(16, 1), 16, "CS2 has none");
    }
}
