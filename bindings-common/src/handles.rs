//! What crosses the boundary instead of pointers: a number that names an object, and only it.
//!
//! 8 bits tell the kind, 8 the process, 24 the generation and 24 the place in a table. A place that is used again has another
//! generation, so a handle that outlives its object leads to an error; a place whose generations are used up is used no more. A handle
//! from before a fork names another process.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hybridrelay::ErrorKind;

use crate::errors::{Code, Failure, Result};
use crate::lock;
use crate::process::{PerProcess, forked};

mod consumed;

pub use consumed::Consumed;

/// Names an object at the boundary. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

const GENERATIONS: u32 = 1 << 24;
const PLACES: usize = 1 << 24;

/// The objects of one kind.
///
/// A binding has one static table for each kind; objects are cheap to clone, such as an `Arc`.
pub struct Table<T> {
    kind: u8,
    /// With its article, for errors: "a connection".
    name: &'static str,
    slots: PerProcess<Mutex<Slots<T>>>,
}

struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
    live: usize,
}

struct Slot<T> {
    generation: u32,
    object: Option<T>,
}

impl<T: Clone> Table<T> {
    /// An empty table. `kind` is not 0, and no two tables have the same.
    pub const fn new(kind: u8, name: &'static str) -> Self {
        assert!(kind != 0, "0 is no kind, so that 0 is no handle");
        Self { kind, name, slots: PerProcess::new() }
    }

    /// Takes an object in.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if there are 16 million.
    pub fn insert(&self, object: T) -> Result<Handle> {
        let (slots, process) = self.slots.get();
        let mut table = lock(slots);
        let (index, generation) = match table.free.pop() {
            Some(index) => {
                let slot = &mut table.slots[index];
                slot.object = Some(object);
                (index, slot.generation)
            }
            None if table.slots.len() < PLACES => {
                table.slots.push(Slot { generation: 0, object: Some(object) });
                (table.slots.len() - 1, 0)
            }
            None => return Err(Failure::new(Code::of(ErrorKind::Internal), "there are too many objects")),
        };
        table.live += 1;
        let bits = |value: usize, shift: u32| (value as u64) << shift;
        Ok(Handle(
            bits(self.kind.into(), 56) | bits(process & 0xFF, 48) | bits(generation as usize, 24) | bits(index, 0),
        ))
    }

    /// The object of a handle.
    ///
    /// # Errors
    ///
    /// `INVALID_HANDLE` if it names none of this table, `FORKED` if it was made before a fork.
    pub fn get(&self, handle: Handle) -> Result<T> {
        let (slots, process) = self.slots.get();
        let place = self.place(handle, process)?;
        let table = lock(slots);
        table.slot(place).cloned().ok_or_else(|| self.gone())
    }

    /// Takes an object out, and with it its handle. The caller drops it, outside of the table's lock.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get). What was made before a fork stays with the parent.
    pub fn remove(&self, handle: Handle) -> Result<T> {
        let (slots, process) = self.slots.get();
        let (index, generation) = self.place(handle, process)?;
        let mut table = lock(slots);
        if table.slot((index, generation)).is_none() {
            return Err(self.gone());
        }
        let slot = &mut table.slots[index];
        let object = slot.object.take();
        slot.generation += 1;
        if slot.generation < GENERATIONS {
            table.free.push(index);
        }
        table.live -= 1;
        object.ok_or_else(|| self.gone())
    }

    /// How many objects are there.
    pub fn live(&self) -> usize {
        lock(self.slots.get().0).live
    }

    /// Adds the number of objects to a list by name, for [`live_handles`].
    fn count(&self, counts: &mut BTreeMap<&'static str, usize>) {
        counts.insert(self.name, self.live());
    }

    fn place(&self, handle: Handle, process: usize) -> Result<(usize, u32)> {
        let bits = |shift: u32, bits: u32| (handle.0 >> shift) as usize & ((1 << bits) - 1);
        if handle.0 == 0 {
            return Err(Failure::new(Code::INVALID_HANDLE, format!("the handle is 0 where {} is wanted", self.name)));
        }
        if bits(56, 8) != usize::from(self.kind) {
            return Err(Failure::new(Code::INVALID_HANDLE, format!("the handle is not that of {}", self.name)));
        }
        if bits(48, 8) != process & 0xFF {
            return Err(forked());
        }
        Ok((bits(0, 24), bits(24, 24) as u32))
    }

    fn gone(&self) -> Failure {
        Failure::new(Code::INVALID_HANDLE, format!("the handle is that of {} that was closed or released", self.name))
    }
}

impl<T> Slots<T> {
    fn slot(&self, (index, generation): (usize, u32)) -> Option<&T> {
        let slot = self.slots.get(index)?;
        slot.object.as_ref().filter(|_| slot.generation == generation)
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), live: 0 }
    }
}

/// A table whose objects can be counted, whatever they are.
pub trait Counted: Sync {
    /// Adds the number of objects by the name of their kind.
    fn count_into(&self, counts: &mut BTreeMap<&'static str, usize>);
}

impl<T: Clone + Send + Sync> Counted for Table<T> {
    fn count_into(&self, counts: &mut BTreeMap<&'static str, usize>) {
        self.count(counts);
    }
}

/// How many objects of each kind are alive.
pub fn live_handles(tables: &[&dyn Counted]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    tables.iter().for_each(|table| table.count_into(&mut counts));
    counts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    static CATS: Table<Arc<str>> = Table::new(1, "a cat");
    static DOGS: Table<Arc<str>> = Table::new(2, "a dog");

    #[test]
    fn a_handle_leads_to_its_object_and_to_no_other() {
        let tom = CATS.insert("Tom".into()).expect("room");
        assert_eq!(&*CATS.get(tom).expect("there"), "Tom");
        for (outcome, text) in [
            (DOGS.get(tom), "the handle is not that of a dog"),
            (CATS.get(Handle(0)), "the handle is 0 where a cat is wanted"),
            (CATS.get(Handle(tom.0 + 1000)), "the handle is that of a cat that was closed or released"),
        ] {
            let failure = outcome.expect_err("no such handle");
            assert_eq!((failure.code(), failure.to_string().as_str()), (Code::INVALID_HANDLE, text));
        }
        assert_eq!(live_handles(&[&CATS, &DOGS]), BTreeMap::from([("a cat", 1), ("a dog", 0)]));
        assert_eq!(&*CATS.remove(tom).expect("there"), "Tom");
        assert!(CATS.remove(tom).is_err() && CATS.get(tom).is_err(), "twice is an error");
        let next = CATS.insert("Felix".into()).expect("room");
        assert_eq!(next.0 & 0xFF_FFFF, tom.0 & 0xFF_FFFF, "the place is used again");
        assert_ne!(next, tom);
        assert!(CATS.get(tom).is_err(), "the old handle leads nowhere");
        CATS.remove(next).expect("there");
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_used_no_more() {
        let table = Table::new(3, "a bird");
        let first = table.insert(()).expect("room");
        lock(table.slots.get().0).slots[0].generation = GENERATIONS - 1;
        let last = Handle(first.0 | u64::from(GENERATIONS - 1) << 24);
        table.remove(last).expect("the last generation");
        assert_eq!(table.insert(()).expect("room").0 & 0xFF_FFFF, 1);
    }
}
