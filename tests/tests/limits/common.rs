//! One namespace with two hybrid connections and a rule for each purpose, on real sockets or simulated.

use std::time::Duration;

use hybridrelay::env::Env;
use hybridrelay::env::sim::Sim;
use hybridrelay::{Connection, Incoming, Listener, ListenerBuilder, Sender, SenderBuilder};
use hybridrelay_relay::{Config, ListenAddress, MemoryStore, Namespace, Relay, RelayHandle, Rights, Rule};
use hybridrelay_tests::wire::peers::token;
use hybridrelay_tests::wire::raw::Ask;
use hybridrelay_tests::wire::setup::{self, Served};

pub(crate) const NAMESPACE: &str = "main";
pub(crate) const A: &str = "a";
pub(crate) const B: &str = "b";

/// Rules of the namespace, with their keys.
pub(crate) const LISTEN: (&str, &str) = ("listen", "an unguessable text");
pub(crate) const SEND: (&str, &str) = ("send", "another text");
pub(crate) const SEND_TOO: (&str, &str) = ("send-too", "a third text");
/// A rule of the hybrid connection `a` alone.
pub(crate) const OWN: (&str, &str) = ("own", "a text of its own");

pub(crate) fn namespace() -> Namespace {
    let rule = |(name, key): (&str, &str), rights| Rule::new(name, rights, key);
    Namespace::new(NAMESPACE)
        .with_rule(rule(LISTEN, Rights::LISTEN))
        .with_rule(rule(SEND, Rights::SEND))
        .with_rule(rule(SEND_TOO, Rights::SEND))
        .with_entity(setup::entity(A).with_rule(rule(OWN, Rights::LISTEN_AND_SEND)))
        .with_entity(setup::entity(B))
}

pub(crate) fn config(edit: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    edit(&mut config);
    config
}

/// A relay on real sockets.
pub(crate) async fn serve(edit: impl FnOnce(&mut Config)) -> Served {
    setup::serve([namespace()], config(edit)).await
}

pub(crate) fn connection_string(authority: &str, entity: &str, (rule, key): (&str, &str)) -> String {
    let credential = format!("SharedAccessKeyName={rule};SharedAccessKey={key}");
    format!("Endpoint=sb://{authority}/;{credential};EntityPath={entity};UseDevelopmentEmulator=true")
}

/// A listener's handshake.
pub(crate) fn listen(entity: &str, rule: (&str, &str)) -> Ask {
    Ask::websocket(format!("/$hc/{entity}?sb-hc-action=listen")).token(&token_by(rule))
}

/// A sender's handshake.
pub(crate) fn connect(entity: &str, rule: (&str, &str)) -> Ask {
    Ask::websocket(format!("/$hc/{entity}")).token(&token_by(rule))
}

pub(crate) fn token_by((rule, key): (&str, &str)) -> String {
    token("http://relay/", rule, key)
}

/// The host of the relay in a simulation.
const RELAY: &str = "relay";

/// A relay in a simulation. Every other host has an address of its own.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) relay: RelayHandle,
}

impl World {
    pub(crate) async fn start(sim: Sim, edit: impl FnOnce(&mut Config)) -> Self {
        let listen = ListenAddress::plain(([0, 0, 0, 0], 80).into());
        let relay = Relay::builder().listen(listen).store(MemoryStore::new([namespace()])).config(config(edit));
        let relay = relay.env(sim.env(RELAY)).build().start().await.expect("port 80 is free");
        Self { sim, relay }
    }

    pub(crate) fn env(&self, host: &str) -> Env {
        self.sim.env(host)
    }

    pub(crate) fn listener(&self, host: &str, entity: &str) -> ListenerBuilder {
        Listener::builder(connection_string(RELAY, entity, LISTEN)).env(self.env(host))
    }

    pub(crate) fn sender(&self, host: &str, entity: &str, rule: (&str, &str)) -> SenderBuilder {
        Sender::builder(connection_string(RELAY, entity, rule)).env(self.env(host))
    }

    /// A socket to the relay on which nothing was said.
    pub(crate) async fn dial(&self, host: &str) -> hybridrelay::env::BoxSocket {
        let env = self.env(host);
        let address = env.resolve(RELAY, 80).await.expect("a known host")[0];
        env.dial(address).await.expect("the relay listens")
    }
}

/// Takes every sender and keeps the connections.
pub(crate) fn accept_all(listener: Listener) -> tokio::task::JoinHandle<Vec<Connection>> {
    tokio::spawn(async move {
        let mut accepted = Vec::new();
        while let Ok(Some(incoming)) = listener.accept().await {
            if let Incoming::Connect(connect) = incoming
                && let Ok(connection) = connect.accept().await
            {
                accepted.push(connection);
            }
        }
        accepted
    })
}

/// A connection from its sender's and its listener's side.
pub(crate) async fn meet(sender: &Sender, listener: &Listener) -> (Connection, Connection) {
    let accepting = async { setup::incoming(listener).await.accept().await.expect("the sender waits") };
    let (sent, accepted) = tokio::join!(sender.connect().open(), accepting);
    (sent.expect("the listener accepts"), accepted)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
