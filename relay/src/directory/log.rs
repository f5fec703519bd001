//! What has changed, kept for a while, so that whoever looked away can go on where they were.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::node::lock;

/// How many changes are kept. Whoever is further behind begins anew.
const KEPT: usize = 1_024;

/// How many logs are kept that nobody reads at the moment.
const UNREAD: usize = 256;

/// A place in a log: behind the change of this number. Written `log-number`, in hexadecimal and decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Tells this log from every other, those of an earlier life of the relay included.
    log: u64,
    number: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.log, self.number)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (log, number) = text.split_once('-').ok_or(())?;
        let log = u64::from_str_radix(log, 16).map_err(|_| ())?;
        Ok(Self { log, number: number.parse().map_err(|_| ())? })
    }
}

/// The reader is so far behind that changes are gone which it has not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

/// A log that is written by a directory. Cheap to clone.
#[derive(Debug)]
pub struct Log<C>(Arc<Shared<C>>);

#[derive(Debug)]
struct Shared<C> {
    id: u64,
    kept: Mutex<VecDeque<C>>,
    /// The number of the last change.
    last: watch::Sender<u64>,
}

impl<C: Clone> Log<C> {
    /// An empty log; `id` is random.
    pub fn new(id: u64) -> Self {
        Self(Arc::new(Shared { id, kept: Mutex::default(), last: watch::Sender::new(0) }))
    }

    /// Writes a change.
    pub fn push(&self, change: C) {
        let mut kept = lock(&self.0.kept);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(change);
        self.0.last.send_modify(|last| *last += 1);
    }

    /// Reads what comes from now on.
    pub fn reader(&self) -> Reader<C> {
        let last = self.0.last.subscribe();
        let number = *last.borrow();
        Reader { log: self.0.clone(), last, number }
    }

    /// Reads on behind a position; `None` if it is of another log, or changes behind it are gone.
    pub fn reader_at(&self, position: Position) -> Option<Reader<C>> {
        let last = self.0.last.subscribe();
        let newest = *last.borrow();
        let is_known = position.log == self.0.id && position.number <= newest;
        let reader = is_known.then(|| Reader { log: self.0.clone(), last, number: position.number })?;
        reader.pending().is_ok().then_some(reader)
    }
}

impl<C> Clone for Log<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Reads a log.
#[derive(Debug)]
pub struct Reader<C> {
    log: Arc<Shared<C>>,
    last: watch::Receiver<u64>,
    /// The number of the change that was read last.
    number: u64,
}

impl<C: Clone> Reader<C> {
    /// Behind the change that was read last.
    pub fn position(&self) -> Position {
        Position { log: self.log.id, number: self.number }
    }

    /// Waits for the next change. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Behind`] if it is gone already.
    pub async fn next(&mut self) -> Result<C, Behind> {
        loop {
            if let Some(change) = self.pending()? {
                self.number += 1;
                return Ok(change);
            }
            // The sending end is in the log, which is held here.
            let _ = self.last.changed().await;
        }
    }

    /// The next change, if it is there.
    fn pending(&self) -> Result<Option<C>, Behind> {
        let kept = lock(&self.log.kept);
        let behind = *self.log.last.borrow() - self.number;
        let behind = usize::try_from(behind).map_err(|_| Behind)?;
        let at = kept.len().checked_sub(behind).ok_or(Behind)?;
        Ok(kept.get(at).cloned())
    }
}

/// The logs of a directory: each begins when somebody wants to read it, and is kept for those who come back. Of the logs that nobody
/// reads the one that was asked for longest ago goes first.
#[derive(Debug)]
pub(crate) struct Logs<K, C> {
    logs: BTreeMap<K, Asked<C>>,
    asked: u64,
}

#[derive(Debug)]
struct Asked<C> {
    log: Log<C>,
    /// When it was asked for last, counted in calls.
    at: u64,
}

impl<K: Ord + Clone, C: Clone> Logs<K, C> {
    /// Writes a change, if somebody may read it.
    pub(crate) fn push(&self, key: &K, change: impl FnOnce() -> C) {
        if let Some(asked) = self.logs.get(key) {
            asked.log.push(change());
        }
    }

    /// The log of this key; `id` is random.
    pub(crate) fn log(&mut self, key: &K, id: impl FnOnce() -> u64) -> Log<C> {
        self.asked += 1;
        if let Some(asked) = self.logs.get_mut(key) {
            asked.at = self.asked;
            return asked.log.clone();
        }
        let unread = || self.logs.iter().filter(|(_, asked)| Arc::strong_count(&asked.log.0) == 1);
        if self.logs.len() >= UNREAD
            && unread().count() >= UNREAD
            && let Some((oldest, _)) = unread().min_by_key(|(_, asked)| asked.at)
        {
            let oldest = oldest.clone();
            self.logs.remove(&oldest);
        }
        let log = Log::new(id());
        self.logs.insert(key.clone(), Asked { log: log.clone(), at: self.asked });
        log
    }
}

impl<K, C> Default for Logs<K, C> {
    fn default() -> Self {
        Self { logs: BTreeMap::new(), asked: 0 }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_reader_gets_every_change_in_order_and_once() {
        let log = Log::new(7);
        log.push(0);
        let mut reader = log.reader();
        assert!(reader.next().now_or_never().is_none(), "what was before is not told");
        for change in 1..=1_000 {
            log.push(change);
        }
        for change in 1..=1_000 {
            assert_eq!(reader.next().await, Ok(change));
        }
        assert_eq!(reader.position().to_string(), "0000000000000007-1001");
        assert!(reader.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn whoever_comes_back_goes_on_where_they_were() {
        let log = Log::new(7);
        let position = log.reader().position();
        (0..KEPT).for_each(|change| log.push(change));
        let mut reader = log.reader_at(position).expect("all are kept");
        assert_eq!(reader.next().await, Ok(0));
        log.push(KEPT);
        assert!(log.reader_at(position).is_none(), "one is gone");
        assert!(Log::<usize>::new(8).reader_at(position).is_none(), "another log");
        let future = format!("0000000000000007-{}", KEPT + 2).parse().expect("a position");
        assert!(log.reader_at(future).is_none(), "it has not come to be");
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_so_and_nothing_is_left_out() {
        let log = Log::new(7);
        let mut reader = log.reader();
        (0..KEPT).for_each(|change| log.push(change));
        assert_eq!(reader.next().await, Ok(0));
        log.push(KEPT);
        assert_eq!(reader.next().await, Ok(1));
        log.push(KEPT + 1);
        log.push(KEPT + 2);
        assert_eq!(reader.next().await, Err(Behind));
    }

    #[test]
    fn positions_are_read_as_they_are_written_and_nothing_else_is() {
        let position = Position { log: u64::MAX, number: u64::MAX };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "-", "1", "x-1", "1-x", "1-", "-1", "1-2-3", "11111111111111111-1"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn of_many_logs_that_nobody_reads_the_newest_are_kept() {
        let mut logs = Logs::<usize, ()>::default();
        let read = logs.log(&0, || 0);
        let _reader = read.reader();
        drop(read);
        for key in 1..=2 * UNREAD {
            logs.log(&key, || key as u64);
        }
        assert_eq!(logs.logs.len(), UNREAD + 1);
        assert!(logs.logs.contains_key(&0), "it is being read");
        assert!(!logs.logs.contains_key(&1) && logs.logs.contains_key(&(2 * UNREAD)));
    }
}
