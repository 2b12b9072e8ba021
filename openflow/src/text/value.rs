//! Values of fields: numbers, ports, addresses, with masks; read and written.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::TextError;
use super::lex::Word;
use super::naming::{Names, PortName};
use crate::oxm::Form;
use crate::{Field, MacAddr, Oxm, PortNo, ports};

/// A number, decimal or with `0x`.
pub(super) fn number(text: &str) -> Option<u128> {
    let digits = |s: &str, radix| {
        Some(s)
            .filter(|s| s.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|s| u128::from_str_radix(s, radix).ok())
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => digits(hex, 16),
        None => digits(text, 10),
    }
}

/// A number that fits.
pub(super) fn int<T: TryFrom<u128>>(word: &Word<'_>) -> Result<T, TextError> {
    let text = word.need()?;
    int_of(text).ok_or_else(|| word.value_error(format!("no number that {} can take", word.name)))
}

pub(super) fn int_of<T: TryFrom<u128>>(text: &str) -> Option<T> {
    number(text).and_then(|n| T::try_from(n).ok())
}

/// A port number, the name of a reserved one in either case, or what the switch calls one.
pub(super) fn port(text: &str, names: &Names) -> Option<PortNo> {
    let named = ports::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(port, _)| *port);
    // OpenFlow 1.0 called it so.
    let none = text.eq_ignore_ascii_case("none").then_some(ports::ANY);
    let numbered = || match int_of::<u32>(text)? {
        // OpenFlow 1.0 knew reserved ports by 16 bits; ovs-ofctl still takes them.
        n @ 0xff00..=0xffff => Some(PortNo(n | 0xffff_0000)),
        n => Some(PortNo(n)),
    };
    named.or(none).or_else(numbered).or_else(|| names.port(text))
}

/// The value of `field`, with its mask if `text` has one.
pub(super) fn oxm(field: Field, text: &str, names: &Names) -> Result<Oxm, String> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, Some(mask)),
        None => (text, None),
    };
    let bits = exact(field, value, names)?;
    let Some(mask) = mask else {
        return Ok(Oxm { field, value: bits, mask: None });
    };
    let mask = read_mask(field, mask, names)?;
    // As ovs-ofctl does, bits outside the mask are forgotten.
    Ok(Oxm { field, value: bits & mask, mask: Some(mask) })
}

/// A value without mask.
pub(super) fn exact(field: Field, text: &str, names: &Names) -> Result<u128, String> {
    let bits = match field.form() {
        Form::Decimal | Form::Hex => number(text).ok_or("no number")?,
        Form::Port => port(text, names).ok_or("no port")?.0.into(),
        Form::Mac => text.parse::<MacAddr>().map_err(|e| e.to_string())?.to_u64().into(),
        Form::Ipv4 => text.parse::<Ipv4Addr>().map_err(|_| "no IPv4 address")?.to_bits().into(),
        Form::Ipv6 => text.parse::<Ipv6Addr>().map_err(|_| "no IPv6 address")?.to_bits(),
    };
    if bits > field.full_mask() {
        return Err(format!("{field} has only {} bits", field.bits()));
    }
    Ok(bits)
}

fn read_mask(field: Field, text: &str, names: &Names) -> Result<u128, String> {
    if let (Form::Ipv4 | Form::Ipv6, Ok(len)) = (field.form(), text.parse::<u8>()) {
        let host = field
            .bits()
            .checked_sub(len)
            .ok_or_else(|| format!("a prefix of {field} is at most {}", field.bits()))?;
        return Ok(field.full_mask().checked_shl(host.into()).unwrap_or(0) & field.full_mask());
    }
    if text == "-1" {
        return Ok(field.full_mask());
    }
    // A mask may have bits that the field has not, such as 0xffff for a flag word of 12 bits.
    match field.form() {
        Form::Decimal | Form::Hex => {
            number(text).map(|m| m & field.full_mask()).ok_or_else(|| "no mask".to_owned())
        }
        _ => exact(field, text, names),
    }
}

/// Writes a value with its mask in the way ovs-ofctl does.
pub(super) struct Value<'a>(pub &'a Oxm, pub &'a Names);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let oxm = self.0;
        self.bits(f, oxm.value)?;
        let Some(mask) = oxm.mask else { return Ok(()) };
        let host = mask.trailing_zeros();
        let prefix = mask == (oxm.field.full_mask() >> host) << host;
        match oxm.field.form() {
            Form::Ipv4 | Form::Ipv6 if prefix => {
                write!(f, "/{}", u32::from(oxm.field.bits()).saturating_sub(host))
            }
            _ => {
                f.write_str("/")?;
                self.bits(f, mask)
            }
        }
    }
}

impl Value<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "a value has no more bits than its field")]
    fn bits(&self, f: &mut fmt::Formatter<'_>, bits: u128) -> fmt::Result {
        match self.0.field.form() {
            Form::Decimal if self.0.mask.is_none() => write!(f, "{bits}"),
            Form::Decimal | Form::Hex => write!(f, "{bits:#x}"),
            Form::Port => fmt::Display::fmt(&PortName(PortNo(bits as u32), self.1), f),
            Form::Mac => fmt::Display::fmt(&MacAddr::from_u64(bits as u64), f),
            Form::Ipv4 => fmt::Display::fmt(&Ipv4Addr::from_bits(bits as u32), f),
            Form::Ipv6 => fmt::Display::fmt(&Ipv6Addr::from_bits(bits), f),
        }
    }
}
