//! Listeners for which there is no room: told so at once, and a storm of them in turn.

use hybridrelay::env::sim;
use hybridrelay::{Error, Listener};
use hybridrelay_relay::Config;

use crate::common::{A, B, World, seconds};

/// Room for one, and two refusals in a minute.
fn narrow(config: &mut Config) {
    config.limits.listeners_per_entity = 1;
    config.limits.refused_listens_per_minute = 2;
}

/// Tries to listen; how long the answer took.
async fn attempt(world: &World, host: &str, entity: &str) -> (Result<Listener, Error>, u64) {
    let env = world.env(host);
    let before = env.now();
    let opened = world.listener(host, entity).connect_timeout(seconds(3600)).open().await;
    (opened, (env.now() - before).as_secs())
}

fn refused((opened, took): (Result<Listener, Error>, u64)) -> u64 {
    let error = opened.expect_err("there is room for one");
    assert_eq!(error.status(), Some(403), "{error}");
    assert!(error.reason().is_some_and(|reason| reason.starts_with("QuotaExceeded")), "{error}");
    took
}

#[test]
fn who_is_refused_again_and_again_is_told_one_at_a_time() {
    sim::run(1, async |sim| {
        let world = World::start(sim, narrow).await;
        let (first, _) = attempt(&world, "office", A).await;
        let first = first.expect("room for one");
        assert_eq!(refused(attempt(&world, "office", A).await), 0);
        assert_eq!(refused(attempt(&world, "office", A).await), 0);
        // Each answer makes two of one, as hyco-ws does; what comes back comes back in turn.
        let storm = [0; 4].map(|_| attempt(&world, "office", A));
        let waits: Vec<_> = futures_util::future::join_all(storm).await.into_iter().map(refused).collect();
        assert_eq!(waits, [30, 60, 90, 120]);

        // Others wait for nothing: elsewhere, and for another hybrid connection here.
        let pending = attempt(&world, "office", A);
        let meanwhile = async {
            assert_eq!(refused(attempt(&world, "home", A).await), 0);
            let (other, took) = attempt(&world, "office", B).await;
            assert_eq!((other.is_ok(), took), (true, 0));
        };
        let (held, ()) = tokio::join!(pending, meanwhile);
        assert!(refused(held) > 0);

        // And where there is room nobody does, whatever there was before.
        first.close().await;
        let (again, took) = attempt(&world, "office", A).await;
        assert_eq!((again.is_ok(), took), (true, 0));
    });
}

#[test]
fn who_waits_to_be_refused_does_not_hold_up_the_end_of_the_relay() {
    sim::run(1, async |sim| {
        let world = World::start(sim, narrow).await;
        let first = attempt(&world, "office", A).await.0.expect("room for one");
        for _ in 0..2 {
            refused(attempt(&world, "office", A).await);
        }
        let World { sim, relay } = world;
        let listener = || {
            let target = crate::common::connection_string("relay", A, crate::common::LISTEN);
            Listener::builder(target).env(sim.env("office")).connect_timeout(seconds(3600)).open()
        };
        let ending = async {
            sim.sleep(seconds(1)).await;
            relay.shutdown(seconds(20)).await;
        };
        let before = sim.env("office").now();
        let (held, ()) = tokio::join!(listener(), ending);
        assert_eq!(held.expect_err("no room").status(), Some(403));
        assert!(sim.env("office").now() - before < seconds(20));
        drop(first);
    });
}

#[test]
fn of_those_who_wait_to_be_refused_no_more_are_held_than_an_address_may_have() {
    sim::run(1, async |sim| {
        let world = World::start(sim, |config| {
            narrow(config);
            config.limits.held_refusals_per_address = 1;
        })
        .await;
        let _first = attempt(&world, "office", A).await.0.expect("room for one");
        for _ in 0..2 {
            refused(attempt(&world, "office", A).await);
        }
        let storm = [0; 3].map(|_| attempt(&world, "office", A));
        let mut waits: Vec<_> = futures_util::future::join_all(storm).await.into_iter().map(refused).collect();
        waits.sort_unstable();
        assert_eq!(waits, [0, 0, 30]);
    });
}
