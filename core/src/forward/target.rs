//! Where to forward, and which path a sender has asked for.

use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::{Error, IncomingConnect, IncomingRequest, Result};

/// A server near the listener.
#[derive(Clone, Debug)]
pub(super) enum ForwardTarget {
    Http { tls: bool, authority: Authority, base: String },
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl FromStr for ForwardTarget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shown = shown(text);
        let invalid = |why: &str| {
            Error::invalid(format!("{shown:?} is nothing to forward to: {why}"))
                .with_hint("give http://host:port, https://host:port, tcp://host:port or unix:/path")
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(invalid("it names no path")) } else { Ok(Self::Unix(path.into())) };
        }
        let uri: Uri = text.parse().map_err(|_| invalid("it is no URL"))?;
        let authority = uri.authority().cloned().ok_or_else(|| invalid("it names no host"))?;
        if authority.as_str().contains('@') {
            // Not repeated: it may be a password.
            return Err(Error::invalid("credentials in the URL are not used; let the server do without"));
        }
        if uri.query().is_some() {
            return Err(invalid("it has a query"));
        }
        match uri.scheme_str() {
            Some(scheme @ ("http" | "https")) => {
                let base = uri.path().trim_end_matches('/').to_owned();
                Ok(Self::Http { tls: scheme == "https", authority, base })
            }
            Some("tcp") => {
                let port = authority.port_u16().ok_or_else(|| invalid("it names no port"))?;
                let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(Self::Tcp { host, port })
            }
            _ => Err(invalid("its scheme is not known")),
        }
    }
}

/// A target without what may be secret in it: credentials and the query.
fn shown(text: &str) -> String {
    let plain = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_once("://").map_or(("", plain), |(scheme, rest)| (scheme, rest));
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}://…@{rest}"),
        None => plain.to_owned(),
    }
}

/// What a sender has asked for.
pub(super) struct Place {
    /// The hybrid connection's path where it was taken off, else empty.
    pub(super) mount: String,
    /// The path for the server, in the sender's bytes.
    path: String,
    query: Option<String>,
}

impl Place {
    pub(super) fn of_request(request: &IncomingRequest, strip: bool) -> Self {
        Self::new(request.mount(), request.path(), request.query(), strip)
    }

    pub(super) fn of_connect(connect: &IncomingConnect, strip: bool) -> Self {
        Self::new(&connect.mount(), connect.path(), connect.query(), strip)
    }

    fn new(mount: &str, path: &str, query: Option<&str>, strip: bool) -> Self {
        let query = query.map(str::to_owned);
        if !strip {
            return Self { mount: String::new(), path: format!("{mount}{path}"), query };
        }
        let path = if path.is_empty() { "/" } else { path };
        Self { mount: mount.to_owned(), path: path.to_owned(), query }
    }

    /// The server's URI for it.
    pub(super) fn uri(&self, scheme: Scheme, authority: Authority, base: &str) -> Result<Uri> {
        let query = self.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let invalid = || Error::invalid("the sender's path is not valid");
        let target: PathAndQuery = format!("{base}{}{query}", self.path).parse().map_err(|_| invalid())?;
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target);
        uri.build().map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_every_kind_are_read() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", r#"Http { tls: false, authority: 127.0.0.1:8080, base: "" }"#),
            ("https://host/base/", r#"Http { tls: true, authority: host, base: "/base" }"#),
            ("tcp://[::1]:22", r#"Tcp { host: "::1", port: 22 }"#),
            ("unix:/run/x.sock", r#"Unix("/run/x.sock")"#),
            ("unix:///run/x.sock", r#"Unix("/run/x.sock")"#),
        ] {
            assert_eq!(format!("{:?}", text.parse::<ForwardTarget>().unwrap()), shown);
        }
        for text in ["", "8080", "ftp://h", "tcp://h", "unix:", "http://h/?x=1"] {
            assert!(text.parse::<ForwardTarget>().is_err(), "{text}");
        }
        for text in [
            "http://user:s3cret@h",
            "http://user:s3cret@h h",
            "user:s3cret@h",
            "http://h/?key=s3cret",
            "h?s3cret",
            "h#s3cret",
        ] {
            let error = text.parse::<ForwardTarget>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn the_path_stays_byte_for_byte() {
        let uri = |strip, path, query| {
            let place = Place::new("/hyco", path, query, strip);
            place.uri(Scheme::HTTP, "h:1".parse().unwrap(), "/base").unwrap().to_string()
        };
        assert_eq!(uri(true, "/a%2Fb//c%c3", Some("x=%41&&")), "http://h:1/base/a%2Fb//c%c3?x=%41&&");
        assert_eq!(uri(true, "", None), "http://h:1/base/");
        assert_eq!(uri(false, "", Some("x")), "http://h:1/base/hyco?x");
    }
}
