//! A relayed connection, as bytes for an asyncio transport.

use bytes::Bytes;
use hybridrelay_bindings_common::core::ByteStream;
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::pump::{Limits, Pump, Read};
use hybridrelay_bindings_common::queue;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::boundary::{ask, call, payload};
use crate::queue::Value;

/// Bytes on their way between a loop and the relay. Nothing here waits.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Stream(Owned<Pump>);

impl Stream {
    pub(crate) fn start(stream: ByteStream, limits: Limits, queue: queue::Queue<Value>, tag: u64) -> Result<Self> {
        // At most one waits in the queue: the pump wakes once until it is looked at.
        let wake = move || queue.post(tag, Box::new(|py| Ok(py.None().into_bound(py))));
        Ok(Self(Owned::new(Pump::start(stream, limits, wake)?)))
    }
}

#[pymethods]
impl Stream {
    /// Begins to look: what happens from now on is told again.
    fn look(&self, py: Python<'_>) -> PyResult<()> {
        ask(py, &self.0, Pump::look)
    }

    /// What has come: bytes, empty at the peer's end; `None` if nothing has.
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(match call(py, || self.0.get()?.read())? {
            Read::Data(data) => Some(PyBytes::new(py, &data)),
            Read::End => Some(PyBytes::new(py, &Bytes::new())),
            Read::Pending => None,
        })
    }

    /// Stops reading.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        ask(py, &self.0, Pump::pause)
    }

    /// Goes on reading.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        ask(py, &self.0, Pump::resume)
    }

    /// Takes bytes to be written. `False`: so much waits that the program should pause.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        let data = payload(data)?;
        call(py, || self.0.get()?.write(data))
    }

    /// Whether the program need not pause.
    fn may_write(&self, py: Python<'_>) -> PyResult<bool> {
        ask(py, &self.0, Pump::may_write)
    }

    /// Moves the marks between which writes pause and go on. Returns whether the program need not pause.
    fn set_water(&self, py: Python<'_>, high: usize, low: usize) -> PyResult<bool> {
        ask(py, &self.0, |pump| pump.set_water(high, low))
    }

    /// How many bytes wait to be written.
    fn unwritten(&self, py: Python<'_>) -> PyResult<usize> {
        ask(py, &self.0, Pump::unwritten)
    }

    /// Ends the writing direction behind what waits.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        ask(py, &self.0, Pump::end)
    }

    /// Whether everything was written and the direction ended. Raises why it never will.
    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        call(py, || self.0.get()?.ended().transpose().map(|ended| ended.is_some()))
    }

    /// Ends both directions at once.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        ask(py, &self.0, Pump::abort)
    }
}
