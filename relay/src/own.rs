//! The relay's own addresses, at which it tells what it knows instead of relaying: health, who listens where, and what .NET asks of
//! a hybrid connection (protocol.md 7.1, 7.4 and 7.5).

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use hybridrelay::protocol::Features;

use crate::edge::{Body, Visit};
use crate::namespace::Entity;
use crate::node::Node;
use crate::refusal::Refusal;

mod discovery;
mod events;
mod health;
mod management;
mod media;
mod presence;
mod time;
mod xml;

pub(crate) use management::error_xml;

/// What is asked for below `/$relay/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Health,
    Readiness,
    /// Who listens on a hybrid connection, whose path follows.
    Presence(String),
    /// Nothing that there is.
    Unknown,
}

impl Address {
    /// `None` for everything that is not below `/$relay/`, which no hybrid connection can be.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        let path = request.uri().path().strip_prefix('/')?;
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        if !(first.eq_ignore_ascii_case("$relay") || first.eq_ignore_ascii_case("%24relay")) {
            return None;
        }
        Some(match rest.split_once('/') {
            None if rest == "healthz" => Self::Health,
            None if rest == "readyz" => Self::Readiness,
            Some(("presence", entity)) => Self::Presence(entity.to_owned()),
            _ => Self::Unknown,
        })
    }

    /// Answers at once what needs neither a namespace nor a right, and is told to anybody as long as the process lives.
    pub(crate) fn answer_anybody(&self, node: &Node, method: &Method) -> Option<Result<Response<Body>, Refusal>> {
        match self {
            Self::Health | Self::Readiness => Some(only_read(method).map(|()| health::answer(node, self))),
            Self::Presence(_) | Self::Unknown => None,
        }
    }
}

/// What the relay tells itself, and not a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// Who listens on a hybrid connection.
    Presence,
    /// Which hybrid connections of a namespace are online.
    Discovery,
    /// What .NET calls runtime information.
    Management,
    /// Nothing that there is.
    Unknown,
}

impl Own {
    /// `None` if the request is for somebody else than the relay. `is_root`: it is for the namespace as a whole.
    pub(crate) fn of(visit: &Visit, address: Option<&Address>, is_root: bool) -> Option<Self> {
        match address {
            Some(Address::Presence(_)) => return Some(Self::Presence),
            Some(_) => return Some(Self::Unknown),
            None => {}
        }
        if management::is_asked(visit.request.headers()) {
            return Some(Self::Management);
        }
        let discovery = || visit.snapshot.namespace(&visit.namespace).is_some_and(|namespace| namespace.discovery);
        (is_root && discovery()).then_some(Self::Discovery)
    }

    /// What a client can tell our answers by from those of a relay that knows nothing of this (protocol.md 10, decision 73).
    pub(crate) fn feature(self) -> Option<&'static str> {
        match self {
            Self::Presence => Some(Features::PRESENCE),
            Self::Discovery => Some(Features::DISCOVERY),
            Self::Management | Self::Unknown => None,
        }
    }

    pub(crate) fn answer(self, node: &Arc<Node>, visit: &Visit) -> Result<Response<Body>, Refusal> {
        if self == Self::Unknown {
            return Err(Refusal::endpoint_not_found());
        }
        only_read(visit.request.method())?;
        match self {
            Self::Presence => presence::answer(node, visit),
            Self::Discovery => discovery::answer(node, visit),
            Self::Management | Self::Unknown => management::answer(node, visit),
        }
    }
}

fn only_read(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Refusal::only_read()) }
}

/// The hybrid connection that a path names exactly: nothing follows it.
fn exact<'v>(visit: &'v Visit, path: &str) -> Option<&'v Entity> {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    visit.snapshot.namespace(&visit.namespace)?.entity(&decoded)
}

/// `https://` or `http://`, and `wss://` or `ws://`, with the authority by which the client reached us.
fn bases(visit: &Visit) -> [String; 2] {
    let s = if visit.secure { "s" } else { "" };
    ["http", "ws"].map(|scheme| format!("{scheme}{s}://{}", visit.authority))
}

/// An answer with a body of this type.
fn answer_with(kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text<'h>(fields: &'h HeaderMap, name: &str) -> Option<&'h str> {
    fields.get(name)?.to_str().ok()
}
