//! Who listens, asked once (protocol.md 7.4).

use hybridrelay_tests::wire::raw::{Ask, RawHttp};
use serde_json::{Value, json};

use crate::common::{ask, listen, listen_with, token, world};

fn get(path: &str) -> Ask {
    Ask::http("GET", format!("/$relay/presence/{path}"))
}

#[tokio::test]
async fn a_sender_is_told_how_many_listen_and_since_when() {
    let relay = world(|namespace| namespace).await;
    let asked = || ask(&relay.door, get("hyco").token(&token("send", "hyco")));
    let nobody = asked().await;
    let expected = json!({"endpoint": "Hyco", "count": 0, "since": null});
    assert_eq!(serde_json::from_str::<Value>(nobody.text()).expect("JSON"), expected);
    assert_eq!(nobody.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!((nobody.header("relay-features"), nobody.header("cache-control")), (Some("presence"), Some("no-store")));

    let first = listen(&relay, "hyco").await;
    let one: Value = serde_json::from_str(asked().await.text()).expect("JSON");
    let since = one["since"].as_str().expect("a time");
    assert_eq!(one, json!({"endpoint": "Hyco", "count": 1, "since": since}));
    let _second = listen(&relay, "hyco").await;
    crate::common::vanish(&relay, first, "hyco").await;
    let still: Value = serde_json::from_str(asked().await.text()).expect("JSON");
    assert_eq!(still, json!({"endpoint": "Hyco", "count": 1, "since": since}), "there was no time without one");
}

#[tokio::test]
async fn a_manager_is_told_who_they_are() {
    let relay = world(|namespace| namespace).await;
    let listener = listen_with(&relay, "hyco", |ask| {
        let ask = ask.header("Relay-User-Agent", "demo/1").header("Relay-Labels", "zone=eu%2C%20north, role=a");
        ask.header("Relay-Features", "cancel")
    });
    let _listener = listener.await;
    let told = ask(&relay.door, get("HYCO/").token(&token("manage", "hyco"))).await;
    let told: Value = serde_json::from_str(told.text()).expect("JSON");
    let [only] = told["listeners"].as_array().expect("a list").as_slice() else { panic!("one listener: {told}") };
    assert_eq!((&told["count"], &told["since"]), (&json!(1), &only["since"]));
    let text = |field: &str| only[field].as_str().unwrap_or_else(|| panic!("no {field}: {only}"));
    assert_eq!((text("agent"), text("rule"), &only["inFlight"]), ("demo/1", "listen", &json!(0)));
    assert_eq!((&only["features"], &only["labels"]), (&json!(["cancel"]), &json!({"zone": "eu, north", "role": "a"})));
    assert!(text("address").starts_with("127.0.0.1:") && text("trackingId").ends_with("_G0") && text("id").len() == 32);
    assert!(text("lastHeard") >= text("since"), "{only}");
}

#[tokio::test]
async fn labels_that_cannot_be_read_are_refused() {
    let relay = world(|namespace| namespace).await;
    for labels in ["zone", "=x", "zone=%FF", &format!("zone={}", "x".repeat(1020))] {
        let ask = Ask::websocket("/$hc/hyco?sb-hc-action=listen").token(&token("listen", "hyco"));
        let answer = ask.header("Relay-Labels", labels).send(&relay.door).await;
        assert_eq!(answer.status, 400, "{labels}");
        assert!(answer.text().starts_with("Relay-Labels cannot be read: "), "{}", answer.text());
    }
}

#[tokio::test]
async fn only_the_hybrid_connection_itself_is_meant() {
    let relay = world(|namespace| namespace).await;
    for (path, status) in [
        ("hyco", 200),
        ("hyco/", 200),
        ("HYCO", 200),
        ("h%79co", 200),
        ("hyco%2Fbelow", 200),
        ("hyco/below", 200),
        ("hyco/deeper", 404),
        ("hyco/below/x", 404),
        ("nowhere", 404),
        ("", 404),
    ] {
        let answer = ask(&relay.door, get(path).token(&token("send", ""))).await;
        assert_eq!((answer.status, answer.header("relay-features")), (status, Some("presence")), "{path}");
    }
    let answer = ask(&relay.door, Ask::http("GET", "/$relay/presence").token(&token("send", ""))).await;
    assert_eq!((answer.status, answer.header("relay-features")), (404, None));
}

#[tokio::test]
async fn the_head_alone_can_be_asked_for_and_nothing_but_reading_is_allowed() {
    let relay = world(|namespace| namespace).await;
    let mut http = RawHttp::open(&relay.door).await;
    for accept in ["application/json", "text/event-stream"] {
        let head = Ask::http("HEAD", "/$relay/presence/open").header("Accept", accept);
        http.ask(&relay.door, &head).await;
        let answer = http.head().await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with(accept)), "{answer:?}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(&relay.door, Ask::http(method, "/$relay/presence/open")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[tokio::test]
async fn pages_may_ask_where_the_hybrid_connection_lets_them() {
    const APP: &str = "https://app.example.net";
    let relay = world(|namespace| {
        let mut open = hybridrelay_tests::wire::setup::entity("open").anonymous();
        open.settings.http.cors = vec![APP.to_owned()];
        namespace.with_entity(open)
    })
    .await;
    let preflight = Ask::http("OPTIONS", "/$relay/presence/open").header("Origin", APP);
    let preflight = preflight.header("Access-Control-Request-Method", "GET");
    for (asked, status) in [(preflight, 204), (get("open").header("Origin", APP), 200)] {
        let answer = ask(&relay.door, asked).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some(APP)));
    }
    let stranger = ask(&relay.door, get("open").header("Origin", "https://evil.example.net")).await;
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (200, None));
    let closed = ask(&relay.door, get("hyco").header("Origin", APP).token(&token("send", "hyco"))).await;
    assert_eq!((closed.status, closed.header("access-control-allow-origin")), (200, None));
}
