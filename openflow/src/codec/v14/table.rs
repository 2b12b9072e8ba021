//! Tables with their properties (1.4 §7.3.3, §7.3.5.6, §7.4.5).

use super::property::{self, Checked};
use crate::codec::EncodeError;
use crate::codec::reader::{Decoded, Reader};
use crate::codec::writer::Put;
use crate::error::{BadProperty, BadRequest};
use crate::{TableDesc, TableId, TableMod, TableReason, TableStatus, Vacancy};

/// Properties of tables (ofp_table_mod_prop_type).
const EVICTION: u16 = 2;
const VACANCY: u16 = 3;

type Properties = (Option<u32>, Option<Vacancy>);

fn write_properties(out: &mut Vec<u8>, (eviction, vacancy): Properties) {
    if let Some(flags) = eviction {
        out.u16(EVICTION);
        out.u16(8);
        out.u32(flags);
    }
    if let Some(vacancy) = vacancy {
        out.u16(VACANCY);
        out.u16(8);
        out.u8(vacancy.down);
        out.u8(vacancy.up);
        out.u8(vacancy.current);
        out.zeros(1);
    }
}

/// Properties that are not known are refused if `strict`, else left out.
fn read_properties(r: &mut Reader<'_>, strict: bool) -> Decoded<Properties> {
    let (mut eviction, mut vacancy) = (None, None);
    property::read(r, |kind, body| {
        match kind {
            EVICTION => {
                let old = eviction.replace(body.u32()?);
                old.map_or(Ok(()), |_| Err(BadProperty::DupType))?;
            }
            VACANCY => {
                let new = Vacancy { down: body.u8()?, up: body.u8()?, current: body.u8()? };
                body.skip(1)?;
                let old = vacancy.replace(new);
                old.map_or(Ok(()), |_| Err(BadProperty::DupType))?;
            }
            other if strict => return Err(property::unknown(other).into()),
            _ => return Ok(Checked::Part),
        }
        Ok(Checked::Whole)
    })?;
    Ok((eviction, vacancy))
}

pub(super) fn write_mod(out: &mut Vec<u8>, m: &TableMod) {
    out.u8(m.table.0);
    out.zeros(3);
    out.u32(m.config);
    write_properties(out, (m.eviction, m.vacancy));
}

pub(super) fn read_mod(r: &mut Reader<'_>) -> Decoded<TableMod> {
    let table = TableId(r.u8()?);
    r.skip(3)?;
    let config = r.u32()?;
    let (eviction, vacancy) = read_properties(r, true)?;
    Ok(TableMod { table, config, eviction, vacancy })
}

pub(super) fn write_desc(out: &mut Vec<u8>, d: &TableDesc) -> Result<(), EncodeError> {
    let start = out.len();
    out.u16(0);
    out.u8(d.table.0);
    out.zeros(1);
    out.u32(d.config);
    write_properties(out, (d.eviction, d.vacancy));
    out.patch_len(start, start)
}

pub(super) fn read_desc(r: &mut Reader<'_>) -> Decoded<TableDesc> {
    let len = usize::from(r.u16()?);
    let mut r = r.sub(len.checked_sub(2).ok_or(r.short())?, r.short())?;
    let table = TableId(r.u8()?);
    r.skip(1)?;
    let config = r.u32()?;
    let (eviction, vacancy) = read_properties(&mut r, false)?;
    Ok(TableDesc { table, config, eviction, vacancy })
}

pub(super) fn write_status(out: &mut Vec<u8>, m: &TableStatus) -> Result<(), EncodeError> {
    out.u8(m.reason.number());
    out.zeros(7);
    write_desc(out, &m.desc)
}

pub(super) fn read_status(r: &mut Reader<'_>) -> Decoded<TableStatus> {
    let reason = TableReason::from_number(r.u8()?).ok_or(BadRequest::BadType)?;
    r.skip(7)?;
    Ok(TableStatus { reason, desc: read_desc(r)? })
}
