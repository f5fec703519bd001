//! Every answer that the relay makes by itself: status, reason phrase, TrackingId and JSON body (protocol.md 3.2, 5.8).

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use hybridrelay::env::Env;
use hybridrelay::protocol::{TrackingId, headers, refusal};
use hyper::ext::ReasonPhrase;

use crate::edge::Body;
use crate::limits::{Exceeded, TooFast};
use crate::own;

mod reason;

pub(crate) use reason::Reason;

/// Why something is refused. The text explains it to the user and becomes the reason phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    reason: Option<Reason>,
    text: String,
    retry_after: Option<Duration>,
    /// The methods that are taken, for 405.
    allow: Option<&'static str>,
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
    /// How the answer is written.
    pub(crate) form: Form,
}

/// How a refusal is written for whoever asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the service's own (protocol.md 5.8).
    #[default]
    Json,
    /// As the management client of .NET reads it (protocol.md 7.1).
    Xml,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, reason: Reason, text: impl Into<String>) -> Self {
        Self { status, code, reason: Some(reason), text: text.into(), retry_after: None, allow: None }
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", Reason::BadRequest, text)
    }

    pub(crate) fn unauthorized(reason: Reason, text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "TokenMissingOrInvalid", reason, text)
    }

    pub(crate) fn forbidden(reason: Reason, text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AuthorizationFailed", reason, text)
    }

    pub(crate) fn endpoint_not_found() -> Self {
        Self::not_found(Reason::EndpointNotFound, refusal::ENDPOINT_DOES_NOT_EXIST)
    }

    pub(crate) fn no_listeners() -> Self {
        Self::not_found(Reason::NoListeners, refusal::NO_LISTENERS)
    }

    pub(crate) fn no_allowed_listener() -> Self {
        Self::not_found(Reason::NoAllowedListener, refusal::NO_ALLOWED_LISTENER)
    }

    fn not_found(reason: Reason, text: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "EndpointNotFound", reason, text)
    }

    /// A listener too many (protocol.md 10, decision 2).
    pub(crate) fn too_many_listeners(limit: &'static str) -> Self {
        let reason = Reason::Limit(limit);
        Self::new(StatusCode::FORBIDDEN, "QuotaExceeded", reason, refusal::TOO_MANY_LISTENERS)
    }

    /// A listener too many for somebody else than the hybrid connection.
    pub(crate) fn quota(exceeded: Exceeded) -> Self {
        let text = format!("QuotaExceeded: {}", exceeded.text);
        Self::new(StatusCode::FORBIDDEN, "QuotaExceeded", Reason::Limit(exceeded.limit), text)
    }

    pub(crate) fn busy(reason: Reason, text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", reason, text).with_retry_after(Duration::from_secs(1))
    }

    /// As many requests in flight as there may be.
    pub(crate) fn full(exceeded: Exceeded) -> Self {
        Self::busy(Reason::Limit(exceeded.limit), exceeded.text)
    }

    /// 429, or 503 for a WebSocket (protocol.md 10, decision 46).
    fn throttled(limit: &'static str, text: String) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "ServerBusy", Reason::Limit(limit), text)
            .with_retry_after(Duration::from_secs(1))
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout", Reason::NotAccepted, refusal::NOT_ACCEPTED)
    }

    /// The answer to a listener that rejects a sender (protocol.md 4.4): what it asked for, and no refusal of its own.
    pub(crate) fn rejection_taken() -> Self {
        let text = "The connection was rejected as asked";
        Self { reason: None, ..Self::new(StatusCode::GONE, "Gone", Reason::BadRejection, text) }
    }

    /// The answer to a listener whose rejection is none (protocol.md 10, decision 34).
    pub(crate) fn bad_rejection() -> Self {
        let text = "A sender can be rejected with a status from 200 to 999";
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", Reason::BadRejection, text)
    }

    pub(crate) fn headers_too_large() -> Self {
        let text = "The request's headers are too large to be handed to the listener";
        let reason = Reason::Limit("header_block");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "HeadersTooLarge", reason, text)
    }

    /// A method that is never relayed (protocol.md 5.1).
    pub(crate) fn method_not_allowed() -> Self {
        let text = "CONNECT is not relayed";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", Reason::BadRequest, text)
    }

    /// Another method than those that read one of the relay's own addresses.
    pub(crate) fn only_read() -> Self {
        let text = "This address is only read, by GET or HEAD";
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", Reason::BadRequest, text);
        Self { allow: Some("GET, HEAD"), ..refusal }
    }

    /// A request body above what the hybrid connection takes.
    pub(crate) fn body_too_large() -> Self {
        let text = "The request's body is larger than the endpoint takes";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", Reason::BodyTooLarge, text)
    }

    /// A sender that does not go on with its body.
    pub(crate) fn slow_sender() -> Self {
        let text = "The request's body did not come in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", Reason::SlowSender, text)
    }

    /// A listener that does not answer a request (protocol.md 5.8).
    pub(crate) fn no_response() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout", Reason::NoResponse, refusal::NO_RESPONSE)
    }

    /// A listener that does not take a one-way request.
    pub(crate) fn not_taken() -> Self {
        let text = "The listener did not take the whole request in the required time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout", Reason::NoResponse, text)
    }

    /// A listener that has gone, or answers with what is no answer (protocol.md 5.8; 10, decisions 33 and 35).
    pub(crate) fn bad_gateway(reason: Reason, text: &str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "BadGateway", reason, text)
    }

    /// A handshake of a version that is not spoken (protocol.md 10, decision 12).
    pub(crate) fn upgrade_required() -> Self {
        let text = "Only version 13 of the WebSocket protocol is supported";
        Self::new(StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", Reason::UpgradeRequired, text)
    }

    /// What a test has ordered: exactly this status, and `Retry-After` only if it is named.
    pub(crate) fn instructed(status: StatusCode, text: String, retry_after: Option<Duration>) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => "TokenMissingOrInvalid",
            StatusCode::FORBIDDEN => "AuthorizationFailed",
            StatusCode::NOT_FOUND => "EndpointNotFound",
            StatusCode::SERVICE_UNAVAILABLE => "ServerBusy",
            StatusCode::GATEWAY_TIMEOUT => "GatewayTimeout",
            StatusCode::BAD_GATEWAY => "BadGateway",
            _ => "BadRequest",
        };
        Self { retry_after, ..Self::new(status, code, Reason::Instructed, text) }
    }

    /// The same with another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The status for a request that came for a WebSocket or did not.
    pub(crate) fn status(&self, websocket: bool) -> StatusCode {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS if websocket && self.reason != Some(Reason::Instructed) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            status => status,
        }
    }

    /// Why; `None` if nothing is refused by the relay.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.reason
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
        let status = self.status(place.websocket);
        let (kind, body) = match place.form {
            Form::Json => {
                let body = serde_json::json!({"error": {"code": self.code, "message": message}});
                ("application/json; charset=utf-8", body.to_string())
            }
            Form::Xml => ("application/xml; charset=utf-8", own::error_xml(status, &message)),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        set_reason(&mut response, &message);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(methods) = self.allow {
            fields.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        set_tracking_id(fields, place.tracking_id);
        if let Some(reason) = self.reason {
            fields.insert(headers::RELAY_REASON, HeaderValue::from_static(reason.as_str()));
        }
        if let Some(wait) = self.retry_after {
            // In whole seconds, and never too early.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// A limit of what may be at once; listeners have a status of their own ([`Refusal::quota`]).
impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        Self::throttled(exceeded.limit, exceeded.text)
    }
}

impl From<TooFast> for Refusal {
    fn from(too_fast: TooFast) -> Self {
        Self::throttled(too_fast.limit, too_fast.text).with_retry_after(too_fast.retry_after)
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
