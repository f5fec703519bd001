//! Tokens end and are renewed (protocol.md 2.6, 3.6, 9.2 and 10, decisions 6 and 7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use hybridrelay::env::sim::{self, Sim};
use hybridrelay::token::{SasToken, Token};
use hybridrelay::{Error, ErrorKind, Listener, TokenProvider};
use hybridrelay_relay::{Entity, Rights, Rule};
use tokio_tungstenite::tungstenite::Message;

use crate::raw::{RawListener, ScriptedRelay, token, token_by};
use crate::world::{
    ENTITY, KEY, LISTENER, NAMESPACE, RELAY, RULE, World, connect, connection_string, dials, namespace, offline, online,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const GRACE: Duration = Duration::from_secs(300);

fn in_time(sim: &Sim, from_now: Duration) -> SystemTime {
    sim.env(RELAY).wall_clock() + from_now
}

/// Asserts that the relay closes the channel with 1008 at this time and not before.
async fn assert_closed_at(sim: &Sim, listener: &mut RawListener, at: Duration) {
    let (code, reason) = listener.closed().await;
    assert_eq!(code, 1008, "{reason}");
    let closed = sim.elapsed();
    assert!(closed >= at && closed <= at + SECOND, "closed at {closed:?} instead of {at:?}");
}

#[test]
fn a_channel_survives_its_tokens_end_by_5_min() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut listener = RawListener::open(&world, 10 * MINUTE).await;
        assert_closed_at(&sim, &mut listener, 10 * MINUTE + GRACE).await;
        assert_eq!(world.online(), 0);
    });
}

#[test]
fn a_renewal_keeps_the_channel_also_within_the_5_min() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut listener = RawListener::open(&world, 10 * MINUTE).await;
        for end in [20, 30, 40] {
            // Every client but ours renews at the end of the token before or later: here 4 min later.
            let until_late = (end - 6) * MINUTE - sim.elapsed();
            assert!(sim.env(RELAY).timeout(until_late, listener.closed()).await.is_none());
            listener.renew(&token(in_time(&sim, end * MINUTE - sim.elapsed()))).await;
        }
        assert_closed_at(&sim, &mut listener, 40 * MINUTE + GRACE).await;
    });
}

#[test]
fn a_renewal_that_is_no_good_is_ignored() {
    let garbage = |_: &Sim| "com.microsoft.azure.relay.SharedAccessSignatureToken@1b2c3d".to_owned();
    let wrong_key = |sim: &Sim| token_by(RULE, "another key", in_time(sim, HOUR));
    let unknown_rule = |sim: &Sim| token_by("nobody", KEY, in_time(sim, HOUR));
    let no_right = |sim: &Sim| token_by("send", KEY, in_time(sim, HOUR));
    let ended = |sim: &Sim| token(in_time(sim, Duration::ZERO) - 2 * MINUTE);
    let elsewhere = |sim: &Sim| SasToken::create("http://relay/elsewhere/", RULE, KEY, in_time(sim, HOUR)).to_text();
    let renewals: [fn(&Sim) -> String; 6] = [garbage, wrong_key, unknown_rule, no_right, ended, elsewhere];
    for renewal in renewals {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            world.store.replace([namespace().with_rule(Rule::new("send", Rights::SEND, KEY))]);
            let mut listener = RawListener::open(&world, 10 * MINUTE).await;
            sim.sleep(20 * SECOND).await;
            listener.renew(&renewal(&sim)).await;
            assert_closed_at(&sim, &mut listener, 10 * MINUTE + GRACE).await;
        });
    }
}

#[test]
fn a_token_that_ended_less_than_60_s_ago_still_opens() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let ended = |seconds: u32| token(in_time(&sim, Duration::ZERO) - seconds * SECOND);
        assert!(RawListener::with_token(&world, &ended(59)).await.is_ok());
        assert_eq!(RawListener::with_token(&world, &ended(60)).await.err(), Some(401));
    });
}

#[test]
fn a_listener_whose_clock_is_wrong_gets_online_as_long_as_its_tokens_have_not_ended() {
    for (ahead, good) in [(0, true), (2 * 3600, true), (-3600 - 59, true), (-3600 - 61, false)] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            sim.move_wall_clock(LISTENER, ahead);
            let opened = world.listener().open().await;
            assert_eq!(opened.err().map(|error| error.kind()), (!good).then_some(ErrorKind::Unauthorized));
        });
    }
}

#[test]
fn a_relay_whose_clock_jumps_notices_within_a_minute() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut listener = RawListener::open(&world, HOUR).await;
        sim.move_wall_clock(RELAY, -7200);
        assert!(sim.env(RELAY).timeout(2 * MINUTE, listener.closed()).await.is_none());
        sim.move_wall_clock(RELAY, 2 * 7200);
        let jumped = sim.elapsed();
        assert_eq!(listener.closed().await.0, 1008);
        assert!(sim.elapsed() - jumped <= MINUTE, "{:?}", sim.elapsed() - jumped);
    });
}

/// When the listener renews, counted from its opening, until the given time.
async fn renewals(relay: &mut ScriptedRelay, sim: &Sim, validity: Duration, until: Duration) -> Vec<Duration> {
    let credential = TokenProvider::shared_access_key_with_validity(RULE, KEY, validity);
    let listener = Listener::builder(connection_string()).credential(credential).env(sim.env(LISTENER));
    let (listener, mut control) = tokio::join!(listener.open(), relay.take());
    let (_listener, begun) = (listener.expect("online"), sim.elapsed());
    let mut times = Vec::new();
    let reading = async {
        while let Some(Ok(message)) = control.next().await {
            if let Message::Text(text) = message {
                assert!(text.starts_with(r#"{"renewToken":{"token":"SharedAccessSignature "#), "{text}");
                times.push(sim.elapsed() - begun);
            }
        }
    };
    sim.env(RELAY).timeout(until, reading).await;
    times
}

#[test]
fn a_listener_renews_at_the_promised_times() {
    sim::run(1, async |sim| {
        let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
        // validity: 0.8 of it, but 5 min before its end, but not in its first half
        for (validity, delay) in [(60, 48 * MINUTE), (20, 15 * MINUTE), (8, 4 * MINUTE), (1, 30 * SECOND)] {
            let times = renewals(&mut relay, &sim, validity * MINUTE, 5 * delay + SECOND).await;
            for (number, time) in (1..=5).zip(&times) {
                // Tokens end at whole seconds, timers fire at whole milliseconds.
                let at = number * delay;
                assert!(*time + 5 * SECOND >= at && *time <= at + SECOND, "{validity} min: {times:?}");
            }
            assert_eq!(times.len(), 5, "{validity} min: {times:?}");
        }
        // Never more often than every 5 s.
        let times = renewals(&mut relay, &sim, 4 * SECOND, 61 * SECOND).await;
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5 * SECOND) && times.len() >= 11, "{times:?}");
    });
}

#[test]
fn a_key_keeps_a_listener_online_for_days() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let listener = world.listener().open().await.expect("online");
        sim.sleep(50 * HOUR).await;
        assert_eq!(dials(&sim, LISTENER).len(), 1, "the first channel still stands");
        connect(&world.sender().build().unwrap(), &listener).await;
    });
}

/// A provider that can be made to fail or to hang, and the number of its calls.
#[derive(Clone, Default)]
struct Outage {
    failing: Arc<AtomicBool>,
    hanging: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
}

impl Outage {
    fn provider(&self, sim: &Sim, validity: Duration) -> TokenProvider {
        let (outage, env) = (self.clone(), sim.env(LISTENER));
        TokenProvider::from_fn(move |audience| {
            let (outage, env) = (outage.clone(), env.clone());
            async move {
                outage.calls.fetch_add(1, Ordering::Relaxed);
                if outage.hanging.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                if outage.failing.load(Ordering::Relaxed) {
                    return Err(Error::new(ErrorKind::Network, "the token service is down"));
                }
                let text = SasToken::create(&audience, RULE, KEY, env.wall_clock() + validity).to_text();
                Ok(Token::new(text, None))
            }
        })
    }
}

#[test]
fn a_providers_outage_is_bridged_up_to_5_min_behind_the_tokens_end() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let outage = Outage::default();
        let credential = outage.provider(&sim, 10 * MINUTE);
        let listener = world.listener().credential(credential).open().await.expect("online");
        sim.sleep(4 * MINUTE).await;
        outage.failing.store(true, Ordering::Relaxed);
        sim.sleep(10 * MINUTE).await;
        outage.failing.store(false, Ordering::Relaxed);
        // One at the opening, then one every 5 s from the fifth minute to the fourteenth.
        let calls = outage.calls.load(Ordering::Relaxed);
        assert!((100..=110).contains(&calls), "{calls}");
        sim.sleep(3 * HOUR).await;
        assert_eq!(dials(&sim, LISTENER).len(), 1, "the first channel still stands");
        connect(&world.sender().build().unwrap(), &listener).await;
    });
}

#[test]
fn a_longer_outage_ends_the_channel_and_its_end_brings_the_listener_back() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let outage = Outage::default();
        let credential = outage.provider(&sim, 10 * MINUTE);
        let listener = world.listener().credential(credential).open().await.expect("online");
        outage.failing.store(true, Ordering::Relaxed);
        let (error, retry_in) = offline(&listener).await;
        assert_eq!(sim.elapsed(), 10 * MINUTE + GRACE);
        // The close, or what the first new attempt met, which follows at once.
        assert!(error.close_code() == Some(1008) || error.to_string().contains("token service"), "{error}");
        assert!(retry_in.is_some());
        sim.sleep(HOUR).await;
        let (error, _) = offline(&listener).await;
        assert!(error.to_string().contains("token service"), "{error}");

        outage.failing.store(false, Ordering::Relaxed);
        let ended = sim.elapsed();
        online(&listener).await;
        assert!(sim.elapsed() - ended <= 5 * SECOND, "{:?}", sim.elapsed() - ended);
    });
}

#[test]
fn a_provider_that_hangs_does_not_keep_senders_waiting() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let outage = Outage::default();
        let credential = outage.provider(&sim, 10 * MINUTE);
        let listener = world.listener().credential(credential).open().await.expect("online");
        outage.hanging.store(true, Ordering::Relaxed);
        sim.sleep(5 * MINUTE).await;
        let sender = world.sender().build().unwrap();
        for _ in 0..60 {
            sim.sleep(4 * SECOND).await;
            let begun = sim.elapsed();
            connect(&sender, &listener).await;
            assert!(sim.elapsed() - begun <= SECOND, "{:?}", sim.elapsed() - begun);
        }
        // It is asked again and again, and an answer is still in time.
        let calls = outage.calls.load(Ordering::Relaxed);
        assert!((4..=6).contains(&calls), "{calls}");
        outage.hanging.store(false, Ordering::Relaxed);
        sim.sleep(HOUR).await;
        assert_eq!(dials(&sim, LISTENER).len(), 1 + 60, "the first channel still stands");
    });
}

#[test]
fn a_provider_may_take_as_long_for_a_renewal_as_for_the_opening() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let env = sim.env(LISTENER);
        let credential = TokenProvider::from_fn(move |audience| {
            let env = env.clone();
            async move {
                env.sleep(45 * SECOND).await;
                let text = SasToken::create(&audience, RULE, KEY, env.wall_clock() + 10 * MINUTE).to_text();
                Ok(Token::new(text, None))
            }
        });
        let _listener = world.listener().credential(credential).open().await.expect("online");
        sim.sleep(HOUR).await;
        assert_eq!(dials(&sim, LISTENER).len(), 1, "the first channel still stands");
    });
}

#[test]
fn a_ready_made_token_tells_its_end_and_waits_for_the_next() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let end = in_time(&sim, 10 * MINUTE);
        let credential = TokenProvider::ready_made(token(end)).unwrap();
        let listener = world.listener().credential(credential.clone()).open().await.expect("online");
        assert_eq!(online(&listener).await, Some(end));

        let (error, retry_in) = offline(&listener).await;
        assert_eq!(sim.elapsed(), 10 * MINUTE);
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, None));
        assert!(error.to_string().contains("expired"), "{error}");
        assert_eq!(retry_in, None);
        sim.sleep(HOUR).await;
        assert_eq!(dials(&sim, LISTENER).len(), 1, "nothing is tried with a token that has ended");

        let end = in_time(&sim, HOUR);
        credential.set_token(token(end)).unwrap();
        let set = sim.elapsed();
        assert_eq!(online(&listener).await, Some(end));
        assert!(sim.elapsed() - set <= SECOND);
        connect(&world.sender().build().unwrap(), &listener).await;
    });
}

#[test]
fn a_ready_made_token_that_is_replaced_in_time_keeps_the_channel() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let credential = TokenProvider::ready_made(token(in_time(&sim, 10 * MINUTE))).unwrap();
        let listener = world.listener().credential(credential.clone()).open().await.expect("online");
        for _ in 0..5 {
            sim.sleep(9 * MINUTE).await;
            let end = in_time(&sim, 10 * MINUTE);
            credential.set_token(token(end)).unwrap();
            sim.sleep(SECOND).await;
            assert_eq!(online(&listener).await, Some(end));
        }
        assert_eq!(dials(&sim, LISTENER).len(), 1, "the first channel still stands");
    });
}

#[test]
fn an_entity_of_its_own_rule_is_judged_by_it_at_renewal() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let own = Entity::new(ENTITY.parse().unwrap()).with_rule(Rule::new("own", Rights::LISTEN, "own key"));
        assert!(world.store.put_entity(NAMESPACE, own));
        let mut listener = RawListener::open(&world, 10 * MINUTE).await;
        listener.renew(&token_by("own", "own key", in_time(&sim, 30 * MINUTE))).await;
        assert_closed_at(&sim, &mut listener, 30 * MINUTE + GRACE).await;
    });
}
