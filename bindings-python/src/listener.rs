//! A listener and its status.

use hybridrelay_bindings_common::core::{self, Incoming, Status};
use hybridrelay_bindings_common::errors::Failure;
use hybridrelay_bindings_common::facts::StatusFacts;
use hybridrelay_bindings_common::following::Following;
use hybridrelay_bindings_common::options;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::turns::Turns;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::boundary::{ask, exception, own, time_out};
use crate::events::Events;
use crate::incoming::{IncomingConnect, IncomingRequest};
use crate::options::set;
use crate::queue::{Started, begin, next, none, object, task, unless_ended};

/// A listener that is or was online.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Listener(Owned<Following<core::Listener>>);

#[pymethods]
impl Listener {
    /// Gets online.
    #[staticmethod]
    fn open<'py>(py: Python<'py>, target: Option<&str>, options: &Bound<'py, PyDict>) -> Started<'py> {
        let builder = set(core::Listener::builder(options::target(target)), options)?;
        let opening = async move { Ok(builder.open().await?) };
        task(py, opening, |py, listener| object(py, Self(Owned::new(Following::new(listener)))))
    }

    /// The next sender that waits; `None` after the close.
    fn accept<'py>(&self, py: Python<'py>) -> Started<'py> {
        let incoming_out = unless_ended(|py, incoming| match incoming {
            Incoming::Connect(connect) => object(py, IncomingConnect::new(connect)),
            Incoming::Request(request) => object(py, IncomingRequest::new(request)),
            // A kind that this version does not know: dropping it refuses the sender, and the program asks again.
            _ => Ok(py.Ellipsis().into_bound(py)),
        });
        next(py, &self.0, incoming_out)
    }

    /// Goes offline.
    fn close<'py>(&self, py: Python<'py>) -> Started<'py> {
        let listener = own(py, &self.0)?;
        let closing = async move {
            listener.close().await;
            Ok(())
        };
        begin(py, closing, none)
    }

    /// The status now: name, error, seconds to the next attempt, when the token expires.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        status_out(py, own(py, &self.0)?.status().current())
    }

    /// Follows the status.
    fn watch(&self, py: Python<'_>) -> PyResult<StatusWatcher> {
        Ok(StatusWatcher(Owned::new(Following::new(Turns::new(own(py, &self.0)?.status())))))
    }

    /// What the relay offers beyond the protocol.
    fn features(&self, py: Python<'_>) -> PyResult<Vec<&'static str>> {
        Ok(own(py, &self.0)?.features().names().collect())
    }

    /// The relay's address and the hybrid connection.
    fn place(&self, py: Python<'_>) -> PyResult<(String, String)> {
        let listener = own(py, &self.0)?;
        Ok((listener.address().to_string(), listener.entity().to_string()))
    }

    /// Takes everything that comes as events.
    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        ask(py, &self.0, |listener| Events::new(listener.events()))
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
        let forwarder = own(py, &self.0)?.forward(target).strip(strip).rewrite(rewrite);
        let forwarder = forwarder.forwarded_headers(forwarded_headers).insecure_skip_verify(insecure_skip_verify);
        let forwarder = extra_ca_pem.into_iter().fold(forwarder, |forwarder, pem| forwarder.extra_ca_pem(pem));
        task(py, async move { Ok(forwarder.await?) }, none)
    }
}

/// Follows a listener's status.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct StatusWatcher(Owned<Following<Turns<core::StatusWatcher>>>);

#[pymethods]
impl StatusWatcher {
    /// The next status that this watcher has not seen; `None` behind the end.
    fn changed<'py>(&self, py: Python<'py>) -> Started<'py> {
        next(py, &self.0, unless_ended(status_out))
    }
}

fn status_out(py: Python<'_>, status: Status) -> PyResult<Bound<'_, PyAny>> {
    let StatusFacts { name, error, retry_in, expires_at } = StatusFacts::from(status);
    let (error, retry_in) = (error.map(|error| exception(py, &error)), retry_in.map(|wait| wait.as_secs_f64()));
    Ok((name, error, retry_in, time_out(expires_at)).into_pyobject(py)?.into_any())
}
