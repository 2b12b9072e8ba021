//! Lists of properties: type, length, value, padding to 8 bytes (1.4 §7.2 and where they stand).

use crate::codec::reader::{Decoded, Reader};
use crate::error::BadProperty;

/// Type of the properties of experimenters.
pub(in crate::codec) const EXPERIMENTER: u16 = 0xffff;

/// How much of a property was looked at.
pub(in crate::codec) enum Checked {
    /// All of it: what is left is an error.
    Whole,
    /// As much as we know of it.
    Part,
}

/// Reads properties until the end of `r`.
pub(in crate::codec) fn read(
    r: &mut Reader<'_>,
    mut one: impl FnMut(u16, &mut Reader<'_>) -> Decoded<Checked>,
) -> Decoded<()> {
    let bad_len = |_| BadProperty::BadLen;
    while !r.is_empty() {
        let mut header = Reader::new(r.take(4).map_err(bad_len)?, BadProperty::BadLen);
        let (kind, len) = (header.u16()?, usize::from(header.u16()?));
        let value = len.checked_sub(4).ok_or(BadProperty::BadLen)?;
        let mut body = Reader::new(r.take(value).map_err(bad_len)?, BadProperty::BadLen);
        r.skip((8 - len % 8) % 8).map_err(bad_len)?;
        if matches!(one(kind, &mut body)?, Checked::Whole) {
            body.finish()?;
        }
    }
    Ok(())
}

/// Passes over properties, none of which matters.
pub(in crate::codec) fn skip(r: &mut Reader<'_>) -> Decoded<()> {
    read(r, |_, _| Ok(Checked::Part))
}

/// Reads the properties of a request that has none but those of experimenters.
pub(in crate::codec) fn refuse(r: &mut Reader<'_>) -> Decoded<()> {
    read(r, |kind, _| Err(unknown(kind).into()))
}

/// The error for a property that a request must not have.
pub(in crate::codec) fn unknown(kind: u16) -> BadProperty {
    if kind == EXPERIMENTER { BadProperty::BadExperimenter } else { BadProperty::BadType }
}
