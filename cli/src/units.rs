//! Durations and times for people to read.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A time to the second: `2026-01-31 08:15:00 UTC`.
pub(crate) fn format_time(time: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    // A year that the format cannot write has no better name.
    OffsetDateTime::from(time).format(format).unwrap_or_else(|_| "the far future".to_owned())
}

/// A time for programs, as RFC 3339 has it; `None` for one that it cannot write.
pub(crate) fn rfc3339(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

/// A duration in its largest unit, rounded: `45 s`, `60 min`, `3 h`, `2 d`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let rounded = |unit: u64| (seconds + unit / 2) / unit;
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7_170 => format!("{} min", rounded(60)),
        7_170..171_000 => format!("{} h", rounded(3_600)),
        _ => format!("{} d", rounded(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_largest_unit() {
        for (seconds, text) in [(1, "1 s"), (119, "119 s"), (3599, "60 min"), (7199, "2 h"), (172_800, "2 d")] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(format_duration(Duration::from_millis(250)), "250 ms");
    }
}
