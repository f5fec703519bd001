//! A simulated world with a relay in it, and peers that are not our SDK.

use std::time::{Duration, SystemTime};

use hybridrelay::env::Env;
use hybridrelay::env::sim::{Event, Sim};
use hybridrelay::{Connection, Error, Incoming, Listener, ListenerBuilder, Sender, SenderBuilder, Status};
use hybridrelay_relay::{Config, Entity, ListenAddress, MemoryStore, Namespace, Relay, RelayHandle, Rights, Rule};

/// The relay's host.
pub(crate) const RELAY: &str = "relay";
/// Where listeners run.
pub(crate) const LISTENER: &str = "office";
/// Where senders run.
pub(crate) const SENDER: &str = "phone";

/// The namespace, its one hybrid connection, and the rule that opens both ends of it.
pub(crate) const NAMESPACE: &str = "main";
pub(crate) const ENTITY: &str = "hyco";
pub(crate) const RULE: &str = "both";
pub(crate) const KEY: &str = "an unguessable text";

/// A relay that runs in a simulation.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) relay: RelayHandle,
    pub(crate) store: MemoryStore,
}

impl World {
    /// Starts a relay with the default configuration.
    pub(crate) async fn start(sim: Sim) -> Self {
        Self::with_config(sim, Config::default()).await
    }

    pub(crate) async fn with_config(sim: Sim, config: Config) -> Self {
        let env = sim.env(RELAY);
        Self::with_relay(sim, config, env).await
    }

    /// Starts a relay in an environment of the caller's own on the relay's host.
    pub(crate) async fn with_env(sim: Sim, env: Env) -> Self {
        Self::with_relay(sim, Config::default(), env).await
    }

    async fn with_relay(sim: Sim, config: Config, env: Env) -> Self {
        let store = MemoryStore::new([namespace()]);
        // The hosts exist from the beginning, so that faults between them can be named.
        for host in [LISTENER, SENDER] {
            sim.env(host);
        }
        let listen = ListenAddress::plain(([0, 0, 0, 0], 80).into());
        let relay = Relay::builder().listen(listen).store(store.clone()).config(config).env(env).build();
        Self { sim, relay: relay.start().await.expect("port 80 is free"), store }
    }

    pub(crate) fn listener(&self) -> ListenerBuilder {
        Listener::builder(connection_string()).env(self.sim.env(LISTENER))
    }

    pub(crate) fn sender(&self) -> SenderBuilder {
        Sender::builder(connection_string()).env(self.sim.env(SENDER))
    }

    /// How many listeners are online.
    pub(crate) fn online(&self) -> usize {
        self.relay.listeners(NAMESPACE, ENTITY).len()
    }
}

/// When a host dialled the relay, counted from the beginning.
pub(crate) fn dials(sim: &Sim, host: &str) -> Vec<Duration> {
    let trace = sim.trace();
    let by_host = |event: &Event| matches!(event, Event::Dialled { from, .. } if **from == *host);
    trace.records().iter().filter(|record| by_host(&record.event)).map(|record| record.at).collect()
}

/// Waits until a listener is offline, and returns why and when it will try again.
pub(crate) async fn offline(listener: &Listener) -> (Error, Option<Duration>) {
    let mut status = listener.status();
    loop {
        if let Status::Offline { error, retry_in } = status.current() {
            return (error, retry_in);
        }
        status.changed().await.expect("the listener was not closed");
    }
}

/// Waits until a listener is online, and returns when its token ends for good.
pub(crate) async fn online(listener: &Listener) -> Option<SystemTime> {
    let mut status = listener.status();
    loop {
        if let Status::Online { expires_at } = status.current() {
            return expires_at;
        }
        status.changed().await.expect("the listener was not closed");
    }
}

/// A connection from its sender's and its listener's side.
pub(crate) async fn connect(sender: &Sender, listener: &Listener) -> (Connection, Connection) {
    let (sent, accepted) = tokio::join!(sender.connect().open(), accept(listener));
    (sent.expect("the listener accepts"), accepted)
}

/// Accepts the next sender.
pub(crate) async fn accept(listener: &Listener) -> Connection {
    match listener.accept().await {
        Ok(Some(Incoming::Connect(connect))) => connect.accept().await.expect("the sender waits"),
        other => panic!("a sender was expected, not {other:?}"),
    }
}

pub(crate) fn connection_string() -> String {
    let credential = format!("SharedAccessKeyName={RULE};SharedAccessKey={KEY}");
    format!("Endpoint=sb://{RELAY}/;{credential};EntityPath={ENTITY};UseDevelopmentEmulator=true")
}

/// The namespace as it is at the beginning.
pub(crate) fn namespace() -> Namespace {
    let entity = Entity::new(ENTITY.parse().expect("a valid name"));
    Namespace::new(NAMESPACE).with_rule(Rule::new(RULE, Rights::LISTEN_AND_SEND, KEY)).with_entity(entity)
}
