//! Refusals: the texts a relay puts into reason phrases, and what a client makes of them (protocol.md 3.2, 4.6, 5.8, 8.4).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use time::OffsetDateTime;
use time::macros::format_description;

use super::headers::{RELAY_REASON, TRACKING_ID};
use crate::{Error, ErrorKind};

/// The entity is not registered.
pub const ENDPOINT_DOES_NOT_EXIST: &str = "Endpoint does not exist";
/// The entity has no listener online.
pub const NO_LISTENERS: &str = "There are no listeners connected for the endpoint";
/// No listener has dialled in time.
pub const NOT_ACCEPTED: &str = "None of the connected listeners accepted the connections within the allowed timeout";
/// The listener has not answered a request in time.
pub const NO_RESPONSE: &str =
    "The request was routed to the listener but the listener did not respond in the required time";
/// The sender's choice of listeners leaves none.
pub const NO_ALLOWED_LISTENER: &str =
    "None of the connected listeners meet the AllowedListeners/DisallowedListeners criteria";
/// The token's signature is wrong.
pub const INVALID_SIGNATURE: &str = "token has an invalid signature";
/// The limit of listeners is reached.
pub const TOO_MANY_LISTENERS: &str = "QuotaExceeded: maximum number of listeners reached";

/// The words of `Relay-Reason` of which clients make something, with the text that stands for each (protocol.md 5.8).
pub const REASONS: [(&str, &str); 3] = [
    ("endpoint_not_found", ENDPOINT_DOES_NOT_EXIST),
    ("no_listeners", NO_LISTENERS),
    ("no_allowed_listener", NO_ALLOWED_LISTENER),
];

/// The longest reason phrase (protocol.md 10, decision 47).
const REASON_LIMIT: usize = 512;

/// How much of a text body is taken as an explanation.
const EXPLANATION_LIMIT: usize = 512;

/// A reason phrase in the service's format: `<text>. TrackingId:<id>, SystemTracker:<tracker>, Timestamp:<UTC>`.
pub fn reason_phrase(text: &str, tracking_id: &str, system_tracker: &str, now: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    // Formatting into a string of this description cannot fail for a time that exists.
    let timestamp = OffsetDateTime::from(now).format(format).unwrap_or_default();
    let tail = format!(". TrackingId:{tracking_id}, SystemTracker:{system_tracker}, Timestamp:{timestamp}");
    let text = cut(&sanitize_reason(text), REASON_LIMIT.saturating_sub(tail.len())).to_owned();
    sanitize_reason(&(text + &tail))
}

/// Makes a text fit for a status line: printable ASCII, other characters percent-encoded, at most 512 bytes; line breaks and other
/// control characters are dropped.
pub fn sanitize_reason(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars().filter(|character| !character.is_control()) {
        let mut encoded = String::new();
        if character.is_ascii() {
            encoded.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        if clean.len() + encoded.len() > REASON_LIMIT {
            break;
        }
        clean.push_str(&encoded);
    }
    clean.trim().to_owned()
}

/// An HTTP answer other than 101, as the client saw it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// What the client wanted: the beginning of the error's text.
    pub what: &'a str,
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The beginning of the body.
    pub body: &'a [u8],
}

/// What an answer means (protocol.md 8.4). The explanation may stand in the reason phrase, only in a JSON body, or nowhere (9.2).
pub fn classify(answer: &Answer<'_>) -> Error {
    let reason = explanation(answer);
    let has = |words: &str| reason.to_ascii_lowercase().contains(words);
    let no_listener = has("no listeners") || has("none of the connected listeners meet");
    let (kind, hint) = match answer.status {
        403 | 429 if has("quota") => {
            (ErrorKind::QuotaExceeded, Some("close listeners that are not needed, or raise the relay's limit"))
        }
        401 => (ErrorKind::Unauthorized, Some("check the key name, the key, and that this machine's clock is right")),
        403 => (
            ErrorKind::Unauthorized,
            Some("use a rule that has the Listen right for listeners, the Send right for senders"),
        ),
        404 | 502 if no_listener => (ErrorKind::NoListeners, Some("start a listener on this hybrid connection")),
        404 if has("does not exist") || has("endpoint") || reason.is_empty() || has("not found") => {
            (ErrorKind::EndpointNotFound, Some("create the hybrid connection, or check its name"))
        }
        408 | 504 => (ErrorKind::Timeout, None),
        429 | 503 => (ErrorKind::ServerBusy, None),
        _ => (ErrorKind::Rejected, None),
    };
    let mut error = Error::new(kind, answer.what).with_status(answer.status);
    if let Some(hint) = hint {
        error = error.with_hint(hint);
    }
    if let Some(id) = tracking_id(answer, &reason) {
        error = error.with_tracking_id(id);
    }
    if let Some(wait) = retry_after(answer.headers) {
        error = error.with_retry_after(wait);
    }
    if reason.is_empty() { error } else { error.with_reason(reason) }
}

/// The peer's explanation: the reason phrase, unless it only repeats the status and the body says more, or, without a body, the word in
/// `Relay-Reason`.
fn explanation(answer: &Answer<'_>) -> String {
    let standard = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let reason = sanitize_reason(answer.reason);
    if !reason.is_empty() && Some(reason.as_str()) != standard {
        return reason;
    }
    match body_message(answer.body) {
        Some(message) => sanitize_reason(&message),
        None => answer
            .headers
            .get(RELAY_REASON)
            .and_then(|word| REASONS.iter().find(|(known, _)| word == known))
            .map_or(reason, |(_, text)| (*text).to_owned()),
    }
}

/// The message in an error body: JSON, the management API's XML, or short plain text.
fn body_message(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        let error = json.get("error").unwrap_or(&json);
        return error.get("message").and_then(|message| message.as_str()).map(str::to_owned);
    }
    if let Some((_, detail)) = text.split_once("<Detail>") {
        return detail.split_once("</Detail>").map(|(detail, _)| detail.to_owned());
    }
    (!text.is_empty() && !text.starts_with('<')).then(|| cut(text, EXPLANATION_LIMIT).to_owned())
}

fn tracking_id(answer: &Answer<'_>, reason: &str) -> Option<String> {
    if let Some(id) = answer.headers.get(TRACKING_ID).and_then(|id| id.to_str().ok()) {
        return Some(id.to_owned());
    }
    let (_, behind) = reason.split_once("TrackingId:")?;
    let id: String =
        behind.trim_start().chars().take_while(|character| !matches!(character, ',' | ' ' | ';')).collect();
    (!id.is_empty()).then_some(id)
}

/// `Retry-After` in seconds; dates are not used by any relay.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// At most `limit` bytes, cut between characters.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, reason: &str, body: &[u8]) -> Error {
        classify(&Answer { what: "cannot connect", status, reason, headers: &HeaderMap::new(), body })
    }

    #[test]
    fn a_reason_phrase_has_the_services_format() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_847_300);
        let phrase = reason_phrase(ENDPOINT_DOES_NOT_EXIST, "0b7f5c1e_G0", "sb://relay.example.net/hyco", now);
        assert_eq!(
            phrase,
            "Endpoint does not exist. TrackingId:0b7f5c1e_G0, SystemTracker:sb://relay.example.net/hyco, Timestamp:2026-01-31T08:15:00"
        );
        let long = reason_phrase(&"ü".repeat(400), "id", "sb://h/x", now);
        assert!(long.len() <= 512 && long.ends_with("Timestamp:2026-01-31T08:15:00"), "{long}");
    }

    #[test]
    fn a_status_line_holds_printable_ascii_only() {
        assert_eq!(sanitize_reason("no\r\nSet-Cookie: x\t ü"), "noSet-Cookie: x %C3%BC");
        assert!(sanitize_reason(&"é".repeat(1000)).len() <= 512);
    }

    #[test]
    fn statuses_and_texts_become_kinds() {
        for (status, reason, kind) in [
            (401, "ExpiredToken", ErrorKind::Unauthorized),
            (403, "no Listen right", ErrorKind::Unauthorized),
            (403, TOO_MANY_LISTENERS, ErrorKind::QuotaExceeded),
            (404, ENDPOINT_DOES_NOT_EXIST, ErrorKind::EndpointNotFound),
            (404, NO_LISTENERS, ErrorKind::NoListeners),
            (404, NO_ALLOWED_LISTENER, ErrorKind::NoListeners),
            (502, NO_LISTENERS, ErrorKind::NoListeners),
            (404, "I know no such order", ErrorKind::Rejected),
            (408, "", ErrorKind::Timeout),
            (504, NOT_ACCEPTED, ErrorKind::Timeout),
            (503, "", ErrorKind::ServerBusy),
            (451, "Not for you", ErrorKind::Rejected),
        ] {
            let error = error(status, reason, b"");
            assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{status} {reason}");
        }
        assert!(error(500, "", b"").is_retryable());
        assert!(!error(451, "", b"").is_retryable());
    }

    #[test]
    fn the_explanation_may_stand_in_the_body() {
        let body = br#"{"error":{"code":"EndpointNotFound","message":"There are no listeners connected for the endpoint. TrackingId:7_G0, x"}}"#;
        let error = error(404, "Not Found", body);
        assert_eq!(error.kind(), ErrorKind::NoListeners);
        assert_eq!(error.tracking_id(), Some("7_G0"));
        assert!(error.reason().unwrap().starts_with("There are no listeners"));
        let xml = super::tests::error(500, "", b"<Error><Code>500</Code><Detail>broken</Detail></Error>");
        assert_eq!(xml.reason(), Some("broken"));
    }

    #[test]
    fn a_word_stands_for_an_explanation_that_had_no_place() {
        for (word, kind, text) in [
            ("no_listeners", ErrorKind::NoListeners, NO_LISTENERS),
            ("no_allowed_listener", ErrorKind::NoListeners, NO_ALLOWED_LISTENER),
            ("endpoint_not_found", ErrorKind::EndpointNotFound, ENDPOINT_DOES_NOT_EXIST),
        ] {
            let headers = HeaderMap::from_iter([(RELAY_REASON, http::HeaderValue::from_static(word))]);
            let error = classify(&Answer { what: "x", status: 404, reason: "", headers: &headers, body: b"" });
            assert_eq!((error.kind(), error.reason()), (kind, Some(text)));
        }
    }

    #[test]
    fn headers_tell_id_and_wait() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACKING_ID, "abc_G0".parse().unwrap());
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        let error = classify(&Answer { what: "x", status: 503, reason: "busy", headers: &headers, body: b"" });
        assert_eq!((error.tracking_id(), error.retry_after()), (Some("abc_G0"), Some(Duration::from_secs(7))));
    }
}
