//! Calls that end later: each runs as a task of the runtime or where its queue is looked at, can be given up, and ends exactly once in a
//! queue.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::call::guard_future;
use crate::errors::{Code, Failure, Result};
use crate::process::PerProcess;
use crate::queue::{Completion, Queue};
use crate::runtime::shut_down;
use crate::{lock, queue, runtime};

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

/// Belongs to the task of an operation: whatever becomes of that, the operation has ended behind it.
struct Running<V> {
    id: OperationId,
    tag: u64,
    queue: Queue<V>,
}

impl<V> Running<V> {
    /// Tells what it came to, once. What nobody wants to hear is dropped.
    fn end(&self, result: impl FnOnce() -> Result<V>) {
        let refused = {
            // Both under the lock, so that whoever abandons finds it in one place or the other.
            let mut under_way = entries();
            if under_way.get(&self.id).is_none_or(|entry| entry.abandoned) {
                return;
            }
            under_way.remove(&self.id);
            self.queue.push(Completion { tag: self.tag, operation: self.id, result: result() })
        };
        // Outside of the lock: it may hold the last reference to a connection.
        drop(refused);
    }
}

impl<V> Drop for Running<V> {
    fn drop(&mut self) {
        // Unless it has ended, the runtime does.
        self.end(|| Err(shut_down()));
        if entries().remove(&self.id).is_some() {
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
    let running = Running { id, tag, queue: queue.clone() };
    runtime.spawn(async move {
        let running = running;
        let result = tokio::select! {
            biased;
            // What has ended has ended: it is delivered, although it was cancelled as well.
            result = guard_future(future) => result,
            _ = cancelled => Err(Failure::new(Code::CANCELLED, "the operation was cancelled")),
        };
        running.end(|| result);
    });
    Ok(id)
}

/// A future that has not ended yet.
pub type Waiting<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// What became of a future that was looked at at once.
pub enum Begun<T> {
    /// It ended with the first look.
    Ended(T),
    /// It waits for something: [`attend`] it, or drop it, which cancels it.
    Waits(Waiting<T>),
}

/// Looks at `future` once on this thread. For what is often there already, such as the next of many messages: then it needs no queue, no
/// task and no wake-up. A panic in it ends it with `INTERNAL`.
///
/// It must be cancel-safe, as that of [`submit`].
///
/// # Errors
///
/// What the future failed with at the first look; `INTERNAL` if there is no runtime.
pub fn begin<T: 'static>(future: impl Future<Output = Result<T>> + Send + 'static) -> Result<Begun<T>> {
    let mut future: Waiting<T> = Box::pin(guard_future(future));
    let runtime = runtime::handle()?;
    let _entered = runtime.enter();
    // Nothing that wakes this one is lost: it is looked at again before anybody waits.
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map(Begun::Ended),
        Poll::Pending => Ok(Begun::Waits(future)),
    }
}

/// Has `future` looked at by whoever looks at the queue, whenever there is something to see; its end is a completion there with `tag`. So
/// what comes for it crosses from the runtime's threads once, and not there and back. It makes no progress while nobody looks.
///
/// [`abandon`] drops it, and so does the drop of the queue; [`cancel`] knows nothing of it.
pub fn attend<V: Send + 'static>(queue: &Queue<V>, tag: u64, future: Waiting<V>) -> OperationId {
    let id = OperationId(NEXT.fetch_add(1, Ordering::Relaxed));
    queue.attend(tag, id, future);
    id
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
    let (cancel, removed) = {
        let mut under_way = entries();
        match under_way.get_mut(&id) {
            Some(entry) => {
                entry.abandoned = true;
                (entry.cancel.take(), None)
            }
            None => (None, Some(queue.remove(id))),
        }
    };
    // Outside of the lock.
    drop((cancel, removed));
}

/// Abandons a queue and every operation that would end in it, and waits until none is under way. Whoever waits for the queue gets `CLOSED`;
/// what has arrived, and what operations come to all the same, is dropped as by [`abandon`]. An operation that is submitted later is
/// cancelled at once.
pub fn abandon_all<V>(queue: &Queue<V>) {
    let (cancels, removed) = {
        let mut under_way = entries();
        let entries = under_way.values_mut().filter(|entry| entry.queue == queue.id());
        let cancel = |entry: &mut Entry| {
            entry.abandoned = true;
            entry.cancel.take()
        };
        (entries.filter_map(cancel).collect::<Vec<_>>(), queue.abandon())
    };
    // Outside of the lock.
    drop((cancels, removed));
    let is_under_way = |entries: &mut BTreeMap<_, Entry>| entries.values().any(|entry| entry.queue == queue.id());
    let ended = UNDER_WAY.get().0.ended.wait_while(entries(), is_under_way);
    drop(ended.unwrap_or_else(PoisonError::into_inner));
    queue.wait_until_unattended();
}

/// How many operations are under way.
pub fn under_way() -> usize {
    entries().len() + queue::attended()
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
        assert!(matches!(begin(async { Ok(42) }), Ok(Begun::Ended(42))));
        let failure = begin::<()>(async { panic!("at once") }).err().expect("a failure");
        assert_eq!(failure.code(), Code::of(ErrorKind::Internal));
        let (sender, receiver) = oneshot::channel();
        let waits = async { receiver.await.map_err(|_| Failure::invalid("gone")) };
        let Ok(Begun::Waits(waiting)) = begin(waits) else { panic!("it waits") };
        let id = attend(&queue, 3, waiting);
        assert_eq!(queue.next(Some(Duration::ZERO)).expect_err("nothing yet").code(), Code::WOULD_BLOCK);
        let sending = std::thread::spawn(move || sender.send(43));
        let end = queue.next(LONG).expect("an end");
        assert_eq!((end.tag, end.operation, end.result.ok()), (3, id, Some(43)));
        sending.join().expect("no panic").expect("it waits");
        let Ok(Begun::Waits(panics)) = begin(second_look(|| panic!("later"))) else { panic!("it waits") };
        attend(&queue, 4, panics);
        let end = queue.next(LONG).expect("an end");
        assert_eq!((end.tag, end.result.err().map(|failure| failure.code())), (4, Some(failure.code())));
        queue.post(5, 44);
        let posted = queue.next(LONG).expect("posted");
        assert_eq!((posted.tag, posted.operation, posted.result.ok()), (5, OperationId(0), Some(44)));
        assert_eq!(queue.next(Some(Duration::ZERO)).expect_err("each once").code(), Code::WOULD_BLOCK);
    }

    /// Ends with the second look.
    async fn second_look<T>(end: impl FnOnce() -> T) -> Result<T> {
        let mut looks = 0;
        std::future::poll_fn(|cx| {
            looks += 1;
            cx.waker().wake_by_ref();
            if looks == 1 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        Ok(end())
    }

    #[test]
    fn an_attended_future_is_looked_at_again_however_often_it_wakes() {
        let queue = Queue::new().expect("descriptors");
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let counting = async move {
            let mut sum = 0;
            while let Some(number) = receiver.recv().await {
                sum += number;
            }
            Ok(sum)
        };
        let Ok(Begun::Waits(waiting)) = begin(counting) else { panic!("it waits") };
        attend(&queue, 1, waiting);
        let sending =
            std::thread::spawn(move || (1..=10_000).for_each(|number| sender.send(number).expect("it counts")));
        // Several look at once.
        let looking = [(); 3].map(|()| {
            let queue = queue.clone();
            std::thread::spawn(move || queue.next(LONG).ok().and_then(|end| end.result.ok()))
        });
        sending.join().expect("no panic");
        while !looking.iter().any(std::thread::JoinHandle::is_finished) {
            std::thread::yield_now();
        }
        queue.close();
        let ends: Vec<i32> = looking.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(ends, [50_005_000]);
    }

    #[test]
    fn an_attended_future_that_wakes_itself_holds_nobody_up() {
        let queue = Queue::new().expect("descriptors");
        let turns = || {
            let restless = std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::<Result<()>>::Pending
            });
            let Ok(Begun::Waits(restless)) = begin(restless) else { panic!("it waits") };
            attend(&queue, 1, restless)
        };
        let (one, other) = (turns(), turns());
        queue.post(2, ());
        assert_eq!(queue.next(Some(Duration::ZERO)).expect("behind them").tag, 2);
        let (looked, looks) = std::sync::mpsc::channel();
        let looking = std::thread::spawn({
            let queue = queue.clone();
            move || {
                for limit in [Duration::ZERO, Duration::from_millis(3)] {
                    let _ = looked.send(queue.next(Some(limit)).map(|end| end.tag).map_err(|failure| failure.code()));
                }
            }
        });
        let looks = [(); 2].map(|()| looks.recv_timeout(Duration::from_secs(60)));
        abandon(&queue, one);
        abandon(&queue, other);
        looking.join().expect("no panic");
        assert_eq!(looks, [Ok(Err(Code::WOULD_BLOCK)), Ok(Err(Code::of(ErrorKind::Timeout)))]);
    }

    #[test]
    fn an_attended_future_is_dropped_with_its_queue_and_when_it_is_abandoned() {
        let value = std::sync::Arc::new(());
        let attended = |queue: &Queue<()>| {
            let held = value.clone();
            let hangs = async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            };
            let Ok(Begun::Waits(waiting)) = begin(hangs) else { panic!("it waits") };
            attend(queue, 1, waiting)
        };
        let queue = Queue::new().expect("descriptors");
        let id = attended(&queue);
        assert_eq!(std::sync::Arc::strong_count(&value), 2);
        abandon(&queue, id);
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
        assert_eq!(queue.next(Some(Duration::ZERO)).expect_err("abandoned").code(), Code::WOULD_BLOCK);
        attended(&queue);
        drop(queue);
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
    }

    #[test]
    fn what_is_attended_is_cancelled_with_its_queue_also_while_somebody_looks_at_it() {
        let value = std::sync::Arc::new(());
        let queue = Queue::new().expect("descriptors");
        let held = value.clone();
        let hangs = async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        };
        let Ok(Begun::Waits(hangs)) = begin(hangs) else { panic!("it waits") };
        attend(&queue, 1, hangs);
        let (entered, inside) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (mut looks, held) = (0, value.clone());
        let blocks = std::future::poll_fn(move |cx| {
            looks += 1;
            let _ = &held;
            match looks {
                // That of `begin`, and that of `attend`.
                1 => {}
                2 => cx.waker().wake_by_ref(),
                _ => {
                    entered.send(()).expect("the test waits");
                    released.recv().expect("the test releases it");
                }
            }
            Poll::Pending
        });
        let Ok(Begun::Waits(blocks)) = begin(blocks) else { panic!("it waits") };
        attend(&queue, 2, blocks);
        let looking = std::thread::spawn({
            let queue = queue.clone();
            move || queue.next(None).expect_err("closed").code()
        });
        inside.recv().expect("it is looked at");
        let abandoning = std::thread::spawn({
            let (queue, value) = (queue.clone(), std::sync::Arc::downgrade(&value));
            move || {
                abandon_all(&queue);
                value.strong_count()
            }
        });
        while !queue.is_abandoned() {
            std::thread::yield_now();
        }
        release.send(()).expect("it is looked at");
        assert_eq!(abandoning.join().expect("no panic"), 1, "both are gone behind it");
        assert_eq!(looking.join().expect("no panic"), Code::of(ErrorKind::Closed));
        let late = second_look(|| ());
        let Ok(Begun::Waits(late)) = begin(late) else { panic!("it waits") };
        attend(&queue, 3, late);
        assert_eq!(queue.next(None).expect_err("closed").code(), Code::of(ErrorKind::Closed));
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
