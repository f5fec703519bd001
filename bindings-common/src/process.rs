//! State of a process, and not of the one that it was forked from.
//!
//! After a fork the child has a copy of everything, and none of the threads that took care of it: a lock may be held by nobody, a
//! runtime run by nobody. So the child leaves that alone and begins with state of its own.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::errors::{Code, Failure, Result};

/// One `T` for each process that uses it, made when it is first asked for.
pub struct PerProcess<T>(OnceLock<Box<Link<T>>>);

struct Link<T> {
    pid: u32,
    value: T,
    /// That of the children.
    next: PerProcess<T>,
}

impl<T: Default> PerProcess<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// This process's, and how many processes before it had one.
    pub fn get(&self) -> (&T, usize) {
        let pid = id();
        let mut depth = 0;
        let mut at = self;
        loop {
            let link = at.0.get_or_init(|| Box::new(Link { pid, value: T::default(), next: Self::new() }));
            if link.pid == pid {
                return (&link.value, depth);
            }
            at = &link.next;
            depth += 1;
        }
    }
}

/// This process, without a system call each time, of which every call of a binding would make several.
fn id() -> u32 {
    /// 0 until it is asked for, and again in a child.
    static ID: AtomicU32 = AtomicU32::new(0);

    #[cold]
    #[allow(unsafe_code)] // Nothing safe tells of a fork.
    fn ask() -> u32 {
        #[cfg(unix)]
        {
            extern "C" fn forget() {
                ID.store(0, Ordering::Relaxed);
            }
            static HEARS_OF_FORKS: OnceLock<bool> = OnceLock::new();
            // SAFETY: the function only writes an atomic, which is allowed behind a fork, and stays for as long as this library.
            let hears = *HEARS_OF_FORKS.get_or_init(|| unsafe { libc::pthread_atfork(None, None, Some(forget)) } == 0);
            if !hears {
                return std::process::id();
            }
        }
        let id = std::process::id();
        ID.store(id, Ordering::Relaxed);
        id
    }

    match ID.load(Ordering::Relaxed) {
        0 => ask(),
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
pub struct Birth(u32);

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
        let parents = Owned { object: Some(Loud), birth: Birth(std::process::id() + 1) };
        assert_eq!(parents.get().map(drop).expect_err("another process").code(), Code::FORKED);
        drop(parents);
    }
}
