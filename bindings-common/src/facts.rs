//! What happens, as one record for each kind of thing, for languages whose variants have no fields of their own. What something does not
//! tell is `None` there, and a kind that this version does not know is `unknown`.

use std::time::{Duration, SystemTime};

use hybridrelay::{
    Endpoint, EndpointEvent, Event, EventOrigin, Message, Presence, PresenceEvent, PresentListener, Status,
};

use crate::errors::Failure;
use crate::http::Method;

/// A listener's status.
pub struct StatusFacts {
    /// `connecting`, `online`, `offline` or `closed`.
    pub name: &'static str,
    /// Why it is not online.
    pub error: Option<Failure>,
    /// How long until it is tried again.
    pub retry_in: Option<Duration>,
    /// When the token expires that the relay knows.
    pub expires_at: Option<SystemTime>,
}

impl From<Status> for StatusFacts {
    fn from(status: Status) -> Self {
        let of = |name| Self { name, error: None, retry_in: None, expires_at: None };
        match status {
            Status::Connecting => of("connecting"),
            Status::Online { expires_at } => Self { expires_at, ..of("online") },
            Status::Offline { error, retry_in } => Self { error: Some(error.into()), retry_in, ..of("offline") },
            Status::Closed { error } => Self { error: error.map(Failure::Core), ..of("closed") },
            _ => of("unknown"),
        }
    }
}

/// What a listener hears.
pub struct EventFacts {
    /// `message`, `request` or `missed`.
    pub kind: &'static str,
    /// Whose it is.
    pub origin: EventOrigin,
    /// What it says: the message, or the body of the request.
    pub message: Option<Message>,
    /// The request's method.
    pub method: Option<Method>,
    /// How many were missed.
    pub count: u64,
}

impl From<Event> for EventFacts {
    fn from(event: Event) -> Self {
        let of = |kind, origin| Self { kind, origin, message: None, method: None, count: 0 };
        match event {
            Event::Message { origin, message } => Self { message: Some(message), ..of("message", origin) },
            Event::Request { origin, method, body } => {
                Self { message: Some(body.into()), method: Some(method), ..of("request", origin) }
            }
            Event::Missed { origin, count } => Self { count, ..of("missed", origin) },
            event => of("unknown", event.origin().clone()),
        }
    }
}

/// What happens to the listeners of a hybrid connection.
pub struct PresenceFacts {
    /// `present`, `connected`, `disconnected`, `interrupted` or `restored`.
    pub kind: &'static str,
    /// Who is there now.
    pub presence: Presence,
    /// Of the listener that came or went.
    pub id: Option<String>,
    /// When it did.
    pub at: Option<SystemTime>,
    /// Who came.
    pub listener: Option<PresentListener>,
    /// Why the relay is not heard.
    pub error: Option<Failure>,
    /// How long until it is asked again.
    pub retry_in: Option<Duration>,
}

impl From<(PresenceEvent, Presence)> for PresenceFacts {
    fn from((event, presence): (PresenceEvent, Presence)) -> Self {
        let of = |kind| Self { kind, presence, id: None, at: None, listener: None, error: None, retry_in: None };
        match event {
            PresenceEvent::Present(_) => of("present"),
            PresenceEvent::Connected { id, at, listener, .. } => {
                Self { id: Some(id), at, listener: listener.map(|listener| *listener), ..of("connected") }
            }
            PresenceEvent::Disconnected { id, at, .. } => Self { id: Some(id), at, ..of("disconnected") },
            PresenceEvent::Interrupted { error, retry_in } => {
                Self { error: Some(error.into()), retry_in: Some(retry_in), ..of("interrupted") }
            }
            PresenceEvent::Restored => of("restored"),
            _ => of("unknown"),
        }
    }
}

/// What happens to the endpoints of a namespace.
pub struct EndpointFacts {
    /// `present`, `online`, `offline`, `interrupted` or `restored`.
    pub kind: &'static str,
    /// All that are there, or the one that came.
    pub endpoints: Vec<Endpoint>,
    /// The name of the one that came or went.
    pub path: Option<String>,
    /// When it went.
    pub at: Option<SystemTime>,
    /// Why the relay is not heard.
    pub error: Option<Failure>,
    /// How long until it is asked again.
    pub retry_in: Option<Duration>,
}

impl From<EndpointEvent> for EndpointFacts {
    fn from(event: EndpointEvent) -> Self {
        let of = |kind| Self { kind, endpoints: Vec::new(), path: None, at: None, error: None, retry_in: None };
        match event {
            EndpointEvent::Present(endpoints) => Self { endpoints, ..of("present") },
            EndpointEvent::Online(endpoint) => {
                Self { path: Some(endpoint.path.to_string()), endpoints: vec![endpoint], ..of("online") }
            }
            EndpointEvent::Offline { path, at } => Self { path: Some(path.to_string()), at, ..of("offline") },
            EndpointEvent::Interrupted { error, retry_in } => {
                Self { error: Some(error.into()), retry_in: Some(retry_in), ..of("interrupted") }
            }
            EndpointEvent::Restored => of("restored"),
            _ => of("unknown"),
        }
    }
}
