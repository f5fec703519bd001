//! Durations and sizes as people write them, on a command line and in the configuration file.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Reads `90`, `90s`, `5m`, `1h30m`, `2d`, `250ms`: seconds without a unit.
///
/// # Errors
///
/// A sentence that says how to write one.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a duration such as 90s, 5m, 1h30m or 2d".to_owned();
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let after = &rest[digits..];
        let unit_end = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let unit = match &after[..unit_end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" | "min" => Duration::from_secs(MINUTE),
            "h" => Duration::from_secs(HOUR),
            "d" => Duration::from_secs(DAY),
            _ => return Err(wrong()),
        };
        let number = u32::try_from(number).map_err(|_| wrong())?;
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &after[unit_end..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Writes a duration so that [`parse_duration`] reads the same, to the millisecond: `90s`, `5m`, `1h30m`.
pub fn write_duration(duration: Duration) -> String {
    let (mut seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let mut text = String::new();
    for (unit, length) in [("d", DAY), ("h", HOUR), ("m", MINUTE)] {
        // What is shorter than two minutes is read more easily in seconds.
        if seconds >= length && !(text.is_empty() && unit == "m" && seconds < 2 * MINUTE && seconds != MINUTE) {
            text.push_str(&format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    if seconds > 0 || (text.is_empty() && millis == 0) {
        text.push_str(&format!("{seconds}s"));
    }
    if millis > 0 {
        text.push_str(&format!("{millis}ms"));
    }
    text
}

/// Reads `4096`, `64KiB`, `256 MiB`, `1GiB`; `K`, `M` and `G` mean the same.
///
/// # Errors
///
/// A sentence that says how to write one.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "write a size such as 65536, 64KiB, 256MiB or 1GiB".to_owned();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let shift = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Writes a size so that [`parse_size`] reads the same: `1000`, `64 KiB`, `16 MiB`.
pub fn write_size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift)) {
        Some((unit, shift)) => format!("{} {unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("5min", 300), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "s", "5x", "-1", "1.5h", "h1", "1h30", "99999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64KiB", 65_536), ("16 MiB", 16 << 20), ("1m", 1 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "1.5G", "1 TB", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (seconds, text) in [(0, "0s"), (60, "1m"), (75, "75s"), (150, "2m30s"), (5400, "1h30m"), (90_000, "1d1h")] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(write_duration(duration), text);
            assert_eq!(parse_duration(text), Ok(duration));
        }
        assert_eq!(write_duration(Duration::from_millis(1_250)), "1s250ms");
        for (bytes, text) in [(0, "0"), (1000, "1000"), (32 << 10, "32 KiB"), (4 << 20, "4 MiB"), (3 << 30, "3 GiB")] {
            assert_eq!(write_size(bytes), text);
            assert_eq!(parse_size(text), Ok(bytes));
        }
    }
}
