//! How ports are named in YAML, on the command line and over REST.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

use packet::MacAddr;

/// Why a text does not name a port. The text says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No known kind before the colon.
    #[error(
        "\"{0}\" does not name a port: one of netns:NS/IF, tap:NAME, hosttap:NAME, afpacket:IF, link:A/B, mem:NAME, pcap:FILE is expected"
    )]
    Kind(String),
    /// The part after the colon is not what the kind needs.
    #[error("\"{spec}\": {expected} is expected after \"{kind}:\"")]
    Target {
        /// The whole text.
        spec: String,
        /// The kind that was recognised.
        kind: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
    /// Not an interface name of Linux.
    #[error(
        "\"{0}\" is not an interface name: 1 to 15 characters without \"/\", \":\", \"%\" and white space are expected"
    )]
    Interface(String),
    /// An option that does not exist.
    #[error(
        "unknown port option \"{0}\": offload=on|off, queues=N, mtu=N, mac=ADDRESS, owner=UID and out=FILE exist"
    )]
    Option(String),
    /// An option with a value it cannot have.
    #[error("port option {name}={value}: {expected} is expected")]
    Value {
        /// The option.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}

/// A name the kernel takes for an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Checks length and characters (`dev_valid_name` of Linux, and no `%`, which the kernel would expand).
    ///
    /// # Errors
    /// [`SpecError::Interface`] with what is allowed.
    pub fn new(name: &str) -> Result<Self, SpecError> {
        let valid = (1..16).contains(&name.len())
            && name != "."
            && name != ".."
            && name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%'));
        if valid { Ok(Self(name.to_owned())) } else { Err(SpecError::Interface(name.to_owned())) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InterfaceName {
    type Err = SpecError;

    fn from_str(s: &str) -> Result<Self, SpecError> {
        Self::new(s)
    }
}

/// What a port is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// `netns:NS/IF`: a tap inside a namespace, whose descriptor stays here.
    Netns {
        /// A name under `/run/netns`, a path, or `pid:N`.
        namespace: String,
        /// The interface the container will see.
        interface: InterfaceName,
    },
    /// `tap:NAME`: a persistent tap whose descriptor a VM monitor owns.
    Tap(InterfaceName),
    /// `hosttap:NAME`: a tap that stays on the host and whose descriptor is ours.
    HostTap(InterfaceName),
    /// `afpacket:IF`: an existing interface.
    AfPacket(InterfaceName),
    /// `link:A/B`: joins two engines of one process; made by the dataplane, not by [`open`](crate::open).
    Link {
        /// The other engine.
        engine: String,
        /// The port of the other engine.
        port: String,
    },
    /// `mem:NAME`: two ports of one name in one process are joined; `mem:` alone swallows what it is sent.
    Mem(String),
    /// `pcap:FILE`: the frames of a file are received once; what is sent goes to the option `out`.
    Pcap(PathBuf),
}

impl PortKind {
    /// The word before the colon.
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Netns { .. } => "netns",
            Self::Tap(_) => "tap",
            Self::HostTap(_) => "hosttap",
            Self::AfPacket(_) => "afpacket",
            Self::Link { .. } => "link",
            Self::Mem(_) => "mem",
            Self::Pcap(_) => "pcap",
        }
    }
}

/// What any port may be told after its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortOptions {
    /// `offload=off`: frames leave segmented and with complete checksums.
    pub offload_off: bool,
    /// `queues=N`: queues of a tap; else one a worker.
    pub n_queues: Option<u16>,
    /// `mtu=N`: MTU to give to a device that is made.
    pub mtu: Option<u32>,
    /// `mac=ADDRESS`: address to give to a device that is made.
    pub mac: Option<MacAddr>,
    /// `owner=UID`: the user that may open a `tap:` without privilege.
    pub owner: Option<u32>,
    /// `out=FILE`: where a `pcap:` port writes what it is sent.
    pub out: Option<PathBuf>,
}

/// A port as people name it: `KIND:TARGET[,OPTION=VALUE]...`.
///
/// ```
/// let spec: netio::PortSpec = "netns:web/eth0,offload=off".parse()?;
/// assert_eq!(spec.to_string(), "netns:web/eth0,offload=off");
/// # Ok::<(), netio::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// What it is made of.
    pub kind: PortKind,
    /// What else was said.
    pub options: PortOptions,
}

impl From<PortKind> for PortSpec {
    fn from(kind: PortKind) -> Self {
        Self { kind, options: PortOptions::default() }
    }
}

impl FromStr for PortSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut parts = text.split(',');
        let kind = parse_kind(text, parts.next().unwrap_or_default())?;
        let mut options = PortOptions::default();
        for part in parts {
            parse_option(part, &mut options)?;
        }
        Ok(Self { kind, options })
    }
}

fn parse_kind(spec: &str, first: &str) -> Result<PortKind, SpecError> {
    let (keyword, target) = first.split_once(':').ok_or_else(|| SpecError::Kind(spec.to_owned()))?;
    let wrong = |kind, expected| SpecError::Target { spec: spec.to_owned(), kind, expected };
    match keyword {
        "netns" => {
            let (namespace, interface) = target
                .rsplit_once('/')
                .filter(|(ns, _)| !ns.is_empty())
                .ok_or_else(|| wrong("netns", "NAMESPACE/INTERFACE, such as web/eth0 or pid:4711/eth0,"))?;
            let interface = InterfaceName::new(interface)?;
            Ok(PortKind::Netns { namespace: namespace.to_owned(), interface })
        }
        "tap" => InterfaceName::new(target).map(PortKind::Tap),
        "hosttap" => InterfaceName::new(target).map(PortKind::HostTap),
        "afpacket" => InterfaceName::new(target).map(PortKind::AfPacket),
        "link" => {
            let (engine, port) = target
                .split_once('/')
                .filter(|(a, b)| !a.is_empty() && !b.is_empty())
                .ok_or_else(|| wrong("link", "ENGINE/PORT, such as s2/3,"))?;
            Ok(PortKind::Link { engine: engine.to_owned(), port: port.to_owned() })
        }
        "mem" => Ok(PortKind::Mem(target.to_owned())),
        "pcap" if target.is_empty() => Err(wrong("pcap", "the path of a file")),
        "pcap" => Ok(PortKind::Pcap(target.into())),
        _ => Err(SpecError::Kind(spec.to_owned())),
    }
}

fn parse_option(part: &str, options: &mut PortOptions) -> Result<(), SpecError> {
    let (name, value) = part.split_once('=').ok_or_else(|| SpecError::Option(part.to_owned()))?;
    let wrong = |name, expected| SpecError::Value { name, value: value.to_owned(), expected };
    match name {
        "offload" => {
            options.offload_off = match value {
                "on" => false,
                "off" => true,
                _ => return Err(wrong("offload", "on or off")),
            }
        }
        "queues" => {
            let n = value.parse().ok().filter(|n| (1..=64).contains(n));
            options.n_queues = Some(n.ok_or_else(|| wrong("queues", "a number from 1 to 64"))?);
        }
        "mtu" => {
            let mtu = value.parse().ok().filter(|n| (68..=65_521).contains(n));
            options.mtu = Some(mtu.ok_or_else(|| wrong("mtu", "a number from 68 to 65521"))?);
        }
        "mac" => {
            let mac = value.parse::<MacAddr>().ok().filter(|m| m.is_unicast());
            options.mac = Some(mac.ok_or_else(|| wrong("mac", "a unicast MAC address"))?);
        }
        "owner" => options.owner = Some(value.parse().map_err(|_| wrong("owner", "a numeric user id"))?),
        "out" if value.is_empty() => return Err(wrong("out", "the path of a file")),
        "out" => options.out = Some(value.into()),
        _ => return Err(SpecError::Option(part.to_owned())),
    }
    Ok(())
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.keyword())?;
        match self {
            Self::Netns { namespace, interface } => write!(f, "{namespace}/{interface}"),
            Self::Tap(name) | Self::HostTap(name) | Self::AfPacket(name) => name.fmt(f),
            Self::Link { engine, port } => write!(f, "{engine}/{port}"),
            Self::Mem(name) => f.write_str(name),
            Self::Pcap(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortOptions { offload_off, n_queues, mtu, mac, owner, out } = &self.options;
        self.kind.fmt(f)?;
        if *offload_off {
            f.write_str(",offload=off")?;
        }
        if let Some(n) = n_queues {
            write!(f, ",queues={n}")?;
        }
        if let Some(mtu) = mtu {
            write!(f, ",mtu={mtu}")?;
        }
        if let Some(mac) = mac {
            write!(f, ",mac={mac}")?;
        }
        if let Some(owner) = owner {
            write!(f, ",owner={owner}")?;
        }
        out.as_ref().map_or(Ok(()), |path| write!(f, ",out={}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_round_trips() {
        for text in [
            "netns:web/eth0",
            "netns:/run/netns/web/eth0",
            "netns:pid:4711/eth0,offload=off,queues=2,mtu=9000,mac=02:00:00:00:00:01",
            "tap:vm1,owner=1000",
            "hosttap:t0",
            "afpacket:eth1,offload=off",
            "link:s2/3",
            "mem:",
            "mem:x",
            "pcap:in.pcap,out=out.pcap",
        ] {
            let spec: PortSpec = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn wrong_texts_say_what_is_expected() {
        for (text, part) in [
            ("eth0", "netns:NS/IF"),
            ("veth:eth0", "netns:NS/IF"),
            ("netns:eth0", "NAMESPACE/INTERFACE"),
            ("netns:/eth0", "NAMESPACE/INTERFACE"),
            ("netns:a/", "is not an interface name"),
            ("tap:0123456789abcdef", "1 to 15 characters"),
            ("tap:a b", "1 to 15 characters"),
            ("tap:tap%d", "1 to 15 characters"),
            ("link:s2", "ENGINE/PORT"),
            ("pcap:", "path"),
            ("tap:a,offload", "unknown port option"),
            ("tap:a,speed=1", "unknown port option"),
            ("tap:a,offload=maybe", "on or off"),
            ("tap:a,queues=0", "1 to 64"),
            ("tap:a,mtu=67", "68 to 65521"),
            ("tap:a,mac=01:00:00:00:00:00", "unicast"),
        ] {
            let error = text.parse::<PortSpec>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
