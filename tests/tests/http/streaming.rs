//! Bodies as they come: nothing waits for more, and nobody has to hold what the other side does not take.

use std::time::Duration;

use hybridrelay_tests::wire::raw::{Framing, RawWebSocket, Seen, frame, op, ping, text};
use hybridrelay_tests::wire::requests::{Asked, closed, respond};
use hybridrelay_tests::wire::setup;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::common::{World, body};

/// A request that was fetched, and its rendezvous.
async fn fetched(world: &mut World) -> (RawWebSocket, Asked) {
    world.ask(&world.request("POST", "").chunked(b"body", 4)).await;
    world.listener.request().await.fetch().await
}

#[tokio::test]
async fn what_the_listener_flushes_is_at_the_sender_at_once() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        let (mut ws, asked) = fetched(&mut world).await;
        respond(&mut ws, asked.response(200, true), None).await;
        let head = world.sender.head().await;
        assert_eq!((head.status, head.framing()), (200, Framing::Chunked));
        for tick in 0..5 {
            let opcode = if tick == 0 { op::BINARY } else { op::CONTINUATION };
            let event = format!("data: {tick}\n\n").into_bytes();
            ws.send(&frame(opcode, &event)).await;
            assert_eq!(world.sender.chunk().await, event);
        }
        ws.send(&frame(0x80, b"")).await;
        assert_eq!(world.sender.chunk().await, b"");
        closed(&mut ws, 1000).await;
        world.works().await;
    }
}

#[tokio::test]
async fn both_bodies_flow_at_the_same_time() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        world.ask(&world.request("POST", "").header("Transfer-Encoding", "chunked")).await;
        let (mut ws, asked) = world.listener.request().await.fetch_head().await;
        respond(&mut ws, asked.response(200, true), None).await;
        assert_eq!(world.sender.head().await.status, 200);
        for turn in 0..5 {
            let opcode = if turn == 0 { op::BINARY } else { op::CONTINUATION };
            world.sender.send("5\r\nhello\r\n").await;
            let question = ws.frame().await;
            assert_eq!((question.opcode, question.fin, &*question.payload), (opcode, false, &b"hello"[..]));
            ws.send(&frame(opcode, b"world")).await;
            assert_eq!(world.sender.chunk().await, b"world");
        }
        world.sender.send("0\r\n\r\n").await;
        assert!(ws.frame().await.fin);
        ws.send(&frame(0x80, b"")).await;
        assert_eq!(world.sender.chunk().await, b"");
        closed(&mut ws, 1000).await;
        world.works().await;
    }
}

#[tokio::test]
async fn a_partial_frame_passes_before_its_end_has_come() {
    let mut world = World::plain().await;
    let (mut ws, asked) = fetched(&mut world).await;
    respond(&mut ws, asked.response(200, true), None).await;
    let whole = frame(0x80 | op::BINARY, &body(100_000));
    ws.send(&whole[..5_000]).await;
    assert_eq!(world.sender.head().await.status, 200);
    let mut got = world.sender.chunk().await;
    assert!(!got.is_empty());
    ws.send(&whole[5_000..]).await;
    loop {
        let chunk = world.sender.chunk().await;
        if chunk.is_empty() {
            break;
        }
        got.extend(chunk);
    }
    assert!(got == body(100_000));
}

#[tokio::test]
async fn a_sender_that_does_not_read_slows_the_listener_down_and_not_the_relay() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        let (mut ws, asked) = fetched(&mut world).await;
        respond(&mut ws, asked.response(200, true), None).await;
        let part = frame(op::BINARY, &[7; 32 * 1024]);
        ws.send(&part).await;
        let part = frame(op::CONTINUATION, &[7; 32 * 1024]);
        let mut pushed = 0;
        // Loopback moves a part in a fraction of this.
        while let Ok(sent) = tokio::time::timeout(Duration::from_millis(1500), ws.socket().write_all(&part)).await {
            sent.expect("the relay is there");
            pushed += part.len();
            assert!(pushed < 64 << 20, "nothing slows the listener down");
        }
        // The listener is alive all the while.
        world.reconnect().await.into_socket().reset();
        assert_eq!(ws.close().await.0, Some(1001));
        drop(ws);
        world.works().await;
    }
}

#[tokio::test]
async fn a_listener_that_does_not_read_slows_the_sender_down() {
    let mut world = World::plain().await;
    world.ask(&world.request("POST", "").header("Transfer-Encoding", "chunked")).await;
    let (mut ws, asked) = world.listener.request().await.fetch_head().await;
    let mut sender = world.reconnect().await.into_socket();
    let part = [&b"8000\r\n"[..], &[7; 32 * 1024], b"\r\n"].concat();
    let mut pushed = 0;
    while let Ok(sent) = tokio::time::timeout(Duration::from_millis(1500), sender.write_all(&part)).await {
        sent.expect("the relay is there");
        pushed += part.len();
        assert!(pushed < 64 << 20, "nothing slows the sender down");
    }
    // It may answer without having read.
    respond(&mut ws, asked.response(413, true), Some(b"too much")).await;
    let response = hybridrelay_tests::wire::raw::RawHttp::on(sender).response().await;
    assert_eq!((response.status, response.text()), (413, "too much"));
}

#[tokio::test]
async fn pings_are_answered_also_between_the_fragments_of_a_body() {
    let mut world = World::plain().await;
    let (mut ws, asked) = fetched(&mut world).await;
    for payload in [&b"before"[..], b"within"] {
        ws.send(&ping(payload)).await;
        let pong = ws.frame().await;
        assert_eq!((pong.opcode, &*pong.payload), (op::PONG, payload));
        if payload == b"before" {
            respond(&mut ws, asked.response(200, true), None).await;
            ws.send(&frame(op::BINARY, b"part")).await;
            assert_eq!(world.sender.head().await.status, 200);
        }
    }
    ws.send(&frame(0x80, b"")).await;
    assert_eq!(world.sender.chunk().await, b"part");
    assert_eq!(world.sender.chunk().await, b"");
}

#[tokio::test]
async fn a_close_with_1000_ends_a_body_as_java_ends_it() {
    let mut world = World::plain().await;
    for parts in [0, 1, 2] {
        let (mut ws, asked) = fetched(&mut world).await;
        respond(&mut ws, asked.response(200, true), None).await;
        for part in 0..parts {
            ws.send(&frame(if part == 0 { op::BINARY } else { op::CONTINUATION }, b"part")).await;
        }
        ws.send_close(Some(1000), "NormalClosure").await;
        assert_eq!(world.sender.response().await.text(), "part".repeat(parts));
        assert_eq!(ws.close().await.0, Some(1000));
        assert_eq!(ws.end().await, Seen::Eof, "both have said Close: the server ends the transport");
    }
    world.works().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        for end in ["reset", "1001", "no code", "violation"] {
            let (mut ws, asked) = fetched(&mut world).await;
            respond(&mut ws, asked.response(200, true), None).await;
            ws.send(&frame(op::BINARY, b"part")).await;
            assert_eq!(world.sender.head().await.status, 200);
            assert_eq!(world.sender.chunk().await, b"part");
            match end {
                "reset" => ws.reset(),
                "1001" => ws.send_close(Some(1001), "").await,
                "no code" => ws.send_close(None, "").await,
                _ => ws.send(&frame(0x80 | op::BINARY, b"a message in a message")).await,
            }
            assert_eq!(world.sender.breaks_off().await, b"", "{end}");
            world.reconnect().await;
        }
        world.works().await;
    }
}

#[tokio::test]
async fn text_is_taken_for_a_body_where_a_body_is_due() {
    let mut world = World::plain().await;
    let (mut ws, asked) = fetched(&mut world).await;
    respond(&mut ws, asked.response(200, true), None).await;
    ws.send(&text("grün")).await;
    assert_eq!(world.sender.response().await.text(), "grün");
}

#[tokio::test]
async fn a_fetched_request_may_be_answered_on_the_control_channel() {
    let mut world = World::plain().await;
    let (mut ws, asked) = fetched(&mut world).await;
    world.listener.respond(asked.response(200, true), Some(b"over there")).await;
    assert_eq!(world.sender.response().await.text(), "over there");
    closed(&mut ws, 1000).await;
    world.works().await;
}

#[tokio::test]
async fn a_stray_empty_message_after_a_response_is_ignored() {
    let mut world = World::plain().await;
    for status in [204, 304, 200] {
        world.ask(&world.request("GET", "")).await;
        let asked = world.listener.request().await;
        world.listener.respond(asked.response(status, false), Some(b"")).await;
        assert_eq!(world.sender.response().await.status, status);
    }
    // The same at a rendezvous, where it comes before the response.
    world.ask(&world.request("GET", "")).await;
    let asked = world.listener.request().await;
    let mut ws = asked.upgrade().await;
    ws.send(&hybridrelay_tests::wire::raw::binary(b"")).await;
    respond(&mut ws, asked.response(200, true), Some(b"body")).await;
    assert_eq!(world.sender.response().await.text(), "body");
    world.works().await;
}

#[tokio::test]
async fn answers_come_in_any_order_and_go_to_who_asked() {
    let mut world = World::plain().await;
    let mut senders = Vec::new();
    let mut asked = Vec::new();
    for number in 0..20 {
        let mut sender = hybridrelay_tests::wire::raw::RawHttp::open(&world.door).await;
        sender.ask(&world.door, &world.request("POST", &format!("/{number}")).body(format!("{number}"))).await;
        senders.push(sender);
        asked.push(world.listener.request().await);
    }
    // One that was never asked is nobody's.
    let unknown = json!({"requestId": "00000000-0000-4000-8000-000000000000_G0", "statusCode": 200, "body": true});
    world.listener.respond(unknown, Some(b"nobody's")).await;
    for asked in asked.iter().rev() {
        let body = asked.body.clone().expect("a body");
        assert_eq!(asked.field("requestTarget"), format!("/hyco/{}", String::from_utf8_lossy(&body)));
        world.listener.respond(asked.response(200, true), Some(&body)).await;
    }
    for (number, sender) in senders.iter_mut().enumerate() {
        assert_eq!(sender.response().await.text(), number.to_string());
    }
}

#[tokio::test]
async fn a_listener_answers_only_what_it_was_given() {
    let mut world = World::plain().await;
    let mut other = world.another_listener("").await;
    world.ask(&world.request("GET", "")).await;
    let (asked, given_to_first) = tokio::select! {
        asked = world.listener.request() => (asked, true),
        asked = other.request() => (asked, false),
    };
    let (giver, thief) =
        if given_to_first { (&mut world.listener, &mut other) } else { (&mut other, &mut world.listener) };
    thief.respond(asked.response(200, true), Some(b"stolen")).await;
    // It was heard: what comes after it is answered.
    thief.ws.send(&ping(b"")).await;
    assert_eq!(thief.ws.frame().await.opcode, op::PONG);
    giver.respond(asked.response(200, true), Some(b"mine")).await;
    assert_eq!(world.sender.response().await.text(), "mine");
}
