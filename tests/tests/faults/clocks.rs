//! Wall clocks that jump: tokens are renewed by whichever clock says so first, and nothing storms.

use std::time::Duration;

use hybridrelay::TokenProvider;
use hybridrelay::env::sim::{self, Sim};
use hybridrelay::token::SasToken;

use crate::world::{ENTITY, KEY, LISTENER, RELAY, RULE, SECOND, dials, listener, offline, online, relay};

const HOUR: i64 = 3600;

/// Moves everybody's wall clock, as on machines that have slept.
fn move_all(sim: &Sim, seconds: i64) {
    for host in [RELAY, LISTENER] {
        sim.move_wall_clock(host, seconds);
    }
}

#[test]
fn a_token_that_ends_sooner_because_the_clocks_jumped_is_renewed_in_time() {
    sim::run(1, async |sim| {
        let _relay = relay(&sim).await;
        let listener = listener(sim.env(LISTENER)).open().await.expect("online");
        for _ in 0..10 {
            // The token lives for an hour.
            sim.sleep(300 * SECOND).await;
            move_all(&sim, 50 * 60);
        }
        sim.sleep(2 * HOUR as u32 * SECOND).await;
        assert!(listener.status().current().is_online());
        assert_eq!(dials(&sim), 1, "the first channel still stands");
    });
}

#[test]
fn a_jump_of_days_costs_one_new_channel_at_most() {
    for hours in [-72, -24, -2, 2, 24, 72] {
        sim::run(1, async |sim| {
            let _relay = relay(&sim).await;
            let listener = listener(sim.env(LISTENER)).open().await.expect("online");
            sim.sleep(100 * SECOND).await;
            move_all(&sim, hours * HOUR);
            sim.sleep(10 * HOUR as u32 * SECOND).await;
            assert!(listener.status().current().is_online());
            assert!(dials(&sim) <= 2, "{hours} h: {} dials", dials(&sim));
        });
    }
}

#[test]
fn a_listener_whose_own_clock_runs_ahead_stays_online() {
    for hours in [1, 24, 720] {
        sim::run(1, async |sim| {
            let _relay = relay(&sim).await;
            let listener = listener(sim.env(LISTENER)).open().await.expect("online");
            sim.sleep(100 * SECOND).await;
            sim.move_wall_clock(LISTENER, hours * HOUR);
            sim.sleep(10 * HOUR as u32 * SECOND).await;
            sim.move_wall_clock(LISTENER, -hours * HOUR);
            sim.sleep(10 * HOUR as u32 * SECOND).await;
            assert!(listener.status().current().is_online());
            assert_eq!(dials(&sim), 1, "the first channel still stands");
        });
    }
}

/// Its tokens have ended when they are made. The relay says so, and that is a refusal: the next attempt may be 30 s away.
#[test]
fn a_listener_whose_own_clock_is_far_behind_is_refused_without_a_storm_and_back_when_it_is_right() {
    sim::run(1, async |sim| {
        let _relay = relay(&sim).await;
        let listener = listener(sim.env(LISTENER)).open().await.expect("online");
        sim.sleep(100 * SECOND).await;
        sim.move_wall_clock(LISTENER, -2 * HOUR);
        offline(&listener).await;
        let (lost, before) = (sim.elapsed(), dials(&sim));
        assert!(lost >= HOUR as u32 * SECOND, "the old token lasts: {lost:?}");
        sim.sleep(HOUR as u32 * SECOND).await;
        // Attempts are 15 s apart on the average.
        assert!(dials(&sim) - before <= 360, "{} dials in an hour", dials(&sim) - before);

        sim.move_wall_clock(LISTENER, 2 * HOUR);
        let healed = sim.elapsed();
        online(&listener).await;
        assert!(sim.elapsed() - healed <= 30 * SECOND, "{:?}", sim.elapsed() - healed);
    });
}

#[test]
fn a_ready_made_token_that_ends_by_a_jump_is_known_to_have_ended_within_a_minute() {
    sim::run(1, async |sim| {
        let _relay = relay(&sim).await;
        let token = |sim: &Sim, life: Duration| {
            let audience = format!("http://{RELAY}/{ENTITY}/");
            SasToken::create(&audience, RULE, KEY, sim.env(LISTENER).wall_clock() + life).to_text()
        };
        let tokens = TokenProvider::ready_made(token(&sim, 10 * HOUR as u32 * SECOND)).unwrap();
        let listener = listener(sim.env(LISTENER)).credential(tokens.clone()).open().await.expect("online");
        sim.sleep(100 * SECOND).await;
        move_all(&sim, 24 * HOUR);
        let jumped = sim.elapsed();
        offline(&listener).await;
        assert!(sim.elapsed() - jumped <= 60 * SECOND, "{:?}", sim.elapsed() - jumped);
        sim.sleep(HOUR as u32 * SECOND).await;

        tokens.set_token(token(&sim, HOUR as u32 * SECOND)).unwrap();
        let set = sim.elapsed();
        online(&listener).await;
        assert!(sim.elapsed() - set <= SECOND, "{:?}", sim.elapsed() - set);
    });
}
