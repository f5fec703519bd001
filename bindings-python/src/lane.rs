//! Sequences of which nothing is lost when a wait is cancelled.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::process::Owned;
use pyo3::prelude::*;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::boundary::{own, raised};
use crate::queue::{Quick, Rest, begin_with};

/// Hands out what an object yields, one after the other and in order. What has come and was not taken by the program goes to whoever asks
/// next.
pub(crate) struct Lane<T> {
    left: Arc<Mutex<VecDeque<Result<T>>>>,
    rest: Rest,
}

impl<T: Send + 'static> Lane<T> {
    pub(crate) fn new() -> Self {
        Self { left: Arc::default(), rest: Rest::Attended }
    }

    /// For an object that skips what nobody looks at in time.
    pub(crate) fn of_what_passes() -> Self {
        Self { left: Arc::default(), rest: Rest::Task }
    }

    /// Begins an operation for what comes next: what was left, else what `future` yields.
    pub(crate) fn next<'py>(
        &self,
        py: Python<'py>,
        future: impl Future<Output = Result<T>> + Send + 'static,
        convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
    ) -> Quick<'py> {
        let lane = self.left.clone();
        let next = async move {
            let mut lane = lane.lock_owned().await;
            let next = match lane.pop_front() {
                Some(left) => left,
                None => future.await,
            };
            Ok(Next { value: Some(next), lane })
        };
        begin_with(py, self.rest, next, |py, mut next| {
            let value = next.value.take().expect("it is looked at once");
            drop(next);
            convert(py, raised(py, value)?)
        })
    }

    /// Takes what was left, for whoever goes on in another way.
    pub(crate) fn left(&self) -> Vec<T> {
        let lane = self.left.try_lock().ok();
        lane.into_iter().flat_map(|mut lane| lane.drain(..).flatten().collect::<Vec<_>>()).collect()
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
    ) -> Quick<'py> {
        let source = own(py, &self.source)?;
        self.seen.next(py, async move { step(source.lock_owned().await).await }, convert)
    }
}

/// Goes back when it is dropped untaken. Until then nobody gets what comes behind it.
struct Next<T> {
    value: Option<Result<T>>,
    lane: OwnedMutexGuard<VecDeque<Result<T>>>,
}

impl<T> Drop for Next<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.lane.push_front(value);
        }
    }
}
