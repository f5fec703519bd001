//! Objects that a call uses up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{Counted, Handle, Table};
use crate::errors::Result;
use crate::lock;

/// The objects of one kind of which each is used up by one call: whoever takes it out has it alone, and a second use is an error.
///
/// Objects need not be clonable. Looking at one never holds the lock of the whole table.
pub struct Consumed<T>(Table<Place<T>>);

/// `None` once it was taken, for whoever looked it up before.
type Place<T> = Arc<Mutex<Option<T>>>;

impl<T> Consumed<T> {
    /// An empty table. `kind` is as for [`Table::new`].
    pub const fn new(kind: u8, name: &'static str) -> Self {
        Self(Table::new(kind, name))
    }

    /// Takes an object in.
    ///
    /// # Errors
    ///
    /// As [`Table::insert`].
    pub fn insert(&self, object: T) -> Result<Handle> {
        self.0.insert(Arc::new(Mutex::new(Some(object))))
    }

    /// Takes an object out for good, and with it its handle.
    ///
    /// # Errors
    ///
    /// As [`Table::remove`].
    pub fn take(&self, handle: Handle) -> Result<T> {
        let place = self.0.remove(handle)?;
        let object = lock(&place).take();
        object.ok_or_else(|| self.0.gone())
    }

    /// Looks at an object, quickly.
    ///
    /// # Errors
    ///
    /// As [`Table::get`].
    pub fn with<R>(&self, handle: Handle, look: impl FnOnce(&T) -> R) -> Result<R> {
        let place = self.0.get(handle)?;
        let object = lock(&place);
        object.as_ref().map(look).ok_or_else(|| self.0.gone())
    }

    /// Makes another object of one, or none; its handle stays. If the change panics, the object is gone.
    ///
    /// # Errors
    ///
    /// As [`Table::get`].
    pub fn change<R>(&self, handle: Handle, change: impl FnOnce(T) -> (Option<T>, R)) -> Result<R> {
        let place = self.0.get(handle)?;
        let mut object = lock(&place);
        let (changed, outcome) = change(object.take().ok_or_else(|| self.0.gone())?);
        *object = changed;
        Ok(outcome)
    }
}

impl<T: Send> Counted for Consumed<T> {
    fn count_into(&self, counts: &mut BTreeMap<&'static str, usize>) {
        self.0.count(counts);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::errors::Code;

    static TICKETS: Consumed<String> = Consumed::new(4, "a ticket");

    #[test]
    fn of_many_that_take_an_object_one_gets_it() {
        let ticket = TICKETS.insert("row 7".into()).expect("room");
        assert_eq!(TICKETS.with(ticket, String::len).expect("there"), 5);
        assert_eq!(TICKETS.change(ticket, |text| (Some(text + "a"), 1)).expect("there"), 1);
        let together = Barrier::new(8);
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        TICKETS.take(ticket)
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic").ok()).collect::<Vec<_>>()
        });
        assert_eq!(taken, ["row 7a"]);
        let failure = TICKETS.with(ticket, |_| ()).expect_err("gone");
        assert_eq!(failure.code(), Code::INVALID_HANDLE);
        assert!(TICKETS.change(ticket, |text| (Some(text), ())).is_err() && TICKETS.take(ticket).is_err());
    }
}
