//! A relay at whose hybrid connection every listener gets everything, and raw peers of it.

use hybridrelay_relay::{Distribution, EventSettings, LocalRelay};
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::peers::{self, RawListener};
use hybridrelay_tests::wire::raw::{Door, RawWebSocket, op};
use hybridrelay_tests::wire::setup::{self, HYCO};

/// Makes `HYCO` one for events.
pub(crate) fn for_events(relay: &LocalRelay, edit: impl FnOnce(&mut EventSettings)) {
    let mut settings = EventSettings::default();
    edit(&mut settings);
    let entity = setup::entity(HYCO).with_distribution(Distribution::All(settings));
    assert!(relay.store().put_entity(relay.namespace(), entity));
}

/// Relays with and without TLS, for events.
pub(crate) async fn plain_and_tls() -> [LocalRelay; 2] {
    let relays = setup::plain_and_tls().await;
    relays.iter().for_each(|relay| for_events(relay, |_| {}));
    relays
}

/// A relay in plain text, for events.
pub(crate) async fn plain(edit: impl FnOnce(&mut EventSettings)) -> LocalRelay {
    let relay = setup::plain().await;
    for_events(&relay, edit);
    relay
}

/// Raw listeners, all online.
pub(crate) async fn listeners(relay: &LocalRelay, count: usize) -> Vec<RawListener> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(RawListener::open(relay).await);
    }
    listeners
}

/// A raw publisher.
pub(crate) async fn publisher(relay: &LocalRelay) -> RawWebSocket {
    peers::connect(relay, "").send(&Door::from(relay)).await.websocket()
}

/// Takes the next publisher in, at every listener.
pub(crate) async fn subscribe(listeners: &mut [RawListener]) -> Vec<RawWebSocket> {
    futures_util::future::join_all(listeners.iter_mut().map(RawListener::accept)).await
}

/// A publisher and as many subscribers as there are listeners.
pub(crate) async fn joined(relay: &LocalRelay, count: usize) -> (RawWebSocket, Vec<RawWebSocket>, Vec<RawListener>) {
    let mut listeners = listeners(relay, count).await;
    let publisher = publisher(relay).await;
    let subscribers = subscribe(&mut listeners).await;
    (publisher, subscribers, listeners)
}

/// Expects this text next.
pub(crate) async fn expect(subscriber: &mut RawWebSocket, text: &str) {
    assert_eq!(subscriber.message().await, (op::TEXT, text.as_bytes().to_vec()));
}

/// A number of the hybrid connection, of those for events.
pub(crate) fn count(relay: &LocalRelay, name: &str) -> f64 {
    let name = format!("hybridrelay_events_{name}_total");
    Samples::from(relay).sum(&name, &[("namespace", relay.namespace()), ("entity", HYCO)])
}
