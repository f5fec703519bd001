//! Who is online, and what a namespace offers.

use std::sync::Arc;

use hybridrelay_bindings_common::core::{self, EndpointEvent, Presence, PresenceEvent, PresentListener};
use hybridrelay_bindings_common::errors::Failure;
use hybridrelay_bindings_common::process::Owned;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::Mutex;

use crate::boundary::{call, exception, time_out};
use crate::lane::Lane;
use crate::options;
use crate::queue::{Queue, Started};

/// What happens to the listeners of a hybrid connection.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct PresenceEvents {
    events: Owned<Arc<Mutex<core::PresenceEvents>>>,
    heard: Lane<(PresenceEvent, Presence)>,
}

impl PresenceEvents {
    pub(crate) fn new(events: core::PresenceEvents) -> Self {
        Self { events: Owned::new(Arc::new(Mutex::new(events))), heard: Lane::new() }
    }
}

#[pymethods]
impl PresenceEvents {
    /// What happens next, as a dictionary.
    fn next<'py>(&self, py: Python<'py>, queue: &Queue, tag: u64) -> Started<'py> {
        let events = call(py, || self.events.get().cloned())?;
        let next = async move {
            let mut events = events.lock().await;
            let event = events.next().await?;
            Ok((event, events.current().clone()))
        };
        self.heard.next(py, queue, tag, next, |py, (event, current)| {
            let out = PyDict::new(py);
            out.set_item("presence", presence_out(py, current)?)?;
            match event {
                PresenceEvent::Present(_) => out.set_item("kind", "present")?,
                PresenceEvent::Connected { id, at, listener, .. } => {
                    out.set_item("kind", "connected")?;
                    out.set_item("id", id)?;
                    out.set_item("at", time_out(at))?;
                    if let Some(listener) = listener {
                        out.set_item("listener", listener_out(py, *listener)?)?;
                    }
                }
                PresenceEvent::Disconnected { id, at, .. } => {
                    out.set_item("kind", "disconnected")?;
                    out.set_item("id", id)?;
                    out.set_item("at", time_out(at))?;
                }
                PresenceEvent::Interrupted { error, retry_in } => {
                    out.set_item("kind", "interrupted")?;
                    out.set_item("error", exception(py, &Failure::Core(error)))?;
                    out.set_item("retry_in", retry_in.as_secs_f64())?;
                }
                PresenceEvent::Restored => out.set_item("kind", "restored")?,
                _ => out.set_item("kind", "unknown")?,
            }
            Ok(out.into_any())
        })
    }
}

/// A namespace as a whole.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Namespace(Owned<core::Namespace>);

#[pymethods]
impl Namespace {
    #[new]
    fn new(py: Python<'_>, target: Option<&str>, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let builder = options::namespace(core::Namespace::builder(options::target(target)), options)?;
        call(py, || Ok(Self(Owned::new(builder.build()?))))
    }

    /// The endpoints that are online, as dictionaries.
    fn endpoints<'py>(&self, py: Python<'py>, queue: &Queue, tag: u64) -> Started<'py> {
        let namespace = call(py, || self.0.get().cloned())?;
        queue.submit(py, tag, async move { Ok(namespace.endpoints().await?) }, endpoints_out)
    }

    /// Follows them.
    fn watch(&self, py: Python<'_>) -> PyResult<EndpointEvents> {
        let events = call(py, || Ok(self.0.get()?.watch()))?;
        Ok(EndpointEvents { events: Owned::new(Arc::new(Mutex::new(events))), heard: Lane::new() })
    }
}

/// What happens to the endpoints of a namespace.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct EndpointEvents {
    events: Owned<Arc<Mutex<core::EndpointEvents>>>,
    heard: Lane<EndpointEvent>,
}

#[pymethods]
impl EndpointEvents {
    /// What happens next, as a dictionary.
    fn next<'py>(&self, py: Python<'py>, queue: &Queue, tag: u64) -> Started<'py> {
        let events = call(py, || self.events.get().cloned())?;
        self.heard.next(py, queue, tag, async move { Ok(events.lock().await.next().await?) }, |py, event| {
            let out = PyDict::new(py);
            match event {
                EndpointEvent::Present(endpoints) => {
                    out.set_item("kind", "present")?;
                    out.set_item("endpoints", endpoints_out(py, endpoints)?)?;
                }
                EndpointEvent::Online(endpoint) => {
                    out.set_item("kind", "online")?;
                    out.set_item("path", endpoint.path.to_string())?;
                    out.set_item("endpoints", endpoints_out(py, vec![endpoint])?)?;
                }
                EndpointEvent::Offline { path, at } => {
                    out.set_item("kind", "offline")?;
                    out.set_item("path", path.to_string())?;
                    out.set_item("at", time_out(at))?;
                }
                EndpointEvent::Interrupted { error, retry_in } => {
                    out.set_item("kind", "interrupted")?;
                    out.set_item("error", exception(py, &Failure::Core(error)))?;
                    out.set_item("retry_in", retry_in.as_secs_f64())?;
                }
                EndpointEvent::Restored => out.set_item("kind", "restored")?,
                _ => out.set_item("kind", "unknown")?,
            }
            Ok(out.into_any())
        })
    }
}

/// Who listens: how many, since when, and each of them if that is told.
pub(crate) fn presence_out(py: Python<'_>, presence: Presence) -> PyResult<Bound<'_, PyAny>> {
    let listeners = match presence.listeners {
        None => None,
        Some(listeners) => {
            Some(listeners.into_iter().map(|listener| listener_out(py, listener)).collect::<PyResult<Vec<_>>>()?)
        }
    };
    Ok((presence.count, time_out(presence.since), listeners).into_pyobject(py)?.into_any())
}

fn listener_out(py: Python<'_>, listener: PresentListener) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("id", listener.id)?;
    out.set_item("tracking_id", listener.tracking_id)?;
    out.set_item("since", time_out(listener.since))?;
    out.set_item("address", listener.address.map(|address| (address.ip().to_string(), address.port())))?;
    out.set_item("agent", listener.agent)?;
    out.set_item("rule", listener.rule)?;
    out.set_item("features", listener.features)?;
    out.set_item("labels", listener.labels)?;
    out.set_item("in_flight", listener.in_flight)?;
    out.set_item("last_heard", time_out(listener.last_heard))?;
    Ok(out)
}

fn endpoints_out(py: Python<'_>, endpoints: Vec<core::Endpoint>) -> PyResult<Bound<'_, PyAny>> {
    let mut all = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let out = PyDict::new(py);
        out.set_item("path", endpoint.path.to_string())?;
        out.set_item("title", endpoint.title)?;
        out.set_item("summary", endpoint.summary)?;
        out.set_item("tags", endpoint.tags)?;
        out.set_item("url", endpoint.url)?;
        out.set_item("web_socket_url", endpoint.web_socket_url)?;
        out.set_item("requires_authorization", endpoint.requires_authorization)?;
        out.set_item("since", time_out(endpoint.since))?;
        all.push(out);
    }
    Ok(all.into_pyobject(py)?.into_any())
}
