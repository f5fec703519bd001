//! Heads of requests and responses: from the relay's messages to `http` types and back.

use std::net::SocketAddr;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri, header, response};
use percent_encoding::utf8_percent_encode;

use crate::address::{EntityPath, PATH, QUERY};
use crate::protocol::uri::longest_prefix;
use crate::protocol::{self, Features, headers, refusal};
use crate::{Error, Result};

/// Where the listener is mounted, `/` and the hybrid connection in the sender's spelling: an extension of every relayed request,
/// whose own path begins behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount(String);

impl Mount {
    #[cfg(feature = "tower")]
    pub(super) fn new(path: String) -> Self {
        Self(path)
    }

    /// The path, percent-encoded as the sender wrote it: `/hyco`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The sender's address as the relay saw it: an extension of a relayed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

/// The reason phrase of a response, as an extension of it: set it to send one, read it from a response that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonPhrase(pub String);

/// Path and query of a request, taken apart at the end of the hybrid connection's name.
pub(crate) struct Target {
    pub(crate) mount: Mount,
    /// What follows the name: empty, or with a slash in front.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

impl Target {
    pub(crate) fn parse(target: &str, entity: &EntityPath) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(utf8_percent_encode(query, QUERY).to_string())),
            None => (target, None),
        };
        // Azure sends paths decoded in part (protocol.md 5.7, decision 24); what may not stand in one is encoded again.
        let path = utf8_percent_encode(path, PATH).to_string();
        let raw = path.strip_prefix('/').unwrap_or(&path);
        let suffix = longest_prefix(raw, |candidate| (entity == candidate).then_some(()));
        let (mount, path) = match suffix {
            Some(((), suffix)) => (format!("/{}", &raw[..raw.len() - suffix.len()]), suffix.to_owned()),
            None => (String::new(), format!("/{raw}")),
        };
        Self { mount: Mount(mount), path, query }
    }

    /// The URI that a program sees: at least a slash, and the query.
    pub(crate) fn uri(&self) -> Result<Uri> {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        let query = self.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let target: PathAndQuery =
            format!("{path}{query}").parse().map_err(|_| Error::invalid("the request's target is no path"))?;
        Ok(Uri::from(target))
    }
}

/// What a response says before its body.
pub(super) struct ResponseHead {
    pub(super) message: protocol::Response,
    /// Whether a body may follow at all.
    pub(super) may_have_body: bool,
}

impl ResponseHead {
    /// The answer to a request by `method`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a status below 200, which is no answer.
    pub(super) fn new(parts: &response::Parts, request_id: &str, method: &Method, features: &Features) -> Result<Self> {
        let status = parts.status;
        if status.is_informational() {
            return Err(Error::invalid(format!("a request cannot be answered with the status {}", status.as_u16())));
        }
        let is_head = method == Method::HEAD;
        let may_have_body = !is_head && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
        let mut fields = headers::without_hop_by_hop(&parts.headers);
        if let Some(length) = parts.headers.get(header::CONTENT_LENGTH).filter(|_| is_head) {
            // It says what a GET would bring; nothing is framed by it (protocol.md 10, decision 29).
            fields.insert(header::CONTENT_LENGTH, length.clone());
        }
        if may_have_body && features.is_empty() && !fields.contains_key(header::CONTENT_TYPE) {
            // Foreign relays want one (protocol.md 9.2).
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        }
        let message = protocol::Response {
            request_id: request_id.to_owned(),
            status_code: status.as_u16(),
            status_description: reason_phrase(parts),
            response_headers: fields,
            body: may_have_body,
        };
        Ok(Self { message, may_have_body })
    }
}

/// The reason phrase of a response: the program's own, the one that hyper read, or the standard one.
fn reason_phrase(parts: &response::Parts) -> Option<String> {
    let own = parts.extensions.get::<ReasonPhrase>().map(|reason| reason.0.clone());
    let read = || {
        let phrase = parts.extensions.get::<hyper::ext::ReasonPhrase>()?;
        Some(String::from_utf8_lossy(phrase.as_bytes()).into_owned())
    };
    let standard = || parts.status.canonical_reason().map(str::to_owned);
    own.or_else(read).or_else(standard).map(|reason| refusal::sanitize_reason(&reason))
}

#[cfg(test)]
mod tests {
    use http::Response;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_a_relay_sends_panics_and_nothing_is_lost(text: String, path in "(/[a-zA-Z0-9%._~-]{0,9}){0,4}") {
            let entity: EntityPath = "hyco".parse().unwrap();
            let _ = Target::parse(&text, &entity).uri();
            let parsed = Target::parse(&format!("/hyco{path}"), &entity);
            prop_assert_eq!((parsed.mount.as_str(), &parsed.path), ("/hyco", &path));
        }
    }

    #[test]
    fn a_target_is_taken_apart_behind_the_entity() {
        let entity: EntityPath = "a/hyco".parse().unwrap();
        for (target, mount, path, query, uri) in [
            ("/a/hyco/orders/7?x=1&&", "/a/hyco", "/orders/7", Some("x=1&&"), "/orders/7?x=1&&"),
            ("/A/Hyco", "/A/Hyco", "", None, "/"),
            ("/a/hyco/", "/a/hyco", "/", None, "/"),
            ("/a/hyco?", "/a/hyco", "", Some(""), "/?"),
            ("/a/hyco/b%2Fc/%C3%A9", "/a/hyco", "/b%2Fc/%C3%A9", None, "/b%2Fc/%C3%A9"),
            ("/a/hyco/b c/é", "/a/hyco", "/b%20c/%C3%A9", None, "/b%20c/%C3%A9"),
            ("/other/x", "", "/other/x", None, "/other/x"),
        ] {
            let parsed = Target::parse(target, &entity);
            assert_eq!((parsed.mount.as_str(), parsed.path.as_str(), parsed.query.as_deref()), (mount, path, query));
            assert_eq!(parsed.uri().unwrap(), uri, "{target}");
        }
    }

    fn head(response: http::response::Builder, method: &Method, features: &Features) -> ResponseHead {
        let (parts, ()) = response.body(()).unwrap().into_parts();
        ResponseHead::new(&parts, "id", method, features).unwrap()
    }

    #[test]
    fn a_response_keeps_its_own_reason_and_loses_the_connections_headers() {
        let response = Response::builder()
            .status(207)
            .extension(ReasonPhrase("Half\r\nand half".into()))
            .header("connection", "x-own")
            .header("x-own", "1")
            .header("content-length", "5")
            .header("content-type", "text/plain");
        let head = head(response, &Method::GET, &Features::known());
        assert_eq!(head.message.status_description.as_deref(), Some("Halfand half"));
        assert_eq!(head.message.response_headers.len(), 1);
        assert!(head.may_have_body);
    }

    #[test]
    fn some_answers_have_no_body_and_head_keeps_its_length() {
        let length = |method: &Method, status: u16| {
            let head =
                head(Response::builder().status(status).header("content-length", "5"), method, &Features::known());
            (head.may_have_body, head.message.response_headers.contains_key("content-length"))
        };
        assert_eq!(length(&Method::HEAD, 200), (false, true));
        assert_eq!(length(&Method::GET, 204), (false, false));
        assert_eq!(length(&Method::GET, 304), (false, false));
        assert_eq!(length(&Method::GET, 200), (true, false));
    }

    #[test]
    fn a_foreign_relay_gets_a_content_type_and_ours_what_the_program_said() {
        let foreign = head(Response::builder(), &Method::GET, &Features::none());
        assert_eq!(foreign.message.response_headers["content-type"], "application/octet-stream");
        let ours = head(Response::builder(), &Method::GET, &Features::known());
        assert!(ours.message.response_headers.is_empty());
    }

    #[test]
    fn an_interim_status_is_no_answer() {
        let (parts, ()) = Response::builder().status(101).body(()).unwrap().into_parts();
        assert!(ResponseHead::new(&parts, "id", &Method::GET, &Features::known()).is_err());
    }
}
