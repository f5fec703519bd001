//! How long to wait before the next attempt (protocol.md 9.2).

use std::time::{Duration, Instant};

use crate::env::Env;
use crate::{Error, ErrorKind};

/// Upper limits of the first waits, in seconds; the actual wait is anything between zero and the limit (full jitter).
const FIRST: [u64; 4] = [0, 1, 2, 4];

/// Later waits below HTTP are at least this long, and at most twice as long. A healed network is used within 5 s: what is left of
/// them is for the handshakes.
const SETTLED: Duration = Duration::from_secs(2);

/// The waits that follow only an explicit refusal.
const REFUSED: [u64; 2] = [10, 30];

/// As long at most is a wait that the relay asks for: whatever it says, a listener looks again soon.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: usize,
}

impl Backoff {
    /// Starts over: the listener was online.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// The wait from now to the next attempt, after `error` ended the last one, which had `begun` then. A channel that was lost
    /// counts from its loss.
    pub(crate) fn next(&mut self, env: &Env, error: &Error, begun: Instant) -> Duration {
        let attempt = self.attempt;
        self.attempt += 1;
        let first = FIRST.get(attempt).map(|limit| env.jitter(Duration::from_secs(*limit)));
        if !is_refusal(error) {
            // Below HTTP nobody has asked us to slow down: a dead network is not hammered, a healed one is used soon. An attempt
            // that got no answer has been waiting itself.
            let wait = first.unwrap_or_else(|| SETTLED + env.jitter(SETTLED));
            return wait.saturating_sub(env.now().saturating_duration_since(begun));
        }
        let wait = first.unwrap_or_else(|| {
            let limit = REFUSED[(attempt - FIRST.len()).min(REFUSED.len() - 1)];
            env.jitter(Duration::from_secs(limit))
        });
        wait.max(error.retry_after().unwrap_or_default().min(LONGEST_ASKED))
    }
}

/// An explicit refusal: an HTTP answer other than 101, or a close with 1008 or 1011.
fn is_refusal(error: &Error) -> bool {
    error.status().is_some()
        || matches!(error.close_code(), Some(1008 | 1011))
        || error.kind() == ErrorKind::Unauthorized
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(error: &Error, count: usize) -> Vec<Duration> {
        let env = Env::system();
        let mut backoff = Backoff::default();
        (0..count).map(|_| backoff.next(&env, error, env.now())).collect()
    }

    #[test]
    fn failures_below_http_settle_between_2_and_4_seconds() {
        let waits = waits(&Error::new(ErrorKind::Network, "refused"), 12);
        assert_eq!(waits[0], Duration::ZERO);
        for (wait, limit) in waits.iter().zip(FIRST) {
            assert!(*wait <= Duration::from_secs(limit));
        }
        for wait in &waits[4..] {
            // The attempts took no time, but the test does.
            assert!((Duration::from_millis(1_900)..=Duration::from_secs(4)).contains(wait), "{wait:?}");
        }
    }

    #[test]
    fn refusals_settle_below_30_seconds() {
        let refused = Error::new(ErrorKind::ServerBusy, "busy").with_status(503);
        // Full jitter may draw small values, so only many draws together show that the limit is the higher one.
        let waits: Vec<_> = (0..20).flat_map(|_| waits(&refused, 12).split_off(5)).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(30)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(5)));
    }

    #[test]
    fn retry_after_is_a_lower_limit() {
        let refused =
            Error::new(ErrorKind::ServerBusy, "busy").with_status(503).with_retry_after(Duration::from_secs(7));
        assert!(waits(&refused, 6).iter().all(|wait| *wait >= Duration::from_secs(7)));
    }

    #[test]
    fn nobody_is_sent_away_for_more_than_five_minutes() {
        let refused =
            Error::new(ErrorKind::ServerBusy, "busy").with_status(503).with_retry_after(Duration::from_secs(u64::MAX));
        assert!(waits(&refused, 6).iter().all(|wait| *wait == Duration::from_secs(300)));
    }

    #[test]
    fn being_online_starts_over() {
        let env = Env::system();
        let error = Error::new(ErrorKind::Network, "refused");
        let mut backoff = Backoff::default();
        for _ in 0..6 {
            backoff.next(&env, &error, env.now());
        }
        backoff.reset();
        assert_eq!(backoff.next(&env, &error, env.now()), Duration::ZERO);
    }
}
