//! How many of something there are, and when there are none.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts what holds a [`Counted`]. Cheap to clone; clones share the count.
#[derive(Clone)]
pub(crate) struct Count(Arc<watch::Sender<usize>>);

/// One more, until dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<watch::Sender<usize>>);

impl Count {
    pub(crate) fn enter(&self) -> Counted {
        self.0.send_modify(|count| *count += 1);
        Counted(self.0.clone())
    }

    pub(crate) fn current(&self) -> usize {
        *self.0.borrow()
    }

    /// Completes when there are none.
    pub(crate) async fn none(&self) {
        // The sending end is in `self`, so there is always an answer.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Default for Count {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
