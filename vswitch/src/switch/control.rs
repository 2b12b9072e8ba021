//! Features, configuration, roles and asynchronous messages (§6.3, §7.3.1, §7.3.2, §7.3.9).

use openflow::error::{BadProperty, BadRequest, RoleRequestFailed, SwitchConfigFailed, TableModFailed};
use openflow::{
    Config, ErrorKind, Features, FragMode, Message, PacketInReason, Role, RoleReason, RoleRequest,
    RoleStatus, SwitchCapabilities, TableId, TableMod, Xid,
};

use super::Switch;
use crate::snapshot::{Op, Options};
use crate::{ConnId, Effect, FailMode};

impl Switch {
    pub(super) fn features(&self) -> Features {
        Features {
            dpid: self.config.dpid,
            n_buffers: 0,
            n_tables: self.config.n_tables,
            auxiliary_id: 0,
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

    fn set_options(&mut self, options: Options) {
        if options != self.options {
            self.options = options;
            self.publisher.push(Op::Options(options));
        }
    }

    /// Who is connected, or what they want, has changed.
    pub(super) fn connections_changed(&mut self) {
        let bit = 1 << PacketInReason::InvalidTtl.number();
        let wants_ttl = |c: &super::Conn| c.wants.packet_in[usize::from(c.role == Role::Slave)] & bit != 0;
        self.set_options(Options {
            // §6.3.2: without any controller the switch is in its fail mode.
            standalone: self.conns.values().all(|c| c.service)
                && self.config.fail_mode == FailMode::Standalone,
            punt_invalid_ttl: self.conns.values().any(wants_ttl),
            ..self.options
        });
    }

    /// §6.3.4: a new master makes the old one a slave; stale generations are refused.
    pub(super) fn role_request(
        &mut self,
        conn: ConnId,
        xid: Xid,
        request: RoleRequest,
    ) -> Result<(), ErrorKind> {
        if matches!(request.role, Role::Master | Role::Slave) {
            let stale = |known: u64| request.generation.wrapping_sub(known) as i64 <= -1;
            if self.generation.is_some_and(stale) {
                return Err(RoleRequestFailed::Stale.into());
            }
            self.generation = Some(request.generation);
        }
        if request.role == Role::Master {
            self.demote_masters(conn, request.generation);
        }
        let Some(c) = self.conns.get_mut(&conn) else { return Err(BadRequest::Eperm.into()) };
        if request.role != Role::NoChange {
            c.role = request.role;
        }
        let role = c.role;
        let generation = self.generation.unwrap_or(u64::MAX);
        self.send(conn, xid, Message::RoleReply(RoleRequest { role, generation }));
        self.connections_changed();
        Ok(())
    }

    /// Another controller becomes master; those that were are told, if their version can say it (1.4 §7.4.4).
    fn demote_masters(&mut self, successor: ConnId, generation: u64) {
        let (role, reason) = (Role::Slave, RoleReason::MasterRequest);
        let message = Message::RoleStatus(RoleStatus { role, reason, generation });
        let bit = 1 << reason.number();
        for (&conn, c) in self.conns.iter_mut().filter(|(_, c)| c.role == Role::Master) {
            c.role = Role::Slave;
            // The role it had decides: it is the one that is told of its end.
            if conn != successor && c.wants.role_status[0] & bit != 0 {
                self.effects.push_back(Effect::Send { conn, xid: Xid(0), message: message.clone() });
            }
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
