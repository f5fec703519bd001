//! Numbers of all rounds, and the tables that are made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use std::{fmt, fs};

use anyhow::{Context, Result};

use crate::case::Case;
use crate::contender::{Contender, Transport};
use crate::goals::Verdict;
use crate::machine;

/// What was measured, one number for each round.
#[derive(Default)]
pub(crate) struct Results(BTreeMap<(Transport, Case, Contender), Vec<f64>>);

/// The middle of some numbers and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Results {
    pub(crate) fn add(&mut self, transport: Transport, case: Case, contender: Contender, value: f64) {
        self.0.entry((transport, case, contender)).or_default().push(value);
    }

    pub(crate) fn spread(&self, case: Case, transport: Transport, contender: Contender) -> Option<Spread> {
        Spread::of(self.0.get(&(transport, case, contender))?.iter().copied())
    }

    /// Ours divided by the other's, formed inside each round: what disturbs the machine disturbs both alike.
    pub(crate) fn ratio(&self, case: Case, transport: Transport, other: Contender) -> Option<Spread> {
        let ours = self.0.get(&(transport, case, Contender::Ours))?;
        let others = self.0.get(&(transport, case, other))?;
        Spread::of(ours.iter().zip(others).map(|(ours, other)| ours / other))
    }

    /// A table for each transport: a row for each case, a column for each contender.
    ///
    /// A cell is the median with the least and the most, and behind a slash what hybridrelay takes of it.
    pub(crate) fn tables(&self) -> String {
        let transports: BTreeSet<_> = self.0.keys().map(|(transport, ..)| *transport).collect();
        transports.into_iter().map(|transport| self.table(transport)).collect::<Vec<_>>().join("\n")
    }

    fn table(&self, transport: Transport) -> String {
        let keys = || self.0.keys().filter(|(other, ..)| *other == transport);
        let cases: BTreeSet<_> = keys().map(|(_, case, _)| *case).collect();
        let contenders: BTreeSet<_> = keys().map(|(.., contender)| *contender).collect();
        let mut table = format!("| {transport} | unit |");
        for contender in &contenders {
            table += &format!(" {contender} |");
        }
        table += &format!("\n|---|---|{}\n", "---:|".repeat(contenders.len()));
        for case in cases {
            table += &format!("| {case} | {} |", case.unit());
            for &contender in &contenders {
                table += &format!(" {} |", self.cell(case, transport, contender));
            }
            table += "\n";
        }
        table
    }

    fn cell(&self, case: Case, transport: Transport, contender: Contender) -> String {
        let Some(spread) = self.spread(case, transport, contender) else { return String::new() };
        let precision = if spread.median < 100.0 { 1 } else { 0 };
        match self.ratio(case, transport, contender) {
            Some(ratio) if contender != Contender::Ours => format!("{spread:.precision$} / {:.2}", ratio.median),
            _ => format!("{spread:.precision$}"),
        }
    }
}

impl Spread {
    /// `None` for no numbers.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { min, median, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = f.precision().unwrap_or(2);
        let Self { min, median, max } = self;
        if min == max {
            return write!(f, "{median:.precision$}");
        }
        write!(f, "{median:.precision$} ({min:.precision$} … {max:.precision$})")
    }
}

/// A table with a row for each goal.
pub(crate) fn goals_table(verdicts: &[Verdict]) -> String {
    let mut table = String::from("| case | transport | goal | measured | verdict |\n|---|---|---|---|---|\n");
    for verdict in verdicts {
        table += &format!("{verdict}\n");
    }
    table
}

/// What a benchmark found, and how it came to be.
pub(crate) struct Report {
    pub(crate) network: String,
    pub(crate) rounds: u32,
    pub(crate) took: Duration,
    pub(crate) tables: String,
    pub(crate) goals: String,
    /// Whether every goal that was measured is met.
    pub(crate) met: bool,
}

impl Report {
    /// Prints it, and puts it into a file where one is given, at the place of this name.
    pub(crate) fn publish(&self, name: &str, into: Option<&Path>) -> Result<()> {
        let text = format!(
            "Command: `cargo xtask bench {}`  \nMachine: {}  \nNetwork: {}  \nCommit: {}  \n\
             Rounds: {}, in {} s\n\n{}\n{}",
            std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            machine::machine(),
            self.network,
            machine::commit(),
            self.rounds,
            self.took.as_secs(),
            self.tables,
            self.goals,
        );
        println!("{text}\n{}", if self.met { "Every goal that was measured is met." } else { "A goal was MISSED." });
        let Some(file) = into else { return Ok(()) };
        put_into(file, name, &text).with_context(|| format!("the report cannot be put into {}", file.display()))
    }
}

/// Replaces what stands in a file between the two lines that mark the place of this name.
fn put_into(file: &Path, name: &str, report: &str) -> Result<()> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let text = fs::read_to_string(file)?;
    let (before, rest) = text.split_once(&begin).context("it has no line that marks the beginning")?;
    let (_, after) = rest.split_once(&end).context("it has no line that marks the end")?;
    Ok(fs::write(file, format!("{before}{begin}{report}{end}{after}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_replaces_the_one_before_and_nothing_else() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), "# Title\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nrest\n")?;
        put_into(file.path(), "bench", "new\n")?;
        put_into(file.path(), "bench", "newer\n")?;
        let expected = "# Title\n<!-- bench: begin -->\nnewer\n<!-- bench: end -->\nrest\n";
        assert_eq!(fs::read_to_string(file.path())?, expected);
        assert!(put_into(file.path(), "bench http", "of something else\n").is_err());
        assert_eq!(fs::read_to_string(file.path())?, expected);
        Ok(())
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!(spread, Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(Spread::of(std::iter::empty()), None);
    }

    #[test]
    fn a_cell_shows_the_spread_and_what_the_relay_takes_of_it() {
        let mut results = Results::default();
        let case = Case::Connection;
        for (contender, cost) in [(Contender::Ours, 50.0), (Contender::Bare, 200.0), (Contender::Bare, 300.0)] {
            results.add(Transport::Plain, case, contender, cost);
        }
        let expected = "| plain | unit | hybridrelay | bare send + receive |\n|---|---|---:|---:|\n\
                        | open and close | µs/connection | 50.0 | 250 (200 … 300) / 0.25 |\n";
        assert_eq!(results.tables(), expected);
    }

    #[test]
    fn ratios_are_formed_inside_each_round() {
        let mut results = Results::default();
        let case = Case::Connection;
        for (ours, other) in [(1.0, 2.0), (10.0, 40.0), (3.0, 3.0)] {
            results.add(Transport::Plain, case, Contender::Ours, ours);
            results.add(Transport::Plain, case, Contender::Bare, other);
        }
        let ratio = results.ratio(case, Transport::Plain, Contender::Bare);
        assert_eq!(ratio, Some(Spread { min: 0.25, median: 0.5, max: 1.0 }));
    }
}
