//! A queue in which the ends of operations arrive, for hosts with an event loop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use hybridrelay::{Error, ErrorKind};

use crate::errors::{Code, Failure, Result};
use crate::operation::{OperationId, Waiting};
use crate::process::PerProcess;
use crate::signal::Signal;
use crate::{lock, runtime};

/// What an operation was when it was taken out of a queue.
type Removed<V> = (Option<Waiting<V>>, Option<Completion<V>>);

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
    waiting: VecDeque<Arrival<V>>,
    attended: BTreeMap<OperationId, Attended<V>>,
    /// How many threads wait in [`Queue::next`]: to notify nobody is a system call all the same.
    sleepers: usize,
    closed: bool,
    abandoned: bool,
}

enum Arrival<V> {
    End(Completion<V>),
    /// An attended future wants to be looked at.
    Look(OperationId),
}

impl<V> Arrival<V> {
    fn end(self) -> Option<Completion<V>> {
        match self {
            Self::End(completion) => Some(completion),
            Self::Look(_) => None,
        }
    }
}

/// A future that is looked at by whoever looks at the queue.
struct Attended<V> {
    tag: u64,
    /// Away while somebody looks at it.
    future: Option<Waiting<V>>,
    /// It wants to be looked at once more than by whoever does now.
    again: bool,
    /// Nobody wants to know what it comes to.
    abandoned: bool,
    bell: Arc<Bell<V>>,
    waker: Waker,
    _counted: Counted,
}

/// Counts the attended futures, of all queues.
struct Counted;

static ATTENDED: PerProcess<AtomicUsize> = PerProcess::new();

impl Counted {
    fn new() -> Self {
        ATTENDED.get().0.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ATTENDED.get().0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many futures are attended.
pub(crate) fn attended() -> usize {
    ATTENDED.get().0.load(Ordering::Relaxed)
}

/// Wakes the queue for an attended future, once until it is looked at.
struct Bell<V> {
    queue: Weak<Shared<V>>,
    id: OperationId,
    rung: AtomicBool,
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
        let (waiting, attended) = (VecDeque::new(), BTreeMap::new());
        let state = State { waiting, attended, sleepers: 0, closed: false, abandoned: false };
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
        // All of what is there now is seen, whatever the limit. What comes meanwhile is not: a future may wake itself again and again.
        let mut unseen = state.waiting.len();
        loop {
            if let Some(arrival) = state.waiting.pop_front() {
                if state.waiting.is_empty() && !state.closed {
                    self.0.signal.lower();
                }
                match arrival {
                    Arrival::End(completion) => return Ok(completion),
                    Arrival::Look(id) => {
                        let completion;
                        (state, completion) = self.look(state, id);
                        if let Some(completion) = completion {
                            return Ok(completion);
                        }
                    }
                }
                unseen = unseen.saturating_sub(1);
            }
            if unseen > 0 && !state.waiting.is_empty() {
                continue;
            }
            if state.closed && state.waiting.is_empty() {
                return Err(Failure::Core(Error::new(ErrorKind::Closed, "the queue was closed")));
            }
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(Failure::new(Code::WOULD_BLOCK, "no operation has ended yet"));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Failure::out_of_time("no operation ended in time"));
            }
            if !state.waiting.is_empty() {
                continue;
            }
            state.sleepers += 1;
            state = match left {
                None => self.0.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.0.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.sleepers -= 1;
            unseen = state.waiting.len();
        }
    }

    /// Closes it: whoever waits wakes up, what has arrived can still be taken, what arrives later is dropped, and so is what is attended.
    /// Its descriptor stays readable.
    pub fn close(&self) {
        let attended = self.shut(&mut lock(&self.0.state));
        // Outside of the lock: they may hold the last reference to a connection.
        drop(attended);
    }

    /// Gives back what was attended. What somebody looks at now is dropped by whoever does.
    fn shut(&self, state: &mut State<V>) -> Vec<Waiting<V>> {
        if !state.closed {
            state.closed = true;
            if state.waiting.is_empty() {
                self.0.signal.raise();
            }
            self.0.arrived.notify_all();
        }
        let mut at_rest = Vec::new();
        state.attended.retain(|_, attended| {
            attended.abandoned = true;
            let future = attended.future.take();
            let is_away = future.is_none();
            at_rest.extend(future);
            is_away
        });
        at_rest
    }

    /// Puts in what is the end of no operation: that of a [pump](crate::pump) that wakes its host, for one. Its operation is number 0.
    /// Whoever posts bounds how many of them wait.
    pub fn post(&self, tag: u64, value: V) {
        drop(self.push(Completion { tag, operation: OperationId(0), result: Ok(value) }));
    }

    /// Gives the completion back if the queue was closed.
    pub(crate) fn push(&self, completion: Completion<V>) -> Option<Completion<V>> {
        self.0.push(Arrival::End(completion)).and_then(Arrival::end)
    }

    /// Takes an operation out: the completion of one that has ended, or the future of one that is attended.
    pub(crate) fn remove(&self, id: OperationId) -> Removed<V> {
        let mut state = lock(&self.0.state);
        let attended = state.attended.get_mut(&id).and_then(|attended| {
            // Else whoever looks at it drops it.
            attended.abandoned = true;
            attended.future.take()
        });
        if attended.is_some() {
            state.attended.remove(&id);
        }
        let (of_it, others): (VecDeque<_>, _) =
            std::mem::take(&mut state.waiting).into_iter().partition(|arrival| match arrival {
                Arrival::End(completion) => completion.operation == id,
                Arrival::Look(wants) => *wants == id,
            });
        state.waiting = others;
        if !of_it.is_empty() && state.waiting.is_empty() && !state.closed {
            self.0.signal.lower();
        }
        (attended, of_it.into_iter().find_map(Arrival::end))
    }

    /// Looks at a future now, and from now on whenever it wakes and somebody looks at the queue.
    pub(crate) fn attend(&self, tag: u64, id: OperationId, future: Waiting<V>)
    where
        V: Send + 'static,
    {
        let bell = Arc::new(Bell { queue: Arc::downgrade(&self.0), id, rung: AtomicBool::new(false) });
        let (waker, counted) = (Waker::from(bell.clone()), Counted::new());
        let mut state = lock(&self.0.state);
        if state.closed {
            // Outside of the lock: it may hold the last reference to a connection.
            drop(state);
            drop(future);
            return;
        }
        let attended =
            Attended { tag, future: Some(future), again: false, abandoned: false, bell, waker, _counted: counted };
        state.attended.insert(id, attended);
        let (state, completion) = self.look(state, id);
        drop(state);
        drop(completion.and_then(|completion| self.push(completion)));
    }

    /// Looks at an attended future, without the lock. Its completion, if it has ended and nobody has abandoned it meanwhile.
    fn look<'q>(
        &'q self,
        mut state: MutexGuard<'q, State<V>>,
        id: OperationId,
    ) -> (MutexGuard<'q, State<V>>, Option<Completion<V>>) {
        loop {
            let Some(attended) = state.attended.get_mut(&id) else { return (state, None) };
            let Some(mut future) = attended.future.take() else {
                attended.again = true;
                return (state, None);
            };
            attended.again = false;
            let (tag, bell, waker) = (attended.tag, attended.bell.clone(), attended.waker.clone());
            drop(state);
            // From here on it may ring again.
            bell.rung.store(false, Ordering::SeqCst);
            let looked = match runtime::handle() {
                Ok(runtime) => {
                    let _entered = runtime.enter();
                    future.as_mut().poll(&mut Context::from_waker(&waker))
                }
                Err(failure) => Poll::Ready(Err(failure)),
            };
            let end = match looked {
                Poll::Ready(result) => {
                    drop(future);
                    Ok(result)
                }
                Poll::Pending => Err(future),
            };
            state = lock(&self.0.state);
            let attended = state.attended.get_mut(&id).expect("whoever looks at it takes it out");
            if attended.abandoned {
                // Outside of the lock: it may hold the last reference to a connection.
                drop(state);
                drop(end);
                state = lock(&self.0.state);
                state.attended.remove(&id);
                self.0.arrived.notify_all();
                return (state, None);
            }
            match end {
                Ok(result) => {
                    state.attended.remove(&id);
                    return (state, Some(Completion { tag, operation: id, result }));
                }
                Err(future) => {
                    attended.future = Some(future);
                    if !attended.again {
                        return (state, None);
                    }
                }
            }
        }
    }

    /// Closes it for good: gives back what was attended and what has arrived.
    pub(crate) fn abandon(&self) -> (Vec<Waiting<V>>, Vec<Completion<V>>) {
        let mut state = lock(&self.0.state);
        let attended = self.shut(&mut state);
        state.abandoned = true;
        (attended, state.waiting.drain(..).filter_map(Arrival::end).collect())
    }

    /// Waits until nobody looks at what was attended when the queue was closed.
    pub(crate) fn wait_until_unattended(&self) {
        let looked_at = self.0.arrived.wait_while(lock(&self.0.state), |state| !state.attended.is_empty());
        drop(looked_at.unwrap_or_else(PoisonError::into_inner));
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

impl<V> Shared<V> {
    /// Gives the arrival back if the queue was closed.
    fn push(&self, arrival: Arrival<V>) -> Option<Arrival<V>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Some(arrival);
        }
        state.waiting.push_back(arrival);
        if state.waiting.len() == 1 {
            self.signal.raise();
        }
        if state.sleepers > 0 {
            self.arrived.notify_one();
        }
        None
    }
}

impl<V: Send + 'static> Wake for Bell<V> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::SeqCst) {
            return;
        }
        let Some(queue) = self.queue.upgrade() else { return };
        queue.push(Arrival::Look(self.id));
        // A runtime that ends wakes as well: only who needs another one asks for it.
        if let Some(last) = Arc::into_inner(queue)
            && let Ok(runtime) = runtime::handle()
        {
            // The queue was dropped meanwhile. Whoever wakes may hold a lock that the drop of a future takes.
            runtime.spawn(async move { drop(last) });
        }
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
