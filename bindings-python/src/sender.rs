//! A sender: connections, requests, publishers, and who listens.

use hybridrelay_bindings_common::options;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::{core, http_head};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::boundary::{ask, call, duration, headers_out, own, payload};
use crate::connection::Connection;
use crate::events::Publisher;
use crate::http::{Body, BodyWriter, Fields, header_map};
use crate::options::set;
use crate::presence::{PresenceEvents, presence_out};
use crate::queue::{Started, object, task};

/// A sender.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Sender(Owned<core::Sender>);

#[pymethods]
impl Sender {
    #[new]
    fn new(py: Python<'_>, target: Option<&str>, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let builder = set(core::Sender::builder(options::target(target)), options)?;
        call(py, || Ok(Self(Owned::new(builder.build()?))))
    }

    /// Opens a connection.
    fn connect<'py>(&self, py: Python<'py>, options: &Bound<'py, PyDict>) -> Started<'py> {
        let connect = set(own(py, &self.0)?.connect(), options)?;
        let opening = async move { Ok(connect.open().await?) };
        task(py, opening, |py, connection| object(py, Connection::new(connection)))
    }

    /// Opens a publisher.
    fn publisher<'py>(&self, py: Python<'py>, options: &Bound<'py, PyDict>) -> Started<'py> {
        let publisher = set(own(py, &self.0)?.publisher(), options)?;
        let opening = async move { Ok(publisher.open().await?) };
        task(py, opening, |py, publisher| object(py, Publisher::new(publisher)))
    }

    /// Sends a request: status, reason, headers and body of its response.
    fn request<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        target: &str,
        headers: Fields,
        body: &Bound<'py, PyAny>,
    ) -> Started<'py> {
        let (sender, request) = (own(py, &self.0)?, request(method, target, &headers, body)?);
        let asking = async move { Ok(sender.request(request).await?) };
        task(py, asking, |py, response| {
            let (parts, body) = response.into_parts();
            let head = (parts.status.as_u16(), http_head::reason(&parts), headers_out(py, &parts.headers));
            Ok((head.0, head.1, head.2, Body::new(body)).into_pyobject(py)?.into_any())
        })
    }

    /// Sends a request for whose answer nobody waits: its tracking id, and how many listeners have it.
    fn one_way<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        target: &str,
        headers: Fields,
        body: &Bound<'py, PyAny>,
    ) -> Started<'py> {
        let (sender, request) = (own(py, &self.0)?, request(method, target, &headers, body)?);
        let sending = async move { Ok(sender.send_one_way(request).await?) };
        task(py, sending, |py, sent| Ok((sent.tracking_id(), sent.listeners()).into_pyobject(py)?.into_any()))
    }

    /// Who listens now.
    fn presence<'py>(&self, py: Python<'py>) -> Started<'py> {
        let sender = own(py, &self.0)?;
        task(py, async move { Ok(sender.presence_now().await?) }, presence_out)
    }

    /// Waits until somebody listens.
    fn wait_for_listener<'py>(&self, py: Python<'py>, seconds: f64) -> Started<'py> {
        let (sender, limit) = (own(py, &self.0)?, call(py, || duration("timeout", seconds))?);
        task(py, async move { Ok(sender.wait_for_listener(limit).await?) }, presence_out)
    }

    /// Follows the listeners one by one.
    fn presence_events(&self, py: Python<'_>) -> PyResult<PresenceEvents> {
        ask(py, &self.0, |sender| PresenceEvents::new(sender.presence_events()))
    }

    /// The relay's address and the hybrid connection.
    fn place(&self, py: Python<'_>) -> PyResult<(String, String)> {
        let sender = own(py, &self.0)?;
        Ok((sender.address().to_string(), sender.entity().to_string()))
    }
}

fn request(
    method: &str,
    target: &str,
    headers: &Fields,
    body: &Bound<'_, PyAny>,
) -> PyResult<http::Request<core::Body>> {
    let py = body.py();
    let body = match body.cast::<BodyWriter>() {
        Ok(writer) => call(py, || writer.get().body())?,
        Err(_) if body.is_none() => core::Body::empty(),
        Err(_) => payload(body)?.into(),
    };
    call(py, || http_head::request(method, target, header_map(headers)?, body))
}
