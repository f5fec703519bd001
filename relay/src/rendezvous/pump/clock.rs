//! Time in the pump: one timer per pair, and what it measures.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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

/// Measures how long something lasted, all times together.
#[derive(Default)]
pub(super) struct Stopwatch {
    since: Option<Instant>,
    total: Duration,
}

impl Stopwatch {
    /// Says whether it lasts now.
    pub(super) fn run(&mut self, lasts: bool, now: Instant) {
        if lasts {
            self.since.get_or_insert(now);
        } else if let Some(since) = self.since.take() {
            self.total += now.saturating_duration_since(since);
        }
    }

    /// Whatever lasts now did not count.
    pub(super) fn forget(&mut self) {
        self.since = None;
    }

    /// How long it lasted, the times that are over.
    pub(super) fn over(&self) -> Duration {
        self.total
    }

    /// How long it lasted until now.
    pub(super) fn read(&self, now: Instant) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// What it means now that a side says nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing: it has something to take from us first, or nothing more to say.
    #[default]
    Nothing,
    /// We do not read from it, because the other side does not take, or because of a rate. It may be speaking; and since we answer nothing either,
    /// it gets a Ping from time to time, so that it does not take us for dead.
    Stalled,
    /// It is silent of its own: we read from it, and it has nothing to take from us (protocol.md 10, decision 19).
    Silent,
}

/// For how long a side has said nothing, and what that means.
#[derive(Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    meaning: Meaning,
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

    /// Says what silence means now. Whenever that changes the clock starts afresh.
    pub(super) fn judge(&mut self, meaning: Meaning, now: Instant) {
        if meaning == Meaning::Nothing {
            *self = Self::default();
        } else if self.since.is_none() || self.meaning != meaning {
            *self = Self { since: Some(now), meaning, pinged: false };
        }
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.meaning == Meaning::Stalled
    }

    /// Whether a Ping is out that a living side would have answered.
    pub(super) fn pinged(&self) -> bool {
        self.pinged
    }

    /// Notes a Ping that was due after `ping_after`. A stalled side is not expected to answer: its clock starts again.
    pub(super) fn set_pinged(&mut self, ping_after: Duration, now: Instant) {
        if self.is_stalled() {
            self.since = Some(now);
        } else {
            self.pinged = true;
            // Where the Ping comes late, as from a relay that slept, the side has as long for its answer as ever.
            self.since = self.since.max(now.checked_sub(ping_after));
        }
    }
}
