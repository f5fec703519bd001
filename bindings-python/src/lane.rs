//! Sequences of which nothing is lost when a wait is cancelled.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::process::Owned;
use pyo3::prelude::*;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::boundary::{exception, own};
use crate::queue::{Queue, Started};

/// Hands out what an object yields, one after the other and in order. What has come and was not taken by the program goes to whoever asks
/// next.
pub(crate) struct Lane<T>(Arc<Mutex<VecDeque<Result<T>>>>);

impl<T: Send + 'static> Lane<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Begins an operation for what comes next: what was left, else what `future` yields.
    pub(crate) fn next<'py>(
        &self,
        py: Python<'py>,
        queue: &Queue,
        tag: u64,
        future: impl Future<Output = Result<T>> + Send + 'static,
        convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
    ) -> Started<'py> {
        let lane = self.0.clone();
        let next = async move {
            let mut lane = lane.lock_owned().await;
            let next = match lane.pop_front() {
                Some(left) => left,
                None => future.await,
            };
            Ok(Next { value: Some(next), lane })
        };
        queue.begin(py, tag, next, |py, mut next| {
            let value = next.value.take().expect("it is looked at once");
            drop(next);
            convert(py, value.map_err(|failure| exception(py, &failure))?)
        })
    }

    /// Takes what was left, for whoever goes on in another way.
    pub(crate) fn left(&self) -> Vec<T> {
        let lane = self.0.try_lock().ok();
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

    /// Begins an operation for what comes next: what was left, else what `step` gets from the source.
    pub(crate) fn next<'py, F: Future<Output = Result<T>> + Send>(
        &self,
        py: Python<'py>,
        queue: &Queue,
        tag: u64,
        step: impl FnOnce(OwnedMutexGuard<S>) -> F + Send + 'static,
        convert: impl for<'a> FnOnce(Python<'a>, T) -> PyResult<Bound<'a, PyAny>> + Send + 'static,
    ) -> Started<'py> {
        let source = own(py, &self.source)?;
        self.seen.next(py, queue, tag, async move { step(source.lock_owned().await).await }, convert)
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
