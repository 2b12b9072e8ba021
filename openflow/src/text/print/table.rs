//! Tables: counters, configuration and features.

use core::fmt::{self, Formatter};

use super::features::action_names;
use crate::text::naming::{Names, TableName};
use crate::{
    Field, TABLE_EVICTION, TABLE_VACANCY_EVENTS, TableDesc, TableFeature, TableFeatures, TableId, TableMod,
    TableReason, TableStats, TableStatus,
};

/// Tables that are like the one before them: the first and the last.
#[derive(Default)]
struct Ditto(Option<(TableId, TableId)>);

impl Ditto {
    fn add(&mut self, table: TableId) {
        self.0 = Some((self.0.map_or(table, |(first, _)| first), table));
    }

    fn write(&mut self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.take() {
            None => Ok(()),
            Some((first, last)) if first == last => writeln!(f, "\n  table {first}: ditto"),
            Some((first, last)) => writeln!(f, "\n  tables {first}...{last}: ditto"),
        }
    }
}

/// Writes one entry after the other; those like the one before them together.
fn write_each<T>(
    f: &mut Formatter<'_>,
    all: &[T],
    table: impl Fn(&T) -> TableId,
    same: impl Fn(&T, &T) -> bool,
    write: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str("\n")?;
    let mut ditto = Ditto::default();
    for (idx, entry) in all.iter().enumerate() {
        let before = idx.checked_sub(1).and_then(|idx| all.get(idx));
        if before.is_some_and(|before| same(before, entry)) {
            ditto.add(table(entry));
            continue;
        }
        ditto.write(f)?;
        if idx > 0 {
            f.write_str("\n")?;
        }
        write(f, entry)?;
    }
    ditto.write(f)
}

pub(super) fn write_stats(f: &mut Formatter<'_>, all: &[TableStats], names: &Names) -> fmt::Result {
    let same = |a: &TableStats, b: &TableStats| TableStats { table: b.table, ..*a } == *b;
    write_each(
        f,
        all,
        |stats| stats.table,
        same,
        |f, stats| {
            let TableStats { table, max_entries, active, lookups, matched } = stats;
            write!(f, "  table {table}")?;
            if names.table_name(*table).is_some() {
                write!(f, " ({})", TableName(*table, names))?;
            }
            writeln!(f, ":\n    active={active}, lookup={lookups}, matched={matched}")?;
            // Only 1.0 says it here.
            if *max_entries == 0 { Ok(()) } else { writeln!(f, "    max_entries={max_entries}") }
        },
    )
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What makes one flow go before another (ofp_table_mod_prop_eviction_flag).
fn eviction_flags(flags: u32) -> String {
    let names = [(1, "OTHER"), (2, "IMPORTANCE"), (4, "LIFETIME")];
    super::bits(flags, names.into_iter()).replace(' ', "|")
}

fn write_desc(f: &mut Formatter<'_>, desc: &TableDesc) -> fmt::Result {
    writeln!(f, "  table {}:", desc.table)?;
    let flags = desc.eviction.map_or_else(|| "(default)".to_owned(), eviction_flags);
    writeln!(f, "   eviction={} eviction_flags={flags}", on_off(desc.config & TABLE_EVICTION != 0))?;
    match desc.vacancy {
        Some(v) if desc.config & TABLE_VACANCY_EVENTS != 0 => {
            writeln!(f, "   vacancy=on vacancy_down={}% vacancy_up={}% vacancy={}%", v.down, v.up, v.current)
        }
        _ => writeln!(f, "   vacancy=off"),
    }
}

pub(super) fn write_descs(f: &mut Formatter<'_>, all: &[TableDesc]) -> fmt::Result {
    for desc in all {
        f.write_str("\n")?;
        write_desc(f, desc)?;
    }
    Ok(())
}

pub(super) fn write_status(f: &mut Formatter<'_>, status: &TableStatus) -> fmt::Result {
    let reason = match status.reason {
        TableReason::VacancyDown => "VACANCY_DOWN",
        TableReason::VacancyUp => "VACANCY_UP",
    };
    writeln!(f, " reason={reason}\ntable_desc:-")?;
    write_desc(f, &status.desc)
}

pub(super) fn write_mod(f: &mut Formatter<'_>, table: &TableMod) -> fmt::Result {
    match table.table {
        TableId::ALL => f.write_str(" table_id=ALL_TABLES")?,
        table => write!(f, " table_id={table}")?,
    }
    let vacancy = table.config & TABLE_VACANCY_EVENTS != 0;
    let eviction = table.config & TABLE_EVICTION != 0;
    write!(f, ", eviction={}, vacancy={}", on_off(eviction), on_off(vacancy))?;
    match table.vacancy {
        Some(v) if vacancy => write!(f, " vacancy:{},{}", v.down, v.up),
        _ => Ok(()),
    }
}

/// Numbers of instruction types and their names, in order.
const INSTRUCTIONS: &[(u16, &str)] = &[
    (6, "meter"),
    (4, "apply_actions"),
    (5, "clear_actions"),
    (3, "write_actions"),
    (2, "write_metadata"),
    (1, "goto_table"),
];

pub(super) fn write_features(f: &mut Formatter<'_>, all: &[TableFeatures]) -> fmt::Result {
    let same = |a: &TableFeatures, b: &TableFeatures| {
        // The next table has one table less to go to: that is no difference.
        let next = |of: &TableFeatures| {
            let tables = of.features.iter().filter_map(|feature| match feature {
                TableFeature::NextTables { tables, .. } => {
                    Some(tables.iter().copied().filter(|t| *t > b.table).collect::<Vec<_>>())
                }
                _ => None,
            });
            tables.collect::<Vec<_>>()
        };
        let rest = |of: &TableFeatures| {
            let mut of = of.clone();
            of.features.retain(|feature| !matches!(feature, TableFeature::NextTables { .. }));
            (
                of.name.to_string().replace(&of.table.to_string(), ""),
                of.features,
                of.metadata_match,
                of.metadata_write,
            )
        };
        next(a) == next(b) && rest(a) == rest(b) && a.max_entries == b.max_entries && a.config == b.config
    };
    write_each(f, all, |features| features.table, same, write_table)
}

fn write_table(f: &mut Formatter<'_>, of: &TableFeatures) -> fmt::Result {
    write!(f, "  table {}", of.table)?;
    if !of.name.is_empty() {
        write!(f, " (\"{}\")", of.name)?;
    }
    writeln!(f, ":\n    metadata: match={:#x} write={:#x}", of.metadata_match, of.metadata_write)?;
    writeln!(f, "    max_entries={}", of.max_entries)?;
    let (hit, miss) = (Instructions::of(of, false), Instructions::of(of, true));
    if hit == miss {
        hit.write(f, "instructions (table miss and others)")?;
    } else {
        hit.write(f, "instructions (other than table miss)")?;
        miss.write(f, "instructions (table miss)")?;
    }
    write_matching(f, of)
}

/// What a flow, or the table-miss flow, may do.
#[derive(Default, PartialEq)]
struct Instructions {
    next: Vec<TableId>,
    types: Vec<u16>,
    write: ActionSet,
    apply: ActionSet,
}

#[derive(Default, PartialEq)]
struct ActionSet {
    types: u32,
    fields: Vec<Field>,
}

impl Instructions {
    /// A table-miss flow that is not described can do what the others can (§7.3.5.5.2).
    fn of(table: &TableFeatures, want_miss: bool) -> Self {
        let mut this = Self::default();
        for (wanted, feature) in
            [false, want_miss].iter().flat_map(|w| table.features.iter().map(move |f| (*w, f)))
        {
            match feature {
                TableFeature::NextTables { miss, tables } if *miss == wanted => this.next.clone_from(tables),
                TableFeature::Instructions { miss, types } if *miss == wanted => this.types.clone_from(types),
                TableFeature::Actions { apply, miss, types } if *miss == wanted => {
                    let bits = types.iter().filter(|kind| **kind < 32).fold(0, |bits, kind| bits | 1 << kind);
                    this.actions(*apply).types = bits;
                }
                TableFeature::SetField { apply, miss, fields } if *miss == wanted => {
                    this.actions(*apply).fields.clone_from(fields);
                }
                _ => {}
            }
        }
        this
    }

    fn actions(&mut self, apply: bool) -> &mut ActionSet {
        if apply { &mut self.apply } else { &mut self.write }
    }

    fn write(&self, f: &mut Formatter<'_>, title: &str) -> fmt::Result {
        writeln!(f, "    {title}:")?;
        if !self.next.is_empty() {
            writeln!(f, "      next tables: {}", ranges(&self.next))?;
        }
        let names = INSTRUCTIONS.iter().filter(|(kind, _)| self.types.contains(kind)).map(|(_, name)| *name);
        writeln!(f, "      instructions: {}", names.collect::<Vec<_>>().join(" "))?;
        if self.write == self.apply {
            return self.write.write(f, "Write-Actions and Apply-Actions features");
        }
        self.write.write(f, "Write-Actions features")?;
        self.apply.write(f, "Apply-Actions features")
    }
}

impl ActionSet {
    fn write(&self, f: &mut Formatter<'_>, title: &str) -> fmt::Result {
        writeln!(f, "      {title}:\n        actions: {}", action_names(self.types))?;
        writeln!(f, "        supported on Set-Field: {}", field_names(self.fields.iter().copied()))
    }
}

fn field_names(fields: impl Iterator<Item = Field>) -> String {
    fields.map(Field::name).collect::<Vec<_>>().join(" ")
}

fn write_matching(f: &mut Formatter<'_>, of: &TableFeatures) -> fmt::Result {
    let mut fields: &[(Field, bool)] = &[];
    let mut wild: &[Field] = &[];
    for feature in &of.features {
        match feature {
            TableFeature::Match(all) => fields = all,
            TableFeature::Wildcards(all) => wild = all,
            _ => {}
        }
    }
    f.write_str("    matching:\n")?;
    for (title, masked, may_be_wild) in [
        ("arbitrary mask", true, true),
        ("exact match or wildcard", false, true),
        ("must exact match", false, false),
    ] {
        let these = fields
            .iter()
            .filter(|(field, mask)| *mask == masked && (*mask || wild.contains(field) == may_be_wild));
        let names = field_names(these.map(|(field, _)| *field));
        if !names.is_empty() {
            writeln!(f, "      {title}: {names}")?;
        }
    }
    Ok(())
}

/// `1-3,7` for 1, 2, 3 and 7.
fn ranges(tables: &[TableId]) -> String {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for TableId(table) in tables {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*table) => *last = *table,
            _ => runs.push((*table, *table)),
        }
    }
    let texts = runs.into_iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    texts.collect::<Vec<_>>().join(",")
}
