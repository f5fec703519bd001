//! What is wrong with a configuration file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Something about a configuration file that has to be, or should be, put right. Holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Whether the file cannot be used because of it.
    pub severity: Severity,
    /// The configuration file.
    pub file: PathBuf,
    /// The line, from 1; 0 if the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 if the file as a whole is meant.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but perhaps not as it was meant.
    Warning,
}

/// Everything that is wrong with a configuration file that cannot be used, in the order of its lines; warnings as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// The problems; at least one is an error.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

/// `relay.toml:12:5: error: what is wrong; what to do`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}: {}", self.severity, self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem in a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Where something stands in the text: the offset of its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) usize);

/// Collects the problems of one file.
pub(super) struct Report<'a> {
    file: &'a Path,
    text: &'a str,
    found: Vec<(Place, Problem)>,
    /// Parts of the file could not be read: that something is missing says nothing then.
    incomplete: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, found: Vec::new(), incomplete: false }
    }

    pub(super) fn error(&mut self, place: Place, message: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Error, place, message.into(), Some(advice.into()));
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Warning, place, message.into(), Some(advice.into()));
    }

    /// The text is no TOML.
    pub(super) fn syntax(&mut self, place: Place, message: impl Into<String>) {
        self.incomplete = true;
        self.add(Severity::Error, place, message.into(), None);
    }

    /// Something that has to be there is not.
    pub(super) fn missing(&mut self, place: Place, message: impl Into<String>, advice: impl Into<String>) {
        if !self.incomplete {
            self.error(place, message, advice);
        }
    }

    /// The same for what had better be there.
    pub(super) fn lacking(&mut self, place: Place, message: impl Into<String>, advice: impl Into<String>) {
        if !self.incomplete {
            self.warning(place, message, advice);
        }
    }

    fn add(&mut self, severity: Severity, place: Place, message: String, advice: Option<String>) {
        let (line, column) = self.position(place);
        let file = self.file.to_owned();
        self.found.push((place, Problem { severity, file, line, column, message, advice }));
    }

    fn position(&self, place: Place) -> (usize, usize) {
        let before = self.text.get(..place.0).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The warnings, if there is nothing worse.
    pub(super) fn finish(mut self) -> Result<Vec<Problem>, Problems> {
        // Stable: of one place what was found first comes first.
        self.found.sort_by_key(|(place, _)| *place);
        let failed = self.found.iter().any(|(_, problem)| problem.severity == Severity::Error);
        let problems = self.found.into_iter().map(|(_, problem)| problem).collect();
        if failed { Err(Problems(problems)) } else { Ok(problems) }
    }
}
