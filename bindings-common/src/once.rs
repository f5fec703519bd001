//! Objects that one call uses up.

use std::sync::Mutex;

use hybridrelay::{Error, ErrorKind};

use crate::errors::{Failure, Result};
use crate::lock;
use crate::process::Owned;

/// An object that may be looked at until one call takes it: a sender that is answered once, a responder, a body.
pub struct Once<T>(Owned<Mutex<Option<T>>>);

impl<T> Once<T> {
    /// Takes it in.
    pub fn new(object: T) -> Self {
        Self(Owned::new(Mutex::new(Some(object))))
    }

    /// Takes it out.
    ///
    /// # Errors
    ///
    /// `CLOSED` if it was taken before, `FORKED` in a child.
    pub fn take(&self) -> Result<T> {
        lock(self.0.get()?).take().ok_or_else(used_up)
    }

    /// Looks at it.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Result<R> {
        lock(self.0.get()?).as_ref().map(look).ok_or_else(used_up)
    }
}

fn used_up() -> Failure {
    Failure::Core(Error::new(ErrorKind::Closed, "it was answered already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_gone() {
        let once = Once::new("a responder");
        assert_eq!(once.look(|object| object.len()).expect("it is there"), 11);
        assert_eq!(once.take().expect("it is there"), "a responder");
        for gone in [once.take().map(drop), once.look(|_| ())] {
            let failure = gone.expect_err("it is gone");
            assert_eq!(failure.core().map(Error::kind), Some(ErrorKind::Closed));
        }
    }
}
