//! Relays to test against, and SDK ends that meet on them.

use std::time::Duration;

use hybridrelay::{Connection, Incoming, IncomingConnect, Listener, ListenerBuilder, Sender, SenderBuilder};
use hybridrelay_relay::{Config, Entity, ListenAddress, LocalRelay, MemoryStore, Namespace, Relay, RelayHandle};

use super::Soon;
use super::raw::Door;

/// The hybrid connection of tests that need only one.
pub const HYCO: &str = "hyco";

/// A relay in plain text and one with TLS: what must hold for both is tested on both.
pub async fn plain_and_tls() -> [LocalRelay; 2] {
    [plain().await, tls().await]
}

/// A relay in plain text.
pub async fn plain() -> LocalRelay {
    LocalRelay::start().soon().await.expect("a free port")
}

/// A relay with TLS.
pub async fn tls() -> LocalRelay {
    LocalRelay::builder().tls(true).start().soon().await.expect("a free port")
}

/// A relay on a port and with a key that were another's before, as soon as that one has let go of the port.
pub async fn again(port: u16, key: &str) -> LocalRelay {
    let starting = async {
        loop {
            match LocalRelay::builder().port(port).key(key).start().await {
                Ok(relay) => return relay,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    starting.soon().await
}

/// A relay with namespaces of the test's own, in plain text.
#[derive(Debug)]
pub struct Served {
    /// The relay.
    pub handle: RelayHandle,
    /// Its store.
    pub store: MemoryStore,
    /// The way to it.
    pub door: Door,
}

/// Starts a relay with these namespaces.
pub async fn serve(namespaces: impl IntoIterator<Item = Namespace>, config: Config) -> Served {
    let store = MemoryStore::new(namespaces);
    let address = ListenAddress::plain(([127, 0, 0, 1], 0).into());
    let relay = Relay::builder().listen(address).store(store.clone()).config(config).build();
    let handle = relay.start().soon().await.expect("a free port");
    let door = Door::new(handle.local_addrs()[0], None);
    Served { handle, store, door }
}

/// An entity of this name.
pub fn entity(path: &str) -> Entity {
    Entity::new(path.parse().expect("a name that can be"))
}

/// Prepares a listener that trusts the relay.
pub fn listener(relay: &LocalRelay, entity: &str) -> ListenerBuilder {
    let builder = Listener::builder(relay.connection_string(entity));
    match relay.ca_pem() {
        Some(pem) => builder.extra_ca_pem(pem),
        None => builder,
    }
}

/// Prepares a sender that trusts the relay.
pub fn sender(relay: &LocalRelay, entity: &str) -> SenderBuilder {
    let builder = Sender::builder(relay.connection_string(entity));
    match relay.ca_pem() {
        Some(pem) => builder.extra_ca_pem(pem),
        None => builder,
    }
}

/// The next sender that waits.
pub async fn incoming(listener: &Listener) -> IncomingConnect {
    match listener.accept().soon().await {
        Ok(Some(Incoming::Connect(connect))) => connect,
        other => panic!("no sender came: {other:?}"),
    }
}

/// Two ends of one connection, and the listener that took it.
#[derive(Debug)]
pub struct Ends {
    /// The sender's end.
    pub sender: Connection,
    /// The listener's end.
    pub accepted: Connection,
    /// The listener.
    pub listener: Listener,
}

/// Joins a sender and a listener.
pub async fn ends(relay: &LocalRelay) -> Ends {
    ends_on(relay, HYCO).await
}

/// Joins a sender and a listener on an entity.
pub async fn ends_on(relay: &LocalRelay, entity: &str) -> Ends {
    let listener = listener(relay, entity).soon().await.expect("the listener gets online");
    let sender = sender(relay, entity).build().expect("the options are right");
    let (sender, accepted) = meet(&sender, &listener).await;
    Ends { sender, accepted, listener }
}

/// Joins one more sender and the listener.
pub async fn meet(sender: &Sender, listener: &Listener) -> (Connection, Connection) {
    let accepted = async { incoming(listener).await.accept().soon().await.expect("the rendezvous is open") };
    let (sender, accepted) = tokio::join!(sender.connect().soon(), accepted);
    (sender.expect("the sender is let in"), accepted)
}

/// Sends until nothing more is taken, because the other side does not read. Returns how many bytes were.
pub async fn fill(connection: &Connection) -> usize {
    const PIECE: usize = 256 * 1024;
    let mut taken = 0;
    // Loopback moves a piece in a fraction of this.
    while let Ok(sent) = tokio::time::timeout(Duration::from_millis(500), connection.send(vec![7; PIECE])).await {
        sent.expect("the connection is open");
        taken += PIECE;
    }
    // A send that was given up may have taken its message over before it waited.
    taken
}

/// Waits until no connection is relayed any more.
pub async fn no_connection(relay: &LocalRelay) {
    until(|| relay.connections() == 0).await;
}

/// Waits until something that tells nobody has come true.
pub async fn until(condition: impl Fn() -> bool + Sync) {
    until_ready(|| std::future::ready(condition())).await;
}

/// Waits until something that tells nobody, and is asked by waiting, has come true.
pub async fn until_ready<F: Future<Output = bool> + Send>(condition: impl Fn() -> F + Sync) {
    let came = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    came.soon().await;
}
