//! The options that all verbs share.

use std::time::Duration;

use openflow::Version;

use super::sort::SortOptions;
use crate::channel::TlsFiles;

/// Options, before or behind the verb.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Options {
    /// Versions that may be spoken; the highest that the switch speaks, too, is used.
    #[arg(
        short = 'O', long = "protocols", value_name = "VERSION", value_delimiter = ',', global = true,
        value_parser = version, default_value = SPOKEN
    )]
    protocols: Vec<Version>,
    /// Give up after so many seconds.
    #[arg(short = 't', long, value_name = "SECONDS", global = true, value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Modify and delete only the flow with the same match and priority.
    #[arg(long, global = true)]
    pub strict: bool,
    /// All changes together or none (OpenFlow 1.4, or 1.3 with extension 230).
    #[arg(long, global = true)]
    pub bundle: bool,
    /// replace-flows: add flows that are already there, too.
    #[arg(long, global = true)]
    pub readd: bool,
    /// mod-group: make the group if there is none.
    #[arg(long, global = true)]
    pub may_create: bool,
    /// Show the names of ports and tables instead of their numbers.
    #[arg(long, global = true, overrides_with = "no_names")]
    pub names: bool,
    /// Neither show nor take names of ports and tables.
    #[arg(long, global = true, overrides_with = "names")]
    pub no_names: bool,
    /// dump-flows: show age and counters (the default).
    #[arg(long, global = true, overrides_with = "no_stats")]
    stats: bool,
    /// dump-flows: leave out age and counters, and cookies and tables of zero.
    #[arg(long, global = true, overrides_with = "stats")]
    pub no_stats: bool,
    #[command(flatten)]
    pub sort: SortOptions,
    /// monitor: the form of packet-ins; only that of the standard is there.
    #[arg(short = 'P', long, global = true, value_name = "FORMAT", value_parser = packet_in_format)]
    packet_in_format: Option<String>,
    /// monitor: the time in front of each message.
    #[arg(long, global = true)]
    pub timestamp: bool,
    #[command(flatten)]
    pub tls: TlsFiles,
}

/// What is spoken unless the user says otherwise.
const SPOKEN: &str = "OpenFlow10,OpenFlow13,OpenFlow14";

impl Options {
    /// Versions that may be spoken.
    pub fn versions(&self) -> Vec<Version> {
        self.protocols.clone()
    }
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "OpenFlow10" => Ok(Version::V10),
        "OpenFlow13" => Ok(Version::V13),
        "OpenFlow14" => Ok(Version::V14),
        "OpenFlow11" | "OpenFlow12" | "OpenFlow15" => Err("weft does not speak it".to_owned()),
        _ => Err("OpenFlow10, OpenFlow13 or OpenFlow14 is expected".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    if seconds == 0 {
        Err("at least one second is needed".to_owned())
    } else {
        Ok(Duration::from_secs(seconds))
    }
}

fn packet_in_format(text: &str) -> Result<String, String> {
    match text {
        "standard" | "openflow10" => Ok(text.to_owned()),
        "nxt_packet_in" | "nxt_packet_in2" | "nxm" => {
            Err("it is an extension of Open vSwitch (Nicira), which weft does not have".to_owned())
        }
        _ => Err("standard is expected".to_owned()),
    }
}
