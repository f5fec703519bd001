//! What goes wrong between a relay and its peers, on real sockets and processes in network namespaces, and in simulation: the tests
//! and `cargo xtask soak` play the same faults.

// Real processes and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::io::Write;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use site::Vitals;

pub mod holes;
pub mod middle;
pub mod random;
pub mod report;
pub mod simulated;
pub mod site;
pub mod stalled;
pub mod stopped;

/// A listener is online again within this long of healing.
pub const PROMISE: Duration = Duration::from_secs(5);

/// What a real run may take instead: the machine may have much else to do.
pub const PROMISE_WITH_NOISE: Duration = Duration::from_secs(15);

/// A listener without any sign of life from the relay is offline after this long: a Ping after 20 s, and 10 s for its answer.
pub const NOTICED: Duration = Duration::from_secs(30);

/// A relayed side that is silent is found out after 150 s, a listener after 75 s (decision 19); what is more is noise.
const SETTLES: Duration = Duration::from_secs(180);

/// Milliseconds of the monotonic clock, which all processes of a machine share.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every system has this clock");
    let since = Duration::from(time);
    u64::try_from(since.as_millis()).expect("it began at the machine's start")
}

/// Writes an event of a program.
pub fn tell(event: &Value) {
    let mut out = std::io::stdout().lock();
    // Whoever asked may be gone.
    let _ = writeln!(out, "{event}").and_then(|()| out.flush());
}

/// The milliseconds of an event's field.
///
/// # Panics
///
/// If it has no such field.
pub fn millis(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_else(|| panic!("no {field} in {event}"))
}

/// Waits until a process is as it was before, and says how it is then.
///
/// # Panics
///
/// If it still holds something after as long as the relay may take to find a dead peer out.
pub async fn settled<F: Future<Output = Vitals>>(before: Vitals, vitals: impl Fn() -> F) -> Vitals {
    let begun = now();
    loop {
        let now_held = vitals().await;
        if now_held == before {
            return now_held;
        }
        let waited = Duration::from_millis(now() - begun);
        assert!(waited <= SETTLES, "something stays behind: {now_held:?} instead of {before:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How a process is when nothing changes any more.
pub async fn quiet<F: Future<Output = Vitals>>(vitals: impl Fn() -> F) -> Vitals {
    let mut before = vitals().await;
    let mut equal = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = vitals().await;
        equal = if now == before { equal + 1 } else { 0 };
        if equal == 10 {
            return now;
        }
        before = now;
    }
}
