//! Reserved numbers by their names, as Ryu reads and writes them (`ryu/lib/ofctl_utils.py`).

use serde_json::{Value, json};

/// Numbers some of which have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    prefix: &'static str,
    names: &'static [(u32, &'static str)],
}

/// Ports (ofp_port_no).
pub const PORTS: Names = Names {
    prefix: "OFPP_",
    names: &[
        (0xffff_ff00, "MAX"),
        (0xffff_fff8, "IN_PORT"),
        (0xffff_fff9, "TABLE"),
        (0xffff_fffa, "NORMAL"),
        (0xffff_fffb, "FLOOD"),
        (0xffff_fffc, "ALL"),
        (0xffff_fffd, "CONTROLLER"),
        (0xffff_fffe, "LOCAL"),
        (0xffff_ffff, "ANY"),
    ],
};
/// Tables (ofp_table).
pub const TABLES: Names = Names { prefix: "OFPTT_", names: &[(0xfe, "MAX"), (0xff, "ALL")] };
/// Groups (ofp_group).
pub const GROUPS: Names =
    Names { prefix: "OFPG_", names: &[(0xffff_ff00, "MAX"), (0xffff_fffc, "ALL"), (0xffff_ffff, "ANY")] };
/// Meters (ofp_meter).
pub const METERS: Names = Names {
    prefix: "OFPM_",
    names: &[
        (0xffff_0000, "MAX"),
        (0xffff_fffd, "SLOWPATH"),
        (0xffff_fffe, "CONTROLLER"),
        (0xffff_ffff, "ALL"),
    ],
};
/// Queues.
pub const QUEUES: Names = Names { prefix: "OFPQ_", names: &[(0xffff_ffff, "ALL")] };
/// Lengths of packet-ins (ofp_controller_max_len).
pub const LENGTHS: Names = Names { prefix: "OFPCML_", names: &[(0xffe5, "MAX"), (0xffff, "NO_BUFFER")] };
/// Roles (ofp_controller_role).
pub const ROLES: Names =
    Names { prefix: "OFPCR_ROLE_", names: &[(0, "NOCHANGE"), (1, "EQUAL"), (2, "MASTER"), (3, "SLAVE")] };
/// Buffers.
pub const BUFFERS: Names = Names { prefix: "OFP_", names: &[(0xffff_ffff, "NO_BUFFER")] };

impl Names {
    /// The name, or the number.
    pub fn show(self, number: u32) -> Value {
        match self.names.iter().find(|(n, _)| *n == number) {
            Some((_, name)) => json!(name),
            None => json!(number),
        }
    }

    /// The same as text.
    pub fn text(self, number: u32) -> String {
        let name = self.names.iter().find(|(n, _)| *n == number);
        name.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
    }

    /// The number of a name, with or without its prefix, in any case.
    pub fn find(self, name: &str) -> Option<u32> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix(self.prefix).unwrap_or(&name);
        self.names.iter().find(|(_, known)| *known == name).map(|(n, _)| *n)
    }

    /// Every name, for people.
    pub fn all(self) -> String {
        self.names.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_numbers_have_names() {
        assert_eq!((PORTS.show(2), PORTS.show(0xffff_fffd)), (json!(2), json!("CONTROLLER")));
        assert_eq!(PORTS.find("OFPP_CONTROLLER"), Some(0xffff_fffd));
        assert_eq!((PORTS.find("local"), PORTS.find("LOCALE")), (Some(0xffff_fffe), None));
        assert_eq!(TABLES.text(254), "MAX");
    }
}
