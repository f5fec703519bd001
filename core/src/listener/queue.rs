//! The senders that wait for the program.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::Incoming;
use crate::{Error, Result};

/// Between the listener's task and any number of accepting program tasks. Its length is bounded by `max_concurrent`, because
/// every entry holds one of those permits.
#[derive(Debug)]
pub(crate) struct IncomingQueue {
    waiting: Mutex<Waiting>,
    /// One permit for each entry; closed with the queue.
    available: Semaphore,
}

#[derive(Debug, Default)]
struct Waiting {
    incoming: VecDeque<Incoming>,
    closed: bool,
    /// The final failure until it was delivered.
    failure: Option<Error>,
}

impl IncomingQueue {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), available: Semaphore::new(0) })
    }

    /// Adds an entry; it is dropped, which rejects it, if the queue is closed.
    pub(crate) fn push(&self, incoming: Incoming) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.incoming.push_back(incoming);
            self.available.add_permits(1);
        }
    }

    /// The next entry. After the close: the failure once, if there is one, then `None`. Cancel-safe.
    pub(super) async fn next(&self) -> Result<Option<Incoming>> {
        match self.available.acquire().await {
            Ok(permit) => {
                permit.forget();
                let mut waiting = self.lock();
                match waiting.incoming.pop_front() {
                    Some(incoming) => Ok(Some(incoming)),
                    None => waiting.failure.take().map_or(Ok(None), Err),
                }
            }
            Err(_) => self.lock().failure.take().map_or(Ok(None), Err),
        }
    }

    /// Ends the queue: who waits is woken, what waits is dropped.
    pub(super) fn close(&self, failure: Option<Error>) {
        let mut dropped = {
            let mut waiting = self.lock();
            if waiting.closed {
                return;
            }
            waiting.closed = true;
            waiting.failure = failure;
            std::mem::take(&mut waiting.incoming)
        };
        self.available.close();
        for incoming in &mut dropped {
            incoming.listener_closes();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
