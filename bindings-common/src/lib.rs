//! What every binding of hybridrelay stands on, so that a language adds its idioms and nothing else.
//!
//! - [`runtime`]: the threads of the process that work for it. Objects from before a fork fail, new ones get new threads.
//! - [`process`]: state that a forked child does not share.
//! - [`handles`]: what crosses the boundary instead of pointers. Use after close is an error.
//! - [`call`]: a blocking call with a time limit, and the boundary that no panic crosses.
//! - [`background`]: a call that goes on when whoever waits for it gives up.
//! - [`operation`] and [`queue`]: calls that end later, with cancellation, and the queue their ends arrive in.
//! - [`pump`]: a relayed byte stream between two bounded buffers, for hosts with an event loop.
//! - [`stream`]: the same for hosts whose calls wait.
//! - [`http`]: bodies of relayed requests in pieces, and answers that come later.
//! - [`http_head`]: their heads, from what a host hands over.
//! - [`options`]: options by name.
//! - [`token`]: tokens that the program makes when they are asked for.
//! - [`forwarding`]: a forwarder in the background, and what fails in it.
//! - [`local`]: what tests make of the relay inside of their program.
//! - [`log`]: what the library logs, in a bounded queue that one thread of the host drains.
//! - [`returns`]: what comes one after the other, of which nothing is lost on the way to the host, and [`following`]: objects that are
//!   asked for it.
//! - [`facts`]: what happens, as records.
//! - [`turns`]: what one caller uses at a time, and [`once`]: what one uses up.
//! - [`errors`]: the one table of codes, names and texts.
//!
//! Nothing here knows a language, and nothing in a language knows tokio.
#![allow(clippy::disallowed_methods)] // A host's threads wait in real time.

pub mod background;
pub mod call;
mod calls;
pub mod errors;
pub mod facts;
pub mod following;
pub mod forwarding;
pub mod handles;
pub mod http;
pub mod http_head;
pub mod local;
pub mod log;
pub mod once;
pub mod operation;
pub mod options;
pub mod process;
pub mod pump;
pub mod queue;
pub mod returns;
pub mod runtime;
mod signal;
pub mod stream;
#[cfg(feature = "test-hooks")]
pub mod test_hooks;
pub mod token;
pub mod turns;

pub use errors::{Code, Failure};

/// The SDK, so that a binding has one dependency.
pub use hybridrelay as core;
/// The relay, for the same reason.
pub use hybridrelay_relay as relay;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also behind a panic: what is behind these locks is whole at any time.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
