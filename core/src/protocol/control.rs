//! The JSON messages of the control channel (protocol.md 3.5, 4.1, 5.2, 5.5).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::Features;
use super::headers::{canonical_name, joiner, text};

/// Control text must stay at or below this many bytes: .NET receives into a fixed buffer (protocol.md 3.5).
pub const JSON_LIMIT: usize = 65_536;

/// What a relay tells a listener.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FromRelay {
    /// A sender wants a connection.
    Accept(Accept),
    /// A sender's HTTP request.
    Request(Request),
    /// What the relay accepted of the features that were offered by query (protocol.md 3.10).
    Features(Features),
    /// The sender of a request has gone.
    Cancel {
        /// The request.
        request_id: String,
    },
    /// This listener has not kept up with the events of a publisher (protocol.md 3.10).
    Events {
        /// The id of the accept.
        id: String,
        /// How many it has missed so far.
        dropped: u64,
    },
    /// A command that this version does not know. To be ignored.
    Unknown {
        /// Its name.
        key: String,
    },
}

/// What a listener tells a relay.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FromListener {
    /// The answer to a request.
    Response(Response),
    /// A new token for the control channel.
    RenewToken(RenewToken),
    /// A command that this version does not know. To be ignored.
    Unknown {
        /// Its name.
        key: String,
    },
}

/// A control message that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Not UTF-8.
    #[error("a control message is not UTF-8")]
    NotUtf8,
    /// Not a JSON object with one command.
    #[error("a control message is not a JSON object")]
    NotJson,
    /// A command without a field that it needs, or with one of the wrong type.
    #[error("the control message '{command}' has no usable '{field}'")]
    BadField {
        /// The command.
        command: &'static str,
        /// The field.
        field: &'static str,
    },
}

impl ControlError {
    /// The close code that answers it (protocol.md 10, decision 49).
    pub fn close_code(&self) -> u16 {
        match self {
            Self::NotUtf8 => super::close::INVALID_DATA,
            Self::NotJson | Self::BadField { .. } => super::close::PROTOCOL_ERROR,
        }
    }
}

/// A sender wants a connection (protocol.md 4.1).
#[derive(Clone, PartialEq)]
pub struct Accept {
    /// Where to dial, verbatim. It holds the ticket, so it is a secret.
    pub address: String,
    /// The tracking id.
    pub id: String,
    /// The headers of the sender's handshake.
    pub connect_headers: HeaderMap,
    /// The sender's address.
    pub remote_endpoint: Option<SocketAddr>,
}

impl Accept {
    /// The message; all four fields are always there, because Java needs them.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            address: &'a str,
            id: &'a str,
            connect_headers: HeadersJson<'a>,
            remote_endpoint: EndpointJson,
        }
        let Self { address, id, connect_headers, remote_endpoint } = self;
        let (headers, remote_endpoint) = (&Features::none(), EndpointJson::new(*remote_endpoint));
        let connect_headers = HeadersJson(connect_headers, headers);
        message("accept", &Fields { address, id, connect_headers, remote_endpoint })
    }
}

impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("id", &self.id)
            .field("remote_endpoint", &self.remote_endpoint)
            .finish_non_exhaustive()
    }
}

/// A sender's HTTP request (protocol.md 5.2). Only `address` is there when the request waits at the rendezvous.
#[derive(Clone, Default, PartialEq)]
pub struct Request {
    /// Where to dial for the rest, or for the answer. It holds the ticket, so it is a secret.
    pub address: String,
    /// The id that the response repeats.
    pub id: Option<String>,
    /// Path and query, the entity included.
    pub request_target: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The headers.
    pub request_headers: HeaderMap,
    /// The sender's address.
    pub remote_endpoint: Option<SocketAddr>,
    /// Whether a binary message with the body follows.
    pub body: Option<bool>,
}

impl Request {
    /// The message, for a listener without features.
    pub fn to_json(&self) -> String {
        self.to_json_for(&Features::none())
    }

    /// The message, for a listener with these features: repeated headers are arrays where that was agreed on (protocol.md 3.10).
    pub fn to_json_for(&self, features: &Features) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            address: &'a str,
            #[serde(flatten)]
            rest: Option<Rest<'a>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Rest<'a> {
            body: bool,
            id: &'a str,
            method: &'a str,
            remote_endpoint: EndpointJson,
            request_headers: HeadersJson<'a>,
            request_target: &'a str,
        }
        // The marker for a request that waits at the rendezvous is the address alone.
        let rest = match (&self.id, &self.request_target, &self.method, self.body) {
            (Some(id), Some(request_target), Some(method), Some(body)) => Some(Rest {
                body,
                id,
                method,
                remote_endpoint: EndpointJson::new(self.remote_endpoint),
                request_headers: HeadersJson(&self.request_headers, features),
                request_target,
            }),
            _ => None,
        };
        message("request", &Fields { address: &self.address, rest })
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// A listener's answer to a request (protocol.md 5.5).
#[derive(Clone, PartialEq)]
pub struct Response {
    /// The request's id.
    pub request_id: String,
    /// The HTTP status as the listener gave it, 0 if that is none; the relay judges its range, so that a bad status fails one request
    /// and not the channel.
    pub status_code: u16,
    /// The reason phrase.
    pub status_description: Option<String>,
    /// The headers.
    pub response_headers: HeaderMap,
    /// Whether a binary message with the body follows.
    pub body: bool,
}

impl Response {
    /// The message, for a relay without features.
    pub fn to_json(&self) -> String {
        self.to_json_for(&Features::none())
    }

    /// The message, for a relay with these features: repeated headers are arrays where that was agreed on (protocol.md 3.10 and
    /// 10, decision 26).
    pub fn to_json_for(&self, features: &Features) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            body: bool,
            request_id: &'a str,
            response_headers: HeadersJson<'a>,
            status_code: u16,
            #[serde(skip_serializing_if = "Option::is_none")]
            status_description: Option<&'a str>,
        }
        let fields = Fields {
            body: self.body,
            request_id: &self.request_id,
            response_headers: HeadersJson(&self.response_headers, features),
            status_code: self.status_code,
            status_description: self.status_description.as_deref(),
        };
        message("response", &fields)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("request_id", &self.request_id)
            .field("status_code", &self.status_code)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// A new token for the control channel (protocol.md 3.6).
#[derive(Clone, PartialEq, Eq)]
pub struct RenewToken {
    /// The token as the listener wrote it. Java writes garbage here.
    pub token: String,
}

impl fmt::Debug for RenewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RenewToken(…)")
    }
}

/// The message that renews a token.
pub fn renew_token_json(token: &str) -> String {
    json!({"renewToken": {"token": token}}).to_string()
}

/// The message that tells which features were accepted (protocol.md 3.10).
pub fn features_json(features: &Features) -> String {
    json!({"features": features.names().collect::<Vec<_>>()}).to_string()
}

/// The message that tells that a request's sender has gone (protocol.md 3.10).
pub fn cancel_json(request_id: &str) -> String {
    json!({"cancel": {"requestId": request_id}}).to_string()
}

/// The message that tells a listener how many events of one publisher it has missed so far (protocol.md 3.10); `id` is that of the
/// accept.
pub fn events_json(id: &str, dropped: u64) -> String {
    json!({"events": {"id": id, "dropped": dropped}}).to_string()
}

impl FromRelay {
    /// Reads a message with the tolerance of protocol.md 9.2.
    ///
    /// # Errors
    ///
    /// What is not JSON, or lacks what it cannot do without.
    pub fn parse(message: &[u8]) -> Result<Self, ControlError> {
        let object = parse_object(message)?;
        if let Some(accept) = object.get("accept") {
            return Ok(Self::Accept(Accept {
                address: string(accept, "accept", "address")?,
                id: string(accept, "accept", "id").unwrap_or_default(),
                connect_headers: headers_from_json(accept.get("connectHeaders")),
                remote_endpoint: endpoint_from_json(accept.get("remoteEndpoint")),
            }));
        }
        if let Some(request) = object.get("request") {
            return Ok(Self::Request(Request {
                address: string(request, "request", "address").unwrap_or_default(),
                id: string(request, "request", "id").ok(),
                request_target: string(request, "request", "requestTarget").ok(),
                method: string(request, "request", "method").ok(),
                request_headers: headers_from_json(request.get("requestHeaders")),
                remote_endpoint: endpoint_from_json(request.get("remoteEndpoint")),
                body: request.get("body").and_then(truth),
            }));
        }
        if let Some(features) = object.get("features") {
            let names = features.as_array().map(Vec::as_slice).unwrap_or_default();
            return Ok(Self::Features(Features::from_names(names.iter().filter_map(Value::as_str))));
        }
        if let Some(cancel) = object.get("cancel") {
            return Ok(Self::Cancel { request_id: string(cancel, "cancel", "requestId")? });
        }
        if let Some(events) = object.get("events") {
            let field = "dropped";
            let dropped = events.get(field).and_then(Value::as_u64);
            let dropped = dropped.ok_or(ControlError::BadField { command: "events", field })?;
            return Ok(Self::Events { id: string(events, "events", "id")?, dropped });
        }
        Ok(Self::Unknown { key: unknown_key(&object) })
    }
}

impl FromListener {
    /// Reads a message with the tolerance of protocol.md 5.5 and 9.1.
    ///
    /// # Errors
    ///
    /// What is not JSON, or lacks what it cannot do without.
    pub fn parse(message: &[u8]) -> Result<Self, ControlError> {
        let object = parse_object(message)?;
        if let Some(response) = object.get("response") {
            let status = response.get("statusCode").and_then(|status| match status {
                Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            });
            return Ok(Self::Response(Response {
                request_id: string(response, "response", "requestId")?,
                status_code: status.unwrap_or_default(),
                status_description: string(response, "response", "statusDescription").ok(),
                response_headers: headers_from_json(response.get("responseHeaders")),
                body: response.get("body").and_then(truth).unwrap_or(false),
            }));
        }
        if let Some(renewal) = object.get("renewToken") {
            // Anything is taken here: a token that is no good is ignored by whoever checks it (decision 7).
            let token = string(renewal, "renewToken", "token").unwrap_or_default();
            return Ok(Self::RenewToken(RenewToken { token }));
        }
        Ok(Self::Unknown { key: unknown_key(&object) })
    }
}

fn parse_object(message: &[u8]) -> Result<Map<String, Value>, ControlError> {
    let text = std::str::from_utf8(message).map_err(|_| ControlError::NotUtf8)?;
    match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ControlError::NotJson),
    }
}

/// The name of a command that is not known, cut so that a log line stays short.
fn unknown_key(object: &Map<String, Value>) -> String {
    object.keys().next().map(|key| key.chars().take(64).collect()).unwrap_or_default()
}

fn string(object: &Value, command: &'static str, field: &'static str) -> Result<String, ControlError> {
    object.get(field).and_then(Value::as_str).map(str::to_owned).ok_or(ControlError::BadField { command, field })
}

/// `true`, or the strings that older Java writes.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Headers as an object: one string for each name, or an array of several where that was agreed on.
struct HeadersJson<'a>(&'a HeaderMap, &'a Features);

impl Serialize for HeadersJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(headers, features) = self;
        let mut object = serializer.serialize_map(None)?;
        for name in headers.keys() {
            let mut values = headers.get_all(name).iter().filter_map(text);
            let Some(first) = values.next() else { continue };
            let Some(second) = values.next() else {
                object.serialize_entry(&canonical_name(name.as_str()), &first)?;
                continue;
            };
            let values: Vec<_> = [first, second].into_iter().chain(values).collect();
            if features.has(Features::HEADER_ARRAYS) {
                object.serialize_entry(&canonical_name(name.as_str()), &values)?;
            } else {
                object.serialize_entry(&canonical_name(name.as_str()), &values.join(joiner(name)))?;
            }
        }
        object.end()
    }
}

/// An address as an object. Java throws without it, .NET parses the address as an IP literal.
#[derive(Serialize)]
struct EndpointJson {
    address: String,
    port: u16,
}

impl EndpointJson {
    fn new(endpoint: Option<SocketAddr>) -> Self {
        let endpoint = endpoint.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        Self { address: endpoint.ip().to_canonical().to_string(), port: endpoint.port() }
    }
}

/// A message: one command and its fields.
fn message(command: &'static str, fields: &impl Serialize) -> String {
    let text = serde_json::to_string(fields).expect("strings, numbers and maps with string keys always serialise");
    format!("{{\"{command}\":{text}}}")
}

/// Strings, or arrays of strings; names and values that HTTP does not allow are dropped.
fn headers_from_json(value: Option<&Value>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in value.and_then(Value::as_object).into_iter().flatten() {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let values = match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
            Value::String(value) => vec![value.as_str()],
            _ => vec![],
        };
        for value in values {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(name.clone(), value);
            }
        }
    }
    headers
}

fn endpoint_from_json(value: Option<&Value>) -> Option<SocketAddr> {
    let address: IpAddr = value?.get("address")?.as_str()?.parse().ok()?;
    let port = match value?.get("port") {
        Some(Value::Number(port)) => port.as_u64().and_then(|port| u16::try_from(port).ok())?,
        Some(Value::String(port)) => port.parse().ok()?,
        _ => 0,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accept() -> Accept {
        let mut connect_headers = HeaderMap::new();
        connect_headers.append("sec-websocket-key", HeaderValue::from_static("abc"));
        connect_headers.append("x-custom", HeaderValue::from_static("one"));
        connect_headers.append("x-custom", HeaderValue::from_static("two"));
        connect_headers.append("cookie", HeaderValue::from_static("a=1"));
        connect_headers.append("cookie", HeaderValue::from_static("b=2"));
        Accept {
            address: "wss://node1/$hc/hyco?sb-hc-action=accept&sb-hc-ticket=s3cret".into(),
            id: "3f9a6c52-2f0d-4d0e-9a53-6a2d5b1f2c11_G0".into(),
            connect_headers,
            remote_endpoint: Some("203.0.113.7:62917".parse().unwrap()),
        }
    }

    #[test]
    fn an_accept_has_all_four_fields_and_canonical_names() {
        let json: Value = serde_json::from_str(&accept().to_json()).unwrap();
        let accept = &json["accept"];
        assert_eq!(
            accept["connectHeaders"],
            json!({"Sec-WebSocket-Key": "abc", "X-Custom": "one, two", "Cookie": "a=1; b=2"})
        );
        assert_eq!(accept["remoteEndpoint"], json!({"address": "203.0.113.7", "port": 62917}));
        assert!(accept["address"].is_string() && accept["id"].is_string());
    }

    #[test]
    fn an_accept_without_remote_endpoint_and_headers_is_read() {
        let parsed =
            FromRelay::parse(br#"{"accept":{"id":"7_G1_G2","new":1,"address":"wss:\/\/h\/$hc\/x?"}}"#).unwrap();
        let FromRelay::Accept(accept) = parsed else { panic!("{parsed:?}") };
        assert_eq!((accept.address.as_str(), accept.id.as_str()), ("wss://h/$hc/x?", "7_G1_G2"));
        assert_eq!(accept.remote_endpoint, None);
    }

    #[test]
    fn a_marker_holds_only_the_address() {
        let marker = Request { address: "wss://h/$hc/x?".into(), ..Request::default() };
        assert_eq!(marker.to_json(), r#"{"request":{"address":"wss://h/$hc/x?"}}"#);
        assert_eq!(FromRelay::parse(marker.to_json().as_bytes()), Ok(FromRelay::Request(marker)));
    }

    #[test]
    fn repeated_headers_are_arrays_only_where_that_was_agreed_on() {
        let mut response_headers = HeaderMap::new();
        response_headers.append("set-cookie", HeaderValue::from_static("a=1, 2"));
        response_headers.append("set-cookie", HeaderValue::from_static("b=2"));
        response_headers.append("etag", HeaderValue::from_static("7"));
        let response = Response {
            request_id: "r".into(),
            status_code: 200,
            status_description: None,
            response_headers,
            body: false,
        };
        let headers =
            |json: String| serde_json::from_str::<Value>(&json).unwrap()["response"]["responseHeaders"].clone();
        assert_eq!(headers(response.to_json()), json!({"Set-Cookie": "a=1, 2, b=2", "ETag": "7"}));
        let arrays = response.to_json_for(&Features::known());
        assert_eq!(FromListener::parse(arrays.as_bytes()), Ok(FromListener::Response(response)));
        assert_eq!(headers(arrays), json!({"Set-Cookie": ["a=1, 2", "b=2"], "ETag": "7"}));
    }

    #[test]
    fn a_response_may_write_status_and_body_as_strings() {
        let parsed = FromListener::parse(
            br#"{"response":{"requestId":"r","statusCode":"201","body":"True","responseHeaders":null}}"#,
        );
        let Ok(FromListener::Response(response)) = parsed else { panic!("{parsed:?}") };
        assert_eq!((response.status_code, response.body), (201, true));
        let parsed = FromListener::parse(br#"{"response":{"requestId":"r","statusCode":200,"body":"null"}}"#);
        assert!(matches!(parsed, Ok(FromListener::Response(Response { body: false, .. }))));
    }

    #[test]
    fn a_status_that_is_none_spoils_no_more_than_its_response() {
        for status in ["70000", "-1", "\"abc\"", "null", "2.5"] {
            let text = format!(r#"{{"response":{{"requestId":"r","statusCode":{status},"body":true}}}}"#);
            let parsed = FromListener::parse(text.as_bytes());
            let Ok(FromListener::Response(response)) = parsed else { panic!("{parsed:?}") };
            assert_eq!((response.status_code, response.body), (0, true), "{status}");
        }
    }

    #[test]
    fn unknown_commands_are_told_apart_from_broken_ones() {
        assert_eq!(FromRelay::parse(br#"{"teleport":{}}"#), Ok(FromRelay::Unknown { key: "teleport".into() }));
        assert_eq!(FromListener::parse(b"[]").unwrap_err().close_code(), 1002);
        assert_eq!(FromListener::parse(b"\xFF").unwrap_err().close_code(), 1007);
        assert!(FromListener::parse(br#"{"response":{"statusCode":200}}"#).is_err());
    }

    #[test]
    fn what_was_missed_is_told_with_the_id_of_the_accept() {
        let told = FromRelay::Events { id: "7_G0".into(), dropped: 3 };
        assert_eq!(FromRelay::parse(events_json("7_G0", 3).as_bytes()), Ok(told));
        for broken in
            [r#"{"events":{"id":"7_G0"}}"#, r#"{"events":{"id":"7_G0","dropped":-1}}"#, r#"{"events":{"dropped":1}}"#]
        {
            assert!(FromRelay::parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_renewal_may_hold_garbage() {
        let parsed =
            FromListener::parse(br#"{"renewToken":{"token":"com.microsoft.SharedAccessSignatureToken@1b2c3d"}}"#);
        assert!(matches!(parsed, Ok(FromListener::RenewToken(_))));
        let renewal = renew_token_json("a\"b");
        assert_eq!(
            FromListener::parse(renewal.as_bytes()),
            Ok(FromListener::RenewToken(RenewToken { token: "a\"b".into() }))
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let shown = format!("{:?} {:?}", accept(), RenewToken { token: "s3cret".into() });
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_a_peer_sends_panics(bytes: Vec<u8>, text: String) {
            let _ = FromRelay::parse(&bytes);
            let _ = FromListener::parse(text.as_bytes());
        }

        #[test]
        fn an_accept_survives_the_wire(path in "[a-zA-Z0-9/._~-]{0,40}", id in "[0-9a-f-]{36}(_G[0-9])?", value in "[ -~]{0,20}") {
            let mut accept = accept();
            accept.address = format!("wss://h/$hc/{path}?");
            accept.id = id;
            accept.connect_headers = HeaderMap::new();
            accept.connect_headers.insert("x-value", HeaderValue::from_str(&value).unwrap());
            prop_assert_eq!(FromRelay::parse(accept.to_json().as_bytes()), Ok(FromRelay::Accept(accept)));
        }
    }
}
