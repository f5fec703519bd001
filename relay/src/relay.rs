//! A relay inside your process.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hybridrelay::env::{Acceptor, Env};
use hybridrelay::protocol::close;
use hybridrelay::{CloseFrame, Error, ErrorKind, Result};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::config::{Config, ListenAddress, LiveConfig};
use crate::directory::embedded::Embedded;
use crate::directory::{EntityKey, ListenerRecord};
use crate::edge;
use crate::instrument::Instrument;
use crate::node::{Node, Stage};
use crate::observe::{self, Events};
use crate::rendezvous::Ending;
use crate::store::{MemoryStore, Store};

/// How long tasks take at most to notice that they are cut.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// A relay that is ready to start: made by [`Relay::builder`].
pub struct Relay {
    listen: Vec<Listen>,
    metrics_listen: Option<SocketAddr>,
    store: Arc<dyn Store>,
    config: Config,
    env: Env,
    instrument: Option<Arc<Instrument>>,
}

/// Prepares a [`Relay`].
#[derive(Default)]
#[must_use = "a builder does nothing until it is built and started"]
pub struct RelayBuilder {
    listen: Vec<Listen>,
    metrics_listen: Option<SocketAddr>,
    store: Option<Arc<dyn Store>>,
    config: Config,
    env: Env,
    instrument: Option<Arc<Instrument>>,
}

/// A socket to serve on.
enum Listen {
    At(ListenAddress),
    Bound(Box<dyn Acceptor>, Option<Arc<ServerConfig>>),
}

impl Relay {
    /// A relay without sockets and namespaces.
    pub fn builder() -> RelayBuilder {
        RelayBuilder::default()
    }

    /// Binds every address and serves in the background until the handle is shut down or dropped.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` without any address, `Network` for an address that cannot be bound. Then nothing is served.
    pub async fn start(self) -> Result<RelayHandle> {
        if self.listen.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "the relay has no address to listen on"));
        }
        let mut bound = Vec::new();
        for listen in self.listen {
            let address = match listen {
                Listen::At(address) => address,
                Listen::Bound(acceptor, tls) => {
                    bound.push((acceptor, tls));
                    continue;
                }
            };
            bound.push((bind(&self.env, address.addr).await?, address.tls));
        }
        let local_addrs = bound.iter().map(|(acceptor, _)| acceptor.local_addr()).collect();
        let metrics_acceptor = match self.metrics_listen {
            Some(address) => Some(bind(&self.env, address).await?),
            None => None,
        };
        let metrics_addr = metrics_acceptor.as_ref().map(|acceptor| acceptor.local_addr());
        let live = LiveConfig::new(self.config);
        let directory = Arc::new(Embedded::new(self.env.clone(), live.clone()));
        let node = Arc::new(Node::new(self.env, live, self.store, directory, self.instrument));
        for (acceptor, tls) in bound {
            node.spawn(edge::accept(node.clone(), acceptor, tls, node.busy.enter()));
        }
        if let Some(acceptor) = metrics_acceptor {
            node.spawn(observe::scrape(node.clone(), acceptor));
        }
        node.spawn(node.clone().watch_store());
        Ok(RelayHandle { node, local_addrs, metrics_addr })
    }
}

async fn bind(env: &Env, address: SocketAddr) -> Result<Box<dyn Acceptor>> {
    env.bind(address).await.map_err(|error| {
        Error::new(ErrorKind::Network, format!("cannot listen on {address}"))
            .with_reason(error.to_string())
            .with_source(error)
    })
}

impl RelayBuilder {
    /// Adds an address to listen on.
    pub fn listen(mut self, address: ListenAddress) -> Self {
        self.listen.push(Listen::At(address));
        self
    }

    /// Adds a socket that was bound before, with TLS if there is a configuration: for programs that choose among several ports or
    /// inherit their sockets.
    pub fn listen_on(mut self, acceptor: Box<dyn Acceptor>, tls: Option<Arc<ServerConfig>>) -> Self {
        self.listen.push(Listen::Bound(acceptor, tls));
        self
    }

    /// Serves the metrics at `GET /metrics` on a socket of their own, in plain text: for an address that only the operator reaches.
    /// Default: not at all; [`RelayHandle::metrics_text`] gives them to the program.
    pub fn metrics_listen(mut self, address: SocketAddr) -> Self {
        self.metrics_listen = Some(address);
        self
    }

    /// Where namespaces, hybrid connections, rules and keys come from. Default: nothing exists.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Limits, timings and the rest.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The environment to run in. Default: the system's.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Lets a test do to it what it likes.
    pub(crate) fn instrument(mut self, instrument: Arc<Instrument>) -> Self {
        self.instrument = Some(instrument);
        self
    }

    /// The relay, ready to start.
    pub fn build(self) -> Relay {
        let Self { listen, metrics_listen, store, config, env, instrument } = self;
        let store = store.unwrap_or_else(|| Arc::new(MemoryStore::new([])));
        Relay { listen, metrics_listen, store, config, env, instrument }
    }
}

/// A running relay. Dropping it cuts every connection.
pub struct RelayHandle {
    node: Arc<Node>,
    local_addrs: Vec<SocketAddr>,
    metrics_addr: Option<SocketAddr>,
}

impl RelayHandle {
    /// The bound addresses with their real ports, in the order in which they were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The bound address of the metrics, if they are served.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// The metrics in the OpenMetrics text format. `docs/metrics.md` lists them.
    pub fn metrics_text(&self) -> String {
        self.node.metrics_text()
    }

    /// Follows what happens from now on. The relay never waits for a slow reader, which misses events instead.
    pub fn events(&self) -> Events {
        self.node.observer.events()
    }

    /// Replaces limits, timings and the other settings while the relay runs.
    ///
    /// They hold for what comes from then on. Whoever has a place keeps it, also where there are fewer now; a relayed connection keeps
    /// the timings and rates with which it began. [`Limits::entities_in_metrics`](crate::Limits::entities_in_metrics) stays as it
    /// was at the start.
    pub fn set_config(&self, config: Config) {
        self.node.live.replace(config);
    }

    /// How many relayed connections are open.
    pub fn connections(&self) -> usize {
        self.node.open.current()
    }

    /// The listeners that are online under a hybrid connection.
    pub fn listeners(&self, namespace: &str, path: &str) -> Vec<ListenerRecord> {
        self.node.directory.listeners(&EntityKey::new(namespace, path))
    }

    /// Follows how many listeners are online under a hybrid connection.
    pub fn watch_listeners(&self, namespace: &str, path: &str) -> watch::Receiver<usize> {
        self.node.directory.watch(&EntityKey::new(namespace, path))
    }

    /// Cuts the control channels of a hybrid connection, as a network failure would; its listeners come back. Returns how many.
    pub fn drop_control(&self, namespace: &str, path: &str) -> usize {
        let listeners = self.listeners(namespace, path);
        for listener in &listeners {
            self.node.directory.disconnect(listener.id);
        }
        listeners.len()
    }

    /// Ends the relay in good order: says so at `/$relay/readyz`, and after
    /// [`Timings::drain_lead`](crate::Timings::drain_lead) takes nothing new, closes control channels with 1001, gives relayed
    /// connections `drain` to end by themselves, then closes them with 1001 and cuts what is left. Returns when everything has ended
    /// and the addresses are free again.
    pub async fn shutdown(self, drain: Duration) {
        let node = &self.node;
        let lead = node.config().timings.drain_lead;
        if !lead.is_zero() {
            node.stage.send_replace(Stage::Announced);
            node.env.sleep(lead).await;
        }
        let farewell = node.config().timings.control_close.min(drain);
        node.stage.send_replace(Stage::Draining(node.env.now() + drain));
        let quiet = node.env.timeout(drain.saturating_sub(farewell), node.quiet()).await;
        if quiet.is_none() {
            let close = CloseFrame { code: close::GOING_AWAY, reason: "ServiceShuttingDown".to_owned() };
            node.endings.end_unless(|_| false, &Ending::Drain { close, until: node.env.now() + farewell });
            let _ = node.env.timeout(farewell + CUT_LIMIT, node.quiet()).await;
        }
        self.stop();
        let _ = node.env.timeout(CUT_LIMIT, node.ended()).await;
    }

    /// Cuts what is left.
    fn stop(&self) {
        self.node.stage.send_replace(Stage::Stopped);
        self.node.endings.end_unless(|_| false, &Ending::Cut);
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for RelayHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayHandle").field("local_addrs", &self.local_addrs).finish_non_exhaustive()
    }
}
