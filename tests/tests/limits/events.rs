//! What happened, as programs are told.

use std::sync::Arc;

use hybridrelay_relay::{Detail, Event, Events, Operation};
use hybridrelay_tests::secrets::Log;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{RawListener, connect as local_connect, token_of};
use hybridrelay_tests::wire::raw::{Ask, Door, text};
use hybridrelay_tests::wire::setup::{self, HYCO};

use crate::common::{A, LISTEN, SEND, connect, listen, serve};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ID: &str = "3f9a6c52-2f0d-4d0e-9a53-6a2d5b1f2c11";

async fn next(events: &mut Events) -> Arc<Event> {
    events.next().soon().await.expect("the relay runs")
}

/// Waits for something to happen, and returns it with what happened before.
async fn until(events: &mut Events, operation: Operation) -> Vec<Arc<Event>> {
    let mut seen = Vec::new();
    loop {
        seen.push(next(events).await);
        if seen.last().is_some_and(|event| event.operation == operation) {
            return seen;
        }
    }
}

fn names(events: &[Arc<Event>]) -> Vec<&'static str> {
    events.iter().map(|event| event.operation.as_str()).collect()
}

#[tokio::test]
async fn a_connection_is_told_from_its_beginning_to_its_end() {
    let log = Log::capture();
    let relay = serve(|_| {}).await;
    let mut events = relay.handle.events();
    let mut control =
        RawListener::new(&relay.door, listen(A, LISTEN).header("Relay-User-Agent", "test/1").send(&relay.door).await);
    let ask = Ask::websocket(format!("/$hc/a/x?secret=1&sb-hc-id={ID}"))
        .token(&crate::common::token_by(SEND))
        .header("traceparent", TRACEPARENT);
    let (sender, (accepted, passed_on)) = tokio::join!(ask.send(&relay.door), async {
        let invitation = control.invitation().await;
        let passed_on = invitation.header("Traceparent").map(str::to_owned);
        (invitation.dial().await.websocket(), passed_on)
    });
    assert_eq!(passed_on.as_deref(), Some(TRACEPARENT), "the listener gets it as any header");
    let (mut sender, mut accepted) = (sender.websocket(), accepted);
    sender.send(&text("hello")).await;
    assert_eq!(accepted.text().await, "hello");
    sender.send_close(Some(4001), "done").await;
    accepted.close().await;
    accepted.send_close(Some(4001), "done").await;
    let seen = until(&mut events, Operation::SenderConnectionClosed).await;
    assert_eq!(
        names(&seen),
        [
            "NewListenerRegistered",
            "NewSenderRegistering",
            "MessageSentToListener",
            "ListenerAcceptingConnection",
            "SenderListenerConnectionEstablished",
            "SenderConnectionClosed",
        ]
    );

    let registered = &seen[0];
    assert!(matches!(&registered.detail, Detail::Listener { agent } if agent.as_deref() == Some("test/1")));
    assert_eq!(registered.key_name.as_deref(), Some("listen"));

    let ended = &seen[5];
    assert_eq!(ended.entity.as_ref().map(ToString::to_string).as_deref(), Some("main/a"));
    assert_eq!(ended.tracking_id, format!("{ID}_G0"));
    assert_eq!(ended.key_name.as_deref(), Some("send"));
    assert_eq!(ended.traceparent.as_deref(), Some(TRACEPARENT));
    let Detail::Connection { kind, outcome, close_code, to_listener, to_sender, .. } = &ended.detail else {
        panic!("{ended:?}")
    };
    assert_eq!((*kind, *outcome, *close_code), ("websocket", "closed_by_sender", Some(4001)));
    assert_eq!((*to_listener, *to_sender), (5, 0));
    assert!(!format!("{seen:?}").contains("secret"), "no query: {seen:?}");

    // The log has the same in one line.
    let logged = log.text();
    let mut lines = logged.lines().filter(|line| line.contains("operation=\"SenderConnectionClosed\""));
    let (Some(line), None) = (lines.next(), lines.next()) else { panic!("not one line: {logged}") };
    assert!(line.contains(" INFO "), "{line}");
    for field in [
        "entity=main/a".to_owned(),
        format!("tracking_id=\"{ID}_G0\""),
        format!("traceparent=\"{TRACEPARENT}\""),
        format!("peer={}", ended.peer),
        "key=\"send\"".to_owned(),
        "kind=\"websocket\"".to_owned(),
        "outcome=\"closed_by_sender\"".to_owned(),
        "close_code=4001 bytes_in=5 bytes_out=0 ms=".to_owned(),
    ] {
        assert!(line.contains(&field), "{field}: {line}");
    }

    control.ws.send_close(Some(1000), "").await;
    let left = until(&mut events, Operation::ListenerUnregistered).await;
    assert_eq!(names(&left), ["ListenerUnregistered"]);
}

#[tokio::test]
async fn each_refusal_is_told_with_its_reason() {
    let relay = serve(|_| {}).await;
    let mut events = relay.handle.events();
    for (ask, operation, status, reason, entity) in [
        (Ask::websocket("/$hc/a"), Operation::InvalidSasToken, 401, "missing_token", Some("main/a")),
        (connect(A, ("send", "wrong")), Operation::InvalidSasToken, 401, "invalid_signature", Some("main/a")),
        (connect(A, LISTEN), Operation::AuthorizationFailed, 403, "missing_right", Some("main/a")),
        (connect(A, SEND), Operation::ProcessingRequestFailed, 404, "no_listeners", Some("main/a")),
        (connect("unknown", SEND), Operation::ProcessingRequestFailed, 404, "endpoint_not_found", None),
        (Ask::http("GET", "/$hc/a"), Operation::ProcessingRequestFailed, 400, "bad_request", Some("main/a")),
    ] {
        let answer = ask.header("traceparent", TRACEPARENT).send(&relay.door).await;
        let seen = until(&mut events, operation).await;
        let event = seen.last().expect("one");
        let Detail::Refused { status: told, reason: why, text, path } = &event.detail else { panic!("{event:?}") };
        assert_eq!((*told, *why), (status, reason));
        assert_eq!((answer.status, answer.text()), (status, text.as_str()));
        assert!(matches!(path.as_str(), "a" | "unknown"), "{path}");
        assert_eq!(event.entity.as_ref().map(ToString::to_string).as_deref(), entity);
        assert_eq!(answer.header("trackingid"), Some(event.tracking_id.as_str()));
        assert_eq!(event.traceparent.as_deref(), Some(TRACEPARENT));
    }
}

#[tokio::test]
async fn a_rejection_is_told_with_the_status_that_the_listener_chose() {
    let relay = setup::plain().await;
    let mut control = RawListener::open(&relay).await;
    let mut events = relay.events();
    let door = Door::from(&relay);
    let ask = local_connect(&relay, "");
    let (sender, _) = tokio::join!(ask.send(&door), async {
        control.invitation().await.dial_with("&sb-hc-statusCode=451&sb-hc-statusDescription=no").await
    });
    assert_eq!(sender.status, 451);
    let seen = until(&mut events, Operation::ListenerRejectedConnection).await;
    assert!(matches!(seen.last().expect("one").detail, Detail::Rejected { status: 451 }));
}

#[tokio::test]
async fn a_renewal_is_told_and_so_is_one_that_was_ignored() {
    let relay = setup::plain().await;
    let mut control = RawListener::open(&relay).await;
    let mut events = relay.events();
    let renewal = |token: &str| text(&serde_json::json!({"renewToken": {"token": token}}).to_string());
    control.ws.send(&renewal(&token_of(&relay))).await;
    assert_eq!(next(&mut events).await.operation, Operation::TokenRenewed);
    control.ws.send(&renewal("com.example.Token@1b2c3d")).await;
    let ignored = next(&mut events).await;
    assert_eq!(ignored.operation, Operation::InvalidSasToken);
    assert!(matches!(&ignored.detail, Detail::Because(text) if text.contains("MalformedToken")), "{ignored:?}");
}

#[tokio::test]
async fn who_does_not_follow_misses_events_and_is_told_how_many() {
    let relay = setup::plain().await;
    let mut slow = relay.events();
    // One keep-alive connection, so that many refusals are quick.
    let door = Door::from(&relay);
    let mut socket = door.open().await;
    const REFUSALS: u64 = 1_500;
    for _ in 0..REFUSALS {
        Ask::http("GET", format!("/{HYCO}")).write(&door, &mut socket).await;
        let answer = hybridrelay_tests::wire::raw::Answer::read(socket).await;
        assert_eq!(answer.status, 401);
        socket = answer.into_socket();
    }
    let mut seen = 0;
    next(&mut slow).await;
    seen += 1;
    drop(relay);
    while slow.next().soon().await.is_some() {
        seen += 1;
    }
    assert!(slow.missed() > 0);
    assert_eq!(seen + slow.missed(), REFUSALS);
}
