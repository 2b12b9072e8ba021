//! Match fields and matches on the wire (§7.2.3).

use crate::codec::EncodeError;
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::error::BadMatch;
use crate::oxm::{CLASS_BASIC, CLASS_EXPERIMENTER, ONF};
use crate::{ErrorKind, Field, Match, Oxm};

/// A match made of OXM fields (OFPMT_OXM).
const MATCH_OXM: u16 = 1;

/// What stands in front of a value: class, field and mask bit, length (§7.2.3.2).
#[derive(Clone, Copy)]
pub(in crate::codec) struct OxmHeader {
    class: u16,
    id: u8,
    pub has_mask: bool,
    len: usize,
}

impl OxmHeader {
    pub fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        let (class, bits, len) = (r.u16()?, r.u8()?, r.u8()?);
        Ok(Self { class, id: bits >> 1, has_mask: bits & 1 == 1, len: len.into() })
    }

    /// Its length may stand in a list of fields, where no value follows: that of the value, with its mask or without, or
    /// none, as os-ken writes it.
    pub fn is_id_of(&self, field: Field) -> bool {
        let experimenter = if self.class == CLASS_EXPERIMENTER { 4 } else { 0 };
        let values = [0, 1, if self.has_mask { 2 } else { 1 }];
        self.len == 0 || values.iter().any(|n| self.len == n * field.bytes() + experimenter)
    }

    /// The field, if this is one we know. For one of an experimenter, its id is read from `r`.
    pub fn field(&self, r: &mut Reader<'_>) -> Decoded<Option<Field>> {
        match self.class {
            CLASS_BASIC => Ok(Field::from_id(self.id)),
            CLASS_EXPERIMENTER => {
                let experimenter = r.u32()?;
                let known = experimenter == ONF && self.id == Field::TcpFlags.id();
                Ok(known.then_some(Field::TcpFlags))
            }
            _ => Ok(None),
        }
    }
}

/// How the caller wants errors named: a match and a set-field action have different codes.
#[derive(Clone, Copy)]
pub(in crate::codec) struct OxmErrors {
    pub unknown: ErrorKind,
    pub len: ErrorKind,
}

/// What one OXM turned out to be.
pub(in crate::codec) enum OxmRead {
    Known(Oxm),
    Unknown,
}

/// Reads one OXM with its value and mask, as it stands: widths and masks are not judged here.
pub(in crate::codec) fn read_oxm(r: &mut Reader<'_>, errors: OxmErrors) -> Decoded<OxmRead> {
    let header = OxmHeader::read(r)?;
    let mut payload = r.sub(header.len, errors.len)?;
    let Some(field) = header.field(&mut payload)? else { return Ok(OxmRead::Unknown) };
    let value = payload.uint(field.bytes())?;
    let mask = if header.has_mask { Some(payload.uint(field.bytes())?) } else { None };
    payload.finish()?;
    Ok(OxmRead::Known(Oxm { field, value, mask }))
}

fn put_header(out: &mut Vec<u8>, field: Field, has_mask: bool) {
    let experimenter = field.class() == CLASS_EXPERIMENTER;
    let values = if has_mask { 2 } else { 1 };
    let len = field.bytes() * values + if experimenter { 4 } else { 0 };
    out.u16(field.class());
    out.u8((field.id() << 1) | u8::from(has_mask));
    out.u8(u8::try_from(len).expect("two values of 16 bytes fit"));
    if experimenter {
        out.u32(ONF);
    }
}

/// The header alone, as table features list fields.
pub(in crate::codec) fn write_oxm_id(out: &mut Vec<u8>, field: Field, has_mask: bool) {
    put_header(out, field, has_mask);
}

pub(in crate::codec) fn write_oxm(out: &mut Vec<u8>, oxm: &Oxm) {
    put_header(out, oxm.field, oxm.mask.is_some());
    out.uint(oxm.value, oxm.field.bytes());
    if let Some(mask) = oxm.mask {
        out.uint(mask, oxm.field.bytes());
    }
}

pub(in crate::codec) fn write_match(out: &mut Vec<u8>, matches: &Match) -> Result<(), EncodeError> {
    let start = out.len();
    out.u16(MATCH_OXM);
    out.u16(0);
    for oxm in matches {
        write_oxm(out, oxm);
    }
    out.patch_len(start + 2, start)?;
    out.pad8(start);
    Ok(())
}

/// Reads the fields of a match with its padding.
fn read_fields<'a>(r: &mut Reader<'a>) -> Decoded<Reader<'a>> {
    let (kind, len) = (r.u16()?, usize::from(r.u16()?));
    if kind != MATCH_OXM {
        return Err(BadMatch::BadType.into());
    }
    let payload = len.checked_sub(4).ok_or(BadMatch::BadLen)?;
    if payload > r.remaining() {
        return Err(BadMatch::BadLen.into());
    }
    let fields = r.sub(payload, BadMatch::BadLen)?;
    if r.remaining() < (8 - len % 8) % 8 {
        return Err(BadMatch::BadLen.into());
    }
    r.skip((8 - len % 8) % 8)?;
    Ok(fields)
}

const MATCH_ERRORS: OxmErrors = OxmErrors {
    unknown: ErrorKind::BadMatch(BadMatch::BadField),
    len: ErrorKind::BadMatch(BadMatch::BadLen),
};

/// A match that must be one: of a request, or of a flow.
pub(in crate::codec) fn read_match(r: &mut Reader<'_>) -> Decoded<Match> {
    let fields = read_fields(r)?.list(|r| match read_oxm(r, MATCH_ERRORS)? {
        OxmRead::Known(oxm) => Ok(oxm),
        OxmRead::Unknown => Err(MATCH_ERRORS.unknown),
    })?;
    Match::from_fields(fields).map_err(|error| error.code().into())
}

/// A match that a switch reports. A packet-in has pipeline fields without their prerequisites, and a flow may have
/// fields that we do not know, which are left out, or masks that the standard does not allow.
pub(in crate::codec) fn read_reported_match(r: &mut Reader<'_>) -> Decoded<Match> {
    let fields = read_fields(r)?.list(|r| read_oxm(r, MATCH_ERRORS))?;
    Ok(Match::pipeline(fields.into_iter().filter_map(|oxm| match oxm {
        OxmRead::Known(oxm) => Some(oxm),
        OxmRead::Unknown => None,
    })))
}
