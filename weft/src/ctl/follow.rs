//! `watch`: changes as they happen, across lost connections.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::bail;
use controller_api::client::{Client, ClientError};
use controller_api::{ResourceKind, WatchEvent};

use super::output::{Format, write};

/// How long is waited before a lost connection is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Prints changes until nobody reads them.
pub async fn watch(
    client: &Client,
    kind: Option<ResourceKind>,
    mut since: Option<u64>,
    format: Format,
) -> anyhow::Result<()> {
    let mut connected = false;
    loop {
        let mut query: Vec<String> = kind.iter().map(|kind| format!("kind={kind}")).collect();
        query.extend(since.map(|since| format!("since={since}")));
        let path = format!("/api/v1/watch?{}", query.join("&"));
        let (mut lines, mut failure, mut gone) = (Lines::default(), None, false);
        let take = |piece: &[u8]| {
            connected = true;
            for event in lines.take(piece) {
                since = event.id.or(since);
                gone |= event.name == "gone";
                if let Err(error) = tell(&event, format) {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
            }
            if crate::print::is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let ended = client.download(&path, take).await;
        if let Some(error) = failure {
            return Err(error);
        }
        if gone {
            bail!("changes came faster than they were read, and some are not kept any more: begin anew");
        }
        match ended {
            _ if !crate::print::is_wanted() => return Ok(()),
            Err(error @ ClientError::Problem(_)) => return Err(error.into()),
            Err(error) if !connected => return Err(error.into()),
            _ => {
                anstream::eprintln!("weft: the connection is lost, trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn tell(event: &Event, format: Format) -> anyhow::Result<()> {
    if !matches!(event.name.as_str(), "put" | "delete") {
        return Ok(());
    }
    match format {
        Format::Json => println!("{}", event.data),
        Format::Yaml => {
            println!("---");
            write(&serde_json::from_str::<serde_json::Value>(&event.data)?, Format::Yaml)?;
        }
        Format::Table => {
            let change: WatchEvent = serde_json::from_str(&event.data)?;
            println!("{:>8}  {:<6}  {}", change.revision, event.name, change.intent);
        }
    }
    Ok(())
}

/// A server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    id: Option<u64>,
    data: String,
}

/// Puts events together from pieces of a stream (HTML Standard §9.2.6).
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    event: Event,
}

impl Lines {
    fn take(&mut self, piece: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in piece {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if !event.name.is_empty() {
                    events.push(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => self.event.name = value.to_owned(),
                "id" => self.event.id = value.parse().ok(),
                "data" => self.event.data.push_str(value),
                _ => {}
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Lines};

    #[test]
    fn events_are_put_together_from_any_pieces() {
        let text = "event: put\nid: 7\ndata: {\"a\":1}\n\n: keep-alive\n\nevent: synced\r\ndata: {}\r\n\r\n";
        let event = |name: &str, id, data: &str| Event { name: name.into(), id, data: data.into() };
        let expected = [event("put", Some(7), "{\"a\":1}"), event("synced", None, "{}")];
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let events: Vec<Event> =
                text.as_bytes().chunks(size).flat_map(|piece| lines.take(piece)).collect();
            assert_eq!(events, expected, "pieces of {size}");
        }
    }
}
