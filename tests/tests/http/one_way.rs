//! One-way requests: answered when a listener has been handed all of one, and not before (protocol.md 5.10).

use std::time::Duration;

use hybridrelay_relay::{Config, HttpSettings, OneWay};
use hybridrelay_tests::wire::peers::RawListener;
use hybridrelay_tests::wire::raw::{Ask, RawHttp, RawResponse, binary};
use hybridrelay_tests::wire::requests::{Asked, closed, respond};
use hybridrelay_tests::wire::setup::{self, HYCO, until};
use serde_json::json;

use crate::common::{World, assert_refused, body};

/// Longer than fits a control message.
const LONG: usize = 200_000;

impl World {
    fn one_way(&self, rest: &str) -> Ask {
        self.request("POST", rest).header("Relay-Delivery", "one-way")
    }

    /// A relay that takes long one-way requests, and waits so long for answers.
    async fn taking_long(response_timeout: Duration) -> Self {
        Self::with_http(|http| (http.one_way_max, http.response_timeout) = (1 << 20, response_timeout)).await
    }
}

/// The relay's own answer to a one-way request.
#[track_caller]
fn assert_accepted(response: &RawResponse, asked: &Asked) {
    assert_eq!((response.status, &*response.body), (202, &b""[..]), "{response:?}");
    assert_eq!(response.header("relay-delivery"), Some("one-way"));
    assert_eq!(response.header("trackingid"), Some(asked.id()));
    assert_eq!(response.header("via"), None, "it is the relay's own");
    assert_eq!(asked.header("Relay-Delivery"), Some(&json!("one-way")), "the listener is told");
}

#[tokio::test]
async fn it_is_answered_when_a_listener_has_it_and_whatever_that_says_goes_nowhere() {
    for world in [World::plain().await, World::tls().await] {
        let mut world = world;
        for (ask, expected) in [
            (world.one_way("/none"), None),
            (world.one_way("/short").body(b"short".to_vec()), Some(b"short".to_vec())),
            (world.one_way("/chunked").chunked(&body(65_536), 5_000), Some(body(65_536))),
            (world.request("GET", "/get").header("Relay-Delivery", "ONE-way"), None),
        ] {
            world.ask(&ask).await;
            let asked = world.listener.request().await;
            assert_eq!(asked.body, expected);
            assert_accepted(&world.sender.response().await, &asked);
            match asked.field("requestTarget") {
                "/hyco/none" => world.listener.respond(asked.response(500, true), Some(b"nobody hears it")).await,
                "/hyco/short" => world.listener.respond(json!({"requestId": asked.id(), "statusCode": 7}), None).await,
                "/hyco/chunked" => {
                    let mut ws = asked.upgrade().await;
                    respond(&mut ws, asked.response(200, true), Some(&body(1 << 20))).await;
                    closed(&mut ws, 1000).await;
                }
                _ => {}
            }
            world.works().await;
        }
    }
}

#[tokio::test]
async fn a_long_one_is_fetched_and_answered_when_all_of_it_is_written() {
    let mut world = World::taking_long(Duration::from_secs(60)).await;
    for chunked in [false, true] {
        let ask = world.one_way("");
        world.ask(&if chunked { ask.chunked(&body(LONG), 10_000) } else { ask.body(body(LONG)) }).await;
        let (mut ws, asked) = world.listener.request().await.fetch().await;
        assert_eq!(asked.body.as_deref(), Some(&*body(LONG)));
        assert_accepted(&world.sender.response().await, &asked);
        respond(&mut ws, asked.response(200, true), Some(&body(1 << 20))).await;
        closed(&mut ws, 1000).await;
        world.works().await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_anything_is_delivered() {
    let mut world = World::plain().await;
    let too_long = body(65_537);
    for ask in [world.one_way("").body(too_long.clone()), world.one_way("").chunked(&too_long, 10_000)] {
        world.reconnect().await;
        let refused = world.refused(&ask).await;
        assert_refused(&refused, 413, "BodyTooLarge", "larger than the endpoint takes");
        assert_eq!(refused.header("relay-delivery"), None);
    }
    world.reconnect().await;
    world.works().await;

    let mut world = World::with_http(|http| (http.one_way_max, http.max_body) = (1 << 20, Some(9))).await;
    let refused = world.refused(&world.one_way("").body(b"ten bytes!".to_vec())).await;
    assert_eq!(refused.status, 413, "no more than an ordinary one");
}

#[tokio::test]
async fn a_hybrid_connection_decides_whether_a_preference_makes_a_request_one_way_or_whether_all_are() {
    for (one_way, prefers, expected) in [
        (OneWay::OnRequest, true, None),
        (OneWay::Allowed, true, Some(Some("respond-async"))),
        (OneWay::Allowed, false, None),
        (OneWay::Always, true, Some(Some("respond-async"))),
        (OneWay::Always, false, Some(None)),
    ] {
        let mut world = World::with_http(|http| http.one_way = one_way).await;
        let ask = world.request("GET", "");
        world.ask(&if prefers { ask.header("Prefer", "respond-async, wait=5") } else { ask }).await;
        let asked = world.listener.request().await;
        assert_eq!(asked.header("Prefer").is_some(), prefers, "it is the application's as well");
        match expected {
            Some(applied) => {
                let response = world.sender.response().await;
                assert_accepted(&response, &asked);
                assert_eq!(response.header("preference-applied"), applied);
            }
            None => {
                assert_eq!(asked.header("Relay-Delivery"), None);
                let mut response = asked.response(200, false);
                response["responseHeaders"] = json!({"Relay-Delivery": "one-way"});
                world.listener.respond(response, None).await;
                let response = world.sender.response().await;
                assert_eq!((response.status, response.header("relay-delivery")), (200, None), "only the relay says so");
            }
        }
    }
}

#[tokio::test]
async fn another_delivery_is_refused_and_so_is_one_to_nobody() {
    let mut world = World::plain().await;
    let refused = world.refused(&world.request("POST", "").header("Relay-Delivery", "two-way")).await;
    assert_refused(&refused, 400, "BadRequest", "Relay-Delivery can only be 'one-way'");
    let nobody = world.one_way("").header("Microsoft-Relay-AllowedListeners", "somebody else");
    assert_eq!(world.refused(&nobody).await.status, 404);
    world.works().await;
}

#[tokio::test]
async fn a_listener_is_never_told_to_cancel_one_and_its_address_lives_as_long_as_an_answer_may_take() {
    let mut settings = HttpSettings::default();
    settings.response_timeout = Duration::from_millis(300);
    let mut world = World::serve(setup::entity(HYCO).with_http(settings), Config::default()).await;
    let mut listener = world.another_listener("cancel").await;
    let id = world.handle().listeners("n", HYCO).into_iter().find(|known| !known.features.is_empty()).expect("online");
    let ask = world.one_way("").header("Microsoft-Relay-AllowedListeners", &id.tracking_id);
    for goes in [false, true] {
        world.ask(&ask).await;
        let asked = listener.request().await;
        assert_accepted(&world.sender.response().await, &asked);
        if goes {
            world.reconnect().await.into_socket().reset();
        }
        // Void once nothing is awaited any more. What a dial is answered in between is for the next test.
        until(|| world.handle().listeners("n", HYCO).iter().all(|known| known.in_flight == 0)).await;
        assert_eq!(asked.dial().await.status, 403);
    }
    world.with_patience();
    world.ask(&ask).await;
    // What comes next on the channel is this, and no cancel.
    let asked = listener.request().await;
    assert_accepted(&world.sender.response().await, &asked);
}

#[tokio::test]
async fn one_without_an_answer_keeps_its_place_at_the_listener_no_longer_than_an_answer_may_take() {
    let mut config = Config::default();
    config.limits.requests_per_listener = 1;
    config.limits.requests_per_entity = 1;
    let mut settings = HttpSettings::default();
    settings.response_timeout = Duration::from_millis(500);
    let mut world = World::serve(setup::entity(HYCO).with_http(settings), config).await;
    world.ask(&world.one_way("")).await;
    let asked = world.listener.request().await;
    assert_accepted(&world.sender.response().await, &asked);
    let mut refused = 0;
    loop {
        world.ask(&world.one_way("")).await;
        let response = world.sender.response().await;
        if response.status == 202 {
            break;
        }
        // The sender's own place is free: it is the listener that is full.
        assert_refused(&response, 503, "ServerBusy", "The listener has as many requests in flight as it may have");
        refused += 1;
    }
    assert!(refused > 0, "it had none");
    // An answer frees it at once.
    let asked = world.listener.request().await;
    world.with_patience();
    world.listener.respond(asked.response(204, false), None).await;
    until(|| world.handle().listeners("n", HYCO)[0].in_flight == 0).await;
    world.ask(&world.one_way("")).await;
    let asked = world.listener.request().await;
    assert_accepted(&world.sender.response().await, &asked);
}

#[tokio::test]
async fn a_listener_that_goes_on_answering_at_a_rendezvous_is_closed_when_it_has_had_its_time() {
    let mut world = World::taking_long(Duration::from_millis(300)).await;
    world.ask(&world.one_way("").body(body(LONG))).await;
    let (mut ws, asked) = world.listener.request().await.fetch().await;
    assert_accepted(&world.sender.response().await, &asked);
    respond(&mut ws, asked.response(200, true), None).await;
    ws.send(&hybridrelay_tests::wire::raw::frame(hybridrelay_tests::wire::raw::op::BINARY, b"and so on")).await;
    closed(&mut ws, 1000).await;

    // One that says nothing.
    world.ask(&world.one_way("").body(body(LONG))).await;
    let (mut ws, _) = world.listener.request().await.fetch().await;
    assert_eq!(world.sender.response().await.status, 202);
    closed(&mut ws, 1001).await;
    until(|| world.handle().listeners("n", HYCO)[0].in_flight == 0).await;
    world.with_patience();
    world.works().await;
}

#[tokio::test]
async fn a_listener_that_goes_before_it_has_anything_leaves_it_to_the_next() {
    let mut world = World::taking_long(Duration::from_secs(60)).await;
    world.ask(&world.one_way("").body(body(LONG))).await;
    assert!(world.listener.request().await.is_marker());
    let other = world.another_listener("").await;
    std::mem::replace(&mut world.listener, other).ws.reset();
    let (mut ws, asked) = world.listener.request().await.fetch().await;
    assert_eq!(asked.body.as_deref(), Some(&*body(LONG)));
    assert_accepted(&world.sender.response().await, &asked);
    respond(&mut ws, asked.response(204, false), None).await;
    closed(&mut ws, 1000).await;

    // And if there is none, the sender may try again.
    world.ask(&world.one_way("").body(body(LONG))).await;
    assert!(world.listener.request().await.is_marker());
    world.listener.ws.reset();
    let refused = world.sender.response().await;
    assert_refused(&refused, 503, "ServerBusy", "has gone before it had taken anything of the request");
    assert_eq!(refused.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_listener_that_goes_with_a_part_of_it_fails_it() {
    // More than the sockets hold.
    const HUGE: usize = 32 << 20;
    let mut world = World::with_http(|http| http.one_way_max = HUGE as u64).await;
    let ask = world.one_way("").body(body(HUGE)).bytes(&world.door);
    let (_, ws) = tokio::join!(world.sender.send(&ask), async { world.listener.request().await.fetch_head().await.0 });
    ws.reset();
    let refused = world.sender.response().await;
    assert_refused(&refused, 502, "BadGateway", "The listener has gone");

    // One that answers instead of taking it has not taken it.
    let (_, (mut ws, asked)) =
        tokio::join!(world.sender.send(&ask), async { world.listener.request().await.fetch_head().await });
    respond(&mut ws, asked.response(413, false), None).await;
    let refused = world.sender.response().await;
    assert_refused(&refused, 502, "BadGateway", "before it had taken the whole request");
}

#[tokio::test]
async fn a_listener_that_takes_nothing_gets_no_more_than_its_sockets_hold() {
    let mut config = Config::default();
    config.timings.write_stall = Duration::from_millis(500);
    let world = World::serve(setup::entity(HYCO), config).await;
    let mut statuses = Vec::new();
    for _ in 0..1_000 {
        let mut sender = RawHttp::open(&world.door).await;
        sender.ask(&world.door, &world.one_way("").body(body(65_536))).await;
        let response = sender.response().await;
        statuses.push(response.status);
        if response.status != 202 {
            assert_refused(&response, 504, "GatewayTimeout", "did not take the whole request in the required time");
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&504), "{} were taken", statuses.len());
}

/// What is read of a request, and of what follows, by a listener that is slow to begin.
#[tokio::test]
async fn one_that_was_given_up_in_the_queue_is_not_delivered_later() {
    let mut settings = HttpSettings::default();
    settings.response_timeout = Duration::from_millis(300);
    let mut world = World::serve(setup::entity(HYCO).with_http(settings), Config::default()).await;
    let mut sent = 0;
    loop {
        world.ask(&world.one_way(&format!("/{sent}")).body(body(65_536))).await;
        let response = world.sender.response().await;
        if response.status != 202 {
            assert_eq!(response.status, 504);
            break;
        }
        sent += 1;
    }
    // Behind the one that is being written.
    for _ in 0..3 {
        let refused = world.refused(&world.one_way("/given-up").body(b"x".to_vec())).await;
        assert_refused(&refused, 504, "GatewayTimeout", "in the required time");
    }
    for number in 0..=sent {
        assert_eq!(target(&mut world.listener).await, format!("/hyco/{number}"));
    }
    world.with_patience();
    world.works().await;
}

async fn target(listener: &mut RawListener) -> String {
    listener.request().await.field("requestTarget").to_owned()
}

#[tokio::test]
async fn it_is_told_of_once_as_what_it_was() {
    let mut world = World::with_http(|_| {}).await;
    let mut events = world.handle().events();
    world.ask(&world.one_way("").body(b"question".to_vec())).await;
    let asked = world.listener.request().await;
    assert_accepted(&world.sender.response().await, &asked);
    world.listener.respond(asked.response(200, true), Some(b"answer")).await;
    let event = loop {
        let event = hybridrelay_tests::wire::Soon::soon(events.next()).await.expect("the relay runs");
        if let hybridrelay_relay::Detail::Request { .. } = event.detail {
            break event.detail.clone();
        }
    };
    let hybridrelay_relay::Detail::Request { status, outcome, to_listener, to_sender, .. } = event else {
        unreachable!("the loop has looked")
    };
    assert_eq!((status, outcome, to_listener, to_sender), (Some(202), "one_way", 8, 0));
    world.works().await;
}

#[tokio::test]
async fn what_a_listener_says_without_being_asked_is_nothing_to_a_one_way_request() {
    let mut world = World::taking_long(Duration::from_secs(60)).await;
    world.ask(&world.one_way("").body(body(LONG))).await;
    let (mut ws, asked) = world.listener.request().await.fetch().await;
    assert_accepted(&world.sender.response().await, &asked);
    // By the control channel instead of the rendezvous.
    world.listener.respond(asked.response(200, true), Some(b"answer")).await;
    closed(&mut ws, 1000).await;
    // And a body without a response.
    world.ask(&world.one_way("").body(body(LONG))).await;
    let (mut ws, _) = world.listener.request().await.fetch().await;
    assert_eq!(world.sender.response().await.status, 202);
    ws.send(&binary(b"no response")).await;
    closed(&mut ws, 1002).await;
    world.works().await;
}
