//! A relay that runs by a configuration file.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hybridrelay::env::Env;
use hybridrelay::{Error, ErrorKind, Result};
use rustls::ServerConfig;
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::settings::{Listen, Parsed};
use super::watched::Watched;
use super::{ConfigFile, Problem, Problems, Source};
use crate::config::ListenAddress;
use crate::namespace::Namespace;
use crate::relay::{Relay, RelayHandle};
use crate::store::{MemoryStore, Snapshot};
use crate::tls;

/// How often files are looked at. A change is taken up when it has not gone on for as long, so that a certificate and its key are
/// written both.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A relay that runs by a [`ConfigFile`]. Dropping it cuts every connection.
pub struct FileRelay {
    env: Env,
    relay: RelayHandle,
    admin: Option<RelayHandle>,
    store: MemoryStore,
    /// As it was at the start: what only a restart changes.
    started: Fixed,
    certificates: Vec<Option<Arc<Certificate>>>,
    admin_certificate: Option<Arc<Certificate>>,
    source: Source,
    /// The namespaces of the file, without the hybrid connections that listeners have made.
    configured: Vec<Namespace>,
    lead: Duration,
    drain: Duration,
    watched: Watched,
}

/// What became of a configuration that was read again.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Reloaded {
    /// What is not wrong, but perhaps not as it was meant.
    pub warnings: Vec<Problem>,
    /// The keys whose new values need a restart, such as `listen`; the old ones hold until then.
    pub needs_restart: Vec<&'static str>,
}

/// What cannot be changed while the relay runs.
struct Fixed {
    listen: Vec<Listen>,
    admin: Option<Listen>,
    metrics: Option<std::net::SocketAddr>,
    entities_in_metrics: usize,
    log: super::LogSettings,
}

impl ConfigFile {
    /// Binds every address of the file and serves in the background.
    ///
    /// # Errors
    ///
    /// `Network` for an address that cannot be bound. Then nothing is served.
    pub async fn start(self, env: &Env) -> Result<FileRelay> {
        let Self { source, settings, loaded, .. } = self;
        let mut namespaces = loaded.namespaces.clone();
        namespaces.iter_mut().for_each(|namespace| keep_times(namespace, None, env.wall_clock()));
        let store = MemoryStore::new(namespaces);
        let mut builder =
            Relay::builder().env(env.clone()).store(store.clone()).config(settings.tunables.config.clone());
        let mut certificates = Vec::new();
        for (listen, certificate) in settings.listen.iter().zip(loaded.certificates) {
            let (address, certificate) = listen_address(env, listen, certificate).await?;
            builder = builder.listen(address);
            certificates.push(certificate);
        }
        if let Some(address) = settings.metrics {
            builder = builder.metrics_listen(address);
        }
        let (mut admin, mut admin_certificate) = (None, None);
        if let Some(listen) = &settings.admin {
            let (address, certificate) = listen_address(env, listen, loaded.admin).await?;
            // Reserved: without namespaces every request gets 404.
            admin = Some(Relay::builder().env(env.clone()).listen(address).build().start().await?);
            admin_certificate = certificate;
        }
        Ok(FileRelay {
            env: env.clone(),
            relay: builder.build().start().await?,
            admin,
            store,
            certificates,
            admin_certificate,
            source,
            configured: loaded.namespaces,
            lead: settings.tunables.config.timings.drain_lead,
            drain: settings.tunables.drain,
            watched: loaded.watched,
            started: Fixed::of(settings),
        })
    }
}

async fn listen_address(
    env: &Env,
    listen: &Listen,
    certificate: Option<Arc<CertifiedKey>>,
) -> Result<(ListenAddress, Option<Arc<Certificate>>)> {
    let unusable = |kind: ErrorKind, reason: String| {
        Error::new(kind, format!("cannot listen on {}", listen.endpoint)).with_reason(reason)
    };
    let addr = listen.endpoint.resolve(env).await.map_err(|error| unusable(ErrorKind::Network, error.to_string()))?;
    let certificate = certificate.map(|first| Arc::new(Certificate::new(first)));
    let tls: Option<Arc<ServerConfig>> = match &certificate {
        Some(certificate) => Some(
            tls::server_config_with_resolver(certificate.clone())
                .map_err(|error| unusable(ErrorKind::Tls, error.to_string()))?,
        ),
        None => None,
    };
    Ok((ListenAddress { addr, tls }, certificate))
}

impl FileRelay {
    /// The addresses that it listens on, with their real ports, in the order of the file: `https://0.0.0.0:443`.
    pub fn listen(&self) -> Vec<String> {
        let bound = self.relay.local_addrs();
        let endpoints = self.started.listen.iter().zip(bound);
        endpoints.map(|(listen, bound)| listen.endpoint.clone().with_port(bound.port()).to_string()).collect()
    }

    /// The administration address.
    pub fn admin(&self) -> Option<String> {
        let bound = self.admin.as_ref()?.local_addrs().first()?;
        Some(self.started.admin.as_ref()?.endpoint.clone().with_port(bound.port()).to_string())
    }

    /// Where the metrics are served.
    pub fn metrics(&self) -> Option<String> {
        Some(format!("http://{}/metrics", self.relay.metrics_addr()?))
    }

    /// How long the end of the relay may take: `drain_lead` and `drain`, as they were read last.
    pub fn drain(&self) -> Duration {
        self.lead + self.drain
    }

    /// The relay itself.
    pub fn relay(&self) -> &RelayHandle {
        &self.relay
    }

    /// Completes when a file that the configuration names was changed, and is not being changed any more: a certificate, its key, or
    /// a file with a shared access key. Rewriting, renaming and exchanged links are all seen. The configuration file itself is not
    /// among them: a half-written one would be taken up. Cancel-safe.
    pub async fn files_changed(&mut self) {
        let mut before: Option<Watched> = None;
        loop {
            self.env.sleep(LOOK_EVERY).await;
            let watched = self.watched.clone();
            // Looking may block. A task that panics would have seen nothing.
            let Ok(now) = tokio::task::spawn_blocking(move || watched.look()).await else { continue };
            if before.as_ref() == Some(&now) && now != self.watched {
                self.watched = now;
                return;
            }
            before = Some(now);
        }
    }

    /// Reads the configuration file again and applies it, all of it or nothing.
    ///
    /// Listeners whose rule or key is gone are closed with 1008 after [`Timings::revocation`](crate::Timings::revocation), those of
    /// hybrid connections that are gone with 1001 at once (protocol.md 10, decisions 37 and 57). Hybrid connections that listeners
    /// have made stay as long as there is a policy for them. New handshakes see new certificates. Relayed connections go on.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file. Then the relay goes on as before.
    pub async fn reload(&mut self) -> std::result::Result<Reloaded, Problems> {
        let path = self.source.path.clone();
        let source = blocking(move || Source::read(&path)).await?;
        self.apply(source).await
    }

    /// The same with the configuration as it was read last, and the certificates and keys as they are now.
    ///
    /// # Errors
    ///
    /// As [`reload`](Self::reload).
    pub async fn reload_files(&mut self) -> std::result::Result<Reloaded, Problems> {
        self.apply(self.source.clone()).await
    }

    async fn apply(&mut self, source: Source) -> std::result::Result<Reloaded, Problems> {
        let env = self.env.clone();
        let ConfigFile { source, settings, loaded, warnings } = blocking(move || source.load(&env)).await?;
        // From here on nothing fails.
        let needs_restart = self.started.differences(&settings);
        let (old, new) = (&self.configured, &loaded.namespaces);
        let now = self.env.wall_clock();
        self.store.replace_with(|present| with_created(present, old, new.clone(), now));
        self.configured = loaded.namespaces;
        for (started, certificate) in self.started.listen.iter().zip(&self.certificates) {
            let known = settings.listen.iter().zip(&loaded.certificates).find(|(listen, _)| listen.is_at(started));
            if let (Some(certificate), Some((_, Some(next)))) = (certificate, known) {
                certificate.replace(next.clone());
            }
        }
        let same_admin = self.started.admin.iter().zip(&settings.admin).any(|(old, new)| old.is_at(new));
        if let (Some(certificate), Some(next), true) = (&self.admin_certificate, loaded.admin, same_admin) {
            certificate.replace(next);
        }
        (self.lead, self.drain) = (settings.tunables.config.timings.drain_lead, settings.tunables.drain);
        self.relay.set_config(settings.tunables.config);
        (self.source, self.watched) = (source, loaded.watched);
        Ok(Reloaded { warnings, needs_restart })
    }

    /// Ends the relay in good order, with the time of the file for connections to end; see [`RelayHandle::shutdown`].
    pub async fn shutdown(self) {
        self.relay.shutdown(self.drain).await;
    }
}

/// Runs what reads files.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> std::result::Result<T, Problems> + Send + 'static,
) -> std::result::Result<T, Problems> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and nobody will look at this.
            Err(_) => Err(Problems(Vec::new())),
        },
    }
}

/// New namespaces with the hybrid connections that listeners have made in the old ones, where that is still allowed. What was there
/// keeps its age.
pub(super) fn with_created(
    present: &Snapshot,
    old: &[Namespace],
    mut new: Vec<Namespace>,
    now: SystemTime,
) -> Vec<Namespace> {
    for namespace in &mut new {
        insert_created(namespace, present, old, now);
        keep_times(namespace, present.namespace(&namespace.name), now);
    }
    new
}

fn insert_created(namespace: &mut Namespace, present: &Snapshot, old: &[Namespace], now: SystemTime) {
    let Some(policy) = namespace.auto_create.clone() else { return };
    let configured = old.iter().find(|candidate| candidate.name == namespace.name);
    let was_configured = |path: &str| configured.is_some_and(|old| old.entity(path).is_some());
    for entity in present.namespace(&namespace.name).into_iter().flat_map(Namespace::entities) {
        let path = entity.path.as_str();
        if !was_configured(path) && namespace.entity(path).is_none() {
            namespace.insert(policy.entity(entity.path.clone(), now));
        }
    }
}

/// Takes over from the same namespace as it was `before` when each hybrid connection was made and changed; it is `now` for those that
/// are new or have been changed.
fn keep_times(namespace: &mut Namespace, before: Option<&Namespace>, now: SystemTime) {
    for mut entity in namespace.entities().cloned().collect::<Vec<_>>() {
        match before.and_then(|before| before.entity(entity.path.as_str())) {
            None => entity.created_at = Some(now),
            Some(before) => {
                (entity.created_at, entity.updated_at) = (before.created_at, before.updated_at);
                if entity != *before {
                    entity.updated_at = Some(now);
                }
            }
        }
        namespace.insert(entity);
    }
}

impl Fixed {
    fn of(settings: Parsed) -> Self {
        let entities_in_metrics = settings.tunables.config.limits.entities_in_metrics;
        let Parsed { listen, admin, metrics, log, .. } = settings;
        Self { listen, admin, metrics, entities_in_metrics, log }
    }

    /// The keys in which new settings differ from what runs.
    fn differences(&self, new: &Parsed) -> Vec<&'static str> {
        let same_listen = self.listen.len() == new.listen.len()
            && self.listen.iter().zip(&new.listen).all(|(old, new)| old.is_at(new));
        let same_admin = match (&self.admin, &new.admin) {
            (Some(old), Some(new)) => old.is_at(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        let differences = [
            ("listen", !same_listen),
            ("admin", !same_admin),
            ("metrics", self.metrics != new.metrics),
            ("limits.entities_in_metrics", self.entities_in_metrics != new.tunables.config.limits.entities_in_metrics),
            ("log", self.log != new.log),
        ];
        differences.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

impl fmt::Debug for FileRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRelay").field("listen", &self.listen()).finish_non_exhaustive()
    }
}
