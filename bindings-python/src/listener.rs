//! A listener and its status.

use hybridrelay_bindings_common::core::{self, Incoming, Status};
use hybridrelay_bindings_common::errors::Failure;
use hybridrelay_bindings_common::process::Owned;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::OwnedMutexGuard;

use crate::boundary::{ask, exception, own, time_out};
use crate::events::Events;
use crate::incoming::{IncomingConnect, IncomingRequest};
use crate::lane::{Follower, Lane};
use crate::options;
use crate::queue::{Started, begin, none, object, task};

/// A listener that is or was online.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Listener {
    listener: Owned<core::Listener>,
    accepted: Lane<Option<Incoming>>,
}

#[pymethods]
impl Listener {
    /// Gets online.
    #[staticmethod]
    fn open<'py>(py: Python<'py>, target: Option<&str>, options: &Bound<'py, PyDict>) -> Started<'py> {
        let builder = options::listener(core::Listener::builder(options::target(target)), options)?;
        let opening = async move { Ok(builder.open().await?) };
        task(py, opening, |py, listener| object(py, Self { listener: Owned::new(listener), accepted: Lane::new() }))
    }

    /// The next sender that waits; `None` after the close.
    fn accept<'py>(&self, py: Python<'py>) -> Started<'py> {
        let listener = own(py, &self.listener)?;
        let accepting = async move { Ok(listener.accept().await?) };
        self.accepted.next(py, accepting, |py, incoming| match incoming {
            None => none(py, ()),
            Some(Incoming::Connect(connect)) => object(py, IncomingConnect::new(connect)),
            Some(Incoming::Request(request)) => object(py, IncomingRequest::new(request)),
            // A kind that this version does not know: dropping it refuses the sender, and the program asks again.
            Some(_) => Ok(py.Ellipsis().into_bound(py)),
        })
    }

    /// Goes offline.
    fn close<'py>(&self, py: Python<'py>) -> Started<'py> {
        let listener = own(py, &self.listener)?;
        let closing = async move {
            listener.close().await;
            Ok(())
        };
        begin(py, closing, none)
    }

    /// The status now: name, error, seconds to the next attempt, when the token expires.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        status_out(py, own(py, &self.listener)?.status().current())
    }

    /// Follows the status.
    fn watch(&self, py: Python<'_>) -> PyResult<StatusWatcher> {
        Ok(StatusWatcher(Follower::of_what_passes(own(py, &self.listener)?.status())))
    }

    /// What the relay offers beyond the protocol.
    fn features(&self, py: Python<'_>) -> PyResult<Vec<&'static str>> {
        Ok(own(py, &self.listener)?.features().names().collect())
    }

    /// The relay's address and the hybrid connection.
    fn place(&self, py: Python<'_>) -> PyResult<(String, String)> {
        let listener = own(py, &self.listener)?;
        Ok((listener.address().to_string(), listener.entity().to_string()))
    }

    /// Takes everything that comes as events.
    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        ask(py, &self.listener, |listener| Events::new(listener.events()))
    }

    /// Forwards everything that comes, until the close.
    fn forward<'py>(
        &self,
        py: Python<'py>,
        target: &str,
        strip: bool,
        rewrite: bool,
        forwarded_headers: bool,
        extra_ca_pem: Option<Vec<u8>>,
        insecure_skip_verify: bool,
    ) -> Started<'py> {
        core::Forwarder::check(target).map_err(|error| exception(py, &Failure::Core(error)))?;
        let forwarder = own(py, &self.listener)?.forward(target).strip(strip).rewrite(rewrite);
        let forwarder = forwarder.forwarded_headers(forwarded_headers).insecure_skip_verify(insecure_skip_verify);
        let forwarder = extra_ca_pem.into_iter().fold(forwarder, |forwarder, pem| forwarder.extra_ca_pem(pem));
        task(py, async move { Ok(forwarder.await?) }, none)
    }
}

/// Follows a listener's status.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct StatusWatcher(Follower<core::StatusWatcher, Option<Status>>);

#[pymethods]
impl StatusWatcher {
    /// The next status that this watcher has not seen; `None` behind the end.
    fn changed<'py>(&self, py: Python<'py>) -> Started<'py> {
        let changed = async |mut watcher: OwnedMutexGuard<core::StatusWatcher>| Ok(watcher.changed().await);
        self.0.next(py, changed, |py, status| match status {
            Some(status) => status_out(py, status),
            None => none(py, ()),
        })
    }
}

fn status_out(py: Python<'_>, status: Status) -> PyResult<Bound<'_, PyAny>> {
    let error_out = |error: Option<core::Error>| error.map(|error| exception(py, &Failure::Core(error)));
    let (name, error, retry_in, expires_at) = match status {
        Status::Connecting => ("connecting", None, None, None),
        Status::Online { expires_at } => ("online", None, None, time_out(expires_at)),
        Status::Offline { error, retry_in } => {
            ("offline", error_out(Some(error)), retry_in.map(|wait| wait.as_secs_f64()), None)
        }
        Status::Closed { error } => ("closed", error_out(error), None, None),
        _ => ("unknown", None, None, None),
    };
    Ok((name, error, retry_in, expires_at).into_pyobject(py)?.into_any())
}
