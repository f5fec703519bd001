//! The sending side of relayed HTTP: requests over pooled connections to the relay.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;

use super::body::Body;
use super::head::ReasonPhrase;
use super::one_way::OneWay;
use crate::dial::HttpConnector;
use crate::listener::USER_AGENT;
use crate::options::Checked;
use crate::protocol::{headers, refusal};
use crate::{Error, ErrorKind, Result};

mod pool;
mod tokens;

use pool::Pool;
use tokens::Tokens;

/// How much of a refusal's body is read for its explanation, and for how long.
const REFUSAL_LIMIT: usize = 64 * 1024;
const REFUSAL_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct HttpClient {
    checked: Arc<Checked>,
    pool: Pool,
    tokens: Option<Tokens>,
}

impl HttpClient {
    pub(crate) fn new(checked: Arc<Checked>) -> Self {
        let env = checked.dialer.env();
        let connector = HttpConnector::new(checked.dialer.clone(), checked.connect_timeout);
        let pool = Pool::new(env, connector, !checked.address.is_plaintext());
        let tokens = checked.credential.clone().map(|credential| {
            Tokens::new(env.clone(), credential, checked.address.audience(), checked.connect_timeout)
        });
        Self { checked, pool, tokens }
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Result<Response<Body>> {
        let request = self.prepare(request).await?;
        self.send(request).await.map(from_listener)
    }

    /// Sends a request of which only the relay's own answer counts.
    pub(crate) async fn one_way(&self, request: Request<Body>) -> Result<OneWay> {
        let mut request = self.prepare(request).await?;
        request.headers_mut().insert(headers::RELAY_DELIVERY, HeaderValue::from_static(headers::ONE_WAY));
        let response = self.send(request).await?;
        OneWay::read(response.status(), response.headers()).ok_or_else(|| {
            let (entity, authority) = (&self.checked.entity, self.checked.address.authority());
            let what = format!("the relay at {authority} does not know one-way requests");
            let hint = "send ordinary requests through this relay";
            Error::new(ErrorKind::Unsupported, format!("{what}; a listener of '{entity}' has answered this one"))
                .with_hint(hint)
        })
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        let client = self.pool.client(request.uri()).await?;
        let response = client.request(request).await.map_err(|error| self.failed(error))?;
        if self.is_relays(&response) { Err(self.refused(response).await) } else { Ok(response) }
    }

    /// Makes what the program wants a request to the relay.
    async fn prepare(&self, request: Request<Body>) -> Result<Request<Body>> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(Error::invalid("CONNECT cannot be relayed; open a connection instead"));
        }
        parts.uri = self.uri(&parts.uri)?;
        parts.version = Version::HTTP_11;
        let length = parts.headers.get(header::CONTENT_LENGTH).cloned();
        let mut fields = headers::without_hop_by_hop(&parts.headers);
        fields.remove(header::HOST);
        if let Some(length) = length.filter(|_| body.size_hint().exact().is_none()) {
            fields.insert(header::CONTENT_LENGTH, length);
        }
        for name in self.checked.dialer.headers().keys() {
            if !fields.contains_key(name) {
                let values = self.checked.dialer.headers().get_all(name);
                fields.extend(values.iter().map(|value| (name.clone(), value.clone())));
            }
        }
        fields.insert(headers::RELAY_USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(tokens) = &self.tokens {
            fields.insert(headers::SERVICE_BUS_AUTHORIZATION, tokens.header().await?);
        }
        parts.headers = fields;
        Ok(Request::from_parts(parts, body))
    }

    /// The program's path and query behind the hybrid connection's name.
    fn uri(&self, uri: &Uri) -> Result<Uri> {
        if uri.authority().is_some() {
            return Err(Error::invalid("a relayed request has a path and no host: the sender knows the relay"));
        }
        let (path, query) = (uri.path(), uri.query());
        let is_relays = |piece: &str| piece.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("sb-hc-"));
        if query.is_some_and(|query| query.split('&').any(is_relays)) {
            return Err(Error::invalid("query parameters that begin with 'sb-hc-' belong to the relay"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let query = query.map_or(String::new(), |query| format!("?{query}"));
        let target: PathAndQuery = format!("/{}{slash}{path}{query}", self.checked.entity)
            .parse()
            .map_err(|_| Error::invalid("the path is not valid"))?;
        let scheme = if self.checked.address.is_plaintext() { "http" } else { "https" };
        let uri = Uri::builder().scheme(scheme).authority(self.checked.address.authority()).path_and_query(target);
        uri.build().map_err(|_| Error::invalid("the relay's address makes no URI"))
    }

    /// Whether the relay and not the listener has answered: every answer of a listener carries `Via` (protocol.md 5.5, 5.8).
    fn is_relays(&self, response: &Response<Incoming>) -> bool {
        let status = response.status();
        (status.is_client_error() || status.is_server_error()) && !response.headers().contains_key(header::VIA)
    }

    async fn refused(&self, response: Response<Incoming>) -> Error {
        let response = from_listener(response);
        let (parts, mut body) = response.into_parts();
        let mut text = Vec::new();
        // A body that breaks off or does not end explains what it has explained.
        let reading = async {
            while let Ok(Some(chunk)) = body.chunk().await {
                text.extend_from_slice(&chunk);
                if text.len() >= REFUSAL_LIMIT {
                    break;
                }
            }
        };
        let _ = self.checked.dialer.env().timeout(REFUSAL_PATIENCE, reading).await;
        let error = refusal::classify(&refusal::Answer {
            what: &format!(
                "the request to '{}' at {} was refused",
                self.checked.entity,
                self.checked.address.authority()
            ),
            status: parts.status.as_u16(),
            reason: parts.extensions.get::<ReasonPhrase>().map_or("", |reason| &reason.0),
            headers: &parts.headers,
            body: &text,
        });
        if error.kind() == ErrorKind::Unauthorized
            && let Some(tokens) = &self.tokens
        {
            tokens.forget();
        }
        // Of the relay itself; a listener's stays an answer.
        if parts.status == StatusCode::PAYLOAD_TOO_LARGE { error.with_kind(ErrorKind::MessageTooLarge) } else { error }
    }

    fn failed(&self, error: hyper_util::client::legacy::Error) -> Error {
        if error.is_connect() {
            self.pool.forget(!self.checked.address.is_plaintext());
        }
        let mut source: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(ours) = cause.downcast_ref::<Error>() {
                return ours.clone();
            }
            source = cause.source();
        }
        let what =
            format!("the request to '{}' at {} broke off", self.checked.entity, self.checked.address.authority());
        Error::new(ErrorKind::ConnectionLost, what).with_source(error)
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

fn from_listener(response: Response<Incoming>) -> Response<Body> {
    let mut response = response.map(Body::new);
    let read = response.extensions_mut().remove::<hyper::ext::ReasonPhrase>();
    let reason = match read {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
        None => response.status().canonical_reason().unwrap_or("").to_owned(),
    };
    response.extensions_mut().insert(ReasonPhrase(reason));
    response
}
