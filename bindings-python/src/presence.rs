//! Who is online, and what a namespace offers.

use hybridrelay_bindings_common::core::{self, Presence, PresentListener};
use hybridrelay_bindings_common::facts::{EndpointFacts, PresenceFacts};
use hybridrelay_bindings_common::following::Following;
use hybridrelay_bindings_common::options;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::turns::Turns;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::boundary::{address_out, ask, call, exception, own, time_out};
use crate::options::set;
use crate::queue::{Started, next, task};

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
pub(crate) struct PresenceEvents(Owned<Following<Turns<core::PresenceEvents>>>);

impl PresenceEvents {
    pub(crate) fn new(events: core::PresenceEvents) -> Self {
        Self(Owned::new(Following::new(Turns::new(events))))
    }
}

#[pymethods]
impl PresenceEvents {
    /// What happens next, as a dictionary.
    fn next<'py>(&self, py: Python<'py>) -> Started<'py> {
        next(py, &self.0, |py, happened| {
            let facts = PresenceFacts::from(happened);
            let event = dict! { py;
                "kind": facts.kind,
                "presence": presence_out(py, facts.presence)?,
                "id": facts.id,
                "at": time_out(facts.at),
                "listener": facts.listener.map(|listener| listener_out(py, listener)).transpose()?,
                "error": facts.error.map(|error| exception(py, &error)),
                "retry_in": facts.retry_in.map(|wait| wait.as_secs_f64()),
            };
            Ok(event.into_any())
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
        let builder = set(core::Namespace::builder(options::target(target)), options)?;
        call(py, || Ok(Self(Owned::new(builder.build()?))))
    }

    /// The endpoints that are online, as dictionaries.
    fn endpoints<'py>(&self, py: Python<'py>) -> Started<'py> {
        let namespace = own(py, &self.0)?;
        task(py, async move { Ok(namespace.endpoints().await?) }, endpoints_out)
    }

    /// Follows them.
    fn watch(&self, py: Python<'_>) -> PyResult<EndpointEvents> {
        ask(py, &self.0, |namespace| EndpointEvents(Owned::new(Following::new(Turns::new(namespace.watch())))))
    }
}

/// What happens to the endpoints of a namespace.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct EndpointEvents(Owned<Following<Turns<core::EndpointEvents>>>);

#[pymethods]
impl EndpointEvents {
    /// What happens next, as a dictionary.
    fn next<'py>(&self, py: Python<'py>) -> Started<'py> {
        next(py, &self.0, |py, happened| {
            let facts = EndpointFacts::from(happened);
            let event = dict! { py;
                "kind": facts.kind,
                "endpoints": endpoints_out(py, facts.endpoints)?,
                "path": facts.path,
                "at": time_out(facts.at),
                "error": facts.error.map(|error| exception(py, &error)),
                "retry_in": facts.retry_in.map(|wait| wait.as_secs_f64()),
            };
            Ok(event.into_any())
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
