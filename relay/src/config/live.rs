//! Settings of a relay that runs: they may be replaced at any time.

use std::sync::Arc;

use tokio::sync::watch;

use super::Config;

/// The present settings. Cheap to clone; clones share them.
#[derive(Clone)]
pub(crate) struct LiveConfig(Arc<watch::Sender<Arc<Config>>>);

impl LiveConfig {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(config))))
    }

    /// The settings of this moment. Whoever keeps them for longer does not see later ones.
    pub(crate) fn current(&self) -> Arc<Config> {
        self.0.borrow().clone()
    }

    pub(crate) fn replace(&self, config: Config) {
        self.0.send_replace(Arc::new(config));
    }
}
