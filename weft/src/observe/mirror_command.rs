//! `weft mirror`: frames of a port or flow as a capture, into a file or a pipe.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use controller_api::client::{ClientError, Server, escape};
use netio::pcapng::Counter;

use super::mirror::Way;
use super::nodes;
use crate::service::signals;

/// Arguments of `weft mirror`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weft mirror s1 --port 1,port2 -w - | tshark -r -
  weft mirror s1 --flow 'tcp,nw_dst=10.0.0.2,tp_dst=80' --flow 'tcp,nw_src=10.0.0.2,tp_src=80' -w web.pcapng
Frames are copied as they enter and leave the switch or router, before the queues of a port. A super-frame is one
packet, with a comment. Copies that the reader was too slow for are lost, counted, and told at the end.")]
pub struct Args {
    /// The switch or router; LAB/NAME tells those of several labs apart. May be left out where one runs alone.
    name: Option<String>,
    /// Only frames by or out of these ports: names or numbers.
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    port: Vec<String>,
    /// Only frames that a flow with this match would get, such as tcp,nw_dst=10.0.0.2,tp_dst=80; of several one suffices.
    #[arg(long, value_name = "MATCH")]
    flow: Vec<String>,
    /// Which way frames go.
    #[arg(long, value_enum, default_value = "both")]
    direction: Way,
    /// Most bytes of each frame.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(14..=262_144))]
    snaplen: Option<u32>,
    /// End after as many frames.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Where to: a new file, or - for the standard output.
    #[arg(short = 'w', long = "write", value_name = "FILE|-")]
    write: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    /// Ask this server: unix:/path/to.sock or http://host:port.
    #[arg(long)]
    server: Option<Server>,
}

/// Writes frames until told to stop, or nobody reads any more.
///
/// # Errors
/// When there is no such node or port, a match cannot be read, or the file cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let told_to_stop = signals()?;
        let node = nodes::find(args.server.as_ref(), args.name.as_deref()).await?;
        // Refusals come before a file is made.
        let mut sink = Sink { place: Place::Later(&args), counter: Counter::default(), failure: None };
        let path = path(&args);
        let to_stdout = args.write == Path::new("-");
        let result = tokio::select! {
            result = node.client.download(&path, |piece| sink.take(piece)) => result,
            () = told_to_stop => Ok(()),
            () = crate::print::nobody_reads(), if to_stdout => Ok(()),
        };
        match result {
            Ok(()) => sink.finish(&args),
            // What came before belongs to the user.
            Err(ClientError::Ended { .. }) => {
                sink.finish(&args)?;
                bail!("the {} {} has ended", node.health.service, node.label())
            }
            Err(error) => Err(error.into()),
        }
    })
}

fn path(args: &Args) -> String {
    let direction = match args.direction {
        Way::Rx => "rx",
        Way::Tx => "tx",
        Way::Both => "both",
    };
    let mut path = format!("/api/v1/mirror?direction={direction}");
    for (name, value) in [("port", args.port.join(",")), ("flow", args.flow.join("\n"))] {
        if !value.is_empty() {
            path += &format!("&{name}={}", escape(&value));
        }
    }
    if let Some(snaplen) = args.snaplen {
        path += &format!("&snaplen={snaplen}");
    }
    if let Some(count) = args.count {
        path += &format!("&count={count}");
    }
    path
}

/// Where a capture goes.
enum Place<'a> {
    /// It is made with the first piece.
    Later(&'a Args),
    Open(Box<dyn Write>),
}

struct Sink<'a> {
    place: Place<'a>,
    counter: Counter,
    failure: Option<anyhow::Error>,
}

impl Sink<'_> {
    fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
        self.counter.feed(piece);
        match self.write(piece) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                let is_closed = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
                // A reader that wants no more is no mistake.
                if !error.downcast_ref().is_some_and(is_closed) {
                    self.failure = Some(error);
                }
                ControlFlow::Break(())
            }
        }
    }

    fn write(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        if let Place::Later(args) = self.place {
            self.place = Place::Open(open(&args.write, args.force)?);
        }
        let Place::Open(out) = &mut self.place else { bail!("a place was opened") };
        out.write_all(piece)?;
        Ok(out.flush()?)
    }

    fn finish(self, args: &Args) -> anyhow::Result<ExitCode> {
        if let Some(error) = self.failure {
            return Err(error.context(format!("cannot write to {}", args.write.display())));
        }
        let tally = self.counter.tally();
        eprintln!(
            "weft: {} frames mirrored to {}, {} lost",
            tally.n_packets,
            args.write.display(),
            tally.lost
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn open(path: &Path, force: bool) -> anyhow::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        if io::stdout().is_terminal() {
            bail!("a capture is not for terminals: pipe it into `tshark -r -`, or name a file");
        }
        return Ok(Box::new(io::stdout()));
    }
    let mut options = OpenOptions::new();
    options.write(true);
    let file: io::Result<File> = if force {
        options.create(true).truncate(true).open(path)
    } else {
        options.create_new(true).open(path)
    };
    match file {
        Ok(file) => Ok(Box::new(file)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already: name another file, or say --force to replace it", path.display())
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
