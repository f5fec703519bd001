//! The queue in which operations end, one for each event loop or waiting thread.

use std::future::Future;
use std::os::fd::AsRawFd;
use std::time::Duration;

use hybridrelay_bindings_common::Code;
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::following::{Following, Source};
use hybridrelay_bindings_common::once::Once;
use hybridrelay_bindings_common::operation::{self, OperationId, Waiting};
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::queue;
use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::boundary::{ask, call, exception, own, raised};

/// What an operation came to, as something that becomes a Python object where the queue is looked at.
pub(crate) type Value = Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyAny>> + Send>;

/// The value of what has ended with the first look, or a [`Begun`].
pub(crate) type Started<'py> = PyResult<Bound<'py, PyAny>>;

/// The end of an operation: its tag, and its value or an exception.
type End<'py> = (u64, Option<Bound<'py, PyAny>>, Option<PyErr>);

/// Where operations end.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Queue(Owned<queue::Queue<Value>>);

#[pymethods]
impl Queue {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        call(py, || Ok(Self(Owned::new(queue::Queue::new()?))))
    }

    /// The descriptor that is readable while something waits.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        ask(py, &self.0, |queue| queue.descriptor().as_raw_fd())
    }

    /// Cancels an operation of whose end nobody wants to hear.
    fn abandon(&self, py: Python<'_>, operation: u64) -> PyResult<()> {
        ask(py, &self.0, |queue| operation::abandon(queue, OperationId(operation)))
    }

    /// Everything that has ended: tag, value, exception. Never waits.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Vec<End<'py>>> {
        let queue = raised(py, self.0.get())?;
        let mut ends = Vec::new();
        loop {
            match queue.next(Some(Duration::ZERO)) {
                Ok(end) => match raised(py, end.result).and_then(|value| value(py)) {
                    Ok(value) => ends.push((end.tag, Some(value), None)),
                    Err(error) => ends.push((end.tag, None, Some(error))),
                },
                Err(failure) if failure.code() == Code::WOULD_BLOCK => return Ok(ends),
                Err(failure) => return Err(exception(py, &failure)),
            }
        }
    }
}

impl Queue {
    /// The queue itself, for what posts to it.
    pub(crate) fn get(&self) -> Result<&queue::Queue<Value>> {
        self.0.get()
    }
}

/// Where that goes on which has not ended with the first look.
#[derive(Clone, Copy)]
enum Rest {
    /// Where the queue is looked at.
    Attended,
    /// In a task of the runtime, for what must not wait until a loop that is busy looks.
    Task,
}

/// Looks at what is often there already: then it needs no queue, no task and no wake-up. `convert` makes its value a Python object.
pub(crate) fn begin<'py, T: Send + 'static>(
    py: Python<'py>,
    future: impl Future<Output = Result<T>> + Send + 'static,
    convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
) -> Started<'py> {
    begin_with(py, Rest::Attended, future, convert)
}

/// The same with a choice.
fn begin_with<'py, T: Send + 'static>(
    py: Python<'py>,
    rest: Rest,
    future: impl Future<Output = Result<T>> + Send + 'static,
    convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
) -> Started<'py> {
    match raised(py, operation::begin(future))? {
        operation::Begun::Ended(value) => convert(py, value),
        operation::Begun::Waits(waiting) => rest_of(py, rest, waiting, convert),
    }
}

/// Begins an operation for what comes next of a source.
pub(crate) fn next<'py, S: Source>(
    py: Python<'py>,
    following: &Owned<Following<S>>,
    convert: impl for<'a> FnOnce(Python<'a>, S::Item) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
) -> Started<'py> {
    let following = own(py, following)?;
    let coming = async move { Ok(following.next().await) };
    let rest = if S::SKIPS { Rest::Task } else { Rest::Attended };
    begin_with(py, rest, coming, |py, came| convert(py, raised(py, came.keep())?))
}

/// Begins what is never there already: nobody looks at it here.
pub(crate) fn task<'py, T: Send + 'static>(
    py: Python<'py>,
    future: impl Future<Output = Result<T>> + Send + 'static,
    convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
) -> Started<'py> {
    rest_of(py, Rest::Task, future, convert)
}

fn rest_of<'py, T: Send + 'static>(
    py: Python<'py>,
    rest: Rest,
    future: impl Future<Output = Result<T>> + Send + 'static,
    convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
) -> Started<'py> {
    let value = |value| -> Value { Box::new(move |py| convert(py, value)) };
    let waiting = Box::pin(async move { future.await.map(value) });
    object(py, Begun { waiting: Once::new(waiting), rest })
}

/// What has not ended. Dropped it is cancelled.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct Begun {
    waiting: Once<Waiting<Value>>,
    rest: Rest,
}

#[pymethods]
impl Begun {
    /// Waits for its end, once.
    fn wait(&self, py: Python<'_>, queue: &Queue, tag: u64) -> PyResult<u64> {
        let operation = call(py, || {
            let (queue, waiting) = (queue.get()?, self.waiting.take()?);
            match self.rest {
                Rest::Attended => Ok(operation::attend(queue, tag, waiting)),
                Rest::Task => operation::submit(queue, tag, waiting),
            }
        })?;
        Ok(operation.0)
    }
}

/// Nothing.
pub(crate) fn none<'py>(py: Python<'py>, (): ()) -> PyResult<Bound<'py, PyAny>> {
    Ok(py.None().into_bound(py))
}

/// Yes or no.
pub(crate) fn truth(py: Python<'_>, is_so: bool) -> PyResult<Bound<'_, PyAny>> {
    Ok(PyBool::new(py, is_so).to_owned().into_any())
}

/// Nothing at the end, else what comes.
pub(crate) fn unless_ended<T>(
    convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
) -> impl for<'a> FnOnce(Python<'a>, Option<T>) -> PyResult<Bound<'a, PyAny>> + Send + 'static {
    |py, came| came.map_or_else(|| none(py, ()), |came| convert(py, came))
}

/// An object of one of our classes.
pub(crate) fn object<'py, T: PyClass + Into<pyo3::PyClassInitializer<T>>>(
    py: Python<'py>,
    value: T,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(Bound::new(py, value)?.into_any())
}
