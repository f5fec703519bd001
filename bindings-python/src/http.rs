//! Bodies, and what answers a request.

use std::sync::Arc;

use bytes::Bytes;
use hybridrelay_bindings_common::core;
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::http::{self, BodyReader, HeaderMap, Upload};
use hybridrelay_bindings_common::http_head;
use hybridrelay_bindings_common::once::Once;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::returns::Taken;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::boundary::{ask, call, own, payload};
use crate::queue::{Started, begin, none, truth, unless_ended};

/// Header fields as Python hands them over.
pub(crate) type Fields = Vec<(PyBackedBytes, PyBackedBytes)>;

/// A body that is read chunk by chunk. Dropping it breaks off what was not read.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Body(Owned<Arc<BodyReader>>);

impl Body {
    pub(crate) fn new(body: core::Body) -> Self {
        Self(Owned::new(Arc::new(BodyReader::new(body))))
    }
}

#[pymethods]
impl Body {
    /// The next chunk; `None` at the end.
    fn chunk<'py>(&self, py: Python<'py>) -> Started<'py> {
        let body = own(py, &self.0)?;
        let coming = async move { body.next(usize::MAX).await };
        begin(py, coming, unless_ended(|py, chunk: Taken<Bytes>| Ok(PyBytes::new(py, &chunk.keep()).into_any())))
    }
}

/// What answers a request. Dropped unanswered the sender gets 500.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Responder {
    responder: Once<core::Responder>,
    cancellation: Owned<core::Cancellation>,
}

impl Responder {
    pub(crate) fn new(responder: core::Responder) -> Self {
        let cancellation = Owned::new(responder.cancellation());
        Self { responder: Once::new(responder), cancellation }
    }
}

#[pymethods]
impl Responder {
    /// Sends a whole response.
    fn send<'py>(
        &self,
        py: Python<'py>,
        status: u16,
        reason: Option<&str>,
        headers: Fields,
        body: &Bound<'py, PyAny>,
    ) -> Started<'py> {
        let body = payload(body)?;
        let (head, responder) =
            call(py, || Ok((http_head::response(status, reason, header_map(&headers)?)?, self.responder.take()?)))?;
        begin(py, async move { Ok(responder.send(head.map(|()| body)).await?) }, none)
    }

    /// Sends a whole response, and ends when it waits to leave.
    fn enqueue<'py>(&self, py: Python<'py>, status: u16, headers: Fields, body: &Bound<'py, PyAny>) -> Started<'py> {
        enqueue(py, status, &headers, body, || self.responder.take())
    }

    /// Begins a response whose body is written piece by piece.
    fn start(&self, py: Python<'_>, status: u16, reason: Option<&str>, headers: Fields) -> PyResult<ResponseWriter> {
        call(py, || {
            let head = http_head::response(status, reason, header_map(&headers)?)?;
            let writer = http::BodyWriter::of_response(self.responder.take()?.start(head)?);
            Ok(ResponseWriter(Owned::new(Arc::new(writer))))
        })
    }

    /// Waits until the sender has gone, or the answer is complete.
    fn cancelled<'py>(&self, py: Python<'py>) -> Started<'py> {
        let cancellation = own(py, &self.cancellation)?;
        let cancelled = async move {
            cancellation.cancelled().await;
            Ok(cancellation.is_cancelled())
        };
        begin(py, cancelled, truth)
    }

    /// Whether the sender has gone.
    fn is_cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        ask(py, &self.cancellation, core::Cancellation::is_cancelled)
    }
}

/// Sends a whole response by the responder that is taken when all of it was found good, and ends when it waits to leave.
pub(crate) fn enqueue<'py>(
    py: Python<'py>,
    status: u16,
    headers: &Fields,
    body: &Bound<'py, PyAny>,
    responder: impl FnOnce() -> Result<core::Responder>,
) -> Started<'py> {
    let body = payload(body)?;
    let (head, responder) = call(py, || Ok((http_head::response(status, None, header_map(headers)?)?, responder()?)))?;
    begin(py, async move { Ok(responder.enqueue(head.map(|()| body)).await?) }, none)
}

/// Writes the body of a response. Dropped before its end it breaks the response off.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct ResponseWriter(Owned<Arc<http::BodyWriter>>);

#[pymethods]
impl ResponseWriter {
    /// Writes a piece; with `flush` it leaves at once.
    fn write<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>, flush: bool) -> Started<'py> {
        let (writer, data) = (own(py, &self.0)?, payload(data)?);
        let writing = async move {
            writer.write(data).await?;
            if flush { writer.flush().await } else { Ok(()) }
        };
        begin(py, writing, none)
    }

    /// Ends the response.
    fn finish<'py>(&self, py: Python<'py>) -> Started<'py> {
        let writer = own(py, &self.0)?;
        begin(py, async move { writer.finish().await }, none)
    }

    /// Breaks the response off.
    fn abort<'py>(&self, py: Python<'py>) -> Started<'py> {
        let writer = own(py, &self.0)?;
        begin(py, async move { writer.break_off().await }, none)
    }
}

/// A body that the program makes piece by piece. Dropped before its end it breaks off.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct BodyWriter {
    upload: Owned<Arc<Upload>>,
    body: Once<core::Body>,
}

impl BodyWriter {
    /// The body, once.
    pub(crate) fn body(&self) -> Result<core::Body> {
        self.body.take()
    }
}

#[pymethods]
impl BodyWriter {
    #[new]
    fn new() -> Self {
        let (body, upload) = Upload::new();
        Self { upload: Owned::new(Arc::new(upload)), body: Once::new(body) }
    }

    /// Writes a piece, when the one before was taken. `False`: nobody wants more.
    fn write<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> Started<'py> {
        let (upload, data) = (own(py, &self.upload)?, payload(data)?);
        begin(py, async move { Ok(upload.write(data).await.is_ok()) }, truth)
    }

    /// Ends the body, in good order or broken off.
    fn end(&self, py: Python<'_>, finished: bool) -> PyResult<()> {
        ask(py, &self.upload, |upload| upload.end(finished))
    }
}

/// Puts header fields together.
pub(crate) fn header_map(fields: &Fields) -> Result<HeaderMap> {
    http_head::headers(fields.iter().map(|(name, value)| (&**name, &**value)))
}
