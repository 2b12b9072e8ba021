//! `tcp:`, `ssl:`, `ptcp:`, `pssl:`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, bail};

/// Where OpenFlow is spoken if no port is given (IANA).
const OPENFLOW_PORT: u16 = 6653;

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain.
    Tcp,
    /// Encrypted, both sides showing a certificate.
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tls => "ssl",
        })
    }
}

/// Somebody to connect to: `tcp:HOST[:PORT]` or `ssl:HOST[:PORT]`, HOST an address or a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Plain or encrypted.
    pub transport: Transport,
    /// An address without brackets, or a name that is looked up for each attempt.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, host, port } = self;
        if host.contains(':') {
            write!(f, "{transport}:[{host}]:{port}")
        } else {
            write!(f, "{transport}:{host}:{port}")
        }
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || format!("\"{text}\" is no controller: tcp:HOST[:PORT] or ssl:HOST[:PORT] is expected");
        let (transport, rest) = match text.split_once(':') {
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            Some(("ssl", rest)) => (Transport::Tls, rest),
            _ => bail!(wrong()),
        };
        if let Some(port) = too_high(rest) {
            bail!("\"{text}\": there is no port {port}, they end at 65535");
        }
        let (host, port) = host_and_port(rest).with_context(wrong)?;
        Ok(Self { transport, host, port })
    }
}

/// The port behind the last colon, if it is a number that no port has.
fn too_high(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    // An address of IPv6 without a port has other colons and no brackets.
    let is_port = !host.contains(':') || host.ends_with(']');
    let is_number = port.len() >= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && is_number && port.parse::<u16>().is_err()).then_some(port)
}

fn host_and_port(text: &str) -> anyhow::Result<(String, u16)> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok((addr.ip().to_string(), addr.port()));
    }
    if let Ok(addr) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok((addr.to_string(), OPENFLOW_PORT));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, port.parse().with_context(|| format!("\"{port}\" is no port"))?),
        None => (text, OPENFLOW_PORT),
    };
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        && name.chars().any(|c| c.is_ascii_alphabetic());
    if !is_name {
        bail!("\"{name}\" is no host");
    }
    Ok((name.to_owned(), port))
}

/// Where to listen: `ptcp:[PORT][:ADDRESS]` or `pssl:[PORT][:ADDRESS]` as ovs-vsctl writes it, `tcp:ADDRESS[:PORT]`,
/// `ssl:ADDRESS[:PORT]`, or the bare `ADDRESS:PORT`. On the loopback unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listen {
    /// Plain or encrypted.
    pub transport: Transport,
    /// Port 0 takes a free one.
    pub addr: SocketAddr,
}

impl From<SocketAddr> for Listen {
    fn from(addr: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, addr }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.addr)
    }
}

impl FromStr for Listen {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || {
            format!(
                "\"{text}\" is no place to listen: ptcp:[PORT][:ADDRESS] or pssl:[PORT][:ADDRESS] is expected"
            )
        };
        let (transport, passive, rest) = match text.split_once(':') {
            Some(("ptcp", rest)) => (Transport::Tcp, true, rest),
            Some(("pssl", rest)) => (Transport::Tls, true, rest),
            Some(("tcp", rest)) => (Transport::Tcp, false, rest),
            Some(("ssl", rest)) => (Transport::Tls, false, rest),
            _ => (Transport::Tcp, false, text),
        };
        let addr = if passive { passive_addr(rest) } else { active_addr(rest) }.with_context(wrong)?;
        Ok(Self { transport, addr })
    }
}

fn passive_addr(text: &str) -> anyhow::Result<SocketAddr> {
    let (port, addr) = match text.split_once(':') {
        Some((port, addr)) => (port, addr.trim_matches(['[', ']']).parse()?),
        None => (text, IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    let port = if port.is_empty() { OPENFLOW_PORT } else { port.parse()? };
    Ok(SocketAddr::new(addr, port))
}

fn active_addr(text: &str) -> anyhow::Result<SocketAddr> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let addr: IpAddr = text.trim_matches(['[', ']']).parse()?;
    Ok(SocketAddr::new(addr, OPENFLOW_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_listen_are_read_as_open_vswitch_writes_them() {
        for (text, is) in [
            ("ptcp:6654", "tcp:127.0.0.1:6654"),
            ("ptcp:6654:[::1]", "tcp:[::1]:6654"),
            ("ptcp:", "tcp:127.0.0.1:6653"),
            ("pssl:", "ssl:127.0.0.1:6653"),
            ("pssl::10.0.0.1", "ssl:10.0.0.1:6653"),
            ("pssl:6640:0.0.0.0", "ssl:0.0.0.0:6640"),
            ("tcp:127.0.0.1:0", "tcp:127.0.0.1:0"),
            ("ssl:127.0.0.1", "ssl:127.0.0.1:6653"),
            ("127.0.0.1:7", "tcp:127.0.0.1:7"),
        ] {
            assert_eq!(text.parse::<Listen>().expect(text).to_string(), is, "{text}");
        }
        for bad in ["tcp:6654", "ptcp:x", "ptcp:70000", "6654", "pssl:1:host", "", "tls:1"] {
            let error = bad.parse::<Listen>().expect_err(bad);
            assert!(error.to_string().contains("pssl:[PORT]"), "{error:#}");
        }
    }

    #[test]
    fn controllers_are_addresses_or_names() {
        for (text, is) in [
            ("tcp:10.0.0.1", "tcp:10.0.0.1:6653"),
            ("tcp:[::1]:7", "tcp:[::1]:7"),
            ("ssl:::1", "ssl:[::1]:6653"),
            ("ssl:onos-1.example:6640", "ssl:onos-1.example:6640"),
            ("ssl:controller", "ssl:controller:6653"),
        ] {
            assert_eq!(text.parse::<Target>().expect(text).to_string(), is, "{text}");
        }
        for bad in ["10.0.0.1:6653", "tcp:", "tcp:6653", "ssl:a b", "ssl:h:x", "ptcp:6653", "tcp:a/b"] {
            let error = bad.parse::<Target>().expect_err(bad);
            assert!(error.to_string().contains("ssl:HOST"), "{error:#}");
        }
        for bad in ["ssl:h:70000", "tcp:127.0.0.1:99999", "tcp:[::1]:65536"] {
            let error = bad.parse::<Target>().expect_err(bad);
            assert!(error.to_string().contains("they end at 65535"), "{error:#}");
        }
        assert_eq!("tcp:::99999".parse::<Target>().ok(), None);
    }
}
