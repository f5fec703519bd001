//! Durations for people to read.

use std::time::Duration;

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
