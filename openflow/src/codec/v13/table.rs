//! Tables (§7.3.3, §7.3.5.4, §7.3.5.5).

use super::oxm::{OxmHeader, write_oxm_id};
use crate::codec::EncodeError;
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::error::{TableFeaturesFailed, TableModFailed};
use crate::{Field, TableFeature, TableFeatures, TableId, TableMod, TableStats};

pub(in crate::codec) fn write_mod(out: &mut Vec<u8>, m: &TableMod) {
    out.u8(m.table.0);
    out.zeros(3);
    out.u32(m.config);
}

pub(in crate::codec) fn read_mod(r: &mut Reader<'_>) -> Decoded<TableMod> {
    let table = TableId(r.u8()?);
    r.skip(3)?;
    let config = r.u32()?;
    // No bit but the deprecated ones means anything before 1.4.
    if config & !3 != 0 {
        return Err(TableModFailed::BadConfig.into());
    }
    Ok(TableMod { table, config, eviction: None, vacancy: None })
}

pub(in crate::codec) fn write_stats(out: &mut Vec<u8>, s: &TableStats) {
    out.u8(s.table.0);
    out.zeros(3);
    out.u32(s.active);
    out.u64(s.lookups);
    out.u64(s.matched);
}

pub(in crate::codec) fn read_stats(r: &mut Reader<'_>) -> Decoded<TableStats> {
    let table = TableId(r.u8()?);
    r.skip(3)?;
    Ok(TableStats { table, max_entries: 0, active: r.u32()?, lookups: r.u64()?, matched: r.u64()? })
}

/// Property types (ofp_table_feature_prop_type); the odd number after each but MATCH and WILDCARDS is for the
/// table-miss flow.
const INSTRUCTIONS: u16 = 0;
const NEXT_TABLES: u16 = 2;
const WRITE_ACTIONS: u16 = 4;
const APPLY_ACTIONS: u16 = 6;
const MATCH: u16 = 8;
const WILDCARDS: u16 = 10;
const WRITE_SETFIELD: u16 = 12;
const APPLY_SETFIELD: u16 = 14;

pub(in crate::codec) fn write_features(out: &mut Vec<u8>, t: &TableFeatures) -> Result<(), EncodeError> {
    let start = out.len();
    out.u16(0);
    out.u8(t.table.0);
    out.zeros(5);
    out.name(&t.name);
    out.u64(t.metadata_match);
    out.u64(t.metadata_write);
    out.u32(t.config);
    out.u32(t.max_entries);
    for feature in &t.features {
        write_feature(out, feature)?;
    }
    out.patch_len(start, start)
}

fn write_feature(out: &mut Vec<u8>, feature: &TableFeature) -> Result<(), EncodeError> {
    let start = out.len();
    let base = match feature {
        TableFeature::Instructions { miss, .. } => INSTRUCTIONS + u16::from(*miss),
        TableFeature::NextTables { miss, .. } => NEXT_TABLES + u16::from(*miss),
        TableFeature::Actions { apply: false, miss, .. } => WRITE_ACTIONS + u16::from(*miss),
        TableFeature::Actions { apply: true, miss, .. } => APPLY_ACTIONS + u16::from(*miss),
        TableFeature::Match(_) => MATCH,
        TableFeature::Wildcards(_) => WILDCARDS,
        TableFeature::SetField { apply: false, miss, .. } => WRITE_SETFIELD + u16::from(*miss),
        TableFeature::SetField { apply: true, miss, .. } => APPLY_SETFIELD + u16::from(*miss),
        TableFeature::Unknown { kind, .. } => *kind,
    };
    out.u16(base);
    out.u16(0);
    match feature {
        TableFeature::Instructions { types, .. } | TableFeature::Actions { types, .. } => {
            for kind in types {
                out.u16(*kind);
                out.u16(4);
            }
        }
        TableFeature::NextTables { tables, .. } => tables.iter().for_each(|t| out.u8(t.0)),
        TableFeature::Match(fields) => fields.iter().for_each(|(f, mask)| write_oxm_id(out, *f, *mask)),
        TableFeature::Wildcards(fields) | TableFeature::SetField { fields, .. } => {
            fields.iter().for_each(|f| write_oxm_id(out, *f, false));
        }
        TableFeature::Unknown { data, .. } => out.bytes(data),
    }
    out.patch_len(start + 2, start)?;
    out.pad8(start);
    Ok(())
}

/// What becomes of fields that we do not know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// They are left out of what a switch reports.
    LeftOut,
    /// A switch cannot do what is asked of it.
    Refused,
}

/// What a table can do, as its switch says.
pub(in crate::codec) fn read_features(r: &mut Reader<'_>) -> Decoded<TableFeatures> {
    read_table(r, Unknown::LeftOut)
}

/// What a table shall be able to do, as a controller asks.
pub(in crate::codec) fn read_wanted(r: &mut Reader<'_>) -> Decoded<TableFeatures> {
    read_table(r, Unknown::Refused)
}

fn read_table(r: &mut Reader<'_>, unknown: Unknown) -> Decoded<TableFeatures> {
    let bad_len = TableFeaturesFailed::BadLen;
    let len = usize::from(r.u16()?);
    let rest = len.checked_sub(2).filter(|&n| n <= r.remaining()).ok_or(bad_len)?;
    let mut r = r.sub(rest, bad_len)?;
    let table = TableId(r.u8()?);
    r.skip(5)?;
    Ok(TableFeatures {
        table,
        name: r.name()?,
        metadata_match: r.u64()?,
        metadata_write: r.u64()?,
        config: r.u32()?,
        max_entries: r.u32()?,
        features: r.list(|r| read_feature(r, unknown))?,
    })
}

fn read_feature(r: &mut Reader<'_>, unknown: Unknown) -> Decoded<TableFeature> {
    let (kind, len) = (r.u16()?, usize::from(r.u16()?));
    let mut body = r.sub(len.checked_sub(4).ok_or(r.short())?, r.short())?;
    r.skip((8 - len % 8) % 8)?;
    let (base, miss) = (kind & !1, kind & 1 == 1);
    let feature = match (base, kind) {
        (INSTRUCTIONS, _) => TableFeature::Instructions { miss, types: read_types(&mut body)? },
        (NEXT_TABLES, _) => TableFeature::NextTables { miss, tables: body.list(|r| r.u8().map(TableId))? },
        (WRITE_ACTIONS, _) => TableFeature::Actions { apply: false, miss, types: read_types(&mut body)? },
        (APPLY_ACTIONS, _) => TableFeature::Actions { apply: true, miss, types: read_types(&mut body)? },
        (_, MATCH) => TableFeature::Match(read_fields(&mut body, unknown)?),
        (_, WILDCARDS) => TableFeature::Wildcards(without_masks(&mut body, unknown)?),
        (WRITE_SETFIELD | APPLY_SETFIELD, _) => {
            let fields = without_masks(&mut body, unknown)?;
            TableFeature::SetField { apply: base == APPLY_SETFIELD, miss, fields }
        }
        _ => TableFeature::Unknown { kind, data: body.rest().to_vec() },
    };
    Ok(feature)
}

/// Types of instructions or actions: a header each, experimenters with a body, which is left out.
fn read_types(r: &mut Reader<'_>) -> Decoded<Vec<u16>> {
    r.list(|r| {
        let (kind, len) = (r.u16()?, usize::from(r.u16()?));
        r.skip(len.checked_sub(4).ok_or(r.short())?)?;
        Ok(kind)
    })
}

/// Fields with their mask bit.
fn read_fields(r: &mut Reader<'_>, unknown: Unknown) -> Decoded<Vec<(Field, bool)>> {
    let mut fields = Vec::new();
    while !r.is_empty() {
        let header = OxmHeader::read(r)?;
        match header.field(r)? {
            Some(field) if unknown == Unknown::Refused && !header.is_id_of(field) => {
                return Err(TableFeaturesFailed::BadLen.into());
            }
            Some(field) => fields.push((field, header.has_mask)),
            // §7.4.4.14: the switch does not support this value of the property.
            None if unknown == Unknown::Refused => return Err(TableFeaturesFailed::BadArgument.into()),
            None => {}
        }
    }
    Ok(fields)
}

fn without_masks(r: &mut Reader<'_>, unknown: Unknown) -> Decoded<Vec<Field>> {
    Ok(read_fields(r, unknown)?.into_iter().map(|(field, _)| field).collect())
}
