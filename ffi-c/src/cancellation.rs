//! `pthread_cancel` of a thread that is in a call.
//!
//! It would unwind the thread from wherever it waits or makes another system call, through functions of Rust, which ends the process. So
//! it has its effect behind the call.

use std::ffi::c_int;

/// While it lives, this thread is not cancelled.
pub(crate) struct Uncancelled {
    before: c_int,
}

impl Uncancelled {
    pub(crate) fn new() -> Self {
        Self { before: set_state(DISABLE) }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        // A thread is cancelled at its next cancellation point, which this is not.
        set_state(self.before);
    }
}

/// `PTHREAD_CANCEL_DISABLE`.
const DISABLE: c_int = if cfg!(target_vendor = "apple") { 0 } else { 1 };

/// Returns what it was before.
#[cfg(all(unix, not(target_os = "android")))]
fn set_state(state: c_int) -> c_int {
    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }
    let mut before = state;
    // SAFETY: it concerns this thread alone, and writes one number. It fails only for a state that there is not.
    unsafe { pthread_setcancelstate(state, &raw mut before) };
    before
}

/// Threads are not cancelled here.
#[cfg(not(all(unix, not(target_os = "android"))))]
fn set_state(state: c_int) -> c_int {
    state
}
