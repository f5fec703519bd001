//! Every answer that the relay makes by itself: status, reason phrase, TrackingId and JSON body (protocol.md 3.2, 5.8).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hybridrelay::env::Env;
use hybridrelay::protocol::{TrackingId, headers, refusal};
use hyper::ext::ReasonPhrase;

/// The body of the answers that the relay makes.
pub(crate) type Body = Full<Bytes>;

/// Why something is refused. The text explains it to the user and becomes the reason phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    text: String,
    retry_after: Option<Duration>,
    websocket_version: bool,
}

/// Where a refusal happened: what its TrackingId and SystemTracker say.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) tracking_id: &'a TrackingId,
    pub(crate) host: &'a str,
    /// Without query: it may hold secrets (protocol.md 10, decision 62).
    pub(crate) path: &'a str,
    /// Whether the request came for a WebSocket; HTTP writes its tracker differently (5.8).
    pub(crate) websocket: bool,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into(), retry_after: None, websocket_version: false }
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", text)
    }

    pub(crate) fn unauthorized(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "TokenMissingOrInvalid", text)
    }

    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AuthorizationFailed", text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "EndpointNotFound", text)
    }

    pub(crate) fn quota(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "QuotaExceeded", text)
    }

    pub(crate) fn busy(text: impl Into<String>) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", text)
        }
    }

    pub(crate) fn timed_out(text: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout", text)
    }

    /// The answer to a listener that rejects a sender (protocol.md 4.4).
    pub(crate) fn gone(text: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Gone", text)
    }

    pub(crate) fn headers_too_large() -> Self {
        let text = "The request's headers are too large to be handed to the listener";
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "HeadersTooLarge", text)
    }

    pub(crate) fn not_implemented(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", text)
    }

    /// A handshake of a version that is not spoken (protocol.md 10, decision 12).
    pub(crate) fn upgrade_required() -> Self {
        let text = "Only version 13 of the WebSocket protocol is supported";
        Self { websocket_version: true, ..Self::new(StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", text) }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// 401 instead of 403, for the .NET client (protocol.md 10, decision 1).
    pub(crate) fn into_unauthorized(mut self) -> Self {
        self.status = StatusCode::UNAUTHORIZED;
        self
    }

    pub(crate) fn into_response(self, env: &Env, place: &Place<'_>) -> Response<Body> {
        let id = place.tracking_id.to_string();
        let path = place.path.trim_matches('/');
        let tracker =
            if place.websocket { format!("sb://{}/{path}", place.host) } else { format!("{}:{path}", place.host) };
        let message = refusal::reason_phrase(&self.text, &id, &tracker, env.wall_clock());
        let body = serde_json::json!({"error": {"code": self.code, "message": message}}).to_string();
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status;
        set_reason(&mut response, &message);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        set_tracking_id(fields, place.tracking_id);
        if let Some(wait) = self.retry_after {
            fields.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if self.websocket_version {
            fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// Sets the text of the status line; what cannot stand there leaves the standard one.
pub(crate) fn set_reason<B>(response: &mut Response<B>, text: &str) {
    if let Ok(reason) = ReasonPhrase::try_from(text.as_bytes().to_vec()) {
        response.extensions_mut().insert(reason);
    }
}

pub(crate) fn set_tracking_id(fields: &mut http::HeaderMap, id: &TrackingId) {
    // GUIDs and their suffixes are header text.
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        fields.insert(headers::TRACKING_ID, value);
    }
}
