//! Paths that swallow everything for a while. Longer ones are played by `cargo xtask soak`.

use std::time::Duration;

use hybridrelay::env::sim;
use hybridrelay_tests::faults::holes;

use crate::world::{self, LISTENER, RELAY, SECOND, listener, relay};
use crate::{programs, run};

#[test]
fn behind_a_hole_the_listener_is_online_again_and_nothing_is_left() {
    run(async {
        let report = holes::play(&programs(), &[1, 5, 15, 36, 38, 41]).await;
        println!("{report}");
        assert_eq!(report.faults(), 6);
    });
}

#[test]
fn behind_a_simulated_hole_of_up_to_two_minutes_the_listener_is_online_within_5_s() {
    for (seed, length) in (1..).zip([1, 5, 15, 30, 31, 35, 45, 60, 75, 76, 90, 105, 119, 120]) {
        sim::run(seed, async |sim| {
            sim.network().set_latency(Duration::from_millis(100));
            let relay = relay(&sim).await;
            let listener = listener(sim.env(LISTENER)).open().await.expect("online");
            sim.sleep(100 * SECOND).await;
            sim.network().blackhole(LISTENER, RELAY);
            sim.sleep(length * SECOND).await;
            // Whether one between 10 and 30 s was noticed depends on when the last Ping was answered.
            let online = listener.status().current().is_online();
            assert!(online || length >= 10, "{length} s are no reason to be offline");
            assert!(!online || length < 30, "online {length} s without a sign of life");

            sim.network().heal(LISTENER, RELAY);
            sim.sleep(5 * SECOND).await;
            assert!(listener.status().current().is_online(), "5 s behind a hole of {length} s");
            assert_eq!(relay.listeners(world::NAMESPACE, world::ENTITY).len(), 1, "what was is not there any more");
        });
    }
}
