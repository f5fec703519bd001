//! Times as RFC 3339 and .NET write them.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const MILLISECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const TICKS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");

/// A time as in RFC 3339, in UTC, to the millisecond.
pub(super) fn rfc3339(time: SystemTime) -> String {
    write(time, MILLISECONDS)
}

/// The same to the tick of .NET, a ten millionth of a second.
pub(super) fn ticks(time: SystemTime) -> String {
    write(time, TICKS)
}

fn write(time: SystemTime, format: &[BorrowedFormatItem<'_>]) -> String {
    // Formatting into a string of this description cannot fail for a time that exists.
    OffsetDateTime::from(time).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_769_846_400, 123_456_700);
        assert_eq!(rfc3339(time), "2026-01-31T08:00:00.123Z");
        assert_eq!(ticks(time), "2026-01-31T08:00:00.1234567Z");
    }
}
