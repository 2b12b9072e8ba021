//! What is told while a lab starts: to a terminal, to a log, or to the parent of a detached lab.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::probe::Outcome;
use super::table::whisper;

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A step begins.
    Step {
        /// Steps done before.
        done: usize,
        /// Steps in all.
        total: usize,
        /// What is done now.
        text: String,
    },
    /// A test has ended.
    Outcome(Outcome),
    /// The lab is up and its tests have run.
    Up(Summary),
    /// It did not come up; everything that was made is gone again.
    Failed(String),
}

/// A lab that is up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub lab: String,
    /// The process that runs it.
    pub pid: u32,
    /// Where its REST API is served over TCP.
    pub rest: Option<String>,
    /// The unix socket of its REST API.
    pub socket: String,
    /// Whether it lives in namespaces of its own, where other commands do not find it.
    pub userns: bool,
    /// Its nodes.
    pub n_nodes: usize,
    /// Its links.
    pub n_links: usize,
    /// What became of its tests.
    pub tests: Vec<Outcome>,
    /// Whether all of them hold.
    pub pass: bool,
}

/// Where events go.
pub type Sink = Box<dyn FnMut(Event) + Send>;

/// For the one who started the command: a bar on a terminal, lines elsewhere, nothing with `--json`.
pub fn for_people(json: bool) -> Sink {
    if json {
        return Box::new(|_| {});
    }
    if std::io::stderr().is_terminal() { terminal() } else { lines() }
}

fn terminal() -> Sink {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{spinner} [{pos}/{len}] {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    Box::new(move |event| match event {
        Event::Step { done, total, text } => {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message(text);
        }
        Event::Outcome(outcome) => bar.set_message(outcome.test),
        Event::Up(_) | Event::Failed(_) => bar.finish_and_clear(),
    })
}

fn lines() -> Sink {
    Box::new(|event| match event {
        Event::Step { done, total, text } => whisper(format_args!("[{}/{total}] {text}", done + 1)),
        Event::Outcome(outcome) => {
            let word = if outcome.pass { "pass" } else { "FAIL" };
            whisper(format_args!("{word} {}: {}", outcome.test, outcome.detail));
        }
        Event::Up(_) | Event::Failed(_) => {}
    })
}

/// For the parent of a detached lab: JSON lines on standard output. That the parent has gone is no failure.
pub fn for_parent() -> Sink {
    Box::new(|event| {
        if let Ok(line) = serde_json::to_string(&event) {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    })
}
