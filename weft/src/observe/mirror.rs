//! `GET /api/v1/mirror` of a switch or router: copies of its frames as a pcapng stream that ends with the connection.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use controller_api::Problem;
use dataplane::{Copied, Direction, EngineId, MirrorSpec, Selection, Watch};
use netio::pcapng;
use packet::PortNo;
use serde::Deserialize;
use vswitch::Filter;

use crate::plane::Plane;

/// Wait of a mirror that has nothing: short, for a worker's ring is full soon.
const PAUSE: Duration = Duration::from_millis(5);
/// Longest copy: all of any frame.
pub const MAX_SNAPLEN: u32 = 262_144;

/// The parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Ports by name or number, separated by commas; none: all.
    port: String,
    /// Matches, one a line; none: every frame.
    flow: String,
    direction: Way,
    snaplen: Option<u32>,
    count: Option<u64>,
}

/// Which way frames go that are copied.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Into the switch or router.
    Rx,
    /// Out of it.
    Tx,
    /// Both.
    #[default]
    Both,
}

/// A port, as far as captures tell.
#[derive(Debug, Clone)]
pub struct Known {
    pub number: PortNo,
    pub name: String,
    pub description: String,
}

/// Reads what ports and flows are meant.
///
/// # Errors
/// A port that is not there, or a match that cannot be read.
pub fn selection(ports: &str, flows: &str, known: &[Known]) -> Result<Selection, Problem> {
    let mut selection = Selection::default();
    for wanted in ports.split(',').map(str::trim).filter(|wanted| !wanted.is_empty()) {
        let named = |port: &&Known| port.name == wanted || port.number.to_string() == wanted;
        let port = known.iter().find(named).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|port| format!("{} ({})", port.number, port.name)).collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Problem::invalid("/port", format!("there is no port \"{wanted}\"; there are: {there}"))
        })?;
        selection.ports.push(port.number);
    }
    for text in flows.lines().filter(|text| !text.trim().is_empty()) {
        let matches = openflow::text::parse_match(text).map_err(|error| {
            let help = "a match is written as for ovs-ofctl, such as tcp,nw_dst=10.0.0.2,tp_dst=80";
            Problem::invalid("/flow", format!("\"{text}\": {error}; {help}"))
        })?;
        selection.filters.push(Filter::new(&matches));
    }
    Ok(selection)
}

/// Begins a mirror and answers with its stream.
///
/// # Errors
/// Parameters that cannot be met, or an engine that is gone.
pub async fn answer(
    plane: &Plane,
    engine: EngineId,
    known: Vec<Known>,
    query: Query,
) -> Result<Response, Problem> {
    let snaplen = query.snaplen.unwrap_or(MAX_SNAPLEN);
    if !(14..=MAX_SNAPLEN).contains(&snaplen) {
        return Err(Problem::invalid("/snaplen", format!("14 to {MAX_SNAPLEN} bytes are possible")));
    }
    let selection = selection(&query.port, &query.flow, &known)?;
    let (rx, tx) = (query.direction != Way::Tx, query.direction != Way::Rx);
    let wanted =
        known.into_iter().filter(|port| selection.ports.is_empty() || selection.ports.contains(&port.number));
    let wanted: Vec<_> = wanted.collect();
    let spec = MirrorSpec { selection, rx, tx, snaplen: snaplen as usize };
    let watch = plane.mirror(engine, spec).await.map_err(|error| Problem::internal(format!("{error:#}")))?;
    let session = Session::new(watch, plane, wanted, (snaplen, query.count));
    let stream = futures_util::stream::unfold(session, |mut session| async move {
        let piece = session.next().await?;
        Some((Ok::<_, Infallible>(piece), session))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-pcapng")], Body::from_stream(stream)).into_response())
}

/// A mirror at work.
struct Session {
    watch: Watch<Copied>,
    /// Ports that have been described, in order.
    interfaces: Vec<PortNo>,
    /// Nanoseconds from the workers' clock to the calendar.
    epoch: u64,
    snaplen: u32,
    left: Option<u64>,
    lost: u64,
    /// What was written and not yet handed out.
    out: Vec<u8>,
    over: bool,
}

impl Session {
    fn new(
        watch: Watch<Copied>,
        plane: &Plane,
        ports: Vec<Known>,
        (snaplen, left): (u32, Option<u64>),
    ) -> Self {
        let mut out = Vec::new();
        pcapng::section(&mut out, concat!("weft ", env!("CARGO_PKG_VERSION")));
        for port in &ports {
            pcapng::interface(&mut out, &port.name, &port.description, snaplen);
        }
        let epoch = calendar().saturating_sub(plane.clock().now().as_nanos());
        let interfaces = ports.into_iter().map(|port| port.number).collect();
        Self { watch, interfaces, epoch, snaplen, left, lost: 0, out, over: false }
    }

    /// The next piece of the stream; none at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        loop {
            let mut copies = Vec::new();
            self.watch.drain(|copied| copies.push(copied));
            copies.sort_by_key(|copied| copied.at);
            for copied in copies {
                if self.left != Some(0) {
                    self.left = self.left.map(|left| left - 1);
                    self.write(&copied);
                }
            }
            self.over = self.left == Some(0) || self.watch.is_over();
            let lost = self.watch.lost();
            // Lost on whichever interface: the first stands for all.
            if (lost != self.lost || self.over) && !self.interfaces.is_empty() {
                self.lost = lost;
                pcapng::statistics(&mut self.out, 0, calendar(), lost);
            }
            if !self.out.is_empty() || self.over {
                return Some(std::mem::take(&mut self.out).into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn write(&mut self, copied: &Copied) {
        let interface = self.interfaces.iter().position(|port| *port == copied.port).unwrap_or_else(|| {
            // It was attached meanwhile.
            pcapng::interface(&mut self.out, &format!("port{}", copied.port), "", self.snaplen);
            self.interfaces.push(copied.port);
            self.interfaces.len() - 1
        });
        let comment = match (copied.gso, copied.unfinished) {
            (Some(gso), _) => Some(format!(
                "a super-frame, one for many: segments of {} bytes, checksums to be completed by the output",
                gso.size
            )),
            (None, true) => Some("the checksum is left for the output to complete".to_owned()),
            (None, false) => None,
        };
        let packet = pcapng::Packet {
            interface: interface as u32,
            nanos: self.epoch + copied.at.as_nanos(),
            original_len: u32::try_from(copied.len).unwrap_or(u32::MAX),
            bytes: &copied.bytes,
            direction: match copied.direction {
                Direction::Rx => pcapng::Direction::In,
                Direction::Tx => pcapng::Direction::Out,
            },
            comment: comment.as_deref(),
        };
        pcapng::packet(&mut self.out, &packet);
    }
}

/// Nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "captures have the time of the calendar")]
fn calendar() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
