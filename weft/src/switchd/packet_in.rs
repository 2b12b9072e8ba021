//! How many packets a switch sends to its controllers: the defaults, and how the command line says others.

use std::str::FromStr;

use openflow::PacketInReason;
use vswitch::{PacketInRates, RateLimit};

/// The names of the reasons.
pub const REASONS: [(&str, PacketInReason); 6] = [
    ("no_match", PacketInReason::NoMatch),
    ("action", PacketInReason::Action),
    ("invalid_ttl", PacketInReason::InvalidTtl),
    ("action_set", PacketInReason::ActionSet),
    ("group", PacketInReason::Group),
    ("packet_out", PacketInReason::PacketOut),
];

/// What nobody asked for one by one: a thousand a second, as much as controllers are known to bear (Open vSwitch
/// suggests the same). What flows send on purpose: so much that a flood still leaves the channel usable.
pub const DEFAULT: PacketInRates = PacketInRates::all(Some(RateLimit { rate: 50_000, burst: 12_500 }))
    .with(PacketInReason::NoMatch, Some(RateLimit { rate: 1_000, burst: 250 }))
    .with(PacketInReason::InvalidTtl, Some(RateLimit { rate: 1_000, burst: 250 }));

/// `[REASON=]RATE[,BURST]`, or `[REASON=]off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateArg {
    /// None for all.
    reason: Option<PacketInReason>,
    limit: Option<RateLimit>,
}

impl RateArg {
    /// The rates with what this says instead.
    pub fn apply(self, rates: PacketInRates) -> PacketInRates {
        match self.reason {
            Some(reason) => rates.with(reason, self.limit),
            None => PacketInRates::all(self.limit),
        }
    }
}

impl FromStr for RateArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (reason, value) = match text.split_once('=') {
            Some((name, value)) => {
                let known = REASONS.iter().find(|(known, _)| *known == name).map(|(_, reason)| *reason);
                let names = REASONS.map(|(name, _)| name).join(", ");
                (Some(known.ok_or_else(|| anyhow::anyhow!("\"{name}\" is no reason: {names}"))?), value)
            }
            None => (None, text),
        };
        if value == "off" {
            return Ok(Self { reason, limit: None });
        }
        let (rate, burst) = value.split_once(',').map_or((value, None), |(rate, burst)| (rate, Some(burst)));
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
        let limit = number(rate).and_then(|rate| {
            let burst = burst.map_or(Some((rate / 4).max(1)), number)?;
            Some(RateLimit { rate, burst })
        });
        let limit = limit.ok_or_else(|| {
            anyhow::anyhow!(
                "\"{value}\" is no rate: packets a second are expected, with a burst after a comma, or off"
            )
        })?;
        Ok(Self { reason, limit: Some(limit) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_for_one_reason_and_for_all() {
        let read = |text: &str| text.parse::<RateArg>().expect("a rate").apply(DEFAULT);
        let limit = |rate, burst| Some(RateLimit { rate, burst });
        assert_eq!(read("100"), PacketInRates::all(limit(100, 25)));
        assert_eq!(read("off"), PacketInRates::all(None));
        let one = read("no_match=20,7");
        assert_eq!(one.get(PacketInReason::NoMatch), limit(20, 7));
        assert_eq!(one.get(PacketInReason::Group), DEFAULT.get(PacketInReason::Group));
        assert_eq!(read("group=off").get(PacketInReason::Group), None);
        for wrong in ["", "0", "fast", "nomatch=1", "10,0", "10,x", "-1"] {
            assert!(wrong.parse::<RateArg>().is_err(), "{wrong}");
        }
    }
}
