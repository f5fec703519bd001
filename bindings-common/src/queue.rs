//! A queue in which the ends of operations arrive, for hosts with an event loop.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hybridrelay::{Error, ErrorKind};

use crate::errors::{Code, Failure, Result};
use crate::lock;
use crate::operation::OperationId;
use crate::signal::Signal;

/// The end of an operation.
#[derive(Debug)]
pub struct Completion<V> {
    /// What the program gave when it submitted the operation.
    pub tag: u64,
    /// The operation; 0 for what was [posted](Queue::post).
    pub operation: OperationId,
    /// What it came to; `CANCELLED` if the program cancelled it.
    pub result: Result<V>,
}

/// A queue of completions. Cheap to clone; clones are the same queue.
///
/// It holds as many as there are operations under way and not more, so whoever submits bounds it.
pub struct Queue<V>(Arc<Shared<V>>);

struct Shared<V> {
    state: Mutex<State<V>>,
    arrived: Condvar,
    signal: Signal,
}

struct State<V> {
    waiting: VecDeque<Completion<V>>,
    closed: bool,
    abandoned: bool,
}

impl<V> Queue<V> {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the system gives no descriptors.
    pub fn new() -> Result<Self> {
        let signal = Signal::new().map_err(|error| {
            let message = format!("the system gives no descriptors for a queue: {error}");
            Failure::Core(Error::new(ErrorKind::Internal, message).with_source(error))
        })?;
        let state = State { waiting: VecDeque::new(), closed: false, abandoned: false };
        Ok(Self(Arc::new(Shared { state: Mutex::new(state), arrived: Condvar::new(), signal })))
    }

    /// Takes the next completion, waiting `limit` at most, for ever without one.
    ///
    /// # Errors
    ///
    /// `WOULD_BLOCK` if there is none and the limit is zero, `TIMEOUT` if it is another, `CLOSED` once the queue was closed and is
    /// empty.
    pub fn next(&self, limit: Option<Duration>) -> Result<Completion<V>> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut state = lock(&self.0.state);
        loop {
            if let Some(completion) = state.waiting.pop_front() {
                if state.waiting.is_empty() && !state.closed {
                    self.0.signal.lower();
                }
                return Ok(completion);
            }
            if state.closed {
                return Err(Failure::Core(Error::new(ErrorKind::Closed, "the queue was closed")));
            }
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(Failure::new(Code::WOULD_BLOCK, "no operation has ended yet"));
            }
            state = match deadline {
                None => self.0.arrived.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Failure::out_of_time("no operation ended in time"));
                    }
                    let waited = self.0.arrived.wait_timeout(state, left);
                    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
                }
            };
        }
    }

    /// Closes it: whoever waits wakes up, what has arrived can still be taken, what arrives later is dropped. Its descriptor stays
    /// readable.
    pub fn close(&self) {
        let mut state = lock(&self.0.state);
        if !state.closed {
            state.closed = true;
            if state.waiting.is_empty() {
                self.0.signal.raise();
            }
            self.0.arrived.notify_all();
        }
    }

    /// Puts in what is the end of no operation: that of a [pump](crate::pump) that wakes its host, for one. Its operation is number 0.
    /// Whoever posts bounds how many of them wait.
    pub fn post(&self, tag: u64, value: V) {
        drop(self.push(Completion { tag, operation: OperationId(0), result: Ok(value) }));
    }

    /// Gives the completion back if the queue was closed.
    pub(crate) fn push(&self, completion: Completion<V>) -> Option<Completion<V>> {
        let mut state = lock(&self.0.state);
        if state.closed {
            return Some(completion);
        }
        state.waiting.push_back(completion);
        if state.waiting.len() == 1 {
            self.0.signal.raise();
        }
        self.0.arrived.notify_one();
        None
    }

    /// Takes the completion of an operation out, if it is there.
    pub(crate) fn remove(&self, id: OperationId) -> Option<Completion<V>> {
        let mut state = lock(&self.0.state);
        let at = state.waiting.iter().position(|completion| completion.operation == id)?;
        let completion = state.waiting.remove(at);
        if state.waiting.is_empty() && !state.closed {
            self.0.signal.lower();
        }
        completion
    }

    /// Closes it for good: gives back what has arrived.
    pub(crate) fn abandon(&self) -> VecDeque<Completion<V>> {
        self.close();
        let mut state = lock(&self.0.state);
        state.abandoned = true;
        std::mem::take(&mut state.waiting)
    }

    /// Whether nobody hears of what ends in it.
    pub(crate) fn is_abandoned(&self) -> bool {
        lock(&self.0.state).abandoned
    }

    /// Tells queues apart for as long as this one is there.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// A descriptor that is readable while something waits. It belongs to the queue: only look at it.
    #[cfg(unix)]
    pub fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.signal.descriptor()
    }
}

impl<V> Clone for Queue<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> std::fmt::Debug for Queue<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &lock(&self.0.state).waiting.len()).finish_non_exhaustive()
    }
}
