//! What an operator sees of a relay: numbers ([`metrics`]), and what happens ([`events`], which are also the log).

use std::net::SocketAddr;
use std::sync::Arc;

use hybridrelay::env::Env;
use hybridrelay::protocol::TrackingId;
use tokio::sync::broadcast;

use crate::directory::EntityKey;

mod events;
mod meter;
mod metrics;
mod operation;
mod scrape;
mod traceparent;

pub use events::{Detail, Event, Events};
pub(crate) use meter::{Meter, Reporter, Totals};
pub(crate) use metrics::{Active, EntityMetrics, Metrics, Party, Present};
pub use operation::Operation;
pub(crate) use scrape::scrape;
pub(crate) use traceparent::traceparent;

/// How many events a slow reader may be behind before it misses some.
const EVENTS_KEPT: usize = 1024;

/// The eyes of one relay.
pub(crate) struct Observer {
    env: Env,
    pub(crate) metrics: Metrics,
    events: broadcast::Sender<Arc<Event>>,
}

/// Whom something happens to.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) tracking_id: TrackingId,
    pub(crate) peer: SocketAddr,
    /// The hybrid connection, once it is known to exist.
    pub(crate) entity: Option<EntityKey>,
    /// The rule whose key let the peer in.
    pub(crate) key_name: Option<String>,
    pub(crate) traceparent: Option<String>,
}

impl Observer {
    pub(crate) fn new(env: Env, metrics: Metrics) -> Self {
        Self { env, metrics, events: broadcast::Sender::new(EVENTS_KEPT) }
    }

    /// Notes that something happened: in the log, and for everybody who follows the events.
    pub(crate) fn note(&self, origin: &Origin, operation: Operation, detail: Detail) {
        let event = Event {
            at: self.env.wall_clock(),
            operation,
            entity: origin.entity.clone(),
            tracking_id: origin.tracking_id.to_string(),
            peer: origin.peer,
            key_name: origin.key_name.clone(),
            traceparent: origin.traceparent.clone(),
            detail,
        };
        event.log();
        // Nobody may be following.
        let _ = self.events.send(Arc::new(event));
    }

    /// What happens from now on.
    pub(crate) fn events(&self) -> Events {
        Events::new(self.events.subscribe())
    }
}
