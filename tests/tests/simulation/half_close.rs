//! A Close travels one way and the other direction lives on (protocol.md 6.3 and 10, decision 23).

use std::time::Duration;

use hybridrelay::env::sim;
use hybridrelay::{Connection, ErrorKind};

use crate::world::{World, connect};

const GUARD: Duration = Duration::from_secs(60);

/// The default of the SDK.
const KEEP_ALIVE: Option<Duration> = Some(Duration::from_secs(20));

/// A pair without keep-alive, so that only what the programs send is life. The first of it is the one that closes: the
/// sender, or the listener.
async fn pair(world: &World, listener_closes: bool) -> (Connection, Connection) {
    pair_with(world, listener_closes, None).await
}

async fn pair_with(world: &World, listener_closes: bool, keep_alive: Option<Duration>) -> (Connection, Connection) {
    let listener = world.listener().keep_alive(keep_alive).open().await.expect("online");
    let sender = world.sender().keep_alive(keep_alive).build().expect("a valid target");
    let (sent, accepted) = connect(&sender, &listener).await;
    if listener_closes { (accepted, sent) } else { (sent, accepted) }
}

#[test]
fn after_a_close_the_other_side_may_send_for_130_s() {
    for (listener_closes, keep_alive) in [(false, None), (true, None), (false, KEEP_ALIVE), (true, KEEP_ALIVE)] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let (closing, going_on) = pair_with(&world, listener_closes, keep_alive).await;
            let begun = sim.elapsed();
            closing.shutdown().await.unwrap();
            assert_eq!(going_on.receive().await.unwrap(), None);
            for second in (10..=130).step_by(10) {
                sim.sleep(Duration::from_secs(10)).await;
                going_on.send(vec![second; 1000]).await.unwrap();
                assert_eq!(closing.receive().await.unwrap(), Some(vec![second; 1000].into()));
            }
            assert_eq!(sim.elapsed() - begun, Duration::from_secs(130));
            let (closed, end) = tokio::join!(going_on.close_with(3001, "enough"), closing.receive());
            closed.unwrap();
            assert_eq!(end.unwrap(), None);
            let close = closing.peer_close().flatten().expect("a code");
            assert_eq!((close.code, close.reason.as_str()), (3001, "enough"));
        });
    }
}

#[test]
fn a_side_that_neither_sends_nor_closes_is_ended_after_60_s() {
    for listener_closes in [false, true] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let (closing, silent) = pair(&world, listener_closes).await;
            let begun = sim.elapsed();
            closing.shutdown().await.unwrap();
            assert_eq!(closing.receive().await.unwrap(), None);
            assert_eq!(sim.elapsed() - begun, GUARD);
            assert_eq!(closing.peer_close().flatten().map(|close| close.code), Some(1001));
            // For the silent side it is an abort.
            assert_eq!(silent.receive().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
            assert_eq!(silent.send("late").await.unwrap_err().kind(), ErrorKind::ConnectionLost);
        });
    }
}

#[test]
fn keep_alive_gives_the_other_side_all_the_time_it_wants() {
    for listener_closes in [false, true] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let (closing, thinking) = pair_with(&world, listener_closes, KEEP_ALIVE).await;
            closing.send("a question").await.unwrap();
            closing.shutdown().await.unwrap();
            assert_eq!(thinking.receive().await.unwrap(), Some("a question".into()));
            assert_eq!(thinking.receive().await.unwrap(), None);
            let answer = async {
                sim.sleep(Duration::from_secs(3600)).await;
                thinking.send("an answer").await.unwrap();
                thinking.close().await.unwrap();
            };
            let receive = async {
                assert_eq!(closing.receive().await.unwrap(), Some("an answer".into()));
                assert_eq!(closing.receive().await.unwrap(), None);
            };
            tokio::join!(answer, receive);
        });
    }
}

#[test]
fn every_byte_restarts_the_guard() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let (closing, slow) = pair(&world, false).await;
        let begun = sim.elapsed();
        closing.shutdown().await.unwrap();
        for _ in 0..2 {
            sim.sleep(Duration::from_secs(50)).await;
            slow.send("x").await.unwrap();
            assert_eq!(closing.receive().await.unwrap(), Some("x".into()));
        }
        assert_eq!(closing.receive().await.unwrap(), None);
        assert_eq!(sim.elapsed() - begun, Duration::from_secs(100) + GUARD);
    });
}

#[test]
fn the_guard_waits_while_the_closed_side_does_not_read() {
    const MESSAGES: u8 = 40;
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let (closing, sending) = pair(&world, false).await;
        closing.shutdown().await.unwrap();
        let task = tokio::spawn(async move {
            for index in 0..MESSAGES {
                sending.send(vec![index; 64 * 1024]).await?;
            }
            sending.close().await
        });
        sim.sleep(Duration::from_secs(600)).await;
        assert!(!task.is_finished(), "more was sent than fits anywhere");
        for index in 0..MESSAGES {
            assert_eq!(closing.receive().await.unwrap(), Some(vec![index; 64 * 1024].into()));
        }
        assert_eq!(closing.receive().await.unwrap(), None);
        task.await.unwrap().unwrap();
    });
}
