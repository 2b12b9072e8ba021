//! Ports and their counters.

use core::fmt::{self, Display, Formatter};

use super::bits;
use crate::text::format::Seconds;
use crate::text::naming::{NO_NAMES, Names, PortName};
use crate::{
    PortConfig, PortDesc, PortFeatures, PortMod, PortReason, PortState, PortStats, PortStatus, Version,
};

fn config(config: PortConfig) -> String {
    bits(config.0, PortConfig::NAMES.iter().map(|(bit, name)| (bit.0, *name)))
}

fn features(features: PortFeatures) -> String {
    bits(features.0, PortFeatures::NAMES.iter().map(|(bit, name)| (bit.0, *name)))
}

/// One port, with a space in front and a newline behind.
fn write_port(f: &mut Formatter<'_>, version: Version, port: &PortDesc) -> fmt::Result {
    let printable: String =
        port.name.to_string().chars().take_while(|c| c.is_ascii_graphic() || *c == ' ').collect();
    writeln!(f, " {}({printable}): addr:{}", PortName(port.port, &NO_NAMES), port.mac)?;
    writeln!(f, "     config:     {}", config(port.config))?;
    let state = bits(port.state.0, PortState::NAMES.iter().map(|(bit, name)| (bit.0, *name)));
    writeln!(f, "     state:      {state}")?;
    for (name, set) in [
        ("current:    ", port.current),
        ("advertised: ", port.advertised),
        ("supported:  ", port.supported),
        ("peer:       ", port.peer),
    ] {
        if set != PortFeatures::NONE {
            writeln!(f, "     {name}{}", features(set))?;
        }
    }
    let speeds = match version {
        // 1.0 has no field for them.
        Version::V10 => [port.current, port.supported].map(mbps),
        _ => [port.current_speed, port.max_speed].map(|kbps| kbps / 1000),
    };
    writeln!(f, "     speed: {} Mbps now, {} Mbps max", speeds[0], speeds[1])
}

/// The highest rate among features, in Mbit/s.
fn mbps(features: PortFeatures) -> u32 {
    const RATES: [(PortFeatures, u32); 9] = [
        (PortFeatures::FD_1T, 1_000_000),
        (PortFeatures::FD_100G, 100_000),
        (PortFeatures::FD_40G, 40_000),
        (PortFeatures::FD_10G, 10_000),
        (PortFeatures::FD_1G, 1000),
        (PortFeatures::HD_1G, 1000),
        (PortFeatures::FD_100M, 100),
        (PortFeatures::HD_100M, 100),
        (PortFeatures(PortFeatures::HD_10M.0 | PortFeatures::FD_10M.0), 10),
    ];
    RATES.iter().find(|(rate, _)| rate.0 & features.0 != 0).map_or(0, |(_, mbps)| *mbps)
}

pub(super) fn write_ports(f: &mut Formatter<'_>, version: Version, ports: &[PortDesc]) -> fmt::Result {
    let mut sorted: Vec<&PortDesc> = ports.iter().collect();
    sorted.sort_by_key(|port| port.port);
    sorted.into_iter().try_for_each(|port| write_port(f, version, port))
}

pub(super) fn write_status(f: &mut Formatter<'_>, version: Version, status: &PortStatus) -> fmt::Result {
    f.write_str(match status.reason {
        PortReason::Add => " ADD:",
        PortReason::Delete => " DEL:",
        PortReason::Modify => " MOD:",
    })?;
    write_port(f, version, &status.desc)
}

pub(super) fn write_mod(f: &mut Formatter<'_>, port: &PortMod, names: &Names) -> fmt::Result {
    writeln!(f, " port: {}: addr:{}", PortName(port.port, names), port.mac)?;
    writeln!(f, "     config: {}\n     mask:   {}", config(port.config), config(port.mask))?;
    match port.advertise {
        PortFeatures::NONE => writeln!(f, "     advertise: UNCHANGED"),
        set => writeln!(f, "     advertise: {}", features(set)),
    }
}

/// A counter, `?` if it is not kept.
struct Count(u64);

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX { f.write_str("?") } else { self.0.fmt(f) }
    }
}

/// `name=counter` for each, with commas between them.
pub(super) fn counts(pairs: &[(&str, u64)]) -> String {
    let words: Vec<_> = pairs.iter().map(|(name, count)| format!("{name}={}", Count(*count))).collect();
    words.join(", ")
}

pub(super) fn write_stats(
    f: &mut Formatter<'_>,
    version: Version,
    all: &[PortStats],
    names: &Names,
) -> fmt::Result {
    writeln!(f, " {} ports", all.len())?;
    for s in all {
        let rx = [
            ("pkts", s.rx_packets),
            ("bytes", s.rx_bytes),
            ("drop", s.rx_dropped),
            ("errs", s.rx_errors),
            ("frame", s.rx_frame_err),
            ("over", s.rx_over_err),
            ("crc", s.rx_crc_err),
        ];
        let tx = [
            ("pkts", s.tx_packets),
            ("bytes", s.tx_bytes),
            ("drop", s.tx_dropped),
            ("errs", s.tx_errors),
            ("coll", s.collisions),
        ];
        writeln!(f, "  port {:>2}: rx {}", PortName(s.port, names), counts(&rx))?;
        writeln!(f, "           tx {}", counts(&tx))?;
        // 1.0 does not say how long a port has existed.
        if version != Version::V10 {
            writeln!(f, "           duration={}", Seconds(s.duration))?;
        }
    }
    Ok(())
}
