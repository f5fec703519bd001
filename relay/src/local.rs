//! A relay on loopback for tests and demonstrations.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hybridrelay::env::Env;
use hybridrelay::{EntityPath, RelayAddress, Result};
use tokio::sync::watch;

use crate::config::{Config, ListenAddress};
use crate::instrument::{ConnectionId, Instrument, MovableClock, NextRefusal, OpenConnection};
use crate::namespace::{AutoCreate, Entity, EntitySettings, Namespace, Rights, Rule, WebSocketPaths};
use crate::observe::Events;
use crate::relay::{Relay, RelayHandle};
use crate::store::MemoryStore;

/// The name of the one rule.
const RULE: &str = "RootManageSharedAccessKey";

/// The name of the one namespace.
const NAMESPACE: &str = "localhost";

/// An embedded relay with one namespace and one rule, on a free port of 127.0.0.1. Hybrid connections appear when somebody listens.
///
/// A test may [move its clock](Self::advance), have it [refuse whoever comes next](Self::refuse_next), [look at its relayed
/// connections](Self::open_connections) and its [control channels](Self::control_channels), [hold them up](Self::stall) and [cut
/// them](Self::cut_after).
///
/// It ends when dropped: every connection is cut.
pub struct LocalRelay {
    handle: RelayHandle,
    env: Env,
    clock: MovableClock,
    instrument: Arc<Instrument>,
    store: MemoryStore,
    key: String,
    ca_pem: Option<String>,
}

/// Prepares a [`LocalRelay`].
#[derive(Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct LocalRelayBuilder {
    env: Env,
    config: Config,
    port: u16,
    key: Option<String>,
    anonymous: bool,
    #[cfg(feature = "dev-ca")]
    tls: Tls,
}

/// Whether the relay speaks TLS, and by which authority.
#[cfg(feature = "dev-ca")]
#[derive(Default)]
enum Tls {
    #[default]
    Off,
    Ephemeral,
    By {
        ca_pem: String,
        server_config: std::sync::Arc<rustls::ServerConfig>,
    },
}

impl LocalRelay {
    /// Starts a relay without TLS; its connection strings say `UseDevelopmentEmulator=true`.
    ///
    /// # Errors
    ///
    /// `Network` if no port can be bound.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Prepares a relay with options.
    pub fn builder() -> LocalRelayBuilder {
        LocalRelayBuilder::default()
    }

    /// A connection string for a hybrid connection, with every right.
    pub fn connection_string(&self, entity: &str) -> String {
        let emulator = if self.ca_pem.is_some() { "" } else { ";UseDevelopmentEmulator=true" };
        let (authority, key) = (self.authority(), &self.key);
        format!(
            "Endpoint=sb://{authority}/;SharedAccessKeyName={RULE};SharedAccessKey={key};EntityPath={entity}{emulator}"
        )
    }

    /// The relay's address.
    pub fn address(&self) -> RelayAddress {
        let scheme = if self.ca_pem.is_some() { "sb" } else { "http" };
        format!("{scheme}://{}/", self.authority()).parse().expect("host and port make an address")
    }

    /// The bound socket address.
    pub fn local_addr(&self) -> SocketAddr {
        // The builder gives exactly one.
        self.handle.local_addrs()[0]
    }

    /// The certificate to trust, with TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The name of the rule in the connection strings.
    pub fn key_name(&self) -> &'static str {
        RULE
    }

    /// The key in the connection strings.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The store, to add hybrid connections and rules or to change them.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// The name of the namespace in the store.
    pub fn namespace(&self) -> &'static str {
        NAMESPACE
    }

    /// Makes a hybrid connection, or makes it anew: one as those that appear when somebody listens, and what `change` makes of it. The
    /// namespace tells of endpoints from the first one on that may be found.
    pub fn add(&self, path: EntityPath, change: impl FnOnce(Entity) -> Entity) {
        let now = self.env.wall_clock();
        self.store.edit(NAMESPACE, |namespace| {
            let entity = match &namespace.auto_create {
                Some(policy) => policy.entity(path, now),
                None => Entity::new(path),
            };
            let entity = change(entity);
            namespace.discovery |= entity.settings.discoverable.is_some();
            namespace.insert(entity);
        });
    }

    /// Follows how many listeners are online under a hybrid connection.
    pub fn watch_listeners(&self, entity: &str) -> watch::Receiver<usize> {
        self.handle.watch_listeners(NAMESPACE, entity)
    }

    /// Cuts the control channels of a hybrid connection, as a network failure would; its listeners come back. Returns how many.
    pub fn drop_control(&self, entity: &str) -> usize {
        self.handle.drop_control(NAMESPACE, entity)
    }

    /// The metrics; see [`RelayHandle::metrics_text`].
    pub fn metrics_text(&self) -> String {
        self.handle.metrics_text()
    }

    /// Follows what happens from now on; see [`RelayHandle::events`].
    pub fn events(&self) -> Events {
        self.handle.events()
    }

    /// How many relayed connections are open.
    pub fn connections(&self) -> usize {
        self.handle.connections()
    }

    /// Moves the relay's clocks on, the monotonic one and the wall clock, in one leap, as if its machine had slept for so long and woken
    /// up: all that was due meanwhile happens now. Returns at once.
    ///
    /// What moves is everything that the relay does by time, and nothing else:
    ///
    /// - Tokens are older. A control channel whose token has expired, the grace of 5 minutes included, is closed, and an expired token
    ///   opens nothing. Clients make their tokens by a clock of their own, unless they are given [`env`](Self::env).
    /// - Whoever waits for a listener gets 504 after 30 s, and a rendezvous address is void that was not dialled until then; a
    ///   request without an answer gets 504 after the hybrid connection's time for that.
    /// - Peers that were silent for the time of a Ping are asked, however far the leap was. They are given up if the clock moves by the
    ///   time for the answer before it has come: a listener after 45 s more, a relayed connection after 90 s more.
    /// - Rates refill, and times for handshakes, drains and half-closed connections run out. A peer that is in the middle of something
    ///   that has a time limit is late.
    ///
    /// The kernel's timers of sockets and the clocks of clients stay as they are. All moves together end after a hundred years.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The environment with the clock that [`advance`](Self::advance) moves, for listeners and senders that shall live by it, too: they
    /// renew their tokens when it is moved, and a leap of more than the 10 s in which a Ping is answered makes them dial anew.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Refuses who comes next: a listener that opens its control channel, a sender that opens a connection, or an HTTP request. A number
    /// is a status; [`NextRefusal`] tells more. It comes before everything else that the relay would look at. Several are used up one
    /// after the other, in their order.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a status that is not from 400 to 599.
    pub fn refuse_next(&self, refusal: impl Into<NextRefusal>) -> Result<()> {
        self.instrument.refusals.order(refusal.into())
    }

    /// The relayed connections that are open and the HTTP requests that are under way, in the order in which they came: each WebSocket
    /// connection of a sender that is joined to a listener, from the moment on at which the sender's `connect` returns; each request from its
    /// admission to the end of its answer. One-way requests and publishers of events are not among them.
    pub fn open_connections(&self) -> Vec<OpenConnection> {
        self.instrument.taps.relayed()
    }

    /// The control channels of the listeners that are online, in the order in which they came, each from the moment on at which its listener
    /// knows that it is online. They are held up and cut as what is relayed.
    pub fn control_channels(&self) -> Vec<OpenConnection> {
        self.instrument.taps.controls()
    }

    /// Lets no byte of a relayed connection through, in neither direction, until [`resume`](Self::resume). Both ends stay connected, as
    /// with a network that has lost its way: what they do meanwhile, the end of the connection included, is seen when it goes on. The
    /// relay waits as long as it takes; the ends give the connection up by their own keep-alive. Of a request, the bodies and the head of the
    /// response are held up, however they travel. `false` if it has ended.
    ///
    /// A control channel is held up as well, and then the relay is one end: it gives the listener up by its own times (see
    /// [`advance`](Self::advance)) and sends senders there until then. The listener comes back by another channel as soon as it notices,
    /// after 30 s by its clock.
    pub fn stall(&self, connection: ConnectionId) -> bool {
        self.instrument.taps.stall(connection, true)
    }

    /// Lets a stalled connection go on; nothing was lost. `false` if it has ended.
    pub fn resume(&self, connection: ConnectionId) -> bool {
        self.instrument.taps.stall(connection, false)
    }

    /// Cuts a relayed connection once so many bytes more were read from its two ends: both are reset, and what was on the way may be lost.
    /// Bytes are those on the wire, as in [`OpenConnection`]; 0 cuts at once. Of a request the sender's connection ends, before the response's
    /// head or in its body, and the listener sees that the sender has gone. Of a control channel what the listener says counts, and it comes back; the
    /// connections that it has go on. `false` if it has ended.
    pub fn cut_after(&self, connection: ConnectionId, bytes: u64) -> bool {
        self.instrument.taps.cut_after(connection, bytes)
    }

    /// The same for the connection or request that comes next, from its first byte on. Several are for as many connections.
    pub fn cut_next_after(&self, bytes: u64) {
        self.instrument.taps.cut_next_after(bytes);
    }

    /// Ends the relay in good order; see [`RelayHandle::shutdown`].
    pub async fn shutdown(self, drain: Duration) {
        self.handle.shutdown(drain).await;
    }

    fn authority(&self) -> String {
        // The certificate names localhost; without TLS the address alone saves a lookup.
        let address = self.local_addr();
        if self.ca_pem.is_some() { format!("localhost:{}", address.port()) } else { address.to_string() }
    }
}

impl fmt::Debug for LocalRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRelay").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl LocalRelayBuilder {
    /// The environment to run in. Default: the system's.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Limits and timings.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// A fixed port. Default: any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The key of the one rule. Default: a random one. A relay that is started again with the same port and key is the same to its
    /// clients.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Lets senders in without a token.
    pub fn anonymous(mut self, yes: bool) -> Self {
        self.anonymous = yes;
        self
    }

    /// With TLS, by a certificate authority made for this relay; see [`LocalRelay::ca_pem`].
    #[cfg(feature = "dev-ca")]
    pub fn tls(mut self, yes: bool) -> Self {
        self.tls = if yes { Tls::Ephemeral } else { Tls::Off };
        self
    }

    /// With TLS, by an authority that outlives the relay, so that a relay that is started again is still trusted.
    #[cfg(feature = "dev-ca")]
    pub fn dev_ca(mut self, ca: &crate::dev_ca::DevCa) -> Self {
        self.tls = Tls::By { ca_pem: ca.ca_pem().to_owned(), server_config: ca.server_config() };
        self
    }

    /// Starts the relay.
    ///
    /// # Errors
    ///
    /// `Network` if the port cannot be bound.
    pub async fn start(self) -> Result<LocalRelay> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let ((env, clock), instrument) = (MovableClock::of(self.env), Arc::<Instrument>::default());
        #[cfg(feature = "dev-ca")]
        let (listen, ca_pem) = match self.tls {
            Tls::Off => (ListenAddress::plain(address), None),
            Tls::Ephemeral => {
                let ca = crate::dev_ca::DevCa::ephemeral(&env, &[])?;
                (ListenAddress::tls(address, ca.server_config()), Some(ca.ca_pem().to_owned()))
            }
            Tls::By { ca_pem, server_config } => (ListenAddress::tls(address, server_config), Some(ca_pem)),
        };
        #[cfg(not(feature = "dev-ca"))]
        let (listen, ca_pem) = (ListenAddress::plain(address), None);

        let key = self.key.unwrap_or_else(|| STANDARD.encode(env.random::<32>()));
        let public = if self.anonymous { vec!["*".to_owned()] } else { Vec::new() };
        let settings = EntitySettings { websocket: WebSocketPaths::AnyPath, ..EntitySettings::default() };
        let policy = AutoCreate { public, settings, ..AutoCreate::default() };
        let namespace = Namespace::new(NAMESPACE)
            .with_rule(Rule::new(RULE, Rights::MANAGE, key.clone()))
            .with_auto_create(policy)
            .with_entity_hosts("*.localhost");
        let store = MemoryStore::new([namespace]);
        let relay = Relay::builder().listen(listen).store(store.clone()).config(self.config);
        let relay = relay.env(env.clone()).instrument(instrument.clone()).build();
        Ok(LocalRelay { handle: relay.start().await?, env, clock, instrument, store, key, ca_pem })
    }
}

#[cfg(test)]
mod tests {
    use hybridrelay::{Listener, Message, Status};

    use super::*;

    #[tokio::test]
    async fn listeners_have_been_told_when_the_relay_has_shut_down() {
        let relay = LocalRelay::start().await.expect("a free port");
        let listener = Listener::builder(relay.connection_string("hyco")).open().await.expect("online");
        relay.shutdown(Duration::from_secs(10)).await;

        let mut status = listener.status();
        let error = loop {
            if let Some(Status::Offline { error, .. }) = status.changed().await {
                break error;
            }
        };
        assert_eq!(error.close_code(), Some(1001), "{error:?}");
        assert!(error.reason().is_some_and(|reason| reason.contains("ServiceShuttingDown")), "{error:?}");
    }

    #[tokio::test]
    async fn a_relay_started_again_with_the_same_port_and_key_gets_its_listeners_back() {
        let first = LocalRelay::start().await.expect("a free port");
        let (port, key) = (first.local_addr().port(), first.key().to_owned());
        let connection_string = first.connection_string("hyco");
        let listener = Listener::builder(&connection_string).open().await.expect("online");
        first.shutdown(Duration::ZERO).await;

        let second = LocalRelay::builder().port(port).key(key).start().await.expect("the port is free again");
        assert_eq!(second.connection_string("hyco"), connection_string);
        let mut online = second.watch_listeners("hyco");
        online.wait_for(|online| *online == 1).await.expect("the relay runs");
        let accepting = async {
            let Ok(Some(hybridrelay::Incoming::Connect(sender))) = listener.accept().await else {
                panic!("a sender was expected")
            };
            sender.accept().await.expect("accepted").send("hello again").await.expect("sent");
        };
        let (connection, ()) = tokio::join!(hybridrelay::connect(&connection_string), accepting);
        let received = connection.expect("connected").receive().await.expect("received");
        assert_eq!(received, Some(Message::from("hello again")));
    }

    #[tokio::test]
    async fn a_hybrid_connection_that_was_made_is_like_those_that_appear_but_for_what_was_changed() {
        let relay = LocalRelay::builder().anonymous(true).start().await.expect("a free port");
        let find = || hybridrelay::Namespace::builder(relay.connection_string("other")).build().expect("valid");
        let error = find().endpoints().await.expect_err("nothing may be found");
        assert_eq!(error.kind(), hybridrelay::ErrorKind::Unsupported, "{error:?}");

        relay.add("hyco".parse().expect("a name"), |entity| {
            assert!(!entity.requires_client_authorization, "the relay lets everybody in");
            assert_eq!(entity.settings.websocket, WebSocketPaths::AnyPath);
            entity.discoverable(crate::Discoverable::new(crate::Visibility::Public))
        });
        let _listener = hybridrelay::listen(relay.connection_string("hyco")).await.expect("online");
        let found = find().endpoints().await.expect("the relay tells");
        assert_eq!(found.iter().map(|endpoint| endpoint.path.to_string()).collect::<Vec<_>>(), ["hyco"]);
    }
}
