//! Is somebody there, how fast, and what does it say by itself.
#![expect(clippy::disallowed_methods, reason = "a tool for people shows real time")]

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use openflow::text::Printed;
use openflow::{Config, Event, Message, PacketInReason, Xid};

use super::Ofctl;
use super::link::Link;
use super::show::config_of;
use super::verbs::Switch;

/// Echo requests of one ping.
const N_PINGS: usize = 10;
/// Bytes of the header of a message.
const HEADER_LEN: usize = 8;

/// Verbs that measure and watch.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Print what the switch says unasked: packet-ins, flows removed, ports and tables changed.
    Monitor {
        /// The switch.
        switch: String,
        /// A number: so many bytes of each packet that comes; invalid_ttl: packets whose TTL has run out, too.
        requests: Vec<String>,
    },
    /// Send ten echo requests and time the replies.
    Ping {
        /// The switch, or a controller.
        switch: String,
        /// Bytes of each.
        #[arg(default_value_t = 64, value_parser = clap::value_parser!(u16).range(..=65_527))]
        bytes: u16,
    },
    /// Find out whether somebody answers.
    Probe(Switch),
    /// Time many echo requests in a row.
    Benchmark {
        /// The switch, or a controller.
        switch: String,
        /// Bytes of each.
        #[arg(value_parser = clap::value_parser!(u16).range(..=65_527))]
        bytes: u16,
        /// How many.
        count: u32,
    },
}

pub async fn run(ofctl: &mut Ofctl, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Monitor { switch, requests } => monitor(ofctl, &switch, &requests).await,
        Verb::Ping { switch, bytes } => ping(ofctl, &switch, bytes).await,
        Verb::Probe(of) => {
            let mut link = ofctl.connect(&of.switch).await?;
            echo(&mut link, &payload(0)).await.map(|_| ())
        }
        Verb::Benchmark { switch, bytes, count } => benchmark(ofctl, &switch, bytes, count).await,
    }
}

/// Bytes that no other echo has.
fn payload(len: u16) -> Vec<u8> {
    (0..len).map(|_| rand::random()).collect()
}

/// One echo; how long it took.
async fn echo(link: &mut Link, payload: &[u8]) -> anyhow::Result<(Xid, Duration)> {
    let start = Instant::now();
    match link.ask(&Message::EchoRequest(payload.to_vec())).await? {
        (xid, Message::EchoReply(back)) => {
            ensure!(back == payload, "{}: the echo differs from the request", link.target());
            Ok((xid, start.elapsed()))
        }
        (_, other) => bail!("{}: no echo but {other:?}", link.target()),
    }
}

async fn ping(ofctl: &mut Ofctl, switch: &str, bytes: u16) -> anyhow::Result<()> {
    let mut link = ofctl.connect(switch).await?;
    for _ in 0..N_PINGS {
        let (xid, took) = echo(&mut link, &payload(bytes)).await?;
        let millis = took.as_secs_f64() * 1e3;
        ofctl.print(format_args!("{bytes} bytes from {switch}: xid={:08x} time={millis:.1} ms\n", xid.0))?;
        ofctl.show()?;
    }
    Ok(())
}

async fn benchmark(ofctl: &mut Ofctl, switch: &str, bytes: u16, count: u32) -> anyhow::Result<()> {
    let mut link = ofctl.connect(switch).await?;
    let size = usize::from(bytes) + HEADER_LEN;
    let total = size as u64 * u64::from(count);
    ofctl.print(format_args!(
        "Sending {count} packets * {size} bytes (with header) = {total} bytes total\n"
    ))?;
    ofctl.show()?;
    let payload = payload(bytes);
    let start = Instant::now();
    for _ in 0..count {
        echo(&mut link, &payload).await?;
    }
    let took = start.elapsed().as_secs_f64();
    let (rate, bytes) = (f64::from(count) / took, total as f64 / took);
    ofctl.print(format_args!("Finished in {:.1} ms ({rate:.0} packets/s) ({bytes:.0} bytes/s)\n", took * 1e3))
}

async fn monitor(ofctl: &mut Ofctl, switch: &str, requests: &[String]) -> anyhow::Result<()> {
    let mut miss_send_len = None;
    let mut invalid_ttl = false;
    for request in requests {
        match request.as_str() {
            "invalid_ttl" => invalid_ttl = true,
            watch if watch.starts_with("watch:") => {
                bail!(
                    "{watch}: flow monitors are an extension of Open vSwitch (Nicira), which weft does not have"
                )
            }
            number => {
                let wrong = || format!("\"{number}\": a number of bytes or invalid_ttl is expected");
                miss_send_len = Some(number.parse().with_context(wrong)?);
            }
        }
    }
    let mut link = ofctl.connect(switch).await?;
    let names = ofctl.names_shown(&mut link).await?;
    if let Some(miss_send_len) = miss_send_len {
        let config = config_of(&mut link).await?;
        link.send(&Message::SetConfig(Config { miss_send_len, ..config }))?;
    }
    if invalid_ttl {
        ask_for_invalid_ttl(&mut link).await?;
    }
    if let Some((_, refusal)) = link.barrier().await?.pop_first() {
        return Err(refusal.into());
    }
    loop {
        let Event::Message { xid, message } = link.event().await? else { continue };
        if ofctl.options.timestamp {
            ofctl.print(format_args!("{} ", Timestamp(SystemTime::now())))?;
        }
        ofctl.print(Printed::new(link.version(), xid, &message).names(&names).frames())?;
        ofctl.show()?;
    }
}

/// From 1.3 on, the asynchronous configuration says so.
async fn ask_for_invalid_ttl(link: &mut Link) -> anyhow::Result<()> {
    let mut config = match link.ask(&Message::GetAsyncRequest).await? {
        (_, Message::GetAsyncReply(config)) => config,
        (_, other) => bail!("{}: an answer of the wrong kind: {other:?}", link.target()),
    };
    let bit = 1 << PacketInReason::InvalidTtl.number();
    config.packet_in = config.packet_in.map(|mask| mask | bit);
    link.send(&Message::SetAsync(config.into()))?;
    Ok(())
}

/// `2026-11-21 07:32:03.123:`, UTC.
struct Timestamp(SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, secs) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{:03}:", since.subsec_millis())
    }
}

/// Year, month and day, so many days after 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_778, (2026, 11, 21))]
        {
            assert_eq!(civil(days), date, "{days}");
        }
        let moment = UNIX_EPOCH + Duration::from_millis(86_400_000 + 3_723_004);
        assert_eq!(Timestamp(moment).to_string(), "1970-01-02 01:02:03.004:");
    }
}
