//! What was said between the tests and the programs, for whoever looks for a mistake.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// The lines of one run, in order. Clones write on the same.
#[derive(Clone, Debug, Default)]
pub struct Transcript(Arc<Mutex<Vec<String>>>);

impl Transcript {
    /// A line that somebody was told.
    pub(super) fn told(&self, who: &str, line: &Value) {
        self.add(format!("{who} < {}", shortened(line)));
    }

    /// A line that somebody answered.
    pub(super) fn answered(&self, who: &str, line: &Value) {
        self.add(format!("{who} > {}", shortened(line)));
    }

    /// What happened beside.
    pub(super) fn note(&self, text: impl Into<String>) {
        self.add(format!("-- {}", text.into()));
    }

    /// All of it, or its end if it is long.
    pub fn text(&self) -> String {
        const LAST: usize = 80;
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = lines.len().saturating_sub(LAST);
        let mut text = if left_out > 0 { format!("-- {left_out} lines before\n") } else { String::new() };
        lines.iter().skip(left_out).for_each(|line| text += &format!("{line}\n"));
        text
    }

    fn add(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// Certificates and credentials say nothing to a reader.
fn shortened(line: &Value) -> Value {
    let mut line = line.clone();
    if let Some(target) = line.get_mut("target").and_then(Value::as_object_mut) {
        for hidden in ["caPem", "token", "connectionString"] {
            if target.get(hidden).is_some_and(|value| !value.is_null()) {
                target.insert(hidden.to_owned(), json!("…"));
            }
        }
    }
    line
}
