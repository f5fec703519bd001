//! How many in a time: a token bucket in one atomic number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Up to this rate tokens are counted one by one, and the rate is exact to a thousandth.
const COUNTABLE: u64 = 1_000_000;

/// Gives `rate` tokens in `per`, and as many at once after a rest (the generic cell rate algorithm). No lock, whoever shares it.
///
/// All that is kept is the time at which the bucket will be full again. It lies ahead of now by the cost of what was taken: by at
/// most `per`, or further where tokens were promised.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: u64,
    per: u64,
    origin: Instant,
    /// In nanoseconds after `origin`.
    full_at: AtomicU64,
}

impl Bucket {
    /// A full bucket. A rate of 0 counts as 1.
    pub(super) fn new(rate: u64, per: Duration, now: Instant) -> Self {
        let (rate, per) = (rate.max(1), nanos(per).max(1));
        // Where tokens are few, each costs a whole number of nanoseconds, so that `rate` of them fit exactly.
        let per = if rate <= COUNTABLE { per.div_ceil(rate) * rate } else { per };
        Self { rate, per, origin: now, full_at: AtomicU64::new(0) }
    }

    /// Whether it was made for this rate.
    pub(super) fn has_rate(&self, rate: u64) -> bool {
        self.rate == rate.max(1)
    }

    /// Takes a token; else says when there will be one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        self.draw(now, 1, 1, false).map(|_| ())
    }

    /// Takes up to `most` tokens, at least `least` of them: now if there are so many, else as soon as whoever came before has had
    /// theirs. Less than `least` only if the bucket cannot hold so many.
    pub(super) fn promise(&self, now: Instant, least: u64, most: u64) -> (u64, Instant) {
        match self.draw(now, least.clamp(1, self.rate), most, true) {
            Ok(promised) => promised,
            // It does not refuse, but promises.
            Err(ready) => (0, ready),
        }
    }

    fn draw(&self, now: Instant, least: u64, most: u64, promise: bool) -> Result<(u64, Instant), Instant> {
        let at = self.at(now);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let from = full_at.max(at);
            let tokens = self.tokens(at.saturating_add(self.per).saturating_sub(from));
            let (taken, ready) = if tokens >= least {
                (tokens.min(most.max(least)), now)
            } else {
                // When `least` cost just as much as is free then.
                let ready = from.saturating_add(self.cost(least)).saturating_sub(self.per);
                (least, self.origin + Duration::from_nanos(ready))
            };
            if ready > now && !promise {
                return Err(ready);
            }
            let next = from.saturating_add(self.cost(taken));
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok((taken, ready)),
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Gives tokens back.
    pub(super) fn give_back(&self, tokens: u64) {
        if tokens > 0 {
            let cost = self.cost(tokens);
            let earlier = |full_at: u64| Some(full_at.saturating_sub(cost));
            // The update always has a value, so this cannot fail.
            let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
        }
    }

    /// The tokens of a thousandth of its time.
    pub(super) fn thousandth(&self) -> u64 {
        self.rate / 1000
    }

    /// When there will be a token; `None` if there is one.
    pub(super) fn empty_until(&self, now: Instant) -> Option<Instant> {
        let ready = self.full_at.load(Ordering::Relaxed).saturating_add(self.cost(1)).saturating_sub(self.per);
        (ready > self.at(now)).then(|| self.origin + Duration::from_nanos(ready))
    }

    /// Whether the bucket is as good as a new one.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at.load(Ordering::Relaxed) <= self.at(now)
    }

    fn at(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin))
    }

    /// Rounded up, so that many small takings do not get more than the rate.
    fn cost(&self, tokens: u64) -> u64 {
        let cost = (u128::from(tokens) * u128::from(self.per)).div_ceil(u128::from(self.rate));
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    fn tokens(&self, time: u64) -> u64 {
        let tokens = u128::from(time) * u128::from(self.rate) / u128::from(self.per);
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hybridrelay::env::Env;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        Env::system().now()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let start = start();
        let bucket = Bucket::new(10, SECOND, start);
        for _ in 0..10 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        let ready = bucket.take(start).expect_err("the burst is over");
        assert_eq!(ready - start, SECOND / 10);
        assert_eq!(bucket.empty_until(start), Some(ready));
        assert_eq!(bucket.take(ready), Ok(()));
        assert!(bucket.take(ready).is_err());
        let rested = start + SECOND * 60;
        assert_eq!(bucket.promise(rested, 1, 100), (10, rested), "a rest fills one burst and not more");
    }

    #[test]
    fn who_comes_late_is_promised_its_turn_behind_the_others() {
        let start = start();
        let bucket = Bucket::new(1_000, SECOND, start);
        assert_eq!(bucket.promise(start, 100, 950), (950, start));
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(bucket.promise(start, 100, 500), (100, after(50)));
        assert_eq!(bucket.promise(start, 100, 500), (100, after(150)));
        assert_eq!(bucket.promise(after(50), 100, 500), (100, after(250)));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let start = start();
        let bucket = Bucket::new(1_000, SECOND, start);
        assert_eq!(bucket.promise(start, 1, 1_000), (1_000, start));
        bucket.give_back(400);
        assert!(!bucket.is_full(start));
        assert_eq!(bucket.promise(start, 1, 1_000), (400, start));
        assert!(bucket.is_full(start + SECOND));
    }

    #[test]
    fn a_slow_bucket_hands_out_what_it_can_hold() {
        let start = start();
        let bucket = Bucket::new(10, SECOND, start);
        assert_eq!(bucket.promise(start, 1_024, 65_536), (10, start));
        assert_eq!(bucket.promise(start, 1_024, 65_536), (10, start + SECOND));
    }

    #[test]
    fn rates_beyond_a_token_in_a_nanosecond_hold() {
        let start = start();
        let bucket = Bucket::new(25_000_000_000, SECOND, start);
        let mut taken = 0;
        while let (tokens, ready) = bucket.promise(start, 1_024, 65_536)
            && ready == start
        {
            taken += tokens;
        }
        assert!((24_000_000_000..=25_000_000_000).contains(&taken), "{taken}");
    }

    #[test]
    fn threads_that_share_a_bucket_get_no_more_than_it_holds() {
        let start = start();
        let bucket = Arc::new(Bucket::new(10_000, SECOND, start));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let bucket = bucket.clone();
                std::thread::spawn(move || std::iter::from_fn(|| bucket.take(start).ok()).count())
            })
            .collect();
        let taken: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(taken, 10_000);
    }
}
