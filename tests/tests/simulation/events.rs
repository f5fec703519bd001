//! Events under faults: what one publisher says, every subscriber that stays hears, once and in order.

use std::time::Duration;

use hybridrelay::env::sim::{self, Sim, Trace};
use hybridrelay::{Connection, Listener, Sender};
use hybridrelay_relay::{Distribution, Entity, EventSettings, SlowSubscriber};

use crate::world::{ENTITY, NAMESPACE, RELAY, World, accept, connection_string};

const PUBLISHERS: usize = 3;
const SUBSCRIBERS: usize = 4;
const EVENTS: u32 = 40;

/// A relay for events, and listeners each on a host of its own.
async fn world(sim: &Sim, policy: SlowSubscriber) -> (World, Vec<Listener>) {
    let world = World::start(sim.clone()).await;
    let mut settings = EventSettings::default();
    settings.queue = 16 << 10;
    settings.slow_subscriber = policy;
    let entity = Entity::new(ENTITY.parse().expect("a valid name")).with_distribution(Distribution::All(settings));
    assert!(world.store.put_entity(NAMESPACE, entity));
    let mut listeners = Vec::new();
    for number in 0..SUBSCRIBERS {
        let listener = Listener::builder(connection_string()).env(sim.env(&host("subscriber", number)));
        listeners.push(listener.open().await.expect("online"));
    }
    (world, listeners)
}

fn host(kind: &str, number: usize) -> String {
    format!("{kind}-{number}")
}

/// An event of a length of its own, empty ones not among them.
fn event(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(1 + number as usize * 37 % 900)
}

fn number(event: &[u8]) -> u32 {
    let number = u32::from_be_bytes(*event.first_chunk().expect("no event is empty"));
    assert!(event == self::event(number), "events are whole");
    number
}

/// Reads up to the end, and says which events came and whether the end was in order.
async fn read(subscriber: Connection) -> (Vec<u32>, bool) {
    let mut numbers = Vec::new();
    loop {
        match subscriber.receive().await {
            Ok(Some(event)) => numbers.push(number(event.as_bytes())),
            Ok(None) => return (numbers, subscriber.peer_close().flatten().is_some_and(|close| close.code == 1000)),
            Err(_) => return (numbers, false),
        }
    }
}

/// Publishers and subscribers, of which some are cut off at a time that the seed chooses.
async fn faults(sim: Sim) {
    run(&sim, true).await;
}

async fn run(sim: &Sim, subscribers_too: bool) {
    let env = sim.env("fate");
    let policies = [SlowSubscriber::DropOldest, SlowSubscriber::Disconnect, SlowSubscriber::Block];
    let policy = policies[env.random_below(policies.len())];
    sim.network().set_latency(Duration::from_micros(1 + env.random_below(3000) as u64));
    let (_world, listeners) = world(sim, policy).await;
    let unlucky_publisher = env.random_below(2 * PUBLISHERS);
    let unlucky_subscriber = env.random_below(2 * SUBSCRIBERS);
    let fault = Duration::from_micros(env.random_below(60_000) as u64);

    let mut subscribers = Vec::new();
    let mut publishing = Vec::new();
    for number in 0..PUBLISHERS {
        let sender = Sender::builder(connection_string()).env(sim.env(&host("publisher", number)));
        let publisher = sender.build().expect("a valid target").connect().open().await.expect("nobody is waited for");
        // Accepted one after the other, so that it is known whose they are.
        for (index, listener) in listeners.iter().enumerate() {
            let subscriber = tokio::spawn(read(accept(listener).await));
            subscribers.push((number == unlucky_publisher, index == unlucky_subscriber, subscriber));
        }
        publishing.push((publisher, env.clone()));
    }
    let publish = |(publisher, env): (Connection, hybridrelay::env::Env)| async move {
        for number in 0..EVENTS {
            publisher.send(event(number)).await?;
            env.sleep(env.jitter(Duration::from_millis(2))).await;
        }
        publisher.close().await
    };
    let publishing: Vec<_> = publishing.into_iter().map(|publisher| tokio::spawn(publish(publisher))).collect();
    sim.sleep(fault).await;
    if unlucky_publisher < PUBLISHERS {
        sim.network().cut(&host("publisher", unlucky_publisher), RELAY);
    }
    if unlucky_subscriber < SUBSCRIBERS && subscribers_too {
        sim.network().cut(&host("subscriber", unlucky_subscriber), RELAY);
    }
    for (number, publisher) in publishing.into_iter().enumerate() {
        let published = publisher.await.expect("no panic");
        assert!(published.is_ok() || number == unlucky_publisher, "{published:?}");
    }
    for (publisher_cut, cut, subscriber) in subscribers {
        let (numbers, in_order) = subscriber.await.expect("no panic");
        // No loss, no duplicate, no other order: a prefix, which is all of it where nothing was cut.
        let expected: Vec<u32> = (0..numbers.len() as u32).collect();
        assert_eq!(numbers, expected, "{policy:?}");
        let was_cut = publisher_cut || (cut && subscribers_too);
        if !was_cut {
            assert_eq!((numbers.len() as u32, in_order), (EVENTS, true), "{policy:?}");
        }
    }
}

/// Whoever is online again is found by all publishers at once, in an order of the library's own: so subscribers stay here.
async fn traced(sim: Sim) -> Trace {
    run(&sim, false).await;
    sim.trace()
}

#[test]
fn whoever_stays_gets_every_event_once_and_in_order() {
    for seed in 1..=1000 {
        sim::run(seed, faults);
    }
}

#[test]
fn one_seed_gives_one_trace_of_events() {
    for seed in 1..=3 {
        let first = sim::run(seed, traced);
        assert!(first.records().len() > 100, "something was sent:\n{first}");
        if let Some(difference) = first.difference(&sim::run(seed, traced)) {
            panic!("two runs with seed {seed} differ:\n{difference}");
        }
    }
}

/// A publisher and one subscriber whose window is full, beside others that read.
async fn with_a_stalled_one(sim: &Sim, policy: SlowSubscriber) -> (World, Connection, Connection, Vec<Connection>) {
    let (world, listeners) = world(sim, policy).await;
    let publisher = world.sender().build().expect("a valid target").connect().open().await.expect("let in");
    let mut subscribers = Vec::new();
    for listener in &listeners {
        subscribers.push(accept(listener).await);
    }
    (world, publisher, subscribers.remove(0), subscribers)
}

#[test]
fn a_stalled_subscriber_lives_misses_the_oldest_and_gets_the_newest() {
    sim::run(1, async |sim| {
        let (_world, publisher, stalled, others) = with_a_stalled_one(&sim, SlowSubscriber::DropOldest).await;
        for number in 0..1000 {
            publisher.send(event(number)).await.expect("open");
            for other in &others {
                let got = other.receive().await.expect("open").expect("an event");
                assert_eq!(self::number(got.as_bytes()), number);
            }
        }
        // Nobody takes it for dead, however long it stalls.
        sim.sleep(Duration::from_secs(3600)).await;
        publisher.close().await.expect("answered");
        let (numbers, in_order) = read(stalled).await;
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        assert!(in_order && numbers.len() < 1000 && numbers.last() == Some(&999), "{numbers:?}");
    });
}

#[test]
fn subscribers_and_publishers_with_nothing_to_say_stay_and_those_in_a_black_hole_do_not() {
    sim::run(1, async |sim| {
        let (world, publisher, gone, others) = with_a_stalled_one(&sim, SlowSubscriber::DropOldest).await;
        sim.network().blackhole(&host("subscriber", 0), RELAY);
        sim.sleep(Duration::from_secs(7200)).await;
        publisher.send("still here").await.expect("open");
        for other in &others {
            assert_eq!(other.receive().await.expect("open"), Some("still here".into()));
        }
        assert!(gone.receive().await.is_err());
        drop((publisher, others));
        let quiet = async {
            while world.relay.connections() > 0 {
                sim.sleep(Duration::from_secs(1)).await;
            }
        };
        quiet.await;
    });
}
