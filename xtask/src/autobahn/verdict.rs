//! What came out, and what may.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What stands at the top of the list.
const HEAD: &str = "\
# How each case of the Autobahn test suite comes out: `cargo xtask autobahn` compares, and writes it anew with --update.
# Where the ending of the connection is judged otherwise than OK, its judgement follows.
";

/// What the suite was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The sender, before our relay and our listener.
    Sender,
    /// The server of our sender.
    Server,
}

impl Role {
    const ALL: [Self; 2] = [Self::Sender, Self::Server];

    fn name(self) -> &'static str {
        match self {
            Self::Sender => "suite-as-sender",
            Self::Server => "suite-as-server",
        }
    }
}

/// The number of a case, in the order in which people count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Case(Vec<u32>);

impl Case {
    fn parse(text: &str) -> Result<Self> {
        let numbers: Result<_, _> = text.split('.').map(str::parse).collect();
        Ok(Self(numbers.with_context(|| format!("{text:?} is not a case"))?))
    }

    fn is_one_of(&self, group: &[u32]) -> bool {
        self.0.starts_with(group)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// How a case came out: what was said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
}

impl Verdict {
    fn parse(text: &str) -> Self {
        let (behavior, behavior_close) = text.split_once(", ").unwrap_or((text, "OK"));
        Self { behavior: behavior.to_owned(), behavior_close: behavior_close.to_owned() }
    }

    /// Whether a case may come out like this.
    fn is_allowed(&self, case: &Case) -> bool {
        let mut allowed = vec!["OK"];
        // Text that can no longer become UTF-8 may be refused at once or at the end of the frame.
        if case.is_one_of(&[6, 4]) {
            allowed.push("NON-STRICT");
        }
        // What the suite only looks at.
        if case.is_one_of(&[7, 1, 6]) || case.is_one_of(&[7, 13]) {
            allowed.push("INFORMATIONAL");
        }
        [&self.behavior, &self.behavior_close].iter().all(|judged| allowed.contains(&judged.as_str()))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.behavior)?;
        if self.behavior_close != "OK" { write!(f, ", {}", self.behavior_close) } else { Ok(()) }
    }
}

/// All of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Results(BTreeMap<(Role, Case), Verdict>);

impl Results {
    /// Adds the suite's report on one role.
    pub(super) fn add(&mut self, role: Role, report: &str) -> Result<()> {
        let agents: BTreeMap<String, BTreeMap<String, Verdict>> = serde_json::from_str(report)?;
        ensure!(agents.len() == 1, "the report is on {} programs", agents.len());
        for (case, verdict) in agents.into_values().flatten() {
            self.0.insert((role, Case::parse(&case)?), verdict);
        }
        ensure!(self.0.keys().any(|(of, _)| *of == role), "no case was run");
        Ok(())
    }

    /// What is not as it has to be.
    pub(super) fn broken_rules(&self) -> Vec<String> {
        let broken = self.0.iter().filter(|((_, case), verdict)| !verdict.is_allowed(case));
        broken.map(|((role, case), verdict)| format!("{} {case}: {verdict}", role.name())).collect()
    }

    /// What is not as it was.
    pub(super) fn differences(&self, listed: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<_> = self.0.keys().chain(listed.0.keys()).collect();
        let show = |verdict: Option<&Verdict>| verdict.map_or("not there".to_owned(), Verdict::to_string);
        let mut differences = Vec::new();
        for key in keys {
            let (is, was) = (self.0.get(key), listed.0.get(key));
            if is != was {
                differences.push(format!("{} {}: is {}, was {}", key.0.name(), key.1, show(is), show(was)));
            }
        }
        differences
    }

    /// How many came out how.
    pub(super) fn summary(&self) -> String {
        let mut counts: BTreeMap<(Role, String), usize> = BTreeMap::new();
        for ((role, _), verdict) in &self.0 {
            *counts.entry((*role, verdict.to_string())).or_default() += 1;
        }
        let lines: Vec<_> =
            counts.iter().map(|((role, verdict), count)| format!("{}: {count} {verdict}", role.name())).collect();
        lines.join("\n")
    }

    pub(super) fn from_toml(text: &str) -> Result<Self> {
        let mut tables: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(text)?;
        let mut results = Self::default();
        for role in Role::ALL {
            for (case, verdict) in tables.remove(role.name()).unwrap_or_default() {
                results.0.insert((role, Case::parse(&case)?), Verdict::parse(&verdict));
            }
        }
        ensure!(tables.is_empty(), "unknown tables: {:?}", tables.keys());
        Ok(results)
    }

    pub(super) fn to_toml(&self) -> String {
        let mut text = HEAD.to_owned();
        for role in Role::ALL {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n[{}]\n", role.name());
            for ((_, case), verdict) in self.0.iter().filter(|((of, _), _)| *of == role) {
                let _ = writeln!(text, "\"{case}\" = \"{verdict}\"");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(cases: &[(&str, &str, &str)]) -> Results {
        let cases: Vec<_> = cases
            .iter()
            .map(|(case, behavior, close)| {
                format!(r#""{case}": {{"behavior": "{behavior}", "behaviorClose": "{close}", "duration": 1}}"#)
            })
            .collect();
        let mut results = Results::default();
        results.add(Role::Sender, &format!(r#"{{"us": {{{}}}}}"#, cases.join(","))).unwrap();
        results
    }

    #[test]
    fn only_where_the_standard_leaves_a_choice_may_a_case_be_other_than_ok() {
        let allowed = [
            ("1.1.1", "OK", "OK"),
            ("6.4.1", "NON-STRICT", "OK"),
            ("7.1.6", "INFORMATIONAL", "INFORMATIONAL"),
            ("7.13.1", "INFORMATIONAL", "INFORMATIONAL"),
        ];
        assert_eq!(results(&allowed).broken_rules(), [""; 0]);
        for broken in [
            ("1.1.1", "NON-STRICT", "OK"),
            ("6.4.1", "INFORMATIONAL", "OK"),
            ("6.40.1", "NON-STRICT", "OK"),
            ("2.1", "OK", "UNCLEAN"),
            ("9.1.1", "FAILED", "OK"),
        ] {
            assert_eq!(results(&[broken]).broken_rules().len(), 1, "{broken:?}");
        }
    }

    #[test]
    fn the_list_is_read_as_it_was_written_and_differences_are_told() {
        let was = results(&[("1.1.1", "OK", "OK"), ("1.1.10", "OK", "OK"), ("7.13.1", "OK", "INFORMATIONAL")]);
        let text = was.to_toml();
        assert!(
            text.ends_with("\"1.1.10\" = \"OK\"\n\"7.13.1\" = \"OK, INFORMATIONAL\"\n\n[suite-as-server]\n"),
            "{text}"
        );
        assert_eq!(Results::from_toml(&text).unwrap(), was);
        let is = results(&[("1.1.1", "FAILED", "OK"), ("1.1.2", "OK", "OK"), ("1.1.10", "OK", "OK")]);
        assert_eq!(
            is.differences(&was),
            [
                "suite-as-sender 1.1.1: is FAILED, was OK",
                "suite-as-sender 1.1.2: is OK, was not there",
                "suite-as-sender 7.13.1: is not there, was OK, INFORMATIONAL",
            ]
        );
    }
}
