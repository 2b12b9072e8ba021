//! `weft ctl`: what a controller knows and is told, from the command line. A client of its REST API like any other.

mod change;
mod difference;
mod follow;
mod output;
mod show;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use controller_api::client::{Client, Server, Trust};
use controller_api::{Label, ResourceKind};

use crate::controllerd::auth::Role;
use crate::service::{lab_of, run_dir, sockets};
use output::Format;
use show::What;

/// Talk to a controller: read, declare, compare, delete, watch, roll back.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask this controller: unix:/path/to.sock, http://host:port or https://host:port. By default the one that runs here.
    #[arg(long, global = true)]
    server: Option<Server>,
    /// Say who asks by this token.
    #[arg(long, global = true, env = "WEFT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// For https: file with the certificates (PEM) of the CAs whose certificate the controller must show.
    #[arg(long, global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List what there is, or show one of them.
    Get {
        /// networks, routers, functions, chains, policies, qos, paths, mirrors, balancers, tenants, intents (all of these), switches, links, hosts, revisions or audit.
        what: What,
        /// Only this one.
        name: Option<String>,
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Tell all about an intent: what is wanted, how far each switch is, who changed it last.
    Describe {
        /// KIND/NAME such as network/blue.
        intent: Label,
    },
    /// Declare what is in files: topologies, or their sections networks, routers, functions, chains, policies, qos, paths, mirrors, balancers and tenants alone.
    Apply {
        #[command(flatten)]
        files: Files,
        /// Delete what is in none of the files.
        #[arg(long)]
        prune: bool,
        #[command(flatten)]
        how: How,
    },
    /// Compare what is in files with what is declared, and tell what applying them would do. Ends with 1 if they differ, with 2 if it cannot tell.
    Diff {
        #[command(flatten)]
        files: Files,
        /// As if what is in none of the files were deleted.
        #[arg(long)]
        prune: bool,
    },
    /// Delete intents, by name or as they are in files.
    Delete {
        /// KIND/NAME such as network/blue.
        #[arg(required_unless_present = "file")]
        intents: Vec<Label>,
        /// Delete what is in these files; "-" is the standard input.
        #[arg(short, long, value_name = "FILE")]
        file: Vec<PathBuf>,
        #[command(flatten)]
        how: How,
    },
    /// Follow changes of intents as they happen, until interrupted.
    Watch {
        /// Only intents of this kind.
        kind: Option<ResourceKind>,
        /// Begin behind this revision; by default with what is declared.
        #[arg(long, value_name = "REVISION")]
        since: Option<u64>,
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Make a token for a controller that asks for them (`weft controller --rest-tokens FILE`), and print it.
    Token {
        /// Whose it is, for the record.
        #[arg(value_parser = crate::service::daemon_name)]
        name: String,
        /// viewer, operator, admin, or tenant:NAME for the intents named NAME-...
        #[arg(long)]
        role: Role,
        /// Add its line to this file of tokens; without, the line is printed to the standard error.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Declare again what was declared as of a revision.
    Rollback {
        /// Its number; `weft ctl get revisions` lists them.
        revision: u64,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, clap::Args)]
struct Files {
    /// A file; "-" is the standard input. May be given several times.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// How a change is made.
#[derive(Debug, Clone, Copy, clap::Args)]
struct How {
    /// Change nothing: tell what would happen.
    #[arg(long)]
    dry_run: bool,
    /// Wait until every switch concerned has confirmed, at most ten seconds.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

impl How {
    fn query(self) -> &'static str {
        match self {
            Self { dry_run: true, .. } => "?dry_run=true",
            Self { wait: true, .. } => "?wait=realised",
            _ => "",
        }
    }
}

/// Runs `weft ctl`.
///
/// # Errors
/// What the controller answered, or why it could not be reached.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Command::Token { name, role, file } = args.command {
        return token::make(&name, &role, file.as_deref()).map(|()| ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::new(server(args.server).await?).with_timeout(Duration::from_secs(120));
        if let Some(token) = args.token {
            client = client.with_token(token);
        }
        if let Some(file) = args.ca_cert {
            let pem = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let trust = Trust::of_pem(&pem).with_context(|| file.display().to_string())?;
            client = client.with_trust(trust);
        }
        match args.command {
            Command::Get { what, name, output } => show::get(&client, what, name.as_deref(), output).await?,
            Command::Describe { intent } => show::describe(&client, &intent).await?,
            Command::Apply { files, prune, how } => change::apply(&client, &files.files, prune, how).await?,
            Command::Diff { files, prune } => {
                let code = change::diff(&client, &files.files, prune).await;
                // As diff itself: 1 is a difference, 2 trouble.
                return Ok(code.unwrap_or_else(|error| {
                    anstream::eprintln!("weft: {error:#}");
                    ExitCode::from(2)
                }));
            }
            Command::Delete { intents, file, how } => change::delete(&client, intents, &file, how).await?,
            Command::Watch { kind, since, output } => follow::watch(&client, kind, since, output).await?,
            Command::Rollback { revision, how } => change::rollback(&client, revision, how).await?,
            // Needs no controller, and was made above.
            Command::Token { .. } => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The controller that is meant: the one that was named, or the only one that runs here.
async fn server(named: Option<Server>) -> anyhow::Result<Server> {
    if let Some(server) = named {
        return Ok(server);
    }
    let folder = run_dir()?;
    let mut found = Vec::new();
    for socket in sockets(&folder, "sock") {
        let client = Client::unix(&socket).with_timeout(Duration::from_secs(3));
        // Other daemons have sockets there, too, and some are left from processes that were killed.
        if client.health().await.is_ok_and(|health| health.service == "controller") {
            found.push(socket);
        }
    }
    match found.as_slice() {
        [one] => Ok(Server::Unix(one.clone())),
        [] => bail!("no controller runs in {}: start one, or name it with --server", folder.display()),
        several => {
            let name = |socket: &PathBuf| {
                let lab = lab_of(socket).map(|lab| format!(" (lab {lab})")).unwrap_or_default();
                format!("--server unix:{}{lab}", socket.display())
            };
            bail!(
                "several controllers run here; say which: {}",
                several.iter().map(name).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// What files declare, together.
fn read(files: &[PathBuf]) -> anyhow::Result<controller_api::Declaration> {
    let mut all = controller_api::Declaration::default();
    for file in files {
        let declared = if file.as_os_str() == "-" {
            let text = std::io::read_to_string(std::io::stdin()).context("cannot read the standard input")?;
            topology::parse_intents("standard input", &text, std::path::Path::new(""))?
        } else {
            topology::load_intents(file)?
        };
        all.extend(declared.into_resources());
    }
    Ok(all)
}
