//! What can go wrong, on demand, for tests.

use hybridrelay_bindings_common::{Code, test_hooks};
use pyo3::prelude::*;

use crate::boundary::call;
use crate::queue::{Started, none, task};

/// Panics.
#[pyfunction]
pub(crate) fn panic_in_call(py: Python<'_>) -> PyResult<()> {
    call(py, test_hooks::panic_in_call)
}

/// Panics in a task.
#[pyfunction]
pub(crate) fn panic_in_task<'py>(py: Python<'py>) -> Started<'py> {
    task(py, test_hooks::panic_in_task(), none)
}

/// Never ends.
#[pyfunction]
pub(crate) fn hang<'py>(py: Python<'py>) -> Started<'py> {
    task(py, test_hooks::hang(), none)
}

/// Fails with a code.
#[pyfunction]
pub(crate) fn fail(py: Python<'_>, code: u32) -> PyResult<()> {
    call(py, || test_hooks::fail(Code(code)))
}
