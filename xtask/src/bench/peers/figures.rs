//! What was measured, beside what must hold.

use serde::Serialize;

/// What a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// So many times the other at least.
    AtLeast(f64),
    /// So many times the other at most.
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Unit of both values.
    pub unit: &'static str,
    /// Median of ours.
    pub ours: f64,
    /// Median of what it is compared with.
    pub other: f64,
    /// What that is.
    pub beside: String,
    /// What must hold of the ratio.
    pub bound: Bound,
}

impl Figure {
    /// Ours to the other.
    pub fn ratio(&self) -> f64 {
        self.ours / self.other
    }

    /// Whether it is as it must be; never for what was not measured.
    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::AtLeast(factor) => self.ratio() >= factor,
            Bound::AtMost(factor) => self.ratio() <= factor,
        }
    }
}

/// The middle one of them, or between the two middle ones.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The table for people.
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:<34} {:>9} {:>9}  {:<8} {:<24} {:>7} {:>8}\n",
        "figure", "ours", "other", "unit", "the other is", "ratio", "needs"
    );
    for figure in figures {
        let needs = match figure.bound {
            Bound::AtLeast(factor) => format!(">= {factor}"),
            Bound::AtMost(factor) => format!("<= {factor}"),
        };
        let verdict = if figure.holds() { "" } else { "  DOES NOT HOLD" };
        text += &format!(
            "{:<34} {:>9} {:>9}  {:<8} {:<24} {:>7.2} {needs:>8}{verdict}\n",
            figure.name,
            short(figure.ours),
            short(figure.other),
            figure.unit,
            figure.beside,
            figure.ratio(),
        );
    }
    text
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(ours: f64, other: f64, bound: Bound) -> Figure {
        Figure { name: "f".to_owned(), unit: "Mpps", ours, other, beside: "r".to_owned(), bound }
    }

    #[test]
    fn a_figure_holds_on_its_side_of_the_bound() {
        assert!(figure(1.8, 1.0, Bound::AtLeast(1.8)).holds());
        assert!(!figure(1.79, 1.0, Bound::AtLeast(1.8)).holds());
        assert!(figure(1.25, 1.0, Bound::AtMost(1.25)).holds());
        assert!(!figure(1.26, 1.0, Bound::AtMost(1.25)).holds());
        assert!(!figure(f64::NAN, 1.0, Bound::AtLeast(0.0)).holds(), "not measured");
        assert!(!figure(1.0, f64::NAN, Bound::AtMost(9.0)).holds(), "not measured");
    }

    #[test]
    fn the_table_names_what_does_not_hold() {
        let text = table(&[figure(1.0, 2.0, Bound::AtLeast(1.0)), figure(2.0, 1.0, Bound::AtLeast(1.0))]);
        assert_eq!(text.matches("DOES NOT HOLD").count(), 1, "{text}");
        assert!(text.lines().nth(1).is_some_and(|line| line.contains("DOES NOT HOLD")), "{text}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }
}
