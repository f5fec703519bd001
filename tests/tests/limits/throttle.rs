//! Bytes and connections in a second (simulated: the clock is exact).

use std::time::Duration;

use hybridrelay::env::sim::{self, Sim};
use hybridrelay::{Connection, ErrorKind};
use hybridrelay_relay::Config;
use hybridrelay_tests::metrics::Samples;
use tokio::task::JoinHandle;

use crate::common::{A, B, OWN, SEND, SEND_TOO, World, accept_all, meet, seconds};

async fn pair(world: &World) -> (Connection, Connection) {
    let listener = world.listener("office", A).open().await.expect("online");
    let sender = world.sender("phone", A, SEND).build().expect("a valid target");
    meet(&sender, &listener).await
}

fn send(connection: &Connection, pieces: usize, len: usize) -> JoinHandle<()> {
    let connection = connection.clone();
    tokio::spawn(async move {
        for piece in 0..pieces {
            connection.send(vec![piece as u8; len]).await.expect("the connection lives");
        }
    })
}

async fn receive(connection: &Connection, pieces: usize, len: usize) {
    for piece in 0..pieces {
        let message = connection.receive().await.expect("the connection lives").expect("more to come");
        assert_eq!(message, vec![piece as u8; len].into(), "piece {piece}");
    }
}

fn throttled(world: &World) -> f64 {
    let labels = [("namespace", "main"), ("entity", A)];
    Samples::from(&world.relay).sum("hybridrelay_throttled_seconds_total", &labels)
}

/// Sends 100 pieces of 10 000 bytes and returns how long they took.
async fn one_megabyte(sim: &Sim, from: &Connection, to: &Connection) -> Duration {
    let began = sim.elapsed();
    let sending = send(from, 100, 10_000);
    receive(to, 100, 10_000).await;
    sending.await.expect("no panic");
    sim.elapsed() - began
}

#[test]
fn bytes_pass_at_the_rate_of_whoever_is_slowest() {
    let cases: [fn(&mut Config); 4] = [
        |config| config.limits.bytes_per_second_per_namespace = Some(100_000),
        |config| config.limits.bytes_per_second_per_entity = Some(100_000),
        |config| config.limits.bytes_per_second_per_key = Some(100_000),
        |config| {
            config.limits.bytes_per_second_per_namespace = Some(10_000_000);
            config.limits.bytes_per_second_per_address = Some(100_000);
        },
    ];
    for edit in cases {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone(), edit).await;
            let (sent, accepted) = pair(&world).await;
            // One second's worth passes at once.
            for (from, to) in [(&sent, &accepted), (&accepted, &sent)] {
                let took = one_megabyte(&sim, from, to).await;
                assert!((seconds(9)..seconds(11)).contains(&took), "{took:?}");
                sim.sleep(seconds(2)).await;
            }
            drop((sent, accepted));
            sim.sleep(seconds(1)).await;
            let throttled = throttled(&world);
            assert!((17.0..21.0).contains(&throttled), "{throttled}");
        });
    }
}

#[test]
fn without_a_rate_nothing_is_slow() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |_| {}).await;
        let (sent, accepted) = pair(&world).await;
        let took = one_megabyte(&sim, &sent, &accepted).await;
        assert!(took < seconds(1), "{took:?}");
        assert_eq!(throttled(&world), 0.0);
    });
}

#[test]
fn connections_that_share_a_rate_share_it_fairly_in_both_directions() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |config| {
            config.limits.bytes_per_second_per_namespace = Some(100_000);
        })
        .await;
        let listener = world.listener("office", A).open().await.expect("online");
        let sender = world.sender("phone", A, SEND).build().expect("a valid target");
        let mut transfers = Vec::new();
        for _ in 0..5 {
            let (sent, accepted) = meet(&sender, &listener).await;
            for (from, to) in [(sent.clone(), accepted.clone()), (accepted, sent)] {
                let (sim, sending) = (sim.clone(), send(&from, 20, 10_000));
                transfers.push(tokio::spawn(async move {
                    receive(&to, 20, 10_000).await;
                    sending.await.expect("no panic");
                    drop(from);
                    sim.elapsed()
                }));
            }
        }
        // Two megabytes in all: nobody is through long before the others.
        let mut ends = Vec::new();
        for transfer in transfers {
            ends.push(transfer.await.expect("no panic"));
        }
        let (first, last) = (ends.iter().min().expect("ten"), ends.iter().max().expect("ten"));
        assert!((seconds(18)..seconds(22)).contains(last), "{ends:?}");
        // The first had the second's worth that passes at once.
        assert!(*first > *last / 2, "{ends:?}");
    });
}

#[test]
fn a_slow_rate_ends_no_connection() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |config| config.limits.bytes_per_second_per_entity = Some(100)).await;
        let (sent, accepted) = pair(&world).await;
        // More than an hour, in which neither side hears much.
        let sending = send(&sent, 40, 10_000);
        receive(&accepted, 40, 10_000).await;
        sending.await.expect("no panic");
        assert!(sim.elapsed() > seconds(3600), "{:?}", sim.elapsed());
        accepted.send("done").await.expect("the connection lives");
        assert_eq!(sent.receive().await.expect("the connection lives"), Some("done".into()));
    });
}

#[test]
fn what_a_throttled_sender_sends_stays_with_the_sender() {
    const WINDOW: usize = 64 * 1024;
    sim::run(1, async |sim| {
        sim.network().set_window(WINDOW);
        let world = World::start(sim.clone(), |config| config.limits.bytes_per_second_per_entity = Some(1_000)).await;
        let (sent, accepted) = pair(&world).await;
        let (taken, counted) = tokio::sync::watch::channel(0);
        let sending = tokio::spawn(async move {
            loop {
                sent.send(vec![7; 1_000]).await.expect("the connection lives");
                taken.send_modify(|taken| *taken += 1_000);
            }
        });
        sim.sleep(seconds(60)).await;
        // What passed, what lies in two windows, and what the SDK keeps: the relay holds nothing.
        let passed = 61_000;
        let taken = *counted.borrow();
        assert!((passed..passed + 2 * WINDOW + 64 * 1024).contains(&taken), "{taken}");
        sending.abort();
        drop(accepted);
    });
}

#[test]
fn connections_come_at_the_rate_of_whoever_is_slowest() {
    type Case = (&'static str, fn(&mut Config), Option<(&'static str, &'static str, (&'static str, &'static str))>);
    let cases: [Case; 4] = [
        (
            "connections_per_second_per_namespace",
            |config| config.limits.connections_per_second_per_namespace = Some(2),
            None,
        ),
        (
            "connections_per_second_per_entity",
            |config| config.limits.connections_per_second_per_entity = Some(2),
            Some(("phone", B, SEND)),
        ),
        (
            "connections_per_second_per_key",
            |config| config.limits.connections_per_second_per_key = Some(2),
            Some(("phone", A, SEND_TOO)),
        ),
        (
            "connections_per_second_per_address",
            |config| config.limits.connections_per_second_per_address = Some(2),
            Some(("tablet", A, OWN)),
        ),
    ];
    for (limit, edit, other) in cases {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone(), edit).await;
            for entity in [A, B] {
                accept_all(world.listener("office", entity).open().await.expect("online"));
            }
            let sender = world.sender("phone", A, SEND).build().expect("a valid target");
            let mut open = Vec::new();
            for _ in 0..2 {
                open.push(sender.connect().open().await.expect("as many as in a second"));
            }
            let error = sender.connect().open().await.expect_err("one too many");
            assert_eq!(error.kind(), ErrorKind::ServerBusy, "{error}");
            assert_eq!(error.retry_after(), Some(seconds(1)));
            assert_eq!(Samples::from(&world.relay).refusals(limit), 1.0, "{limit}");
            if let Some((host, entity, rule)) = other {
                let other = world.sender(host, entity, rule).build().expect("a valid target");
                open.push(other.connect().open().await.expect("it is not concerned"));
            }
            sim.sleep(seconds(1)).await;
            open.push(sender.connect().open().await.expect("a second later"));
        });
    }
}
