//! Tables as controllers configure them: eviction and vacancy events (1.4 §6.8, §7.3.3, §7.4.5).

use lookup::Index;
use openflow::error::{BadProperty, FlowModFailed, TableModFailed};
use openflow::{
    ErrorKind, FlowRemovedReason, Message, TABLE_EVICTION, TABLE_VACANCY_EVENTS, TableDesc, TableId,
    TableMod, TableReason, TableStatus, Vacancy,
};
use packet::Instant;

use super::Switch;
use super::features::TableShape;

/// Evicts by something that is not said (OFPTMPEF_OTHER): here, the oldest flow.
pub(super) const EVICT_OTHER: u32 = 1;
/// Evicts what is least important (OFPTMPEF_IMPORTANCE).
pub(super) const EVICT_IMPORTANCE: u32 = 2;
/// Evicts what would go soonest (OFPTMPEF_LIFETIME).
pub(super) const EVICT_LIFETIME: u32 = 4;
/// All that a controller can ask for.
const EVICT_ALL: u32 = EVICT_OTHER | EVICT_IMPORTANCE | EVICT_LIFETIME;

/// A table as configured.
#[derive(Clone, Debug)]
pub(super) struct TableSettings {
    pub shape: TableShape,
    pub max_entries: u32,
    evicts: bool,
    /// How it evicts if it does.
    eviction: u32,
    /// When it tells how full it is; `current` means nothing.
    vacancy: Option<Vacancy>,
    /// What it tells next, if it tells at all.
    tells: Option<TableReason>,
}

impl TableSettings {
    pub(super) fn new(max_entries: u32) -> Self {
        let eviction = EVICT_IMPORTANCE | EVICT_LIFETIME;
        Self { shape: TableShape::Full, max_entries, evicts: false, eviction, vacancy: None, tells: None }
    }

    /// Percent of the entries that are free.
    fn free(&self, n_flows: usize) -> u8 {
        let max = u64::from(self.max_entries.max(1));
        (max.saturating_sub(n_flows as u64) * 100 / max) as u8
    }

    fn desc(&self, table: TableId, n_flows: usize) -> TableDesc {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        TableDesc {
            table,
            config: bit(self.evicts, TABLE_EVICTION) | bit(self.tells.is_some(), TABLE_VACANCY_EVENTS),
            eviction: Some(self.eviction),
            vacancy: self.vacancy.map(|v| Vacancy { current: self.free(n_flows), ..v }),
        }
    }

    /// What there is to tell now that so many flows are there (1.4 §7.4.5): each event is told once until the other was.
    fn event(&mut self, n_flows: usize) -> Option<TableReason> {
        let (vacancy, free) = (self.vacancy?, self.free(n_flows));
        let (happened, next) = match self.tells? {
            TableReason::VacancyDown => (free < vacancy.down, TableReason::VacancyUp),
            TableReason::VacancyUp => (free > vacancy.up, TableReason::VacancyDown),
        };
        happened.then(|| self.tells.replace(next)).flatten()
    }
}

fn check(table_mod: &TableMod) -> Result<(), ErrorKind> {
    // The two lowest bits meant something before 1.3 (OFPTC_DEPRECATED_MASK).
    if table_mod.config & !(3 | TABLE_EVICTION | TABLE_VACANCY_EVENTS) != 0 {
        return Err(TableModFailed::BadConfig.into());
    }
    if table_mod.eviction.is_some_and(|flags| flags & !EVICT_ALL != 0) {
        return Err(BadProperty::BadValue.into());
    }
    // 1.4 §7.3.3.2: the upper threshold is not below the lower.
    if table_mod.vacancy.is_some_and(|v| v.down > v.up || v.up > 100) {
        return Err(BadProperty::BadValue.into());
    }
    Ok(())
}

impl Switch {
    /// §7.3.3. In 1.3 there is nothing to change; 1.4 has eviction and vacancy events.
    pub(super) fn table_mod(&mut self, table_mod: TableMod) -> Result<(), ErrorKind> {
        let tables = match table_mod.table {
            TableId::ALL => 0..self.tables.len(),
            TableId(table) => usize::from(table)..usize::from(table) + 1,
        };
        if tables.end > self.tables.len() {
            return Err(TableModFailed::BadTable.into());
        }
        check(&table_mod)?;
        let tells = table_mod.config & TABLE_VACANCY_EVENTS != 0;
        for table in tables {
            let n_flows = self.flows.n_flows(TableId(table as u8));
            let settings = &mut self.tables[table];
            settings.evicts = table_mod.config & TABLE_EVICTION != 0;
            settings.eviction = table_mod.eviction.unwrap_or(settings.eviction);
            settings.vacancy = table_mod.vacancy.or(settings.vacancy);
            // 1.4 §7.3.3.2: with less free than the upper threshold, that it is reached is told next.
            let is_low = settings.vacancy.is_some_and(|v| settings.free(n_flows) < v.up);
            let next = if is_low { TableReason::VacancyUp } else { TableReason::VacancyDown };
            settings.tells = tells.then_some(next);
            if !settings.evicts {
                self.flows.forget_eviction(TableId(table as u8));
            }
        }
        self.tell_vacancy = self.tables.iter().any(|settings| settings.tells.is_some());
        Ok(())
    }

    pub(super) fn table_descs(&self) -> Vec<TableDesc> {
        let all = (0..).map(TableId).zip(&self.tables).filter(|(table, _)| self.has_table(*table));
        all.map(|(table, settings)| settings.desc(table, self.flows.n_flows(table))).collect()
    }

    /// Tells who wants to know which tables became full or free enough.
    pub(super) fn tell_vacancies(&mut self) {
        if !self.tell_vacancy {
            return;
        }
        for at in 0..self.tables.len() {
            let table = TableId(at as u8);
            let n_flows = self.flows.n_flows(table);
            if let Some(reason) = self.tables[at].event(n_flows) {
                let desc = self.tables[at].desc(table, n_flows);
                let message = Message::TableStatus(TableStatus { reason, desc });
                self.tell(&message, |wants| wants.table_status, reason.number().into());
            }
        }
    }

    /// Sees to it that one flow more fits into a table, if it may evict another that is not more important (1.4 §6.8).
    pub(super) fn make_room(
        &mut self,
        now: Instant,
        table: TableId,
        importance: u16,
    ) -> Result<(), ErrorKind> {
        let Some(settings) = self.tables.get(usize::from(table.0)) else {
            return Err(FlowModFailed::BadTableId.into());
        };
        if self.flows.n_flows(table) < settings.max_entries as usize {
            return Ok(());
        }
        let victim: Option<Index> =
            if settings.evicts { self.flows.victim(table, settings.eviction) } else { None };
        let dares = |flow: &Index| self.flows.get(*flow).is_some_and(|r| r.importance <= importance);
        match victim.filter(dares) {
            Some(flow) => {
                self.remove_flow(now, flow, Some(FlowRemovedReason::Eviction));
                Ok(())
            }
            None => Err(FlowModFailed::TableFull.into()),
        }
    }
}
