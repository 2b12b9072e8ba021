//! Meters: `meter=1 kbps burst stats bands= type=drop rate=1000 burst_size=100`.

use core::fmt::{self, Display, Formatter};

use super::extension::UNSUPPORTED;
use super::lex::{Word, bare_words};
use super::value::{int, int_of};
use super::{TextError, whole};
use crate::{Band, BandKind, MeterConfig, MeterFlags, MeterId, MeterMod, MeterModCommand};

/// Meters that have names.
const NAMED: &[(&str, MeterId)] =
    &[("all", MeterId::ALL), ("controller", MeterId::CONTROLLER), ("slowpath", MeterId::SLOWPATH)];

/// Reads a meter modification, as `ovs-ofctl add-meter` takes it. A deletion has nothing but `meter=`, and without that
/// is of every meter.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_meter_mod(command: MeterModCommand, text: &str) -> Result<MeterMod, TextError> {
    let all = bare_words(text)?;
    let deletes = command == MeterModCommand::Delete;
    let n_head = all.iter().position(|word| word.name == "bands").unwrap_or(all.len());
    let (head, bands) = all.split_at(n_head);
    let mut meter = None;
    let mut flags = MeterFlags::NONE;
    for word in head {
        if word.name == "meter" {
            meter = Some(meter_id(word)?);
            continue;
        }
        let flag = MeterFlags::NAMES.iter().find(|(_, name)| *name == word.name && !deletes);
        let Some((flag, _)) = flag else {
            let known = ["meter", "kbps", "pktps", "burst", "stats", "bands"];
            return Err(word.unknown("no such property of a meter", known));
        };
        word.bare()?;
        flags = flags | *flag;
    }
    let meter = match meter {
        Some(meter) if meter != MeterId::ALL || deletes => meter,
        None if deletes => MeterId::ALL,
        _ => return Err(whole(text, "meter=NUMBER is missing")),
    };
    if !deletes && flags.contains(MeterFlags::KBPS) == flags.contains(MeterFlags::PKTPS) {
        return Err(whole(text, "a meter measures either kbps or pktps"));
    }
    let bands = read_bands(text, bands, flags)?;
    match (deletes, bands.is_empty()) {
        (true, false) => Err(whole(text, "a deletion has no bands")),
        (false, true) => Err(whole(text, "bands= is missing")),
        _ => Ok(MeterMod { command, flags, meter, bands }),
    }
}

/// Reads what `dump-meters` and `meter-stats` take: `meter=1`, `1`, `all` or nothing.
///
/// # Errors
/// Names the word that is wrong and where it stands.
pub fn parse_meter_id(text: &str) -> Result<MeterId, TextError> {
    match bare_words(text)?.as_slice() {
        [] => Ok(MeterId::ALL),
        [word] if word.name == "meter" => meter_id(word),
        [word] if word.value.is_none() => named(word.name).ok_or_else(|| word.error("no meter")),
        [word, ..] => Err(word.unknown("no such property of a meter", ["meter"])),
    }
}

fn named(text: &str) -> Option<MeterId> {
    let found = NAMED.iter().find(|(name, _)| *name == text).map(|(_, meter)| *meter);
    found.or_else(|| int_of(text).map(MeterId))
}

fn meter_id(word: &Word<'_>) -> Result<MeterId, TextError> {
    named(word.need()?).ok_or_else(|| word.value_error("a number, all, controller or slowpath is expected"))
}

fn read_bands(text: &str, all: &[Word<'_>], flags: MeterFlags) -> Result<Vec<Band>, TextError> {
    let Some((start, rest)) = all.split_first() else { return Ok(Vec::new()) };
    let first = start.inner()?;
    let mut bands: Vec<Band> = Vec::new();
    for word in first.iter().chain(rest) {
        if word.name == "type" {
            let kind = match word.need()? {
                "drop" => BandKind::Drop,
                "dscp_remark" => BandKind::DscpRemark { prec_level: 0 },
                _ => return Err(word.value_error("no type: drop or dscp_remark is expected")),
            };
            bands.push(Band { kind, rate: 0, burst: 0 });
            continue;
        }
        let Some(band) = bands.last_mut() else { return Err(word.error("a band begins with type=")) };
        match (word.name, &mut band.kind) {
            ("rate", _) => band.rate = int(word)?,
            ("burst_size", _) if flags.contains(MeterFlags::BURST) => band.burst = int(word)?,
            ("burst_size", _) => return Err(word.error("needs the flag burst")),
            ("prec_level", BandKind::DscpRemark { prec_level }) => *prec_level = int(word)?,
            ("prec_level", _) => return Err(word.error("is for bands of type=dscp_remark")),
            ("experimenter", _) => return Err(word.error(UNSUPPORTED)),
            _ => {
                let known = ["type", "rate", "burst_size", "prec_level"];
                return Err(word.unknown("no such property of a band", known));
            }
        }
    }
    if bands.iter().any(|band| band.rate == 0) {
        return Err(whole(text, "a band has no rate="));
    }
    Ok(bands)
}

/// A meter by its name, if it has one.
pub(super) struct MeterName(pub MeterId);

impl Display for MeterName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(_, meter)| *meter == self.0) {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// `kbps burst stats `, with a space behind each.
pub(super) struct MeterFlagNames(pub MeterFlags);

impl Display for MeterFlagNames {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let set = MeterFlags::NAMES.iter().filter(|(flag, _)| self.0.contains(*flag));
        set.map(|(_, name)| name).try_for_each(|name| write!(f, "{name} "))
    }
}

fn write_meter(f: &mut Formatter<'_>, meter: MeterId, flags: MeterFlags, bands: &[Band]) -> fmt::Result {
    write!(f, "meter={} {}bands=", MeterName(meter), MeterFlagNames(flags))?;
    for band in bands {
        let kind = match band.kind {
            BandKind::Drop => "drop".to_owned(),
            BandKind::DscpRemark { .. } => "dscp_remark".to_owned(),
            BandKind::Experimenter { .. } => "experimenter".to_owned(),
            BandKind::Unknown { kind } => kind.to_string(),
        };
        write!(f, "\ntype={kind} rate={}", band.rate)?;
        if flags.contains(MeterFlags::BURST) {
            write!(f, " burst_size={}", band.burst)?;
        }
        if let BandKind::DscpRemark { prec_level } = band.kind {
            write!(f, " prec_level={prec_level}")?;
        }
    }
    Ok(())
}

impl Display for MeterConfig {
    /// As `dump-meters` writes it: a line, and one more for each band.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_meter(f, self.meter, self.flags, &self.bands)
    }
}

impl Display for MeterMod {
    /// The meter as add-meter, mod-meter or del-meters take it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.command {
            MeterModCommand::Delete => write!(f, "meter={}", MeterName(self.meter)),
            _ => write_meter(f, self.meter, self.flags, &self.bands),
        }
    }
}
