//! What faults have cost.

use std::collections::BTreeMap;
use std::fmt;

use super::site::Vitals;

/// How soon listeners were online again, by kind of fault, and what the processes held before and after.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: BTreeMap<String, Row>,
    processes: Vec<(String, Vitals, Vitals)>,
    notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    count: usize,
    worst: u64,
}

impl Report {
    /// Notes a fault, and how many milliseconds behind its healing the listener was online.
    pub fn fault(&mut self, kind: &str, online: u64) {
        let row = self.rows.entry(kind.to_owned()).or_default();
        row.count += 1;
        row.worst = row.worst.max(online);
    }

    /// Notes what a process held before the faults and after them.
    pub fn process(&mut self, name: impl Into<String>, before: Vitals, after: Vitals) {
        self.processes.push((name.into(), before, after));
    }

    /// Notes something else.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Takes the findings of another report in.
    pub fn add(&mut self, other: Self) {
        for (kind, row) in other.rows {
            let own = self.rows.entry(kind).or_default();
            own.count += row.count;
            own.worst = own.worst.max(row.worst);
        }
        self.processes.extend(other.processes);
        self.notes.extend(other.notes);
    }

    /// How many faults there were.
    pub fn faults(&self) -> usize {
        self.rows.values().map(|row| row.count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<44} {:>6} {:>24}", "fault", "count", "worst time to online")?;
        for (kind, Row { count, worst }) in &self.rows {
            writeln!(f, "{kind:<44} {count:>6} {:>22.3} s", *worst as f64 / 1000.0)?;
        }
        if !self.processes.is_empty() {
            writeln!(f, "\n{:<44} {:>22} {:>22}", "process", "descriptors", "tasks")?;
        }
        for (name, before, after) in &self.processes {
            let change = |before: &dyn fmt::Display, after: &dyn fmt::Display| format!("{before} -> {after}");
            let descriptors = change(&before.descriptors, &after.descriptors);
            writeln!(f, "{name:<44} {descriptors:>22} {:>22}", change(&before.tasks, &after.tasks))?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}
