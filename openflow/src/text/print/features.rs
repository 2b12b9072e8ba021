//! What a switch, its groups and its meters can do.

use core::fmt::{self, Formatter};

use super::bits;
use crate::text::meter::MeterFlagNames;
use crate::{Features, GroupFeatures, MeterFeatures, SwitchCapabilities, Version};

/// Capabilities that came with 1.4.
const LATER: [(u32, &str); 2] = [(1 << 9, "BUNDLES"), (1 << 10, "FLOW_MONITORING")];

pub(super) fn write_features(f: &mut Formatter<'_>, features: &Features) -> fmt::Result {
    writeln!(f, " dpid:{}", features.dpid)?;
    write!(f, "n_tables:{}, n_buffers:{}", features.n_tables, features.n_buffers)?;
    if features.auxiliary_id != 0 {
        write!(f, ", auxiliary_id:{}", features.auxiliary_id)?;
    }
    let names = SwitchCapabilities::NAMES.iter().map(|(bit, name)| (bit.0, *name)).chain(LATER);
    writeln!(f, "\ncapabilities: {}", bits(features.capabilities.0, names))?;
    // Only 1.0 says them here.
    super::port::write_ports(f, Version::V10, &features.ports)
}

/// Numbers of action types on the wire of 1.3 and 1.4 and how ovs-ofctl calls them, in its order.
const ACTIONS: &[(u32, &str)] = &[
    (0, "output"),
    (22, "group"),
    (25, "set_field"),
    (18, "strip_vlan"),
    (17, "push_vlan"),
    (23, "mod_nw_ttl"),
    (24, "dec_ttl"),
    (15, "set_mpls_ttl"),
    (16, "dec_mpls_ttl"),
    (19, "push_mpls"),
    (20, "pop_mpls"),
    (21, "set_queue"),
    // Open vSwitch has none of these.
    (11, "copy_ttl_out"),
    (12, "copy_ttl_in"),
    (26, "push_pbb"),
    (27, "pop_pbb"),
];

/// Names of a set of action types.
pub(super) fn action_names(set: u32) -> String {
    let known = ACTIONS.iter().filter(|(kind, _)| set >> kind & 1 == 1).map(|(_, name)| *name);
    known.collect::<Vec<_>>().join(" ")
}

const GROUP_TYPES: [&str; 4] = ["all", "select", "indirect", "fast failover"];

pub(super) fn write_group_features(f: &mut Formatter<'_>, features: &GroupFeatures) -> fmt::Result {
    writeln!(f, "\n Group table:\n    Types:  {:#x}", features.types)?;
    writeln!(f, "    Capabilities:  {:#x}", features.capabilities.0)?;
    for (kind, name) in GROUP_TYPES.iter().enumerate().filter(|(kind, _)| features.types >> kind & 1 == 1) {
        writeln!(f, "    {name} group:\n       max_groups={:#x}", features.max_groups[kind])?;
        writeln!(f, "       actions: {}", action_names(features.actions[kind]))?;
    }
    Ok(())
}

pub(super) fn write_meter_features(f: &mut Formatter<'_>, features: &MeterFeatures) -> fmt::Result {
    let MeterFeatures { max_meter, band_types, capabilities, max_bands, max_color } = features;
    writeln!(f, "\nmax_meter:{max_meter} max_bands:{max_bands} max_color:{max_color}")?;
    let bands = [(1, "drop"), (2, "dscp_remark")];
    let bands: Vec<_> =
        bands.iter().filter(|(n, _)| band_types >> n & 1 == 1).map(|(_, name)| *name).collect();
    writeln!(f, "band_types: {}", bands.join(" "))?;
    let flags = MeterFlagNames(*capabilities).to_string();
    writeln!(f, "capabilities: {}", flags.trim_end())
}
