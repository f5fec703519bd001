//! HTTP requests to everybody.

use std::time::Duration;

use hybridrelay_relay::{Config, LocalRelay, NoSubscriber};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{RawListener, token_of};
use hybridrelay_tests::wire::raw::{Answer, Ask, Door};
use hybridrelay_tests::wire::requests::closed;
use hybridrelay_tests::wire::setup;

use crate::common::{count, for_events, listeners, plain, plain_and_tls};

fn post(relay: &LocalRelay, body: impl Into<Vec<u8>>) -> Ask {
    Ask::http("POST", "/hyco/topic?a=b").token(&token_of(relay)).body(body)
}

/// How many the answer says have it.
fn delivered(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 202, "{} {}", answer.status_line, answer.body);
    assert_eq!((answer.header("relay-delivery"), answer.header("via")), (Some("one-way"), None));
    answer.header("relay-delivered").and_then(|number| number.parse().ok()).expect("a number")
}

#[tokio::test]
async fn every_listener_gets_the_request_and_the_sender_how_many_did() {
    for relay in plain_and_tls().await {
        let mut controls = listeners(&relay, 3).await;
        for body in [&b""[..], b"an event", &[7; 65_536]] {
            let ask = post(&relay, body).header("Relay-Delivery", "something else").header("X-Test", "yes");
            let answer = ask.send(&Door::from(&relay)).soon().await;
            assert_eq!(delivered(&answer), 3);
            for control in &mut controls {
                let asked = control.request().await;
                assert_eq!((asked.field("method"), asked.field("requestTarget")), ("POST", "/hyco/topic?a=b"));
                assert_eq!(asked.header("X-Test").and_then(|value| value.as_str()), Some("yes"));
                assert_eq!(asked.header("Relay-Delivery").and_then(|value| value.as_str()), Some("one-way"));
                assert_eq!(asked.body.unwrap_or_default(), body);
            }
        }
        assert_eq!((count(&relay, "published"), count(&relay, "delivered")), (3.0, 9.0));
    }
}

#[tokio::test]
async fn what_listeners_answer_is_swallowed() {
    let relay = plain(|_| {}).await;
    let mut controls = listeners(&relay, 2).await;
    for _ in 0..2 {
        assert_eq!(delivered(&post(&relay, "x").send(&Door::from(&relay)).await), 2);
        for control in &mut controls {
            let asked = control.request().await;
            control.respond(asked.response(500, true), Some(b"nobody wants to know")).await;
            assert_eq!(asked.dial().await.status, 403, "its address is void");
        }
    }
}

#[tokio::test]
async fn a_longer_request_is_fetched_by_each_listener_up_to_the_longest_event() {
    for relay in plain_and_tls().await {
        let door = Door::from(&relay);
        let mut controls = listeners(&relay, 2).await;
        let body: Vec<u8> = (0..1_u32 << 20).map(|byte| (byte / 3) as u8).collect();
        let chunked = Ask::http("POST", "/hyco").token(&token_of(&relay)).chunked(&body, 10_000);
        for ask in [post(&relay, body.clone()), chunked] {
            let fetching = futures_util::future::join_all(controls.iter_mut().map(|control| async {
                let marker = control.request().await;
                assert!(marker.is_marker());
                let (mut ws, asked) = marker.fetch().await;
                assert_eq!(asked.header("Relay-Delivery").and_then(|value| value.as_str()), Some("one-way"));
                assert!(asked.body.as_deref() == Some(&body[..]));
                hybridrelay_tests::wire::requests::respond(&mut ws, asked.response(200, false), None).await;
                closed(&mut ws, 1000).await;
            }));
            let (answer, _) = tokio::join!(ask.send(&door), fetching);
            assert_eq!(delivered(&answer), 2);
        }
        let too_long = vec![7; (1 << 20) + 1];
        let chunked = Ask::http("POST", "/hyco").token(&token_of(&relay)).chunked(&too_long, 10_000);
        for ask in [post(&relay, too_long.clone()), chunked] {
            assert_eq!(ask.send(&door).await.status, 413);
        }
    }
}

#[tokio::test]
async fn with_nobody_online_the_number_is_0_or_the_answer_404() {
    let relay = plain(|_| {}).await;
    assert_eq!(delivered(&post(&relay, "x").send(&Door::from(&relay)).await), 0);
    let strict = plain(|settings| settings.no_subscriber = NoSubscriber::NotFound).await;
    assert_eq!(post(&strict, "x").send(&Door::from(&strict)).await.status, 404);
}

#[tokio::test]
async fn a_listener_that_does_not_fetch_holds_nobody_up_for_long_and_may_still_come() {
    let mut config = Config::default();
    config.timings.queue_full = Duration::from_millis(300);
    let relay = LocalRelay::builder().config(config).start().soon().await.expect("a free port");
    for_events(&relay, |_| {});
    let mut controls = listeners(&relay, 2).await;
    let body = vec![7; 100_000];
    let late = controls.remove(0);
    let door = Door::from(&relay);
    let (answer, ()) = tokio::join!(post(&relay, body.clone()).send(&door), async {
        controls[0].request().await.fetch().await;
    });
    assert_eq!(delivered(&answer), 1);
    let mut late: RawListener = late;
    let (_ws, asked) = late.request().await.fetch().await;
    assert!(asked.body == Some(body));
    setup::until(|| count(&relay, "delivered") == 2.0).await;
}
