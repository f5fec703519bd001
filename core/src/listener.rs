//! The listening side: online under a hybrid connection, through network loss and token expiry.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::address::{EntityPath, RelayAddress};
use crate::env::Env;
use crate::options::{Options, Target, shared_options};
use crate::protocol::{Features, TrackingId, labels};
use crate::{Error, ErrorKind, Events, Result};

mod backoff;
mod control;
mod incoming;
mod missed;
mod queue;
mod status;
mod task;

pub(crate) use backoff::Backoff;
pub(crate) use control::{Outgoing, USER_AGENT};
pub(crate) use incoming::AnswerContext;
pub use incoming::{AcceptConnect, Incoming, IncomingConnect};
pub(crate) use missed::MissedEvents;
pub(crate) use queue::IncomingQueue;
pub use status::{Status, StatusWatcher};

use control::Identity;
use task::ListenerTask;

/// A listener that is or was online under a hybrid connection. Cheap to clone.
///
/// It never ends in silence: [`accept`](Self::accept) yields what comes until the program's own [`close`](Self::close); what the
/// network does meanwhile is seen in [`status`](Self::status) and mended in the background. Dropping the last handle closes it.
#[derive(Clone, Debug)]
pub struct Listener(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    env: Env,
    address: RelayAddress,
    entity: EntityPath,
    queue: Arc<IncomingQueue>,
    missed: Arc<MissedEvents>,
    max_message_size: usize,
    status: watch::Receiver<Status>,
    features: watch::Receiver<Features>,
    closing: watch::Sender<bool>,
}

impl Listener {
    /// Prepares a listener for a connection string or address.
    pub fn builder(target: impl Into<Target>) -> ListenerBuilder {
        ListenerBuilder {
            options: Options::new(target.into()),
            accept_timeout: Duration::from_secs(20),
            reconnect: true,
            wait: false,
            max_concurrent: 1024,
            subprotocols: Vec::new(),
            tracking_id: None,
            labels: BTreeMap::new(),
        }
    }

    /// The next sender that waits; `None` after the program's own close.
    ///
    /// May be called by several tasks at once: each sender goes to one of them.
    ///
    /// # Errors
    ///
    /// A final failure, delivered once to one caller: only with `reconnect(false)`. Everything else is retried and shows in the
    /// status.
    ///
    /// Cancel-safe.
    pub async fn accept(&self) -> Result<Option<Incoming>> {
        self.0.queue.next().await
    }

    /// What comes, as a stream that ends where [`accept`](Self::accept) returns `None`.
    pub fn incoming(&self) -> impl Stream<Item = Result<Incoming>> + Send + 'static {
        futures_util::stream::unfold(self.clone(), |listener| async move {
            let next = listener.accept().await.transpose()?;
            Some((next, listener))
        })
    }

    /// Takes everything that comes from here on as events: the messages of every publisher and the requests, one after the other.
    ///
    /// Senders are accepted by themselves, and nothing is sent to them; [`accept`](Self::accept) is not to be called meanwhile. At a hybrid
    /// connection for events (`distribution = "all"`, protocol.md 11) every listener hears every publisher, a [`Publisher`](crate::Publisher),
    /// any WebSocket sender, or the sender of an HTTP request. At any other one, also of Azure Relay, each publisher is heard by one
    /// listener, and a request is answered with 202. More requests than `max_concurrent` that wait here are refused with 503, which a
    /// sender who waits for no answer does not see.
    ///
    /// ```no_run
    /// # async fn example(listener: hybridrelay::Listener) -> hybridrelay::Result<()> {
    /// use hybridrelay::Event;
    ///
    /// let events = listener.events();
    /// while let Some(event) = events.next().await? {
    ///     match event {
    ///         Event::Missed { origin, count } => println!("{} of {} missed", count, origin.tracking_id()),
    ///         event => println!("{}: {:?}", event.origin().path(), event.payload()),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of the runtime that the listener was opened in.
    pub fn events(&self) -> Events {
        Events::of(self.clone())
    }

    /// Follows whether the listener is online.
    pub fn status(&self) -> StatusWatcher {
        StatusWatcher(self.0.status.clone())
    }

    /// What the relay of the present control channel offers beyond the protocol; empty for Azure Relay.
    pub fn features(&self) -> Features {
        self.0.features.borrow().clone()
    }

    /// The relay's address.
    pub fn address(&self) -> &RelayAddress {
        &self.0.address
    }

    /// The hybrid connection.
    pub fn entity(&self) -> &EntityPath {
        &self.0.entity
    }

    pub(crate) fn env(&self) -> &Env {
        &self.0.env
    }

    pub(crate) fn missed_events(&self) -> &Arc<MissedEvents> {
        &self.0.missed
    }

    pub(crate) fn max_message_size(&self) -> usize {
        self.0.max_message_size
    }

    /// Goes offline: tells the relay, wakes every waiting [`accept`](Self::accept) and rejects senders that wait unaccepted.
    /// Accepted connections go on. Returns within 2 s. Idempotent and cancel-safe: a cancelled close goes on in the background.
    pub async fn close(&self) {
        self.0.closing.send_replace(true);
        let mut status = self.0.status.clone();
        let _ = status.wait_for(|status| matches!(status, Status::Closed { .. })).await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}

/// Prepares a [`Listener`]. Await it or call [`open`](Self::open).
#[derive(Clone, Debug)]
#[must_use = "nothing listens until the builder is opened"]
pub struct ListenerBuilder {
    options: Options,
    accept_timeout: Duration,
    reconnect: bool,
    wait: bool,
    max_concurrent: usize,
    subprotocols: Vec<String>,
    tracking_id: Option<String>,
    labels: BTreeMap<String, String>,
}

impl ListenerBuilder {
    shared_options!();

    /// How long dialling the rendezvous of an accepted sender may take. Default 20 s; the relay gives up after 30 s.
    pub fn accept_timeout(mut self, limit: Duration) -> Self {
        self.accept_timeout = limit;
        self
    }

    /// Whether a lost control channel is opened again, for ever. Default true.
    pub fn reconnect(mut self, yes: bool) -> Self {
        self.reconnect = yes;
        self
    }

    /// Whether the first open also retries network failures and an entity that does not exist yet, instead of failing. Default
    /// false. A refused credential is final in any case.
    pub fn wait(mut self, yes: bool) -> Self {
        self.wait = yes;
        self
    }

    /// How many senders may be unanswered at once; more are refused with 503. Default 1024. A request counts until its response is
    /// complete, and holds up to 64 KiB of its body until it is read.
    pub fn max_concurrent(mut self, limit: usize) -> Self {
        self.max_concurrent = limit;
        self
    }

    /// The sub-protocols that the program speaks, in its order of preference.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// The GUID under which the relay's logs and `AllowedListeners` know this listener. Default: a random one, kept over
    /// reconnects.
    pub fn tracking_id(mut self, id: impl Into<String>) -> Self {
        self.tracking_id = Some(id.into());
        self
    }

    /// Says something of the listener to those who may manage the hybrid connection, such as its version or where it runs; see
    /// [`PresentListener::labels`](crate::PresentListener::labels). May be called several times; all together take at most 1 KiB. Azure
    /// Relay ignores them.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Gets online.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for unusable options. `Unauthorized` and `EndpointNotFound` as the relay refuses; `Network`, `Tls`,
    /// `Timeout` and others if it cannot be reached. With [`wait`](Self::wait) all but the first two are retried until the future is
    /// dropped, which ends the attempt.
    pub async fn open(self) -> Result<Listener> {
        let checked = self.options.check()?;
        let labels = labels::write(&self.labels).map_err(|error| Error::invalid(error.to_string()))?;
        let env = checked.dialer.env().clone();
        let id = match self.tracking_id {
            Some(text) => TrackingId::adopt(&text)
                .ok_or_else(|| Error::invalid(format!("the tracking id {text:?} does not begin with a GUID")))?,
            None => TrackingId::from_random(env.random()),
        };
        let (refusals, refused) = mpsc::unbounded_channel();
        let context = Arc::new(AnswerContext {
            dialer: checked.dialer.clone(),
            entity: checked.entity.clone(),
            plaintext: checked.address.is_plaintext(),
            accept_timeout: self.accept_timeout,
            subprotocols: self.subprotocols,
            link: checked.link,
            connection: checked.connection,
            refusals,
            refusing: Arc::new(watch::Sender::new(0)),
        });
        env.spawn(incoming::run_refusals(env.clone(), refused));

        let queue = IncomingQueue::new();
        let missed = Arc::new(MissedEvents::default());
        let (status_sender, status) = watch::channel(Status::Connecting);
        let (features_sender, features) = watch::channel(Features::none());
        let (closing, closing_seen) = watch::channel(false);
        let (opened, outcome) = oneshot::channel();
        let listener = Listener(Arc::new(Inner {
            env: env.clone(),
            address: checked.address.clone(),
            entity: checked.entity.clone(),
            queue: queue.clone(),
            missed: missed.clone(),
            max_message_size: checked.connection.max_message_size,
            status,
            features,
            closing,
        }));
        let task = ListenerTask {
            checked,
            identity: Identity { id: id.to_string(), labels },
            reconnect: self.reconnect,
            wait: self.wait,
            context,
            queue,
            missed,
            permits: Arc::new(Semaphore::new(self.max_concurrent)),
            status: status_sender,
            features: features_sender,
            closing: closing_seen,
            opened: Some(opened),
        };
        env.spawn(task.run());
        outcome.await.map_err(|_| Error::new(ErrorKind::Internal, "the listener's task ended early"))??;
        Ok(listener)
    }
}

impl IntoFuture for ListenerBuilder {
    type Output = Result<Listener>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}
