//! Events with the official packages, unmodified, as subscribers and as publisher.

use http::Request;
use hybridrelay::{Event, Events, Message};
use hybridrelay_tests::payload::{self, Kind, sha256};
use hybridrelay_tests::program::patiently;
use serde_json::json;

use crate::end::End;
use crate::relay::{ENTITY, TestRelay};
use crate::requests::listeners::RequestListener;
use crate::{hyco_ws, stacks};

const MESSAGES: [(Kind, usize); 5] =
    [(Kind::Text, 5), (Kind::Binary, 0), (Kind::Text, 70_000), (Kind::Binary, 1), (Kind::Binary, 300_000)];

async fn message(events: &Events) -> Message {
    match patiently("an event", events.next()).await {
        Ok(Some(Event::Message { message, .. })) => message,
        other => panic!("a message was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn hyco_ws_listeners_hear_our_publisher_and_one_of_their_own() {
    let relay = TestRelay::start().await;
    relay.give_everybody_everything();
    let listening = [hyco_ws::listening(&relay, None).await, hyco_ws::listening(&relay, None).await];
    let listener = relay.listener().await.expect("online");
    let events = listener.events();

    let publisher = relay.sender().publisher().await.expect("the publisher is let in");
    let (mut first, _) = End::accepted(&listening[0]).await;
    let (mut second, _) = End::accepted(&listening[1]).await;
    for (kind, size) in MESSAGES {
        let sent = payload::message(kind, size);
        publisher.publish(sent.clone()).await.expect("published");
        let expected = payload::digested(&sent);
        assert_eq!((first.receive().await, second.receive().await), (expected.clone(), expected));
        assert_eq!(message(&events).await, sent);
    }
    publisher.close().await.expect("all is taken");
    for subscriber in [&mut first, &mut second] {
        assert_eq!(subscriber.closed_by_peer().await.0, 1000);
    }

    let sending = stacks::hyco_ws(&relay).await;
    let connect = json!({"url": relay.sender_url(ENTITY), "token": relay.token(ENTITY)});
    let (publisher, _) = End::open(&sending, connect).await;
    let (mut first, _) = End::accepted(&listening[0]).await;
    let (mut second, _) = End::accepted(&listening[1]).await;
    for (kind, size) in MESSAGES {
        publisher.send(kind, size).await;
        let sent = payload::message(kind, size);
        let expected = payload::digested(&sent);
        assert_eq!((first.receive().await, second.receive().await), (expected.clone(), expected));
        assert_eq!(message(&events).await, sent);
    }
    sending.finish().await;
    for program in listening {
        program.finish().await;
    }
}

#[tokio::test]
async fn a_request_for_everybody_reaches_hyco_https_and_our_events() {
    let relay = TestRelay::start().await;
    relay.give_everybody_everything();
    let mut official = RequestListener::hyco_https(&relay).await;
    let listener = relay.listener().await.expect("online");
    let events = listener.events();
    let sender = relay.sender();
    for size in [5, 65_537] {
        let sent: Vec<u8> = (0..251).cycle().take(size).collect();
        let request = Request::post("/orders?x=1").body(sent.clone()).expect("a request");
        let handed =
            patiently("the listeners to take it", sender.send_one_way(request)).await.expect("they are online");
        assert_eq!(handed.listeners(), 2);
        let asked = official.asked().await;
        assert_eq!((&*asked.method, &*asked.url), ("POST", "/hyco/orders?x=1"));
        assert_eq!((asked.size, asked.sha256), (size, sha256(&sent)));
        assert_eq!(asked.delivery.as_deref(), Some("one-way"));
        match patiently("an event", events.next()).await {
            Ok(Some(Event::Request { origin, body, .. })) => {
                assert_eq!((origin.path(), origin.query()), ("/orders", Some("x=1")));
                assert!(body == sent, "{size} bytes");
            }
            other => panic!("a request was expected, not {other:?}"),
        }
    }
    official.finish().await;
}
