//! Header fields on their way through: to the listener (protocol.md 5.6), and back to the sender (5.5).

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Version};
use hybridrelay::protocol::headers;

/// What concerns a single connection, either way, beside the names in `Connection` and all that begin with `Proxy-`.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("close"),
];

/// A sender's headers as the listener gets them. `authorization` tells that the relay used that header itself.
pub(crate) fn to_listener(sent: &HeaderMap, authorization: bool, version: Version, host: &str) -> HeaderMap {
    let named = named_in_connection(sent);
    let mut fields = HeaderMap::with_capacity(sent.len() + 1);
    for (name, value) in sent {
        let consumed = name == headers::SERVICE_BUS_AUTHORIZATION
            || name == headers::ALLOWED_LISTENERS
            || name == headers::DISALLOWED_LISTENERS
            || name == headers::RELAY_DELIVERY
            || name == header::EXPECT
            || name == header::CONTENT_LENGTH
            || (authorization && name == header::AUTHORIZATION);
        if !consumed && !is_hop_by_hop(name, &named) && headers::text(value).is_some() {
            fields.append(name.clone(), value.clone());
        }
    }
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    via(&mut fields, version, host);
    fields
}

/// A listener's headers as the sender gets them. `length` keeps a `Content-Length`: of a body that is not sent.
pub(crate) fn to_sender(given: HeaderMap, length: bool, host: &str) -> HeaderMap {
    let named = named_in_connection(&given);
    let mut fields = HeaderMap::with_capacity(given.len() + 1);
    for (name, value) in &given {
        if name == header::CONTENT_LENGTH {
            if length && let Some(value) = length_of(value) {
                fields.insert(name.clone(), value);
            }
        } else if name == header::SET_COOKIE {
            for cookie in split_cookies(value.as_bytes()) {
                // A part of a valid value between commas is valid.
                if let Ok(cookie) = HeaderValue::from_bytes(cookie) {
                    fields.append(header::SET_COOKIE, cookie);
                }
            }
        } else if name != headers::RELAY_DELIVERY && !is_hop_by_hop(name, &named) {
            fields.append(name.clone(), value.clone());
        }
    }
    via(&mut fields, "1.1", host);
    fields
}

fn is_hop_by_hop(name: &HeaderName, named: &[HeaderName]) -> bool {
    HOP_BY_HOP.contains(name) || name.as_str().starts_with("proxy-") || named.contains(name)
}

/// The headers that `Connection` lists. `Host` is not among those that a client may take away so.
fn named_in_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    let lists = fields.get_all(header::CONNECTION).iter().filter_map(|list| list.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok());
    names.filter(|name| name != header::HOST).collect()
}

/// Tells that the message passed here. On an answer it shows that a listener made it, and not the relay.
fn via(fields: &mut HeaderMap, version: &str, host: &str) {
    if let Ok(entry) = HeaderValue::from_str(&format!("{version} {host}")) {
        fields.append(header::VIA, entry);
    }
}

fn length_of(value: &HeaderValue) -> Option<HeaderValue> {
    Some(HeaderValue::from(value.to_str().ok()?.trim().parse::<u64>().ok()?))
}

/// Cookies that were joined because a message holds one string for each name (protocol.md 10, decision 26): split at each comma that a
/// name and `=` follow, so not within `Expires=Wed, 21 Oct…`.
fn split_cookies(joined: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(joined);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let border = (0..text.len()).find(|&at| text[at] == b',' && begins_a_cookie(&text[at + 1..]));
        let (cookie, behind) = match border {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = behind;
        Some(cookie.trim_ascii())
    })
    .filter(|cookie| !cookie.is_empty())
}

fn begins_a_cookie(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let name = text.iter().take_while(|byte| token(byte)).count();
    name > 0 && text.get(name) == Some(&b'=')
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Header fields, of which several may have one name.
    pub(in crate::gateway) fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut fields = HeaderMap::new();
        lines.iter().map(line).for_each(|(name, value)| _ = fields.append(name, value));
        fields
    }

    fn lines(fields: &HeaderMap) -> Vec<(&str, &str)> {
        fields.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII"))).collect()
    }

    const HOP: [(&str, &str); 10] = [
        ("connection", "close, X-Private, Host"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("keep-alive", "timeout=5"),
        ("close", "1"),
        ("proxy-authorization", "Basic eDp5"),
        ("proxy-connection", "close"),
        ("x-private", "mine"),
    ];

    #[test]
    fn a_listener_gets_everything_that_is_not_for_the_relay_or_the_connection() {
        let mut sent = fields(&HOP);
        sent.extend(fields(&[
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("servicebusauthorization", "token"),
            ("microsoft-relay-allowedlisteners", "x"),
            ("microsoft-relay-disallowedlisteners", "x"),
            ("relay-delivery", "one-way"),
            ("host", "relay.example.net:8443"),
            ("authorization", "Basic eDp5"),
            ("x-forwarded-for", "203.0.113.7"),
            ("via", "1.0 front"),
        ]));
        let expected = [
            ("host", "relay.example.net:8443"),
            ("authorization", "Basic eDp5"),
            ("x-forwarded-for", "203.0.113.7"),
            ("via", "1.0 front"),
            ("via", "2.0 relay.example.net"),
        ];
        let got = to_listener(&sent, false, Version::HTTP_2, "relay.example.net");
        assert_eq!(lines(&got), expected);
        let used = to_listener(&sent, true, Version::HTTP_11, "relay.example.net");
        assert!(!used.contains_key("authorization"));
        assert!(used.get_all("via").iter().any(|entry| entry == "1.1 relay.example.net"));
    }

    #[test]
    fn a_sender_gets_everything_that_is_not_for_the_connection() {
        let mut given = fields(&HOP);
        given.extend(fields(&[
            ("content-length", "5"),
            ("date", "yesterday"),
            ("relay-delivery", "one-way"),
            ("server", "mine"),
            ("etag", "\"a, b\""),
        ]));
        let expected = [("date", "yesterday"), ("server", "mine"), ("etag", "\"a, b\""), ("via", "1.1 relay")];
        assert_eq!(lines(&to_sender(given.clone(), false, "relay")), expected);
        assert_eq!(to_sender(given, true, "relay").get("content-length"), Some(&HeaderValue::from(5)));
        let nonsense = fields(&[("content-length", "five")]);
        assert!(!to_sender(nonsense, true, "relay").contains_key("content-length"));
    }

    #[test]
    fn joined_cookies_get_their_own_lines_again() {
        for (joined, apart) in [
            ("a=1", &["a=1"][..]),
            ("a=1,b=2; Path=/,c=", &["a=1", "b=2; Path=/", "c="]),
            (
                "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/, b=2",
                &["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/", "b=2"],
            ),
            ("a=x, y z,b=2", &["a=x, y z", "b=2"]),
        ] {
            let got = to_sender(fields(&[("set-cookie", joined)]), false, "relay");
            assert_eq!(got.get_all("set-cookie").iter().collect::<Vec<_>>(), apart, "{joined}");
        }
        let array = to_sender(fields(&[("set-cookie", "a=1"), ("set-cookie", "b=2")]), false, "relay");
        assert_eq!(array.get_all("set-cookie").iter().count(), 2);
    }
}
