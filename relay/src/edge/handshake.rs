//! The server's half of a WebSocket handshake (RFC 6455 4.2), as strict as the .NET client needs its answer (protocol.md 3.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hybridrelay::protocol::TrackingId;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Body;
use crate::refusal::{Refusal, set_tracking_id};

/// A well-formed request for a WebSocket.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    accept: HeaderValue,
}

impl Handshake {
    /// Whether a request asks for a WebSocket at all.
    pub(crate) fn is_wanted<B>(request: &Request<B>) -> bool {
        lists(request.headers(), &header::UPGRADE, "websocket")
    }

    /// Checks a request that asks for a WebSocket.
    ///
    /// # Errors
    ///
    /// 426 for another version, 400 for everything else that is not as the RFC says.
    pub(crate) fn check<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let headers = request.headers();
        let refuse = |what: &str| Err(Refusal::bad_request(format!("The WebSocket handshake {what}")));
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return refuse("is no GET of HTTP/1.1");
        }
        if !lists(headers, &header::UPGRADE, "websocket") || !lists(headers, &header::CONNECTION, "upgrade") {
            return refuse("does not ask for an upgrade to websocket");
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Refusal::upgrade_required());
        }
        let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return refuse("has not exactly one Sec-WebSocket-Key");
        };
        if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
            return refuse("has a Sec-WebSocket-Key that is not 16 bytes in base64");
        }
        match HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
            Ok(accept) => Ok(Self { accept }),
            Err(_) => refuse("cannot be answered"),
        }
    }

    /// The 101: each header once and with exactly these values; no extension, whatever was offered.
    pub(crate) fn answer(self, tracking_id: &TrackingId, subprotocol: Option<&str>) -> Response<Body> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = response.headers_mut();
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        set_tracking_id(fields, tracking_id);
        // What was offered in a header can be answered in one.
        if let Some(value) = subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
            fields.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        response
    }
}

/// The sub-protocols that a handshake offers, in its order.
pub(crate) fn offered_subprotocols(headers: &HeaderMap) -> Vec<String> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Whether a header lists a token, without case.
fn lists(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}
