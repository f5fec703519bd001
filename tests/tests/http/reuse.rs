//! One connection of a sender, many requests.

use hybridrelay_tests::wire::requests::{closed, respond};
use hybridrelay_tests::wire::setup;

use crate::common::{World, body};

#[tokio::test]
async fn a_connection_is_as_good_as_new_after_every_kind_of_answer() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        for status in [200, 204, 304, 404, 500] {
            for method in ["GET", "HEAD", "POST"] {
                let ask = world.request(method, "");
                let ask = if method == "POST" { ask.body(body(10_000)) } else { ask };
                world.ask(&ask).await;
                let asked = world.listener.request().await;
                world.listener.respond(asked.response(status, true), Some(b"body")).await;
                let response = if method == "HEAD" { world.sender.head().await } else { world.sender.response().await };
                assert_eq!((response.status, response.header("connection")), (status, None));
                world.works().await;
            }
        }
        // Streamed both ways.
        world.ask(&world.request("POST", "").chunked(&body(100_000), 999)).await;
        let (mut ws, asked) = world.listener.request().await.fetch().await;
        respond(&mut ws, asked.response(200, true), Some(&body(100_000))).await;
        assert!(world.sender.response().await.body == body(100_000));
        closed(&mut ws, 1000).await;
        world.works().await;
        // Refused by the relay, with a body that nobody wanted.
        let nowhere = hybridrelay_tests::wire::raw::Ask::http("POST", "/nowhere").body(body(1_000));
        assert_eq!(world.refused(&nowhere).await.status, 401);
        world.works().await;
    }
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_sender_may_send_it_and_not_before() {
    let mut world = World::plain().await;
    for length in [5, 100_000] {
        let head = world.request("POST", "").header("Expect", "100-continue");
        world.ask(&head.header("Content-Length", &length.to_string())).await;
        if length <= 65_536 {
            assert_eq!(world.sender.head().await.status, 100);
            world.sender.send(body(length)).await;
            let asked = world.listener.request().await;
            assert_eq!((asked.body.as_deref(), asked.header("Expect")), (Some(&*body(length)), None));
            world.listener.respond(asked.response(204, false), None).await;
        } else {
            let (mut ws, asked) = world.listener.request().await.fetch_head().await;
            assert_eq!(world.sender.head().await.status, 100);
            world.sender.send(body(length)).await;
            assert!(ws.message().await.1 == body(length));
            respond(&mut ws, asked.response(204, false), None).await;
        }
        assert_eq!(world.sender.response().await.status, 204);
    }
    let without = hybridrelay_tests::wire::raw::Ask::http("POST", "/hyco").header("Expect", "100-continue");
    world.ask(&without.header("Content-Length", "5")).await;
    assert_eq!(world.sender.head().await.status, 401, "without being asked for the body");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let mut world = World::plain().await;
    let bytes: Vec<u8> = (0..10)
        .flat_map(|number| {
            let ask = world.request("POST", &format!("/{number}"));
            let ask = if number % 2 == 0 { ask.body(format!("body {number}")) } else { ask };
            ask.bytes(&world.door)
        })
        .collect();
    world.sender.send(&bytes).await;
    for number in 0..10 {
        let asked = world.listener.request().await;
        assert_eq!(asked.field("requestTarget"), format!("/hyco/{number}"));
        let body = (number % 2 == 0).then(|| format!("body {number}").into_bytes());
        assert_eq!(asked.body, body);
        world.listener.respond(asked.response(200, true), Some(format!("{number}").as_bytes())).await;
    }
    for number in 0..10 {
        assert_eq!(world.sender.response().await.text(), number.to_string());
    }
    world.works().await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_request_whose_rest_never_comes_ends_the_connection_after_it() {
    let mut world = World::plain().await;
    world.ask(&world.request("POST", "").header("Transfer-Encoding", "chunked")).await;
    let (mut ws, asked) = world.listener.request().await.fetch_head().await;
    respond(&mut ws, asked.response(403, true), Some(b"not that")).await;
    let response = world.sender.response().await;
    assert_eq!((response.status, response.text()), (403, "not that"));
    closed(&mut ws, 1000).await;
    world.local().advance(std::time::Duration::from_secs(5));
    world.sender.ended().await;
}

#[tokio::test]
async fn an_http_1_0_sender_gets_a_body_that_ends_with_the_connection() {
    use tokio::io::AsyncReadExt;
    let mut world = World::plain().await;
    let mut sender = world.reconnect().await.into_socket();
    let ask = world.request("GET", "").version("HTTP/1.0");
    ask.write(&world.door, &mut sender).await;
    let asked = world.listener.request().await;
    assert_eq!(asked.header("Via"), Some(&"1.0 127.0.0.1".into()));
    let mut ws = asked.upgrade().await;
    respond(&mut ws, asked.response(200, true), Some(b"to the end")).await;
    let mut bytes = Vec::new();
    hybridrelay_tests::wire::Soon::soon(sender.read_to_end(&mut bytes)).await.expect("an orderly end");
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with("\r\n\r\nto the end"), "{text}");
    assert!(!text.to_ascii_lowercase().contains("transfer-encoding"), "{text}");
}
