//! What a sender is told when nothing comes of its request (protocol.md 5.8).

use std::time::Duration;

use hybridrelay_relay::{Config, Namespace, NoListener, Rights, Rule};
use hybridrelay_tests::wire::peers::{RawListener, token};
use hybridrelay_tests::wire::raw::{Ask, RawHttp};
use hybridrelay_tests::wire::requests::{closed, respond};
use hybridrelay_tests::wire::setup::{self, HYCO};
use serde_json::json;

use crate::common::{World, assert_refused};

/// Short, for what is to be too late; long enough for what has to be in time.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_sender_that_may_not_is_told_why() {
    let rules = [("listen", Rights::LISTEN), ("send", Rights::SEND)];
    let entity = setup::entity(HYCO);
    let entity =
        rules.into_iter().fold(entity, |entity, (name, rights)| entity.with_rule(Rule::new(name, rights, "r")));
    let mut world = World::serve(entity, Config::default()).await;
    let with = |token: &str| Ask::http("GET", format!("/{HYCO}/x?secret=1")).token(token);

    let none = world.refused(&Ask::http("GET", format!("/{HYCO}/x?secret=1"))).await;
    assert_refused(&none, 401, "TokenMissingOrInvalid", "MissingToken");
    assert!(none.reason.contains(&format!("SystemTracker:{}:{HYCO}/x,", world.door.authority)), "{}", none.reason);
    assert!(!none.text().contains("secret"));
    for (token, text) in [
        ("nonsense".to_owned(), "MalformedToken"),
        (token("http://127.0.0.1/", "send", "wrong"), "InvalidSignature"),
        (token("http://127.0.0.1/other", "send", "r"), "InvalidAudience"),
    ] {
        assert_refused(&world.refused(&with(&token)).await, 401, "TokenMissingOrInvalid", text);
    }
    let listen = token("http://127.0.0.1/", "listen", "r");
    assert_refused(&world.refused(&with(&listen)).await, 403, "AuthorizationFailed", "right to send");
    world.works().await;
}

#[tokio::test]
async fn a_request_that_leads_nowhere_is_404_and_without_a_listener_what_is_set() {
    let mut world = World::plain().await;
    let token = world.token.clone();
    for path in ["/", "/nobody", "/hycox", "//hyco"] {
        let refused = world.refused(&Ask::http("GET", path).token(&token)).await;
        assert_refused(&refused, 404, "EndpointNotFound", "Endpoint does not exist");
    }
    let only_another = world.request("GET", "").header("Microsoft-Relay-AllowedListeners", "another");
    let refused = world.refused(&only_another).await;
    assert_refused(&refused, 404, "EndpointNotFound", "None of the connected listeners meet");

    for (choice, status) in [(NoListener::NotFound, 404), (NoListener::BadGateway, 502)] {
        let mut settings = hybridrelay_relay::HttpSettings::default();
        settings.no_listener = choice;
        let namespace = Namespace::new("n").with_entity(setup::entity(HYCO).anonymous().with_http(settings));
        let served = setup::serve([namespace], Config::default()).await;
        let mut sender = RawHttp::open(&served.door).await;
        // Refused without a look at the body.
        let ask = Ask::http("POST", format!("/{HYCO}")).header("Expect", "100-continue").header("Content-Length", "5");
        sender.ask(&served.door, &ask).await;
        let refused = sender.head().await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.reason.starts_with("There are no listeners connected for the endpoint"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_request_that_can_not_be_relayed_is_refused_at_once() {
    let mut world = World::with_http(|http| http.max_body = Some(100_000)).await;
    let nul = world.refused(&world.request("GET", "/a%00b")).await;
    assert_refused(&nul, 400, "BadRequest", "NUL");
    let connect = world.refused(&Ask::http("CONNECT", "127.0.0.1:80")).await;
    assert_refused(&connect, 405, "MethodNotAllowed", "CONNECT");
    world.reconnect().await;
    let large = world.refused(&world.request("GET", "").header("X-Large", &"x".repeat(33 << 10))).await;
    assert_refused(&large, 431, "HeadersTooLarge", "too large");
    let long = world.refused(&world.request("POST", "").header("Content-Length", "100001")).await;
    assert_refused(&long, 413, "BodyTooLarge", "larger than the endpoint takes");

    // By chunks, where it shows only on the way.
    world.reconnect().await;
    let ask = world.request("POST", "").chunked(&vec![7; 100_001], 50_000);
    world.ask(&ask).await;
    let (mut ws, _) = world.listener.request().await.fetch_head().await;
    assert_refused(&world.sender.response().await, 413, "BodyTooLarge", "larger than the endpoint takes");
    while ws.frame().await.opcode != 8 {}
    world.reconnect().await;
    world.works().await;
}

#[tokio::test]
async fn a_listener_that_does_not_answer_costs_504_and_its_late_answer_is_swallowed() {
    let mut world = World::with_http(|http| http.response_timeout = SOON).await;
    let late = "The request was routed to the listener but the listener did not respond in the required time";
    world.ask(&world.request("GET", "")).await;
    let asked = world.listener.request().await;
    assert_refused(&world.sender.response().await, 504, "GatewayTimeout", late);
    world.listener.respond(asked.response(200, true), Some(b"too late")).await;
    assert_eq!(asked.dial().await.status, 403, "its address is void");

    // Not fetched at all.
    world.ask(&world.request("POST", "").chunked(b"x", 1)).await;
    let marker = world.listener.request().await;
    assert!(marker.is_marker());
    assert_refused(&world.sender.response().await, 504, "GatewayTimeout", late);
    assert_eq!(marker.dial().await.status, 403);

    // Fetched and kept.
    world.reconnect().await;
    world.ask(&world.request("POST", "").chunked(b"x", 1)).await;
    let (mut ws, _) = world.listener.request().await.fetch().await;
    assert_refused(&world.sender.response().await, 504, "GatewayTimeout", late);
    closed(&mut ws, 1001).await;
    world.with_patience();
    world.works().await;
}

#[tokio::test]
async fn the_time_for_an_answer_begins_with_the_end_of_the_request() {
    let mut world = World::with_http(|http| http.response_timeout = SOON).await;
    let head = world.request("POST", "").header("Transfer-Encoding", "chunked");
    world.ask(&head).await;
    let (mut ws, asked) = world.listener.request().await.fetch_head().await;
    for _ in 0..3 {
        world.sender.send("1\r\nx\r\n").await;
        assert_eq!(ws.frame().await.payload, b"x");
        // Longer in all than the listener has afterwards.
        tokio::time::sleep(SOON.mul_f32(0.4)).await;
    }
    world.sender.send("0\r\n\r\n").await;
    assert!(ws.frame().await.fin);
    respond(&mut ws, asked.response(204, false), None).await;
    assert_eq!(world.sender.response().await.status, 204);
}

#[tokio::test]
async fn a_body_that_does_not_go_on_ends_the_request_on_either_side() {
    let mut world = World::with_http(|http| http.idle_timeout = SOON / 10).await;
    world.ask(&world.request("POST", "").header("Transfer-Encoding", "chunked")).await;
    let (mut ws, _) = world.listener.request().await.fetch_head().await;
    assert_refused(&world.sender.response().await, 408, "RequestTimeout", "did not come in time");
    closed(&mut ws, 1001).await;

    world.reconnect().await;
    world.ask(&world.request("GET", "")).await;
    let asked = world.listener.request().await;
    let mut ws = asked.upgrade().await;
    respond(&mut ws, asked.response(200, true), None).await;
    assert_eq!(world.sender.head().await.status, 200);
    assert_eq!(world.sender.breaks_off().await, b"");
    closed(&mut ws, 1001).await;
}

#[tokio::test]
async fn a_listener_that_goes_costs_502_only_what_it_was_given_and_has_not_fetched() {
    let mut world = World::plain().await;
    world.ask(&world.request("GET", "/given")).await;
    world.listener.request().await;
    let mut upgraded = RawHttp::open(&world.door).await;
    upgraded.ask(&world.door, &world.request("GET", "/upgraded")).await;
    let asked = world.listener.request().await;
    let mut ws = asked.upgrade().await;

    assert_eq!(world.local().drop_control(HYCO), 1);
    assert_refused(&world.sender.response().await, 502, "BadGateway", "has gone without a response");
    respond(&mut ws, asked.response(200, true), Some(b"still here")).await;
    assert_eq!(upgraded.response().await.text(), "still here");
    closed(&mut ws, 1000).await;
}

#[tokio::test]
async fn a_request_that_nobody_has_fetched_goes_to_another_listener() {
    let mut world = World::plain().await;
    world.ask(&world.request("POST", "").chunked(b"body", 4)).await;
    assert!(world.listener.request().await.is_marker());
    let mut other = world.another_listener("").await;
    let elsewhere = RawListener::open_on(world.local(), "elsewhere").await;
    drop(std::mem::replace(&mut world.listener, elsewhere));
    let (mut ws, asked) = other.request().await.fetch().await;
    assert_eq!(asked.body.as_deref(), Some(&b"body"[..]));
    respond(&mut ws, asked.response(204, false), None).await;
    assert_eq!(world.sender.response().await.status, 204);
}

#[tokio::test]
async fn an_answer_that_is_none_costs_502_and_not_the_channel() {
    let mut world = World::plain().await;
    for status in
        [json!(0), json!(99), json!(100), json!(101), json!(199), json!(1000), json!(70_000), json!("x"), json!(null)]
    {
        world.ask(&world.request("GET", "")).await;
        let asked = world.listener.request().await;
        let mut response = asked.response(200, true);
        response["statusCode"] = status.clone();
        world.listener.respond(response, Some(b"body")).await;
        let refused = world.sender.response().await;
        assert_refused(&refused, 502, "BadGateway", "a status that is none");
    }
    world.works().await;
    assert_eq!(world.metrics().refusals("bad_response"), 9.0);
}

#[tokio::test]
async fn a_violation_at_the_rendezvous_costs_502_and_the_rendezvous() {
    let mut world = World::plain().await;
    let other = json!({"requestId": "another", "statusCode": 200});
    for (bytes, code) in [
        (hybridrelay_tests::wire::raw::text(&json!({"response": other}).to_string()), 1002),
        (hybridrelay_tests::wire::raw::text("{"), 1002),
        (hybridrelay_tests::wire::raw::text(&"x".repeat(128 * 1024 + 1)), 1009),
        (hybridrelay_tests::wire::raw::binary(b"body"), 1002),
        (hybridrelay_tests::wire::raw::frame(0xC1, b"reserved"), 1002),
        (hybridrelay_tests::wire::raw::frame(0x81, b"\xFF"), 1007),
    ] {
        world.ask(&world.request("GET", "")).await;
        let mut ws = world.listener.request().await.upgrade().await;
        ws.send(&bytes).await;
        let refused = world.sender.response().await;
        assert_eq!(refused.status, 502, "{refused:?}");
        closed(&mut ws, code).await;
    }
    world.works().await;
}
