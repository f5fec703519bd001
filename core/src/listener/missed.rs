//! What the relay tells of events that were missed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How many publishers are remembered, the most recently told ones.
const REMEMBERED: usize = 1024;

/// How many events of each publisher were missed so far (protocol.md 3.10). Between the control channels, which are not to wait, and
/// whoever wants to know.
#[derive(Debug, Default)]
pub(crate) struct MissedEvents {
    counts: Mutex<HashMap<String, Count>>,
    /// How often something was told.
    told: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    dropped: u64,
    told: u64,
}

/// Follows what is told.
pub(crate) struct MissedFollower {
    missed: Arc<MissedEvents>,
    told: watch::Receiver<u64>,
    seen: u64,
}

impl MissedEvents {
    /// The relay says that so many events of a publisher were dropped, by the id of its accept.
    pub(super) fn tell(&self, id: String, dropped: u64) {
        let mut counts = self.lock();
        let told = *self.told.borrow() + 1;
        counts.insert(id, Count { dropped, told });
        if counts.len() > REMEMBERED
            && let Some(oldest) = counts.iter().min_by_key(|(_, count)| count.told).map(|(id, _)| id.clone())
        {
            counts.remove(&oldest);
        }
        self.told.send_replace(told);
    }

    /// How many were missed of this publisher.
    pub(crate) fn of(&self, id: &str) -> u64 {
        self.lock().get(id).map_or(0, |count| count.dropped)
    }

    /// Follows what is told from here on.
    pub(crate) fn follow(self: &Arc<Self>) -> MissedFollower {
        let told = self.told.subscribe();
        let seen = *told.borrow();
        MissedFollower { missed: self.clone(), told, seen }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MissedFollower {
    /// Waits until something was told, and returns of whom. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Vec<String> {
        // Its other end is in `missed`.
        let _ = self.told.changed().await;
        let counts = self.missed.lock();
        let news = counts.iter().filter(|(_, count)| count.told > self.seen);
        let mut news: Vec<_> = news.map(|(id, count)| (count.told, id.clone())).collect();
        news.sort_unstable();
        self.seen = news.last().map_or(self.seen, |(told, _)| *told);
        news.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_each_publisher_only_the_newest_number_is_told() {
        let missed = Arc::new(MissedEvents::default());
        missed.tell("before".to_owned(), 1);
        let mut follower = missed.follow();
        for (id, dropped) in [("a", 1), ("b", 2), ("a", 5)] {
            missed.tell(id.to_owned(), dropped);
        }
        assert_eq!(
            (follower.next().await, missed.of("a"), missed.of("b")),
            (vec!["b".to_owned(), "a".to_owned()], 5, 2)
        );
        missed.tell("a".to_owned(), 6);
        assert_eq!(follower.next().await, ["a"]);
        assert_eq!((missed.of("a"), missed.of("before"), missed.of("nobody")), (6, 1, 0));
    }

    #[test]
    fn publishers_of_long_ago_are_forgotten() {
        let missed = MissedEvents::default();
        for number in 0..5000 {
            missed.tell(number.to_string(), 1);
        }
        let remembered = missed.lock().len();
        assert_eq!((remembered, missed.of("0"), missed.of("4999")), (REMEMBERED, 0, 1));
    }
}
