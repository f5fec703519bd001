//! The one tokio runtime of the process.
//!
//! It begins with the first object and is never dropped: a program may end without closing anything, and a thread of the host that
//! is still at work finds it there. After a fork the child has none of its threads; it leaves the old one alone and begins anew.

use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::Duration;

use hybridrelay::{Error, ErrorKind};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::errors::{Failure, Result};
use crate::lock;
use crate::process::PerProcess;

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
    let started = start().map_err(|error| {
        let message = format!("the system gives no threads for the library: {error}");
        Failure::Core(Error::new(ErrorKind::Internal, message).with_source(error))
    })?;
    Ok(runtime.insert(started).handle().clone())
}

/// Ends the runtime, for programs that unload the library: tasks that are still at work are dropped. Waits `limit` at most. The
/// next object begins a new one.
pub fn shutdown(limit: Duration) {
    let runtime = lock(RUNTIME.get().0).take();
    if let Some(runtime) = runtime {
        runtime.shutdown_timeout(limit);
    }
}

fn start() -> std::io::Result<Runtime> {
    let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("hybridrelay")
        .on_thread_start(leave_signals_alone)
        .enable_all()
        .build()
}

/// Signals are the host's: none is delivered to our threads, and a write to a closed socket raises none.
fn leave_signals_alone() {
    #[cfg(unix)]
    // Without it a signal may interrupt our thread, which does no harm.
    let _ = nix::sys::signal::SigSet::all().thread_block();
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
