//! Senders that wait to be accepted or rejected.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::Connection;
use crate::connection::ConnectionSettings;
use crate::dial::{DialError, Dialer};
use crate::env::{BoxFuture, Env};
use crate::http::IncomingRequest;
use crate::link::{WebSocketLink, WebSocketSettings};
use crate::protocol::{self, Accept};
use crate::{EntityPath, Error, ErrorKind, Result};

/// What a listener receives: a sender that waits.
///
/// More kinds will come; a program that does not know one drops it, which refuses the sender.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// A sender wants a connection.
    Connect(IncomingConnect),
    /// A sender has sent an HTTP request.
    Request(IncomingRequest),
}

impl Incoming {
    /// The listener closes before the program has taken this.
    pub(super) fn listener_closes(&mut self) {
        if let Self::Request(request) = self {
            request.listener_closes();
        }
    }
}

/// A sender that wants a connection: accept it or reject it.
///
/// The relay lets it wait for 30 s. Dropping it unanswered rejects it with 503.
pub struct IncomingConnect {
    answer: Answer,
    path: String,
    query: Option<String>,
}

/// Everything needed to answer; rejects on drop while `accept` is there.
struct Answer {
    accept: Option<Accept>,
    context: Arc<AnswerContext>,
    /// Counts against `max_concurrent` until answered.
    _permit: Option<OwnedSemaphorePermit>,
}

/// What answers need from the listener.
pub(crate) struct AnswerContext {
    pub(crate) dialer: Dialer,
    pub(crate) entity: EntityPath,
    /// Whether the relay is reached without TLS.
    pub(super) plaintext: bool,
    pub(crate) accept_timeout: Duration,
    pub(super) subprotocols: Vec<String>,
    pub(crate) link: WebSocketSettings,
    pub(super) connection: ConnectionSettings,
    pub(super) refusals: mpsc::UnboundedSender<Refusal>,
    /// How many refusals are under way.
    pub(super) refusing: Arc<watch::Sender<usize>>,
}

/// A refusal that nobody waits for. Their number is bounded by `max_concurrent`, and by what the relay sends beyond it.
pub(super) struct Refusal {
    work: BoxFuture<()>,
    _under_way: UnderWay,
}

/// Counts a refusal until it is dropped.
struct UnderWay(Arc<watch::Sender<usize>>);

impl AnswerContext {
    /// Whether a rendezvous may be dialled: it must not be less protected than the channel that announced it (protocol.md 10,
    /// decision 16).
    pub(crate) fn may_dial(&self, address: &str) -> bool {
        self.plaintext || address.starts_with("wss://")
    }

    /// Rejects in the background.
    pub(super) fn reject_later(self: &Arc<Self>, accept: Accept, status: u16, reason: &'static str) {
        let context = self.clone();
        self.later(async move {
            if let Err(error) = reject(&context, &accept, status, reason).await {
                tracing::debug!(tracking_id = accept.id, %error, "a sender could not be rejected");
            }
        });
    }

    /// Refuses in the background. Needs no runtime, so that it can be called wherever something is dropped.
    pub(crate) fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.refusing.send_modify(|count| *count += 1);
        let under_way = UnderWay(self.refusing.clone());
        let _ = self.refusals.send(Refusal { work: Box::pin(work), _under_way: under_way });
    }

    /// How many refusals are under way.
    pub(crate) fn refusals(&self) -> usize {
        *self.refusing.borrow()
    }

    /// Completes when nothing is being refused.
    pub(super) async fn nothing_to_refuse(&self) {
        // The sending end is in `self`.
        let _ = self.refusing.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl IncomingConnect {
    /// `permit` is missing when the listener is at its limit: then the value only serves to be refused.
    pub(super) fn new(accept: Accept, context: Arc<AnswerContext>, permit: OwnedSemaphorePermit) -> Self {
        let (path, query) = protocol::uri::split_accept_address(&accept.address, &context.entity);
        Self { answer: Answer { accept: Some(accept), context, _permit: Some(permit) }, path, query }
    }

    /// The path behind the entity, percent-encoded as the sender wrote it: `/orders`, or empty.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the listener is mounted: `/` and the entity. `mount` and `path` together are what the sender asked for.
    pub fn mount(&self) -> String {
        format!("/{}", self.answer.context.entity)
    }

    /// The sender's query without the relay's own parameters; `None` if nothing is left.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The headers of the sender's handshake.
    pub fn headers(&self) -> &HeaderMap {
        &self.accept_message().connect_headers
    }

    /// The sub-protocols that the sender offers, in its order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        let lists = self.headers().get_all(http::header::SEC_WEBSOCKET_PROTOCOL).into_iter();
        lists
            .filter_map(|list| list.to_str().ok())
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
    }

    /// The sender's address as the relay saw it.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.accept_message().remote_endpoint
    }

    /// The id under which the relay's logs know this connect.
    pub fn tracking_id(&self) -> &str {
        &self.accept_message().id
    }

    /// Accepts: dials the rendezvous. Await the result, or choose a sub-protocol first.
    ///
    /// Unless chosen, the sub-protocol is the first of the listener's own `subprotocols` that the sender offers; a listener
    /// without any takes the sender's first.
    ///
    /// # Errors
    ///
    /// `Timeout` after the listener's `accept_timeout`, `ConnectionLost` if the sender has gone or has waited too long, `Network`
    /// and `Tls` if the rendezvous cannot be reached. Cancelling rejects the sender with 503.
    pub fn accept(self) -> AcceptConnect {
        let offered: Vec<&str> = self.subprotocols().collect();
        let own = &self.answer.context.subprotocols;
        let chosen = if own.is_empty() {
            offered.first().map(|name| (*name).to_owned())
        } else {
            own.iter().find(|name| offered.contains(&name.as_str())).cloned()
        };
        AcceptConnect { answer: self.answer, subprotocol: chosen }
    }

    /// Rejects: the sender's handshake fails with this status and reason phrase.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a status outside 200 to 999; then the sender is rejected with 503. Network errors if the relay cannot
    /// be reached; the sender then runs into the relay's timeout. Cancelling rejects the sender with 503, unless the relay has
    /// heard of this status already.
    pub async fn reject(mut self, status: u16, reason: &str) -> Result<()> {
        if !(200..=999).contains(&status) {
            return Err(Error::invalid(format!(
                "a sender can be rejected with a status from 200 to 999, not {status}"
            )));
        }
        let outcome = reject(&self.answer.context, self.accept_message(), status, reason).await;
        self.answer.accept = None;
        outcome
    }

    /// The settings of the listener's links.
    pub(crate) fn link_settings(&self) -> WebSocketSettings {
        self.answer.context.link
    }

    /// Another link as the other half of what this connect becomes.
    pub(crate) fn joined_with(&self, link: WebSocketLink, subprotocol: Option<String>) -> Connection {
        let context = &self.answer.context;
        Connection::new(
            context.dialer.env().clone(),
            link,
            context.connection,
            subprotocol,
            self.tracking_id().to_owned(),
        )
    }

    fn accept_message(&self) -> &Accept {
        // Taken only by the methods that consume `self`.
        self.answer.accept.as_ref().expect("an unanswered connect has its message")
    }
}

impl fmt::Debug for IncomingConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingConnect")
            .field("path", &self.path)
            .field("remote_addr", &self.remote_addr())
            .field("tracking_id", &self.tracking_id())
            .finish_non_exhaustive()
    }
}

/// An accept that is about to be made; awaiting it gives the [`Connection`].
#[must_use = "nothing is accepted until this is awaited"]
pub struct AcceptConnect {
    answer: Answer,
    subprotocol: Option<String>,
}

impl AcceptConnect {
    /// Chooses the sub-protocol, or none. It should be one that the sender offers; its library refuses others.
    pub fn subprotocol(mut self, name: impl Into<Option<String>>) -> Self {
        self.subprotocol = name.into();
        self
    }

    async fn run(mut self) -> Result<Connection> {
        let context = self.answer.context.clone();
        let accept = self.answer.accept.as_ref().expect("an unanswered connect has its message");
        let offered: Vec<String> = self.subprotocol.iter().cloned().collect();
        let dialled =
            context.dialer.to_rendezvous(&accept.address)?.subprotocols(&offered).open(context.accept_timeout).await;
        // Answered now, whatever the answer was.
        let Some(accept) = self.answer.accept.take() else {
            return Err(Error::new(ErrorKind::Internal, "a connect was accepted twice"));
        };
        let upgraded = dialled.map_err(|error| describe(error, &accept))?;
        let env = context.dialer.env();
        let link = WebSocketLink::start(env, upgraded.socket, upgraded.read_buf, context.link);
        Ok(Connection::new(env.clone(), link, context.connection, upgraded.subprotocol, accept.id))
    }
}

impl fmt::Debug for AcceptConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptConnect").field("subprotocol", &self.subprotocol).finish_non_exhaustive()
    }
}

impl IntoFuture for AcceptConnect {
    type Output = Result<Connection>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(accept) = self.accept.take() {
            tracing::warn!(tracking_id = accept.id, "a sender was dropped unanswered; it is rejected with 503");
            self.context.reject_later(accept, 503, "The listener dropped the connection unanswered");
        }
    }
}

/// Tells the relay that the sender is refused (protocol.md 4.4).
async fn reject(context: &AnswerContext, accept: &Accept, status: u16, reason: &str) -> Result<()> {
    let address = protocol::uri::reject_address(&accept.address, status, reason);
    match context.dialer.to_rendezvous(&address)?.open(context.accept_timeout).await {
        // 410 is the success; every answer but 101 means that the rendezvous is over (protocol.md 9.2).
        Err(DialError::Refused(_)) => Ok(()),
        Err(DialError::Failed(error)) => Err(error),
        Ok(mut upgraded) => {
            upgraded.socket.abort();
            Err(Error::new(ErrorKind::Protocol, "the relay took a rejection for an acceptance"))
        }
    }
}

/// Refuses what was dropped unanswered, until the listener and everything it handed out have gone.
pub(super) async fn run_refusals(env: Env, mut refusals: mpsc::UnboundedReceiver<Refusal>) {
    while let Some(Refusal { work, _under_way }) = refusals.recv().await {
        env.spawn(async move {
            work.await;
            drop(_under_way);
        });
    }
}

fn describe(error: DialError, accept: &Accept) -> Error {
    match error {
        DialError::Failed(error) => error,
        DialError::Refused(refused) => {
            Error::new(ErrorKind::ConnectionLost, "the sender has gone or has waited too long")
                .with_status(refused.status)
                .with_reason(protocol::refusal::sanitize_reason(&refused.reason))
                .with_tracking_id(&accept.id)
        }
    }
}
