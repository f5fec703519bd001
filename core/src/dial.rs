//! How a client WebSocket comes to be: name resolution, TCP, a proxy on the way, TLS, and the HTTP/1.1 upgrade.

use std::fmt;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use bytes::Bytes;

use crate::env::{BoxSocket, Env, Socket};
use crate::{Error, ErrorKind, Result};

mod exchange;
mod http;
mod proxy;
mod tcp;
mod tls;
mod upgrade;

pub(crate) use self::http::HttpConnector;
pub use proxy::Proxy;
pub(crate) use proxy::Routing;
pub(crate) use tls::ClientTls;

/// Opens WebSockets to relays: one per listener or sender, shared by all of its sockets.
#[derive(Clone)]
pub(crate) struct Dialer {
    env: Env,
    tls: ClientTls,
    routing: Routing,
    /// Headers of the user's own, sent with every handshake to the namespace.
    headers: HeaderMap,
}

/// Without the headers: they may hold the program's own credentials.
impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("tls", &self.tls).field("routing", &self.routing).finish_non_exhaustive()
    }
}

/// A socket behind a successful upgrade.
pub(crate) struct Upgraded {
    pub(crate) socket: BoxSocket,
    /// Bytes that the peer sent right behind its 101.
    pub(crate) read_buf: Bytes,
    /// The headers of the 101.
    pub(crate) headers: HeaderMap,
    /// The sub-protocol that the peer chose.
    pub(crate) subprotocol: Option<String>,
}

impl Dialer {
    pub(crate) fn new(env: Env, tls: ClientTls, routing: Routing, headers: HeaderMap) -> Self {
        Self { env, tls, routing, headers }
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// The program's own headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Opens a handshake to the namespace, with the program's own headers.
    pub(crate) fn to_namespace(&self, uri: &str) -> Result<Handshake<'_>> {
        let mut handshake = self.to_rendezvous(uri)?;
        handshake.headers.clone_from(&self.headers);
        Ok(handshake)
    }

    /// Opens a handshake to an address that the relay sent: no token, no custom header (protocol.md 4.2).
    pub(crate) fn to_rendezvous(&self, uri: &str) -> Result<Handshake<'_>> {
        Ok(Handshake {
            dialer: self,
            target: DialTarget::parse(uri)?,
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            unacknowledged: None,
        })
    }
}

/// A WebSocket handshake that is being prepared.
pub(crate) struct Handshake<'a> {
    dialer: &'a Dialer,
    target: DialTarget,
    headers: HeaderMap,
    subprotocols: Vec<String>,
    /// How long what was sent may stay unacknowledged by TCP.
    unacknowledged: Option<Duration>,
}

impl Handshake<'_> {
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn headers(mut self, more: &HeaderMap) -> Self {
        // A name given here replaces all values of the same name set before; its own repetitions are kept.
        for name in more.keys() {
            self.headers.remove(name);
        }
        self.headers.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    pub(crate) fn subprotocols(mut self, offered: &[String]) -> Self {
        self.subprotocols = offered.to_vec();
        self
    }

    /// Gives the attempt up when nothing of what was sent is acknowledged for this long: for sockets on which nothing may stall. It
    /// stays set on the socket.
    pub(crate) fn unacknowledged(mut self, limit: Duration) -> Self {
        self.unacknowledged = Some(limit);
        self
    }

    /// Dials and upgrades within `limit`. A refusal comes back as [`Refused`] inside the error of the outer result's kind.
    pub(crate) async fn open(self, limit: Duration) -> Result<Upgraded, DialError> {
        let env = self.dialer.env.clone();
        let mut target = self.target.authority().to_owned();
        if let Ok(Some(proxy)) = self.dialer.routing.proxy_for(&self.target) {
            target = format!("{target} through the proxy {proxy}");
        }
        match env.timeout(limit, self.run()).await {
            Some(outcome) => outcome,
            None => {
                Err(Error::new(ErrorKind::Timeout, format!("no answer from {target} within {} s", limit.as_secs_f32()))
                    .into())
            }
        }
    }

    async fn run(self) -> Result<Upgraded, DialError> {
        let Self { dialer, target, headers, subprotocols, unacknowledged } = self;
        let mut socket = dialer.open_transport(&target).await?;
        if let Some(limit) = unacknowledged {
            socket.set_user_timeout(limit);
        }
        let socket = if target.tls { dialer.tls.handshake(socket, &target.host).await? } else { socket };
        upgrade::upgrade(&dialer.env, socket, &target, headers, &subprotocols).await
    }
}

/// Upgrades a socket that is open already. `uri` says where its other end believes to be.
pub(crate) async fn upgrade_over(
    env: &Env,
    socket: BoxSocket,
    uri: &str,
    headers: HeaderMap,
    subprotocols: &[String],
) -> Result<Upgraded, DialError> {
    upgrade::upgrade(env, socket, &DialTarget::parse(uri)?, headers, subprotocols).await
}

/// Why a dial failed: below HTTP, or by an HTTP answer other than 101.
#[derive(Debug)]
pub(crate) enum DialError {
    Failed(Error),
    Refused(Refused),
}

/// An HTTP answer other than 101.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("status", &self.status).field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl From<Error> for DialError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Where to dial: the parts of a `ws://` or `wss://` URI, path and query byte for byte.
struct DialTarget {
    tls: bool,
    host: String,
    port: u16,
    uri: Uri,
}

impl DialTarget {
    fn parse(text: &str) -> Result<Self> {
        // Query strings hold tickets and tokens: the text itself never reaches an error.
        let invalid = |what: &str| Error::invalid(format!("the WebSocket address {what}"));
        let uri: Uri = text.parse().map_err(|_| invalid("is not a valid URI"))?;
        let tls = match uri.scheme_str() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            _ => return Err(invalid("does not begin with ws:// or wss://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| invalid("has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, uri })
    }

    fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// Host and port, also where the URI leaves the port out: what a proxy is asked for.
    fn host_and_port(&self) -> String {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_keeps_path_and_query_byte_for_byte() {
        let target = DialTarget::parse("wss://node1:9443/$hc/a%2Fb?x=%41&&sb-hc-action=accept").unwrap();
        assert!(target.tls);
        assert_eq!((target.host.as_str(), target.port), ("node1", 9443));
        assert_eq!(target.uri.path_and_query().unwrap().as_str(), "/$hc/a%2Fb?x=%41&&sb-hc-action=accept");
    }

    #[test]
    fn a_target_without_port_uses_the_schemes() {
        assert_eq!(DialTarget::parse("ws://h/x?").unwrap().port, 80);
        assert_eq!(DialTarget::parse("wss://[::1]/x?").unwrap().host, "::1");
        assert_eq!(DialTarget::parse("wss://h/x?").unwrap().port, 443);
    }

    #[test]
    fn a_bad_target_is_refused_without_showing_its_query() {
        let error = DialTarget::parse("ftp://h/x?sb-hc-ticket=secret").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
