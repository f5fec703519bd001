//! A relay with TLS that other stacks trust and that can be started again.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hybridrelay::env::Env;
use hybridrelay::token::SasToken;
use hybridrelay::{Incoming, IncomingConnect, Listener, ListenerBuilder, Sender};
use hybridrelay_relay::dev_ca::DevCa;
use hybridrelay_relay::{Config, Distribution, Entity, LocalRelay};
use hybridrelay_tests::program::patiently;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

/// The hybrid connection that the tests meet on.
pub(crate) const ENTITY: &str = "hyco";

pub(crate) struct TestRelay {
    relay: LocalRelay,
    ca: DevCa,
    /// Holds the authority's files.
    _directory: TempDir,
}

impl TestRelay {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ca = DevCa::load_or_create(&Env::system(), directory.path(), &[]).expect("an authority");
        let relay = LocalRelay::builder().dev_ca(&ca).config(config()).start().await.expect("a free port");
        Self { relay, ca, _directory: directory }
    }

    /// Ends the relay and starts it again: the same address, key and authority, but nothing that the first one knew.
    pub(crate) async fn restart(self) -> Self {
        let Self { relay, ca, _directory } = self;
        let (port, key) = (relay.local_addr().port(), relay.key().to_owned());
        relay.shutdown(Duration::ZERO).await;
        let relay = LocalRelay::builder().dev_ca(&ca).config(config()).port(port).key(key).start();
        Self { relay: relay.await.expect("the address is free again"), ca, _directory }
    }

    pub(crate) fn local(&self) -> &LocalRelay {
        &self.relay
    }

    /// Where the authority's certificate lies.
    pub(crate) fn ca_file(&self) -> &Path {
        self.ca.ca_file().expect("the authority was given a directory")
    }

    pub(crate) fn port(&self) -> u16 {
        self.relay.local_addr().port()
    }

    pub(crate) fn sender(&self) -> Sender {
        let builder = Sender::builder(self.relay.connection_string(ENTITY)).extra_ca_pem(self.ca.ca_pem());
        builder.build().expect("a usable connection string")
    }

    pub(crate) fn listener(&self) -> ListenerBuilder {
        Listener::builder(self.relay.connection_string(ENTITY)).extra_ca_pem(self.ca.ca_pem())
    }

    /// A hybrid connection on which nobody listens.
    pub(crate) fn add_entity(&self, path: &str) {
        let entity = Entity::new(path.parse().expect("a path"));
        assert!(self.relay.store().put_entity(self.relay.namespace(), entity));
    }

    /// From now on every listener of the one hybrid connection gets everything.
    pub(crate) fn give_everybody_everything(&self) {
        let entity =
            Entity::new(ENTITY.parse().expect("a path")).with_distribution(Distribution::All(Default::default()));
        assert!(self.relay.store().put_entity(self.relay.namespace(), entity));
    }

    /// The address for senders, without a token.
    pub(crate) fn sender_url(&self, path: &str) -> String {
        format!("wss://localhost:{}/$hc/{path}?sb-hc-action=connect", self.port())
    }

    /// The address for senders that cannot set headers.
    pub(crate) fn sender_url_with_token(&self, path: &str) -> String {
        with_token(&self.sender_url(path), &self.token(path))
    }

    /// A token for one hybrid connection.
    pub(crate) fn token(&self, entity: &str) -> String {
        self.token_signed_with(entity, self.relay.key())
    }

    /// A token that is well-formed and signed with any key.
    pub(crate) fn token_signed_with(&self, entity: &str, key: &str) -> String {
        let audience = format!("http://localhost/{entity}");
        let expires_at = SystemTime::now() + Duration::from_secs(600);
        SasToken::create(&audience, self.relay.key_name(), key, expires_at).to_text()
    }

    /// Waits until so many listeners are online.
    pub(crate) async fn until_listeners(&self, number: impl Fn(usize) -> bool) {
        let mut online = self.relay.watch_listeners(ENTITY);
        let waiting = online.wait_for(|online| number(*online));
        patiently("listeners to come online", waiting).await.expect("the relay runs");
    }
}

/// Adds a token to an address that has a query.
pub(crate) fn with_token(url: &str, token: &str) -> String {
    format!("{url}&sb-hc-token={}", utf8_percent_encode(token, NON_ALPHANUMERIC))
}

/// The next sender that comes to a listener.
pub(crate) async fn next_sender(listener: &Listener) -> IncomingConnect {
    match patiently("a sender", listener.accept()).await {
        Ok(Some(Incoming::Connect(sender))) => sender,
        other => panic!("a sender was expected, not {other:?}"),
    }
}

/// hyco-ws opens two channels for each that failed and never waits (protocol.md 3.8). With the usual 25 listeners, those above
/// would be refused, and each refusal breeds two more.
fn config() -> Config {
    let mut config = Config::default();
    config.limits.listeners_per_entity = 10_000;
    config
}
