//! A relayed connection, as messages.

use hybridrelay_bindings_common::core;
use hybridrelay_bindings_common::following::Following;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::pump::Limits;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::boundary::{ask, call, message, message_out, own};
use crate::queue::{Queue, Started, begin, next, none, unless_ended};
use crate::stream::Stream;

/// A connection.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Connection(Owned<Following<core::Connection>>);

impl Connection {
    pub(crate) fn new(connection: core::Connection) -> Self {
        Self(Owned::new(Following::new(connection)))
    }
}

#[pymethods]
impl Connection {
    /// The next message; `None` at the peer's end.
    fn receive<'py>(&self, py: Python<'py>) -> Started<'py> {
        next(py, &self.0, unless_ended(|py, message| Ok(message_out(py, &message))))
    }

    /// Sends a message.
    fn send<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> Started<'py> {
        let (connection, data) = (own(py, &self.0)?, message(data)?);
        begin(py, async move { Ok(connection.enqueue(data).await?) }, none)
    }

    /// Waits until everything was handed to the operating system.
    fn flush<'py>(&self, py: Python<'py>) -> Started<'py> {
        let connection = own(py, &self.0)?;
        begin(py, async move { Ok(connection.flush().await?) }, none)
    }

    /// Ends our direction.
    fn shutdown<'py>(&self, py: Python<'py>) -> Started<'py> {
        let connection = own(py, &self.0)?;
        begin(py, async move { Ok(connection.shutdown().await?) }, none)
    }

    /// Closes both directions in good order.
    fn close<'py>(&self, py: Python<'py>, code: Option<u16>, reason: String) -> Started<'py> {
        let connection = own(py, &self.0)?;
        let closing = async move {
            match code {
                Some(code) => connection.close_with(code, &reason).await?,
                None => connection.close().await?,
            }
            Ok(())
        };
        begin(py, closing, none)
    }

    /// Ends both directions at once.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        ask(py, &self.0, |connection| connection.abort())
    }

    /// Whether the peer has closed, and with which code and reason.
    fn peer_close(&self, py: Python<'_>) -> PyResult<(bool, Option<(u16, String)>)> {
        let close = own(py, &self.0)?.peer_close();
        Ok((close.is_some(), close.flatten().map(|frame| (frame.code, frame.reason))))
    }

    /// The sub-protocol.
    fn subprotocol(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(own(py, &self.0)?.subprotocol().map(str::to_owned))
    }

    /// The tracking id.
    fn tracking_id(&self, py: Python<'_>) -> PyResult<String> {
        Ok(own(py, &self.0)?.tracking_id().to_owned())
    }

    /// Turns it into bytes, once: the stream, and messages that were received for a wait that was cancelled. The queue gets `tag` whenever
    /// something has happened.
    fn begin_stream<'py>(
        &self,
        py: Python<'py>,
        queue: &Queue,
        tag: u64,
    ) -> PyResult<(Stream, Vec<Bound<'py, PyBytes>>)> {
        let connection = own(py, &self.0)?;
        let bytes = || core::Connection::clone(&connection).into_stream();
        let stream = call(py, || Stream::start(bytes()?, Limits::default(), queue.get()?.clone(), tag))?;
        let left = connection.left().into_iter().flatten();
        Ok((stream, left.map(|message| PyBytes::new(py, message.as_bytes())).collect()))
    }
}
