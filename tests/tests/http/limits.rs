//! What requests may use, and what is told of them.

use hybridrelay_relay::{Config, Detail, Operation};
use hybridrelay_tests::wire::raw::RawHttp;
use hybridrelay_tests::wire::requests::{closed, respond};
use hybridrelay_tests::wire::setup::{self, HYCO, until};

use crate::common::{World, assert_refused};

const ENTITY: [(&str, &str); 1] = [("entity", HYCO)];

fn limited(edit: impl FnOnce(&mut hybridrelay_relay::Limits)) -> Config {
    let mut config = Config::default();
    edit(&mut config.limits);
    config
}

#[tokio::test]
async fn requests_in_flight_are_bounded_per_hybrid_connection_until_they_end() {
    let config = limited(|limits| limits.requests_per_entity = 1);
    let mut world = World::serve(setup::entity(HYCO), config).await;
    world.ask(&world.request("GET", "")).await;
    let asked = world.listener.request().await;
    let mut ws = asked.upgrade().await;
    respond(&mut ws, asked.response(200, true), None).await;
    assert_eq!(world.sender.head().await.status, 200);

    // The answer has begun and not ended.
    let mut another = RawHttp::open(&world.door).await;
    another.ask(&world.door, &world.request("GET", "")).await;
    let refused = another.response().await;
    assert_refused(&refused, 503, "ServerBusy", "The hybrid connection has as many requests in flight as it may have");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(world.metrics().refusals("requests_per_entity"), 1.0);

    ws.send(&hybridrelay_tests::wire::raw::binary(b"end")).await;
    assert_eq!(world.sender.chunk().await, b"end");
    assert_eq!(world.sender.chunk().await, b"");
    closed(&mut ws, 1000).await;
    world.works().await;
}

#[tokio::test]
async fn a_full_listener_leaves_requests_to_others() {
    let config = limited(|limits| limits.requests_per_listener = 1);
    let mut world = World::serve(setup::entity(HYCO), config).await;
    let mut other = world.another_listener("").await;
    let mut senders = Vec::new();
    for _ in 0..2 {
        let mut sender = RawHttp::open(&world.door).await;
        sender.ask(&world.door, &world.request("GET", "")).await;
        senders.push(sender);
    }
    let (mine, others) = tokio::join!(world.listener.request(), other.request());
    let refused = world.refused(&world.request("GET", "")).await;
    assert_refused(&refused, 503, "ServerBusy", "The listener has as many requests in flight as it may have");
    world.listener.respond(mine.response(204, false), None).await;
    other.respond(others.response(204, false), None).await;
    for mut sender in senders {
        assert_eq!(sender.response().await.status, 204);
    }
}

#[tokio::test]
async fn requests_count_as_connections_of_senders() {
    let config = limited(|limits| limits.connections_per_second_per_entity = Some(2));
    let mut world = World::serve(setup::entity(HYCO), config).await;
    world.works().await;
    world.works().await;
    let mut throttled = world.refused(&world.request("GET", "")).await;
    // A machine that is slow enough has a token again.
    while throttled.status != 429 {
        throttled = world.refused(&world.request("GET", "")).await;
    }
    assert_refused(&throttled, 429, "ServerBusy", "The hybrid connection opens connections faster than it may");
    assert!(throttled.header("retry-after").is_some());
}

#[tokio::test]
async fn requests_and_their_bytes_are_counted_both_ways() {
    let mut world = World::plain().await;
    for (status, fetched) in [(200, false), (404, false), (200, true), (500, true)] {
        let ask = world.request("POST", "");
        let ask = if fetched { ask.chunked(b"question", 3) } else { ask.body(b"question".to_vec()) };
        world.ask(&ask).await;
        let asked = world.listener.request().await;
        assert_eq!(world.metrics().sum("hybridrelay_active_connections", &ENTITY), 1.0);
        if fetched {
            let (mut ws, asked) = asked.fetch().await;
            respond(&mut ws, asked.response(status, true), Some(b"answer")).await;
        } else {
            world.listener.respond(asked.response(status, true), Some(b"answer")).await;
        }
        assert_eq!(world.sender.response().await.text(), "answer");
        until(|| world.metrics().sum("hybridrelay_active_connections", &ENTITY) == 0.0).await;
    }
    let metrics = world.metrics();
    for (result, count) in [("success", 2.0), ("client_error", 1.0), ("server_error", 1.0)] {
        let labels = [ENTITY[0], ("result", result)];
        assert_eq!(metrics.sum("hybridrelay_sender_connections_total", &labels), count, "{result}");
    }
    for (direction, bytes) in [("to_listener", 4.0 * 8.0), ("to_sender", 4.0 * 6.0)] {
        let labels = [ENTITY[0], ("direction", direction)];
        assert_eq!(metrics.sum("hybridrelay_transferred_bytes_total", &labels), bytes, "{direction}");
    }
    assert_eq!(metrics.sum("hybridrelay_sender_disconnects_total", &ENTITY), 4.0);
}

#[tokio::test]
async fn a_relay_that_ends_lets_requests_be_answered_first() {
    let mut world = World::plain().await;
    world.ask(&world.request("GET", "/given")).await;
    let given = world.listener.request().await;
    let mut streaming = RawHttp::open(&world.door).await;
    streaming.ask(&world.door, &world.request("GET", "/streamed")).await;
    let streamed = world.listener.request().await;
    let mut ws = streamed.upgrade().await;
    respond(&mut ws, streamed.response(200, true), None).await;
    assert_eq!(streaming.head().await.status, 200);

    let World { relay, mut listener, mut sender, door, .. } = world;
    let ending = relay.shutdown(std::time::Duration::from_secs(60));
    let answering = async {
        // Once it takes nothing new it drains.
        while tokio::net::TcpStream::connect(door.addr).await.is_ok() {}
        listener.respond(given.response(200, true), Some(b"in time")).await;
        assert_eq!(sender.response().await.text(), "in time");
        assert_eq!(listener.ws.close().await, (Some(1001), "ServiceShuttingDown".to_owned()));
        listener.ws.send_close(Some(1001), "").await;
        ws.send(&hybridrelay_tests::wire::raw::binary(b"in time")).await;
        assert_eq!(streaming.chunk().await, b"in time");
        assert_eq!(streaming.chunk().await, b"");
        closed(&mut ws, 1000).await;
    };
    hybridrelay_tests::wire::Soon::soon(async { tokio::join!(ending, answering) }).await;
}

#[tokio::test]
async fn a_hybrid_connection_that_is_deleted_ends_its_requests() {
    let mut world = World::plain().await;
    world.ask(&world.request("GET", "/given")).await;
    world.listener.request().await;
    let mut upgraded = RawHttp::open(&world.door).await;
    upgraded.ask(&world.door, &world.request("GET", "/upgraded")).await;
    let mut ws = world.listener.request().await.upgrade().await;
    let relay = world.local();
    assert!(relay.store().delete_entity(relay.namespace(), HYCO));
    closed(&mut ws, 1001).await;
    for mut sender in [world.sender, upgraded] {
        assert_refused(&sender.response().await, 502, "BadGateway", "has gone without a response");
    }
}

#[tokio::test]
async fn each_request_is_told_of_once_at_its_end_without_its_query() {
    let mut world = World::serve(setup::entity(HYCO), Config::default()).await;
    let mut events = world.handle().events();
    world.ask(&world.request("POST", "/a%20b?secret=1").body(b"question".to_vec())).await;
    let asked = world.listener.request().await;
    world.listener.respond(asked.response(404, true), Some(b"answer")).await;
    world.sender.response().await;
    let event = loop {
        let event = hybridrelay_tests::wire::Soon::soon(events.next()).await.expect("the relay runs");
        if event.operation != Operation::SenderSentHttpRequest {
            break event;
        }
    };
    assert_eq!(event.operation, Operation::ListenerReturningHttpResponse);
    assert_eq!((&*event.tracking_id, event.key_name.as_deref()), (asked.id(), Some("all")));
    let Detail::Request { method, path, status, outcome, to_listener, to_sender, .. } = &event.detail else {
        panic!("{event:?}")
    };
    assert_eq!((&**method, &**path, *status, *outcome), ("POST", "hyco/a%20b", Some(404), "completed"));
    assert_eq!((*to_listener, *to_sender), (8, 6));
    assert!(!format!("{event:?}").contains("secret"));

    world.ask(&world.request("GET", "")).await;
    world.listener.request().await;
    world.reconnect().await.into_socket().reset();
    let gone = loop {
        let event = hybridrelay_tests::wire::Soon::soon(events.next()).await.expect("the relay runs");
        if event.operation == Operation::ListenerReturningHttpResponseFailed {
            break event;
        }
        assert_eq!(event.operation, Operation::SenderSentHttpRequest, "{event:?}");
    };
    assert!(matches!(gone.detail, Detail::Request { status: None, outcome: "sender_gone", .. }), "{gone:?}");

    // One that is refused is told of as such, and not twice.
    let refused = world.refused(&world.request("GET", "").header("Microsoft-Relay-AllowedListeners", "x")).await;
    assert_eq!(refused.status, 404);
    let event = hybridrelay_tests::wire::Soon::soon(events.next()).await.expect("the relay runs");
    assert!(matches!(&event.detail, Detail::Refused { reason: "no_allowed_listener", .. }), "{event:?}");
    assert_eq!(event.entity.as_ref().map(|entity| entity.path()), Some(HYCO));
}
