//! Sequences of which nothing is lost: what was taken for a program that does not take it over goes back.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{MutexGuard, Notify};

use crate::errors::Result;
use crate::lock;

/// What an object yields, one after the other. What was [taken](Taken) and is dropped unkept comes again, before everything that has come
/// later. Nobody waits meanwhile: whoever asks next gets what comes next.
pub struct Returns<T> {
    shared: Arc<Shared<T>>,
    /// How many were taken of what the object yielded. Only whoever has the turn counts.
    taken: AtomicU64,
    /// Of whoever waits for the next.
    turn: tokio::sync::Mutex<()>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Whether something may have gone back, for those who mostly find nothing and need no lock to learn it.
    any_back: AtomicBool,
    came_back: Notify,
}

struct State<T> {
    back: BTreeMap<Place, T>,
    ended: bool,
}

/// The number of a value, and where in it a part begins.
type Place = (u64, usize);

/// What has come to whoever waited.
pub(crate) enum Came<T, M> {
    /// What had gone back.
    Back(Taken<T>),
    /// What the object yields.
    More(M),
}

impl<T> Returns<T> {
    /// A sequence that begins with these.
    pub fn new(first: impl IntoIterator<Item = T>) -> Self {
        let back: BTreeMap<_, _> = (0..).map(|number| (number, 0)).zip(first).collect();
        let (taken, any_back) = (AtomicU64::new(back.len() as u64), AtomicBool::new(!back.is_empty()));
        let state = Mutex::new(State { back, ended: false });
        let shared = Arc::new(Shared { state, any_back, came_back: Notify::new() });
        Self { shared, taken, turn: tokio::sync::Mutex::default() }
    }

    /// The next: what has gone back, else what `more` yields. Cancel-safe, if that is.
    ///
    /// # Errors
    ///
    /// Those of `more`.
    pub async fn next(&self, more: impl Future<Output = Result<Option<T>>>) -> Result<Option<Taken<T>>> {
        let turn = self.turn().await;
        match self.first_or(more).await {
            Came::Back(taken) => Ok(Some(taken)),
            Came::More(more) => Ok(more?.map(|value| self.number(&turn, value))),
        }
    }

    /// The same for what has no end, and whose failures are values that must not be lost either.
    pub async fn next_of(&self, more: impl Future<Output = T>) -> Taken<T> {
        let turn = self.turn().await;
        match self.first_or(more).await {
            Came::Back(taken) => taken,
            Came::More(value) => self.number(&turn, value),
        }
    }

    /// The next, for whoever has it at once and gives nothing back. Cancel-safe, if `more` is, which is asked by as many at a time as call
    /// this.
    ///
    /// # Errors
    ///
    /// Those of `more`.
    pub async fn take(&self, more: impl Future<Output = Result<Option<T>>>) -> Result<Option<T>> {
        match self.first_or(more).await {
            Came::Back(taken) => Ok(Some(taken.keep())),
            Came::More(more) => more,
        }
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        // Mostly there is nobody to wait for, and to ask is cheaper than to wait. Whoever waits already comes first all the same.
        match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => self.turn.lock().await,
        }
    }

    /// What has gone back, or goes back before `more` ends.
    pub(crate) async fn first_or<M>(&self, more: impl Future<Output = M>) -> Came<T, M> {
        let mut more = pin!(more);
        loop {
            if let Some(taken) = self.first() {
                return Came::Back(taken);
            }
            // Mostly it is there, and nobody need be told what goes back meanwhile.
            if let Some(more) = more.as_mut().now_or_never() {
                return Came::More(more);
            }
            tokio::select! {
                biased;
                // What went back since we looked has left a mark here.
                () = self.shared.came_back.notified() => {}
                more = &mut more => return Came::More(more),
            }
        }
    }

    /// Takes out what has gone back, for whoever goes on in another way.
    pub fn left(&self) -> Vec<T> {
        let mut state = lock(&self.shared.state);
        self.shared.any_back.store(false, Ordering::Release);
        std::mem::take(&mut state.back).into_values().collect()
    }

    /// Drops what has gone back, and what goes back from now on.
    pub fn end(&self) {
        lock(&self.shared.state).ended = true;
        drop(self.left());
    }

    fn first(&self) -> Option<Taken<T>> {
        if !self.shared.any_back.load(Ordering::Acquire) {
            return None;
        }
        let mut state = lock(&self.shared.state);
        let (place, value) = state.back.pop_first()?;
        let others = !state.back.is_empty();
        self.shared.any_back.store(others, Ordering::Release);
        drop(state);
        if others {
            // Of several that came back, and several that wait, only one may have been told.
            self.shared.came_back.notify_one();
        }
        Some(Taken { value: Some(value), place, home: self.shared.clone() })
    }

    fn number(&self, _turn: &MutexGuard<'_, ()>, value: T) -> Taken<T> {
        let number = self.taken.load(Ordering::Relaxed);
        self.taken.store(number + 1, Ordering::Relaxed);
        Taken { value: Some(value), place: (number, 0), home: self.shared.clone() }
    }
}

impl<T> Default for Returns<T> {
    fn default() -> Self {
        Self::new([])
    }
}

/// A value on its way to the program. It goes back when it is dropped.
pub struct Taken<T> {
    value: Option<T>,
    place: Place,
    home: Arc<Shared<T>>,
}

impl<T> Taken<T> {
    /// The program has it.
    pub fn keep(mut self) -> T {
        self.value.take().expect("only this and the drop take it")
    }
}

impl Taken<Bytes> {
    /// The first `max` bytes at most; the rest goes back.
    pub(crate) fn at_most(mut self, max: usize) -> Self {
        if let Some(bytes) = self.value.as_mut().filter(|bytes| bytes.len() > max) {
            let rest = bytes.split_off(max);
            self.home.put((self.place.0, self.place.1 + max), rest);
        }
        self
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.home.put(self.place, value);
        }
    }
}

impl<T> Shared<T> {
    fn put(&self, place: Place, value: T) {
        let mut state = lock(&self.state);
        if state.ended {
            drop(state);
            return drop(value);
        }
        state.back.insert(place, value);
        self.any_back.store(true, Ordering::Release);
        drop(state);
        self.came_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn next<T>(returns: &Returns<T>, more: T) -> Taken<T> {
        let next = returns.next(ready(Ok(Some(more)))).now_or_never().expect("it is there");
        next.expect("no failure").expect("no end")
    }

    #[test]
    fn what_goes_back_comes_again_in_its_order_whatever_was_dropped_first() {
        let returns = Returns::default();
        let (one, two, three) = (next(&returns, 1), next(&returns, 2), next(&returns, 3));
        drop(two);
        assert_eq!(next(&returns, 4).keep(), 2);
        drop(three);
        drop(one);
        assert_eq!([next(&returns, 4).keep(), next(&returns, 4).keep(), next(&returns, 4).keep()], [1, 3, 4]);
        let end = returns.next(ready(Ok(None))).now_or_never().expect("it is there");
        assert!(end.expect("no failure").is_none());
    }

    #[test]
    fn a_failure_is_a_value_that_goes_back_as_well() {
        let returns = Returns::default();
        let next = |more| returns.next_of(ready(more)).now_or_never().expect("it is there");
        let (one, failed) = (next(Ok(1)), next(Err("broken")));
        drop((failed, one));
        assert_eq!([next(Ok(2)).keep(), next(Ok(2)).keep(), next(Ok(2)).keep()], [Ok(1), Err("broken"), Ok(2)]);
    }

    #[test]
    fn whoever_waits_already_gets_what_goes_back() {
        let returns = Returns::default();
        let one = next(&returns, 1);
        let mut waits = Box::pin(returns.next(pending()));
        assert!((&mut waits).now_or_never().is_none());
        drop(one);
        let taken = waits.now_or_never().expect("it is there").expect("no failure").expect("no end");
        assert_eq!(taken.keep(), 1);
    }

    #[test]
    fn whoever_gives_nothing_back_gets_what_others_did() {
        let returns = Returns::default();
        drop(next(&returns, 1));
        let took = |more| returns.take(ready(Ok(more))).now_or_never().expect("it is there").expect("no failure");
        assert_eq!([took(Some(2)), took(Some(2)), took(None)], [Some(1), Some(2), None]);
    }

    #[test]
    fn several_that_wait_get_what_went_back_at_once() {
        let returns = Returns::default();
        let taken = [next(&returns, 1), next(&returns, 2), next(&returns, 3)];
        let mut waits = [(); 3].map(|()| Box::pin(returns.take(pending())));
        for waits in &mut waits {
            assert!(waits.now_or_never().is_none());
        }
        drop(taken);
        let mut got = waits.map(|waits| waits.now_or_never().expect("it is there").expect("no failure"));
        got.sort();
        assert_eq!(got, [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn the_rest_of_a_part_goes_back_and_so_may_the_part() {
        let returns = Returns::new([Bytes::from_static(b"begun")]);
        let part = next(&returns, Bytes::new()).at_most(2);
        let rest = next(&returns, Bytes::new());
        drop((rest, part));
        assert_eq!(next(&returns, Bytes::new()).keep(), "be");
        assert_eq!(next(&returns, Bytes::new()).at_most(9).keep(), "gun");
        assert!(returns.left().is_empty());
    }

    #[test]
    fn nothing_goes_back_to_what_has_ended() {
        let value = Arc::new(());
        let returns = Returns::new([value.clone(), value.clone()]);
        let taken = next(&returns, value.clone());
        returns.end();
        assert_eq!(Arc::strong_count(&value), 2, "the one that is taken is alive");
        drop(taken);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
