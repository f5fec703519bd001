//! Why a command failed: what the person reads, and the exit code that a script reads.

use std::io;
use std::process::ExitCode;

use hybridrelay::protocol::refusal::NO_LISTENERS;
use hybridrelay::{Error, ErrorKind};
use serde_json::{Value, json};

/// The exit codes, which never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    Unauthorized = 3,
    /// No such endpoint, or no listener on it.
    Absent = 4,
    Timeout = 5,
    /// Network or TLS.
    Network = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    kind: String,
    /// What failed and why, in one line.
    message: String,
    /// What to do about it, in one line.
    advice: Option<String>,
    error: Option<Error>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, kind: &str, message: impl Into<String>) -> Self {
        Self { exit, kind: kind.to_owned(), message: message.into(), advice: None, error: None }
    }

    /// A command line or setting that is not usable.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "InvalidArgument", message)
    }

    /// A file or stream of this machine that failed.
    pub(crate) fn io(what: impl AsRef<str>, error: &io::Error) -> Self {
        Self::new(Exit::Failed, "Io", format!("{}: {error}", what.as_ref()))
    }

    /// What the relay or the way to it refused.
    pub(crate) fn relay(error: Error, place: &Place<'_>) -> Self {
        let Explanation { message, advice } = explain(&error, place);
        Self { exit: exit(error.kind()), kind: format!("{:?}", error.kind()), message, advice, error: Some(error) }
    }

    pub(crate) fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// One line for what failed and one for what to do.
    pub(crate) fn to_text(&self) -> String {
        match &self.advice {
            Some(advice) => format!("error: {}\n{advice}", self.message),
            None => format!("error: {}", self.message),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let error = self.error.as_ref();
        json!({
            "kind": self.kind,
            "message": self.message,
            "advice": self.advice,
            "status": error.and_then(Error::status),
            "reason": error.and_then(Error::reason),
            "trackingId": error.and_then(Error::tracking_id),
            "retryable": error.is_some_and(Error::is_retryable),
            "exitCode": self.exit as u8,
        })
    }
}

/// An error that concerns no hybrid connection: of an option, or of a library before anything was reached.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::relay(error, &Place::default())
    }
}

/// What a command was about when it failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    pub(crate) entity: &'a str,
    /// Host and port of the relay.
    pub(crate) authority: &'a str,
    /// Whether the relay is on this machine, so that the user can start it.
    pub(crate) local: bool,
    /// Whether a sender failed, whom a listener would help.
    pub(crate) sender: bool,
}

fn exit(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::InvalidArgument => Exit::Usage,
        ErrorKind::Unauthorized => Exit::Unauthorized,
        ErrorKind::EndpointNotFound | ErrorKind::NoListeners => Exit::Absent,
        ErrorKind::Timeout => Exit::Timeout,
        ErrorKind::Network | ErrorKind::Tls | ErrorKind::ProxyAuthenticationRequired => Exit::Network,
        _ => Exit::Failed,
    }
}

struct Explanation {
    message: String,
    advice: Option<String>,
}

fn explain(error: &Error, place: &Place<'_>) -> Explanation {
    let Place { entity, authority, .. } = place;
    let start = format!("start one: hybridrelay listen {entity}");
    let hint = error.hint().map(str::to_owned);
    let (message, advice) = match error.kind() {
        ErrorKind::NoListeners if error.reason().is_some_and(|reason| reason.starts_with(NO_LISTENERS)) => {
            (format!("no listener is online for '{entity}' at {authority}"), Some(start))
        }
        ErrorKind::EndpointNotFound if place.sender && place.local => (
            format!("there is no hybrid connection '{entity}' at {authority}"),
            Some(format!("start a listener, which makes it: hybridrelay listen {entity}")),
        ),
        ErrorKind::EndpointNotFound => (format!("there is no hybrid connection '{entity}' at {authority}"), hint),
        ErrorKind::Tls => (
            describe(error),
            hint.map(|hint| hint.replace("give extra_ca_pem", "give its certificate with --extra-ca FILE")),
        ),
        // Not for a proxy that cannot be reached.
        ErrorKind::Network if place.local && describe(error).starts_with("cannot connect to") => {
            let advice = "is the relay running? start one: hybridrelay serve --dev";
            (describe(error), Some(hint.unwrap_or_else(|| advice.to_owned())))
        }
        ErrorKind::ConnectionLost if !entity.is_empty() => {
            (format!("the connection to '{entity}' was lost: {}", describe(error)), hint)
        }
        ErrorKind::InvalidArgument => {
            (describe(error), hint.map(|hint| hint.replace("insecure_plaintext", "--insecure-plaintext")))
        }
        _ => (describe(error), hint),
    };
    let message = match error.tracking_id() {
        Some(id) => format!("{message} (TrackingId {id})"),
        None => message,
    };
    Explanation { message, advice }
}

/// What failed, and why in the peer's own words; without the ids that relays append to them.
pub(crate) fn describe(error: &Error) -> String {
    let text = error.to_string();
    let end = [". TrackingId:", " (TrackingId "].iter().filter_map(|mark| text.find(mark)).min();
    text[..end.unwrap_or(text.len())].to_owned()
}
