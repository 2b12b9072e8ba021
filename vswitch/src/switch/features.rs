//! What each table can do, and what controllers make of it (§7.3.5.5): which tables there are, how many flows they
//! take, which fields, instructions and actions flows may have there, and where they may go.

use openflow::error::{BadAction, BadInstruction, BadMatch, TableFeaturesFailed};
use openflow::{
    Action, ErrorKind, Field, FlowMod, Instruction, Match, Oxm, Priority, TableFeature, TableFeatures,
    TableId,
};
use packet::Instant;

use super::Switch;
use super::flows::Filter;

/// Numbers of ofp_instruction_type that flows may have (§7.2.4).
const INSTRUCTIONS: [u16; 6] = [1, 2, 3, 4, 5, 6];
/// Numbers of ofp_action_type that flows may have (§7.2.5).
const ACTIONS: [u16; 16] = [0, 11, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27];

/// What is there of a table.
#[derive(Clone, Debug, Default)]
pub(super) enum TableShape {
    /// All that the switch can do.
    #[default]
    Full,
    /// What a controller asked for.
    Asked(Box<TableFeatures>),
    /// It is not in the pipeline.
    Off,
}

/// The number of an instruction on the wire.
const fn instruction_type(instruction: &Instruction) -> u16 {
    match instruction {
        Instruction::GotoTable(_) => 1,
        Instruction::WriteMetadata { .. } => 2,
        Instruction::WriteActions(_) => 3,
        Instruction::ApplyActions(_) => 4,
        Instruction::ClearActions => 5,
        Instruction::Meter(_) => 6,
        Instruction::Experimenter { .. } => u16::MAX,
        Instruction::Unknown { kind, .. } => *kind,
    }
}

/// The number of an action on the wire.
const fn action_type(action: &Action) -> u16 {
    match action {
        Action::Output { .. } | Action::Enqueue { .. } => 0,
        Action::CopyTtlOut => 11,
        Action::CopyTtlIn => 12,
        Action::SetMplsTtl(_) => 15,
        Action::DecMplsTtl => 16,
        Action::PushVlan(_) => 17,
        Action::PopVlan => 18,
        Action::PushMpls(_) => 19,
        Action::PopMpls(_) => 20,
        Action::SetQueue(_) => 21,
        Action::Group(_) => 22,
        Action::SetNwTtl(_) => 23,
        Action::DecNwTtl => 24,
        // What 1.0 has is told by these in later versions.
        Action::SetField(_) | Action::Rewrite(_) => 25,
        Action::PushPbb(_) => 26,
        Action::PopPbb => 27,
        Action::Experimenter { .. } => u16::MAX,
        Action::Unknown { kind, .. } => *kind,
    }
}

/// Everything a table among `n_tables` can do.
pub(super) fn full(table: u8, n_tables: u8, max_entries: u32) -> TableFeatures {
    let last = table + 1 == n_tables;
    let settable: Vec<Field> = Field::ALL.iter().copied().filter(|f| f.is_settable()).collect();
    let mut features = Vec::new();
    for miss in [false, true] {
        let types = INSTRUCTIONS.into_iter().filter(|&t| t != 1 || !last).collect();
        features.push(TableFeature::Instructions { miss, types });
        let tables = (table + 1..n_tables).map(TableId).collect();
        features.push(TableFeature::NextTables { miss, tables });
        for apply in [false, true] {
            features.push(TableFeature::Actions { apply, miss, types: ACTIONS.to_vec() });
            features.push(TableFeature::SetField { apply, miss, fields: settable.clone() });
        }
    }
    features.push(TableFeature::Match(Field::ALL.iter().map(|f| (*f, f.is_maskable())).collect()));
    features.push(TableFeature::Wildcards(Field::ALL.to_vec()));
    TableFeatures {
        table: TableId(table),
        name: format!("table{table}").into(),
        metadata_match: u64::MAX,
        metadata_write: u64::MAX,
        config: 0,
        max_entries,
        features,
    }
}

/// Which property it is, whatever it says; for the table-miss flow too.
fn kind(feature: &TableFeature) -> (u8, bool, bool) {
    match feature {
        TableFeature::Instructions { miss, .. } => (0, false, *miss),
        TableFeature::NextTables { miss, .. } => (1, false, *miss),
        TableFeature::Actions { apply, miss, .. } => (2, *apply, *miss),
        TableFeature::Match(_) => (3, false, false),
        TableFeature::Wildcards(_) => (4, false, false),
        TableFeature::SetField { apply, miss, .. } => (5, *apply, *miss),
        TableFeature::Unknown { .. } => (u8::MAX, false, false),
    }
}

fn all_in<T: PartialEq>(some: &[T], all: &[T]) -> bool {
    some.iter().all(|one| all.contains(one))
}

/// Of two properties of one kind, the first asks for no more than the second.
fn is_within(asked: &TableFeature, can: &TableFeature) -> bool {
    use TableFeature as F;
    match (asked, can) {
        (F::Instructions { types: a, .. }, F::Instructions { types: b, .. })
        | (F::Actions { types: a, .. }, F::Actions { types: b, .. }) => all_in(a, b),
        (F::NextTables { tables: a, .. }, F::NextTables { tables: b, .. }) => all_in(a, b),
        (F::SetField { fields: a, .. }, F::SetField { fields: b, .. })
        | (F::Wildcards(a), F::Wildcards(b)) => all_in(a, b),
        (F::Match(a), F::Match(b)) => {
            a.iter().all(|(field, mask)| b.iter().any(|(f, m)| f == field && (*m || !mask)))
        }
        _ => false,
    }
}

/// What a table becomes of which `asked` is wanted, if the switch can.
///
/// A property for the table-miss flow that is missing is as that for others (§7.3.5.5.2); of one that is missing
/// altogether nothing is asked, so all stays that the table can do.
fn shaped(asked: &TableFeatures, can: TableFeatures) -> Result<TableFeatures, ErrorKind> {
    if asked.config & !3 != 0 || asked.max_entries > can.max_entries {
        return Err(TableFeaturesFailed::BadArgument.into());
    }
    for (at, feature) in asked.features.iter().enumerate() {
        if matches!(feature, TableFeature::Unknown { .. }) {
            return Err(TableFeaturesFailed::BadType.into());
        }
        let twice = asked.features[..at].iter().any(|other| kind(other) == kind(feature));
        let fits = can.features.iter().any(|c| kind(c) == kind(feature) && is_within(feature, c));
        if twice || !fits {
            return Err(TableFeaturesFailed::BadArgument.into());
        }
    }
    let find = |wanted| asked.features.iter().find(|feature| kind(feature) == wanted);
    let features = can.features.into_iter().map(|feature| {
        let (which, apply, miss) = kind(&feature);
        match (find((which, apply, miss)), find((which, apply, false))) {
            (Some(asked), _) => asked.clone(),
            (None, Some(asked)) => for_miss(asked),
            (None, None) => feature,
        }
    });
    let features = features.collect();
    Ok(TableFeatures { features, name: asked.name.clone(), ..asked.clone() })
}

/// The same for the table-miss flow.
fn for_miss(feature: &TableFeature) -> TableFeature {
    let mut feature = feature.clone();
    match &mut feature {
        TableFeature::Instructions { miss, .. }
        | TableFeature::NextTables { miss, .. }
        | TableFeature::Actions { miss, .. }
        | TableFeature::SetField { miss, .. } => *miss = true,
        TableFeature::Match(_) | TableFeature::Wildcards(_) | TableFeature::Unknown { .. } => {}
    }
    feature
}

/// What flows may do is the same.
fn is_same(a: &TableFeatures, b: &TableFeatures) -> bool {
    (a.metadata_match, a.metadata_write, &a.features) == (b.metadata_match, b.metadata_write, &b.features)
}

/// Whether a table that a controller restricted takes a flow.
pub(super) fn check(
    table: &TableFeatures,
    (priority, matches): (Priority, &Match),
    instructions: &[Instruction],
) -> Result<(), ErrorKind> {
    let miss = priority.0 == 0 && matches.is_empty();
    if !miss {
        check_match(table, matches)?;
    }
    let has = |ask: &dyn Fn(&TableFeature) -> bool| table.features.iter().any(ask);
    for instruction in instructions {
        let number = instruction_type(instruction);
        if !has(
            &|f| matches!(f, TableFeature::Instructions { miss: m, types } if *m == miss && types.contains(&number)),
        ) {
            return Err(BadInstruction::UnsupInst.into());
        }
        match instruction {
            Instruction::GotoTable(next) => {
                let goes = |f: &TableFeature| matches!(f, TableFeature::NextTables { miss: m, tables } if *m == miss && tables.contains(next));
                if !has(&goes) {
                    return Err(BadInstruction::BadTableId.into());
                }
            }
            Instruction::WriteMetadata { mask, .. } if mask & !table.metadata_write != 0 => {
                return Err(BadInstruction::UnsupMetadataMask.into());
            }
            Instruction::ApplyActions(actions) => check_actions(table, actions, (true, miss))?,
            Instruction::WriteActions(actions) => check_actions(table, actions, (false, miss))?,
            _ => {}
        }
    }
    Ok(())
}

fn check_actions(table: &TableFeatures, actions: &[Action], place: (bool, bool)) -> Result<(), ErrorKind> {
    for action in actions {
        let number = action_type(action);
        let can = |f: &TableFeature| matches!(f, TableFeature::Actions { apply, miss, types } if (*apply, *miss) == place && types.contains(&number));
        if !table.features.iter().any(can) {
            return Err(BadAction::BadType.into());
        }
        if let Action::SetField(oxm) = action {
            let can = |f: &TableFeature| matches!(f, TableFeature::SetField { apply, miss, fields } if (*apply, *miss) == place && fields.contains(&oxm.field));
            if !table.features.iter().any(can) {
                return Err(BadAction::BadSetType.into());
            }
        }
    }
    Ok(())
}

fn check_match(table: &TableFeatures, matches: &Match) -> Result<(), ErrorKind> {
    let known = table.features.iter().find_map(|f| match f {
        TableFeature::Match(fields) => Some(&fields[..]),
        _ => None,
    });
    let known = known.unwrap_or_default();
    for oxm in matches {
        match known.iter().find(|(field, _)| *field == oxm.field) {
            None => return Err(BadMatch::BadField.into()),
            Some((_, false)) if oxm.mask.is_some() => return Err(BadMatch::BadMask.into()),
            Some(_) => {}
        }
        let bits = u128::from(table.metadata_match);
        if oxm.field == Field::Metadata && oxm.effective_mask() & !bits != 0 {
            return Err(BadMatch::BadMask.into());
        }
    }
    let optional = table.features.iter().find_map(|f| match f {
        TableFeature::Wildcards(fields) => Some(&fields[..]),
        _ => None,
    });
    let optional = optional.unwrap_or_default();
    // A field that cannot be there does not have to be.
    let could = |field: Field| matches.with(Oxm::new(field, 0)).is_ok();
    let missing = |field: &Field| matches.get(*field).is_none() && !optional.contains(field) && could(*field);
    if known.iter().any(|(field, _)| missing(field)) {
        return Err(BadMatch::BadWildcards.into());
    }
    Ok(())
}

impl Switch {
    /// Whether a table is in the pipeline.
    pub(super) fn has_table(&self, table: TableId) -> bool {
        let settings = self.tables.get(usize::from(table.0));
        settings.is_some_and(|settings| !matches!(settings.shape, TableShape::Off))
    }

    /// Whether a table takes such a flow, beside what every table asks of flows.
    pub(super) fn check_shape(
        &self,
        table: TableId,
        flow: (Priority, &Match),
        instructions: &[Instruction],
    ) -> Result<(), ErrorKind> {
        match self.tables.get(usize::from(table.0)).map(|settings| &settings.shape) {
            Some(TableShape::Asked(features)) => check(features, flow, instructions),
            _ => Ok(()),
        }
    }

    pub(super) fn table_features(&self) -> Vec<TableFeatures> {
        (0..self.config.n_tables).filter_map(|table| self.features_of(table)).collect()
    }

    fn features_of(&self, table: u8) -> Option<TableFeatures> {
        match &self.tables[usize::from(table)].shape {
            TableShape::Full => Some(full(table, self.config.n_tables, self.config.max_flows)),
            TableShape::Asked(features) => Some((**features).clone()),
            TableShape::Off => None,
        }
    }

    /// §7.3.5.5: the tables become those asked for, or stay as they are. Tables that are not named leave the pipeline;
    /// the flows of those and of tables that can do other things than before go without a word.
    pub(super) fn set_table_features(
        &mut self,
        now: Instant,
        asked: &[TableFeatures],
    ) -> Result<(), ErrorKind> {
        let n_tables = self.config.n_tables;
        let named = |table: TableId| asked.iter().any(|t| t.table == table);
        let twice = (1..asked.len()).any(|at| asked[..at].iter().any(|t| t.table == asked[at].table));
        // §5.1: the pipeline begins at table 0.
        if twice || !named(TableId(0)) || asked.iter().any(|t| t.table.0 >= n_tables) {
            return Err(TableFeaturesFailed::BadTable.into());
        }
        let mut shapes = vec![TableShape::Off; n_tables.into()];
        for table in asked {
            let mut can = full(table.table.0, n_tables, self.config.max_flows);
            for feature in &mut can.features {
                if let TableFeature::NextTables { tables, .. } = feature {
                    tables.retain(|&next| named(next));
                }
            }
            let shaped = shaped(table, can)?;
            let goes_on = self.features_of(table.table.0).is_some_and(|old| is_same(&old, &shaped));
            if goes_on && self.flows.n_flows(table.table) > shaped.max_entries as usize {
                return Err(TableFeaturesFailed::BadArgument.into());
            }
            shapes[usize::from(table.table.0)] = TableShape::Asked(Box::new(shaped));
        }
        for (table, shape) in (0..).zip(shapes) {
            self.reshape(now, table, shape);
        }
        Ok(())
    }

    fn reshape(&mut self, now: Instant, table: u8, shape: TableShape) {
        let stays = match (&shape, self.features_of(table)) {
            (TableShape::Asked(new), Some(old)) => is_same(new, &old),
            _ => false,
        };
        if !stays {
            let delete = FlowMod { table: TableId(table), ..FlowMod::delete_all() };
            for flow in self.flows.select(&Filter::from(&delete)) {
                self.remove_flow(now, flow, None);
            }
        }
        let settings = &mut self.tables[usize::from(table)];
        if let TableShape::Asked(new) = &shape {
            settings.max_entries = new.max_entries;
        }
        settings.shape = shape;
    }
}
