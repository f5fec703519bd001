//! Scenarios as they stand in `tests/scenarios/*.json`; their language is explained in `tests/conformance/README.md`.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::members::root;

/// Which of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// The one that listens.
    Listener,
    /// The one that sends.
    Sender,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listener => "listener",
            Self::Sender => "sender",
        })
    }
}

/// What happens, and what every language must see of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The name of its file.
    #[serde(skip)]
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// The roles there are, and the capabilities that each needs.
    pub needs: BTreeMap<Role, Vec<String>>,
    /// Which languages meet.
    #[serde(default)]
    pub pairs: Pairs,
    /// The relay that it wants.
    #[serde(default)]
    pub relay: Wanted,
    /// Whether nothing else may run meanwhile, because something is measured.
    #[serde(default)]
    pub alone: bool,
    /// What is done.
    pub steps: Vec<Step>,
}

/// Which languages meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pairs {
    /// Each with Rust, in both roles.
    #[default]
    Rust,
    /// Each with each.
    All,
}

/// A relay.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Wanted {
    /// One that nobody else uses, so that it may be stopped.
    pub own: bool,
    /// One without TLS, which implies `own`.
    pub plain: bool,
    /// The hybrid connection is one for events.
    pub events: bool,
}

/// A step: one of the fields up to `relay` says what is done.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Step {
    /// A command for the one that listens.
    pub listener: Option<Value>,
    /// A command for the one that sends.
    pub sender: Option<Value>,
    /// Waits for what was started.
    #[serde(rename = "await")]
    pub awaited: Option<String>,
    /// Something that was started must not be over.
    pub pending: Option<String>,
    /// Cancels something that was started, and waits for its end.
    pub cancel: Option<String>,
    /// Sequences of steps at the same time.
    pub together: Option<Vec<Vec<Step>>>,
    /// Repeats `steps` so many times.
    pub repeat: Option<usize>,
    /// Does `steps` for each of these.
    pub each: Option<Vec<Value>>,
    /// Something happens to the relay.
    pub relay: Option<String>,
    /// Notes the memory of the programs, or the most by which it may have grown since then, in MiB.
    pub memory: Option<Value>,
    /// The cases of a file in `tests/vectors`, for the one that sends.
    pub vectors: Option<String>,

    /// Starts a command under this name and goes on.
    pub start: Option<String>,
    /// What a command must come to.
    pub expect: Option<Value>,
    /// What is repeated.
    pub steps: Vec<Step>,
    /// How many repetitions at a time.
    pub parallel: Option<usize>,
    /// The name of the variable that counts, or takes the values: `{i}` if this is left out.
    #[serde(rename = "as")]
    pub variable: Option<String>,
}

impl Scenario {
    /// All of them, in the order of their names.
    ///
    /// # Errors
    ///
    /// If one cannot be read.
    pub fn all() -> Result<Vec<Self>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(root().join("tests/scenarios"))? {
            paths.push(entry?.path());
        }
        paths.sort();
        let read = |path: &std::path::PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path)?;
            let scenario: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            Ok(Self { name, ..scenario })
        };
        paths.iter().map(read).collect()
    }
}
