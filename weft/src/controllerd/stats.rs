//! `/metrics` of the controller: what it knows itself, and the switches and routers of the same process.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use controller_api::Stats;

use super::hub::Hub;
use crate::observe::exposition;
use crate::observe::metrics::{Kind, Page, write};

/// Asks the switches and routers of this process.
pub type StatsSource = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Stats>> + Send>> + Send + Sync>;

/// The page.
pub async fn metrics(State(hub): State<Arc<Hub>>) -> Response {
    let nodes = match hub.stats_source() {
        Some(source) => source().await,
        None => Vec::new(),
    };
    let mut page = Page::default();
    write(&mut page, &nodes);
    own(&mut page, &hub);
    exposition(page.finish())
}

fn own(page: &mut Page, hub: &Hub) {
    let (n_connected, n_realised, n_hosts, n_links, ignored) = hub.read(|core| {
        let switches = core.view().switches();
        let connected = switches.keys().filter(|dpid| core.connection(**dpid).is_some());
        let realised = switches.keys().filter(|dpid| core.is_realised(**dpid) && core.is_settled(**dpid));
        let (hosts, links) = (core.lanes().hosts.len(), core.view().links().len());
        (connected.count(), realised.count(), hosts, links, core.counters().named())
    });
    for (name, help, n) in [
        ("weft_controller_connected_switches", "Switches that are connected.", n_connected),
        ("weft_controller_realised_switches", "Switches that have confirmed all that is wanted.", n_realised),
        ("weft_controller_hosts", "Hosts that were learned or declared.", n_hosts),
        ("weft_controller_links", "Links between switches, each direction by itself.", n_links),
    ] {
        page.family(name, Kind::Gauge, help, |add| add(&[], n as f64));
    }
    let help = "What the controller was sent and did not act on, by reason.";
    page.family("weft_controller_ignored_total", Kind::Counter, help, |add| {
        for (reason, n) in ignored {
            add(&[("reason", reason)], n as f64);
        }
    });
}
