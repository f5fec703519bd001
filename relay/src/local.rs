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
use crate::namespace::{AutoCreate, Namespace, Rights, Rule, WebSocketPaths};
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
    anonymous: bool,
    #[cfg(feature = "dev-ca")]
    tls: bool,
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

    /// Lets senders in without a token.
    pub fn anonymous(mut self, yes: bool) -> Self {
        self.anonymous = yes;
        self
    }

    /// With TLS, by a certificate authority made for this relay; see [`LocalRelay::ca_pem`].
    #[cfg(feature = "dev-ca")]
    pub fn tls(mut self, yes: bool) -> Self {
        self.tls = yes;
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
        let (listen, ca_pem) = if self.tls {
            let ca = crate::dev_ca::DevCa::ephemeral(&self.env, &[])?;
            (ListenAddress::tls(address, ca.server_config()), Some(ca.ca_pem().to_owned()))
        } else {
            (ListenAddress::plain(address), None)
        };
        #[cfg(not(feature = "dev-ca"))]
        let (listen, ca_pem) = (ListenAddress::plain(address), None);

        let key = STANDARD.encode(self.env.random::<32>());
        let public = if self.anonymous { vec!["*".to_owned()] } else { Vec::new() };
        let policy = AutoCreate { public, websocket: WebSocketPaths::AnyPath, limit: 0 };
        let namespace =
            Namespace::new(NAMESPACE).with_rule(Rule::new(RULE, Rights::MANAGE, key.clone())).with_auto_create(policy);
        let store = MemoryStore::new([namespace]);
        let relay =
            Relay::builder().listen(listen).store(store.clone()).config(self.config).env(self.env).build().start();
        Ok(LocalRelay { handle: relay.await?, store, key, ca_pem })
    }
}

#[cfg(test)]
mod tests {
    use hybridrelay::{Listener, Status};

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
}
