//! The events that wait for the program.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Event, EventOrigin};
use crate::{Error, Result};

/// How many bytes of events wait. One event always may.
const CAPACITY: u32 = 1 << 20;

/// What an event takes up beside its payload.
const OVERHEAD: usize = 128;

/// Between all publishers and any number of program tasks.
#[derive(Debug)]
pub(super) struct EventQueue {
    waiting: Mutex<Waiting>,
    /// One permit for each entry; closed with the queue.
    available: Semaphore,
    /// One permit for each byte that may still wait, given out in the order of asking; closed with the queue.
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<(Event, OwnedSemaphorePermit)>,
    /// What was missed and not told yet, one entry for each publisher: it needs no room.
    missed: VecDeque<(EventOrigin, u64)>,
    closed: bool,
    /// The final failure until it was delivered.
    failure: Option<Error>,
}

impl EventQueue {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            available: Semaphore::new(0),
            room: Arc::new(Semaphore::new(CAPACITY as usize)),
        })
    }

    /// Adds an event as soon as there is room. False if the queue is closed.
    pub(super) async fn push(&self, event: Event) -> bool {
        // What is longer than everything takes all the room there is.
        let size = u32::try_from(event.payload().len() + OVERHEAD).unwrap_or(CAPACITY).min(CAPACITY);
        let Ok(room) = self.room.clone().acquire_many_owned(size).await else { return false };
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.events.push_back((event, room));
            self.available.add_permits(1);
        }
        !waiting.closed
    }

    /// Adds that events were missed, to what of this publisher was not told yet.
    pub(super) fn missed(&self, origin: &EventOrigin, count: u64) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        match waiting.missed.iter_mut().find(|(known, _)| known.tracking_id() == origin.tracking_id()) {
            Some((_, known)) => *known += count,
            None => {
                waiting.missed.push_back((origin.clone(), count));
                self.available.add_permits(1);
            }
        }
    }

    /// The next event. After the close: what waits, the failure once, if there is one, then `None`. Cancel-safe.
    pub(super) async fn next(&self) -> Result<Option<Event>> {
        if let Ok(permit) = self.available.acquire().await {
            permit.forget();
        }
        let mut waiting = self.lock();
        if let Some((origin, count)) = waiting.missed.pop_front() {
            return Ok(Some(Event::Missed { origin, count }));
        }
        match waiting.events.pop_front() {
            Some((event, _room)) => Ok(Some(event)),
            None => waiting.failure.take().map_or(Ok(None), Err),
        }
    }

    /// Ends the queue behind what waits in it.
    pub(super) fn close(&self, failure: Option<Error>) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.failure = failure;
        self.available.close();
        self.room.close();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
