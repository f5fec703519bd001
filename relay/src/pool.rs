//! Buffers that a thread lends for the time of one poll.
//!
//! A pair takes one just before it reads. If nothing has come the buffer goes back at once, and if everything read could
//! be written, right after that; only what the other side does not take keeps it. So ten thousand idle pairs share one
//! buffer per thread.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Room in front of what is read, for a fragment's header (at most ten bytes) that the incoming bytes do not hold.
pub(crate) const HEADROOM: usize = 16;

/// What is read at once: seven records of TLS, or of plain frames more than one may have left to pass as a whole. The cost of a system
/// call and of waking whoever reads is shared by more bytes than in 64 KiB, which also leave a few bytes for a second packet on loopback;
/// more would gain little, and a stalled direction holds one buffer.
pub(crate) const CAPACITY: usize = 112 * 1024;

/// How many buffers a thread keeps at rest: enough for pairs that come out of a stall together.
const SPARE: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`HEADROOM`] and [`CAPACITY`] bytes with arbitrary content. Dropping gives it back.
pub(crate) struct Lease(Box<[u8]>);

/// Borrows a buffer from this thread.
pub(crate) fn lease() -> Lease {
    #[cfg(test)]
    leased::add(1);
    let spare = POOL.with_borrow_mut(Vec::pop);
    Lease(spare.unwrap_or_else(|| vec![0; HEADROOM + CAPACITY].into_boxed_slice()))
}

impl Drop for Lease {
    fn drop(&mut self) {
        #[cfg(test)]
        leased::add(-1);
        let buffer = std::mem::take(&mut self.0);
        // While a thread ends its pool may be gone already; then the buffer is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < SPARE {
                pool.push(buffer);
            }
        });
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// How many buffers this thread has lent and not got back.
#[cfg(test)]
pub(crate) mod leased {
    use std::cell::Cell;

    thread_local! {
        static LEASED: Cell<isize> = const { Cell::new(0) };
    }

    pub(crate) fn count() -> isize {
        LEASED.get()
    }

    pub(super) fn add(change: isize) {
        let _ = LEASED.try_with(|leased| leased.set(leased.get() + change));
    }
}
