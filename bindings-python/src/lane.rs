//! Sequences of which nothing is lost when a wait is cancelled.

use std::future::Future;
use std::sync::Arc;

use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::returns::Returns;
use pyo3::prelude::*;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::boundary::{own, raised};
use crate::queue::{Rest, Started, begin_with};

/// Hands out what an object yields, one after the other and in order. What has come and was not taken by the program goes to whoever asks
/// next.
pub(crate) struct Lane<T> {
    came: Arc<Returns<Result<T>>>,
    rest: Rest,
}

impl<T: Send + 'static> Lane<T> {
    pub(crate) fn new() -> Self {
        Self { came: Arc::default(), rest: Rest::Attended }
    }

    /// For an object that skips what nobody looks at in time.
    pub(crate) fn of_what_passes() -> Self {
        Self { came: Arc::default(), rest: Rest::Task }
    }

    /// Begins an operation for what comes next: what was left, else what `future` yields.
    pub(crate) fn next<'py>(
        &self,
        py: Python<'py>,
        future: impl Future<Output = Result<T>> + Send + 'static,
        convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
    ) -> Started<'py> {
        let came = self.came.clone();
        let next = async move { Ok(came.next_of(future).await) };
        begin_with(py, self.rest, next, |py, next| convert(py, raised(py, next.keep())?))
    }

    /// Takes what was left, for whoever goes on in another way.
    pub(crate) fn left(&self) -> Vec<T> {
        self.came.left().into_iter().flatten().collect()
    }
}

/// What is asked for what comes next by one call after the other.
pub(crate) struct Follower<S, T> {
    source: Owned<Arc<Mutex<S>>>,
    seen: Lane<T>,
}

impl<S: Send + 'static, T: Send + 'static> Follower<S, T> {
    pub(crate) fn new(source: S) -> Self {
        Self { source: Owned::new(Arc::new(Mutex::new(source))), seen: Lane::new() }
    }

    /// For a source that skips what nobody looks at in time.
    pub(crate) fn of_what_passes(source: S) -> Self {
        Self { seen: Lane::of_what_passes(), ..Self::new(source) }
    }

    /// Begins an operation for what comes next: what was left, else what `step` gets from the source.
    pub(crate) fn next<'py, F: Future<Output = Result<T>> + Send>(
        &self,
        py: Python<'py>,
        step: impl FnOnce(OwnedMutexGuard<S>) -> F + Send + 'static,
        convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
    ) -> Started<'py> {
        let source = own(py, &self.source)?;
        self.seen.next(py, async move { step(source.lock_owned().await).await }, convert)
    }
}
