//! Values written as one string: MAC addresses, prefixes, datapath ids, port references.
//!
//! Each is checked once, where it is read, so that an error carries the position of the string itself.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

/// A string that is not what its field wants. Display says what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found:?}")]
pub struct TextError {
    /// What the field takes, with an example.
    pub expected: &'static str,
    /// What was written.
    pub found: String,
}

impl TextError {
    pub(crate) fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.to_owned() }
    }
}

/// Implements serde, schemars and utoipa for a type that is `FromStr` and `Display`.
macro_rules! text_value {
    ($type:ident, $pattern:literal, $example:literal, $description:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($description)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                from.deserialize_str(Text)
            }
        }
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "pattern": $pattern, "description": $description, "examples": [$example]
                })
            }
        }
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .description(Some($description))
                    .examples([serde_json::json!($example)])
                    .into()
            }
        }
        impl utoipa::ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
        }
    };
}

pub(crate) use text_value;

/// A MAC address, written `02:00:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new("a MAC address such as 02:00:00:00:00:01", text);
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(octets)) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

text_value!(Mac, "^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$", "02:00:00:00:00:01", "a MAC address");

/// Bits a second, written `500M`, `2.5G` or `64000` (powers of 1000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rate(pub u64);

const UNITS: [(&str, u64); 3] = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];

impl FromStr for Rate {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new("bits a second such as 500M, 2.5G or 64000", text);
        let unit = UNITS.iter().find_map(|(name, factor)| Some((text.strip_suffix(name)?, *factor)));
        let (digits, factor) = unit.unwrap_or((text, 1));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let number = |part: &str| -> Result<u64, TextError> {
            let digits = !part.is_empty() && part.len() <= 12 && part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse().map_err(|_| wrong()) } else { Err(wrong()) }
        };
        let whole = number(whole)?.checked_mul(factor).ok_or_else(wrong)?;
        let part = u128::from(number(fraction)?) * u128::from(factor) / 10u128.pow(fraction.len() as u32);
        Ok(Self(whole.checked_add(part as u64).ok_or_else(wrong)?))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => self.0.fmt(f),
        }
    }
}

text_value!(Rate, "^[0-9]+(\\.[0-9]+)?[kMG]?$", "20M", "bits a second such as 20M");

/// An address with the length of its prefix, `10.1.0.1/24`. Host bits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr(pub IpNet);

impl Cidr {
    /// One address alone.
    pub fn host(address: IpAddr) -> Self {
        Self(address.into())
    }
    /// The address as written.
    pub fn addr(self) -> IpAddr {
        self.0.addr()
    }
    /// Length of the prefix in bits.
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }
}

impl FromStr for Cidr {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = |_| TextError::new("an address and prefix length such as 10.1.0.1/24", text);
        text.parse().map(Self).map_err(wrong)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(Cidr, "^[0-9A-Fa-f.:]+/[0-9]{1,3}$", "10.1.0.1/24", "an IP address and its prefix length");

/// An address and a TCP or UDP port, `10.1.0.2:80` or `[2001:db8::2]:80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(pub SocketAddr);

impl FromStr for Endpoint {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = |_| TextError::new("an address and port such as 10.1.0.2:80", text);
        text.parse().map(Self).map_err(wrong)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(Endpoint, "^.+:[0-9]{1,5}$", "10.1.0.2:80", "an IP address and a TCP or UDP port");

/// A datapath id. Written as 16 hexadecimal digits; read also as `0x1`, as digits in groups with colons, or `of:...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dpid(pub u64);

impl FromStr for Dpid {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new("a datapath id of up to 16 hexadecimal digits", text);
        let digits = text.strip_prefix("of:").or_else(|| text.strip_prefix("0x")).unwrap_or(text);
        let digits = digits.replace(':', "");
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !hexadecimal || digits.is_empty() || digits.len() > 16 {
            return Err(wrong());
        }
        u64::from_str_radix(&digits, 16).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Dpid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

text_value!(Dpid, "^(of:|0x)?[0-9A-Fa-f:]{1,23}$", "0000000000000001", "a datapath id in hexadecimal");

/// A port of a node, `s1:1`: the node's name (or a switch's dpid in 16 digits), a colon, the port's number or name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRef {
    /// Name of the node, or the dpid of a switch.
    pub node: String,
    /// Number or name of the port (or interface).
    pub port: String,
}

impl PortRef {
    /// `node:port`.
    pub fn new(node: impl Into<String>, port: impl ToString) -> Self {
        Self { node: node.into(), port: port.to_string() }
    }
}

impl FromStr for PortRef {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        match text.split_once(':') {
            Some((node, port)) if !node.is_empty() && !port.is_empty() && !port.contains(':') => {
                Ok(Self::new(node, port))
            }
            _ => Err(TextError::new("NODE:PORT such as s1:1", text)),
        }
    }
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.port)
    }
}

text_value!(PortRef, "^[^:]+:[^:]+$", "s1:1", "a port of a node, NODE:PORT");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_values_read_what_they_write() {
        assert_eq!("02:00:00:00:00:01".parse::<Mac>().unwrap().to_string(), "02:00:00:00:00:01");
        assert_eq!("10.1.0.1/24".parse::<Cidr>().unwrap().to_string(), "10.1.0.1/24");
        assert_eq!("s1:1".parse::<PortRef>().unwrap(), PortRef::new("s1", 1));
        for text in ["1", "0x1", "of:0000000000000001", "00:00:00:00:00:00:00:01"] {
            assert_eq!(text.parse::<Dpid>().unwrap(), Dpid(1), "{text}");
        }
    }

    #[test]
    fn errors_name_what_was_expected() {
        let error = serde_json::from_str::<Mac>("\"02:00\"").unwrap_err().to_string();
        assert!(error.starts_with("expected a MAC address such as"), "{error}");
        for text in ["s1", "s1:", ":1", "s1:1:2"] {
            assert!(text.parse::<PortRef>().is_err(), "{text}");
        }
        for text in ["", "g", "+1", "00000000000000001"] {
            assert!(text.parse::<Dpid>().is_err(), "{text}");
        }
        assert!("02:00:00:00:00:0g".parse::<Mac>().is_err());
        assert!("10.1.0.1/33".parse::<Cidr>().is_err());
    }
}
