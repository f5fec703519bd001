//! Time in the pump: one timer per pair, and what it measures.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use hybridrelay::env::Env;

/// The one timer of a pair. Deadlines mostly move away, byte by byte: it keeps its time, finds on firing that it was too
/// early, and only then is set anew.
#[derive(Default)]
pub(super) struct Alarm(Option<Armed>);

struct Armed {
    at: Instant,
    sleep: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Alarm {
    /// Ready if `due` has come; otherwise the task is woken at `due` at the latest.
    pub(super) fn poll_at(&mut self, due: Option<Instant>, env: &Env, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = due else {
            self.0 = None;
            return Poll::Pending;
        };
        loop {
            let armed = match &mut self.0 {
                Some(armed) if armed.at <= due => armed,
                slot => slot.insert(Armed { at: due, sleep: env.sleep_until(due) }),
            };
            if armed.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let fired = armed.at;
            self.0 = None;
            if fired == due {
                return Poll::Ready(());
            }
        }
    }
}

/// For how long a side has been silent, as far as it can be blamed for it.
#[derive(Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    pinged: bool,
}

impl Silence {
    /// A byte came: any byte is life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.pinged = false;
        if let Some(since) = &mut self.since {
            *since = now;
        }
    }

    /// Says whether silence is the side's own now: we read from it, and it has nothing to take from us. When it is not,
    /// the clock stops, and starts afresh when it is again (protocol.md 10, decision 19).
    pub(super) fn judge(&mut self, its_own: bool, now: Instant) {
        if !its_own {
            *self = Self::default();
        } else if self.since.is_none() {
            self.since = Some(now);
        }
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn pinged(&self) -> bool {
        self.pinged
    }

    pub(super) fn set_pinged(&mut self) {
        self.pinged = true;
    }
}
