//! Numbers of all rounds, and the table of each transport.

use std::collections::BTreeMap;

use super::case::{CASES, Case, Quantity};
use super::contender::Contender;
use crate::contender::Transport;
use crate::report::Spread;

/// What was measured, one number for each round.
#[derive(Default)]
pub(crate) struct Results(BTreeMap<(Transport, Case, Quantity, Contender), Vec<f64>>);

impl Results {
    pub(crate) fn add(&mut self, transport: Transport, case: Case, quantity: Quantity, by: Contender, value: f64) {
        self.0.entry((transport, case, quantity, by)).or_default().push(value);
    }

    /// One contender's numbers divided by another's, formed inside each round.
    pub(crate) fn ratio(
        &self,
        transport: Transport,
        (case, quantity): (Case, Quantity),
        [one, other]: [Contender; 2],
    ) -> Option<Spread> {
        let one = self.0.get(&(transport, case, quantity, one))?;
        let other = self.0.get(&(transport, case, quantity, other))?;
        Spread::of(one.iter().zip(other).map(|(one, other)| one / other))
    }

    /// A table for each transport: rows for the quantities of each case, a column for each contender.
    pub(crate) fn tables(&self) -> String {
        let measured = |transport: &Transport| self.0.keys().any(|(other, ..)| other == transport);
        let tables = [Transport::Plain, Transport::Tls].into_iter().filter(measured).map(|it| self.table(it));
        tables.collect::<Vec<_>>().join("\n")
    }

    fn table(&self, transport: Transport) -> String {
        let contenders = [Contender::Listener, Contender::Forward, Contender::Haproxy, Contender::Server];
        let taking_part = |by: &Contender| self.0.keys().any(|(other, .., known)| *other == transport && known == by);
        let contenders: Vec<_> = contenders.into_iter().filter(taking_part).collect();
        let mut table = format!("| {transport} | | unit |");
        for contender in &contenders {
            table += &format!(" {contender} |");
        }
        table += &format!("\n|---|---|---|{}\n", "---:|".repeat(contenders.len()));
        for case in CASES {
            for &quantity in case.quantities() {
                let cells = contenders.iter().map(|by| self.0.get(&(transport, case, quantity, *by)));
                if cells.clone().all(|cell| cell.is_none()) {
                    continue;
                }
                table += &format!("| {case} | {quantity} | {} |", case.unit(quantity));
                for spread in cells.map(|numbers| Spread::of(numbers?.iter().copied())) {
                    table += &spread.map_or("  |".to_owned(), |spread| {
                        let precision = if spread.median < 100.0 { 1 } else { 0 };
                        format!(" {spread:.precision$} |")
                    });
                }
                table += "\n";
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_what_was_measured_and_a_gap_for_what_was_not() {
        let mut results = Results::default();
        let (transport, case) = (Transport::Plain, Case::Download);
        results.add(transport, case, Quantity::Cpu, Contender::Listener, 250.0);
        results.add(transport, case, Quantity::CpuBehind, Contender::Listener, 50.0);
        results.add(transport, case, Quantity::CpuBehind, Contender::Server, 25.0);
        let expected = "| plain | | unit | hybridrelay, listener | server |\n|---|---|---|---:|---:|\n\
                        | GET of 64 MiB | CPU of the relay or proxy | ms/GB | 250 |  |\n\
                        | GET of 64 MiB | CPU behind it | ms/GB | 50.0 | 25.0 |\n";
        assert_eq!(results.tables(), expected);
        let both = [Contender::Listener, Contender::Server];
        let ratio = results.ratio(transport, (case, Quantity::CpuBehind), both);
        assert_eq!(ratio.map(|ratio| ratio.median), Some(2.0));
        assert_eq!(results.ratio(transport, (case, Quantity::Cpu), both), None);
    }
}
