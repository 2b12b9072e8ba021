//! Features and configuration (§7.3.1, §7.3.2).

use openflow::error::SwitchConfigFailed;
use openflow::{Config, ErrorKind, Features, FragMode, SwitchCapabilities};

use super::Switch;
use super::buffers::N_BUFFERS;
use crate::ConnId;
use crate::snapshot::{Op, Options};

impl Switch {
    pub(super) fn features(&self, conn: ConnId) -> Features {
        Features {
            dpid: self.config.dpid,
            n_buffers: N_BUFFERS,
            n_tables: self.config.n_tables,
            auxiliary_id: self.auxiliary_id(conn),
            capabilities: SwitchCapabilities::FLOW_STATS
                | SwitchCapabilities::TABLE_STATS
                | SwitchCapabilities::PORT_STATS
                | SwitchCapabilities::GROUP_STATS
                | SwitchCapabilities::QUEUE_STATS,
            ports: self.ports.values().map(|record| record.desc.clone()).collect(),
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
}
