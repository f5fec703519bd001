//! The relays that programs meet at.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use hybridrelay::env::Env;
use hybridrelay::token::SasToken;
use hybridrelay_relay::dev_ca::DevCa;
use hybridrelay_relay::{Config, Distribution, Entity, LocalRelay, Operation};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::proxy::Proxy;
use super::scenario::Wanted;

/// The authority that every relay has its certificate from, and the relay that is shared.
pub struct World {
    ca: Arc<DevCa>,
    shared: Arc<Site>,
    proxy: Proxy,
    /// Holds the authority's files.
    _directory: TempDir,
}

/// A relay that can be stopped and comes back as the same.
pub struct Site {
    relay: Mutex<Option<LocalRelay>>,
    ca: Option<Arc<DevCa>>,
    port: u16,
    key: String,
    key_name: String,
}

/// What a program shows to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The key in a connection string.
    Key,
    /// A token that is good for an hour.
    Token,
    /// A token that has expired.
    Expired,
    /// A token that was signed with another key.
    Forged,
    /// Nothing.
    None,
}

impl World {
    /// Starts the relay that is shared.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let ca = Arc::new(DevCa::load_or_create(&Env::system(), directory.path(), &[])?);
        let shared = Arc::new(Site::start(Some(ca.clone())).await?);
        Ok(Self { ca, shared, proxy: Proxy::start().await?, _directory: directory })
    }

    /// The relay for a scenario.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub async fn site(&self, wanted: Wanted) -> Result<Arc<Site>> {
        Ok(match wanted {
            Wanted { plain: true, .. } => Arc::new(Site::start(None).await?),
            Wanted { own: true, .. } => Arc::new(Site::start(Some(self.ca.clone())).await?),
            _ => self.shared.clone(),
        })
    }

    /// Where the authority's certificate lies.
    ///
    /// # Errors
    ///
    /// None: it was given a directory.
    pub fn ca_file(&self) -> Result<&Path> {
        self.ca.ca_file().context("the authority was given a directory")
    }

    pub(super) fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

impl Site {
    async fn start(ca: Option<Arc<DevCa>>) -> Result<Self> {
        let relay = launch(ca.as_deref(), None).await?;
        let (port, key) = (relay.local_addr().port(), relay.key().to_owned());
        let key_name = relay.key_name().to_owned();
        Ok(Self { relay: Mutex::new(Some(relay)), ca, port, key, key_name })
    }

    /// Makes a hybrid connection one for events.
    ///
    /// # Errors
    ///
    /// If the name cannot be one.
    pub async fn put_for_events(&self, entity: &str) -> Result<()> {
        let settings = Entity::new(entity.parse()?).with_distribution(Distribution::All(Default::default()));
        self.running().await?.with(|relay| relay.store().put_entity(relay.namespace(), settings));
        Ok(())
    }

    /// Where a program goes, as the commands say it.
    pub fn target(&self, entity: &str, credential: Credential) -> Value {
        let authority = format!("localhost:{}", self.port);
        let authority = if self.ca.is_some() { authority } else { format!("127.0.0.1:{}", self.port) };
        let mut text = format!("Endpoint=sb://{authority}/;EntityPath={entity}");
        if self.ca.is_none() {
            text += ";UseDevelopmentEmulator=true";
        }
        if credential == Credential::Key {
            text += &format!(";SharedAccessKeyName={};SharedAccessKey={}", self.key_name, self.key);
        }
        json!({
            "connectionString": text,
            "caPem": self.ca.as_ref().map(|ca| ca.ca_pem()),
            "token": self.token(entity, credential),
        })
    }

    /// A token for a hybrid connection.
    pub fn token(&self, entity: &str, credential: Credential) -> Option<String> {
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        let (key, end) = match credential {
            Credential::Key | Credential::None => return None,
            Credential::Token => (self.key.as_str(), now + hour),
            Credential::Expired => (self.key.as_str(), now - hour),
            Credential::Forged => ("another key", now + hour),
        };
        Some(SasToken::create(&format!("http://localhost/{entity}"), &self.key_name, key, end).to_text())
    }

    /// Whether a text holds the relay's key, or what only a signature holds.
    pub fn shows_a_secret(&self, text: &str) -> bool {
        text.contains(&self.key) || text.contains("sig=") || text.contains("sb-hc-ticket")
    }

    /// Stops the relay: whoever is connected is told.
    pub async fn stop(&self) {
        if let Some(relay) = self.relay.lock().await.take() {
            relay.shutdown(Duration::ZERO).await;
        }
    }

    /// Starts it again: the same address, key and authority, but nothing that it knew.
    ///
    /// # Errors
    ///
    /// If the address is not free any more.
    pub async fn start_again(&self) -> Result<()> {
        let mut relay = self.relay.lock().await;
        *relay = Some(launch(self.ca.as_deref(), Some((self.port, &self.key))).await?);
        Ok(())
    }

    /// Cuts the control channels of a hybrid connection, of which there must be some, and waits until the relay knows them no more.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub async fn drop_control(&self, entity: &str) -> Result<()> {
        let running = self.running().await?;
        let mut online = running.with(|relay| relay.watch_listeners(entity));
        online.mark_unchanged();
        if running.with(|relay| relay.drop_control(entity)) == 0 {
            bail!("nobody listens on {entity}");
        }
        Ok(online.changed().await?)
    }

    /// Does something that ends the one control channel of a hybrid connection, and waits until the relay knows it no more.
    ///
    /// # Errors
    ///
    /// If the relay does not run.
    pub async fn losing(&self, entity: &str, act: impl FnOnce()) -> Result<()> {
        let mut online = self.running().await?.with(|relay| relay.watch_listeners(entity));
        online.mark_unchanged();
        act();
        Ok(online.changed().await?)
    }

    /// Waits until some listener is online, or none.
    ///
    /// # Errors
    ///
    /// If the relay does not run.
    pub async fn until_listeners(&self, entity: &str, some: bool) -> Result<()> {
        let mut online = self.running().await?.with(|relay| relay.watch_listeners(entity));
        online.wait_for(|online| (*online > 0) == some).await?;
        Ok(())
    }

    /// Waits for a token to be renewed from now on.
    ///
    /// # Errors
    ///
    /// If the relay does not run.
    pub async fn token_renewed(&self) -> Result<impl Future<Output = ()> + Send + use<>> {
        let mut events = self.running().await?.with(LocalRelay::events);
        Ok(async move {
            while let Some(event) = events.next().await {
                if event.operation == Operation::TokenRenewed {
                    return;
                }
            }
        })
    }

    async fn running(&self) -> Result<Running<'_>> {
        let relay = self.relay.lock().await;
        if relay.is_some() { Ok(Running(relay)) } else { bail!("the relay was stopped") }
    }
}

/// A relay that was seen to run.
struct Running<'a>(MutexGuard<'a, Option<LocalRelay>>);

impl Running<'_> {
    fn with<T>(&self, ask: impl FnOnce(&LocalRelay) -> T) -> T {
        ask(self.0.as_ref().expect("it was looked at while it was locked"))
    }
}

async fn launch(ca: Option<&DevCa>, again: Option<(u16, &str)>) -> Result<LocalRelay> {
    let mut builder = LocalRelay::builder().config(config());
    if let Some(ca) = ca {
        builder = builder.dev_ca(ca);
    }
    if let Some((port, key)) = again {
        builder = builder.port(port).key(key);
    }
    Ok(builder.start().await?)
}

/// Limits that many programs at one address do not meet. And hyco-ws opens two channels for each that failed and never waits
/// (protocol.md 3.8): with the usual 25 listeners, those above would be refused, and each refusal breeds two more.
fn config() -> Config {
    let mut config = Config::default();
    config.limits.listeners_per_entity = 10_000;
    config.limits.waiting_per_address = 10_000;
    config
}
