//! Who listens, as it changes (protocol.md 7.4).

use hybridrelay_tests::wire::events::EventStream;
use hybridrelay_tests::wire::raw::Ask;
use hybridrelay_tests::wire::setup::until;
use serde_json::{Value, json};

use crate::common::{listen, token, vanish, world};

fn watch(rule: &str) -> Ask {
    Ask::http("GET", "/$relay/presence/hyco").token(&token(rule, "hyco"))
}

#[tokio::test]
async fn a_snapshot_comes_first_and_then_whoever_comes_and_goes() {
    let relay = world(|namespace| namespace).await;
    let mut sender = EventStream::open(&relay.door, watch("send")).await;
    let mut manager = EventStream::open(&relay.door, watch("manage")).await;
    assert_eq!(sender.head.header("relay-features"), Some("presence"));
    assert_eq!(sender.head.header("x-accel-buffering"), Some("no"));
    let nobody = json!({"endpoint": "Hyco", "count": 0, "since": null});
    assert_eq!(sender.expect("snapshot").await.data, nobody);
    assert_eq!(manager.expect("snapshot").await.data["listeners"], json!([]));

    let listener = listen(&relay, "hyco").await;
    let (seen, known) = (sender.expect("listener-connected").await, manager.expect("listener-connected").await);
    assert_eq!(seen.id, known.id);
    let at = seen.data["at"].clone();
    let expected = json!({"id": seen.data["id"], "at": at, "count": 1, "since": at});
    assert_eq!(seen.data, expected, "who it is, is not told");
    assert_eq!(known.data["listener"]["id"], seen.data["id"]);
    assert!(known.data["listener"]["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")));

    vanish(&relay, listener, "hyco").await;
    for stream in [&mut sender, &mut manager] {
        let gone = stream.expect("listener-disconnected").await.data;
        assert_eq!((&gone["id"], &gone["count"], &gone["since"]), (&seen.data["id"], &json!(0), &Value::Null));
    }
}

#[tokio::test]
async fn whoever_comes_back_is_told_what_they_have_missed() {
    let relay = world(|namespace| namespace).await;
    let mut stream = EventStream::open(&relay.door, watch("send")).await;
    let snapshot = stream.expect("snapshot").await;
    let first = listen(&relay, "hyco").await;
    let came = stream.expect("listener-connected").await;
    drop(stream);
    vanish(&relay, first, "hyco").await;
    let _second = listen(&relay, "hyco").await;

    let mut again = EventStream::open(&relay.door, watch("send").header("Last-Event-ID", &came.id)).await;
    assert_eq!(again.expect("listener-disconnected").await.data["id"], came.data["id"]);
    assert_eq!(again.expect("listener-connected").await.data["count"], 1);
    let mut from_the_snapshot =
        EventStream::open(&relay.door, watch("send").header("Last-Event-ID", &snapshot.id)).await;
    assert_eq!(from_the_snapshot.expect("listener-connected").await, came);
}

#[tokio::test]
async fn whoever_knows_what_nobody_knows_any_more_begins_anew() {
    let relay = world(|namespace| namespace).await;
    let position = EventStream::open(&relay.door, watch("send")).await.expect("snapshot").await.id;
    let (life, number) = position.split_once('-').expect("two parts");
    let other = life.replace(|digit| digit != '0', "0");
    for id in [format!("{other}-{number}"), format!("{life}-7"), "x".to_owned(), String::new()] {
        let mut stream = EventStream::open(&relay.door, watch("send").header("Last-Event-ID", &id)).await;
        stream.expect("snapshot").await;
    }
}

#[tokio::test]
async fn a_thousand_listeners_that_are_killed_are_a_thousand_pairs_in_order() {
    const LIVES: usize = 1_000;
    let relay = world(|namespace| namespace).await;
    let mut stream = EventStream::open(&relay.door, watch("send")).await;
    stream.expect("snapshot").await;
    let online = relay.handle.watch_listeners("n", "hyco");
    let lives = async {
        for _ in 0..LIVES {
            let listener = listen(&relay, "hyco").await;
            listener.ws.reset();
            until(|| *online.borrow() == 0).await;
        }
    };
    let reading = async {
        for _ in 0..LIVES {
            let came = stream.expect("listener-connected").await;
            let gone = stream.expect("listener-disconnected").await;
            assert_eq!((&came.data["id"], &came.data["count"]), (&gone.data["id"], &json!(1)));
            assert_eq!(gone.data["count"], 0);
        }
    };
    tokio::join!(lives, reading);
    // Nothing more was told.
    let _last = listen(&relay, "hyco").await;
    stream.expect("listener-connected").await;
}

#[tokio::test]
async fn a_page_brings_its_token_in_the_address() {
    let relay = world(|namespace| namespace).await;
    let token =
        percent_encoding::utf8_percent_encode(&token("send", "hyco"), percent_encoding::NON_ALPHANUMERIC).to_string();
    let ask = Ask::http("GET", format!("/$relay/presence/hyco?sb-hc-token={token}"));
    EventStream::open(&relay.door, ask).await.expect("snapshot").await;
}
