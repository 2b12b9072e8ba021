//! Rates as people read them.

use comfy_table::{CellAlignment, Table};
use controller_api::DropPlace;

use super::rates::{DropView, NodeView, PortView, View};

/// Ports of a node that a screen shows, the busiest.
const N_PORTS: usize = 16;
/// Reasons of drops of a node that a screen shows, the fastest.
const N_DROPS: usize = 8;

impl View {
    /// All of it; for a `screen`, what fits one.
    pub fn text(&self, screen: bool) -> String {
        let mut lines = Vec::new();
        for node in &self.nodes {
            node.write(screen, &mut lines);
            lines.push(String::new());
        }
        let mut process = None;
        for worker in &self.workers {
            if process != Some(worker.pid) {
                process = Some(worker.pid);
                lines.push(format!("workers of process {}", worker.pid));
            }
            let spins = worker.cpu_share - worker.busy_share;
            let spins =
                if spins > 0.005 { format!(", {} looking in vain", percent(spins)) } else { String::new() };
            lines.push(format!("  {}: busy {}{spins}", worker.worker, percent(worker.busy_share)));
        }
        lines.join("\n") + "\n"
    }
}

/// What of `text` fits a terminal, the line below it included, and how much does not.
pub fn clipped(text: &str, (columns, rows): (usize, usize)) -> String {
    let n = text.lines().count();
    let shown = if n < rows { n } else { rows.saturating_sub(2) };
    let mut out = String::new();
    for line in text.lines().take(shown) {
        out.extend(line.chars().take(columns));
        out.push('\n');
    }
    if shown < n {
        let rest = format!("... {} more lines (--json has all)", n - shown);
        out.extend(rest.chars().take(columns));
        out.push('\n');
    }
    out
}

impl NodeView {
    fn write(&self, screen: bool, lines: &mut Vec<String>) {
        if self.service == "controller" {
            let n = self.channels.iter().filter(|channel| channel.connected).count();
            lines.push(format!(
                "controller {}: {n} of {} switches connected",
                self.name,
                self.channels.len()
            ));
            return;
        }
        let sum = |rate: fn(&PortView) -> f64| self.ports.iter().map(rate).sum::<f64>();
        let mut head = format!(
            "{} {}: in {}pps {}bit/s, out {}pps {}bit/s",
            self.service,
            self.name,
            scaled(sum(|port| port.rx.frames_per_second)),
            scaled(sum(|port| port.rx.bits_per_second)),
            scaled(sum(|port| port.tx.frames_per_second)),
            scaled(sum(|port| port.tx.bits_per_second)),
        );
        if let Some(cache) = &self.cache {
            let share =
                cache.hit_share.map_or_else(|| "not asked".to_owned(), |s| format!("hits {}", percent(s)));
            head += &format!(", {} flows, cache {share}", self.flows);
            head += &format!(", packet-ins {}/s", scaled(self.packet_ins_per_second));
        }
        if !self.channels.is_empty() {
            let n = self.channels.iter().filter(|channel| channel.connected).count();
            head += &format!(", controllers {n} of {}", self.channels.len());
        }
        lines.push(head);
        lines.push(self.ports(screen));
        if !self.stages.is_empty() {
            lines.push(self.stages());
        }
        let shown = if screen { N_DROPS } else { usize::MAX };
        for drop in self.drops.iter().take(shown) {
            lines.push(format!(
                "  dropped {}: {} in all, {}/s",
                place(drop),
                drop.frames,
                scaled(drop.per_second)
            ));
        }
    }

    fn ports(&self, screen: bool) -> String {
        let head = ["PORT", "NAME", "LINK", "IN PPS", "IN BIT/S", "OUT PPS", "OUT BIT/S", "DROPPED/S"];
        let mut table = plain(&head, 3);
        let mut ports: Vec<_> = self.ports.iter().collect();
        let shown = if screen { N_PORTS } else { usize::MAX };
        if ports.len() > shown {
            let load = |port: &PortView| port.rx.bits_per_second + port.tx.bits_per_second;
            ports.sort_by(|a, b| load(b).total_cmp(&load(a)));
        }
        for port in ports.iter().take(shown) {
            table.add_row([
                port.number.to_string(),
                port.name.clone(),
                if port.up { "up" } else { "down" }.to_owned(),
                scaled(port.rx.frames_per_second),
                scaled(port.rx.bits_per_second),
                scaled(port.tx.frames_per_second),
                scaled(port.tx.bits_per_second),
                scaled(port.dropped_per_second),
            ]);
        }
        let mut text = table.to_string();
        if ports.len() > shown {
            text += &format!("\n  and {} quieter ports", ports.len() - shown);
        }
        text
    }

    fn stages(&self) -> String {
        let mut table = plain(&["STAGE", "CYCLES A FRAME", "SHARE", "FRAMES TIMED"], 1);
        for stage in &self.stages {
            let cycles = stage.cycles_per_frame.map_or_else(|| "-".to_owned(), |c| format!("{c:.0}"));
            table.add_row([stage.stage.clone(), cycles, percent(stage.share), stage.frames.to_string()]);
        }
        table.to_string()
    }
}

/// A table without lines whose columns from `numbers` on are numbers.
fn plain(head: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(head.iter().copied());
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn place(drop: &DropView) -> String {
    match (drop.place, &drop.port) {
        (DropPlace::Worker, _) => format!("between nodes and ports: {}", drop.reason),
        (_, Some(port)) => format!("at {port}: {}", drop.reason),
        (_, None) => drop.reason.clone(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Three figures, a space and a prefix of thousands, for a unit to follow.
pub fn scaled(value: f64) -> String {
    const PREFIXES: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut value = value.max(0.0);
    let mut at = 0;
    while value >= 999.5 && at + 1 < PREFIXES.len() {
        value /= 1000.0;
        at += 1;
    }
    let places = match value {
        _ if at == 0 && value.fract() == 0.0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.places$} {}", PREFIXES[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_gets_no_more_than_it_has_room_for() {
        let text = "one\ntwo, which is long\nthree\nfour\n";
        assert_eq!(clipped(text, (80, 5)), text, "the cursor stands in the fifth line");
        assert_eq!(clipped(text, (8, 5)), "one\ntwo, whi\nthree\nfour\n");
        assert_eq!(clipped(text, (80, 4)), "one\ntwo, which is long\n... 2 more lines (--json has all)\n");
        assert_eq!(clipped(text, (80, 1)), "... 4 more lines (--json has all)\n");
    }

    #[test]
    fn numbers_have_three_figures() {
        for (value, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (7.25, "7.25"),
            (999.0, "999"),
            (999.6, "1.00 k"),
            (12_345.0, "12.3 k"),
            (9.87e9, "9.87 G"),
            (1.0e15, "1000 T"),
        ] {
            assert_eq!(scaled(value).trim(), text);
        }
    }
}
