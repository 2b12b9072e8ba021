//! Many requests in a row, pipelined or in a bundle, and the errors back to the lines that caused them.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, bail};
use openflow::error::BundleFailed;
use openflow::{
    BundleAdd, BundleControl, BundleControlKind, BundleFlags, Error, ErrorKind, Event, Message, Version, Xid,
    codec,
};

use super::input::Source;
use super::link::{Link, Refusal, version_name};

/// The one bundle of a connection.
const BUNDLE: u32 = 1;
/// All of it in order, or nothing.
const FLAGS: BundleFlags = BundleFlags(BundleFlags::ATOMIC.0 | BundleFlags::ORDERED.0);
/// Most refused lines that are told one by one.
const MOST_ERRORS: usize = 20;

/// Requests with the number of the line each was written in.
pub struct Changes<'a> {
    source: &'a Source,
    items: Vec<(usize, Message)>,
}

impl<'a> Changes<'a> {
    /// To be sent in this order.
    pub fn new(source: &'a Source, items: Vec<(usize, Message)>) -> Self {
        Self { source, items }
    }

    /// Sends them and waits until they are done, one after the other, or all together in a bundle.
    ///
    /// # Errors
    /// What the switch refused, by line. Without a bundle the others are done; with one, nothing is.
    pub async fn send(&self, link: &mut Link, bundle: bool) -> anyhow::Result<()> {
        self.check(link.version())?;
        let mut refusals = BTreeMap::new();
        if bundle {
            self.send_bundle(link, &mut refusals).await
        } else {
            let lines = self.send_all(link, &mut refusals, |_, message| message.clone()).await?;
            refusals.extend(link.barrier().await?);
            self.tell(&lines, &refusals, None)
        }
    }

    /// Before anything is sent: the version can say all of it.
    fn check(&self, version: Version) -> anyhow::Result<()> {
        let mut scratch = Vec::new();
        let mut told = String::new();
        for (line, message) in &self.items {
            scratch.clear();
            if let Err(error) = codec::encode(version, Xid(1), message, &mut scratch) {
                let name = version_name(version);
                let _ = writeln!(told, "{}{name} cannot say it: {error}", self.prefix(*line));
            }
        }
        if told.is_empty() { Ok(()) } else { bail!("{}", told.trim_end().to_owned()) }
    }

    /// Queues every request; gives the line of each transaction.
    async fn send_all(
        &self,
        link: &mut Link,
        refusals: &mut BTreeMap<Xid, Refusal>,
        wrap: impl Fn(Xid, &Message) -> Message,
    ) -> anyhow::Result<BTreeMap<Xid, usize>> {
        let mut lines = BTreeMap::new();
        for (line, message) in &self.items {
            let xid = link.allocate_xid();
            link.send_as(xid, &wrap(xid, message))?;
            lines.insert(xid, *line);
            if link.is_full() {
                for refusal in link.drain().await? {
                    refusals.entry(refusal.xid).or_insert(refusal);
                }
            }
        }
        Ok(lines)
    }

    async fn send_bundle(
        &self,
        link: &mut Link,
        refusals: &mut BTreeMap<Xid, Refusal>,
    ) -> anyhow::Result<()> {
        let version = version_name(link.version());
        let control = |kind| Message::BundleControl(BundleControl { bundle: BUNDLE, kind, flags: FLAGS });
        if link.version() == Version::V10 {
            bail!("bundles need OpenFlow 1.4, or 1.3 with extension 230; {} was agreed on", version);
        }
        let opened = link.ask(&control(BundleControlKind::OpenRequest)).await;
        opened.with_context(|| format!("{} opens no bundle over {version}", link.target()))?;
        let lines = self
            .send_all(link, refusals, |xid, message| {
                let message = Box::new(message.clone());
                Message::BundleAdd(BundleAdd { bundle: BUNDLE, flags: FLAGS, xid, message })
            })
            .await?;
        let commit = link.send(&control(BundleControlKind::CommitRequest))?;
        let verdict = loop {
            match link.event().await? {
                Event::Message { xid, message: Message::BundleControl(reply) }
                    if xid == commit && reply.kind == BundleControlKind::CommitReply =>
                {
                    break None;
                }
                Event::Message { xid, message: Message::Error(error) } if xid == commit => break Some(error),
                event => {
                    if let Some(refusal) = link.refusal(event) {
                        refusals.entry(refusal.xid).or_insert(refusal);
                    }
                }
            }
        };
        // Errors of single messages may follow that of the commit.
        refusals.extend(link.barrier().await?);
        self.tell(&lines, refusals, verdict)
    }

    /// Puts refusals into words.
    fn tell(
        &self,
        lines: &BTreeMap<Xid, usize>,
        refusals: &BTreeMap<Xid, Refusal>,
        verdict: Option<Error>,
    ) -> anyhow::Result<()> {
        let mut told = String::new();
        let of_lines: Vec<_> =
            refusals.iter().filter_map(|(xid, refusal)| Some((lines.get(xid)?, refusal))).collect();
        for (line, refusal) in of_lines.iter().take(MOST_ERRORS) {
            let text = match self.source.place(**line) {
                Some(place) => format!("{place}: {}: {}", refusal.error.kind, self.source.line(**line)),
                None => refusal.to_string(),
            };
            let _ = writeln!(told, "{text}");
        }
        if of_lines.len() > MOST_ERRORS {
            let _ = writeln!(told, "and {} more", of_lines.len() - MOST_ERRORS);
        }
        let Some(verdict) = verdict else {
            return if told.is_empty() { Ok(()) } else { bail!("{}", told.trim_end().to_owned()) };
        };
        // That a message failed was said above.
        let said = verdict.kind == ErrorKind::from(BundleFailed::MsgFailed) && !told.is_empty();
        if !said {
            let _ = writeln!(told, "{}", verdict.kind);
        }
        bail!("{told}nothing of the bundle was done")
    }

    /// `flows.txt:12: `, nothing for the command line.
    fn prefix(&self, line: usize) -> String {
        self.source.place(line).map(|place| format!("{place}: ")).unwrap_or_default()
    }
}
