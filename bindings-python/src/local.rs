//! The relay inside of the program, for its tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hybridrelay_bindings_common::core::{Error, ErrorKind};
use hybridrelay_bindings_common::errors::{Failure, Result};
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_relay::LocalRelay as Relay;
use pyo3::prelude::*;

use crate::boundary::{call, duration};
use crate::queue::{Queue, Started, none, object};

/// A relay on loopback.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct LocalRelay(Owned<Arc<Mutex<Option<Relay>>>>);

impl LocalRelay {
    fn with<T>(&self, py: Python<'_>, look: impl FnOnce(&Relay) -> T) -> PyResult<T> {
        call(py, || {
            let stopped = || Failure::Core(Error::new(ErrorKind::Closed, "the relay was stopped"));
            Ok(look(self.lock()?.as_ref().ok_or_else(stopped)?))
        })
    }

    fn lock(&self) -> Result<MutexGuard<'_, Option<Relay>>> {
        Ok(self.0.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl LocalRelay {
    /// Starts a relay.
    #[staticmethod]
    fn start<'py>(
        py: Python<'py>,
        queue: &Queue,
        tag: u64,
        tls: bool,
        port: u16,
        key: Option<String>,
        anonymous: bool,
    ) -> Started<'py> {
        let builder = Relay::builder().tls(tls).port(port).anonymous(anonymous);
        let builder = key.into_iter().fold(builder, |builder, key| builder.key(key));
        queue.submit(py, tag, async move { Ok(builder.start().await?) }, |py, relay| {
            object(py, Self(Owned::new(Arc::new(Mutex::new(Some(relay))))))
        })
    }

    /// A connection string with every right.
    fn connection_string(&self, py: Python<'_>, entity: &str) -> PyResult<String> {
        self.with(py, |relay| relay.connection_string(entity))
    }

    /// Its address.
    fn address(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |relay| relay.address().to_string())
    }

    /// The certificate to trust; `None` without TLS.
    fn ca_pem(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.with(py, |relay| relay.ca_pem().map(str::to_owned))
    }

    /// Name and key of its one rule.
    fn rule(&self, py: Python<'_>) -> PyResult<(&'static str, String)> {
        self.with(py, |relay| (relay.key_name(), relay.key().to_owned()))
    }

    /// Cuts control channels.
    fn drop_control(&self, py: Python<'_>, entity: &str) -> PyResult<usize> {
        self.with(py, |relay| relay.drop_control(entity))
    }

    /// How many relayed connections are open.
    fn connections(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, Relay::connections)
    }

    /// How many listeners are online under a hybrid connection.
    fn listeners(&self, py: Python<'_>, entity: &str) -> PyResult<usize> {
        self.with(py, |relay| *relay.watch_listeners(entity).borrow())
    }

    /// Stops it: connections have `drain` seconds to end.
    fn stop<'py>(&self, py: Python<'py>, queue: &Queue, tag: u64, drain: f64) -> Started<'py> {
        let (relay, drain) = call(py, || Ok((self.lock()?.take(), duration("drain", drain)?)))?;
        let stopping = async move {
            if let Some(relay) = relay {
                relay.shutdown(drain).await;
            }
            Ok(())
        };
        queue.submit(py, tag, stopping, none)
    }
}
