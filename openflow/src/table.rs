//! Flow tables (§7.3.3, §7.3.5.4, §7.3.5.5).

use crate::types::wire_enum;
use crate::{Field, Name, TableId};

/// The configuration bit of a table that evicts flows (OFPTC_EVICTION, 1.4).
pub const TABLE_EVICTION: u32 = 1 << 2;
/// The configuration bit of a table that tells how full it is (OFPTC_VACANCY_EVENTS, 1.4).
pub const TABLE_VACANCY_EVENTS: u32 = 1 << 3;

/// When a table tells how full it is (ofp_table_mod_prop_vacancy, 1.4). All in percent of free entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacancy {
    /// Tells when fewer are free.
    pub down: u8,
    /// Tells when more are free again.
    pub up: u8,
    /// Free now; zero in a table mod.
    pub current: u8,
}

/// A table as configured (ofp_table_desc, 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableDesc {
    /// Which table.
    pub table: TableId,
    /// Configuration bits.
    pub config: u32,
    /// How it evicts (ofp_table_mod_prop_eviction_flag).
    pub eviction: Option<u32>,
    /// When it tells how full it is.
    pub vacancy: Option<Vacancy>,
}

wire_enum! {
    /// What happened to a table (ofp_table_reason, 1.4).
    TableReason(u8) {
        /// Fewer entries are free than the lower threshold.
        VacancyDown = 3,
        /// More entries are free than the upper threshold.
        VacancyUp = 4,
    }
}

/// A table changed (1.4 §7.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStatus {
    /// What happened.
    pub reason: TableReason,
    /// The table.
    pub desc: TableDesc,
}

/// Configures a table (§7.3.3). In 1.3 no bit of `config` has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMod {
    /// Which table, or [`TableId::ALL`].
    pub table: TableId,
    /// Configuration bits.
    pub config: u32,
    /// How to evict flows (1.4; ofp_table_mod_prop_eviction_flag).
    pub eviction: Option<u32>,
    /// When to tell how full it is (1.4).
    pub vacancy: Option<Vacancy>,
}

/// Counters of a table (§7.3.5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// The table.
    pub table: TableId,
    /// Most flows it holds; zero in versions after 1.0, which say it with the features.
    pub max_entries: u32,
    /// Flows in it.
    pub active: u32,
    /// Packets looked up.
    pub lookups: u64,
    /// Packets that matched.
    pub matched: u64,
}

/// One property of a table (§7.3.5.5.2). Each list has one for flows and one for the table-miss flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableFeature {
    /// Instruction types.
    Instructions {
        /// For the table-miss flow.
        miss: bool,
        /// Types on the wire.
        types: Vec<u16>,
    },
    /// Tables that goto-table may name.
    NextTables {
        /// For the table-miss flow.
        miss: bool,
        /// The tables.
        tables: Vec<TableId>,
    },
    /// Action types of write-actions or apply-actions.
    Actions {
        /// Apply-actions, else write-actions.
        apply: bool,
        /// For the table-miss flow.
        miss: bool,
        /// Types on the wire.
        types: Vec<u16>,
    },
    /// Fields that may be matched; true if with a mask.
    Match(Vec<(Field, bool)>),
    /// Fields that need not be matched.
    Wildcards(Vec<Field>),
    /// Fields that set-field may write.
    SetField {
        /// In apply-actions, else write-actions.
        apply: bool,
        /// For the table-miss flow.
        miss: bool,
        /// The fields.
        fields: Vec<Field>,
    },
    /// A type this version does not define, or one of an experimenter.
    Unknown {
        /// The type on the wire.
        kind: u16,
        /// What follows type and length.
        data: Vec<u8>,
    },
}

/// What a table can do (§7.3.5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFeatures {
    /// The table.
    pub table: TableId,
    /// Its name.
    pub name: Name<32>,
    /// Bits of metadata it can match.
    pub metadata_match: u64,
    /// Bits of metadata it can write.
    pub metadata_write: u64,
    /// Configuration bits.
    pub config: u32,
    /// Most flows.
    pub max_entries: u32,
    /// Its properties.
    pub features: Vec<TableFeature>,
}
