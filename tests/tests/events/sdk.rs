//! The SDK's publishers and events.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use http::{Method, Request, StatusCode};
use hybridrelay::{
    ErrorKind, Event, EventOrigin, Events, Features, Incoming, Listener, ListenerBuilder, Message, Publisher,
    SenderBuilder,
};
use hybridrelay_relay::{LocalRelay, SlowSubscriber};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::{self, HYCO, until};

use crate::common::{count, plain, plain_and_tls};

/// Longer than what the kernel and the queues hold for one who does not read.
const LONG: usize = 256 * 1024;

fn listener(relay: &LocalRelay) -> ListenerBuilder {
    setup::listener(relay, HYCO)
}

fn sender(relay: &LocalRelay) -> SenderBuilder {
    setup::sender(relay, HYCO)
}

async fn online(relay: &LocalRelay) -> Listener {
    listener(relay).soon().await.expect("the listener gets online")
}

async fn publisher(relay: &LocalRelay) -> Publisher {
    sender(relay).build().unwrap().publisher().soon().await.expect("the publisher is let in")
}

async fn next(events: &Events) -> Event {
    events.next().soon().await.expect("no failure").expect("no end")
}

/// The next event, which is a message.
async fn message(events: &Events) -> (EventOrigin, Message) {
    match next(events).await {
        Event::Message { origin, message } => (origin, message),
        other => panic!("no message: {other:?}"),
    }
}

/// Expects this text next.
async fn expect(events: &Events, text: &str) {
    assert_eq!(message(events).await.1, Message::from(text));
}

/// An event of this number.
fn event(number: u32, size: usize) -> Vec<u8> {
    number.to_be_bytes().repeat(size / 4)
}

/// The number of the next event; misses are added up.
async fn number(events: &Events, missed: &mut u64) -> u32 {
    loop {
        match next(events).await {
            Event::Message { message, .. } => {
                let bytes = message.into_bytes();
                let number = u32::from_be_bytes(*bytes.first_chunk().expect("a number"));
                assert!(bytes == event(number, bytes.len()), "whole events only");
                return number;
            }
            Event::Missed { count, .. } => *missed += count,
            other => panic!("no message: {other:?}"),
        }
    }
}

/// Polls a future once and drops it.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    pin!(future).now_or_never()
}

#[tokio::test]
async fn everybody_who_listens_hears_a_publisher_in_order_and_knows_whose_events_they_are() {
    for relay in plain_and_tls().await {
        let listeners = [online(&relay).await, online(&relay).await, online(&relay).await];
        assert!(listeners[0].features().has(Features::EVENTS));
        let events: Vec<Events> = listeners.iter().map(Listener::events).collect();
        let publisher = sender(&relay).build().unwrap().publisher();
        let publisher = publisher.path("/prices").query("q=1").header("X-Team", "blue").subprotocol("v1");
        let publisher = publisher.soon().await.unwrap();
        assert_eq!(publisher.subprotocol(), Some("v1"));
        for number in 0..100 {
            publisher.publish(format!("event {number}")).soon().await.unwrap();
        }
        publisher.publish(vec![0xFF]).soon().await.unwrap();
        publisher.close().soon().await.unwrap();
        for events in &events {
            let (origin, first) = message(events).await;
            assert_eq!(first, Message::from("event 0"));
            assert_eq!((origin.path(), origin.query(), origin.subprotocol()), ("/prices", Some("q=1"), Some("v1")));
            assert_eq!(origin.headers()["x-team"], "blue");
            assert!(origin.tracking_id().starts_with(publisher.tracking_id().trim_end_matches("_G0")));
            assert!(origin.remote_addr().is_some());
            for number in 1..100 {
                expect(events, &format!("event {number}")).await;
            }
            assert_eq!(message(events).await.1, Message::from(vec![0xFF]));
        }
        setup::no_connection(&relay).await;
    }
}

#[tokio::test]
async fn at_a_plain_hybrid_connection_one_listener_hears_a_publisher() {
    for relay in setup::plain_and_tls().await {
        let listener = online(&relay).await;
        let events = listener.events();
        let publishers = [publisher(&relay).await, publisher(&relay).await];
        for publisher in &publishers {
            publisher.publish("hello").soon().await.unwrap();
        }
        let (first, second) = (message(&events).await, message(&events).await);
        assert_eq!((first.1, second.1), ("hello".into(), "hello".into()));
        assert_ne!(first.0.tracking_id(), second.0.tracking_id());
        for publisher in &publishers {
            publisher.close().soon().await.unwrap();
        }
        setup::no_connection(&relay).await;
    }
}

#[tokio::test]
async fn requests_are_events_and_answered_by_themselves_when_they_have_come() {
    let relay = setup::plain().await;
    let listener = online(&relay).await;
    let events = listener.events();
    let sender = sender(&relay).build().unwrap();
    let long = vec![7; 300_000];
    for (method, body) in
        [(Method::POST, b"short".to_vec()), (Method::PUT, long), (Method::GET, Vec::new()), (Method::HEAD, Vec::new())]
    {
        let request = Request::builder().method(method.clone()).uri("/orders?x=1").header("x-team", "blue");
        let response = sender.request(request.body(body.clone()).unwrap()).soon().await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let Event::Request { origin, method: seen, body: got } = next(&events).await else { panic!("no request") };
        assert!((seen, &got[..]) == (method, &body[..]));
        assert_eq!((origin.path(), origin.query()), ("/orders", Some("x=1")));
        assert_eq!(origin.headers()["x-team"], "blue");
    }
}

#[tokio::test]
async fn a_request_for_everybody_is_an_event_of_each() {
    for relay in plain_and_tls().await {
        let listeners = [online(&relay).await, online(&relay).await];
        let events: Vec<Events> = listeners.iter().map(Listener::events).collect();
        let sender = sender(&relay).build().unwrap();
        for body in [vec![1; 10], vec![2; 300_000]] {
            let request = Request::post("/orders").body(body.clone()).unwrap();
            let response = sender.request(request).soon().await.unwrap();
            assert_eq!(
                (response.status(), &response.headers()["relay-delivered"]),
                (StatusCode::ACCEPTED, &"2".parse().unwrap())
            );
            for events in &events {
                let Event::Request { origin, body: got, .. } = next(events).await else { panic!("no request") };
                assert!(origin.path() == "/orders" && got == body);
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_is_too_long_for_the_listener_is_no_event() {
    let relay = setup::plain().await;
    let listener = listener(&relay).max_message_size(1000).soon().await.unwrap();
    let events = listener.events();
    let sender = sender(&relay).build().unwrap();
    for size in [1001, 300_000] {
        let response = sender.request(Request::post("/").body(vec![7; size]).unwrap()).soon().await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    sender.request(Request::post("/").body(vec![7; 1000]).unwrap()).soon().await.unwrap();
    assert_eq!(next(&events).await.payload().len(), 1000);
}

#[tokio::test]
async fn short_requests_come_in_the_order_in_which_they_were_sent() {
    let relay = setup::plain().await;
    let listener = online(&relay).await;
    let events = listener.events();
    let sender = sender(&relay).build().unwrap();
    for number in 0..200_u32 {
        let request = Request::post("/").body(number.to_be_bytes().to_vec()).unwrap();
        sender.request(request).soon().await.unwrap();
    }
    for number in 0..200_u32 {
        assert_eq!(next(&events).await.payload(), number.to_be_bytes());
    }
}

#[tokio::test]
async fn a_publish_that_is_cancelled_has_published_all_or_nothing() {
    let relay = plain(|settings| settings.slow_subscriber = SlowSubscriber::Block).await;
    let listener = online(&relay).await;
    let events = listener.events();
    let publisher = publisher(&relay).await;
    // Until nothing more is taken; what waits is cancelled.
    let (mut published, mut refused) = (Vec::new(), 0);
    for number in 0.. {
        match poll_once(publisher.publish(event(number, LONG))) {
            Some(outcome) => {
                outcome.unwrap();
                published.push(number);
                refused = 0;
            }
            None if refused == 100 => break,
            None => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    let last = published.last().copied().unwrap() + 1000;
    let ending = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            publisher.publish(event(last, LONG)).soon().await.unwrap();
            publisher.close().soon().await.unwrap();
        }
    });
    let (mut got, mut missed) = (Vec::new(), 0);
    while got.last() != Some(&last) {
        got.push(number(&events, &mut missed).await);
    }
    ending.await.unwrap();
    assert_eq!(missed, 0);
    assert!(got.is_sorted_by(|one, other| one < other), "in order and once: {got:?}");
    assert!(published.iter().all(|number| got.binary_search(number).is_ok()), "{published:?} in {got:?}");
}

#[tokio::test]
async fn a_wait_for_events_that_is_cancelled_loses_none() {
    for relay in plain_and_tls().await {
        let listener = online(&relay).await;
        let events = listener.events();
        let publisher = publisher(&relay).await;
        let publishing = tokio::spawn(async move {
            for number in 0..200 {
                publisher.publish(event(number, 4000)).soon().await.unwrap();
            }
            publisher.close().soon().await.unwrap();
        });
        let mut expected = 0;
        let taking = async {
            while expected < 200 {
                match poll_once(events.next()) {
                    Some(next) => {
                        assert!(next.unwrap().expect("no end").payload() == event(expected, 4000));
                        expected += 1;
                    }
                    None => tokio::task::yield_now().await,
                }
            }
        };
        taking.soon().await;
        publishing.await.unwrap();
    }
}

#[tokio::test]
async fn events_that_nobody_takes_slow_a_publisher_down_and_other_senders_come_all_the_same() {
    let relay = setup::plain().await;
    let listener = online(&relay).await;
    let events = listener.events();
    let first = publisher(&relay).await;
    let mut published = 0;
    while let Ok(outcome) =
        tokio::time::timeout(Duration::from_millis(500), first.publish(event(published, LONG))).await
    {
        outcome.unwrap();
        published += 1;
        assert!(published < 1000, "nothing slows the publisher down");
    }
    // The control channel is not in the way: another publisher is accepted.
    let second = publisher(&relay).await;
    second.publish("from the second").soon().await.unwrap();
    let mut from = HashMap::new();
    while from.len() < 2 || from.values().sum::<u32>() < published + 1 {
        let (origin, message) = message(&events).await;
        let seen = from.entry(origin.tracking_id().to_owned()).or_insert(0);
        if message.as_text().is_none() {
            assert!(message.as_bytes() == event(*seen, LONG), "in order");
        }
        *seen += 1;
    }
}

#[tokio::test]
async fn a_publisher_that_aborts_ends_and_nobody_else_does() {
    for relay in [plain(|_| {}).await, setup::plain().await] {
        let listener = online(&relay).await;
        let events = listener.events();
        let (first, second) = (publisher(&relay).await, publisher(&relay).await);
        first.publish("last words").soon().await.unwrap();
        expect(&events, "last words").await;
        first.abort();
        assert_eq!(first.publish("too late").soon().await.unwrap_err().kind(), ErrorKind::Closed);
        drop(first);
        second.publish("go on").soon().await.unwrap();
        expect(&events, "go on").await;
        second.close().soon().await.unwrap();
        assert_eq!(second.publish("too late").soon().await.unwrap_err().kind(), ErrorKind::Closed);
        setup::no_connection(&relay).await;
    }
}

#[tokio::test]
async fn a_publisher_that_is_dropped_without_a_close_has_gone() {
    let relay = plain(|_| {}).await;
    let listener = online(&relay).await;
    let events = listener.events();
    let publisher = publisher(&relay).await;
    publisher.publish("last words").soon().await.unwrap();
    expect(&events, "last words").await;
    drop(publisher);
    setup::no_connection(&relay).await;
}

#[tokio::test]
async fn a_listener_that_was_offline_for_a_moment_hears_old_and_new_publishers_once() {
    for relay in plain_and_tls().await {
        let listener = online(&relay).await;
        let events = listener.events();
        let old = publisher(&relay).await;
        old.publish("before").soon().await.unwrap();
        expect(&events, "before").await;

        let mut listeners = relay.watch_listeners(HYCO);
        assert_eq!(relay.drop_control(HYCO), 1);
        listeners.wait_for(|online| *online == 0).soon().await.unwrap();
        listeners.wait_for(|online| *online == 1).soon().await.unwrap();

        // The relay invites the listener to the publisher that it hears already, which is declined at the next sign of life.
        let new = publisher(&relay).await;
        for number in 0..10 {
            old.publish(format!("old {number}")).soon().await.unwrap();
            expect(&events, &format!("old {number}")).await;
        }
        new.publish("new").soon().await.unwrap();
        expect(&events, "new").await;
        old.publish("old still").soon().await.unwrap();
        expect(&events, "old still").await;
    }
}

#[tokio::test]
async fn a_close_of_the_listener_ends_its_events_behind_those_that_wait() {
    let relay = setup::plain().await;
    let listener = online(&relay).await;
    let events = listener.events();
    let publisher = publisher(&relay).await;
    publisher.publish("first").soon().await.unwrap();
    publisher.publish("second").soon().await.unwrap();
    expect(&events, "first").await;
    // It waits in the listener's queue.
    sender(&relay).build().unwrap().request(Request::post("/").body("third").unwrap()).soon().await.unwrap();
    listener.close().soon().await;
    let mut rest = Vec::new();
    while let Some(event) = events.next().soon().await.unwrap() {
        rest.push(event.payload().to_vec());
    }
    assert!(rest.contains(&b"third".to_vec()), "{rest:?}");
    assert!(events.next().soon().await.unwrap().is_none());
    let error = loop {
        match publisher.publish("is there anybody?").soon().await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.close_code()), (ErrorKind::ConnectionLost, Some(1001)), "{error}");
    assert_eq!(publisher.close().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
}

#[tokio::test]
async fn a_close_of_the_listener_wakes_everybody_who_waits_for_events() {
    let relay = plain(|_| {}).await;
    let listener = online(&relay).await;
    let events = listener.events();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let events = events.clone();
            tokio::spawn(async move { events.next().soon().await })
        })
        .collect();
    tokio::task::yield_now().await;
    listener.close().soon().await;
    for waiting in waiting {
        assert!(waiting.await.unwrap().unwrap().is_none());
    }
    assert!(events.stream().boxed().next().soon().await.is_none());
}

#[tokio::test]
async fn a_final_failure_is_delivered_once() {
    let relay = plain(|_| {}).await;
    let listener = listener(&relay).reconnect(false).soon().await.unwrap();
    let events = listener.events();
    let publisher = publisher(&relay).await;
    publisher.publish("before").soon().await.unwrap();
    expect(&events, "before").await;
    assert_eq!(relay.drop_control(HYCO), 1);
    assert_eq!(events.next().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    assert!(events.next().soon().await.unwrap().is_none());
}

#[tokio::test]
async fn a_subscriber_that_does_not_keep_up_is_told_what_it_missed() {
    let relay = plain(|settings| settings.queue = LONG * 2).await;
    let (slow, witness) = (online(&relay).await, online(&relay).await);
    let (slow, witness) = (slow.events(), witness.events());
    let publisher = publisher(&relay).await;
    let mut published = 0;
    while count(&relay, "dropped") < 10.0 {
        publisher.publish(event(published, LONG)).soon().await.unwrap();
        // Whoever keeps up misses nothing.
        assert_eq!(number(&witness, &mut 0).await, published);
        published += 1;
    }
    let (mut got, mut missed, mut last) = (0, 0, None);
    while last != Some(published - 1) {
        let next = number(&slow, &mut missed).await;
        assert!(last < Some(next), "{next} after {last:?}");
        (got, last) = (got + 1, Some(next));
    }
    // The last of it is told a moment later.
    while u64::from(published) > got + missed {
        let Event::Missed { origin, count } = next(&slow).await else { panic!("nothing else is left") };
        assert!(origin.tracking_id().starts_with(publisher.tracking_id().trim_end_matches("_G0")));
        missed += count;
    }
    assert_eq!(got + missed, u64::from(published));
}

#[tokio::test]
async fn an_event_that_is_too_long_fails_with_that_reason() {
    let relay = plain(|settings| settings.max_event = 1000).await;
    let listener = online(&relay).await;
    let events = listener.events();
    let publisher = publisher(&relay).await;
    publisher.publish(vec![1; 1000]).soon().await.unwrap();
    publisher.publish(vec![1; 1001]).soon().await.unwrap();
    let error = publisher.close().soon().await.unwrap_err();
    assert_eq!((error.kind(), error.close_code()), (ErrorKind::MessageTooLarge, Some(1009)), "{error}");
    assert_eq!(publisher.publish("more").soon().await.unwrap_err().kind(), ErrorKind::MessageTooLarge);
    assert_eq!(message(&events).await.1.len(), 1000);
}

#[tokio::test]
async fn a_relay_that_goes_away_fails_a_publisher_that_waits_for_it() {
    let relay = plain(|settings| settings.slow_subscriber = SlowSubscriber::Block).await;
    let listener = online(&relay).await;
    let _events = listener.events();
    let publisher = publisher(&relay).await;
    let publishing = tokio::spawn(async move {
        loop {
            if let Err(error) = publisher.publish(vec![7; LONG]).await {
                return error;
            }
        }
    });
    until(|| count(&relay, "published") > 4.0).await;
    relay.shutdown(Duration::ZERO).soon().await;
    assert_eq!(publishing.soon().await.unwrap().kind(), ErrorKind::ConnectionLost);
}

#[tokio::test]
async fn a_listener_whose_events_are_dropped_accepts_again() {
    let relay = setup::plain().await;
    let listener = online(&relay).await;
    let events = listener.events();
    let first = publisher(&relay).await;
    first.publish("heard").soon().await.unwrap();
    expect(&events, "heard").await;
    drop(events);
    // The publisher is let go; then the collector has gone as well.
    setup::no_connection(&relay).await;
    let sender = sender(&relay).build().unwrap();
    let (connected, accepted) = tokio::join!(sender.connect().soon(), async {
        match listener.accept().soon().await {
            Ok(Some(Incoming::Connect(connect))) => connect.accept().soon().await.unwrap(),
            other => panic!("no sender: {other:?}"),
        }
    });
    connected.unwrap().send("x").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some("x".into()));
}

#[tokio::test]
async fn what_subscribers_say_to_a_publisher_is_dropped_and_does_not_stop_it() {
    let relay = setup::plain().await;
    let listener = online(&relay).await;
    let (publisher, accepted) =
        tokio::join!(publisher(&relay), async { setup::incoming(&listener).await.accept().soon().await.unwrap() });
    for _ in 0..100 {
        accepted.send(vec![7; LONG]).soon().await.unwrap();
    }
    publisher.publish("heard").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some("heard".into()));
}
