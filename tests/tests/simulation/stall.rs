//! A side that is not read, or does not read, is not dead (protocol.md 10, decision 19).

use std::time::Duration;

use hybridrelay::env::sim::{self, Sim};
use hybridrelay::{Connection, Message};
use tokio::task::JoinHandle;

use crate::world::{World, connect};

const MESSAGES: u32 = 100;

/// How the two ends keep their connection alive.
#[derive(Clone, Copy)]
struct KeepAlive {
    sender: Option<Duration>,
    listener: Option<Duration>,
}

const DEFAULT: Option<Duration> = Some(Duration::from_secs(20));

const EVERY_KEEP_ALIVE: [KeepAlive; 4] = [
    KeepAlive { sender: DEFAULT, listener: DEFAULT },
    KeepAlive { sender: None, listener: None },
    KeepAlive { sender: DEFAULT, listener: None },
    KeepAlive { sender: None, listener: DEFAULT },
];

async fn pair(sim: &Sim, keep_alive: KeepAlive) -> (World, Connection, Connection) {
    let world = World::start(sim.clone()).await;
    let listener = world.listener().keep_alive(keep_alive.listener).open().await.expect("online");
    let sender = world.sender().keep_alive(keep_alive.sender).build().expect("a valid target");
    let (sent, accepted) = connect(&sender, &listener).await;
    // The connection needs no listener any more.
    listener.close().await;
    (world, sent, accepted)
}

fn message(index: u32, len: usize) -> Message {
    index.to_le_bytes().repeat(len / 4).into()
}

/// Sends more than fits between the two programs, then half-closes.
fn send_all(connection: &Connection, len: usize) -> JoinHandle<hybridrelay::Result<()>> {
    let connection = connection.clone();
    tokio::spawn(async move {
        for index in 0..MESSAGES {
            connection.send(message(index, len)).await?;
        }
        connection.shutdown().await
    })
}

async fn receive_all(connection: &Connection, len: usize) {
    for index in 0..MESSAGES {
        assert_eq!(connection.receive().await.expect("alive"), Some(message(index, len)), "message {index}");
    }
    assert_eq!(connection.receive().await.expect("alive"), None);
}

#[test]
fn a_pair_stalled_on_both_sides_for_10_min_lives_and_loses_nothing() {
    const LEN: usize = 64 * 1024;
    for keep_alive in EVERY_KEEP_ALIVE {
        sim::run(1, async |sim| {
            let (_world, sent, accepted) = pair(&sim, keep_alive).await;
            let sending = [send_all(&sent, LEN), send_all(&accepted, LEN)];
            sim.sleep(Duration::from_secs(600)).await;
            assert!(sending.iter().all(|task| !task.is_finished()), "both directions are stalled");
            tokio::join!(receive_all(&sent, LEN), receive_all(&accepted, LEN));
            for task in sending {
                task.await.unwrap().expect("everything was taken");
            }
        });
    }
}

#[test]
fn a_side_that_does_not_read_for_10_min_keeps_its_connection() {
    const LEN: usize = 64 * 1024;
    for keep_alive in EVERY_KEEP_ALIVE {
        sim::run(1, async |sim| {
            let (_world, sent, accepted) = pair(&sim, keep_alive).await;
            let sending = send_all(&sent, LEN);
            sim.sleep(Duration::from_secs(600)).await;
            receive_all(&accepted, LEN).await;
            sending.await.unwrap().expect("everything was taken");
            accepted.send("still there").await.unwrap();
            assert_eq!(sent.receive().await.unwrap(), Some("still there".into()));
        });
    }
}

#[test]
fn a_stall_that_the_sender_cannot_see_does_not_end_its_connection() {
    const LEN: usize = 64 * 1024;
    sim::run(1, async |sim| {
        // Everything has left the sender, but not all of it has reached the relay, which does not read on.
        sim.network().set_window(4 << 20);
        let (_world, sent, accepted) = pair(&sim, SLOW_KEEP_ALIVE).await;
        for index in 0..MESSAGES {
            sent.send(message(index, LEN)).await.unwrap();
        }
        sent.flush().await.unwrap();
        sim.sleep(Duration::from_secs(600)).await;
        for index in 0..MESSAGES {
            assert_eq!(accepted.receive().await.expect("alive"), Some(message(index, LEN)));
        }
        accepted.send("all read").await.unwrap();
        assert_eq!(sent.receive().await.unwrap(), Some("all read".into()));
    });
}

/// Lengths of messages and seconds between two of them.
const SLOWNESS: [(usize, u64); 7] =
    [(8 * 1024, 3), (8 * 1024, 11), (8 * 1024, 31), (64 * 1024, 7), (64 * 1024, 19), (64 * 1024, 45), (1024, 13)];

/// A slow reader needs keep-alive, and so does a sender that does not read: nothing else tells the relay that they live.
const SLOW_KEEP_ALIVE: KeepAlive = KeepAlive { sender: DEFAULT, listener: DEFAULT };

#[test]
fn a_reader_that_takes_its_time_keeps_its_connection() {
    for (len, pause) in SLOWNESS {
        sim::run(1, async |sim| {
            let (_world, sent, accepted) = pair(&sim, SLOW_KEEP_ALIVE).await;
            let sending = tokio::spawn({
                let sent = sent.clone();
                async move {
                    for index in 0..MESSAGES {
                        sent.send(message(index, len)).await.expect("the connection lives");
                    }
                }
            });
            receive_slowly(&sim, &accepted, len, Duration::from_secs(pause)).await;
            sending.await.unwrap();
            accepted.send("all read").await.unwrap();
            assert_eq!(sent.receive().await.unwrap(), Some("all read".into()));
        });
    }
}

#[test]
fn a_reader_that_takes_its_time_gets_everything_also_behind_a_close() {
    for (len, pause) in SLOWNESS {
        sim::run(1, async |sim| {
            let (_world, sent, accepted) = pair(&sim, SLOW_KEEP_ALIVE).await;
            let sending = send_all(&sent, len);
            receive_slowly(&sim, &accepted, len, Duration::from_secs(pause)).await;
            assert_eq!(accepted.receive().await.unwrap(), None);
            sending.await.unwrap().expect("everything was taken");
        });
    }
}

#[test]
fn a_reader_at_the_end_of_deep_buffers_keeps_its_connection() {
    const LEN: usize = 64 * 1024;
    for close in [false, true] {
        sim::run(1, async |sim| {
            // Everything fits between the relay and the reader: the relay has nothing left to write early on.
            sim.network().set_window(8 << 20);
            let (_world, sent, accepted) = pair(&sim, SLOW_KEEP_ALIVE).await;
            for index in 0..MESSAGES {
                sent.send(message(index, LEN)).await.unwrap();
            }
            if close {
                sent.shutdown().await.unwrap();
            }
            receive_slowly(&sim, &accepted, LEN, Duration::from_secs(3)).await;
            accepted.send("all read").await.unwrap();
            assert_eq!(sent.receive().await.unwrap(), Some("all read".into()));
        });
    }
}

async fn receive_slowly(sim: &Sim, connection: &Connection, len: usize, pause: Duration) {
    for index in 0..MESSAGES {
        let received = connection.receive().await;
        let received = received.unwrap_or_else(|error| panic!("{len} bytes, {pause:?}, message {index}: {error}"));
        assert_eq!(received, Some(message(index, len)));
        sim.sleep(pause).await;
    }
}
