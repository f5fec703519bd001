//! A sender that goes away: the listener learns it at once (protocol.md 3.10 and 10, decision 31).

use hybridrelay_tests::wire::raw::{RawWebSocket, op};
use hybridrelay_tests::wire::requests::{closed, respond};
use serde_json::{Value, json};

use crate::common::{World, body};

#[tokio::test]
async fn a_listener_that_agreed_on_it_is_told_to_cancel_and_its_answer_is_swallowed() {
    let mut world = World::with_features("cancel, raw-target").await;
    world.ask(&world.request("POST", "").body(b"body".to_vec())).await;
    let asked = world.listener.request().await;
    world.reconnect().await.into_socket().reset();
    let cancelled: Value = serde_json::from_str(&world.listener.ws.text().await).expect("JSON");
    assert_eq!(cancelled, json!({"cancel": {"requestId": asked.id()}}));
    assert_eq!(asked.dial().await.status, 403, "its address is void");
    world.listener.respond(asked.response(200, true), Some(b"nobody hears it")).await;
    world.works().await;
}

#[tokio::test]
async fn a_listener_that_did_not_agree_on_it_hears_nothing() {
    let mut world = World::with_features("raw-target").await;
    world.ask(&world.request("GET", "")).await;
    let asked = world.listener.request().await;
    world.reconnect().await.into_socket().reset();
    // Void as soon as the relay knows it.
    while asked.ask().send(&world.door).await.status != 403 {}
    // What comes next on the channel is this.
    world.works().await;
}

#[tokio::test]
async fn a_listener_that_answered_in_time_is_not_told_to_cancel() {
    let mut world = World::with_features("cancel").await;
    for _ in 0..3 {
        world.works().await;
    }
    world.ask(&world.request("GET", "")).await;
    let asked = world.listener.request().await;
    let mut ws = asked.upgrade().await;
    respond(&mut ws, asked.response(204, false), None).await;
    assert_eq!(world.sender.response().await.status, 204);
    closed(&mut ws, 1000).await;
    world.works().await;
}

#[tokio::test]
async fn an_address_that_nobody_waits_at_any_more_is_void() {
    let mut world = World::plain().await;
    world.ask(&world.request("POST", "").chunked(b"body", 4)).await;
    let marker = world.listener.request().await;
    world.reconnect().await.into_socket().reset();
    let answer = marker.dial().await;
    // The listener may be faster than the news.
    if answer.status != 403 {
        let mut ws = answer.websocket();
        while ws.frame().await.opcode != op::CLOSE {}
    }
    assert_eq!(marker.dial().await.status, 403);
    world.works().await;
}

/// How far a request has come when its sender goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Fetched,
    Uploading,
    Answering,
}

#[tokio::test]
async fn a_rendezvous_is_closed_with_1001_when_the_sender_goes() {
    for world in [World::plain().await, World::tls().await] {
        let mut world = world;
        for moment in [Moment::Fetched, Moment::Uploading, Moment::Answering] {
            let chunked = world.request("POST", "").header("Transfer-Encoding", "chunked");
            let ask = if moment == Moment::Uploading { chunked } else { world.request("POST", "").chunked(b"body", 4) };
            world.ask(&ask).await;
            let marker = world.listener.request().await;
            let mut ws: RawWebSocket = match moment {
                Moment::Uploading => {
                    let (mut ws, _) = marker.fetch_head().await;
                    world.sender.send("4\r\nbody\r\n").await;
                    assert_eq!(ws.frame().await.payload, b"body");
                    ws
                }
                Moment::Fetched => marker.fetch().await.0,
                Moment::Answering => {
                    let (mut ws, asked) = marker.fetch().await;
                    respond(&mut ws, asked.response(200, true), None).await;
                    ws.send(&hybridrelay_tests::wire::raw::frame(op::BINARY, b"part")).await;
                    assert_eq!(world.sender.head().await.status, 200);
                    assert_eq!(world.sender.chunk().await, b"part");
                    ws
                }
            };
            world.reconnect().await.into_socket().reset();
            closed(&mut ws, 1001).await;
        }
        world.works().await;
    }
}

#[tokio::test]
async fn a_listener_that_does_not_read_is_told_too() {
    let mut world = World::plain().await;
    let bytes = body(32 << 20);
    let ask = world.request("POST", "").body(bytes).bytes(&world.door);
    let mut sender = world.reconnect().await.into_socket();
    let (mut ws, _) = {
        let pushing = async {
            // It ends when the relay has gone, or with the test.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut sender, &ask).await;
        };
        tokio::select! {
            fetched = async { world.listener.request().await.fetch_head().await } => fetched,
            () = pushing => unreachable!("nobody reads the body"),
        }
    };
    sender.reset();
    // The rest of what was on its way comes before.
    loop {
        let frame = ws.frame().await;
        if frame.opcode == op::CLOSE {
            assert_eq!(frame.payload[..2], 1001_u16.to_be_bytes());
            break;
        }
    }
}
