//! Who lives is kept, who is silent is found out (protocol.md 3.4 and 10, decision 19).

use std::time::Duration;

use hybridrelay::ErrorKind;
use hybridrelay::env::sim::{self, Event, Sim};

use crate::raw::{RawListener, keep_reading};
use crate::world::{ENTITY, LISTENER, NAMESPACE, RELAY, SENDER, World, connect, dials, offline, online};

const SECOND: Duration = Duration::from_secs(1);

/// Sizes of what an end of a connection wrote from some time on.
fn sent_since(sim: &Sim, connection: u64, host: &str, since: Duration) -> Vec<usize> {
    let trace = sim.trace();
    let sizes = trace.records().iter().filter(|record| record.at > since).filter_map(|record| match &record.event {
        Event::Sent { connection: number, by, bytes, .. } if *number == connection && **by == *host => Some(*bytes),
        _ => None,
    });
    sizes.collect()
}

#[test]
fn an_idle_listener_is_online_and_reachable_after_10_min() {
    // With keep-alive the listener pings after 20 s of silence, without it the relay after 30 s.
    for (keep_alive, pings) in [(Some(20 * SECOND), 30), (None, 20)] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let listener = world.listener().keep_alive(keep_alive).open().await.expect("online");
            let begun = sim.elapsed();
            sim.sleep(605 * SECOND).await;

            // The frame of an empty Ping or Pong has 6 bytes from a client and 2 from a server.
            assert_eq!(sent_since(&sim, 1, LISTENER, begun), vec![6; pings]);
            assert_eq!(sent_since(&sim, 1, RELAY, begun), vec![2; pings]);

            assert_eq!(dials(&sim, LISTENER).len(), 1, "the first channel still stands");
            let (sent, accepted) = connect(&world.sender().build().unwrap(), &listener).await;
            sent.send("hello").await.unwrap();
            assert_eq!(accepted.receive().await.unwrap(), Some("hello".into()));
        });
    }
}

#[test]
fn a_listener_in_a_black_hole_is_gone_after_75_s() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut raw = RawListener::open(&world, 3600 * SECOND).await;
        let mut watching = world.relay.watch_listeners(NAMESPACE, ENTITY);
        assert_eq!(*watching.borrow(), 1);
        let reading = tokio::spawn(async move { keep_reading(&mut raw.control).await });
        sim.sleep(100 * SECOND).await;
        assert_eq!(world.online(), 1, "it answers Pings");

        sim.network().blackhole(LISTENER, RELAY);
        let begun = sim.elapsed();
        watching.wait_for(|online| *online == 0).await.unwrap();
        let waited = sim.elapsed() - begun;
        assert!(waited <= 75 * SECOND && waited >= 45 * SECOND, "{waited:?}");
        reading.abort();
    });
}

#[test]
fn a_listener_notices_a_black_hole_within_30_s_and_is_back_within_5_s_of_its_end() {
    for (seed, hole) in (1..).zip([31, 33, 38, 47, 60, 74, 76, 150, 600]) {
        sim::run(seed, async |sim| {
            let world = World::start(sim.clone()).await;
            let listener = world.listener().open().await.expect("online");
            sim.sleep(100 * SECOND).await;
            sim.network().blackhole(LISTENER, RELAY);
            let begun = sim.elapsed();

            let (error, _) = offline(&listener).await;
            assert_eq!(error.kind(), ErrorKind::ConnectionLost);
            assert!(sim.elapsed() - begun <= 30 * SECOND, "{:?}", sim.elapsed() - begun);

            sim.sleep(hole * SECOND - (sim.elapsed() - begun)).await;
            sim.network().heal(LISTENER, RELAY);
            let healed = sim.elapsed();
            online(&listener).await;
            assert!(sim.elapsed() - healed <= 5 * SECOND, "hole of {hole} s: {:?}", sim.elapsed() - healed);
            sim.sleep(SECOND).await;
            assert_eq!(world.online(), 1, "the dead channel is gone");
            connect(&world.sender().build().unwrap(), &listener).await;
        });
    }
}

#[test]
fn a_listener_whose_channel_was_forgotten_on_the_way_is_back_within_31_s() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let listener = world.listener().open().await.expect("online");
        // Without latency it would be back within the instant in which it notices.
        sim.network().set_latency(Duration::from_millis(1));
        sim.sleep(100 * SECOND).await;
        sim.network().strand(LISTENER, RELAY);
        let begun = sim.elapsed();
        offline(&listener).await;
        online(&listener).await;
        assert!(sim.elapsed() - begun <= 31 * SECOND, "{:?}", sim.elapsed() - begun);
        // The relay still takes the old channel for a listener, but not for long.
        sim.sleep(75 * SECOND).await;
        assert_eq!(world.online(), 1);
    });
}

#[test]
fn a_relayed_side_in_a_black_hole_is_dropped_after_150_s_and_the_other_sees_an_abort() {
    for dark in [LISTENER, SENDER] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let listener = world.listener().open().await.expect("online");
            let (sent, accepted) = connect(&world.sender().build().unwrap(), &listener).await;
            sim.sleep(100 * SECOND).await;
            sim.network().blackhole(dark, RELAY);
            let begun = sim.elapsed();

            let (in_the_dark, other) = if dark == SENDER { (sent, accepted) } else { (accepted, sent) };
            assert_eq!(in_the_dark.receive().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
            assert!(sim.elapsed() - begun <= 30 * SECOND, "{:?}", sim.elapsed() - begun);

            assert_eq!(other.receive().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
            let waited = sim.elapsed() - begun;
            assert!(waited <= 150 * SECOND && waited >= 120 * SECOND, "{waited:?}");
            assert!(other.peer_close().is_none(), "no Close came");
            assert_eq!(world.relay.connections(), 0);
        });
    }
}

#[test]
fn a_message_into_a_black_hole_is_known_to_be_lost_after_150_s() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let listener = world.listener().open().await.expect("online");
        let (sent, _accepted) = connect(&world.sender().build().unwrap(), &listener).await;
        sim.network().blackhole(SENDER, RELAY);
        let begun = sim.elapsed();
        sent.send("anybody there?").await.unwrap();
        assert_eq!(sent.receive().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
        assert!(sim.elapsed() - begun <= 150 * SECOND, "{:?}", sim.elapsed() - begun);
    });
}

#[test]
fn after_messages_and_a_minute_of_rest_a_black_hole_is_noticed_within_30_s() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let listener = world.listener().open().await.expect("online");
        let (sent, accepted) = connect(&world.sender().build().unwrap(), &listener).await;
        sent.send("a question").await.unwrap();
        assert_eq!(accepted.receive().await.unwrap(), Some("a question".into()));
        sim.sleep(60 * SECOND).await;
        sim.network().blackhole(SENDER, RELAY);
        let begun = sim.elapsed();
        assert_eq!(sent.receive().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
        assert!(sim.elapsed() - begun <= 30 * SECOND, "{:?}", sim.elapsed() - begun);
    });
}

#[test]
fn an_idle_pair_lives_for_an_hour() {
    // Without keep-alive it is the relay that asks, and whoever reads answers.
    for keep_alive in [Some(20 * SECOND), None] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let listener = world.listener().keep_alive(keep_alive).open().await.expect("online");
            let sender = world.sender().keep_alive(keep_alive).build().unwrap();
            let (sent, accepted) = connect(&sender, &listener).await;
            let speak = async {
                sim.sleep(3600 * SECOND).await;
                sent.send("still there?").await.unwrap();
                accepted.send("yes").await.unwrap();
            };
            let ((), question, answer) = tokio::join!(speak, accepted.receive(), sent.receive());
            assert_eq!(question.unwrap(), Some("still there?".into()));
            assert_eq!(answer.unwrap(), Some("yes".into()));
        });
    }
}
