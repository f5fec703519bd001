//! Events: who publishes and who hears.

use hybridrelay_bindings_common::core;
use hybridrelay_bindings_common::errors::Failure;
use hybridrelay_bindings_common::facts::EventFacts;
use hybridrelay_bindings_common::following::Following;
use hybridrelay_bindings_common::http::Method;
use hybridrelay_bindings_common::process::Owned;
use pyo3::prelude::*;

use crate::boundary::{address_out, headers_out, message, message_out, own};
use crate::queue::{Started, begin, next, none, task, unless_ended};

/// What a listener hears.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Events(Owned<Following<core::Events>>);

impl Events {
    pub(crate) fn new(events: core::Events) -> Self {
        Self(Owned::new(Following::new(events)))
    }
}

#[pymethods]
impl Events {
    /// The next event: kind, origin, payload, method, how many were missed. `None` after the listener's close.
    fn next<'py>(&self, py: Python<'py>) -> Started<'py> {
        let event_out = unless_ended(|py, event| {
            let EventFacts { kind, origin, message, method, count } = EventFacts::from(event);
            let (origin, payload) = (EventOrigin(origin), message.map(|message| message_out(py, &message)));
            Ok((kind, origin, payload, method.as_ref().map(Method::as_str), count).into_pyobject(py)?.into_any())
        });
        next(py, &self.0, event_out)
    }
}

/// Whose an event is.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct EventOrigin(core::EventOrigin);

#[pymethods]
impl EventOrigin {
    /// Path, query, headers, address, tracking id, sub-protocol.
    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let origin = &self.0;
        let remote = address_out(origin.remote_addr());
        let headers = headers_out(py, origin.headers());
        let (path, query, id) = (origin.path(), origin.query(), origin.tracking_id());
        Ok((path, query, headers, remote, id, origin.subprotocol()).into_pyobject(py)?.into_any())
    }
}

/// A connection on which this side only speaks.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Publisher(Owned<core::Publisher>);

impl Publisher {
    pub(crate) fn new(publisher: core::Publisher) -> Self {
        Self(Owned::new(publisher))
    }
}

#[pymethods]
impl Publisher {
    /// Publishes an event.
    fn publish<'py>(&self, py: Python<'py>, event: &Bound<'py, PyAny>) -> Started<'py> {
        let (publisher, event) = (own(py, &self.0)?, message(event)?);
        begin(py, async move { Ok(publisher.enqueue(event).await?) }, none)
    }

    /// Waits until everything was handed to the operating system.
    fn flush<'py>(&self, py: Python<'py>) -> Started<'py> {
        let publisher = own(py, &self.0)?;
        begin(py, async move { Ok(publisher.flush().await?) }, none)
    }

    /// Ends it behind everything published.
    fn close<'py>(&self, py: Python<'py>) -> Started<'py> {
        let publisher = own(py, &self.0)?;
        task(py, async move { Ok(publisher.close().await?) }, none)
    }

    /// Waits until the other side has ended it; raises why.
    fn ended<'py>(&self, py: Python<'py>) -> Started<'py> {
        let publisher = own(py, &self.0)?;
        begin(py, async move { Err(Failure::Core(publisher.ended().await)) }, none)
    }

    /// Ends it at once.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        own(py, &self.0)?.abort();
        Ok(())
    }

    /// Sub-protocol and tracking id.
    fn facts(&self, py: Python<'_>) -> PyResult<(Option<String>, String)> {
        let publisher = own(py, &self.0)?;
        Ok((publisher.subprotocol().map(str::to_owned), publisher.tracking_id().to_owned()))
    }
}
