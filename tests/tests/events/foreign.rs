//! What the SDK's events make of a relay whose every word is the test's.

use hybridrelay::{Event, Events, Listener};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::{Admitted, FakeRelay};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const ID: &str = "1b4e28ba-2fa1-11d2-883f-0016d3cca427_G0";

async fn online(relay: &FakeRelay) -> (Listener, Admitted) {
    let listener = Listener::builder(relay.connection_string());
    let (listener, control) = tokio::join!(listener.soon(), relay.admit());
    (listener.expect("the listener gets online"), control)
}

/// An invitation to the publisher who made this key.
fn invitation(relay: &FakeRelay, key: &str) -> Value {
    let address = format!("ws://{}/$hc/hyco/a?sb-hc-action=accept&sb-hc-id={ID}", relay.authority());
    let headers = json!({"Sec-WebSocket-Key": key});
    json!({"accept": {"address": address, "id": ID, "connectHeaders": headers, "remoteEndpoint": {"address": null, "port": 0}}})
}

async fn next(events: &Events) -> Event {
    events.next().soon().await.expect("no failure").expect("no end")
}

async fn says(publisher: &mut Admitted, events: &Events, text: &str) {
    publisher.send(Message::text(text)).await;
    assert_eq!(next(events).await.payload(), text.as_bytes());
}

#[tokio::test]
async fn a_second_invitation_to_a_publisher_is_for_when_the_first_connection_ends() {
    let relay = FakeRelay::start().await;
    let (listener, mut control) = online(&relay).await;
    let events = listener.events();
    control.command(invitation(&relay, "AAAA")).await;
    let mut first = relay.admit().await;
    says(&mut first, &events, "one").await;

    control.command(invitation(&relay, "AAAA")).await;
    // Another publisher who asked for the same id is another one.
    control.command(invitation(&relay, "BBBB")).await;
    let mut other = relay.admit().await;
    says(&mut other, &events, "of another").await;
    drop(first);
    let mut second = relay.admit().await;
    says(&mut second, &events, "two").await;

    control.command(invitation(&relay, "AAAA")).await;
    let visitor = tokio::select! {
        visitor = relay.visitor() => visitor,
        () = async { loop { says(&mut second, &events, "still here").await } } => unreachable!(),
    };
    assert!(visitor.target.contains("sb-hc-statusCode=409"), "{}", visitor.target);
    visitor.refuse("410 Gone", "", "").await;
    // What was said last may wait.
    while events.next().soon().await.unwrap().unwrap().payload() != b"three" {
        second.send(Message::text("three")).await;
    }
}

#[tokio::test]
async fn what_was_missed_is_told_once_also_if_it_was_before_the_connection_or_is_told_behind_it() {
    let relay = FakeRelay::start().await;
    let (listener, mut control) = online(&relay).await;
    assert!(listener.features().is_empty());
    let events = listener.events();
    let told = |id: &str, dropped: u64| json!({"events": {"id": id, "dropped": dropped}});
    control.command(told(ID, 3)).await;
    control.command(told("nobody", 1)).await;
    control.command(json!({"events": {"id": ID}})).await;
    control.command(invitation(&relay, "AAAA")).await;
    let mut publisher = relay.admit().await;
    let missed = |event| match event {
        Event::Missed { origin, count } => (origin.tracking_id().to_owned(), origin.path().to_owned(), count),
        other => panic!("nothing was missed: {other:?}"),
    };
    assert_eq!(missed(next(&events).await), (ID.to_owned(), "/a".to_owned(), 3));
    says(&mut publisher, &events, "one").await;
    control.command(told(ID, 3)).await;
    control.command(told(ID, 5)).await;
    assert_eq!(missed(next(&events).await).2, 2);
    publisher.close(1000, "").await;
    control.command(told(ID, 6)).await;
    assert_eq!(missed(next(&events).await).2, 1);
}
