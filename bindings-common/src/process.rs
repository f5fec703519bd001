//! State of a process, and not of the one that it was forked from.
//!
//! After a fork the child has a copy of everything, and none of the threads that took care of it: a lock may be held by nobody, a
//! runtime run by nobody. So the child leaves that alone and begins with state of its own.

use std::fmt;
use std::sync::OnceLock;

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
        let pid = std::process::id();
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
        Self(std::process::id())
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
