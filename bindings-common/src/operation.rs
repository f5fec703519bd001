//! Calls that end later: each runs as a task of the runtime, can be cancelled, and ends exactly once in a queue.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::call::guard_future;
use crate::errors::{Code, Failure, Result};
use crate::process::PerProcess;
use crate::queue::{Completion, Queue};
use crate::{lock, runtime};

/// Names an operation. Never 0, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u64);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The operations under way.
#[derive(Default)]
struct UnderWay {
    entries: Mutex<BTreeMap<OperationId, Entry>>,
    /// One has ended that nobody wants to hear of.
    ended: Condvar,
}

struct Entry {
    /// Where it ends.
    queue: usize,
    /// Dropping it cancels.
    cancel: Option<oneshot::Sender<()>>,
    /// Nobody wants to know what it comes to.
    abandoned: bool,
}

static UNDER_WAY: PerProcess<UnderWay> = PerProcess::new();

fn entries() -> MutexGuard<'static, BTreeMap<OperationId, Entry>> {
    lock(&UNDER_WAY.get().0.entries)
}

/// Belongs to the task of an operation: whatever becomes of that, the operation is not under way behind it.
struct Running(OperationId);

impl Drop for Running {
    fn drop(&mut self) {
        if entries().remove(&self.0).is_some() {
            UNDER_WAY.get().0.ended.notify_all();
        }
    }
}

/// Runs `future`, and puts its end into the queue with `tag`. A panic in it ends it with `INTERNAL`.
///
/// It must be cancel-safe: a cancelled one is dropped between two polls, and nothing is lost.
///
/// # Errors
///
/// `INTERNAL` if there is no runtime. Then nothing was begun.
pub fn submit<V: Send + 'static>(
    queue: &Queue<V>,
    tag: u64,
    future: impl Future<Output = Result<V>> + Send + 'static,
) -> Result<OperationId> {
    let runtime = runtime::handle()?;
    let id = OperationId(NEXT.fetch_add(1, Ordering::Relaxed));
    let (cancel, cancelled) = oneshot::channel();
    {
        let mut under_way = entries();
        let abandoned = queue.is_abandoned();
        under_way.insert(id, Entry { queue: queue.id(), cancel: (!abandoned).then_some(cancel), abandoned });
    }
    let (queue, running) = (queue.clone(), Running(id));
    runtime.spawn(async move {
        let running = running;
        let result = tokio::select! {
            biased;
            // What has ended has ended: it is delivered, although it was cancelled as well.
            result = guard_future(future) => result,
            _ = cancelled => Err(Failure::new(Code::CANCELLED, "the operation was cancelled")),
        };
        let refused = {
            // Both under the lock, so that whoever abandons finds it in one place or the other.
            let mut under_way = entries();
            let completion = Completion { tag, operation: id, result };
            if under_way.get(&id).is_some_and(|entry| entry.abandoned) {
                Some(completion)
            } else {
                under_way.remove(&id);
                queue.push(completion)
            }
        };
        // Outside of the lock: it may hold the last reference to a connection.
        drop(refused);
        drop(running);
    });
    Ok(id)
}

/// What became of an operation that was looked at at once.
#[derive(Debug)]
pub enum Begun<V> {
    /// It ended with the first look, and not in the queue.
    Ended(V),
    /// It is under way.
    UnderWay(OperationId),
}

/// Looks at `future` once on this thread, and [submits](submit) it only if it has not ended then. For what is often there already, such as
/// the next of many messages.
///
/// # Errors
///
/// What the future failed with at the first look, and as [`submit`].
pub fn begin<V: Send + 'static>(
    queue: &Queue<V>,
    tag: u64,
    future: impl Future<Output = Result<V>> + Send + 'static,
) -> Result<Begun<V>> {
    let mut future = Box::pin(guard_future(future));
    let first = {
        let _entered = runtime::handle()?.enter();
        // Nothing that wakes this one is lost: the task looks again before it waits.
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    match first {
        Poll::Ready(result) => result.map(Begun::Ended),
        Poll::Pending => submit(queue, tag, future).map(Begun::UnderWay),
    }
}

/// Cancels an operation. Its end arrives in its queue all the same, as `CANCELLED` or as what it had come to already. Cancelling one
/// that has ended does nothing.
pub fn cancel(id: OperationId) {
    let cancel = entries().get_mut(&id).and_then(|entry| entry.cancel.take());
    // Outside of the lock.
    drop(cancel);
}

/// Cancels an operation of whose end nobody wants to hear: what it has come to already, or comes to, is dropped and never arrives in the
/// queue. What must not be lost is a value that goes back where it came from when it is dropped.
pub fn abandon<V>(queue: &Queue<V>, id: OperationId) {
    let (cancel, arrived) = {
        let mut under_way = entries();
        match under_way.get_mut(&id) {
            Some(entry) => {
                entry.abandoned = true;
                (entry.cancel.take(), None)
            }
            None => (None, queue.remove(id)),
        }
    };
    // Outside of the lock.
    drop((cancel, arrived));
}

/// Abandons a queue and every operation that would end in it, and waits until none is under way. Whoever waits for the queue gets `CLOSED`;
/// what has arrived, and what operations come to all the same, is dropped as by [`abandon`]. An operation that is submitted later is
/// cancelled at once.
pub fn abandon_all<V>(queue: &Queue<V>) {
    let (cancels, arrived) = {
        let mut under_way = entries();
        let entries = under_way.values_mut().filter(|entry| entry.queue == queue.id());
        let cancel = |entry: &mut Entry| {
            entry.abandoned = true;
            entry.cancel.take()
        };
        (entries.filter_map(cancel).collect::<Vec<_>>(), queue.abandon())
    };
    // Outside of the lock.
    drop((cancels, arrived));
    let is_under_way = |entries: &mut BTreeMap<_, Entry>| entries.values().any(|entry| entry.queue == queue.id());
    let ended = UNDER_WAY.get().0.ended.wait_while(entries(), is_under_way);
    drop(ended.unwrap_or_else(PoisonError::into_inner));
}

/// How many operations are under way.
pub fn under_way() -> usize {
    entries().len()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hybridrelay::ErrorKind;

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn an_operation_ends_once_in_its_queue_by_its_own_end_a_cancel_or_a_panic() {
        let queue = Queue::new().expect("descriptors");
        assert_eq!(queue.next(Some(Duration::ZERO)).expect_err("nothing yet").code(), Code::WOULD_BLOCK);
        let done = submit(&queue, 1, async { Ok(42) }).expect("a runtime");
        let hangs = submit(&queue, 2, std::future::pending()).expect("a runtime");
        let panics = submit(&queue, 3, async { panic!("in a task") }).expect("a runtime");
        let mut ends = Vec::new();
        for _ in 0..2 {
            ends.push(queue.next(LONG).expect("an end"));
        }
        cancel(hangs);
        cancel(hangs);
        ends.push(queue.next(LONG).expect("an end"));
        ends.sort_by_key(|end| end.tag);
        let [one, two, three] = &ends[..] else { panic!("three ends") };
        assert_eq!((one.operation, one.result.as_ref().ok()), (done, Some(&42)));
        assert_eq!((two.operation, two.result.as_ref().err().map(Failure::code)), (hangs, Some(Code::CANCELLED)));
        let internal = Code::of(ErrorKind::Internal);
        assert_eq!((three.operation, three.result.as_ref().err().map(Failure::code)), (panics, Some(internal)));
        assert_eq!(queue.next(Some(Duration::ZERO)).expect_err("each once").code(), Code::WOULD_BLOCK);
    }

    #[test]
    fn what_is_there_already_ends_at_once_and_everything_else_in_the_queue() {
        let queue = Queue::new().expect("descriptors");
        assert!(matches!(begin(&queue, 1, async { Ok(42) }), Ok(Begun::Ended(42))));
        let failure = begin(&queue, 2, async { panic!("at once") }).expect_err("a failure");
        assert_eq!(failure.code(), Code::of(ErrorKind::Internal));
        let (sender, receiver) = oneshot::channel();
        let waits = async { receiver.await.map_err(|_| Failure::invalid("gone")) };
        let Ok(Begun::UnderWay(id)) = begin(&queue, 3, waits) else { panic!("it waits") };
        sender.send(43).expect("it waits");
        let end = queue.next(LONG).expect("an end");
        assert_eq!((end.tag, end.operation, end.result.ok()), (3, id, Some(43)));
        queue.post(4, 44);
        let posted = queue.next(LONG).expect("posted");
        assert_eq!((posted.tag, posted.operation, posted.result.ok()), (4, OperationId(0), Some(44)));
    }

    #[test]
    fn what_an_abandoned_operation_comes_to_is_dropped_wherever_it_is() {
        let queue = Queue::new().expect("descriptors");
        let value = std::sync::Arc::new(());
        let arrived = submit(&queue, 1, std::future::ready(Ok(Some(value.clone())))).expect("a runtime");
        submit(&queue, 2, std::future::ready(Ok(None))).expect("a runtime");
        while under_way() > 0 {
            std::thread::yield_now();
        }
        abandon(&queue, arrived);
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
        assert_eq!(queue.next(LONG).expect("an end").tag, 2);
        assert_eq!(queue.next(Some(Duration::ZERO)).expect_err("abandoned").code(), Code::WOULD_BLOCK);
        let held = value.clone();
        let hangs = submit(&queue, 3, async move {
            std::future::pending::<()>().await;
            Ok(Some(held))
        });
        abandon(&queue, hangs.expect("a runtime"));
        while std::sync::Arc::strong_count(&value) > 1 {
            std::thread::yield_now();
        }
        assert_eq!(queue.next(Some(Duration::ZERO)).expect_err("abandoned").code(), Code::WOULD_BLOCK);
    }

    #[test]
    fn what_would_end_in_an_abandoned_queue_is_cancelled_and_nothing_else() {
        let (queue, other) = (Queue::new().expect("descriptors"), Queue::new().expect("descriptors"));
        let value = std::sync::Arc::new(());
        let hangs = |held: std::sync::Arc<()>| async move {
            std::future::pending::<()>().await;
            Ok(held)
        };
        submit(&queue, 1, std::future::ready(Ok(value.clone()))).expect("a runtime");
        submit(&queue, 2, hangs(value.clone())).expect("a runtime");
        let elsewhere = submit(&other, 3, hangs(value.clone())).expect("a runtime");
        let waiting = std::thread::spawn({
            let queue = queue.clone();
            move || while queue.next(None).is_ok() {}
        });
        abandon_all(&queue);
        waiting.join().expect("no panic");
        submit(&queue, 4, hangs(value.clone())).expect("a runtime");
        abandon_all(&queue);
        assert_eq!(std::sync::Arc::strong_count(&value), 2, "the other one's is alive");
        assert_eq!(queue.next(None).expect_err("closed").code(), Code::of(ErrorKind::Closed));
        assert_eq!(other.next(Some(Duration::ZERO)).expect_err("it goes on").code(), Code::WOULD_BLOCK);
        cancel(elsewhere);
        assert_eq!(other.next(LONG).expect("an end").tag, 3);
    }

    #[cfg(unix)]
    #[test]
    fn the_descriptor_is_readable_while_something_waits() {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let queue = Queue::new().expect("descriptors");
        let readable = |timeout: u16| {
            let mut descriptors = [PollFd::new(queue.descriptor(), PollFlags::POLLIN)];
            poll(&mut descriptors, PollTimeout::from(timeout)).expect("a poll") > 0
        };
        assert!(!readable(0));
        submit(&queue, 1, async { Ok(()) }).expect("a runtime");
        assert!(readable(60_000));
        submit(&queue, 2, async { Ok(()) }).expect("a runtime");
        queue.next(LONG).expect("an end").result.expect("success");
        queue.next(LONG).expect("an end").result.expect("success");
        assert!(!readable(0));
        queue.close();
        assert!(readable(0), "whoever looks at the descriptor learns that it was closed");
        assert_eq!(queue.next(LONG).expect_err("closed").code(), Code::of(ErrorKind::Closed));
    }

    #[test]
    fn closing_a_queue_wakes_whoever_waits_and_drops_what_comes_later() {
        let queue = Queue::<std::sync::Arc<()>>::new().expect("descriptors");
        let waiting = std::thread::spawn({
            let queue = queue.clone();
            move || queue.next(None).map(|_| ())
        });
        queue.close();
        assert_eq!(waiting.join().expect("no panic").expect_err("closed").code(), Code::of(ErrorKind::Closed));
        let value = std::sync::Arc::new(());
        let id = submit(&queue, 1, std::future::ready(Ok(value.clone()))).expect("a runtime");
        while entries().contains_key(&id) {
            std::thread::yield_now();
        }
        drop(queue);
        while std::sync::Arc::strong_count(&value) > 1 {
            std::thread::yield_now();
        }
    }
}
