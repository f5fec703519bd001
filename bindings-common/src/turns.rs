//! Objects that calls use one after the other, each as long as it waits.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use hybridrelay::{Error, ErrorKind};
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::errors::{Failure, Result};

/// An object for one call at a time, which can be ended under whoever uses it or waits for it.
pub struct Turns<T> {
    object: Mutex<T>,
    ended: AtomicBool,
    ending: Notify,
}

impl<T> Turns<T> {
    /// Takes it in.
    pub fn new(object: T) -> Self {
        Self { object: Mutex::new(object), ended: AtomicBool::new(false), ending: Notify::new() }
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
        // Told of the end from now on, so that none is missed between the look and the wait.
        let ending = self.ending.notified();
        if self.ended.load(Ordering::SeqCst) {
            return Err(ended());
        }
        tokio::select! {
            biased;
            outcome = call => outcome,
            () = ending => Err(ended()),
        }
    }

    /// Ends it: every call on it fails from now on.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.ending.notify_waiters();
    }
}

fn ended() -> Failure {
    Failure::Core(Error::new(ErrorKind::Closed, "the object was closed or released under the call"))
}
