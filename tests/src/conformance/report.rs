//! What came of everything, as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::scenario::Role;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was as expected.
    Passed,
    /// Something was not: what, and the lines that were exchanged.
    Failed(String),
    /// A member cannot do what it takes: which, and why.
    Skipped(String),
}

/// What came of all runs. Shows itself as a table of languages and scenarios; the last line counts.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    scenario: String,
    members: BTreeMap<Role, &'static str>,
    outcome: Outcome,
}

impl Report {
    /// Adds what came of a run.
    pub fn add(&mut self, scenario: &str, members: BTreeMap<Role, &'static str>, outcome: Outcome) {
        self.rows.push(Row { scenario: scenario.to_owned(), members, outcome });
    }

    /// How many runs passed, failed, and were skipped.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Outcome) -> bool| self.rows.iter().filter(|row| is(&row.outcome)).count();
        (
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        )
    }

    /// What has failed, with all that was said.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Failed(why) => Some(format!("{}\n{why}", row.title())),
            _ => None,
        })
    }

    /// A sign for a language in a role, over all whom it met.
    fn cell(&self, scenario: &str, member: &str, role: Role) -> char {
        let rows = self.rows.iter().filter(|row| row.scenario == scenario && row.members.get(&role) == Some(&member));
        let mut sign = ' ';
        for row in rows {
            sign = match (sign, &row.outcome) {
                (_, Outcome::Failed(_)) | ('✗', _) => '✗',
                (_, Outcome::Passed) | ('✓', _) => '✓',
                _ => '–',
            };
        }
        sign
    }

    fn reasons(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in &self.rows {
            if let Outcome::Skipped(why) = &row.outcome {
                reasons.entry(why).or_default().insert(&row.scenario);
            }
        }
        reasons
    }
}

impl Row {
    fn title(&self) -> String {
        let members: Vec<_> = self.members.iter().map(|(role, member)| format!("{role} {member}")).collect();
        format!("{} ({})", self.scenario, members.join(", "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut scenarios: Vec<&str> = Vec::new();
        let mut members: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !scenarios.contains(&row.scenario.as_str()) {
                scenarios.push(&row.scenario);
            }
            row.members
                .values()
                .filter(|member| !members.contains(*member))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .for_each(|member| members.push(member));
        }
        let width = scenarios.iter().map(|name| name.len()).max().unwrap_or_default();
        writeln!(f, "each language as listener and as sender: ✓ passed, ✗ failed, – skipped")?;
        write!(f, "{:width$}", "")?;
        for member in &members {
            write!(f, "  {member:^10}")?;
        }
        writeln!(f)?;
        for scenario in &scenarios {
            write!(f, "{scenario:width$}")?;
            for member in &members {
                let signs = [Role::Listener, Role::Sender].map(|role| self.cell(scenario, member, role));
                write!(f, "  {:^10}", format!("{} {}", signs[0], signs[1]))?;
            }
            writeln!(f)?;
        }
        let reasons = self.reasons();
        if !reasons.is_empty() {
            writeln!(f, "\nskipped:")?;
        }
        for (why, scenarios) in reasons {
            writeln!(f, "  {why}: {}", scenarios.into_iter().collect::<Vec<_>>().join(", "))?;
        }
        let (passed, failed, skipped) = self.counts();
        write!(f, "\n{passed} passed, {failed} failed, {skipped} skipped")
    }
}
