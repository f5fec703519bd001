//! Objects that calls use one after the other, each as long as it waits.

use std::future::Future;

use hybridrelay::{Error, ErrorKind};
use tokio::sync::{Mutex, MutexGuard, watch};

use crate::errors::{Failure, Result};

/// An object for one call at a time, which can be ended under whoever uses it or waits for it.
pub struct Turns<T> {
    object: Mutex<T>,
    ended: watch::Sender<bool>,
}

impl<T> Turns<T> {
    /// Takes it in.
    pub fn new(object: T) -> Self {
        Self { object: Mutex::new(object), ended: watch::Sender::new(false) }
    }

    /// Waits for a turn; within [`run`](Self::run).
    pub async fn turn(&self) -> MutexGuard<'_, T> {
        self.object.lock().await
    }

    /// Runs a call that takes a turn, until it ends or the object does. As cancel-safe as the call.
    ///
    /// # Errors
    ///
    /// The call's own, and `CLOSED` behind [`end`](Self::end).
    pub async fn run<R>(&self, call: impl Future<Output = Result<R>>) -> Result<R> {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            biased;
            // The sending end is in `self`.
            _ = ended.wait_for(|ended| *ended) => {
                Err(Failure::Core(Error::new(ErrorKind::Closed, "the object was closed or released under the call")))
            }
            outcome = call => outcome,
        }
    }

    /// Ends it: every call on it fails from now on.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }
}
