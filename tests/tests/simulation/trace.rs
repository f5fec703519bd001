//! One seed, one trace.

use std::time::Duration;

use hybridrelay::env::sim::{self, Sim, Trace};
use hybridrelay::{ErrorKind, Message, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{ENTITY, NAMESPACE, RELAY, SENDER, World, connect};

/// A bit of everything: several connections at once, messages both ways, a control channel that is dropped and comes back
/// after a random delay, a half-close, an abort, and long pauses.
async fn a_busy_day(sim: Sim) -> Trace {
    sim.network().set_latency(Duration::from_millis(3));
    let world = World::start(sim.clone()).await;
    let listener = world.listener().open().await.expect("online");
    let sender = world.sender().build().expect("a valid target");

    let mut pairs = Vec::new();
    for round in 0..3u8 {
        let (sent, accepted) = connect(&sender, &listener).await;
        let long = Message::from(vec![round; 200_000]);
        let (up, down) = tokio::join!(sent.send(long.clone()), accepted.send("from below"));
        up.unwrap();
        down.unwrap();
        let (received, answer) = tokio::join!(accepted.receive(), sent.receive());
        assert_eq!(received.unwrap(), Some(long));
        assert_eq!(answer.unwrap(), Some("from below".into()));
        pairs.push((sent, accepted));
    }

    // Often enough that the jittered delays show.
    let mut status = listener.status();
    for _ in 0..4 {
        sim.sleep(Duration::from_secs(2)).await;
        assert_eq!(world.relay.drop_control(NAMESPACE, ENTITY), 1);
        while !matches!(status.changed().await, Some(Status::Offline { .. })) {}
        while !matches!(status.changed().await, Some(Status::Online { .. })) {}
    }

    let (closing, peer) = pairs.remove(0);
    closing.shutdown().await.unwrap();
    assert_eq!(peer.receive().await.unwrap(), None);
    peer.send("after the half-close").await.unwrap();
    peer.close().await.unwrap();
    assert_eq!(closing.receive().await.unwrap(), Some("after the half-close".into()));
    assert_eq!(closing.receive().await.unwrap(), None);

    let (aborting, peer) = pairs.remove(0);
    aborting.abort();
    assert_eq!(peer.receive().await.unwrap_err().kind(), ErrorKind::ConnectionLost);

    sim.sleep(Duration::from_secs(2 * 60 * 60)).await;
    listener.close().await;
    sim.trace()
}

#[test]
fn one_seed_gives_one_trace() {
    let traces: Vec<_> = (1..=5).map(|seed| sim::run(seed, a_busy_day)).collect();
    for (seed, first) in (1..).zip(&traces) {
        if let Some(difference) = first.difference(&sim::run(seed, a_busy_day)) {
            panic!("two runs with seed {seed} differ:\n{difference}");
        }
    }
    assert!(traces[0].records().len() > 1_000, "the trace is that of a busy day:\n{}", traces[0]);
    assert!(traces.windows(2).all(|pair| pair[0] != pair[1]), "another seed gives another trace");
}

#[test]
fn the_relay_dates_its_answers_by_the_clock_of_its_environment() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let env = sim.env(SENDER);
        sim.move_wall_clock(RELAY, 45);
        let mut socket = env.dial(env.resolve(RELAY, 80).await.unwrap()[0]).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("\r\ndate: Sat, 31 Jan 2026 08:15:45 GMT\r\n"), "{answer}");
        drop(world);
    });
}
