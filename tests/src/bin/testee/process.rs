//! The process itself, and what needs no relay.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use hybridrelay::token::SasToken;
use serde::Deserialize;
use serde_json::json;

use crate::command::Command;
use crate::{Outcome, Testee};

/// What the process holds.
pub(crate) fn counters(testee: &Testee) -> Outcome {
    let status = std::fs::read_to_string("/proc/self/status").context("no /proc")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    let resident: u64 = resident.context("VmRSS is missing")?.parse().context("VmRSS is no number")?;
    let descriptors = std::fs::read_dir("/proc/self/fd").context("no /proc")?.count();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    Ok(json!({"rssKib": resident, "descriptors": descriptors, "objects": testee.objects.count(), "tasks": tasks}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    audience: String,
    key_name: String,
    key: String,
    expires_at: u64,
}

/// Makes a token for a case of `tests/vectors/sas.json`.
pub(crate) fn vector(command: &Command) -> Outcome {
    let case: Signature = serde_json::from_value(command.vector.clone()).context("not a case")?;
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(case.expires_at);
    Ok(json!({"token": SasToken::create(&case.audience, &case.key_name, &case.key, expires_at).to_text()}))
}
