//! Objects that one call uses up.

use std::sync::Mutex;

use hybridrelay::{Error, ErrorKind};

use crate::errors::{Failure, Result};
use crate::lock;
use crate::process::Owned;

/// An object that may be looked at until one call takes it: a sender that is answered once, a responder, a body.
pub struct Once<T> {
    object: Owned<Mutex<Option<T>>>,
    /// What is said of one that is gone.
    gone: &'static str,
}

impl<T> Once<T> {
    /// Takes in what is answered.
    pub fn new(object: T) -> Self {
        Self::until(object, "it was answered already")
    }

    /// Takes in what ends in another way: `gone` says how, once it has.
    pub fn until(object: T, gone: &'static str) -> Self {
        Self { object: Owned::new(Mutex::new(Some(object))), gone }
    }

    /// Takes it out.
    ///
    /// # Errors
    ///
    /// `CLOSED` if it was taken before, `FORKED` in a child.
    pub fn take(&self) -> Result<T> {
        lock(self.object.get()?).take().ok_or_else(|| self.used_up())
    }

    /// Looks at it.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Result<R> {
        lock(self.object.get()?).as_ref().map(look).ok_or_else(|| self.used_up())
    }

    fn used_up(&self) -> Failure {
        Failure::Core(Error::new(ErrorKind::Closed, self.gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_gone() {
        let once = Once::until("a responder", "it is gone");
        assert_eq!(once.look(|object| object.len()).expect("it is there"), 11);
        assert_eq!(once.take().expect("it is there"), "a responder");
        for gone in [once.take().map(drop), once.look(|_| ())] {
            let failure = gone.expect_err("it is gone");
            assert_eq!(failure.core().map(Error::kind), Some(ErrorKind::Closed));
            assert!(failure.to_string().contains("it is gone"), "{failure}");
        }
    }
}
