//! What happens, one line each: in the log, and as values for programs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::field::display;

use super::Operation;
use crate::directory::EntityKey;

/// Something that happened at a relay. Holds no keys, tokens, tickets or query strings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What.
    pub operation: Operation,
    /// The hybrid connection, where it is known to exist.
    pub entity: Option<EntityKey>,
    /// The id under which listener, sender and relay know the attempt.
    pub tracking_id: String,
    /// Whose request it was.
    pub peer: SocketAddr,
    /// The rule whose key let the peer in, where one did.
    pub key_name: Option<String>,
    /// The sender's `traceparent` (W3C trace context), if it sent one.
    pub traceparent: Option<String>,
    /// What else there is to say.
    pub detail: Detail,
}

/// What an event says beside its operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Detail {
    /// Nothing.
    None,
    /// The relay refused a request.
    Refused {
        /// The status of the answer.
        status: u16,
        /// Why, in a word that never changes; metrics count by it.
        reason: &'static str,
        /// Why, as the peer was told.
        text: String,
        /// The path of the request, without the query.
        path: String,
    },
    /// A listener refused a sender.
    Rejected {
        /// The status that it chose.
        status: u16,
    },
    /// A listener came.
    Listener {
        /// What it says it is.
        agent: Option<String>,
    },
    /// A listener's channel ended, or its token was refused.
    Because(String),
    /// A relayed HTTP request ended.
    Request {
        /// Its method.
        method: String,
        /// Its path, without the query.
        path: String,
        /// The status of the listener's response, if there was one.
        status: Option<u16>,
        /// How it ended: `completed`, or who vanished, in a word that never changes.
        outcome: &'static str,
        /// Bytes of the request's body.
        to_listener: u64,
        /// Bytes of the response's body.
        to_sender: u64,
        /// From its admission to the end.
        duration: Duration,
    },
    /// A relayed connection ended.
    Connection {
        /// What was relayed: `websocket`; `events` where a publisher's connection ended, whose bytes went to every listener.
        kind: &'static str,
        /// How it ended: who closed or vanished, in a word that never changes.
        outcome: &'static str,
        /// The code of the first Close, if it had one.
        close_code: Option<u16>,
        /// Payload bytes from the sender to the listener.
        to_listener: u64,
        /// Payload bytes from the listener to the sender.
        to_sender: u64,
        /// From joining to the end.
        duration: Duration,
    },
}

impl Detail {
    /// Why something was refused, or how it ended: a word that never changes, but of a listener's end what the listener was told.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::Because(reason) => Some(reason),
            Self::Request { outcome, .. } | Self::Connection { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// The status of a refusal or of a response.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Rejected { status } => Some(*status),
            Self::Request { status, .. } => *status,
            _ => None,
        }
    }
}

impl Event {
    /// Whether an operator wants to see it without asking. What a peer can cause as often as it likes is for those who ask.
    fn is_noteworthy(&self) -> bool {
        match (&self.operation, &self.detail) {
            (Operation::MessageSentToListener | Operation::NewSenderRegistering, _) => false,
            (Operation::SenderSentHttpRequest, _) => false,
            (Operation::ListenerAcceptingConnection | Operation::TokenRenewed, _) => false,
            // Bounded for each address.
            (Operation::InvalidSasToken, Detail::Refused { reason, .. }) => *reason != "missing_token",
            (Operation::ProcessingRequestFailed, _) => false,
            _ => true,
        }
    }

    pub(super) fn log(&self) {
        let operation = self.operation.as_str();
        let entity = self.entity.as_ref().map(display);
        let (tracking_id, peer) = (&*self.tracking_id, display(self.peer));
        // Names come from whoever made the rule or the request: quoted, so that none looks like another field.
        let (key, traceparent) = (self.key_name.as_deref(), self.traceparent.as_deref());
        let fields = Fields::from(&self.detail);
        let Fields { method, status, reason, text, path, agent, kind, outcome, close_code, to_listener, to_sender, ms } =
            fields;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    operation,
                    entity,
                    tracking_id,
                    peer,
                    key,
                    traceparent,
                    method,
                    status,
                    reason,
                    text,
                    path,
                    agent,
                    kind,
                    outcome,
                    close_code,
                    bytes_in = to_listener,
                    bytes_out = to_sender,
                    ms
                )
            };
        }
        if self.is_noteworthy() { line!(info) } else { line!(debug) }
    }
}

/// A detail as fields of a line; the absent ones are left out.
#[derive(Default)]
struct Fields<'a> {
    method: Option<&'a str>,
    status: Option<u16>,
    reason: Option<&'a str>,
    text: Option<&'a str>,
    path: Option<&'a str>,
    agent: Option<&'a str>,
    kind: Option<&'a str>,
    outcome: Option<&'a str>,
    close_code: Option<u16>,
    to_listener: Option<u64>,
    to_sender: Option<u64>,
    ms: Option<u64>,
}

impl<'a> From<&'a Detail> for Fields<'a> {
    fn from(detail: &'a Detail) -> Self {
        let none = Self::default();
        match detail {
            Detail::None => none,
            Detail::Refused { status, reason, text, path } => {
                Self { status: Some(*status), reason: Some(reason), text: Some(text), path: Some(path), ..none }
            }
            Detail::Rejected { status } => Self { status: Some(*status), ..none },
            Detail::Listener { agent } => Self { agent: agent.as_deref(), ..none },
            Detail::Because(text) => Self { text: Some(text), ..none },
            Detail::Request { method, path, status, outcome, to_listener, to_sender, duration } => Self {
                kind: Some("http"),
                method: Some(method),
                path: Some(path),
                status: *status,
                outcome: Some(outcome),
                to_listener: Some(*to_listener),
                to_sender: Some(*to_sender),
                ms: Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
                ..none
            },
            Detail::Connection { kind, outcome, close_code, to_listener, to_sender, duration } => Self {
                kind: Some(kind),
                outcome: Some(outcome),
                close_code: *close_code,
                to_listener: Some(*to_listener),
                to_sender: Some(*to_sender),
                ms: Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
                ..none
            },
        }
    }
}

/// Follows what happens at a relay from the moment on at which it was made.
///
/// It holds 1 024 events. Whoever is slower misses the oldest ones, and [`missed`](Self::missed) counts them; the relay never waits.
pub struct Events {
    receiver: broadcast::Receiver<Arc<Event>>,
    missed: u64,
}

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Arc<Event>>) -> Self {
        Self { receiver, missed: 0 }
    }

    /// The next event; `None` when the relay has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// How many events were missed so far.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("missed", &self.missed).finish_non_exhaustive()
    }
}
