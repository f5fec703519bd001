//! Lines on standard output: single ones, and tables.

use std::io::{self, Write};

use crate::failure::Failure;

/// Whether somebody still reads standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Here,
    /// As with `| head -1`: nothing is wrong, and nothing more is wanted.
    Gone,
}

/// Writes a line at once.
pub(crate) fn print_line(line: &str) -> Result<Reader, Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::Here),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::io("standard output failed", &error)),
    }
}

/// Rows below a heading, each column as wide as it needs to be; columns without a value in any row are left out.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| plain(cell))).collect();
    let is_used: [bool; N] = std::array::from_fn(|at| rows.iter().any(|row| !row[at].is_empty()));
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(|at| width(at).max(heading[at].chars().count()));
    let line = |cells: &[&str; N]| {
        let cells = cells.iter().enumerate().filter(|(at, _)| is_used[*at]);
        let cells: Vec<_> = cells.map(|(at, cell)| format!("{cell:width$}", width = widths[at])).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let lines = std::iter::once(line(&heading)).chain(rows.iter().map(|row| line(&row.each_ref().map(String::as_str))));
    lines.collect::<Vec<_>>().join("\n")
}

/// Without what a terminal takes for a command: it comes from others.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be_and_empty_ones_are_left_out() {
        let rows = [
            ["a".to_owned(), String::new(), "ä\u{1b}[1m".to_owned()],
            ["bcd".to_owned(), String::new(), String::new()],
        ];
        assert_eq!(table(["X", "Y", "Z"], &rows), "X    Z\na    ä\u{FFFD}[1m\nbcd");
    }
}
