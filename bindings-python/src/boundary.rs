//! What crosses: failures and payloads.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::HeaderMap;
use bytes::Bytes;
use hybridrelay_bindings_common::call::guard;
use hybridrelay_bindings_common::core::Message;
use hybridrelay_bindings_common::errors::{Failure, Result};
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::runtime;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};

/// Calls into the SDK: within the runtime, so that tasks can be spawned, and with every failure as an exception.
pub(crate) fn call<T>(py: Python<'_>, call: impl FnOnce() -> Result<T>) -> PyResult<T> {
    let within = || {
        let _entered = runtime::handle()?.enter();
        call()
    };
    raised(py, guard(within))
}

/// A failure as an exception. Cheaper than [`call`], for what cannot panic and needs no runtime.
pub(crate) fn raised<T>(py: Python<'_>, result: Result<T>) -> PyResult<T> {
    result.map_err(|failure| exception(py, &failure))
}

/// What an object of Python's stands for.
pub(crate) fn own<T: Clone>(py: Python<'_>, object: &Owned<T>) -> PyResult<T> {
    raised(py, object.get().cloned())
}

/// Asks what an object of Python's stands for.
pub(crate) fn ask<T, R>(py: Python<'_>, object: &Owned<T>, ask: impl FnOnce(&T) -> R) -> PyResult<R> {
    call(py, || object.get().map(ask))
}

/// The exception for a failure: made in Python, where its classes are declared.
pub(crate) fn exception(py: Python<'_>, failure: &Failure) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let error = failure.core();
    let details = (
        failure.code().0,
        failure.to_string(),
        error.and_then(|error| error.status()),
        error.and_then(|error| error.reason()),
        error.and_then(|error| error.tracking_id()),
        failure.is_retryable(),
        error.and_then(|error| error.hint()),
        error.and_then(|error| error.close_code()),
        error.and_then(|error| error.retry_after()).map(|wait| wait.as_secs_f64()),
        failure.causes(),
    );
    let made = MAKE.import(py, "hybridrelay._errors", "from_native").and_then(|make| make.call1(details));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// A payload that the program hands over. It is copied once: Python may change or move its own.
pub(crate) fn payload(data: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    match PyBuffer::<u8>::get(data) {
        Ok(buffer) => buffer.to_vec(data.py()).map(Bytes::from),
        Err(_) => {
            let name = data.get_type().name()?;
            Err(PyTypeError::new_err(format!("a bytes-like object is wanted, not {name}")))
        }
    }
}

/// A message: text from `str`, else binary.
pub(crate) fn message(data: &Bound<'_, PyAny>) -> PyResult<Message> {
    match data.cast::<PyString>() {
        Ok(text) => Ok(Message::Text(text.to_cow()?.into_owned())),
        Err(_) => payload(data).map(Message::Binary),
    }
}

/// A message that came.
pub(crate) fn message_out<'py>(py: Python<'py>, message: &Message) -> Bound<'py, PyAny> {
    match message {
        Message::Text(text) => PyString::new(py, text).into_any(),
        Message::Binary(data) => PyBytes::new(py, data).into_any(),
    }
}

/// Header fields as they were sent; names in lower case.
pub(crate) fn headers_out<'py>(
    py: Python<'py>,
    headers: &HeaderMap,
) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let pair = |name: &str, value: &[u8]| (PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value));
    headers.iter().map(|(name, value)| pair(name.as_str(), value.as_bytes())).collect()
}

/// An address: host and port.
pub(crate) fn address_out(address: Option<SocketAddr>) -> Option<(String, u16)> {
    address.map(|address| (address.ip().to_string(), address.port()))
}

/// Seconds since 1970.
pub(crate) fn time_out(time: Option<SystemTime>) -> Option<f64> {
    time.map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

/// A duration in seconds.
pub(crate) fn duration(name: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::invalid(format!("{name} is a number of seconds from 0 up, not {seconds}")))
}
