//! Features and configuration (§7.3.1, §7.3.2).

use openflow::error::{BadProperty, SwitchConfigFailed, TableModFailed};
use openflow::{Config, ErrorKind, Features, FragMode, SwitchCapabilities, TableId, TableMod};

use super::Switch;
use crate::ConnId;
use crate::snapshot::{Op, Options};

impl Switch {
    pub(super) fn features(&self, conn: ConnId) -> Features {
        Features {
            dpid: self.config.dpid,
            n_buffers: 0,
            n_tables: self.config.n_tables,
            auxiliary_id: self.auxiliary_id(conn),
            capabilities: SwitchCapabilities::FLOW_STATS
                | SwitchCapabilities::TABLE_STATS
                | SwitchCapabilities::PORT_STATS
                | SwitchCapabilities::GROUP_STATS
                | SwitchCapabilities::QUEUE_STATS,
        }
    }

    pub(super) fn set_config(&mut self, settings: Config) -> Result<(), ErrorKind> {
        if settings.frag == FragMode::Reassemble {
            return Err(SwitchConfigFailed::BadFlags.into());
        }
        self.settings = settings;
        self.set_options(Options { frag: settings.frag, ..self.options });
        Ok(())
    }

    pub(super) fn set_options(&mut self, options: Options) {
        if options != self.options {
            self.options = options;
            self.publisher.push(Op::Options(options));
        }
    }

    /// In 1.3 a table mod has nothing to change (§7.3.3); what 1.4 adds is not there.
    pub(super) fn table_mod(&mut self, table_mod: TableMod) -> Result<(), ErrorKind> {
        let known = table_mod.table == TableId::ALL || table_mod.table.0 < self.config.n_tables;
        if !known {
            Err(TableModFailed::BadTable.into())
        } else if table_mod.eviction.is_some() || table_mod.vacancy.is_some() {
            Err(BadProperty::BadType.into())
        } else if table_mod.config & !3 != 0 {
            Err(TableModFailed::BadConfig.into())
        } else {
            Ok(())
        }
    }
}
