//! Buffers that a thread lends for the time of one poll.
//!
//! A pair takes one just before it reads. If nothing has come the buffer goes back at once, and if everything read could
//! be written, right after that; only what the other side does not take keeps it. So ten thousand idle pairs share one
//! buffer of each size per thread.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

/// Room in front of what is read, for a fragment's header (at most ten bytes) that the incoming bytes do not hold. A whole line, so that
/// what is read begins on one.
pub(crate) const HEADROOM: usize = LINE;

/// What is read at once: seven records of TLS, or of plain frames more than one may have left to pass as a whole. The cost of a system
/// call and of waking whoever reads is shared by more bytes than in 64 KiB, which also leave a few bytes for a second packet on loopback;
/// more would gain little, and a stalled direction holds one buffer.
pub(crate) const CAPACITY: usize = 112 * 1024;

/// What is read ahead of TLS at once: about a record. A stalled direction holds one of these beside the other.
pub(crate) const AHEAD: usize = 16 * 1024;

/// Buffers begin on a line of the cache: the kernel copies into them faster.
const LINE: usize = 64;

/// How many buffers of a size a thread keeps at rest: enough for pairs that come out of a stall together.
const SPARE: usize = 16;

type Spare = LocalKey<RefCell<Vec<Box<[u8]>>>>;

thread_local! {
    static WHOLE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static SHORT: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with arbitrary content. Dropping gives it back.
///
/// Nothing but a pointer and a length: an idle pair has room for several of these.
pub(crate) struct Lease(Box<[u8]>);

/// Borrows [`HEADROOM`] and [`CAPACITY`] bytes from this thread.
pub(crate) fn lease() -> Lease {
    Lease::new(HEADROOM + CAPACITY)
}

/// Borrows [`AHEAD`] bytes from this thread.
pub(crate) fn lease_ahead() -> Lease {
    Lease::new(AHEAD)
}

/// Where a thread keeps buffers that hold so many bytes.
fn spare(len: usize) -> &'static Spare {
    if len == AHEAD { &SHORT } else { &WHOLE }
}

impl Lease {
    fn new(len: usize) -> Self {
        #[cfg(test)]
        leased::add(1);
        Self(spare(len).with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; len + LINE].into_boxed_slice()))
    }

    fn len(&self) -> usize {
        self.0.len().saturating_sub(LINE)
    }

    /// Where the first line begins.
    fn start(&self) -> usize {
        self.0.as_ptr().align_offset(LINE)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        #[cfg(test)]
        leased::add(-1);
        let spare = spare(self.len());
        let buffer = std::mem::take(&mut self.0);
        // While a thread ends its pool may be gone already; then the buffer is simply freed.
        let _ = spare.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE {
                spare.push(buffer);
            }
        });
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.start();
        &self.0[start..start + self.len()]
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.start(), self.len());
        &mut self.0[start..start + len]
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
