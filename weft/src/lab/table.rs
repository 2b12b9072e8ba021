//! Tables for people.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use super::probe::Outcome;

/// A table with this head line; as wide as the terminal, unbounded elsewhere.
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.force_no_tty();
    }
    table.set_header(head.iter().map(|word| Cell::new(word).add_attribute(Attribute::Bold)));
    table
}

/// `pass` or `FAIL`, coloured.
pub fn verdict(pass: bool) -> Cell {
    if pass {
        Cell::new("pass").fg(Color::Green)
    } else {
        Cell::new("FAIL").fg(Color::Red).add_attribute(Attribute::Bold)
    }
}

/// The results of tests.
pub fn outcomes(outcomes: &[Outcome]) -> Table {
    let about = outcomes.iter().any(|outcome| outcome.about.is_some());
    let head = ["", "shows", "test", "what was seen", "time"];
    let mut table = table(&head.into_iter().filter(|word| about || *word != "shows").collect::<Vec<_>>());
    for outcome in outcomes {
        let mut row = vec![verdict(outcome.pass)];
        if about {
            row.push(Cell::new(outcome.about.as_deref().unwrap_or_default()));
        }
        row.push(Cell::new(&outcome.test));
        row.push(Cell::new(&outcome.detail));
        row.push(Cell::new(format!("{} ms", outcome.milliseconds)));
        table.add_row(row);
    }
    table
}

/// Writes a line to standard output. That nobody reads it any more must not keep a lab from being taken down.
pub fn say(line: impl Display) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

/// The same to standard error.
pub fn whisper(line: impl Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
