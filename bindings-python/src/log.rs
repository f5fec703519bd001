//! What the library logs, for a thread of Python's.

use std::os::fd::AsRawFd;
use std::time::Duration;

use hybridrelay_bindings_common::log::{self, LogLevel};
use pyo3::prelude::*;

use crate::boundary::{call, time_out};

/// A record: level from 1 (error) to 5 (trace), target, text, when.
type Record = (u8, &'static str, String, Option<f64>);

/// Begins to collect records up to a level, 0 (none) to 5 (trace).
#[pyfunction]
pub(crate) fn log_collect(py: Python<'_>, level: u32) -> PyResult<()> {
    call(py, || log::collect(LogLevel::numbered(level)?))
}

/// The descriptor that is readable while records wait.
#[pyfunction]
pub(crate) fn log_fileno(py: Python<'_>) -> PyResult<i32> {
    call(py, || Ok(log::descriptor()?.as_raw_fd()))
}

/// The records that wait. Never waits itself.
#[pyfunction]
pub(crate) fn log_take() -> Vec<Record> {
    let next = || log::next(Some(Duration::ZERO)).ok();
    std::iter::from_fn(next)
        .map(|record| (record.level as u8, record.target, record.text, time_out(Some(record.at))))
        .collect()
}
