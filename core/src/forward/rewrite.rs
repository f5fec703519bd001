//! What changes in heads on the way to the server and back, where that was asked for.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rewriting {
    /// The hybrid connection's name is taken off.
    pub(super) strip: bool,
    /// Responses are adapted to it.
    pub(super) responses: bool,
    /// The server is told who asks.
    pub(super) forwarded: bool,
    /// Senders reach the relay over TLS, as the listener does.
    pub(super) secure: bool,
}

impl Rewriting {
    pub(super) fn request(&self, headers: &mut HeaderMap, from: Option<IpAddr>, mount: &str) {
        if !self.forwarded {
            return;
        }
        if let Some(from) = from {
            let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
            let list: Vec<String> = before.map(str::to_owned).chain([from.to_string()]).collect();
            set(headers, FORWARDED_FOR, &list.join(", "));
        }
        if let Some(host) = headers.get(header::HOST).cloned() {
            headers.insert(FORWARDED_HOST, host);
        }
        set(headers, FORWARDED_PROTO, if self.secure { "https" } else { "http" });
        if !mount.is_empty() {
            set(headers, FORWARDED_PREFIX, mount);
        }
    }

    pub(super) fn response(&self, headers: &mut HeaderMap, mount: &str, server: &Authority) {
        if !self.responses || mount.is_empty() {
            return;
        }
        if let Some(adapted) =
            headers.get(header::LOCATION).and_then(|value| location(value.to_str().ok()?, mount, server))
        {
            set(headers, header::LOCATION, &adapted);
        }
        if headers.contains_key(header::SET_COOKIE) {
            let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
            headers.remove(header::SET_COOKIE);
            for cookie in cookies {
                let adapted =
                    cookie.to_str().ok().and_then(|text| HeaderValue::from_str(&set_cookie(text, mount)).ok());
                headers.append(header::SET_COOKIE, adapted.unwrap_or(cookie));
            }
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A place on the server as the sender reaches it; `None` for one that needs no change.
fn location(text: &str, mount: &str, server: &Authority) -> Option<String> {
    if text.starts_with("//") {
        return None;
    }
    if text.starts_with('/') {
        return Some(format!("{mount}{text}"));
    }
    let uri: Uri = text.parse().ok()?;
    if !uri.authority()?.as_str().eq_ignore_ascii_case(server.as_str()) {
        return None;
    }
    // A fragment is no part of a URI as HTTP libraries know it.
    let fragment = text.split_once('#').map_or(String::new(), |(_, fragment)| format!("#{fragment}"));
    Some(format!("{mount}{}{fragment}", uri.path_and_query().map_or("/", |target| target.as_str())))
}

/// A cookie whose path, if it has one, lies below the mount point.
fn set_cookie(text: &str, mount: &str) -> String {
    let attributes = text.split(';').map(|attribute| {
        let Some((name, path)) = attribute.split_once('=') else { return attribute.to_owned() };
        if name.trim().eq_ignore_ascii_case("path") && path.trim().starts_with('/') {
            format!("{name}={mount}{}", path.trim())
        } else {
            attribute.to_owned()
        }
    });
    attributes.collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_the_server_move_below_the_mount_point() {
        let server = Authority::from_static("127.0.0.1:8080");
        for (text, adapted) in [
            ("/login?x=1", Some("/hyco/login?x=1")),
            ("http://127.0.0.1:8080/a#b", Some("/hyco/a#b")),
            ("http://127.0.0.1:8080", Some("/hyco/")),
            ("//cdn.example.net/x", None),
            ("https://elsewhere.example.net/x", None),
            ("next", None),
        ] {
            assert_eq!(location(text, "/hyco", &server).as_deref(), adapted, "{text}");
        }
    }

    #[test]
    fn cookies_move_with_their_path() {
        assert_eq!(set_cookie("a=/x; Path=/; HttpOnly", "/hyco"), "a=/x; Path=/hyco/; HttpOnly");
        assert_eq!(
            set_cookie("a=1; path=/in; Expires=Wed, 21 Oct", "/hyco"),
            "a=1; path=/hyco/in; Expires=Wed, 21 Oct"
        );
        assert_eq!(set_cookie("a=1", "/hyco"), "a=1");
    }

    #[test]
    fn the_server_is_told_who_asks_only_where_that_is_wanted() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("relay.example.net"));
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        let before = headers.clone();
        Rewriting::default().request(&mut headers, Some([203, 0, 113, 7].into()), "/hyco");
        assert_eq!(headers, before);
        let told = Rewriting { forwarded: true, secure: true, ..Rewriting::default() };
        told.request(&mut headers, Some([203, 0, 113, 7].into()), "/hyco");
        assert_eq!(headers[FORWARDED_FOR], "198.51.100.1, 203.0.113.7");
        assert_eq!(headers[FORWARDED_HOST], "relay.example.net");
        assert_eq!(headers[FORWARDED_PROTO], "https");
        assert_eq!(headers[FORWARDED_PREFIX], "/hyco");
    }
}
