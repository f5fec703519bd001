//! Attempts to get online that hang somewhere on their way.

use std::time::Duration;

use hybridrelay::ErrorKind;
use hybridrelay::env::sim;

use crate::unanswered::{Answer, Answers, OUTAGE};
use crate::world::{LISTENER, RELAY, SECOND, listener, offline, online, relay};

/// Plays an outage that ends at every half second of the time that attempts and delays take, and expects the listener back in time.
fn assert_back_in_time(begin: impl Fn(&Answers), end: impl Fn(&Answers)) {
    for phase in 0..20 {
        sim::run(phase, async |sim| {
            let _relay = relay(&sim).await;
            let (env, answers) = Answers::of(sim.env(LISTENER));
            let listener = listener(env).open().await.expect("online");
            sim.sleep(100 * SECOND).await;
            begin(&answers);
            sim.network().cut(LISTENER, RELAY);
            offline(&listener).await;
            sim.sleep(OUTAGE + phase as u32 * SECOND / 2).await;
            assert!(!listener.status().current().is_online());

            end(&answers);
            let healed = sim.elapsed();
            online(&listener).await;
            assert!(sim.elapsed() - healed <= 5 * SECOND, "{:?}", sim.elapsed() - healed);
        });
    }
}

#[test]
fn a_resolver_that_fails_or_does_not_answer_keeps_the_listener_offline_until_5_s_behind_it_at_most() {
    for answer in [Answer::Error, Answer::None] {
        assert_back_in_time(|answers| answers.to_lookups(answer), |answers| answers.to_lookups(Answer::Right));
    }
}

/// In the real world a dial into a black hole is repeated by TCP, but not at the moment of healing. Here it is never.
#[test]
fn a_path_that_refuses_or_swallows_dials_keeps_the_listener_offline_until_5_s_behind_it_at_most() {
    for answer in [Answer::Error, Answer::None] {
        assert_back_in_time(|answers| answers.to_dials(answer), |answers| answers.to_dials(Answer::Right));
    }
}

#[test]
fn a_relay_that_takes_the_connection_and_says_nothing_is_left_after_20_s() {
    sim::run(1, async |sim| {
        let mut acceptor = sim.env(RELAY).bind(([0, 0, 0, 0], 80).into()).await.unwrap();
        let taking = async {
            let socket = acceptor.accept().await.unwrap();
            tokio_tungstenite::accept_async(socket).await.unwrap()
        };
        let opening = listener(sim.env(LISTENER)).open();
        let (listener, control) = tokio::join!(opening, taking);
        let (listener, _control) = (listener.expect("online"), control);
        sim.network().cut(LISTENER, RELAY);
        offline(&listener).await;

        let mut silent = Vec::new();
        silent.push(acceptor.accept().await.unwrap());
        for _ in 0..5 {
            let taken = sim.elapsed();
            silent.push(acceptor.accept().await.unwrap());
            let waited = sim.elapsed() - taken;
            assert!(waited >= 20 * SECOND && waited <= 20 * SECOND + Duration::from_millis(5), "{waited:?}");
        }
    });
}

#[test]
fn the_first_opening_waits_as_long_as_it_is_told() {
    sim::run(1, async |sim| {
        let _acceptor = sim.env(RELAY).bind(([0, 0, 0, 0], 80).into()).await.unwrap();
        let error = listener(sim.env(LISTENER)).connect_timeout(45 * SECOND).open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert_eq!(sim.elapsed(), 45 * SECOND);
    });
}
