//! Closing is bounded in time, and patient as long as something moves.

use std::time::Duration;

use futures_util::SinkExt;
use hybridrelay::env::sim::{self, Sim};
use hybridrelay::{Connection, ErrorKind, Sender};
use tokio_tungstenite::tungstenite::Message;

use crate::raw::{Raw, ScriptedRelay};
use crate::world::{LISTENER, RELAY, SENDER, World, connect, connection_string};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Option<Duration> = Some(Duration::from_secs(20));

/// A connection whose peer is the test itself.
async fn with_raw_peer(sim: &Sim, keep_alive: Option<Duration>) -> (Connection, Raw) {
    let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
    let sender = Sender::builder(connection_string()).env(sim.env(SENDER)).keep_alive(keep_alive);
    let sender = sender.build().expect("a valid target");
    let (connection, peer) = tokio::join!(sender.connect().open(), relay.take());
    (connection.expect("the peer accepts"), peer)
}

/// Pings for ever and never reads, so that it neither hears nor answers a Close.
async fn ping_for_ever(sim: &Sim, mut peer: Raw) -> Duration {
    loop {
        sim.sleep(Duration::from_secs(10)).await;
        if peer.send(Message::Ping("".into())).await.is_err() {
            return sim.elapsed();
        }
    }
}

#[test]
fn closing_gives_up_on_a_peer_that_only_pings() {
    for keep_alive in [KEEP_ALIVE, None] {
        sim::run(1, async |sim| {
            let (connection, peer) = with_raw_peer(&sim, keep_alive).await;
            let begun = sim.elapsed();
            let pinging = tokio::spawn({
                let sim = sim.clone();
                async move { ping_for_ever(&sim, peer).await }
            });
            assert_eq!(connection.close().await.unwrap_err().kind(), ErrorKind::Timeout);
            let waited = sim.elapsed() - begun;
            assert!(waited >= CLOSE_TIMEOUT && waited <= 2 * CLOSE_TIMEOUT, "{waited:?}");
            // The peer is rid of it as well.
            pinging.await.unwrap();
            assert!(sim.elapsed() - begun <= 2 * CLOSE_TIMEOUT + Duration::from_secs(10));
        });
    }
}

#[test]
fn closing_waits_while_the_peer_still_sends() {
    for keep_alive in [KEEP_ALIVE, None] {
        sim::run(1, async |sim| {
            let (connection, mut peer) = with_raw_peer(&sim, keep_alive).await;
            let begun = sim.elapsed();
            let sending = async {
                for _ in 0..10 {
                    sim.sleep(Duration::from_secs(50)).await;
                    peer.send(Message::text("still here")).await.expect("the connection lives");
                }
                peer.close(None).await.expect("the connection lives");
            };
            let (closed, ()) = tokio::join!(connection.close(), sending);
            closed.expect("something moved all the time");
            assert_eq!(sim.elapsed() - begun, Duration::from_secs(500));
        });
    }
}

#[test]
fn closing_waits_while_the_peer_takes_what_was_sent() {
    const MESSAGES: u8 = 20;
    for keep_alive in [KEEP_ALIVE, None] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let listener = world.listener().keep_alive(keep_alive).open().await.expect("online");
            let sender = world.sender().keep_alive(keep_alive).build().expect("a valid target");
            let (sent, accepted) = connect(&sender, &listener).await;
            let sending = async {
                for index in 0..MESSAGES {
                    sent.send(vec![index; 64 * 1024]).await.expect("the connection lives");
                }
                sent.close().await
            };
            let reading = async {
                for index in 0..MESSAGES {
                    sim.sleep(Duration::from_secs(10)).await;
                    assert_eq!(accepted.receive().await.unwrap(), Some(vec![index; 64 * 1024].into()));
                }
                assert_eq!(accepted.receive().await.unwrap(), None);
                accepted.close().await
            };
            let (sent, read) = tokio::join!(sending, reading);
            sent.expect("something moved all the time");
            read.expect("both have closed");
        });
    }
}

#[test]
fn closing_into_a_black_hole_gives_up() {
    for keep_alive in [KEEP_ALIVE, None] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let listener = world.listener().open().await.expect("online");
            let sender = world.sender().keep_alive(keep_alive).build().expect("a valid target");
            let (sent, _accepted) = connect(&sender, &listener).await;
            sim.network().blackhole(SENDER, RELAY);
            let begun = sim.elapsed();
            assert_eq!(sent.close().await.unwrap_err().kind(), ErrorKind::Timeout);
            let waited = sim.elapsed() - begun;
            assert!(waited >= CLOSE_TIMEOUT && waited <= 2 * CLOSE_TIMEOUT, "{waited:?}");
        });
    }
}

#[test]
fn a_connection_dropped_behind_its_close_ends_although_the_peer_pings() {
    for keep_alive in [KEEP_ALIVE, None] {
        sim::run(1, async |sim| {
            let (connection, peer) = with_raw_peer(&sim, keep_alive).await;
            connection.shutdown().await.unwrap();
            drop(connection);
            let begun = sim.elapsed();
            let ended = ping_for_ever(&sim, peer).await - begun;
            assert!(ended <= 2 * CLOSE_TIMEOUT + Duration::from_secs(10), "{ended:?}");
        });
    }
}

#[test]
fn a_listener_closes_within_2_s_although_the_relay_is_a_black_hole() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let listener = world.listener().open().await.expect("online");
        sim.network().blackhole(LISTENER, RELAY);
        let begun = sim.elapsed();
        let (accepted, ()) = tokio::join!(listener.accept(), listener.close());
        assert!(accepted.expect("no failure").is_none());
        assert!(sim.elapsed() - begun <= Duration::from_secs(2), "{:?}", sim.elapsed() - begun);
    });
}

#[test]
fn a_listener_closes_within_2_s_although_the_relay_takes_no_answers() {
    sim::run(1, async |sim| {
        let mut relay = ScriptedRelay::start(&sim.env(RELAY)).await;
        let listener = hybridrelay::Listener::builder(connection_string()).env(sim.env(LISTENER));
        let (listener, mut control) = tokio::join!(listener.open(), relay.take());
        let listener = listener.expect("online");
        // Requests, which the listener answers on this channel, whose answers nobody reads.
        for number in 0..300 {
            let request = serde_json::json!({"request": {
                "address": format!("ws://{RELAY}/$hc/hyco?sb-hc-action=request&sb-hc-id={number}"),
                "id": format!("{number}"),
                "requestTarget": "/hyco",
                "method": "GET",
                "requestHeaders": {},
                "body": false,
            }});
            control.send(Message::text(request.to_string())).await.expect("the listener reads");
        }
        sim.sleep(Duration::from_secs(1)).await;
        let begun = sim.elapsed();
        listener.close().await;
        assert!(sim.elapsed() - begun <= Duration::from_secs(2), "{:?}", sim.elapsed() - begun);
    });
}
