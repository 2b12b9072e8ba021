//! VRFs by name, by number, and by the kernel's table that is theirs.

use std::collections::BTreeSet;

use super::Base;
use crate::config::{ConfigError, VrfConfig};
use crate::fib::{NAMELESS, VrfId};

/// The kernel's table that is the VRF without a name (RT_TABLE_MAIN).
pub(crate) const MAIN_TABLE: u32 = 254;

impl Base {
    /// Which tables are those of VRFs: the ones they say, and of the others the number that is their name.
    pub(super) fn add_tables(&mut self, vrfs: &[VrfConfig]) -> Result<(), ConfigError> {
        self.tables.insert(MAIN_TABLE, NAMELESS);
        let mut said = BTreeSet::from([NAMELESS]);
        for (index, VrfConfig { name, table }) in vrfs.iter().enumerate() {
            let bad = |field, reason| Err(ConfigError::BadVrf { index, field, reason });
            let vrf = self.vrf_numbered(name);
            if vrf == NAMELESS {
                return bad("name", "a VRF that is said something of has a name".into());
            }
            if vrfs[..index].iter().any(|other| other.name == *name) {
                return bad("name", format!("\"{name}\" is used twice"));
            }
            let Some(table) = *table else { continue };
            if table == 0 {
                return bad("table", "a table has a number from 1 to 4294967295".into());
            }
            said.insert(vrf);
            if let Some(other) = self.tables.insert(table, vrf) {
                let other = self
                    .vrf_name(other)
                    .map_or("VRF without a name".into(), |name| format!("VRF \"{name}\""));
                return bad("table", format!("{table} is the table of the {other}"));
            }
        }
        let named = (0..).zip(&self.vrfs).filter(|(vrf, _)| !said.contains(vrf));
        for (vrf, table) in named.filter_map(|(vrf, name)| Some((vrf, name.parse().ok()?))) {
            self.tables.entry(table).or_insert(vrf);
        }
        Ok(())
    }

    /// The number of a VRF, a new one for a new name.
    pub(super) fn vrf_numbered(&mut self, name: &str) -> VrfId {
        let found = self.vrfs.iter().position(|known| known == name);
        let at = found.unwrap_or_else(|| {
            self.vrfs.push(name.to_owned());
            self.vrfs.len() - 1
        });
        at as VrfId
    }

    /// The VRF of that name; none names the one without.
    pub(crate) fn vrf_named(&self, index: usize, name: Option<&str>) -> Result<VrfId, ConfigError> {
        let name = name.unwrap_or_default();
        let found = self.vrfs.iter().position(|known| known == name);
        found.map(|at| at as VrfId).ok_or_else(|| ConfigError::NoVrf { index, name: name.to_owned() })
    }

    /// The VRF whose routes those of a kernel's table are.
    pub(crate) fn vrf_of_table(&self, table: u32) -> Option<VrfId> {
        // Whoever names no table means the main one.
        self.tables.get(if table == 0 { &MAIN_TABLE } else { &table }).copied()
    }

    /// The name of a VRF, unless it is the one without.
    pub(crate) fn vrf_name(&self, vrf: VrfId) -> Option<String> {
        self.vrfs.get(usize::from(vrf)).filter(|name| !name.is_empty()).cloned()
    }
}
