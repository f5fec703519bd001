//! What is taken away in the store is taken away from who is online (protocol.md 10, decisions 37 and 57).

use std::time::Duration;

use hybridrelay::env::sim;
use hybridrelay::{ErrorKind, TokenProvider};
use hybridrelay_relay::{Entity, Namespace, Rights, Rule};

use crate::raw::{RawListener, token_by};
use crate::world::{ENTITY, KEY, NAMESPACE, RELAY, RULE, World, connect, namespace, offline, online};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(60);

/// Without latency a listener would have tried again within the instant in which it goes offline, and show that outcome alone.
const LATENCY: Duration = Duration::from_millis(1);

/// The namespace with another rule in the place of the one.
fn with_rules(rules: impl IntoIterator<Item = Rule>) -> Namespace {
    let mut changed = namespace();
    changed.rules = rules.into_iter().collect();
    changed
}

#[test]
fn a_listener_whose_right_is_taken_away_is_closed_with_1008_within_60_s() {
    let no_right = with_rules([Rule::new(RULE, Rights::SEND, KEY)]);
    let another_key = with_rules([Rule::new(RULE, Rights::LISTEN_AND_SEND, "another key")]);
    let no_rule = with_rules([]);
    for changed in [no_right, another_key, no_rule] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let mut raw = RawListener::open(&world, HOUR).await;
            let listener = world.listener().open().await.expect("online");
            sim.network().set_latency(LATENCY);
            sim.sleep(10 * SECOND).await;
            world.store.replace([changed.clone()]);
            let begun = sim.elapsed();
            let ((code, reason), (error, _)) = tokio::join!(raw.closed(), offline(&listener));
            assert!(sim.elapsed() - begun <= LIMIT, "{:?}", sim.elapsed() - begun);
            assert_eq!((code, error.close_code()), (1008, Some(1008)), "{reason}");
            assert_eq!(world.online(), 0);
            // It may try again, but it is not let in.
            sim.sleep(600 * SECOND).await;
            let (error, retry_in) = offline(&listener).await;
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
            assert!(retry_in.is_some(), "the listener goes on trying");

            world.store.replace([namespace()]);
            online(&listener).await;
        });
    }
}

#[test]
fn a_change_that_takes_nothing_away_leaves_listeners_alone() {
    let secondary = Rule::new(RULE, Rights::LISTEN, "the next key").with_secondary_key(KEY);
    let other = Rule::new("other", Rights::SEND, "x");
    let changed = with_rules([other, secondary]).with_entity(Entity::new("more".parse().unwrap()));
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut raw = RawListener::open(&world, HOUR).await;
        world.store.replace([changed.clone()]);
        assert!(sim.env(RELAY).timeout(2 * LIMIT, raw.closed()).await.is_none());
        assert_eq!(world.online(), 1);
    });
}

#[test]
fn a_token_of_the_new_key_in_time_keeps_the_channel() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut raw = RawListener::open(&world, HOUR).await;
        world.store.replace([with_rules([Rule::new(RULE, Rights::LISTEN_AND_SEND, "another key")])]);
        sim.sleep(20 * SECOND).await;
        let expires_at = sim.env(RELAY).wall_clock() + HOUR;
        raw.renew(&token_by(RULE, "another key", expires_at)).await;
        assert!(sim.env(RELAY).timeout(2 * LIMIT, raw.closed()).await.is_none());
        assert_eq!(world.online(), 1);
    });
}

#[test]
fn a_right_that_comes_back_in_time_keeps_the_channel() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut raw = RawListener::open(&world, HOUR).await;
        world.store.replace([with_rules([])]);
        sim.sleep(20 * SECOND).await;
        world.store.replace([namespace()]);
        assert!(sim.env(RELAY).timeout(2 * LIMIT, raw.closed()).await.is_none());
    });
}

#[test]
fn a_deleted_entity_closes_everything_with_1001_and_is_not_found_any_more() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut raw = RawListener::open(&world, HOUR).await;
        // So that the sender meets the listener that accepts.
        let listener = world.listener().open().await.expect("online");
        let sender = world.sender().build().unwrap();
        let (sent, accepted) = loop {
            tokio::select! {
                pair = connect(&sender, &listener) => break pair,
                _ = raw.accept_address() => {}
            }
        };
        sim.network().set_latency(LATENCY);
        assert!(world.store.delete_entity(NAMESPACE, ENTITY));
        let begun = sim.elapsed();
        let ((code, reason), (error, _)) = tokio::join!(raw.closed(), offline(&listener));
        assert_eq!((code, error.close_code()), (1001, Some(1001)), "{reason}");
        for connection in [sent, accepted] {
            assert_eq!(connection.receive().await.unwrap(), None);
            assert_eq!(connection.peer_close().flatten().map(|close| close.code), Some(1001));
        }
        assert!(sim.elapsed() - begun <= 2 * LATENCY, "all of it happens at once");

        assert_eq!(sender.connect().open().await.unwrap_err().kind(), ErrorKind::EndpointNotFound);
        sim.sleep(600 * SECOND).await;
        let (error, retry_in) = offline(&listener).await;
        assert_eq!(error.kind(), ErrorKind::EndpointNotFound);
        assert!(retry_in.is_some(), "the listener goes on trying");
        world.store.put_entity(NAMESPACE, Entity::new(ENTITY.parse().unwrap()));
        online(&listener).await;
        connect(&sender, &listener).await;
    });
}

#[test]
fn a_listeners_own_rule_counts_and_not_another_of_the_same_name() {
    // The channel came in by the entity's rule; that the namespace's rule of the same name changes does not matter.
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let entity = Entity::new(ENTITY.parse().unwrap());
        let own = entity.clone().with_rule(Rule::new(RULE, Rights::LISTEN, "own key"));
        world.store.replace([namespace().with_entity(own.clone())]);
        let credential = TokenProvider::shared_access_key(RULE, "own key");
        let listener = world.listener().credential(credential).open().await.expect("online");
        sim.network().set_latency(LATENCY);
        world.store.replace([with_rules([]).with_entity(own)]);
        sim.sleep(2 * LIMIT).await;
        assert_eq!(world.online(), 1);
        world.store.replace([namespace().with_entity(entity)]);
        let (error, _) = offline(&listener).await;
        assert_eq!(error.close_code(), Some(1008));
    });
}
