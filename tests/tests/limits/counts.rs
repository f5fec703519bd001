//! How many at once: connections, waiting senders, listeners.

use hybridrelay::{ErrorKind, Sender};
use hybridrelay_relay::Config;
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::RawListener;
use hybridrelay_tests::wire::raw::{Ask, RawWebSocket};
use hybridrelay_tests::wire::setup::{Served, until};

use crate::common::{A, B, LISTEN, OWN, SEND, SEND_TOO, connect, connection_string, listen, serve};

/// Joins a sender from this address to a listener that is online.
async fn join(relay: &Served, from: [u8; 4], ask: Ask, control: &mut RawListener) -> (RawWebSocket, RawWebSocket) {
    let door = relay.door.from_address(from);
    let (sender, accepted) = tokio::join!(ask.send(&door), control.accept());
    (sender.websocket(), accepted)
}

async fn online(relay: &Served, entity: &str) -> RawListener {
    RawListener::new(&relay.door, listen(entity, LISTEN).send(&relay.door).await)
}

const HERE: [u8; 4] = [127, 0, 0, 2];
const THERE: [u8; 4] = [127, 0, 0, 3];

#[tokio::test]
async fn one_connection_more_than_somebody_may_have_is_refused_until_another_ends() {
    // The limit, what it says, and a sender that it does not concern.
    type Case =
        (&'static str, fn(&mut Config), &'static str, Option<([u8; 4], &'static str, (&'static str, &'static str))>);
    let cases: [Case; 5] = [
        (
            "connections_per_namespace",
            |config| config.limits.connections_per_namespace = 1,
            "The namespace has as many connections as it may have",
            None,
        ),
        (
            "connections_per_entity",
            |config| config.limits.connections_per_entity = 1,
            "The hybrid connection has as many connections as it may have",
            Some((HERE, B, SEND)),
        ),
        (
            "connections_per_key",
            |config| config.limits.connections_per_key = 1,
            "The key has as many connections as it may have",
            Some((HERE, A, SEND_TOO)),
        ),
        (
            "connections_per_key",
            |config| config.limits.connections_per_key = 1,
            "The key has as many connections as it may have",
            Some((HERE, A, OWN)),
        ),
        (
            "connections_per_address",
            |config| config.limits.connections_per_address = 1,
            "The address has as many connections as it may have",
            Some((THERE, A, SEND)),
        ),
    ];
    for (limit, edit, text, other) in cases {
        let relay = serve(edit).await;
        let (mut a, mut b) = (online(&relay, A).await, online(&relay, B).await);
        let (first, accepted) = join(&relay, HERE, connect(A, SEND), &mut a).await;

        let refused = connect(A, SEND).send(&relay.door.from_address(HERE)).await;
        assert_eq!((refused.status, refused.text()), (503, text), "{limit}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(Samples::from(&relay.handle).refusals(limit), 1.0, "{limit}");

        if let Some((from, entity, rule)) = other {
            let control = if entity == A { &mut a } else { &mut b };
            join(&relay, from, connect(entity, rule), control).await;
        }

        first.reset();
        drop(accepted);
        until(|| relay.handle.connections() == 0).await;
        join(&relay, HERE, connect(A, SEND), &mut a).await;
    }
}

#[tokio::test]
async fn a_sender_that_waits_counts_as_a_connection_and_makes_room_when_it_gives_up() {
    let relay = serve(|config| config.limits.connections_per_entity = 1).await;
    let mut control = online(&relay, A).await;
    let mut waiting = relay.door.open().await;
    connect(A, SEND).write(&relay.door, &mut waiting).await;
    control.invitation().await;
    assert_eq!(connect(A, SEND).send(&relay.door).await.status, 503);
    drop(waiting);
    // The relay has seen its end when only the control channel is left.
    until(|| Samples::from(&relay.handle).sum("hybridrelay_sockets", &[]) == 1.0).await;
    join(&relay, HERE, connect(A, SEND), &mut control).await;
}

#[tokio::test]
async fn one_waiting_sender_too_many_is_refused() {
    for (limit, edit) in [
        ("waiting_per_entity", (|config| config.limits.waiting_per_entity = 1) as fn(&mut Config)),
        ("waiting_per_address", |config| config.limits.waiting_per_address = 1),
    ] {
        let relay = serve(edit).await;
        let mut control = online(&relay, A).await;
        let mut waiting = relay.door.open().await;
        connect(A, SEND).write(&relay.door, &mut waiting).await;
        let invitation = control.invitation().await;

        let refused = connect(A, SEND).send(&relay.door).await;
        assert_eq!(refused.status, 503);
        assert!(refused.text().ends_with("has as many senders that wait for a listener as it may have"), "{refused:?}");
        assert_eq!(Samples::from(&relay.handle).refusals(limit), 1.0);

        // Who is joined does not wait any more.
        let _accepted = invitation.dial().await.websocket();
        join(&relay, [127, 0, 0, 1], connect(A, SEND), &mut control).await;
    }
}

#[tokio::test]
async fn one_listener_more_than_somebody_may_have_gets_a_quota_error() {
    for (limit, edit, text) in [
        (
            "listeners_per_namespace",
            (|config| config.limits.listeners_per_namespace = 1) as fn(&mut Config),
            "QuotaExceeded: The namespace has as many listeners as it may have",
        ),
        (
            "listeners_per_entity",
            |config| config.limits.listeners_per_entity = 1,
            "QuotaExceeded: maximum number of listeners reached",
        ),
        (
            "listeners_per_key",
            |config| config.limits.listeners_per_key = 1,
            "QuotaExceeded: The key has as many listeners as it may have",
        ),
        (
            "listeners_per_address",
            |config| config.limits.listeners_per_address = 1,
            "QuotaExceeded: The address has as many listeners as it may have",
        ),
    ] {
        let relay = serve(edit).await;
        let first = online(&relay, A).await;
        let refused = listen(A, LISTEN).send(&relay.door).await;
        assert_eq!((refused.status, refused.text()), (403, text));
        assert_eq!(Samples::from(&relay.handle).refusals(limit), 1.0);

        let builder = hybridrelay::Listener::builder(connection_string(&relay.door.authority, A, LISTEN));
        let error = builder.open().soon().await.expect_err("one too many");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");

        drop(first);
        until(|| relay.handle.listeners(crate::common::NAMESPACE, A).is_empty()).await;
        online(&relay, A).await;
    }
}

#[tokio::test]
async fn the_sdk_takes_a_full_relay_for_busy_and_worth_another_try() {
    let relay = serve(|config| config.limits.connections_per_namespace = 0).await;
    let sender = Sender::new(connection_string(&relay.door.authority, A, SEND)).expect("a valid target");
    let error = sender.connect().soon().await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::ServerBusy, "{error}");
    assert!(error.is_retryable() && error.retry_after().is_some(), "{error:?}");
}
