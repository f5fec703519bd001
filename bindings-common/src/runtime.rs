//! The threads of the process that work for it: one tokio runtime, for what no thread of the host waits for itself.
//!
//! It begins with the first object that needs it and is never dropped: a program may end without closing anything, and a thread of the
//! host that is still at work finds it there. After a fork the child has none of its threads; it leaves the old one alone and begins
//! anew. Blocking calls have a runtime of their own beside it, which they drive themselves.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use hybridrelay::{Error, ErrorKind};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::call::guard_future;
use crate::errors::{Failure, Result};
use crate::process::PerProcess;
use crate::{calls, lock};

/// More threads than these bring a client nothing.
const MOST_THREADS: usize = 4;

static RUNTIME: PerProcess<Mutex<Option<Runtime>>> = PerProcess::new();

/// The runtime of this process, made now if there is none.
///
/// # Errors
///
/// `INTERNAL` if the system gives no threads.
pub fn handle() -> Result<Handle> {
    let mut runtime = lock(RUNTIME.get().0);
    if let Some(runtime) = &*runtime {
        return Ok(runtime.handle().clone());
    }
    let started = start().map_err(no_threads)?;
    Ok(runtime.insert(started).handle().clone())
}

/// Runs a future on the runtime's threads, and not on the one that waits for it: for what serves others all the time, such as a relay.
/// When it is dropped, the future goes on.
///
/// # Errors
///
/// The future's own; `INTERNAL` if it panics or there are no threads, `CLOSED` if the runtime is shut down under it.
pub async fn elsewhere<T: Send + 'static>(future: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let running = handle()?.spawn(guard_future(future));
    running.await.unwrap_or_else(|_| Err(shut_down()))
}

/// Ends the runtimes, for programs that unload the library: tasks that are still at work are dropped, and calls that wait fail. Waits
/// `limit` at most, and not at all on a thread that a runtime has at work, which would wait for its own end. The next object begins new
/// ones.
pub fn shutdown(limit: Duration) {
    let is_at_work = role() != Role::Host || Handle::try_current().is_ok();
    let limit = if is_at_work { Duration::ZERO } else { limit };
    let began = Instant::now();
    let runtime = lock(RUNTIME.get().0).take();
    calls::shutdown(limit);
    if let Some(runtime) = runtime {
        runtime.shutdown_timeout(limit.saturating_sub(began.elapsed()));
    }
}

fn start() -> io::Result<Runtime> {
    let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("hybridrelay")
        .on_thread_start(begin_thread)
        .enable_all()
        .build()
}

pub(crate) fn no_threads(error: io::Error) -> Failure {
    let message = format!("the system gives no threads for the library: {error}");
    Failure::Core(Error::new(ErrorKind::Internal, message).with_source(error))
}

/// What is said of something that a shutdown has ended.
pub(crate) fn shut_down() -> Failure {
    Failure::Core(Error::new(ErrorKind::Closed, "the library's threads were ended"))
}

/// What a thread is to the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The host's. It may drive the runtime of the blocking calls.
    Host,
    /// The host's, and it does.
    Driver,
    /// Of the library. It may wait for what others do.
    Worker,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Host) };
}

/// Begins a thread of ours.
pub(crate) fn begin_thread() {
    ROLE.set(Role::Worker);
    refuse_signals();
}

/// Signals are the host's: none is delivered to this thread from now on, and a write to a closed socket raises none.
pub(crate) fn refuse_signals() {
    #[cfg(unix)]
    // Without it a signal may interrupt our thread, which does no harm.
    let _ = nix::sys::signal::SigSet::all().thread_block();
}

/// What this thread is.
pub(crate) fn role() -> Role {
    ROLE.get()
}

/// Makes this thread the driver until what is returned is dropped.
pub(crate) fn drives() -> impl Drop {
    struct Drives(Role);
    impl Drop for Drives {
        fn drop(&mut self) {
            ROLE.set(self.0);
        }
    }
    Drives(ROLE.replace(Role::Driver))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_runtime_until_it_ends() {
        let (first, second) = (handle().expect("threads"), handle().expect("threads"));
        assert_eq!(first.id(), second.id());
        #[cfg(unix)]
        {
            let blocked = first.spawn(async { nix::sys::signal::SigSet::thread_get_mask() });
            let mask = crate::call::block_on(blocked, None).expect("a task").expect("no panic").expect("a mask");
            assert!(mask.contains(nix::sys::signal::Signal::SIGPIPE));
        }
    }
}
