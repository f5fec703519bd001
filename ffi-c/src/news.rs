//! Changes of which the newest counts, and none is lost.

use std::sync::{Arc, Mutex, PoisonError};

/// A change that was seen, and is not told yet. Dropped, it is still news to whoever waits for one next.
pub(crate) struct News<W, T> {
    change: T,
    watcher: W,
    told: Arc<Mutex<W>>,
}

impl<W, T> News<W, T> {
    /// What a watcher has seen that began as a copy of the one that has seen all that was told.
    pub(crate) fn new(change: T, watcher: W, told: Arc<Mutex<W>>) -> Self {
        Self { change, watcher, told }
    }

    /// The program has it.
    pub(crate) fn tell(self) -> T {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = self.watcher;
        self.change
    }
}

/// A watcher that has seen what was told.
pub(crate) fn last_told<W: Clone>(told: &Mutex<W>) -> W {
    told.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
