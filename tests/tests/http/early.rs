//! Answers that come before the end of the request: the sender gets them, whatever of its body is still on the way (protocol.md 10,
//! decision 76).

use std::time::Duration;

use hybridrelay_relay::{Config, HttpSettings};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::raw::{Ask, RawHttp, RawResponse};
use hybridrelay_tests::wire::requests::respond;
use hybridrelay_tests::wire::setup::{self, HYCO};
use tokio::io::AsyncWriteExt;

use crate::common::World;

/// More than what the kernel's buffers on both sides take without a reader: who sends it needs somebody who reads.
const LONG: usize = 6 << 20;

/// How often: what is a matter of who is faster shows in one of them.
const TIMES: usize = 20;

/// The head of an upload of [`LONG`] bytes.
fn upload(ask: Ask) -> Ask {
    ask.header("Content-Length", &LONG.to_string())
}

/// Sends the whole body and only then looks for the answer, as simple clients do.
async fn send_all_then_read(sender: &mut RawHttp) -> RawResponse {
    sender.send(vec![7; LONG]).await;
    sender.response().await
}

#[tokio::test]
async fn a_listeners_early_answer_reaches_a_sender_that_still_sends() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        for _ in 0..TIMES {
            world.ask(&upload(world.request("POST", ""))).await;
            let (mut ws, asked) = world.listener.request().await.fetch_head().await;
            // It has not read a byte of the body.
            let answering = respond(&mut ws, asked.response(413, true), Some(b"too much"));
            let (response, ()) = tokio::join!(send_all_then_read(&mut world.sender), answering);
            assert_eq!((response.status, response.text()), (413, "too much"));
        }
        world.works().await;
    }
}

#[tokio::test]
async fn the_relays_own_early_answer_reaches_a_sender_that_still_sends() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        let none = Ask::http("POST", format!("/{HYCO}"));
        let nowhere = Ask::http("POST", "/nowhere").token(&world.token);
        let unmet = world.request("POST", "").header("Microsoft-Relay-AllowedListeners", "another");
        for (ask, status) in [(none, 401), (nowhere, 404), (unmet, 404)] {
            for _ in 0..TIMES {
                world.ask(&upload(ask.clone())).await;
                assert_eq!(send_all_then_read(&mut world.sender).await.status, status);
            }
        }
        world.works().await;
    }
}

#[tokio::test]
async fn a_limit_is_told_to_a_sender_that_still_sends() {
    let mut http = HttpSettings::default();
    http.max_body = Some(100_000);
    let mut world = World::serve(setup::entity(HYCO).with_http(http), Config::default()).await;
    for _ in 0..TIMES {
        world.ask(&upload(world.request("POST", ""))).await;
        assert_eq!(send_all_then_read(&mut world.sender).await.status, 413, "by its length");
    }
    for _ in 0..TIMES {
        world.ask(&world.request("POST", "").header("Transfer-Encoding", "chunked")).await;
        let (_ws, _) = world.listener.request().await.fetch_head().await;
        world.sender.send([format!("{LONG:x}\r\n").as_bytes(), &vec![7; LONG], b"\r\n0\r\n\r\n"].concat()).await;
        assert_eq!(world.sender.response().await.status, 413, "on the way");
    }
    world.works().await;

    let mut config = Config::default();
    config.limits.requests_per_entity = 1;
    let mut world = World::serve(setup::entity(HYCO), config).await;
    // One that stays without an answer takes the only place.
    world.ask(&world.request("GET", "")).await;
    let held = (world.reconnect().await, world.listener.request().await);
    for _ in 0..TIMES {
        world.ask(&upload(world.request("POST", ""))).await;
        assert_eq!(send_all_then_read(&mut world.sender).await.status, 503, "no place");
    }
    drop(held);
}

#[tokio::test]
async fn a_sender_that_announces_more_than_is_dropped_gets_its_answer_and_the_end() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        for _ in 0..TIMES {
            world.ask(&Ask::http("POST", format!("/{HYCO}")).header("Content-Length", "1000000000")).await;
            world.sender.send(vec![7; LONG + LONG]).await;
            assert_eq!(world.sender.response().await.status, 401);
            world.sender.eof().await;
            world.reconnect().await;
        }
        // It waits to be asked for its body, which nobody does.
        world.ask(&upload(Ask::http("POST", format!("/{HYCO}"))).header("Expect", "100-continue")).await;
        assert_eq!(world.sender.head().await.status, 401);
    }
}

#[tokio::test]
async fn what_a_sender_goes_on_to_send_is_not_taken_without_end() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        world.ask(&Ask::http("POST", format!("/{HYCO}")).header("Transfer-Encoding", "chunked")).await;
        assert_eq!(world.sender.response().await.status, 401);
        let mut socket = world.reconnect().await.into_socket();
        let mut sent = 0_usize;
        while socket.write_all(&[7; 64 * 1024]).soon().await.is_ok() {
            sent += 64 * 1024;
            assert!(sent < 64 << 20, "the relay takes whatever comes");
        }
        world.works().await;
    }
}

#[tokio::test]
async fn a_sender_that_neither_sends_nor_goes_is_let_go() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        let sockets = |world: &World| world.metrics().sum("hybridrelay_sockets", &[]);
        world.ask(&upload(Ask::http("POST", format!("/{HYCO}")))).await;
        assert_eq!(world.sender.response().await.status, 401);
        // It does not send what it has announced, then does not see the end. All the while it counts beside the listener.
        assert_eq!(sockets(&world), 2.0);
        world.local().advance(Duration::from_secs(5));
        world.sender.eof().await;
        assert_eq!(sockets(&world), 2.0);
        world.local().advance(Duration::from_secs(5));
        let freed = async {
            while sockets(&world) > 1.0 {
                tokio::task::yield_now().await;
            }
        };
        freed.soon().await;
    }
}
