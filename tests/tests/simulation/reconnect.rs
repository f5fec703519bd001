//! How soon a listener that went offline tries again (protocol.md 9.2).

use std::time::Duration;

use hybridrelay::env::sim::{self, Sim};
use hybridrelay::{ErrorKind, Listener};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::raw::{Raw, ScriptedRelay, keep_reading};
use crate::world::{LISTENER, RELAY, World, connection_string, dials, offline, online};

const SECOND: Duration = Duration::from_secs(1);

/// Upper limits of the first waits.
const FIRST: [u32; 4] = [0, 1, 2, 4];

/// A listener that has been online at a scripted relay for long enough to start its delays over.
async fn proven(sim: &Sim, relay: &mut ScriptedRelay) -> (Listener, Raw) {
    let listener = Listener::builder(connection_string()).env(sim.env(LISTENER));
    let (listener, mut control) = tokio::join!(listener.open(), relay.take());
    sim.env(RELAY).timeout(100 * SECOND, keep_reading(&mut control)).await;
    (listener.expect("online"), control)
}

/// The waits between the dials after the first one; `lost` is when the channel was lost.
fn waits(sim: &Sim, lost: Duration) -> Vec<Duration> {
    let dials: Vec<_> = dials(sim, LISTENER).into_iter().skip(1).collect();
    std::iter::once(lost).chain(dials.clone()).zip(dials).map(|(before, dial)| dial - before).collect()
}

fn assert_first_waits(waits: &[Duration]) {
    for (wait, limit) in waits.iter().zip(FIRST) {
        // Timers fire at whole milliseconds.
        assert!(*wait <= limit * SECOND + Duration::from_millis(1), "{waits:?}");
    }
}

fn assert_waits_below_http(waits: &[Duration]) {
    assert_first_waits(waits);
    let settled = 2 * SECOND..=4 * SECOND + Duration::from_millis(1);
    assert!(waits[4..].iter().all(|wait| settled.contains(wait)), "{waits:?}");
    assert!(waits.len() > 20, "{waits:?}");
}

#[test]
fn without_a_relay_it_tries_every_few_seconds() {
    for seed in 1..=5 {
        for hide in [false, true] {
            sim::run(seed, async |sim| {
                let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
                let (listener, _control) = proven(&sim, &mut relay).await;
                if hide {
                    sim.network().hide(RELAY, true);
                } else {
                    sim.network().refuse(RELAY, true);
                }
                sim.network().cut(LISTENER, RELAY);
                let lost = sim.elapsed();
                sim.sleep(120 * SECOND).await;
                let (error, _) = offline(&listener).await;
                assert_eq!(error.kind(), ErrorKind::Network, "{error}");
                if !hide {
                    assert_waits_below_http(&waits(&sim, lost));
                }

                sim.network().hide(RELAY, false);
                sim.network().refuse(RELAY, false);
                let healed = sim.elapsed();
                let _control = relay.take().await;
                online(&listener).await;
                assert!(sim.elapsed() - healed <= 5 * SECOND);
            });
        }
    }
}

/// An attempt without an answer has been waiting itself: another wait behind it would come on top of the 5 s within which a listener
/// is to be back.
#[test]
fn in_a_black_hole_one_attempt_follows_the_other() {
    for seed in 1..=5 {
        sim::run(seed, async |sim| {
            let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
            let (_listener, _control) = proven(&sim, &mut relay).await;
            sim.network().strand(LISTENER, RELAY);
            sim.network().blackhole(LISTENER, RELAY);
            let begun = sim.elapsed();
            sim.sleep(120 * SECOND).await;
            let dials: Vec<_> = dials(&sim, LISTENER).into_iter().filter(|dial| *dial > begun).collect();
            assert!(dials[0] - begun <= 30 * SECOND, "{dials:?}");
            // An attempt takes 5 s and no longer.
            for pair in dials.windows(2) {
                let wait = pair[1] - pair[0];
                assert!(wait >= 5 * SECOND && wait <= 5 * SECOND + Duration::from_millis(5), "{dials:?}");
            }
            assert!(dials.len() >= 18, "{dials:?}");
        });
    }
}

#[test]
fn with_a_relay_that_hangs_up_it_tries_every_few_seconds() {
    sim::run(1, async |sim| {
        let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
        let (_listener, control) = proven(&sim, &mut relay).await;
        drop(control);
        let lost = sim.elapsed();
        let hanging_up = async {
            loop {
                relay.hang_up().await;
            }
        };
        sim.env(RELAY).timeout(120 * SECOND, hanging_up).await;
        assert_waits_below_http(&waits(&sim, lost));
    });
}

/// Waits while a relay refuses every attempt with this head.
fn waits_while_refused(seed: u64, head: &str) -> Vec<Duration> {
    sim::run(seed, async |sim| {
        let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
        let (_listener, control) = proven(&sim, &mut relay).await;
        drop(control);
        let lost = sim.elapsed();
        let refusing = async {
            loop {
                relay.refuse(head).await;
            }
        };
        sim.env(RELAY).timeout(600 * SECOND, refusing).await;
        waits(&sim, lost)
    })
}

#[test]
fn a_refused_listener_tries_less_and_less_often() {
    for head in ["503 Busy", "401 No", "404 Endpoint does not exist", "500 Broken"] {
        let runs: Vec<_> = (1..=5).map(|seed| waits_while_refused(seed, head)).collect();
        for waits in &runs {
            assert_first_waits(waits);
            assert!(waits[4] <= 10 * SECOND, "{head}: {waits:?}");
            assert!(waits[5..].iter().all(|wait| *wait <= 30 * SECOND), "{head}: {waits:?}");
        }
        // Full jitter draws short waits as well: only together they show the limit.
        let longest = runs.iter().flatten().max();
        assert!(longest.is_some_and(|longest| *longest > 20 * SECOND), "{head}: {longest:?}");
    }
}

#[test]
fn retry_after_is_a_lower_limit_of_every_wait() {
    let waits = waits_while_refused(1, "503 Busy\r\nRetry-After: 7");
    assert!(waits[0] <= Duration::ZERO, "the loss itself asked for nothing: {waits:?}");
    let refused = &waits[1..];
    assert!(refused.iter().all(|wait| *wait >= 7 * SECOND), "{waits:?}");
    assert!(refused[..3].iter().all(|wait| *wait <= 7 * SECOND + Duration::from_millis(1)), "{waits:?}");
    assert!(refused.iter().all(|wait| *wait <= 30 * SECOND), "{waits:?}");
}

#[test]
fn a_channel_that_is_closed_again_and_again_counts_as_refused() {
    for code in [1008, 1011] {
        let runs: Vec<_> = (1..=5)
            .map(|seed| {
                sim::run(seed, async |sim| {
                    let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
                    let (_listener, mut control) = proven(&sim, &mut relay).await;
                    let lost = sim.elapsed();
                    let closing = async {
                        loop {
                            let frame = CloseFrame { code: code.into(), reason: "again".into() };
                            control.close(Some(frame)).await.expect("the listener is there");
                            keep_reading(&mut control).await;
                            control = relay.take().await;
                        }
                    };
                    sim.env(RELAY).timeout(600 * SECOND, closing).await;
                    waits(&sim, lost)
                })
            })
            .collect();
        for waits in &runs {
            assert_first_waits(waits);
            assert!(waits.iter().all(|wait| *wait <= 30 * SECOND), "{code}: {waits:?}");
        }
        let longest = runs.iter().flatten().max();
        assert!(longest.is_some_and(|longest| *longest > 15 * SECOND), "{code}: {longest:?}");
    }
}

#[test]
fn a_channel_that_lived_for_half_a_minute_starts_the_delays_over() {
    sim::run(1, async |sim| {
        let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
        let (_listener, _control) = proven(&sim, &mut relay).await;
        for _ in 0..10 {
            sim.network().cut(LISTENER, RELAY);
            let lost = sim.elapsed();
            let mut control = relay.take().await;
            assert_eq!(sim.elapsed(), lost, "the first attempt follows at once");
            sim.env(RELAY).timeout(31 * SECOND, keep_reading(&mut control)).await;
        }
    });
}

#[test]
fn the_first_open_fails_at_once_or_waits_as_it_is_told() {
    sim::run(1, async |sim| {
        sim.env(RELAY);
        let listener = || Listener::builder(connection_string()).env(sim.env(LISTENER));
        assert_eq!(listener().open().await.unwrap_err().kind(), ErrorKind::Network);
        assert_eq!(sim.elapsed(), Duration::ZERO);

        let waiting = tokio::spawn(listener().wait(true).open());
        sim.sleep(600 * SECOND).await;
        assert!(!waiting.is_finished());
        let world = World::start(sim.clone()).await;
        let begun = sim.elapsed();
        let _listener = waiting.await.unwrap().expect("online");
        assert!(sim.elapsed() - begun <= 5 * SECOND);
        assert_eq!(world.online(), 1);
    });
}
