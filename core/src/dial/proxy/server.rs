//! One proxy: its URL, and how a socket through it comes to be.

use std::fmt;

use http::Uri;
use percent_encoding::percent_decode_str;

use super::{connect, socks};
use crate::dial::{ClientTls, DialTarget, tcp};
use crate::env::{BoxSocket, Env};
use crate::token::Secret;
use crate::{Error, ErrorKind, Result};

/// A proxy and how to reach it. `Display` shows it without credentials.
pub(crate) struct ProxyServer {
    scheme: Scheme,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    /// The environment variable that names this proxy, if one does.
    variable: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// Host names are resolved here.
    Socks5,
    /// Host names are resolved at the proxy.
    Socks5h,
}

pub(super) struct Credentials {
    pub(super) user: Secret,
    pub(super) password: Secret,
}

impl ProxyServer {
    /// Reads the URL of a proxy; without a scheme it is `http://`.
    pub(super) fn parse(text: &str, variable: Option<&'static str>) -> Result<Self> {
        // The text may hold a password wherever it is malformed: no error repeats any of it.
        let invalid = |what: &str| {
            Error::invalid(format!("{} {what}", variable.unwrap_or("the proxy's URL")))
                .with_hint("a proxy is given as http://user:password@host:port, https://…, socks5://… or socks5h://…; special characters in user and password are percent-encoded")
        };
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = Scheme::parse(scheme).ok_or_else(|| invalid("names no proxy of a known kind"))?;
        let uri: Uri = format!("http://{rest}").parse().map_err(|_| invalid("is not a valid URL"))?;
        let authority = uri.authority().ok_or_else(|| invalid("has no host"))?;
        let host = authority.host();
        let (user_info, address) = match authority.as_str().rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, authority.as_str()),
        };
        let port = match address.strip_prefix(host) {
            Some("" | ":") => scheme.default_port(),
            Some(port) => match port.trim_start_matches(':').parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(invalid("has a port that is not a number from 1 to 65535")),
            },
            None => return Err(invalid("is not a valid URL")),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(invalid("has no host"));
        }
        let credentials = user_info
            .map(Credentials::parse)
            .transpose()
            .map_err(|_| invalid("has credentials that are not percent-encoded UTF-8"))?;
        if scheme.is_socks() && credentials.as_ref().is_some_and(|credentials| !credentials.fit_socks()) {
            return Err(invalid("has no user and password of 1 to 255 bytes each, as SOCKS5 wants them"));
        }
        Ok(Self { scheme, host, port, credentials, variable })
    }

    /// Opens a socket through which `target` hears what is written.
    pub(in crate::dial) async fn open(&self, env: &Env, tls: &ClientTls, target: &DialTarget) -> Result<BoxSocket> {
        tracing::debug!(proxy = %self, relay = target.authority(), "dialling through a proxy");
        match self.scheme {
            Scheme::Http => connect::tunnel(self, self.dial(env).await?, target).await,
            Scheme::Https => {
                let socket = self.dial(env).await?;
                let socket = tls.handshake(socket, &self.host).await.map_err(|error| self.out_of_reach(error))?;
                connect::tunnel(self, socket, target).await
            }
            Scheme::Socks5 => socks::tunnel_to_address(self, env, target).await,
            Scheme::Socks5h => socks::tunnel_to_name(self, self.dial(env).await?, target).await,
        }
    }

    /// Connects to the proxy itself.
    pub(super) async fn dial(&self, env: &Env) -> Result<BoxSocket> {
        tcp::connect(env, &self.host, self.port).await.map_err(|error| self.out_of_reach(error))
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// An error that names the proxy.
    pub(super) fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        let error = Error::new(kind, format!("the proxy {self} {what}"));
        match self.variable {
            Some(variable) => error.with_hint(format!("{variable} names this proxy; NO_PROXY lists hosts without one")),
            None => error,
        }
    }

    /// The proxy refuses to serve without credentials, or with those it was given.
    pub(super) fn wants_credentials(&self, reason: impl Into<String>) -> Error {
        let (what, hint) = match &self.credentials {
            Some(_) => ("refuses the user and password in its URL", "check them"),
            None => ("wants credentials", "give them in its URL"),
        };
        let where_from = self.variable.map(|variable| format!(" ({variable})")).unwrap_or_default();
        self.error(ErrorKind::ProxyAuthenticationRequired, what)
            .with_reason(reason)
            .with_hint(format!("{hint}{where_from}: http://user:password@host:port"))
    }

    fn out_of_reach(&self, error: Error) -> Error {
        let named = self.error(error.kind(), "cannot be reached").with_reason(error.to_string());
        match error.hint() {
            Some(hint) if self.variable.is_none() => named.with_hint(hint),
            _ => named,
        }
        .with_source(error)
    }
}

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.scheme.name(), &self.host, self.port);
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Socks5, Self::Socks5h];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }

    fn is_socks(self) -> bool {
        matches!(self, Self::Socks5 | Self::Socks5h)
    }
}

impl Credentials {
    fn parse(user_info: &str) -> Result<Self, std::str::Utf8Error> {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let decode = |text: &str| Ok(Secret::new(percent_decode_str(text).decode_utf8()?));
        Ok(Self { user: decode(user)?, password: decode(password)? })
    }

    fn fit_socks(&self) -> bool {
        [&self.user, &self.password].into_iter().all(|text| (1..=255).contains(&text.expose().len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ProxyServer {
        ProxyServer::parse(text, None).unwrap()
    }

    #[test]
    fn a_proxy_has_the_port_of_its_kind_unless_given() {
        let shown = |text: &str| parse(text).to_string();
        assert_eq!(shown("http://p"), "http://p:80");
        assert_eq!(shown("HTTPS://p/"), "https://p:443");
        assert_eq!(shown("socks5://p"), "socks5://p:1080");
        assert_eq!(shown("socks5h://p:9050"), "socks5h://p:9050");
        assert_eq!(shown("http://[::1]:3128"), "http://[::1]:3128");
        assert_eq!(shown("http://[::1]"), "http://[::1]:80");
        assert_eq!(shown(" p.example:3128/ "), "http://p.example:3128");
        assert_eq!(shown("ann:secret@p:3128"), "http://p:3128");
    }

    #[test]
    fn credentials_are_percent_decoded() {
        let server = parse("http://ann%40corp:p%3Aw%2F@p:3128");
        let credentials = server.credentials().unwrap();
        assert_eq!((credentials.user.expose(), credentials.password.expose()), ("ann@corp", "p:w/"));
        let server = parse("http://ann@p");
        assert_eq!(server.credentials().unwrap().password.expose(), "");
        assert!(parse("http://p").credentials().is_none());
    }

    #[test]
    fn an_unusable_url_is_refused_without_repeating_it() {
        for text in [
            "http://ann:hunter2@",
            "http://ann:hunter2@p:99999",
            "http://ann:hunter2@p:0",
            "http://ann:hunter2@p:x",
            "http://ann:hunter2 @p",
            "http://ann:%ffhunter2@p",
            "ftp://ann:hunter2@p",
            "socks4://ann:hunter2@p",
            "socks5://hunter2@p",
            "socks5://:hunter2@p",
            "hunter2://ann@p",
            "",
        ] {
            let error = ProxyServer::parse(text, None).err().unwrap_or_else(|| panic!("{text} was accepted"));
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_bad_url_in_the_environment_is_reported_by_its_variable() {
        let error = ProxyServer::parse("http://", Some("HTTPS_PROXY")).err().unwrap();
        assert!(error.to_string().starts_with("HTTPS_PROXY "), "{error}");
    }
}
