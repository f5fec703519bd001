//! The publishing side: one that only speaks.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::env::Env;
use crate::protocol::close;
use crate::sender::Connect;
use crate::{Connection, Error, ErrorKind, Message, Result};

/// Says events to whoever listens: see [`Sender::publisher`](crate::Sender::publisher). Cheap to clone; clones speak on the same connection.
///
/// # Ends
///
/// [`close`](Self::close) ends it behind everything that was published. Dropping the last handle without it is an abort: what had not
/// left is lost. Both are seen by subscribers as the end of this publisher only.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    connection: Connection,
    /// The program has ended it.
    closing: Arc<AtomicBool>,
    /// Why no more can be published, once the other side has ended it.
    ended: Arc<watch::Sender<Option<Error>>>,
}

impl Publisher {
    fn new(env: &Env, connection: Connection) -> Self {
        let ended = Arc::new(watch::Sender::new(None));
        let closing = Arc::new(AtomicBool::new(false));
        let (heard, closed, end) = (connection.clone(), closing.clone(), ended.clone());
        // Nobody has anything to say to a publisher; but what is not read would hide the end.
        env.spawn(async move {
            let outcome = heard.discard().await;
            let unasked = || (!closed.load(Ordering::Acquire)).then(|| ended_by_other(&heard));
            end.send_replace(outcome.err().or_else(|| refusal(&heard)).or_else(unasked));
            // Our direction ends as well. If it had ended before, all is over.
            let _ = heard.close().await;
        });
        Self(Arc::new(Inner { connection, closing, ended }))
    }

    /// Publishes an event: it is taken over whole and leaves at once, as far as the network takes it.
    ///
    /// Completes when less than 64 KiB wait for the network. A relay that waits for slow subscribers (`slow_subscriber = "block"`), or the
    /// one listener of a plain hybrid connection, slows the caller down and costs no memory. That events have left says nothing of who has
    /// heard them.
    ///
    /// # Errors
    ///
    /// `Closed` after [`close`](Self::close). `MessageTooLarge` when an event before was longer than the hybrid connection takes
    /// (`max_event`, 1 MiB by default), which ends the publisher. `ConnectionLost` on a broken connection, or when the relay or the one
    /// listener has ended it, with their code and reason.
    ///
    /// Cancel-safe: a cancelled call has either taken over the whole event or none of it.
    pub async fn publish(&self, event: impl Into<Message>) -> Result<()> {
        tokio::select! {
            biased;
            error = self.0.ended() => Err(error),
            sent = self.0.connection.send(event) => sent,
        }
    }

    /// The same for one who must know whether a call that was cancelled has published something: it completes as soon as the event is
    /// taken over, which it is when less than 64 KiB wait for the network.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// Cancel-safe: a cancelled call has taken over nothing.
    pub async fn enqueue(&self, event: impl Into<Message>) -> Result<()> {
        tokio::select! {
            biased;
            error = self.0.ended() => Err(error),
            taken = self.0.connection.enqueue(event) => taken,
        }
    }

    /// Waits until everything published has been handed to the operating system. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub async fn flush(&self) -> Result<()> {
        tokio::select! {
            biased;
            error = self.0.ended() => Err(error),
            flushed = self.0.connection.flush() => flushed,
        }
    }

    /// Ends the publisher behind everything published, and waits until the other side has taken all of it: the relay, or the one listener
    /// of a plain hybrid connection.
    ///
    /// # Errors
    ///
    /// `Timeout` when nothing has moved for the configured `close_timeout` (60 s by default); `MessageTooLarge` and `ConnectionLost` as
    /// [`publish`](Self::publish). Some of what was published may then be lost.
    ///
    /// Idempotent. Cancel-safe; a cancelled close goes on with the next call.
    pub async fn close(&self) -> Result<()> {
        self.0.closing.store(true, Ordering::Release);
        if let Some(error) = self.0.ended.borrow().clone() {
            return Err(error);
        }
        self.0.connection.close().await?;
        match refusal(&self.0.connection) {
            None => Ok(()),
            Some(error) => {
                self.0.ended.send_replace(Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Waits until the other side has ended the publisher, and returns why; for a program that has nothing to publish just now. Never
    /// completes otherwise. Cancel-safe.
    pub async fn ended(&self) -> Error {
        self.0.ended().await
    }

    /// Ends the publisher at once; what has not left is discarded. The same as dropping the last handle.
    pub fn abort(&self) {
        self.0.connection.abort();
    }

    /// The sub-protocol that was agreed on: for a hybrid connection for events the first that was offered.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.connection.subprotocol()
    }

    /// The id under which the relay's logs and the subscribers know this publisher.
    pub fn tracking_id(&self) -> &str {
        self.0.connection.tracking_id()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&self.0.connection).finish()
    }
}

impl Inner {
    /// Waits for the end by the other side.
    async fn ended(&self) -> Error {
        match self.ended.subscribe().wait_for(Option::is_some).await.map(|error| error.clone()) {
            Ok(Some(error)) => error,
            // It is ours, and never goes before us.
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without effect on a connection that has ended. The task that listens holds it too.
        self.connection.abort();
    }
}

/// What the other side's Close says of events that it has not taken; `None` for one that is an answer to ours.
fn refusal(connection: &Connection) -> Option<Error> {
    let code = connection.peer_close()??.code;
    (code != close::NORMAL).then(|| ended_by_other(connection))
}

/// The other side has ended the publisher.
fn ended_by_other(connection: &Connection) -> Error {
    let frame = connection.peer_close().flatten();
    let error = match &frame {
        Some(frame) if frame.code == close::TOO_BIG => {
            Error::new(ErrorKind::MessageTooLarge, "an event is longer than the hybrid connection takes")
                .with_hint("publish shorter ones, or raise max_event of the hybrid connection")
        }
        _ => Error::new(ErrorKind::ConnectionLost, "the other side has ended the publisher"),
    }
    .with_tracking_id(connection.tracking_id());
    match frame {
        Some(frame) => {
            error.with_close_code(frame.code).with_reason(format!("{} {}", frame.code, frame.reason).trim_end())
        }
        None => error,
    }
}

/// A publisher that is about to be opened; awaiting it gives the [`Publisher`].
#[derive(Clone, Debug)]
#[must_use = "nothing is connected until this is awaited"]
pub struct PublisherBuilder(Connect);

impl PublisherBuilder {
    pub(crate) fn new(connect: Connect) -> Self {
        Self(connect)
    }

    /// What follows the entity in the path, such as `/orders/7`. Percent-encoding is kept as given; characters that may not stand
    /// in a path are encoded.
    pub fn path(self, path: impl Into<String>) -> Self {
        Self(self.0.path(path))
    }

    /// The query, without `?`. Names that begin with `sb-hc-` belong to the relay.
    pub fn query(self, query: impl Into<String>) -> Self {
        Self(self.0.query(query))
    }

    /// Adds a header that subscribers see. May be called several times.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self(self.0.header(name, value))
    }

    /// Offers a sub-protocol. May be called several times, in order of preference. A hybrid connection for events takes the first.
    pub fn subprotocol(self, name: impl Into<String>) -> Self {
        Self(self.0.subprotocol(name))
    }

    /// The GUID under which the relay and the subscribers know this publisher. Default: a random one.
    pub fn tracking_id(self, id: impl Into<String>) -> Self {
        Self(self.0.tracking_id(id))
    }

    /// How long this connect may take, instead of the sender's `connect_timeout`.
    pub fn timeout(self, limit: Duration) -> Self {
        Self(self.0.timeout(limit))
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// As [`Connect::open`]; but at a hybrid connection for events `NoListeners` only where it refuses publishers that nobody hears
    /// (`no_subscriber = "not-found"`). Dropping the future withdraws the attempt.
    pub async fn open(self) -> Result<Publisher> {
        let env = self.0.env().clone();
        let connection = self.0.open().await?;
        Ok(Publisher::new(&env, connection))
    }
}

impl IntoFuture for PublisherBuilder {
    type Output = Result<Publisher>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}
