//! Meters as the standard describes them (§5.7): for each band a bucket of tokens, refilled at the band's rate.

use openflow::{Band, BandKind, MeterFlags, MeterId, MeterMod};
use packet::Instant;

/// A meter. What it measured survives changes of flows, so all copies of an interpreter share it.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub id: MeterId,
    in_packets: bool,
    bands: Vec<Tokens>,
}

/// A band with the tokens it has, in billionths of a packet or bit.
#[derive(Clone, Debug)]
struct Tokens {
    band: Band,
    /// Units a second.
    rate: u128,
    most: u128,
    left: u128,
    since: Instant,
}

impl Meter {
    pub(super) fn new(m: &MeterMod, now: Instant) -> Self {
        let in_packets = m.flags.contains(MeterFlags::PKTPS);
        let scale = if in_packets { 1 } else { 1000 };
        let tokens = |&band: &Band| {
            let rate = u128::from(band.rate) * scale;
            // Without a burst the standard leaves it to the switch: a tenth of a second, and at least two frames of
            // full size.
            let frame = if in_packets { 1 } else { 1514 * 8 };
            let burst = match m.flags.contains(MeterFlags::BURST) && band.burst != 0 {
                true => (u128::from(band.burst) * scale).max(frame),
                false => (rate / 10).max(2 * frame),
            };
            let most = burst * 1_000_000_000;
            Tokens { band, rate, most, left: most, since: now }
        };
        Self { id: m.meter, in_packets, bands: m.bands.iter().map(tokens).collect() }
    }

    /// What applies to a frame of so many bytes, if anything does. §5.7.1: of the bands it exceeds, the one with the
    /// highest rate.
    pub(super) fn band(&mut self, now: Instant, size: usize) -> Option<BandKind> {
        let units = if self.in_packets { 1 } else { size as u128 * 8 };
        let mut applies: Option<Band> = None;
        for tokens in &mut self.bands {
            let passed = now.saturating_since(tokens.since).as_nanos();
            tokens.since = now;
            tokens.left = (tokens.left + passed * tokens.rate).min(tokens.most);
            match tokens.left.checked_sub(units * 1_000_000_000) {
                Some(left) => tokens.left = left,
                None if applies.is_none_or(|band| band.rate <= tokens.band.rate) => {
                    applies = Some(tokens.band);
                }
                None => {}
            }
        }
        applies.map(|band| band.kind)
    }
}

/// RFC 2597 §6: the classes of assured forwarding and their drop precedences.
const ASSURED: [[u8; 3]; 4] = [[10, 12, 14], [18, 20, 22], [26, 28, 30], [34, 36, 38]];

/// §5.7.1: the drop precedence is raised by so many levels.
pub(super) fn remarked(dscp: u8, levels: u8) -> u8 {
    for class in ASSURED {
        if let Some(at) = class.iter().position(|&d| d == dscp) {
            return class[(at + usize::from(levels)).min(2)];
        }
    }
    dscp
}
