//! A request that waits for its answer.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};

use super::answer::Answer;
use super::body::Body;
use super::cancellation::Cancellation;
use super::head::{Mount, RemoteAddr, Target};
use super::one_way::is_one_way;
use super::responder::Responder;
use crate::protocol;
use crate::{EntityPath, Error, Result};

/// A sender's HTTP request. Take it apart and answer it.
///
/// Dropping it whole answers 501: the program does not serve requests. A [`Responder`] that is dropped answers 500, unless the request
/// [is one-way](Self::is_one_way).
pub struct IncomingRequest {
    /// Boxed, so that a queue of senders is not made of the largest of them.
    request: Box<Request<Body>>,
    target: Target,
    responder: Responder,
}

impl IncomingRequest {
    /// The request, and what answers it.
    ///
    /// Its URI is path and query behind the hybrid connection's name, at least `/`, byte for byte as the sender wrote it if the relay
    /// can tell (ours can). Extensions: [`Mount`], [`RemoteAddr`] and [`Cancellation`].
    pub fn into_parts(self) -> (Request<Body>, Responder) {
        (*self.request, self.responder.taken())
    }

    /// The method.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// The path behind the entity, percent-encoded as the sender wrote it: `/orders`, or empty.
    pub fn path(&self) -> &str {
        &self.target.path
    }

    /// Where the listener is mounted: `/` and the entity in the sender's spelling.
    pub fn mount(&self) -> &str {
        self.target.mount.as_str()
    }

    /// The query without the relay's own parameters, as the sender wrote it.
    pub fn query(&self) -> Option<&str> {
        self.target.query.as_deref()
    }

    /// The headers, without those of the sender's connection (protocol.md 5.6).
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Whether nobody waits for the answer, since the sender was told that this request is handed over: it may be answered all the
    /// same, but need not be. Only our relay tells (protocol.md 5.10); behind others this is false.
    pub fn is_one_way(&self) -> bool {
        self.responder.is_one_way()
    }

    /// Whether there may be a body; `false` if it is known to be empty.
    pub fn has_body(&self) -> bool {
        !http_body::Body::is_end_stream(self.request.body())
    }

    /// The body, not read yet.
    pub(crate) fn body(&self) -> &Body {
        self.request.body()
    }

    /// The sender's address as the relay saw it.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.request.extensions().get::<RemoteAddr>().map(|remote| remote.0)
    }

    /// The id under which the relay's logs know this request.
    pub fn tracking_id(&self) -> &str {
        self.responder.tracking_id()
    }

    /// Tells when the sender has gone.
    pub fn cancellation(&self) -> Cancellation {
        self.responder.cancellation()
    }

    /// Waits until the sender has gone; see [`Cancellation`]. Cancel-safe.
    pub async fn cancelled(&self) {
        self.responder.cancelled().await;
    }

    /// The listener closes before the program has taken this request.
    pub(crate) fn listener_closes(&mut self) {
        self.responder.listener_closes();
    }

    /// Puts a request together.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a method or target that HTTP does not know, with the answer to refuse it.
    pub(super) fn new(
        head: Head,
        body: Body,
        answer: Answer,
        entity: &EntityPath,
    ) -> Result<Self, Box<(Error, Answer)>> {
        let target = Target::parse(&head.target, entity);
        // A relay that knows none of our features passes on whatever a sender has written.
        let one_way = !answer.features.is_empty() && is_one_way(&head.headers);
        let uri = match target.uri() {
            Ok(uri) => uri,
            Err(error) => return Err(Box::new((error, answer))),
        };
        let mut request = Request::new(body);
        *request.method_mut() = answer.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = head.headers;
        let extensions = request.extensions_mut();
        extensions.insert(target.mount.clone());
        extensions.insert(answer.fate.cancellation());
        if let Some(remote) = head.remote {
            extensions.insert(RemoteAddr(remote));
        }
        Ok(Self { request: Box::new(request), target, responder: Responder::new(answer, one_way) })
    }
}

impl fmt::Debug for IncomingRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingRequest")
            .field("method", self.method())
            .field("path", &self.path())
            .field("remote_addr", &self.remote_addr())
            .field("tracking_id", &self.tracking_id())
            .finish_non_exhaustive()
    }
}

/// A `request` message in its full form (protocol.md 5.2).
pub(super) struct Head {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) method: Method,
    target: String,
    headers: HeaderMap,
    remote: Option<SocketAddr>,
    pub(super) has_body: bool,
}

impl Head {
    /// Reads the message; `None` if it only says that the request waits at the rendezvous. Official clients look at different fields
    /// for that, so that each of them counts.
    pub(super) fn read(message: &protocol::Request) -> Option<Self> {
        message.body?;
        Self::read_at_rendezvous(message)
    }

    /// Reads the message that a rendezvous began with. What lacks a body field has none.
    pub(super) fn read_at_rendezvous(message: &protocol::Request) -> Option<Self> {
        Some(Self {
            id: message.id.clone()?,
            address: message.address.clone(),
            method: Method::from_bytes(message.method.as_ref()?.as_bytes()).ok()?,
            target: message.request_target.clone()?,
            headers: protocol::headers::without_hop_by_hop(&message.request_headers),
            remote: message.remote_endpoint,
            has_body: message.body.unwrap_or(false),
        })
    }

    /// Says how long the body is, which relays leave out, where it is known.
    pub(super) fn with_length(mut self, body: &Bytes) -> Self {
        self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        self
    }
}

impl Mount {
    /// The mount point of a request that was relayed.
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        request.extensions().get()
    }
}
