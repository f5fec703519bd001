//! What a relayed connection adds to the metrics while it lives.

use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;

use super::metrics::Seconds;

/// How much may be unreported before it is worth the counters' while.
const BYTES: u64 = 1 << 20;

/// How long something may stay unreported while the connection moves.
const PAUSE: Duration = Duration::from_secs(10);

/// The counters of one relayed connection, looked up when it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// Payload bytes from the sender to the listener.
    pub(crate) to_listener: Counter,
    /// Payload bytes from the listener to the sender.
    pub(crate) to_sender: Counter,
    /// Time in which the listener did not take what there was for it.
    pub(crate) listener_blocked: Seconds,
    /// Time in which the sender did not take what there was for it.
    pub(crate) sender_blocked: Seconds,
    /// Time in which a side was not read because of a rate.
    pub(crate) throttled: Seconds,
}

/// What has been told to a meter, so that the next report adds the rest: seldom, but often enough for a long connection to show.
#[derive(Debug)]
pub(crate) struct Reporter {
    reported: Totals,
    at: Instant,
}

/// What a connection has moved, and how long it was held up, since its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) to_listener: u64,
    pub(crate) to_sender: u64,
    pub(crate) listener_blocked: Duration,
    pub(crate) sender_blocked: Duration,
    pub(crate) throttled: Duration,
}

impl Reporter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { reported: Totals::default(), at: now }
    }

    /// Whether it is time for a report.
    pub(crate) fn is_due(&self, to_listener: u64, to_sender: u64, now: Instant) -> bool {
        to_listener + to_sender - self.reported.to_listener - self.reported.to_sender >= BYTES || now >= self.at + PAUSE
    }

    pub(crate) fn report(&mut self, meter: &Meter, totals: Totals, now: Instant) {
        let seconds = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64();
        let before = std::mem::replace(&mut self.reported, totals);
        meter.to_listener.inc_by(totals.to_listener - before.to_listener);
        meter.to_sender.inc_by(totals.to_sender - before.to_sender);
        meter.listener_blocked.inc_by(seconds(totals.listener_blocked, before.listener_blocked));
        meter.sender_blocked.inc_by(seconds(totals.sender_blocked, before.sender_blocked));
        meter.throttled.inc_by(seconds(totals.throttled, before.throttled));
        self.at = now;
    }
}
