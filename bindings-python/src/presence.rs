//! Who is online, and what a namespace offers.

use hybridrelay_bindings_common::core::{self, EndpointEvent, Presence, PresenceEvent, PresentListener};
use hybridrelay_bindings_common::errors::Failure;
use hybridrelay_bindings_common::process::Owned;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::OwnedMutexGuard;

use crate::boundary::{address_out, ask, call, exception, own, time_out};
use crate::lane::Follower;
use crate::options;
use crate::queue::{Started, task};

/// A dictionary.
macro_rules! dict {
    ($py:ident; $($name:literal: $value:expr),+ $(,)?) => {{
        let dict = PyDict::new($py);
        $(dict.set_item($name, $value)?;)+
        dict
    }};
}

/// What happens to the listeners of a hybrid connection.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct PresenceEvents(Follower<core::PresenceEvents, (PresenceEvent, Presence)>);

impl PresenceEvents {
    pub(crate) fn new(events: core::PresenceEvents) -> Self {
        Self(Follower::new(events))
    }
}

#[pymethods]
impl PresenceEvents {
    /// What happens next, as a dictionary.
    fn next<'py>(&self, py: Python<'py>) -> Started<'py> {
        let next = async |mut events: OwnedMutexGuard<core::PresenceEvents>| {
            let event = events.next().await?;
            Ok((event, events.current().clone()))
        };
        self.0.next(py, next, |py, (event, current)| {
            let out = match event {
                PresenceEvent::Present(_) => dict! { py; "kind": "present" },
                PresenceEvent::Connected { id, at, listener, .. } => {
                    let listener = listener.map(|listener| listener_out(py, *listener)).transpose()?;
                    dict! { py; "kind": "connected", "id": id, "at": time_out(at), "listener": listener }
                }
                PresenceEvent::Disconnected { id, at, .. } => {
                    dict! { py; "kind": "disconnected", "id": id, "at": time_out(at) }
                }
                PresenceEvent::Interrupted { error, retry_in } => {
                    let error = exception(py, &Failure::Core(error));
                    dict! { py; "kind": "interrupted", "error": error, "retry_in": retry_in.as_secs_f64() }
                }
                PresenceEvent::Restored => dict! { py; "kind": "restored" },
                _ => dict! { py; "kind": "unknown" },
            };
            out.set_item("presence", presence_out(py, current)?)?;
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
    fn endpoints<'py>(&self, py: Python<'py>) -> Started<'py> {
        let namespace = own(py, &self.0)?;
        task(py, async move { Ok(namespace.endpoints().await?) }, endpoints_out)
    }

    /// Follows them.
    fn watch(&self, py: Python<'_>) -> PyResult<EndpointEvents> {
        ask(py, &self.0, |namespace| EndpointEvents(Follower::new(namespace.watch())))
    }
}

/// What happens to the endpoints of a namespace.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct EndpointEvents(Follower<core::EndpointEvents, EndpointEvent>);

#[pymethods]
impl EndpointEvents {
    /// What happens next, as a dictionary.
    fn next<'py>(&self, py: Python<'py>) -> Started<'py> {
        let next = async |mut events: OwnedMutexGuard<core::EndpointEvents>| Ok(events.next().await?);
        self.0.next(py, next, |py, event| {
            let out = match event {
                EndpointEvent::Present(endpoints) => {
                    dict! { py; "kind": "present", "endpoints": endpoints_out(py, endpoints)? }
                }
                EndpointEvent::Online(endpoint) => {
                    let path = endpoint.path.to_string();
                    dict! { py; "kind": "online", "path": path, "endpoints": endpoints_out(py, vec![endpoint])? }
                }
                EndpointEvent::Offline { path, at } => {
                    dict! { py; "kind": "offline", "path": path.to_string(), "at": time_out(at) }
                }
                EndpointEvent::Interrupted { error, retry_in } => {
                    let error = exception(py, &Failure::Core(error));
                    dict! { py; "kind": "interrupted", "error": error, "retry_in": retry_in.as_secs_f64() }
                }
                EndpointEvent::Restored => dict! { py; "kind": "restored" },
                _ => dict! { py; "kind": "unknown" },
            };
            Ok(out.into_any())
        })
    }
}

/// Who listens: how many, since when, and each of them if that is told.
pub(crate) fn presence_out(py: Python<'_>, presence: Presence) -> PyResult<Bound<'_, PyAny>> {
    let each = |listeners: Vec<_>| listeners.into_iter().map(|listener| listener_out(py, listener)).collect();
    let listeners: Option<Vec<_>> = presence.listeners.map(each).transpose()?;
    Ok((presence.count, time_out(presence.since), listeners).into_pyobject(py)?.into_any())
}

fn listener_out(py: Python<'_>, listener: PresentListener) -> PyResult<Bound<'_, PyDict>> {
    Ok(dict! { py;
        "id": listener.id,
        "tracking_id": listener.tracking_id,
        "since": time_out(listener.since),
        "address": address_out(listener.address),
        "agent": listener.agent,
        "rule": listener.rule,
        "features": listener.features,
        "labels": listener.labels,
        "in_flight": listener.in_flight,
        "last_heard": time_out(listener.last_heard),
    })
}

fn endpoints_out(py: Python<'_>, endpoints: Vec<core::Endpoint>) -> PyResult<Bound<'_, PyAny>> {
    let endpoint_out = |endpoint: core::Endpoint| -> PyResult<_> {
        Ok(dict! { py;
            "path": endpoint.path.to_string(),
            "title": endpoint.title,
            "summary": endpoint.summary,
            "tags": endpoint.tags,
            "url": endpoint.url,
            "web_socket_url": endpoint.web_socket_url,
            "requires_authorization": endpoint.requires_authorization,
            "since": time_out(endpoint.since),
        })
    };
    Ok(endpoints.into_iter().map(endpoint_out).collect::<PyResult<Vec<_>>>()?.into_pyobject(py)?.into_any())
}
