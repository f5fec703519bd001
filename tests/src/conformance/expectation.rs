//! Whether an answer is what a scenario expects.

use anyhow::{Result, bail};
use hybridrelay::ErrorKind;
use serde_json::{Map, Value, json};

use super::testee::Testee;
use crate::payload::{self, Kind};

/// Fields that are not compared for a program that lacks the capability beside them.
const OPTIONAL: &[(&str, &str)] = &[
    ("kind", "error-kinds"),
    ("code", "error-kinds"),
    ("retryable", "error-kinds"),
    ("closeCode", "close-code"),
    ("closeReason", "close-code"),
    ("path", "incoming"),
    ("query", "incoming"),
    ("subprotocols", "incoming"),
    ("header", "incoming"),
    ("reason", "reason"),
];

/// The kinds that exist only where two languages meet.
const BOUNDARY: &[(&str, u32)] =
    &[("WouldBlock", 100), ("Cancelled", 101), ("InvalidHandle", 102), ("Forked", 103), ("End", 104)];

/// Compares an answer with an expectation: the error's fields under `error`, else fields of what went well. `"an end"` is an end in good
/// order as well as the loss of the connection, where it depends on who is quicker.
///
/// # Errors
///
/// If it is something else.
pub(super) fn check(answer: &Value, expected: Option<&Value>, testee: &Testee) -> Result<()> {
    if let Some(fault) = answer["fault"].as_str() {
        bail!("a fault: {fault}");
    }
    if expected.is_some_and(|expected| expected == "an end") {
        return match (&answer["ok"]["end"], answer.get("error")) {
            (Value::Bool(true), _) => Ok(()),
            (_, Some(error)) => compare(&with_code(&json!({"kind": "ConnectionLost"})), error, testee, true),
            _ => bail!("an end was expected and not {answer}"),
        };
    }
    let nothing = json!({});
    let expected = expected.unwrap_or(&nothing);
    if !expected.is_object() {
        bail!("nobody knows what {expected} expects");
    }
    match (expected.get("error"), answer.get("error"), answer.get("ok")) {
        (Some(wanted), Some(error), _) => compare(&with_code(wanted), error, testee, true),
        (Some(wanted), None, _) => bail!("the error {wanted} was expected and not {answer}"),
        (None, None, Some(ok)) => compare(&with_digest(expected)?, ok, testee, false),
        (None, ..) => bail!("{expected} was expected and not {answer}"),
    }
}

fn compare(wanted: &Map<String, Value>, got: &Value, testee: &Testee, of_error: bool) -> Result<()> {
    for (name, value) in wanted {
        let capability = OPTIONAL.iter().find(|(field, _)| field == name).map(|(_, capability)| *capability);
        // Of a message the kind is no matter of errors.
        let capability = capability.filter(|capability| of_error || *capability != "error-kinds");
        if capability.is_some_and(|capability| testee.lacks(capability).is_some()) {
            continue;
        }
        let found = got.get(name).unwrap_or(&Value::Null);
        let is_same = match value {
            Value::Object(fields) => fields.iter().all(|(name, value)| found.get(name) == Some(value)),
            _ => found == value,
        };
        if !is_same {
            bail!("{name} is {found} and not {value}: {got}");
        }
    }
    Ok(())
}

/// A kind brings its number.
fn with_code(wanted: &Value) -> Map<String, Value> {
    let mut wanted = wanted.as_object().cloned().unwrap_or_default();
    if let Some(code) = wanted.get("kind").and_then(Value::as_str).and_then(code_of) {
        wanted.insert("code".to_owned(), json!(code));
    }
    wanted
}

/// The number of a kind of error.
pub(super) fn code_of(kind: &str) -> Option<u32> {
    let ours = ErrorKind::ALL.iter().find(|ours| format!("{ours:?}") == kind).map(|ours| ours.code());
    ours.or_else(|| BOUNDARY.iter().find(|(name, _)| *name == kind).map(|(_, code)| *code))
}

/// A payload that is expected brings its digest.
fn with_digest(expected: &Value) -> Result<Map<String, Value>> {
    let mut expected = expected.as_object().cloned().unwrap_or_default();
    if let Some(wanted) = expected.remove("payload") {
        let kind: Kind = serde_json::from_value(wanted.get("kind").cloned().unwrap_or(json!("binary")))?;
        let number = |name: &str| usize::try_from(wanted[name].as_u64().unwrap_or(0));
        let digest = json!(payload::digested(&payload::seeded(kind, number("size")?, number("seed")?)));
        expected.extend(digest.as_object().cloned().unwrap_or_default());
    }
    Ok(expected)
}
