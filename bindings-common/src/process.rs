//! State of a process, and not of the one that it was forked from.
//!
//! After a fork the child has a copy of everything, and none of the threads that took care of it: a lock may be held by nobody, a
//! runtime run by nobody. So the child leaves that alone and begins with state of its own.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::errors::{Code, Failure, Result};

/// One `T` for each process that uses it, made when it is first asked for.
///
/// Nobody waits for a thread that makes it: a child does not have that thread. So two that ask at once may both make one, of which the
/// second is dropped.
pub struct PerProcess<T> {
    /// NULL, or a `Box` that goes with this.
    first: AtomicPtr<Link<T>>,
    /// It may cross threads as what is written once may.
    _owns: PhantomData<OnceLock<T>>,
}

struct Link<T> {
    process: u64,
    value: T,
    /// That of the children.
    next: PerProcess<T>,
}

impl<T: Default> PerProcess<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { first: AtomicPtr::new(ptr::null_mut()), _owns: PhantomData }
    }

    /// This process's, and how many processes before it had one.
    pub fn get(&self) -> (&T, usize) {
        let process = id();
        let mut depth = 0;
        let mut at = self;
        loop {
            let link = at.link(process);
            if link.process == process {
                return (&link.value, depth);
            }
            at = &link.next;
            depth += 1;
        }
    }

    /// The first, which is that of `process` if there was none.
    #[allow(unsafe_code)] // Nothing safe is written once without a lock.
    fn link(&self, process: u64) -> &Link<T> {
        let mut link = self.first.load(Ordering::Acquire);
        if link.is_null() {
            link = self.begin(process);
        }
        // SAFETY: it came from a `Box`, is written no more, and is freed when `self` is dropped.
        unsafe { &*link }
    }

    #[cold]
    #[allow(unsafe_code)] // As above.
    fn begin(&self, process: u64) -> *mut Link<T> {
        let made = Box::into_raw(Box::new(Link { process, value: T::default(), next: Self::new() }));
        match self.first.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(first) => {
                // SAFETY: made above, and nobody else knows of it.
                drop(unsafe { Box::from_raw(made) });
                first
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    #[allow(unsafe_code)] // As above.
    fn drop(&mut self) {
        let first = *self.first.get_mut();
        if !first.is_null() {
            // SAFETY: it came from a `Box`, and what was borrowed from it has ended.
            drop(unsafe { Box::from_raw(first) });
        }
    }
}

/// This process, among all that it was forked from: how many forks lie between. Its pid may have been that of one of them, which is dead.
fn id() -> u64 {
    /// Nobody has asked yet.
    const UNKNOWN: u64 = 0;
    /// The system does not tell of forks, for want of memory.
    const UNTOLD: u64 = u64::MAX;
    static ID: AtomicU64 = AtomicU64::new(UNKNOWN);

    #[cold]
    #[allow(unsafe_code)] // Nothing safe tells of a fork.
    fn ask() {
        #[cfg(unix)]
        let is_told = {
            extern "C" fn count() {
                // Nobody else is there in a child.
                if ID.load(Ordering::Relaxed) != UNTOLD {
                    ID.fetch_add(1, Ordering::Relaxed);
                }
            }
            // SAFETY: the function only writes an atomic, which is allowed behind a fork, and stays for as long as this library.
            unsafe { libc::pthread_atfork(None, None, Some(count)) == 0 }
        };
        #[cfg(not(unix))]
        let is_told = true;
        // Another thread may have asked as well. Then each fork counts twice, which is no harm, and nobody has waited.
        let id = if is_told { UNKNOWN + 1 } else { UNTOLD };
        let _ = ID.compare_exchange(UNKNOWN, id, Ordering::Relaxed, Ordering::Relaxed);
    }

    if ID.load(Ordering::Relaxed) == UNKNOWN {
        ask();
    }
    match ID.load(Ordering::Relaxed) {
        UNTOLD => std::process::id().into(),
        id => id,
    }
}

impl<T: Default> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// In which process something was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth(u64);

impl Birth {
    /// This process.
    pub fn here() -> Self {
        Self(id())
    }

    /// Fails for what was made before a fork.
    ///
    /// # Errors
    ///
    /// `FORKED`.
    pub fn check(self) -> Result<()> {
        if self == Self::here() { Ok(()) } else { Err(forked()) }
    }
}

/// An object that a child neither uses nor drops: it belongs to tasks that only the parent has, and to sockets that the parent goes on
/// using.
pub struct Owned<T> {
    /// `None` only while it is dropped.
    object: Option<T>,
    birth: Birth,
}

impl<T> Owned<T> {
    /// Of this process.
    pub fn new(object: T) -> Self {
        Self { object: Some(object), birth: Birth::here() }
    }

    /// The object.
    ///
    /// # Errors
    ///
    /// `FORKED` in a child.
    pub fn get(&self) -> Result<&T> {
        self.birth.check()?;
        self.object.as_ref().ok_or_else(forked)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.birth.check().is_err() {
            std::mem::forget(self.object.take());
        }
    }
}

impl<T> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("birth", &self.birth).finish_non_exhaustive()
    }
}

/// What is said of something from before a fork.
pub(crate) fn forked() -> Failure {
    Failure::new(
        Code::FORKED,
        "the object was made before a fork and cannot be used in the child: make a new one there",
    )
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_another_process() {
        use nix::sys::wait::{WaitStatus, waitpid};
        use nix::unistd::{ForkResult, fork};
        let birth = Birth::here();
        birth.check().expect("the same process");
        // SAFETY: the child only reads and writes an atomic, and ends.
        #[allow(unsafe_code)]
        match unsafe { fork() }.expect("a child") {
            // SAFETY: ends the child, and runs nothing of the parent's.
            ForkResult::Child => unsafe { libc::_exit(i32::from(birth.check().is_ok() || Birth::here() == birth)) },
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).expect("its end"), WaitStatus::Exited(child, 0));
            }
        }
        birth.check().expect("still the same process");
    }

    #[test]
    fn a_child_neither_uses_nor_drops_what_its_parent_owns() {
        struct Loud;
        impl Drop for Loud {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        let here = Owned::new(7);
        assert_eq!(here.get().expect("this process"), &7);
        let parents = Owned { object: Some(Loud), birth: Birth(id() + 1) };
        assert_eq!(parents.get().map(drop).expect_err("another process").code(), Code::FORKED);
        drop(parents);
    }
}
