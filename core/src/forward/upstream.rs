//! The way to the server.

use std::error::Error as StdError;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version, header};
use http_body::Body as _;
use hyper_util::client::legacy::Client;

use super::target::{ForwardTarget, Place};
use crate::dial::{ClientTls, Dialer, HttpConnector, Routing};
use crate::env::{BoxSocket, Env};
use crate::http::Body;
use crate::{Error, ErrorKind, Result};

/// How long a server may take to be reached.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection is kept for the next request. Many servers keep theirs for 5 s only; one that closes first loses a request.
const IDLE: Duration = Duration::from_secs(4);

pub(super) struct Upstream {
    dialer: Dialer,
    target: ForwardTarget,
    http: Option<HttpServer>,
}

/// A server that speaks HTTP, and the connections to it.
pub(super) struct HttpServer {
    client: Client<HttpConnector, Body>,
    scheme: Scheme,
    authority: Authority,
    base: String,
}

impl Upstream {
    pub(super) fn new(env: Env, tls: ClientTls, target: ForwardTarget) -> Self {
        let dialer = Dialer::new(env.clone(), tls, Routing::Direct, HeaderMap::new());
        let http = match &target {
            ForwardTarget::Http { tls, authority, base } => Some(HttpServer {
                client: Client::builder(env.clone())
                    .timer(env.clone())
                    .pool_timer(env)
                    .pool_idle_timeout(IDLE)
                    // HTTP/1.1 keeps the sender's Host apart from the server's address.
                    .build(HttpConnector::new(dialer.clone(), DIAL_LIMIT).http1_only()),
                scheme: if *tls { Scheme::HTTPS } else { Scheme::HTTP },
                authority: authority.clone(),
                base: base.clone(),
            }),
            ForwardTarget::Tcp { .. } | ForwardTarget::Unix(_) => None,
        };
        Self { dialer, target, http }
    }

    pub(super) fn env(&self) -> &Env {
        self.dialer.env()
    }

    /// The server, if it speaks HTTP.
    pub(super) fn http(&self) -> Option<&HttpServer> {
        self.http.as_ref()
    }

    /// A socket of its own to the server, TLS included.
    pub(super) async fn dial(&self) -> Result<BoxSocket> {
        let dialling = async {
            match &self.target {
                ForwardTarget::Http { tls, authority, .. } => self.dialer.open_socket(*tls, authority).await,
                ForwardTarget::Tcp { host, port } => self.dialer.open_tcp(host, *port).await,
                ForwardTarget::Unix(path) => self.env().dial_unix(path).await.map_err(|error| {
                    Error::new(ErrorKind::Network, format!("cannot connect to {}", path.display()))
                        .with_reason(error.to_string())
                        .with_source(error)
                }),
            }
        };
        self.env().timeout(DIAL_LIMIT, dialling).await.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Timeout, format!("no answer within {} s", DIAL_LIMIT.as_secs())))
        })
    }

    /// Where a WebSocket's handshake says that it goes: the sender's host and the server's path.
    pub(super) fn websocket_uri(&self, place: &Place, host: Option<&HeaderValue>) -> Result<Uri> {
        let (own, base) = match &self.http {
            Some(server) => (server.authority.clone(), server.base.as_str()),
            None => (Authority::from_static("localhost"), ""),
        };
        let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok()).unwrap_or(own);
        // The scheme is not sent.
        place.uri(Scheme::HTTP, host, base)
    }
}

impl HttpServer {
    /// Host and port as they were given.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The path that all of its resources lie below, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) async fn request(&self, request: Request<Body>, place: &Place) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        parts.uri = place.uri(self.scheme.clone(), self.authority.clone(), &self.base)?;
        parts.version = Version::HTTP_11;
        if body.size_hint().exact().is_none() {
            // What the sender counted was lost on the way, if it counted at all: the body is framed anew.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let response = self.client.request(Request::from_parts(parts, body)).await.map_err(|error| failed(&error))?;
        Ok(response.map(Body::new))
    }
}

/// Our own error, where it is one, or what hyper says.
fn failed(error: &hyper_util::client::legacy::Error) -> Error {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(cause) = source {
        if let Some(ours) = cause.downcast_ref::<Error>() {
            return ours.clone();
        }
        last = cause.to_string();
        source = cause.source();
    }
    Error::new(ErrorKind::ConnectionLost, "the exchange broke off").with_reason(last)
}
