//! Only shells read the clock or sleep; cores are given `now`.

use super::Finding;
use super::source::{Source, line_of};
use super::table::SHELLS;

const CLOCKS: &[&str] =
    &["Instant::now", "SystemTime::now", "thread::sleep", "time::sleep", "UNIX_EPOCH.elapsed"];

/// No clock outside the shells; a core's benches may measure.
pub fn check(source: &Source) -> Vec<Finding> {
    if SHELLS.contains(&source.krate.as_str()) || source.path.contains("/benches/") {
        return Vec::new();
    }
    let found = CLOCKS.iter().flat_map(|clock| source.code.match_indices(clock));
    found
        .map(|(offset, clock)| {
            let place = source.place(line_of(&source.code, offset));
            Finding::error(place, format!("`{clock}` in a core: take `now` as an argument"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "fn f() -> std::time::Instant {\n    std::time::Instant::now()\n}\n";

    #[test]
    fn a_clock_in_a_core_fails() {
        let found = check(&Source::new("vrouter/src/nat.rs", "vrouter", TEXT));
        let text = "`Instant::now` in a core: take `now` as an argument";
        assert_eq!(found, [Finding::error("vrouter/src/nat.rs:2", text)]);
    }

    #[test]
    fn a_clock_in_a_shell_or_a_bench_passes() {
        assert_eq!(check(&Source::new("weft/src/main.rs", "weft", TEXT)), []);
        assert_eq!(check(&Source::new("crates/lookup/benches/lpm.rs", "lookup", TEXT)), []);
    }
}
