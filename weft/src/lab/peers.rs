//! With whom switches speak OpenFlow, in a table.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::Table;
use controller_api::client::Client;
use controller_api::{Switch, SwitchPeer};

use super::table::table;

/// What the switches behind these sockets say of themselves; other daemons are passed over.
pub async fn switches(sockets: impl IntoIterator<Item = PathBuf>) -> Vec<Switch> {
    let mut switches = Vec::new();
    for socket in sockets {
        let client = Client::unix(socket).with_timeout(Duration::from_secs(3));
        // Some sockets are left from processes that were killed.
        if client.health().await.is_ok_and(|health| health.service == "switch") {
            switches.extend(client.switches().await.unwrap_or_default());
        }
    }
    switches
}

/// A row for each peer of each switch.
pub fn rows(switches: &[Switch]) -> Table {
    let mut rows = table(&["switch", "peer", "is", "version", "role", "state"]);
    for switch in switches {
        for peer in &switch.peers {
            rows.add_row([
                switch.name.clone(),
                peer.peer.clone(),
                kind(peer),
                peer.version.clone().unwrap_or_default(),
                peer.role.map(|role| role.word().to_owned()).unwrap_or_default(),
                state(peer),
            ]);
        }
    }
    rows
}

fn kind(peer: &SwitchPeer) -> String {
    let kind = if peer.controller { "controller" } else { "tool" };
    peer.auxiliary.map_or_else(|| kind.to_owned(), |id| format!("{kind}, auxiliary {id}"))
}

fn state(peer: &SwitchPeer) -> String {
    let time = Duration::from_secs(peer.seconds);
    let mut text = match peer.connected {
        true => format!("connected for {time:?}"),
        false => format!("not connected for {time:?}"),
    };
    if let Some(name) = &peer.certificate {
        text += &format!(", certificate of {name}");
    }
    if let Some(error) = &peer.last_error {
        text += if peer.connected { "; before: " } else { ": " };
        text += error;
    }
    if let Some(wait) = peer.retry_ms {
        text += &format!("; next attempt in {:.1} s", wait as f64 / 1000.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_it_stands_with_a_peer() {
        let peer = SwitchPeer {
            peer: "ssl:10.0.0.1:6653".to_owned(),
            controller: true,
            connected: true,
            seconds: 61,
            version: Some("OpenFlow14".to_owned()),
            role: Some(controller_api::PeerRole::Master),
            auxiliary: Some(2),
            certificate: Some("c1".to_owned()),
            last_error: Some("the peer has gone".to_owned()),
            retry_ms: None,
        };
        assert_eq!(state(&peer), "connected for 61s, certificate of c1; before: the peer has gone");
        assert_eq!(kind(&peer), "controller, auxiliary 2");
        let peer = SwitchPeer {
            connected: false,
            certificate: None,
            retry_ms: Some(1500),
            controller: false,
            auxiliary: None,
            ..peer
        };
        assert_eq!(state(&peer), "not connected for 61s: the peer has gone; next attempt in 1.5 s");
        assert_eq!(kind(&peer), "tool");
    }
}
