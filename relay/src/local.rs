//! A relay on loopback for tests and demonstrations.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hybridrelay::env::Env;
use hybridrelay::{RelayAddress, Result};
use tokio::sync::watch;

use crate::config::{Config, ListenAddress};
use crate::namespace::{AutoCreate, EntitySettings, Namespace, Rights, Rule, WebSocketPaths};
use crate::observe::Events;
use crate::relay::{Relay, RelayHandle};
use crate::store::MemoryStore;

/// The name of the one rule.
const RULE: &str = "RootManageSharedAccessKey";

/// The name of the one namespace.
const NAMESPACE: &str = "localhost";

/// An embedded relay with one namespace and one rule, on a free port of 127.0.0.1. Hybrid connections appear when somebody listens.
///
/// It ends when dropped: every connection is cut.
pub struct LocalRelay {
    handle: RelayHandle,
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
        #[cfg(feature = "dev-ca")]
        let (listen, ca_pem) = match self.tls {
            Tls::Off => (ListenAddress::plain(address), None),
            Tls::Ephemeral => {
                let ca = crate::dev_ca::DevCa::ephemeral(&self.env, &[])?;
                (ListenAddress::tls(address, ca.server_config()), Some(ca.ca_pem().to_owned()))
            }
            Tls::By { ca_pem, server_config } => (ListenAddress::tls(address, server_config), Some(ca_pem)),
        };
        #[cfg(not(feature = "dev-ca"))]
        let (listen, ca_pem) = (ListenAddress::plain(address), None);

        let key = self.key.unwrap_or_else(|| STANDARD.encode(self.env.random::<32>()));
        let public = if self.anonymous { vec!["*".to_owned()] } else { Vec::new() };
        let settings = EntitySettings { websocket: WebSocketPaths::AnyPath, ..EntitySettings::default() };
        let policy = AutoCreate { public, settings, ..AutoCreate::default() };
        let namespace = Namespace::new(NAMESPACE)
            .with_rule(Rule::new(RULE, Rights::MANAGE, key.clone()))
            .with_auto_create(policy)
            .with_entity_hosts("*.localhost");
        let store = MemoryStore::new([namespace]);
        let relay =
            Relay::builder().listen(listen).store(store.clone()).config(self.config).env(self.env).build().start();
        Ok(LocalRelay { handle: relay.await?, store, key, ca_pem })
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
}
