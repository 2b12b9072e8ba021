//! Sizes and rates as people write them.

/// Bytes as `128M`, `1G` (powers of 1024) to MiB.
pub(super) fn mebibytes(text: &str) -> Option<u32> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u32 = digits.parse().ok()?;
    match unit {
        "M" | "MB" | "MiB" => Some(number),
        "G" | "GB" | "GiB" => number.checked_mul(1024),
        _ => None,
    }
}

/// Bits a second as `500M`, `2.5G`, `1000` (powers of 1000).
pub(super) fn bits_per_second(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: f64 = digits.parse().ok()?;
    let unit = unit.trim().trim_end_matches("bit/s").trim_end_matches("bps");
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => return None,
    };
    Some((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates() {
        assert_eq!(mebibytes("128M"), Some(128));
        assert_eq!(mebibytes("2G"), Some(2048));
        for wrong in ["", "128", "M", "1T", "-1M", "99999999999G"] {
            assert_eq!(mebibytes(wrong), None, "{wrong}");
        }
        assert_eq!(bits_per_second("500M"), Some(500_000_000));
        assert_eq!(bits_per_second("2.5G"), Some(2_500_000_000));
        assert_eq!(bits_per_second("1000"), Some(1000));
        for wrong in ["", "fast", "1X", "1.2.3M"] {
            assert_eq!(bits_per_second(wrong), None, "{wrong}");
        }
    }
}
