//! A relayed connection, as messages.

use hybridrelay_bindings_common::core::{self, Message};
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::pump::Limits;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::boundary::{call, message, message_out, own};
use crate::lane::Lane;
use crate::queue::{Queue, Quick, begin, none};
use crate::stream::Stream;

/// A connection.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Connection {
    connection: Owned<core::Connection>,
    received: Lane<Option<Message>>,
}

impl Connection {
    pub(crate) fn new(connection: core::Connection) -> Self {
        Self { connection: Owned::new(connection), received: Lane::new() }
    }

    fn get(&self, py: Python<'_>) -> PyResult<core::Connection> {
        own(py, &self.connection)
    }
}

#[pymethods]
impl Connection {
    /// The next message; `None` at the peer's end.
    fn receive<'py>(&self, py: Python<'py>) -> Quick<'py> {
        let connection = self.get(py)?;
        let receiving = async move { Ok(connection.receive().await?) };
        self.received.next(py, receiving, |py, received| match received {
            Some(received) => Ok(message_out(py, &received)),
            None => none(py, ()),
        })
    }

    /// Sends a message.
    fn send<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> Quick<'py> {
        let (connection, data) = (self.get(py)?, message(data)?);
        begin(py, async move { Ok(connection.send(data).await?) }, none)
    }

    /// Waits until everything was handed to the operating system.
    fn flush<'py>(&self, py: Python<'py>) -> Quick<'py> {
        let connection = self.get(py)?;
        begin(py, async move { Ok(connection.flush().await?) }, none)
    }

    /// Ends our direction.
    fn shutdown<'py>(&self, py: Python<'py>) -> Quick<'py> {
        let connection = self.get(py)?;
        begin(py, async move { Ok(connection.shutdown().await?) }, none)
    }

    /// Closes both directions in good order.
    fn close<'py>(&self, py: Python<'py>, code: Option<u16>, reason: String) -> Quick<'py> {
        let connection = self.get(py)?;
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
        call(py, || {
            self.connection.get()?.abort();
            Ok(())
        })
    }

    /// Whether the peer has closed, and with which code and reason.
    fn peer_close(&self, py: Python<'_>) -> PyResult<(bool, Option<(u16, String)>)> {
        let close = self.get(py)?.peer_close();
        Ok((close.is_some(), close.flatten().map(|frame| (frame.code, frame.reason))))
    }

    /// The sub-protocol.
    fn subprotocol(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.get(py)?.subprotocol().map(str::to_owned))
    }

    /// The tracking id.
    fn tracking_id(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.get(py)?.tracking_id().to_owned())
    }

    /// Turns it into bytes, once: the stream, and messages that were received for a wait that was cancelled. The queue gets `tag` whenever
    /// something has happened.
    fn begin_stream<'py>(
        &self,
        py: Python<'py>,
        queue: &Queue,
        tag: u64,
    ) -> PyResult<(Stream, Vec<Bound<'py, PyBytes>>)> {
        let connection = self.get(py)?;
        let stream =
            call(py, || Stream::start(connection.into_stream()?, Limits::default(), queue.get()?.clone(), tag))?;
        let left = self.received.left().into_iter().flatten();
        Ok((stream, left.map(|message| PyBytes::new(py, message.as_bytes())).collect()))
    }
}
