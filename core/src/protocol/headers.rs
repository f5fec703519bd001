//! Header rules: names of the protocol, canonical case, and what is filtered where.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The header that carries a token in every official client.
pub const SERVICE_BUS_AUTHORIZATION: HeaderName = HeaderName::from_static("servicebusauthorization");
/// Features offered and accepted (protocol.md 3.10).
pub const RELAY_FEATURES: HeaderName = HeaderName::from_static("relay-features");
/// What a listener says of itself to those who look for it (protocol.md 10, decision 72).
pub const RELAY_LABELS: HeaderName = HeaderName::from_static("relay-labels");
/// The client's name and version.
pub const RELAY_USER_AGENT: HeaderName = HeaderName::from_static("relay-user-agent");
/// The id of an attempt, on every relay-made answer (protocol.md 10, decision 50).
pub const TRACKING_ID: HeaderName = HeaderName::from_static("trackingid");
/// Why the relay itself refuses a request, in a word that never changes: where neither a reason phrase nor a body can tell of it, as in
/// the answer to a HEAD by HTTP/2 (protocol.md 5.8).
pub const RELAY_REASON: HeaderName = HeaderName::from_static("relay-reason");
/// How a request is delivered: [`ONE_WAY`], or absent. Of a sender a wish, of our relay the answer to it, and the mark of such a request
/// at the listener (protocol.md 5.10, 11.4).
pub const RELAY_DELIVERY: HeaderName = HeaderName::from_static("relay-delivery");
/// How many listeners a one-way request was handed to, where that is not one.
pub const RELAY_DELIVERED: HeaderName = HeaderName::from_static("relay-delivered");
/// The one value of [`RELAY_DELIVERY`].
pub const ONE_WAY: &str = "one-way";
/// Restricts the choice among listeners (protocol.md 3.3).
pub const ALLOWED_LISTENERS: HeaderName = HeaderName::from_static("microsoft-relay-allowedlisteners");
/// Excludes listeners (protocol.md 3.3).
pub const DISALLOWED_LISTENERS: HeaderName = HeaderName::from_static("microsoft-relay-disallowedlisteners");

/// Names whose canonical case is not the first letter of each word (protocol.md 10, decision 52).
const SPECIAL: [(&str, &str); 12] = [
    ("dnt", "DNT"),
    ("etag", "ETag"),
    ("sec-websocket-accept", "Sec-WebSocket-Accept"),
    ("sec-websocket-extensions", "Sec-WebSocket-Extensions"),
    ("sec-websocket-key", "Sec-WebSocket-Key"),
    ("sec-websocket-protocol", "Sec-WebSocket-Protocol"),
    ("sec-websocket-version", "Sec-WebSocket-Version"),
    ("servicebusauthorization", "ServiceBusAuthorization"),
    ("te", "TE"),
    ("trackingid", "TrackingId"),
    ("www-authenticate", "WWW-Authenticate"),
    ("x-ms-request-id", "x-ms-request-id"),
];

/// The canonical case of a header name: HTTP libraries lower-case names, but Java users look them up case-sensitively.
pub fn canonical_name(name: &str) -> String {
    if let Some((_, special)) = SPECIAL.iter().find(|(lower, _)| lower.eq_ignore_ascii_case(name)) {
        return (*special).to_owned();
    }
    let mut canonical = String::with_capacity(name.len());
    let mut begins = true;
    for character in name.chars() {
        canonical.push(if begins { character.to_ascii_uppercase() } else { character.to_ascii_lowercase() });
        begins = character == '-';
    }
    canonical
}

/// The sender's handshake headers as the listener gets them: all but the token and the choice of listeners (protocol.md 4.1).
pub fn connect_headers(headers: &HeaderMap) -> HeaderMap {
    let mut filtered = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let consumed = name == SERVICE_BUS_AUTHORIZATION || name == ALLOWED_LISTENERS || name == DISALLOWED_LISTENERS;
        if !consumed && text(value).is_some() {
            filtered.append(name.clone(), value.clone());
        }
    }
    filtered
}

/// Headers that belong to one connection and not to the message, both ways (protocol.md 5.5, 5.6 and 10, decision 28).
const HOP_BY_HOP: [&str; 9] = [
    "close",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers of a relayed request or response without those of its connection: the known ones and those that `Connection` names.
pub fn without_hop_by_hop(headers: &HeaderMap) -> HeaderMap {
    let lists = headers.get_all(header::CONNECTION).into_iter().filter_map(|list| list.to_str().ok());
    let named: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
    let stays = |name: &HeaderName| {
        let name = name.as_str();
        !HOP_BY_HOP.contains(&name) && !named.iter().any(|named| named.eq_ignore_ascii_case(name))
    };
    let kept = headers.iter().filter(|(name, _)| stays(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A header value as text: what travels in JSON. `None` for values with control characters other than a tab. Bytes that are not UTF-8
/// are read as Latin-1.
pub fn text(value: &HeaderValue) -> Option<Cow<'_, str>> {
    let bytes = value.as_bytes();
    if bytes.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return None;
    }
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    })
}

/// What several values of one header are joined with in JSON, which holds one string per name.
pub(super) fn joiner(name: &HeaderName) -> &'static str {
    if name == header::COOKIE { "; " } else { ", " }
}

/// Which listeners a sender allows, by the GUID of their `sb-hc-id` (protocol.md 3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerFilter {
    allowed: Option<Vec<String>>,
    disallowed: Vec<String>,
}

impl ListenerFilter {
    /// Reads both headers.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let list = |name: HeaderName| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            let ids = values.flat_map(|value| value.split(',')).map(|id| guid(id.trim())).filter(|id| !id.is_empty());
            ids.collect::<Vec<_>>()
        };
        let allowed = headers.contains_key(ALLOWED_LISTENERS).then(|| list(ALLOWED_LISTENERS));
        Self { allowed, disallowed: list(DISALLOWED_LISTENERS) }
    }

    /// Whether the listener with this id may be chosen. All listeners that share a GUID match alike (decision 14).
    pub fn allows(&self, listener_id: &str) -> bool {
        let id = guid(listener_id);
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&id)) && !self.disallowed.contains(&id)
    }

    /// Whether every listener is allowed.
    pub fn is_open(&self) -> bool {
        self.allowed.is_none() && self.disallowed.is_empty()
    }
}

/// An id without its `_G…` suffixes, comparable.
fn guid(id: &str) -> String {
    id.split('_').next().unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_canonical_case() {
        for (name, canonical) in [
            ("sec-websocket-key", "Sec-WebSocket-Key"),
            ("x-custom-id", "X-Custom-Id"),
            ("etag", "ETag"),
            ("HOST", "Host"),
            ("www-authenticate", "WWW-Authenticate"),
        ] {
            assert_eq!(canonical_name(name), canonical);
        }
    }

    #[test]
    fn only_the_token_and_the_choice_of_listeners_are_taken_out() {
        let mut headers = HeaderMap::new();
        for name in [
            "servicebusauthorization",
            "microsoft-relay-allowedlisteners",
            "microsoft-relay-disallowedlisteners",
            "authorization",
            "cookie",
            "host",
            "upgrade",
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        let names: Vec<_> = connect_headers(&headers).keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["authorization", "cookie", "host", "upgrade"]);
    }

    #[test]
    fn headers_of_the_connection_do_not_travel() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = without_hop_by_hop(&headers);
        assert_eq!(kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["set-cookie", "set-cookie"]);
    }

    #[test]
    fn a_filter_compares_guids_without_suffix_and_case() {
        let mut headers = HeaderMap::new();
        assert!(ListenerFilter::from_headers(&headers).is_open());
        headers.insert(ALLOWED_LISTENERS, HeaderValue::from_static("AAAA-1, bbbb-2"));
        headers.insert(DISALLOWED_LISTENERS, HeaderValue::from_static("bbbb-2"));
        let filter = ListenerFilter::from_headers(&headers);
        assert!(filter.allows("aaaa-1_G0"));
        assert!(!filter.allows("bbbb-2"));
        assert!(!filter.allows("cccc-3"));
    }
}
