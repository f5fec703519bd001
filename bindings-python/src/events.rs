//! Events: who publishes and who hears.

use hybridrelay_bindings_common::core::{self, Event};
use hybridrelay_bindings_common::errors::Failure;
use hybridrelay_bindings_common::process::Owned;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::boundary::{address_out, headers_out, message, message_out, own};
use crate::lane::Lane;
use crate::queue::{Started, begin, none, task};

/// What a listener hears.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Events {
    events: Owned<core::Events>,
    heard: Lane<Option<Event>>,
}

impl Events {
    pub(crate) fn new(events: core::Events) -> Self {
        Self { events: Owned::new(events), heard: Lane::new() }
    }
}

#[pymethods]
impl Events {
    /// The next event: kind, origin, payload, method, how many were missed. `None` after the listener's close.
    fn next<'py>(&self, py: Python<'py>) -> Started<'py> {
        let events = own(py, &self.events)?;
        self.heard.next(py, async move { Ok(events.next().await?) }, |py, event| {
            let Some(event) = event else { return none(py, ()) };
            let origin = EventOrigin(event.origin().clone());
            let nothing = || py.None().into_bound(py);
            let (kind, payload, method, count) = match &event {
                Event::Message { message, .. } => ("message", message_out(py, message), None, 0),
                Event::Request { method, body, .. } => {
                    ("request", PyBytes::new(py, body).into_any(), Some(method.as_str()), 0)
                }
                Event::Missed { count, .. } => ("missed", nothing(), None, *count),
                _ => ("unknown", nothing(), None, 0),
            };
            Ok((kind, origin, payload, method, count).into_pyobject(py)?.into_any())
        })
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
        begin(py, async move { Ok(publisher.publish(event).await?) }, none)
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
