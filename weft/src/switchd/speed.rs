//! How fast a port is, as far as anybody knows.

use netio::{PortKind, PortSpec};
use openflow::{PortDesc, PortFeatures};

/// What a port of this process's own says: no wire limits it, and controllers expect a number.
const VIRTUAL_MBPS: u32 = 10_000;

/// Fills in speed and features. An interface that exists is asked; one that does not say has none.
pub fn describe(desc: &mut PortDesc, spec: &PortSpec) {
    let (mbps, half) = match &spec.kind {
        PortKind::AfPacket(name) => {
            let read =
                |what: &str| std::fs::read_to_string(format!("/sys/class/net/{}/{what}", name.as_str()));
            let speed = read("speed").ok().and_then(|text| speed_of(&text));
            (speed, read("duplex").is_ok_and(|text| text.trim() == "half"))
        }
        _ => (Some(VIRTUAL_MBPS), false),
    };
    desc.current = mbps.map_or(PortFeatures::NONE, |mbps| feature(mbps, half));
    desc.current_speed = mbps.unwrap_or(0).saturating_mul(1000);
    desc.max_speed = desc.current_speed;
}

/// The kernel says -1, or nothing at all, for what it does not know.
fn speed_of(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|mbps| *mbps > 0 && *mbps != u32::MAX)
}

fn feature(mbps: u32, half: bool) -> PortFeatures {
    match (mbps, half) {
        (10, true) => PortFeatures::HD_10M,
        (10, false) => PortFeatures::FD_10M,
        (100, true) => PortFeatures::HD_100M,
        (100, false) => PortFeatures::FD_100M,
        (1000, true) => PortFeatures::HD_1G,
        (1000, false) => PortFeatures::FD_1G,
        (10_000, _) => PortFeatures::FD_10G,
        (40_000, _) => PortFeatures::FD_40G,
        (100_000, _) => PortFeatures::FD_100G,
        (1_000_000, _) => PortFeatures::FD_1T,
        _ => PortFeatures::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use packet::{MacAddr, PortNo};

    use super::*;

    #[test]
    fn speeds_are_what_the_kernel_says_or_unknown() {
        assert_eq!(
            (speed_of("1000\n"), speed_of("-1\n"), speed_of(""), speed_of("0")),
            (Some(1000), None, None, None)
        );
        assert_eq!(feature(1000, true), PortFeatures::HD_1G);
        assert_eq!(feature(25_000, false), PortFeatures::OTHER);
        let described = |spec: &str| {
            let mut desc = PortDesc::new(PortNo(1), MacAddr::from_u64(2), "p");
            describe(&mut desc, &spec.parse().expect("a port"));
            (desc.current, desc.current_speed)
        };
        assert_eq!(described("tap:t1"), (PortFeatures::FD_10G, 10_000_000));
        assert_eq!(described("afpacket:no-such-if"), (PortFeatures::NONE, 0));
    }
}
