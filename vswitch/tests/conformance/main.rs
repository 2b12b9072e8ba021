//! Conformance, table by table: a row for each match field, action, group type and meter, with the frames that the
//! standard makes of them. `cargo test -p vswitch --test conformance -- --nocapture` prints how many cases each table has.

mod actions;
mod fields;
mod groups;
mod meters;
mod wire;

use openflow::{Dpid, PortNo};
use vswitch::SwitchConfig;
use vswitch::standalone::Standalone;

/// Where frames come in.
const IN: PortNo = PortNo(1);
/// Where frames go out.
const OUT: PortNo = PortNo(2);

fn switch() -> Standalone {
    Standalone::new(SwitchConfig { seed: Some(1), ..SwitchConfig::new(Dpid(1), "s1") }, 4)
}
