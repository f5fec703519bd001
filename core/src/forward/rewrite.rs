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

    pub(super) fn response(&self, headers: &mut HeaderMap, mount: &str, server: &Authority, base: &str) {
        if !self.responses || mount.is_empty() {
            return;
        }
        let moved = Moved { mount, base };
        if let Some(adapted) =
            headers.get(header::LOCATION).and_then(|value| moved.location(value.to_str().ok()?, server))
        {
            set(headers, header::LOCATION, &adapted);
        }
        if headers.contains_key(header::SET_COOKIE) {
            let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
            headers.remove(header::SET_COOKIE);
            for cookie in cookies {
                let adapted = cookie.to_str().ok().and_then(|text| HeaderValue::from_str(&moved.set_cookie(text)).ok());
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

/// Where senders find what the server has below `base`: below `mount`.
struct Moved<'a> {
    mount: &'a str,
    base: &'a str,
}

impl Moved<'_> {
    /// A path as the sender knows it; `None` for one that no sender can reach.
    fn path(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix(self.base)?;
        if below.starts_with('/') {
            return Some(format!("{}{below}", self.mount));
        }
        (below.is_empty() || below.starts_with(['?', '#'])).then(|| format!("{}/{below}", self.mount))
    }

    /// A place on the server as the sender reaches it; `None` for one that needs no change.
    fn location(&self, text: &str, server: &Authority) -> Option<String> {
        if text.starts_with("//") {
            return None;
        }
        if text.starts_with('/') {
            return self.path(text);
        }
        let uri: Uri = text.parse().ok()?;
        if !uri.authority()?.as_str().eq_ignore_ascii_case(server.as_str()) {
            return None;
        }
        let path = self.path(uri.path_and_query().map_or("/", |target| target.as_str()))?;
        // A fragment is no part of a URI as HTTP libraries know it.
        let fragment = text.split_once('#').map_or(String::new(), |(_, fragment)| format!("#{fragment}"));
        Some(format!("{path}{fragment}"))
    }

    /// A cookie whose path, if it has one, lies below the mount point. One for everything above the base is one for all below it.
    fn set_cookie(&self, text: &str) -> String {
        let attributes = text.split(';').map(|attribute| {
            let Some((name, path)) = attribute.split_once('=') else { return attribute.to_owned() };
            if !name.trim().eq_ignore_ascii_case("path") {
                return attribute.to_owned();
            }
            let path = path.trim();
            let covers_base = self.base.strip_prefix(path.trim_end_matches('/'));
            let moved = match covers_base {
                Some(rest) if path.starts_with('/') && (rest.is_empty() || rest.starts_with('/')) => {
                    Some(format!("{}/", self.mount))
                }
                _ if path.starts_with('/') => self.path(path),
                _ => None,
            };
            moved.map_or_else(|| attribute.to_owned(), |path| format!("{name}={path}"))
        });
        attributes.collect::<Vec<_>>().join(";")
    }
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
            let moved = Moved { mount: "/hyco", base: "" };
            assert_eq!(moved.location(text, &server).as_deref(), adapted, "{text}");
        }
    }

    #[test]
    fn the_base_of_a_server_is_not_doubled() {
        let server = Authority::from_static("127.0.0.1:8080");
        let moved = Moved { mount: "/hyco", base: "/base" };
        for (text, adapted) in [
            ("/base/next?x#y", Some("/hyco/next?x#y")),
            ("/base", Some("/hyco/")),
            ("/base?x", Some("/hyco/?x")),
            ("http://127.0.0.1:8080/base/a#b", Some("/hyco/a#b")),
            // Nothing leads there from here.
            ("/based", None),
            ("/elsewhere", None),
            ("http://127.0.0.1:8080/", None),
        ] {
            assert_eq!(moved.location(text, &server).as_deref(), adapted, "{text}");
        }
        for (path, adapted) in [
            ("/base/in", "/hyco/in"),
            ("/base", "/hyco/"),
            ("/base/", "/hyco/"),
            ("/", "/hyco/"),
            ("/based", "/based"),
            ("/b", "/b"),
            ("in", "in"),
        ] {
            assert_eq!(moved.set_cookie(&format!("a=1; Path={path}")), format!("a=1; Path={adapted}"), "{path}");
        }
    }

    #[test]
    fn cookies_move_with_their_path() {
        let moved = Moved { mount: "/hyco", base: "" };
        assert_eq!(moved.set_cookie("a=/x; Path=/; HttpOnly"), "a=/x; Path=/hyco/; HttpOnly");
        assert_eq!(moved.set_cookie("a=1; path=/in; Expires=Wed, 21 Oct"), "a=1; path=/hyco/in; Expires=Wed, 21 Oct");
        assert_eq!(moved.set_cookie("a=1"), "a=1");
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
