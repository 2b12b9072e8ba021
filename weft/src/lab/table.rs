//! Tables for people.

use std::io::IsTerminal;

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
    let mut table = table(&["", "test", "what was seen", "time"]);
    for outcome in outcomes {
        table.add_row([
            verdict(outcome.pass),
            Cell::new(&outcome.test),
            Cell::new(&outcome.detail),
            Cell::new(format!("{} ms", outcome.milliseconds)),
        ]);
    }
    table
}
