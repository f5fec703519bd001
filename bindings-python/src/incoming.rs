//! Senders that wait.

use hybridrelay_bindings_common::core;
use hybridrelay_bindings_common::once::Once;
use pyo3::prelude::*;

use crate::boundary::{address_out, call, headers_out, raised};
use crate::connection::Connection;
use crate::http::{Body, Fields, Responder, enqueue};
use crate::queue::{Started, none, object, task};

/// A sender that wants a connection. Dropped unanswered it is refused.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct IncomingConnect(Once<core::IncomingConnect>);

/// A sender's HTTP request. Dropped unanswered it is refused.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct IncomingRequest(Once<core::IncomingRequest>);

impl IncomingConnect {
    pub(crate) fn new(connect: core::IncomingConnect) -> Self {
        Self(Once::new(connect))
    }
}

#[pymethods]
impl IncomingConnect {
    /// Path, query, mount, headers, sub-protocols, address, tracking id.
    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let facts = self.0.look(|connect| {
            let remote = address_out(connect.remote_addr());
            let subprotocols: Vec<&str> = connect.subprotocols().collect();
            let headers = headers_out(py, connect.headers());
            let (path, query, id) = (connect.path(), connect.query(), connect.tracking_id());
            Ok((path, query, connect.mount(), headers, subprotocols, remote, id).into_pyobject(py)?.into_any())
        });
        raised(py, facts)?
    }

    /// Accepts, by the first sub-protocol that fits if none is chosen.
    fn accept<'py>(&self, py: Python<'py>, subprotocol: Option<String>) -> Started<'py> {
        let connect = call(py, || self.0.take())?;
        let accepting = async move {
            let accepting = connect.accept();
            let accepting = if subprotocol.is_some() { accepting.subprotocol(subprotocol) } else { accepting };
            Ok(accepting.await?)
        };
        task(py, accepting, |py, connection| object(py, Connection::new(connection)))
    }

    /// Rejects with a status and a reason.
    fn reject<'py>(&self, py: Python<'py>, status: u16, reason: String) -> Started<'py> {
        let connect = call(py, || self.0.take())?;
        task(py, async move { Ok(connect.reject(status, &reason).await?) }, none)
    }
}

impl IncomingRequest {
    pub(crate) fn new(request: core::IncomingRequest) -> Self {
        Self(Once::new(request))
    }
}

#[pymethods]
impl IncomingRequest {
    /// Method, path, query, mount, headers, address, tracking id, whether it is one-way, whether there may be a body.
    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let facts = self.0.look(|request| {
            let remote = address_out(request.remote_addr());
            let headers = headers_out(py, request.headers());
            let (path, query, mount) = (request.path(), request.query(), request.mount());
            let facts = (request.method().as_str(), path, query, mount, headers, remote, request.tracking_id());
            Ok((facts, request.is_one_way(), request.has_body()).into_pyobject(py)?.into_any())
        });
        raised(py, facts)?
    }

    /// Sends a whole response to a request without a body, and ends when that waits to leave.
    fn enqueue<'py>(&self, py: Python<'py>, status: u16, headers: Fields, body: &Bound<'py, PyAny>) -> Started<'py> {
        enqueue(py, status, &headers, body, || Ok(self.0.take()?.into_parts().1))
    }

    /// Whether the sender has gone.
    fn is_cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        raised(py, self.0.look(|request| request.cancellation().is_cancelled()))
    }

    /// Takes it on: its body, and what answers it.
    fn take(&self, py: Python<'_>) -> PyResult<(Body, Responder)> {
        let (request, responder) = call(py, || self.0.take())?.into_parts();
        Ok((Body::new(request.into_body()), Responder::new(responder)))
    }
}
