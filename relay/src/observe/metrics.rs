//! Numbers, in the meaning of Azure Monitor's where it has one: [`table`] says which there are.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Meter;
use crate::directory::EntityKey;
use crate::node::lock;
use crate::refusal::Reason;

mod table;

use table::*;

/// The label of all hybrid connections that came after the limit was reached.
const OTHER: &str = "other";

/// From a millisecond to the half minute that a listener has.
const RENDEZVOUS_BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 30.0];

/// A counter of time.
pub(super) type Seconds = Counter<f64, AtomicU64>;

/// The metrics of one relay, in a registry of its own.
pub(crate) struct Metrics {
    registry: Registry,
    families: Families,
    pub(crate) accept_pauses: Counter,
    pub(crate) descriptors_exhausted: Counter,
    gauges: Gauges,
    /// By namespace and path.
    entities: Mutex<BTreeMap<String, BTreeMap<String, Arc<EntityMetrics>>>>,
    most_entities: usize,
}

/// What is read when somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    pub(crate) sockets: usize,
    pub(crate) unauthenticated: usize,
    pub(crate) handshakes: usize,
    pub(crate) drain_stage: u8,
}

/// Which half of a relay's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Listener,
    Sender,
}

/// The numbers of one hybrid connection: looked up once by whoever counts, then counted without a lock.
pub(crate) struct EntityMetrics {
    listener: Results,
    sender: Results,
    active_listeners: Gauge,
    active_connections: Gauge,
    listener_disconnects: Counter,
    sender_disconnects: Counter,
    pub(crate) rendezvous: Histogram,
    pub(crate) meter: Meter,
    pub(crate) events: EventCounters,
}

/// The numbers of a hybrid connection at which every listener gets everything.
pub(crate) struct EventCounters {
    pub(crate) published: Counter,
    pub(crate) delivered: Counter,
    pub(crate) dropped: Counter,
    pub(crate) cut_off: Counter,
}

/// Is counted as active until dropped, and then as a disconnect.
pub(crate) struct Active {
    gauge: Gauge,
    disconnects: Counter,
}

struct Results {
    success: Counter,
    client_error: Counter,
    server_error: Counter,
}

struct Families {
    listener_connections: Family<ResultLabels, Counter>,
    sender_connections: Family<ResultLabels, Counter>,
    active_listeners: Family<Labels, Gauge>,
    active_connections: Family<Labels, Gauge>,
    transferred: Family<DirectionLabels, Counter>,
    listener_disconnects: Family<Labels, Counter>,
    sender_disconnects: Family<Labels, Counter>,
    rendezvous: Family<NamespaceLabels, Histogram, fn() -> Histogram>,
    blocked: Family<DirectionLabels, Seconds>,
    throttled: Family<Labels, Seconds>,
    events_published: Family<Labels, Counter>,
    events_delivered: Family<Labels, Counter>,
    events_dropped: Family<Labels, Counter>,
    slow_subscribers: Family<Labels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
}

#[derive(Default)]
struct Gauges {
    sockets: Gauge,
    unauthenticated: Gauge,
    handshakes: Gauge,
    drain_stage: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    entity: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabels {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    namespace: String,
    entity: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    namespace: String,
    entity: String,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    namespace: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

impl Metrics {
    /// Metrics with series of their own for so many hybrid connections.
    pub(crate) fn new(most_entities: usize) -> Self {
        let mut registry = Registry::default();
        let families = Families::new();
        let (gauges, accept_pauses, descriptors_exhausted) =
            (Gauges::default(), Counter::default(), Counter::default());
        let r = &mut registry;
        BUILD.register(r, Info::new(BuildLabels { version: env!("CARGO_PKG_VERSION") }));
        LISTENER_CONNECTIONS.register(r, families.listener_connections.clone());
        SENDER_CONNECTIONS.register(r, families.sender_connections.clone());
        ACTIVE_LISTENERS.register(r, families.active_listeners.clone());
        ACTIVE_CONNECTIONS.register(r, families.active_connections.clone());
        TRANSFERRED_BYTES.register(r, families.transferred.clone());
        LISTENER_DISCONNECTS.register(r, families.listener_disconnects.clone());
        SENDER_DISCONNECTS.register(r, families.sender_disconnects.clone());
        RENDEZVOUS_SECONDS.register(r, families.rendezvous.clone());
        BLOCKED_SECONDS.register(r, families.blocked.clone());
        THROTTLED_SECONDS.register(r, families.throttled.clone());
        EVENTS_PUBLISHED.register(r, families.events_published.clone());
        EVENTS_DELIVERED.register(r, families.events_delivered.clone());
        EVENTS_DROPPED.register(r, families.events_dropped.clone());
        SLOW_SUBSCRIBERS.register(r, families.slow_subscribers.clone());
        REFUSALS.register(r, families.refusals.clone());
        SOCKETS.register(r, gauges.sockets.clone());
        UNAUTHENTICATED_SOCKETS.register(r, gauges.unauthenticated.clone());
        HANDSHAKES.register(r, gauges.handshakes.clone());
        ACCEPT_PAUSES.register(r, accept_pauses.clone());
        DESCRIPTORS_EXHAUSTED.register(r, descriptors_exhausted.clone());
        DRAIN_STAGE.register(r, gauges.drain_stage.clone());
        Self {
            registry,
            families,
            accept_pauses,
            descriptors_exhausted,
            gauges,
            entities: Mutex::default(),
            most_entities,
        }
    }

    /// The numbers of a hybrid connection. Without one: what could be led to a namespace only, or not even there.
    pub(crate) fn entity(&self, namespace: &str, entity: Option<&EntityKey>) -> Arc<EntityMetrics> {
        let path = entity.map_or("", EntityKey::path);
        let mut namespaces = lock(&self.entities);
        if let Some(known) = namespaces.get(namespace).and_then(|entities| entities.get(path)) {
            return known.clone();
        }
        let is_full = namespaces.values().map(BTreeMap::len).sum::<usize>() >= self.most_entities;
        let path = if entity.is_some() && is_full { OTHER } else { path };
        let labels = Labels { namespace: namespace.to_owned(), entity: path.to_owned() };
        let entities = namespaces.entry(labels.namespace.clone()).or_default();
        entities.entry(path.to_owned()).or_insert_with(|| Arc::new(self.families.entity(&labels))).clone()
    }

    /// Counts a refusal, whoever's it was.
    pub(crate) fn refused(&self, namespace: &str, reason: Reason) {
        let labels = RefusalLabels { namespace: namespace.to_owned(), reason: reason.as_str() };
        self.families.refusals.get_or_create(&labels).inc();
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn text(&self, present: Present) -> String {
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.gauges.sockets.set(gauge(present.sockets));
        self.gauges.unauthenticated.set(gauge(present.unauthenticated));
        self.gauges.handshakes.set(gauge(present.handshakes));
        self.gauges.drain_stage.set(i64::from(present.drain_stage));
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

impl EntityMetrics {
    /// A listener is online, or a sender's connection is open.
    pub(crate) fn active(&self, party: Party) -> Active {
        let (gauge, disconnects) = match party {
            Party::Listener => (&self.active_listeners, &self.listener_disconnects),
            Party::Sender => (&self.active_connections, &self.sender_disconnects),
        };
        gauge.inc();
        Active { gauge: gauge.clone(), disconnects: disconnects.clone() }
    }

    /// Counts the answer to a listener or sender.
    pub(crate) fn answered(&self, party: Party, status: StatusCode) {
        let success = status == StatusCode::SWITCHING_PROTOCOLS;
        self.count(party, status, success);
    }

    /// Counts the answer to an HTTP request.
    pub(crate) fn answered_request(&self, status: StatusCode) {
        let success = !(status.is_client_error() || status.is_server_error());
        self.count(Party::Sender, status, success);
    }

    fn count(&self, party: Party, status: StatusCode, success: bool) {
        let results = match party {
            Party::Listener => &self.listener,
            Party::Sender => &self.sender,
        };
        let counter = match status {
            _ if success => &results.success,
            status if status.is_server_error() => &results.server_error,
            _ => &results.client_error,
        };
        counter.inc();
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.gauge.dec();
        self.disconnects.inc();
    }
}

impl Families {
    fn new() -> Self {
        Self {
            listener_connections: Family::default(),
            sender_connections: Family::default(),
            active_listeners: Family::default(),
            active_connections: Family::default(),
            transferred: Family::default(),
            listener_disconnects: Family::default(),
            sender_disconnects: Family::default(),
            rendezvous: Family::new_with_constructor(|| Histogram::new(RENDEZVOUS_BUCKETS)),
            blocked: Family::default(),
            throttled: Family::default(),
            events_published: Family::default(),
            events_delivered: Family::default(),
            events_dropped: Family::default(),
            slow_subscribers: Family::default(),
            refusals: Family::default(),
        }
    }

    fn entity(&self, labels: &Labels) -> EntityMetrics {
        let Labels { namespace, entity } = labels.clone();
        let results = |family: &Family<ResultLabels, Counter>| {
            let result = |result| {
                let labels = ResultLabels { namespace: namespace.clone(), entity: entity.clone(), result };
                family.get_or_create_owned(&labels)
            };
            Results {
                success: result("success"),
                client_error: result("client_error"),
                server_error: result("server_error"),
            }
        };
        let direction = |direction| DirectionLabels { namespace: namespace.clone(), entity: entity.clone(), direction };
        let (to_listener, to_sender) = (direction("to_listener"), direction("to_sender"));
        EntityMetrics {
            listener: results(&self.listener_connections),
            sender: results(&self.sender_connections),
            active_listeners: self.active_listeners.get_or_create_owned(labels),
            active_connections: self.active_connections.get_or_create_owned(labels),
            listener_disconnects: self.listener_disconnects.get_or_create_owned(labels),
            sender_disconnects: self.sender_disconnects.get_or_create_owned(labels),
            rendezvous: self.rendezvous.get_or_create_owned(&NamespaceLabels { namespace: namespace.clone() }),
            meter: Meter {
                to_listener: self.transferred.get_or_create_owned(&to_listener),
                to_sender: self.transferred.get_or_create_owned(&to_sender),
                listener_blocked: self.blocked.get_or_create_owned(&to_listener),
                sender_blocked: self.blocked.get_or_create_owned(&to_sender),
                throttled: self.throttled.get_or_create_owned(labels),
            },
            events: EventCounters {
                published: self.events_published.get_or_create_owned(labels),
                delivered: self.events_delivered.get_or_create_owned(labels),
                dropped: self.events_dropped.get_or_create_owned(labels),
                cut_off: self.slow_subscribers.get_or_create_owned(labels),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: Present = Present { sockets: 3, unauthenticated: 2, handshakes: 1, drain_stage: 0 };

    #[test]
    fn hybrid_connections_beyond_the_limit_share_a_label() {
        let metrics = Metrics::new(2);
        for path in ["a", "b", "c", "d", "a"] {
            metrics.entity("ns", Some(&EntityKey::new("ns", path))).active_listeners.inc();
        }
        let text = metrics.text(PRESENT);
        for (entity, count) in [("a", 2), ("b", 1), ("other", 2)] {
            let line = format!("hybridrelay_active_listeners{{namespace=\"ns\",entity=\"{entity}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(!text.contains("entity=\"c\""), "{text}");
    }

    #[test]
    fn answers_are_counted_by_whose_fault_they_were() {
        let metrics = Metrics::new(10);
        let entity = metrics.entity("ns", Some(&EntityKey::new("ns", "a")));
        for status in [101, 404, 451, 504, 503, 101, 101] {
            entity.answered(Party::Sender, StatusCode::from_u16(status).expect("a status"));
        }
        let text = metrics.text(PRESENT);
        for (result, count) in [("success", 3), ("client_error", 2), ("server_error", 2)] {
            let labels = format!("{{namespace=\"ns\",entity=\"a\",result=\"{result}\"}}");
            assert!(text.contains(&format!("hybridrelay_sender_connections_total{labels} {count}\n")), "{text}");
            assert!(text.contains(&format!("hybridrelay_listener_connections_total{labels} 0\n")), "{text}");
        }
    }

    #[test]
    fn what_is_served_is_what_is_documented() {
        let metrics = Metrics::new(10);
        metrics.entity("ns", Some(&EntityKey::new("ns", "a"))).rendezvous.observe(0.2);
        metrics.refused("ns", Reason::NoListeners);
        let text = metrics.text(PRESENT);
        let served: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        let documented: Vec<(&str, &str)> =
            TABLE.iter().map(|metric| (metric.family(), metric.kind.as_str())).collect();
        assert_eq!(served, documented);
        for metric in TABLE {
            let sample = text.lines().find(|line| line.starts_with(metric.name)).expect(metric.name);
            let labels: Vec<&str> = sample
                .split_once('{')
                .and_then(|(_, rest)| rest.split_once('}'))
                .map(|(labels, _)| labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect())
                .unwrap_or_default();
            assert_eq!(labels, metric.labels, "{sample}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
