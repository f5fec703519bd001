//! A simulated relay and its listener.

use std::time::Duration;

use hybridrelay::env::Env;
use hybridrelay::env::sim::{Event, Sim};
use hybridrelay::{Listener, ListenerBuilder, Status};
use hybridrelay_relay::{Entity, ListenAddress, MemoryStore, Namespace, Relay, RelayHandle, Rights, Rule};

pub(crate) const RELAY: &str = "relay";
pub(crate) const LISTENER: &str = "office";
pub(crate) const NAMESPACE: &str = "main";
pub(crate) const ENTITY: &str = "hyco";
pub(crate) const RULE: &str = "both";
pub(crate) const KEY: &str = "an unguessable text";

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Starts a relay in a simulation.
pub(crate) async fn relay(sim: &Sim) -> RelayHandle {
    let entity = Entity::new(ENTITY.parse().unwrap());
    let namespace =
        Namespace::new(NAMESPACE).with_rule(Rule::new(RULE, Rights::LISTEN_AND_SEND, KEY)).with_entity(entity);
    let listen = ListenAddress::plain(([0, 0, 0, 0], 80).into());
    sim.env(LISTENER);
    let relay = Relay::builder().listen(listen).store(MemoryStore::new([namespace])).env(sim.env(RELAY)).build();
    relay.start().await.unwrap()
}

/// Prepares a listener in an environment.
pub(crate) fn listener(env: Env) -> ListenerBuilder {
    let credential = format!("SharedAccessKeyName={RULE};SharedAccessKey={KEY}");
    let emulator = "UseDevelopmentEmulator=true";
    Listener::builder(format!("Endpoint=sb://{RELAY}/;{credential};EntityPath={ENTITY};{emulator}")).env(env)
}

/// Waits until a listener is online.
pub(crate) async fn online(listener: &Listener) {
    until(listener, Status::is_online).await;
}

/// Waits until a listener is offline.
pub(crate) async fn offline(listener: &Listener) {
    until(listener, |status| matches!(status, Status::Offline { .. })).await;
}

async fn until(listener: &Listener, wanted: impl Fn(&Status) -> bool) {
    let mut status = listener.status();
    while !wanted(&status.current()) {
        status.changed().await.expect("the listener was not closed");
    }
}

/// How often the listener's host has dialled.
pub(crate) fn dials(sim: &Sim) -> usize {
    let trace = sim.trace();
    let dials = trace
        .records()
        .iter()
        .filter(|record| matches!(&record.event, Event::Dialled { from, .. } if **from == *LISTENER));
    dials.count()
}
