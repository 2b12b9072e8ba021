//! The clock of this shell: monotonic, from the first use in this process.

use std::sync::OnceLock;

use packet::Instant;

fn origin() -> tokio::time::Instant {
    static ORIGIN: OnceLock<tokio::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(tokio::time::Instant::now)
}

/// Now, for cores. A second after the origin at least, so that nothing is at time zero.
pub fn now() -> Instant {
    let nanos = origin().elapsed().as_nanos();
    Instant::from_secs(1) + std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Sleeps until `when`; forever if there is no time.
pub async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep(when.saturating_since(now())).await,
        None => std::future::pending().await,
    }
}

/// Now, for people: UTC as RFC 3339 writes it, with milliseconds.
pub fn stamp() -> String {
    utc(unix_millis())
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "people want to know when, and this is a shell")]
pub fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970 as a date of the Gregorian calendar, whose leap years come back every 400 years.
fn utc(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970 + 400 * (days / 146_097);
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (13_569_465_600, "2400-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(seconds * 1000), date);
        }
        assert_eq!(utc(1), "1970-01-01T00:00:00.001Z");
    }
}
