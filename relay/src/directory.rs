//! Who listens where, and the way to a listener's control channel: ids, never references, so that a listener may be on
//! another node.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use hybridrelay::env::BoxFuture;
use hybridrelay::protocol::Response;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) mod embedded;
mod log;

pub(crate) use log::Logs;
pub use log::{Behind, Log, Position, Reader};

/// Names one hybrid connection: namespace and canonical path, lower-cased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey {
    namespace: Arc<str>,
    path: Arc<str>,
}

impl EntityKey {
    /// The key of the entity with this canonical path.
    pub fn new(namespace: &str, path: &str) -> Self {
        Self { namespace: namespace.into(), path: path.to_ascii_lowercase().into() }
    }

    /// The namespace's name, to be kept.
    pub(crate) fn shared_namespace(&self) -> Arc<str> {
        self.namespace.clone()
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The path, lower-cased.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.path)
    }
}

/// Names one control channel, wherever it is. Random, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u128);

/// What is known about a listener that is online.
#[derive(Clone, Debug)]
pub struct ListenerRecord {
    /// The control channel.
    pub id: ListenerId,
    /// The hybrid connection.
    pub entity: EntityKey,
    /// The listener's own id (`sb-hc-id`) with its suffix; its first 36 characters are what senders name in
    /// `Microsoft-Relay-AllowedListeners`.
    pub tracking_id: String,
    /// Since when it is online.
    pub since: SystemTime,
    /// Where it connected from.
    pub address: SocketAddr,
    /// What it says it is: `Relay-User-Agent`, else `User-Agent`.
    pub agent: Option<String>,
    /// The name of the rule that let it in.
    pub key: KeyIdentity,
    /// The features agreed on (protocol.md 3.10).
    pub features: Vec<String>,
    /// Free labels of the listener.
    pub labels: BTreeMap<String, String>,
    /// `ws://` or `wss://` and the authority under which the listener reached its node (protocol.md 10, decision 16).
    pub base: String,
    /// Senders and requests that it has been given and that are not over: those without an answer, and relayed connections that are
    /// open.
    pub in_flight: usize,
    /// When its last byte came.
    pub last_byte: Instant,
}

/// Which credential opened something: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyIdentity {
    /// Whether the rule belongs to the hybrid connection; otherwise to the namespace.
    pub entity_rule: bool,
    /// The rule's name.
    pub rule: String,
    /// Whether the secondary key signed; otherwise the primary.
    pub secondary: bool,
}

impl fmt::Display for KeyIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)
    }
}

/// One message for a listener: text and, for a request with a body, the binary message that must follow it at once.
#[derive(Clone)]
pub struct Delivery {
    /// The JSON text. A secret: it holds a ticket, and headers of the sender.
    pub text: String,
    /// The binary message that follows.
    pub body: Option<Bytes>,
    /// The id that a response on the control channel would repeat; `None` for what is answered by a dial alone. The channel is the
    /// other half of the key: a listener can answer only what it was given (protocol.md 10, decision 13).
    pub request_id: Option<String>,
    /// Nobody is waiting for an answer, only for the message to be handed over, which [`Replies::handed_over`] tells. A listener is never
    /// told to cancel it.
    pub one_way: bool,
}

impl Delivery {
    fn bytes(&self) -> usize {
        self.text.len() + self.body.as_ref().map_or(0, Bytes::len)
    }
}

/// What a listener sent back for a delivery on its control channel.
#[derive(Clone)]
pub struct Reply {
    /// The response.
    pub response: Response,
    /// The binary message that followed.
    pub body: Option<Bytes>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, body) = (self.text.len(), self.body.as_ref().map(Bytes::len));
        f.debug_struct("Delivery").field("text", &text).field("body", &body).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.as_ref().map(Bytes::len);
        f.debug_struct("Reply").field("response", &self.response).field("body", &body).finish()
    }
}

/// The answers to one delivery. The stream ends when the listener has gone: a sender that still waits knows by it that
/// nobody will dial.
///
/// Dropping it withdraws the delivery: whoever waited has gone, and a listener that agreed on `cancel` is told (protocol.md 3.10).
/// [`settle`](Self::settle) ends it without that.
#[derive(Debug)]
pub struct Replies {
    replies: mpsc::Receiver<Reply>,
    settled: oneshot::Sender<()>,
    /// Of a one-way delivery.
    handover: Option<oneshot::Receiver<Handover>>,
}

/// The other end of [`Replies`]. Dropping it tells that the listener has gone.
#[derive(Debug)]
pub struct ReplyTo {
    /// Takes one answer.
    pub replies: mpsc::Sender<Reply>,
    /// Completes when no answer is waited for any more: in order, or with an error if the delivery was withdrawn.
    pub settled: oneshot::Receiver<()>,
    /// Tells how far a one-way delivery has come.
    pub receipt: Option<Receipt>,
}

impl Replies {
    /// A stream and the end that feeds it; with a receipt for a one-way delivery.
    pub fn channel(one_way: bool) -> (ReplyTo, Self) {
        let (tx, replies) = mpsc::channel(1);
        let (settled, settling) = oneshot::channel();
        let (receipt, handover) = one_way.then(Receipt::new).unzip();
        (ReplyTo { replies: tx, settled: settling, receipt }, Self { replies, settled, handover })
    }

    /// Waits until a one-way delivery has been written, or never will be. Cancel-safe.
    pub async fn handed_over(&mut self) -> Handover {
        match &mut self.handover {
            // A receipt tells something whatever happens to it.
            Some(handover) => handover.await.unwrap_or(Handover::InPart),
            None => Handover::InPart,
        }
    }

    /// The next answer; `None` once the listener has gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Reply> {
        self.replies.recv().await
    }

    /// Waits for no further answer, since what was asked is being answered or nobody can.
    pub fn settle(self) {
        // The channel may have gone.
        let _ = self.settled.send(());
    }
}

/// How much of a message a listener has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// All of it: written, and flushed to the listener's socket.
    Whole,
    /// Perhaps a part: the channel was lost on the way.
    InPart,
    /// Nothing: the channel was lost before.
    Nothing,
}

/// Tells how far a message has come. Dropping it says that it will come no further.
#[derive(Debug)]
pub struct Receipt {
    tell: Option<oneshot::Sender<Handover>>,
    begun: bool,
}

impl Receipt {
    fn new() -> (Self, oneshot::Receiver<Handover>) {
        let (tell, told) = oneshot::channel();
        (Self { tell: Some(tell), begun: false }, told)
    }

    /// The first byte is about to be written.
    pub fn begins(&mut self) {
        self.begun = true;
    }

    /// The last byte was written.
    pub fn ends(mut self) {
        self.tell(Handover::Whole);
    }

    fn tell(&mut self, handover: Handover) {
        if let Some(tell) = self.tell.take() {
            // Whoever delivered may have gone.
            let _ = tell.send(handover);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.tell(if self.begun { Handover::InPart } else { Handover::Nothing });
    }
}

/// A delivery on its way to a control channel of this node.
#[derive(Debug)]
pub struct Inbound {
    /// The message.
    pub delivery: Delivery,
    /// Feeds the [`Replies`] of whoever delivered.
    pub reply_to: ReplyTo,
    /// Frees the queue's bytes when the message has been written.
    pub(crate) room: tokio::sync::OwnedSemaphorePermit,
}

/// Why a listener cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The hybrid connection has as many listeners as it may have.
    TooMany,
}

/// Why a delivery failed. Nothing has been written to the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverError {
    /// The listener is not online any more.
    Gone,
    /// Its queue stayed full for too long.
    Busy,
}

/// The listeners of a hybrid connection at one moment.
#[derive(Clone, Debug, Default)]
pub struct Online {
    /// Since when there has been one without interruption; `None` if there is none.
    pub since: Option<SystemTime>,
    /// Each of them, in the order in which they came.
    pub listeners: Vec<ListenerRecord>,
}

/// A listener came or went.
#[derive(Clone, Debug)]
pub struct ListenerChange {
    /// When.
    pub at: SystemTime,
    /// Which one.
    pub id: ListenerId,
    /// What was known of it as it came; `None` if it went.
    pub came: Option<Arc<ListenerRecord>>,
    /// How many there are now.
    pub count: usize,
    /// Since when there has been one without interruption; `None` if there is none any more.
    pub since: Option<SystemTime>,
}

/// A hybrid connection that got its first listener, or lost its last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityChange {
    /// When.
    pub at: SystemTime,
    /// Which one.
    pub entity: EntityKey,
    /// Whether somebody listens on it now.
    pub online: bool,
}

/// What there is, and each change from there on, in order and once.
#[derive(Debug)]
pub struct Following<S, C> {
    /// What there is; `None` for whoever goes on where they were.
    pub present: Option<S>,
    /// The changes behind it.
    pub changes: Reader<C>,
}

/// Who listens where.
pub trait Directory: Send + Sync + 'static {
    /// Makes a listener of this node known, one of at most so many of its hybrid connection. It stays so until the lease is
    /// dropped.
    fn register(&self, record: ListenerRecord, most: usize) -> Result<Lease, RegisterError>;

    /// The listeners of an entity that are online, in the order in which they came.
    fn listeners(&self, entity: &EntityKey) -> Vec<ListenerRecord>;

    /// Their ids, in the same order: for whoever looks often, at very many.
    fn listener_ids(&self, entity: &EntityKey) -> Vec<ListenerId>;

    /// What is known about a listener; `None` if it is not online any more.
    fn listener(&self, id: ListenerId) -> Option<ListenerRecord>;

    /// How many listeners are online, now and after every change.
    fn watch(&self, entity: &EntityKey) -> watch::Receiver<usize>;

    /// Counts one more sender or request for a listener, until the value is dropped.
    fn occupy(&self, listener: ListenerId) -> Occupied;

    /// The listeners of an entity, and since when there has been one.
    fn online(&self, entity: &EntityKey) -> Online;

    /// The same, and each listener that comes or goes. Whoever has read up to `after` goes on there, as long as what has changed since
    /// then is known.
    fn presence(&self, entity: &EntityKey, after: Option<Position>) -> Following<Online, ListenerChange>;

    /// The entities of a namespace on which somebody listens, and since when.
    fn entities(&self, namespace: &str) -> Vec<(EntityKey, SystemTime)>;

    /// The same, and each that gets its first listener or loses its last one; `after` as for [`presence`](Self::presence).
    fn follow_entities(
        &self,
        namespace: &str,
        after: Option<Position>,
    ) -> Following<Vec<(EntityKey, SystemTime)>, EntityChange>;

    /// Sends a message to a listener. Waits while its queue is full, up to the relay's limit.
    fn deliver(&self, listener: ListenerId, delivery: Delivery) -> BoxFuture<Result<Replies, DeliverError>>;

    /// Ends a listener's channel without a Close, as a network failure would.
    fn disconnect(&self, listener: ListenerId);
}

/// A listener's place in the directory, held by its control channel.
pub struct Lease {
    /// What senders deliver to this listener.
    pub inbox: mpsc::Receiver<Inbound>,
    /// Turns true when the channel is to end without a Close.
    pub disconnected: watch::Receiver<bool>,
    /// Called as the channel lives; see [`Presence`].
    pub presence: Arc<dyn Presence>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}

/// What a control channel tells the directory while it lives. Dropping the last reference ends the registration.
pub trait Presence: Send + Sync {
    /// A byte came from the listener.
    fn heard(&self, at: Instant);
}

/// One sender or request that keeps a listener busy; see [`ListenerRecord::in_flight`]. It may outlive the listener's registration.
#[derive(Debug)]
pub struct Occupied(Arc<AtomicUsize>);

impl Occupied {
    /// One more of this number.
    pub fn new(in_flight: Arc<AtomicUsize>) -> Self {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Self(in_flight)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
