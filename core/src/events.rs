//! Events: what publishers say to whoever listens, merged into one sequence (protocol.md 11).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Method};
use tokio::sync::watch;

use crate::http::IncomingRequest;
use crate::{Connection, IncomingConnect, Listener, Message, Result};

mod collector;
mod publisher;
mod queue;
mod roll;

use collector::Collector;
pub use publisher::{Publisher, PublisherBuilder};
use queue::EventQueue;

/// Everything that the publishers of a hybrid connection say, one event after the other: see [`Listener::events`]. Clones are handles
/// to the same sequence, of which each event goes to one.
///
/// # Memory
///
/// At most 1 MiB of events waits here, and one event always may; beside it the one that each publisher is just saying, up to
/// `max_message_size`. Then nothing more is read, so that the relay judges who is too slow, and the publisher of a plain hybrid connection
/// waits.
///
/// # Ends
///
/// A publisher that goes, in good order or not, is no end of these events and no error. [`Listener::close`] ends them: what waits is still
/// handed out. Dropping the last handle lets publishers go, and what comes from then on waits for [`Listener::accept`] again.
#[derive(Clone, Debug)]
pub struct Events(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    queue: Arc<EventQueue>,
    /// Its end is the collector's.
    _held: watch::Sender<()>,
}

impl Events {
    pub(crate) fn of(listener: Listener) -> Self {
        let queue = EventQueue::new();
        let (held, released) = watch::channel(());
        let env = listener.env().clone();
        env.spawn(Collector::new(listener, queue.clone()).run(released));
        Self(Arc::new(Handle { queue, _held: held }))
    }

    /// The next event; `None` after the listener's close.
    ///
    /// # Errors
    ///
    /// The listener's final failure, delivered once, behind what came before: only with `reconnect(false)`.
    ///
    /// Cancel-safe.
    pub async fn next(&self) -> Result<Option<Event>> {
        self.0.queue.next().await
    }

    /// The events as a stream that ends where [`next`](Self::next) returns `None`.
    pub fn stream(&self) -> impl Stream<Item = Result<Event>> + Send + 'static {
        futures_util::stream::unfold(self.clone(), |events| async move {
            let next = events.next().await.transpose()?;
            Some((next, events))
        })
    }
}

/// What a listener hears of a publisher.
///
/// The messages of one publisher come in their order, and requests whose bodies are at most 64 KiB in the order in which the relay handed
/// them over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message of a publisher that is connected.
    Message {
        /// Whose it is.
        origin: EventOrigin,
        /// What it says.
        message: Message,
    },
    /// An HTTP request. It was answered 202 when it came here; a sender of a one-way request has had its answer before.
    Request {
        /// Whose it is.
        origin: EventOrigin,
        /// Its method.
        method: Method,
        /// All of its body.
        body: Bytes,
    },
    /// The relay has dropped events of a publisher, because this listener did not keep up. They were missing somewhere before this, or
    /// will be soon: the relay tells it beside the events.
    Missed {
        /// Whose they were.
        origin: EventOrigin,
        /// How many more than were told before.
        count: u64,
    },
}

impl Event {
    /// Whose event it is.
    pub fn origin(&self) -> &EventOrigin {
        match self {
            Self::Message { origin, .. } | Self::Request { origin, .. } | Self::Missed { origin, .. } => origin,
        }
    }

    /// What was said, whatever the kind; nothing of [`Missed`](Self::Missed).
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Message { message, .. } => message.as_bytes(),
            Self::Request { body, .. } => body,
            Self::Missed { .. } => &[],
        }
    }
}

/// Where events come from: a publisher that is connected, or one request. Cheap to clone.
#[derive(Clone)]
pub struct EventOrigin(Arc<Origin>);

struct Origin {
    tracking_id: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    remote: Option<SocketAddr>,
    subprotocol: Option<String>,
}

impl EventOrigin {
    /// The id under which the relay's logs know the publisher, or the request: the same for all events of one connection.
    pub fn tracking_id(&self) -> &str {
        &self.0.tracking_id
    }

    /// The path behind the entity, percent-encoded as the sender wrote it: `/orders`, or empty.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The query without the relay's own parameters; `None` if nothing is left.
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// The headers of the publisher's handshake, or of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The sender's address as the relay saw it.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.remote
    }

    /// The sub-protocol of a publisher that is connected, if it has one.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.subprotocol.as_deref()
    }

    fn of_connect(connect: &IncomingConnect) -> Origin {
        Origin {
            tracking_id: connect.tracking_id().to_owned(),
            path: connect.path().to_owned(),
            query: connect.query().map(str::to_owned),
            headers: connect.headers().clone(),
            remote: connect.remote_addr(),
            subprotocol: None,
        }
    }

    fn of_request(request: &IncomingRequest) -> Self {
        Self(Arc::new(Origin {
            tracking_id: request.tracking_id().to_owned(),
            path: request.path().to_owned(),
            query: request.query().map(str::to_owned),
            headers: request.headers().clone(),
            remote: request.remote_addr(),
            subprotocol: None,
        }))
    }
}

impl Origin {
    fn connected(mut self, connection: &Connection) -> EventOrigin {
        self.subprotocol = connection.subprotocol().map(str::to_owned);
        EventOrigin(Arc::new(self))
    }
}

/// Without query and headers: they may hold the sender's own credentials.
impl fmt::Debug for EventOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventOrigin")
            .field("tracking_id", &self.0.tracking_id)
            .field("path", &self.0.path)
            .field("remote_addr", &self.0.remote)
            .field("subprotocol", &self.0.subprotocol)
            .finish_non_exhaustive()
    }
}
