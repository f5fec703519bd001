//! What the doors of one relay process share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use hybridrelay::CloseFrame;
use hybridrelay::env::Env;
use hybridrelay::protocol::close;
use tokio::sync::watch;

use crate::config::{Config, LiveConfig};
use crate::directory::{Directory, EntityKey};
use crate::instrument::Instrument;
use crate::limits::{Quotas, Rates, Resource};
use crate::observe::{Metrics, Observer, Present};
use crate::rendezvous::{Ending, Tickets};
use crate::store::Store;

mod count;

pub(crate) use count::{Count, Counted};

/// One relay process.
pub(crate) struct Node {
    pub(crate) env: Env,
    pub(crate) started_at: SystemTime,
    pub(crate) live: LiveConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) tickets: Tickets,
    pub(crate) endings: Endings,
    pub(crate) quotas: Quotas,
    pub(crate) rates: Rates,
    pub(crate) observer: Observer,
    /// What tests do to it, in a local relay.
    pub(crate) instrument: Option<Arc<Instrument>>,
    /// How far the relay's own end has come; everything long-lived watches it.
    pub(crate) stage: watch::Sender<Stage>,
    /// Relayed connections that are open.
    pub(crate) open: Count,
    /// What a shutdown waits for beside them: acceptors, control channels, requests without an answer.
    pub(crate) busy: Count,
    /// Every task, sockets that have nothing to do included.
    tasks: Count,
}

/// The life of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    /// As running, but whoever asks is told to stay away.
    Announced,
    /// Nothing new is taken; what lives may go on until then.
    Draining(Instant),
    /// Everything ends at once.
    Stopped,
}

impl Stage {
    /// Whether nothing new is taken any more.
    pub(crate) fn is_ending(self) -> bool {
        matches!(self, Self::Draining(_) | Self::Stopped)
    }

    /// The number in the metrics.
    fn number(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::Announced => 1,
            Self::Draining(_) => 2,
            Self::Stopped => 3,
        }
    }
}

impl Node {
    pub(crate) fn new(
        env: Env,
        live: LiveConfig,
        store: Arc<dyn Store>,
        directory: Arc<dyn Directory>,
        instrument: Option<Arc<Instrument>>,
    ) -> Self {
        let most_entities = live.current().limits.entities_in_metrics;
        Self {
            quotas: Quotas::new(live.clone()),
            rates: Rates::new(live.clone()),
            observer: Observer::new(env.clone(), Metrics::new(most_entities)),
            instrument,
            started_at: env.wall_clock(),
            env,
            live,
            store,
            directory,
            tickets: Tickets::default(),
            endings: Endings::default(),
            stage: watch::Sender::new(Stage::Running),
            open: Count::default(),
            busy: Count::default(),
            tasks: Count::default(),
        }
    }

    /// The settings of this moment.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.live.current()
    }

    /// Runs a task of this relay.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let counted = self.tasks.enter();
        // An `async` block would keep room for the task twice: where it is captured and where it is awaited.
        self.env.spawn(task.map(move |()| drop(counted)));
    }

    /// Completes when nothing is relayed and nothing is about to be.
    pub(crate) async fn quiet(&self) {
        // In this order: a request that is being answered may become a connection.
        self.busy.none().await;
        self.open.none().await;
    }

    /// Completes when no task is left.
    pub(crate) async fn ended(&self) {
        self.tasks.none().await;
    }

    /// The metrics in the OpenMetrics text format.
    pub(crate) fn metrics_text(&self) -> String {
        let stage = *self.stage.borrow();
        self.observer.metrics.text(Present {
            sockets: self.quotas.in_use(Resource::Socket),
            unauthenticated: self.quotas.in_use(Resource::Unauthenticated),
            handshakes: self.quotas.in_use(Resource::Handshake),
            drain_stage: stage.number(),
        })
    }

    /// Completes when the relay has stopped.
    pub(crate) async fn stopped(&self) {
        let mut stage = self.stage.subscribe();
        // The sender is in the node, so this cannot fail while somebody asks.
        let _ = stage.wait_for(|stage| *stage == Stage::Stopped).await;
    }

    /// Completes when the relay begins to drain, with the time until which it may take.
    pub(crate) async fn draining(&self) -> Instant {
        let mut stage = self.stage.subscribe();
        match stage.wait_for(|stage| stage.is_ending()).await.as_deref() {
            Ok(Stage::Draining(deadline)) => *deadline,
            _ => self.env.now(),
        }
    }

    /// Closes the relayed connections of hybrid connections that were deleted, for as long as the relay lives.
    pub(crate) async fn watch_store(self: Arc<Self>) {
        let mut changes = self.store.changes();
        let watching = async {
            while changes.changed().await.is_ok() {
                let snapshot = changes.borrow_and_update().clone();
                let exists = |key: &EntityKey| {
                    snapshot.namespace(key.namespace()).is_some_and(|namespace| namespace.entity(key.path()).is_some())
                };
                let until = self.env.now() + self.config().timings.control_close;
                let close = CloseFrame { code: close::GOING_AWAY, reason: "The endpoint was deleted".to_owned() };
                self.endings.end_unless(exists, &Ending::Drain { close, until });
            }
        };
        tokio::select! {
            biased;
            () = self.stopped() => {}
            () = watching => {}
        }
    }
}

/// The signals that end relayed connections, one for each hybrid connection.
#[derive(Default)]
pub(crate) struct Endings(Mutex<BTreeMap<EntityKey, watch::Sender<Option<Ending>>>>);

impl Endings {
    pub(crate) fn subscribe(&self, entity: &EntityKey) -> watch::Receiver<Option<Ending>> {
        let mut signals = lock(&self.0);
        signals.retain(|_, signal| signal.receiver_count() > 0);
        signals.entry(entity.clone()).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// Ends the connections of every hybrid connection that does not pass.
    pub(crate) fn end_unless(&self, keep: impl Fn(&EntityKey) -> bool, ending: &Ending) {
        let mut signals = lock(&self.0);
        signals.retain(|entity, signal| {
            let kept = keep(entity);
            if !kept {
                signal.send_replace(Some(ending.clone()));
            }
            // A hybrid connection that is made again begins with a signal of its own.
            kept
        });
    }
}

/// Locks a table whose holders do not panic; a poisoned one would still be whole.
pub(crate) fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
