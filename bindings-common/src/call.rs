//! Blocking calls, and the boundary that no panic crosses.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use hybridrelay::{Error, ErrorKind};
use tokio::runtime::Handle;

use crate::errors::{Code, Failure, Result};
use crate::runtime::{Role, no_threads};
use crate::{calls, runtime};

/// Runs a call of a binding. A panic in it becomes `INTERNAL`: nothing unwinds into another language.
pub fn guard<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// The same for what ends later: a panic in a poll ends it with `INTERNAL`.
pub async fn guard_future<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)))
            .unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
    })
    .await
}

/// What a panic is told as. Its text goes to the log, since it is for us and not for the program.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("of an unknown type"), "a call panicked");
    Failure::Core(Error::new(
        ErrorKind::Internal,
        "the call panicked, which is a fault of the library: please report it",
    ))
}

/// Makes something that needs a runtime around it, such as what starts a task at once: that of the blocking calls. On a thread that ends,
/// another one makes it.
///
/// # Errors
///
/// `INTERNAL` if the system gives no threads.
pub fn within<T: Send>(make: impl FnOnce() -> T + Send) -> Result<T> {
    if is_ending() {
        return on_another_thread(|| within(make));
    }
    let calls = calls::get()?;
    let _entered = calls.handle().enter();
    Ok(make())
}

/// Waits on this thread for what `future` brings: at most `limit`, for ever without one. A limit of zero looks once.
///
/// While it waits, this thread does the work of the runtime that all blocking calls share, and that `future` spawns its tasks on. On a
/// thread of the library it only waits, for another one: a future that gives way is woken there only when that thread goes on. On a thread
/// that ends, as in a destructor behind `main`, another one does all of it. In a callback of a call that waits it may only look: to wait for
/// itself it would do for ever.
///
/// What has not come by then is dropped, so it must be cancel-safe: nothing is lost.
///
/// # Errors
///
/// `WOULD_BLOCK` if it has not come and the limit is zero, `TIMEOUT` if it is another, known as [that of the
/// call](Failure::is_out_of_time); `CLOSED` if the runtime is shut down meanwhile; `INVALID_ARGUMENT` for a wait inside of a wait.
pub fn block_on<T: Send>(future: impl Future<Output = T> + Send, limit: Option<Duration>) -> Result<T> {
    let role = runtime::role();
    if role == Role::Worker {
        let runtime = Handle::try_current();
        return on_another_thread(|| {
            let _entered = runtime.as_ref().map(Handle::enter);
            Parker::block_on(pin!(future), limit)
        });
    }
    if is_ending() {
        return on_another_thread(|| block_on(future, limit));
    }
    let calls = calls::get()?;
    let mut future = pin!(future);
    {
        let _entered = calls.handle().enter();
        // What wakes this look is not lost: whoever waits looks again first.
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Ok(output);
        }
    }
    if limit.is_some_and(|limit| limit.is_zero()) {
        return Err(nothing_yet());
    }
    if role == Role::Driver {
        let message = "a call that waits was made inside of another one, on the thread that would have to bring what it waits for: \
                       make it on another thread, or after the other call has returned";
        return Err(Failure::invalid(message));
    }
    calls.drive(future, deadline(limit))
}

/// Whether this thread ends, and what a runtime keeps of it is gone: it can drive none any more, and begin no task.
fn is_ending() -> bool {
    Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed())
}

fn on_another_thread<T: Send>(call: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let call = || {
        runtime::refuse_signals();
        call()
    };
    thread::scope(|scope| {
        let calling = thread::Builder::new().name("hybridrelay".to_owned()).spawn_scoped(scope, call);
        calling.map_err(no_threads)?.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn deadline(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| Instant::now().checked_add(limit))
}

fn nothing_yet() -> Failure {
    Failure::new(Code::WOULD_BLOCK, "nothing has come yet")
}

/// What is said of a call whose limit has passed.
pub(crate) fn late() -> Failure {
    Failure::out_of_time("the time limit of the call has passed")
}

/// Wakes a thread that waits and drives nothing. A wake before the wait is not lost.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Parker {
    fn block_on<F: Future>(mut future: Pin<&mut F>, limit: Option<Duration>) -> Result<F::Output> {
        let deadline = deadline(limit);
        let parker = Arc::new(Self { thread: thread::current(), woken: AtomicBool::new(false) });
        let waker = Waker::from(parker.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Ok(output);
            }
            match (limit, deadline) {
                (Some(limit), _) if limit.is_zero() => return Err(nothing_yet()),
                (_, Some(deadline)) if !parker.park_until(deadline) => return Err(late()),
                (_, Some(_)) => {}
                _ => parker.park(),
            }
        }
    }

    fn park(&self) {
        while !self.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }

    /// Whether it was woken before.
    fn park_until(&self, deadline: Instant) -> bool {
        while !self.woken.swap(false, Ordering::Acquire) {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            thread::park_timeout(left);
        }
        true
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_call_that_panics_is_an_error() {
        let failure = guard(|| -> Result<()> { panic!("with a secret") }).expect_err("a failure");
        assert_eq!(failure.code(), Code::of(ErrorKind::Internal));
        assert!(!failure.to_string().contains("secret"));
        let failure = block_on(guard_future(async { panic!("later") }), None).expect("an end");
        let failure: Failure = {
            let result: Result<()> = failure;
            result.expect_err("a failure")
        };
        assert_eq!(failure.code(), Code::of(ErrorKind::Internal));
    }

    #[test]
    fn a_call_inside_of_a_call_takes_no_wake_up_from_it() {
        // On a thread of the library, which waits beside the runtime that others drive.
        let calls = runtime::elsewhere(async {
            let mut polls = 0;
            let outer = std::future::poll_fn(|cx| {
                polls += 1;
                if polls > 1 {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                let (sender, receiver) = oneshot::channel();
                let other = thread::spawn(move || sender.send(7));
                assert_eq!(block_on(receiver, None).expect("an end"), Ok(7));
                other.join().expect("no panic").expect("somebody waited");
                Poll::Pending
            });
            block_on(outer, Some(Duration::from_secs(60)))
        });
        block_on(calls, Some(Duration::from_secs(60))).expect("an end").expect("the outer call is woken");
    }

    #[test]
    fn a_wait_inside_of_a_wait_is_an_error_and_a_look_is_not() {
        let mut inner = Vec::new();
        let outer = std::future::poll_fn(|cx| {
            if runtime::role() != Role::Driver {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            inner.push(block_on(std::future::ready(()), None).map_err(|failure| failure.code()));
            for limit in [Some(Duration::ZERO), Some(Duration::from_secs(60)), None] {
                inner.push(block_on(std::future::pending::<()>(), limit).map_err(|failure| failure.code()));
            }
            Poll::Ready(())
        });
        block_on(outer, Some(Duration::from_secs(60))).expect("an end");
        let wrong = Err(Code::of(ErrorKind::InvalidArgument));
        assert_eq!(inner, [Ok(()), Err(Code::WOULD_BLOCK), wrong, wrong]);
    }

    #[test]
    fn a_call_waits_as_long_as_it_may() {
        let (sender, mut receiver) = oneshot::channel();
        assert_eq!(block_on(&mut receiver, Some(Duration::ZERO)).expect_err("nothing").code(), Code::WOULD_BLOCK);
        let late = block_on(&mut receiver, Some(Duration::from_millis(5))).expect_err("nothing").code();
        assert_eq!(late, Code::of(ErrorKind::Timeout));
        let other = thread::spawn(move || sender.send(7));
        assert_eq!(block_on(receiver, None).expect("an end"), Ok(7));
        other.join().expect("no panic").expect("somebody waited");
    }

    #[test]
    fn a_thread_that_ends_may_call_from_a_destructor() {
        /// Calls when it is dropped, and tells what it came to.
        struct Calls(Cell<Option<mpsc::Sender<[Result<()>; 2]>>>);
        impl Drop for Calls {
            fn drop(&mut self) {
                let Some(tell) = self.0.take() else { return };
                let waits = guard(|| block_on(tokio_sleep(), Some(Duration::from_secs(60))));
                let makes = guard(|| within(|| drop(Handle::current())));
                let _ = tell.send([waits, makes]);
            }
        }
        thread_local! {
            static CALLS: Calls = const { Calls(Cell::new(None)) };
        }
        let (tell, told) = mpsc::channel();
        let ending = thread::spawn(move || {
            // What a thread meets first is dropped last: the runtime's own traces on it are gone by then.
            CALLS.with(|calls| calls.0.set(Some(tell)));
            block_on(tokio_sleep(), None)
        });
        ending.join().expect("no panic").expect("an end");
        for outcome in told.recv().expect("the destructor runs") {
            outcome.expect("a call as any other");
        }
    }

    #[test]
    fn timers_of_the_runtime_wake_a_thread_of_the_host() {
        let slept = block_on(tokio_sleep(), Some(Duration::from_secs(60)));
        assert!(slept.is_ok());
    }

    /// Made inside of the runtime.
    async fn tokio_sleep() {
        tokio::task::yield_now().await;
        hybridrelay::env::Env::system().sleep(Duration::from_millis(1)).await;
    }
}
