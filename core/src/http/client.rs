//! The sending side of relayed HTTP: requests over pooled connections to the relay.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;

use super::body::Body;
use super::head::ReasonPhrase;
use super::one_way::OneWay;
use crate::dial::HttpConnector;
use crate::listener::USER_AGENT;
use crate::options::Reach;
use crate::protocol::{Features, headers, refusal};
use crate::{Error, ErrorKind, Result};

mod pool;
mod solo;
mod tokens;

pub(super) use solo::Solo;

use pool::Pool;
use solo::{Failed, SoloLine};
use tokens::Tokens;

/// How much of a refusal's body is read for its explanation, and for how long.
const REFUSAL_LIMIT: usize = 64 * 1024;
const REFUSAL_PATIENCE: Duration = Duration::from_secs(10);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What the relay itself is asked.
pub(crate) struct Question<'q> {
    pub(crate) path: &'q str,
    /// The feature that the address belongs to.
    pub(crate) feature: &'static str,
    /// The form of the answer.
    pub(crate) accept: &'static str,
    /// The event that was seen last.
    pub(crate) last_id: Option<&'q str>,
}

pub(crate) struct HttpClient {
    reach: Reach,
    /// Where the relay is; `None` if its address makes no URI.
    authority: Option<Authority>,
    solo: SoloLine,
    pool: Pool,
    tokens: Option<Tokens>,
}

impl HttpClient {
    pub(crate) fn new(reach: Reach) -> Self {
        let env = reach.dialer.env();
        let connector = HttpConnector::new(reach.dialer.clone(), reach.connect_timeout);
        let authority = reach.address.authority().parse().ok();
        let solo = SoloLine::new(env, &connector, host(authority.as_ref(), reach.address.is_plaintext()));
        let pool = Pool::new(env, connector, !reach.address.is_plaintext());
        let tokens = reach
            .credential
            .clone()
            .map(|credential| Tokens::new(env.clone(), credential, reach.address.audience(), reach.connect_timeout));
        Self { reach, authority, solo, pool, tokens }
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Result<Response<Body>> {
        self.relayed(request).await.map(from_listener)
    }

    /// Sends a request of which only the relay's own answer counts.
    pub(crate) async fn one_way(&self, mut request: Request<Body>) -> Result<OneWay> {
        request.headers_mut().insert(headers::RELAY_DELIVERY, HeaderValue::from_static(headers::ONE_WAY));
        let response = self.relayed(request).await?;
        OneWay::read(response.status(), response.headers()).ok_or_else(|| {
            let what = format!("the relay at {} does not know one-way requests", self.reach.address.authority());
            let hint = "send ordinary requests through this relay";
            Error::new(ErrorKind::Unsupported, format!("{what}; a listener has answered this one")).with_hint(hint)
        })
    }

    /// Sends a request to a listener. What the relay itself refuses is an error.
    async fn relayed(&self, mut request: Request<Body>) -> Result<Response<Body>> {
        *request.uri_mut() = self.relayed_uri(request.uri())?;
        let request = self.prepare(request).await?;
        let response = match self.solo.take(&request) {
            Some(solo) => self.solo.request(solo, request).await.map_err(|failed| match failed {
                Failed::Dial(error) => error,
                Failed::Underway(error) => self.failed(error),
            })?,
            None => self.send(request).await?,
        };
        if self.is_relays(&response) { Err(self.refused(response).await) } else { Ok(response) }
    }

    /// Asks the relay itself, at one of its own addresses, and returns an answer of success.
    ///
    /// # Errors
    ///
    /// `Unsupported` from a relay that has no such address: nothing in its answer names the feature (protocol.md 10, decision 73).
    pub(crate) async fn ask_relay(&self, question: &Question<'_>) -> Result<Response<Body>> {
        let Question { path, feature, accept, last_id } = question;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.uri((*path).to_owned())?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        if let Some(id) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            request.headers_mut().insert(LAST_EVENT_ID, id);
        }
        let limit = self.reach.connect_timeout;
        let asking = async {
            // What is answered may go on for long, so it does not travel alone.
            self.send(self.prepare(request).await?).await
        };
        let answered = self.reach.dialer.env().timeout(limit, asking).await;
        let response = answered.unwrap_or_else(|| {
            let what = format!("no answer from {} within {} s", self.reach.address.authority(), limit.as_secs_f32());
            Err(Error::new(ErrorKind::Timeout, what))
        })?;
        let marks = response.headers().get_all(headers::RELAY_FEATURES).iter();
        let marks = marks.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
        let is_known = marks.map(str::trim).any(|name| name == *feature);
        let status = response.status();
        // What is between us and the relay, or a relay that is overloaded, says nothing of features.
        let is_elsewhere = status.is_server_error() || matches!(status.as_u16(), 407 | 408 | 429 | 431);
        if !is_known && !is_elsewhere {
            let what = format!("{} does not offer '{feature}'", self.reach.address.authority());
            let hint = match *feature {
                Features::DISCOVERY => "a hybridrelay server offers it where the namespace says 'discovery = true'",
                _ => "a hybridrelay server offers it, Azure Relay does not",
            };
            return Err(Error::new(ErrorKind::Unsupported, what).with_hint(hint));
        }
        if status.is_success() { Ok(from_listener(response)) } else { Err(self.refused(response).await) }
    }

    /// Sends a request beside others.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let client = self.pool.client(request.uri()).await?;
        let response = client.request(request).await.map_err(|error| {
            if error.is_connect() {
                self.pool.forget(!self.reach.address.is_plaintext());
            }
            self.failed(error)
        })?;
        Ok(response.map(|body| Body::incoming(body, None)))
    }

    /// Makes what the program wants a request to the relay.
    async fn prepare(&self, request: Request<Body>) -> Result<Request<Body>> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(Error::invalid("CONNECT cannot be relayed; open a connection instead"));
        }
        parts.version = Version::HTTP_11;
        let length = parts.headers.get(header::CONTENT_LENGTH).cloned();
        let mut fields = headers::without_hop_by_hop(&parts.headers);
        fields.remove(header::HOST);
        if let Some(length) = length.filter(|_| body.size_hint().exact().is_none()) {
            fields.insert(header::CONTENT_LENGTH, length);
        }
        for name in self.reach.dialer.headers().keys() {
            if !fields.contains_key(name) {
                let values = self.reach.dialer.headers().get_all(name);
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
    fn relayed_uri(&self, uri: &Uri) -> Result<Uri> {
        if uri.authority().is_some() {
            return Err(Error::invalid("a relayed request has a path and no host: the sender knows the relay"));
        }
        let (path, query) = (uri.path(), uri.query());
        let is_relays = |piece: &str| piece.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("sb-hc-"));
        if query.is_some_and(|query| query.split('&').any(is_relays)) {
            return Err(Error::invalid("query parameters that begin with 'sb-hc-' belong to the relay"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        let entity = self.reach.address.entity().map_or("", |entity| entity.as_str());
        self.uri(["/", entity, slash, path, mark, query].concat())
    }

    fn uri(&self, target: String) -> Result<Uri> {
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target));
        let no_uri = || Error::invalid("the relay's address makes no URI");
        let mut parts = uri::Parts::default();
        parts.scheme = Some(if self.reach.address.is_plaintext() { Scheme::HTTP } else { Scheme::HTTPS });
        parts.authority = Some(self.authority.clone().ok_or_else(no_uri)?);
        parts.path_and_query = Some(target.map_err(|_| Error::invalid("the path is not valid"))?);
        Uri::from_parts(parts).map_err(|_| no_uri())
    }

    /// Whether the relay and not the listener has answered: every answer of a listener carries `Via` (protocol.md 5.5, 5.8).
    fn is_relays(&self, response: &Response<Body>) -> bool {
        let status = response.status();
        (status.is_client_error() || status.is_server_error()) && !response.headers().contains_key(header::VIA)
    }

    async fn refused(&self, response: Response<Body>) -> Error {
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
        let _ = self.reach.dialer.env().timeout(REFUSAL_PATIENCE, reading).await;
        let error = refusal::classify(&refusal::Answer {
            what: &format!("the request to {} was refused", self.place()),
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

    fn failed(&self, error: impl StdError + Send + Sync + 'static) -> Error {
        let mut source: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(ours) = cause.downcast_ref::<Error>() {
                return ours.clone();
            }
            source = cause.source();
        }
        let what = format!("the request to {} broke off", self.place());
        Error::new(ErrorKind::ConnectionLost, what).with_source(error)
    }

    fn place(&self) -> String {
        let address = &self.reach.address;
        let entity = address.entity().map_or(String::new(), |entity| format!("'{entity}' at "));
        format!("{entity}{}", address.authority())
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

/// What `Host` says: the port only where it is not the usual one.
fn host(authority: Option<&Authority>, is_plaintext: bool) -> HeaderValue {
    let usual = if is_plaintext { 80 } else { 443 };
    let host = authority.map(|at| match at.port_u16() {
        Some(port) if port != usual => at.as_str(),
        _ => at.host(),
    });
    // Without an authority there is no request.
    host.and_then(|host| host.parse().ok()).unwrap_or(HeaderValue::from_static(""))
}

fn from_listener(mut response: Response<Body>) -> Response<Body> {
    let read = response.extensions_mut().remove::<hyper::ext::ReasonPhrase>();
    let reason = match read {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
        None => response.status().canonical_reason().unwrap_or("").to_owned(),
    };
    response.extensions_mut().insert(ReasonPhrase(reason));
    response
}
