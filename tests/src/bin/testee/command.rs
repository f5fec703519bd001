//! Lines of JSON: commands that come in, answers that go out. What they mean stands in `tests/conformance/README.md`.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hybridrelay::Message;
use hybridrelay_tests::payload::{self, Kind};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::breakage;

/// A command with whatever it may say.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Command {
    pub(crate) id: u64,
    pub(crate) op: String,
    /// The object that it is about.
    pub(crate) on: String,
    /// The name of the object that it makes.
    #[serde(rename = "as")]
    pub(crate) name: Option<String>,
    pub(crate) target: Target,
    pub(crate) options: Options,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) subprotocol: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) kind: Option<Kind>,
    pub(crate) size: Option<usize>,
    pub(crate) seed: usize,
    pub(crate) base64: Option<String>,
    pub(crate) times: Option<usize>,
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<String>,
    pub(crate) code: Option<u16>,
    pub(crate) stream: bool,
    pub(crate) echo: bool,
    pub(crate) whole: bool,
    pub(crate) one_way: bool,
    pub(crate) until: Option<String>,
    /// The name of a header that is to be told.
    pub(crate) header: Option<String>,
    pub(crate) at_least: Option<usize>,
    pub(crate) command: u64,
    pub(crate) token: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) vector: Value,
}

/// Where a listener or a sender goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Target {
    pub(crate) connection_string: String,
    pub(crate) token: Option<String>,
    pub(crate) ca_pem: Option<String>,
    pub(crate) proxy: Option<String>,
}

/// Options by the names that they have in every language; durations are milliseconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Options {
    pub(crate) reconnect: Option<bool>,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) connect_timeout: Option<u64>,
    pub(crate) close_timeout: Option<u64>,
    pub(crate) max_message_size: Option<usize>,
    pub(crate) wait: Option<bool>,
    pub(crate) max_concurrent: Option<usize>,
}

impl Command {
    /// The name of the object that it makes.
    pub(crate) fn name(&self) -> Result<&str> {
        self.name.as_deref().context("'as' is missing")
    }

    /// The message that it speaks of.
    pub(crate) fn message(&self) -> Result<Message> {
        let kind = self.kind.unwrap_or(Kind::Binary);
        let message = match (&self.base64, self.size) {
            (Some(text), _) => {
                let bytes = STANDARD.decode(text).context("'base64' cannot be read")?;
                match kind {
                    Kind::Text => Message::Text(String::from_utf8(bytes).context("the text is not UTF-8")?),
                    Kind::Binary => Message::from(bytes),
                }
            }
            (None, Some(size)) => payload::seeded(kind, size, self.seed),
            (None, None) => payload::seeded(kind, 0, 0),
        };
        Ok(breakage::of_message(message))
    }

    /// The bytes that it speaks of.
    pub(crate) fn bytes(&self) -> Result<Bytes> {
        Ok(self.message()?.into_bytes())
    }
}

/// What is said of a message that came.
pub(crate) fn described(message: &Message) -> Value {
    json!(payload::digested(message))
}

/// Writes a line.
pub(crate) fn tell(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Who does not listen any more has ended this program.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
