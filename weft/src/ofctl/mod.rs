//! `weft ofctl`: the verbs and the flow syntax of ovs-ofctl for any OpenFlow switch.

// These are texts of the command line's help.
#![allow(rustdoc::broken_intra_doc_links)]

mod changes;
mod diff;
mod flows;
mod groups;
mod input;
mod link;
mod meters;
mod options;
mod ports;
mod probe;
mod show;
mod sort;
mod target;
mod verbs;

use std::io::{self, BufWriter, Stdout, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use openflow::text::{Names, Printed};
use openflow::{Message, MultipartReply, Reply, Request, Version, Xid};

use link::{Link, Refusal};
use options::Options;
use verbs::Verb;

/// Look at and change any OpenFlow switch, with the verbs and the flow syntax of ovs-ofctl.
///
/// SWITCH is tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH, or the name of a weft switch of this machine (LAB/NAME if
/// several labs have one). FLOW, GROUP and METER are written as in ovs-ofctl(8); FILE may be - for standard input.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

/// What a shell shows for a program that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

/// Runs one verb. Errors are told here, in the name of `weft ofctl`.
///
/// # Errors
/// No runtime.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut ofctl = Ofctl { options: args.options, out: BufWriter::new(io::stdout()) };
    let result = runtime.block_on(async {
        let limit = ofctl.options.timeout;
        let verb = verbs::run(&mut ofctl, args.verb);
        match limit {
            Some(limit) => match tokio::time::timeout(limit, verb).await {
                Ok(result) => result,
                Err(_) => bail!("no end within {} seconds", limit.as_secs()),
            },
            None => verb.await,
        }
    });
    let result = result.and_then(|code| ofctl.out.flush().context("standard output").map(|()| code));
    Ok(result.unwrap_or_else(|error| {
        // What was printed before the error belongs to the reader.
        let _ = ofctl.out.flush();
        let closed = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
        let output = error.to_string() == "standard output";
        if output && error.chain().filter_map(|cause| cause.downcast_ref()).any(closed) {
            return ExitCode::from(BROKEN_PIPE);
        }
        eprintln!("weft ofctl: {error:#}");
        ExitCode::FAILURE
    }))
}

/// What the verbs share.
struct Ofctl {
    options: Options,
    out: BufWriter<Stdout>,
}

impl Ofctl {
    async fn connect(&self, target: &str) -> anyhow::Result<Link> {
        target::connect(target, &self.options).await
    }

    /// Prints one line or several, each with its newline.
    fn print(&mut self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        write!(self.out, "{text}").context("standard output")
    }

    /// Lets the reader see what was printed.
    fn show(&mut self) -> anyhow::Result<()> {
        self.out.flush().context("standard output")
    }

    /// The names of ports and tables, if they are to be shown.
    async fn names_shown(&self, link: &mut Link) -> anyhow::Result<Names> {
        let names = if self.options.names { names_of(link).await? } else { Names::default() };
        Ok(names.of_version(link.version()))
    }

    /// Asks one multipart request and prints the answer as ovs-ofctl does.
    async fn dump(&mut self, link: &mut Link, request: Request) -> anyhow::Result<()> {
        let names = self.names_shown(link).await?;
        let (xid, reply) = link.multipart(request).await?;
        self.print_reply(link, xid, reply, &names)
    }

    /// As [`Ofctl::dump`], over a connection of its own.
    async fn dump_of(&mut self, switch: &str, request: Request) -> anyhow::Result<()> {
        let mut link = self.connect(switch).await?;
        self.dump(&mut link, request).await
    }

    fn print_reply(&mut self, link: &Link, xid: Xid, reply: Reply, names: &Names) -> anyhow::Result<()> {
        let message = Message::MultipartReply(MultipartReply { more: false, body: reply });
        self.print(Printed::new(link.version(), xid, &message).names(names))
    }

    /// Reads what the user wrote, then connects; if it does not parse without the names of ports and tables, with them.
    async fn read_for<T>(
        &self,
        switch: &str,
        mut parse: impl FnMut(&Names) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Link, T)> {
        match parse(&Names::default()) {
            Ok(read) => Ok((self.connect(switch).await?, read)),
            Err(error) if self.options.no_names => Err(error),
            // What is wrong may be a name that only the switch knows.
            Err(error) => {
                let Ok(mut link) = self.connect(switch).await else { return Err(error) };
                let read = parse(&names_of(&mut link).await?)?;
                Ok((link, read))
            }
        }
    }
}

/// The ports of a switch, and the transaction of the answer. 1.0 tells them with the features.
async fn ports_of(link: &mut Link) -> anyhow::Result<(Xid, Vec<openflow::PortDesc>)> {
    if link.version() == Version::V10 {
        return match link.ask(&Message::FeaturesRequest).await? {
            (xid, Message::FeaturesReply(features)) => Ok((xid, features.ports)),
            (_, other) => bail!("{}: an answer of the wrong kind: {other:?}", link.target()),
        };
    }
    match link.multipart(Request::PortDesc).await? {
        (xid, Reply::PortDesc(ports)) => Ok((xid, ports)),
        (_, other) => bail!("{}: an answer of the wrong kind: {other:?}", link.target()),
    }
}

/// What the switch calls its ports and tables.
async fn names_of(link: &mut Link) -> anyhow::Result<Names> {
    let mut names = Names::default();
    for port in ports_of(link).await?.1 {
        names.add_port(port.port, port.name.to_string());
    }
    if link.version() == Version::V10 {
        return Ok(names);
    }
    match link.multipart(Request::TableFeatures(Vec::new())).await {
        Ok((_, Reply::TableFeatures(tables))) => {
            tables.into_iter().for_each(|table| names.add_table(table.table, table.name.to_string()));
        }
        Ok((_, other)) => bail!("{}: an answer of the wrong kind: {other:?}", link.target()),
        // A switch need not be able to describe its tables; then they have no names.
        Err(error) if error.is::<Refusal>() => {}
        Err(error) => return Err(error),
    }
    Ok(names)
}
