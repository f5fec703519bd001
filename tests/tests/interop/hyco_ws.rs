//! The official package `hyco-ws`, unmodified, on either side and on both.

use hybridrelay_tests::payload::{self, Kind};
use hybridrelay_tests::program::{Program, patiently};
use serde_json::{Value, json};

use crate::end::End;
use crate::relay::{ENTITY, TestRelay, next_sender};
use crate::{scenarios, stacks};

/// Connections at once.
const PARALLEL: usize = 50;

#[tokio::test]
async fn a_hyco_ws_listener_serves_our_sender() {
    let relay = TestRelay::start().await;
    let listening = listening(&relay, None).await;

    for our_sender_closes in [true, false] {
        let (mut ours, mut theirs) = connect_to(&relay, &listening).await;
        if our_sender_closes {
            scenarios::exchange_messages(&mut ours, &mut theirs).await;
            scenarios::close(&mut ours, &mut theirs).await;
        } else {
            scenarios::close(&mut theirs, &mut ours).await;
        }
    }
    listening.finish().await;
}

#[tokio::test]
async fn a_hyco_ws_sender_reaches_our_listener() {
    let relay = TestRelay::start().await;
    let listener = relay.listener().await.expect("online");
    let sending = stacks::hyco_ws(&relay).await;

    for their_sender_closes in [true, false] {
        let path = "hyco/orders/7";
        let connect = json!({
            "id": format!("closes {their_sender_closes}"),
            "url": format!("{}&region=eu", relay.sender_url(path)),
            "token": relay.token(ENTITY),
        });
        let ((mut theirs, _), mut ours) = tokio::join!(End::open(&sending, connect), async {
            let sender = next_sender(&listener).await;
            assert_eq!((sender.path(), sender.query()), ("/orders/7", Some("region=eu")));
            End::Sdk(sender.accept().await.expect("accepted"))
        });
        if their_sender_closes {
            scenarios::exchange_messages(&mut ours, &mut theirs).await;
            scenarios::close(&mut theirs, &mut ours).await;
        } else {
            scenarios::close(&mut ours, &mut theirs).await;
        }
    }
    sending.finish().await;
}

#[tokio::test]
async fn hyco_ws_reaches_itself_through_our_relay() {
    let relay = TestRelay::start().await;
    let (listening, sending) = (listening(&relay, None).await, stacks::hyco_ws(&relay).await);

    for sender_closes in [true, false] {
        let id = format!("closes {sender_closes}");
        let connect = json!({"id": id, "url": relay.sender_url(ENTITY), "token": relay.token(ENTITY)});
        let ((mut sender, _), (mut listener, _)) =
            tokio::join!(End::open(&sending, connect), End::accepted(&listening));
        if sender_closes {
            scenarios::exchange_messages(&mut sender, &mut listener).await;
            scenarios::close(&mut sender, &mut listener).await;
        } else {
            scenarios::close(&mut listener, &mut sender).await;
        }
    }
    listening.finish().await;
    sending.finish().await;
}

#[tokio::test]
async fn sub_protocols_are_agreed_on_with_hyco_ws() {
    let relay = TestRelay::start().await;
    let sending = stacks::hyco_ws(&relay).await;
    let connect = |id: &str| {
        let (url, token) = (relay.sender_url(ENTITY), relay.token(ENTITY));
        json!({"id": id, "url": url, "token": token, "protocols": ["a", "b"]})
    };

    // Without a choice the package takes the sender's first; with one, what it chose.
    for (choice, agreed) in [(None, "a"), (Some("b"), "b")] {
        let listening = listening(&relay, choice).await;
        let ours = async {
            let connecting = relay.sender().connect().subprotocol("a").subprotocol("b").open();
            connecting.await.expect("connected").subprotocol().map(str::to_owned)
        };
        let (ours, (_, seen_by_listener)) = tokio::join!(ours, End::accepted(&listening));
        assert_eq!((ours.as_deref(), seen_by_listener.as_deref()), (Some(agreed), Some(agreed)));

        let ((_, theirs), (_, seen_by_listener)) =
            tokio::join!(End::open(&sending, connect(agreed)), End::accepted(&listening));
        assert_eq!((theirs.as_deref(), seen_by_listener.as_deref()), (Some(agreed), Some(agreed)));
        listening.finish().await;
        relay.until_listeners(|online| online == 0).await;
    }

    let listener = relay.listener().subprotocols(["b"]).await.expect("online");
    let ((_, theirs), ours) = tokio::join!(End::open(&sending, connect("ours")), async {
        let sender = next_sender(&listener).await;
        assert_eq!(sender.subprotocols().collect::<Vec<_>>(), ["a", "b"]);
        sender.accept().await.expect("accepted")
    });
    assert_eq!((theirs.as_deref(), ours.subprotocol()), (Some("b"), Some("b")));
    sending.finish().await;
}

#[tokio::test]
async fn fifty_connections_to_a_hyco_ws_listener_keep_apart() {
    let relay = TestRelay::start().await;
    let listening = listening(&relay, None).await;
    let sender = relay.sender();
    let connecting = (0..PARALLEL).map(|_| async { sender.connect().open().await.expect("connected") });
    let accepting = async {
        let mut accepted = Vec::new();
        while accepted.len() < PARALLEL {
            accepted.push(End::accepted(&listening).await.0);
        }
        accepted
    };
    let connecting = patiently("all connections", futures_util::future::join_all(connecting));
    let (ours, theirs) = tokio::join!(connecting, accepting);

    exchange_in_parallel(ours.into_iter().map(End::Sdk).collect(), theirs).await;
    listening.finish().await;
}

#[tokio::test]
async fn fifty_connections_from_a_hyco_ws_sender_keep_apart() {
    let relay = TestRelay::start().await;
    let listener = relay.listener().await.expect("online");
    let sending = stacks::hyco_ws(&relay).await;
    let connecting = (0..PARALLEL).map(|number| {
        let (url, token) = (relay.sender_url(ENTITY), relay.token(ENTITY));
        End::open(&sending, json!({"id": format!("{number}"), "url": url, "token": token}))
    });
    let accepting = async {
        let mut accepted = Vec::new();
        while accepted.len() < PARALLEL {
            accepted.push(next_sender(&listener).await.accept().await.expect("accepted"));
        }
        accepted
    };
    let (theirs, ours) = tokio::join!(futures_util::future::join_all(connecting), accepting);

    let theirs = theirs.into_iter().map(|(end, _)| end).collect();
    exchange_in_parallel(theirs, ours.into_iter().map(End::Sdk).collect()).await;
    sending.finish().await;
}

#[tokio::test]
async fn a_hyco_ws_sender_is_told_why_it_is_refused() {
    let relay = TestRelay::start().await;
    let sending = stacks::hyco_ws(&relay).await;
    let listener = relay.listener().await.expect("online");
    let url = relay.sender_url(ENTITY);

    let without_token = End::refused(&sending, json!({"id": "no token", "url": url})).await;
    assert_eq!(without_token["status"], 401, "{without_token}");

    let forged = relay.token_signed_with(ENTITY, "another key");
    let forged = End::refused(&sending, json!({"id": "forged", "url": url, "token": forged})).await;
    assert_eq!(forged["status"], 401, "{forged}");
    assert!(says(&forged, "token has an invalid signature") && says(&forged, ENTITY), "{forged}");

    let (unknown, token) = (relay.sender_url("nowhere"), relay.token("nowhere"));
    let unknown = End::refused(&sending, json!({"id": "unknown", "url": unknown, "token": token})).await;
    assert_eq!(unknown["status"], 404, "{unknown}");
    assert!(says(&unknown, "Endpoint does not exist") && says(&unknown, "TrackingId:"), "{unknown}");

    let connect = json!({"id": "rejected", "url": url, "token": relay.token(ENTITY)});
    let (rejected, ()) = tokio::join!(End::refused(&sending, connect), async {
        next_sender(&listener).await.reject(451, "Not for you").await.expect("rejected");
    });
    assert_eq!((&rejected["status"], &rejected["reason"]), (&json!(451), &json!("Not for you")));
    sending.finish().await;
}

#[tokio::test]
async fn a_hyco_ws_listener_is_back_after_a_cut_and_its_connections_go_on() {
    let relay = TestRelay::start().await;
    let listening = listening(&relay, None).await;
    let (mut before, mut theirs_before) = connect_to(&relay, &listening).await;
    assert_eq!(relay.local().drop_control(ENTITY), 1);
    listening.expect("listening").await;

    let (mut after, mut theirs_after) = connect_to(&relay, &listening).await;
    for (ours, theirs) in [(&mut before, &mut theirs_before), (&mut after, &mut theirs_after)] {
        ours.send(Kind::Binary, 65_537).await;
        assert_eq!(theirs.receive().await, payload::digested(&payload::message(Kind::Binary, 65_537)));
        scenarios::close(theirs, ours).await;
    }
    listening.finish().await;
}

#[tokio::test]
async fn a_hyco_ws_listener_is_back_after_a_restart_of_the_relay() {
    let relay = TestRelay::start().await;
    let listening = listening(&relay, None).await;
    let relay = relay.restart().await;
    listening.expect("listening").await;
    relay.until_listeners(|online| online >= 1).await;

    let (mut ours, mut theirs) = connect_to(&relay, &listening).await;
    ours.send_text("still there?").await;
    assert_eq!(theirs.receive().await.size, 12);
    scenarios::close(&mut ours, &mut theirs).await;
}

#[tokio::test]
async fn our_listener_is_back_after_a_restart_of_the_relay() {
    let relay = TestRelay::start().await;
    let listener = relay.listener().await.expect("online");
    let relay = relay.restart().await;
    relay.until_listeners(|online| online == 1).await;

    let sending = stacks::hyco_ws(&relay).await;
    let connect = json!({"url": relay.sender_url(ENTITY), "token": relay.token(ENTITY)});
    let ((mut theirs, _), mut ours) = tokio::join!(End::open(&sending, connect), async {
        End::Sdk(next_sender(&listener).await.accept().await.expect("accepted"))
    });
    theirs.send_text("still there?").await;
    assert_eq!(ours.receive().await.size, 12);
    scenarios::close(&mut ours, &mut theirs).await;
    sending.finish().await;
}

#[tokio::test]
async fn what_a_hyco_ws_sender_publishes_every_hyco_ws_listener_gets() {
    let relay = TestRelay::start().await;
    relay.give_everybody_everything();
    let listeners = [listening(&relay, None).await, listening(&relay, None).await];
    let sending = stacks::hyco_ws(&relay).await;
    let connect = json!({"url": relay.sender_url(ENTITY), "token": relay.token(ENTITY)});
    let (mut publisher, _) = End::open(&sending, connect).await;
    // All of them fit the queue of a listener that has not dialled yet.
    let events = [(Kind::Text, 1), (Kind::Binary, 70_000), (Kind::Text, 500_000), (Kind::Binary, 0)];
    for (kind, size) in events {
        publisher.send(kind, size).await;
    }
    publisher.close(4001, "no more").await;
    publisher.until_closed().await;
    for listener in &listeners {
        let (mut subscriber, _) = End::accepted(listener).await;
        for (kind, size) in events {
            assert_eq!(subscriber.receive().await, payload::digested(&payload::message(kind, size)));
        }
        assert_eq!(subscriber.closed_by_peer().await, (4001, "no more".to_owned()));
    }
    for program in listeners.into_iter().chain([sending]) {
        program.finish().await;
    }
}

/// The package as a listener that is online, with the sub-protocol that it chooses.
pub(crate) async fn listening(relay: &TestRelay, choice: Option<&str>) -> Program {
    let program = stacks::hyco_ws(relay).await;
    let url = format!("wss://localhost:{}/$hc/{ENTITY}?sb-hc-action=listen", relay.port());
    let (key_name, key) = (relay.local().key_name(), relay.local().key());
    program.tell(json!({"do": "listen", "url": url, "keyName": key_name, "key": key, "protocol": choice})).await;
    program.expect("listening").await;
    program
}

/// A connection of our sender to the package's listener: both ends.
async fn connect_to<'a>(relay: &TestRelay, listening: &'a Program) -> (End<'a>, End<'a>) {
    let connecting = async { relay.sender().connect().open().await.expect("connected") };
    let (ours, (theirs, _)) = tokio::join!(patiently("a connection", connecting), End::accepted(listening));
    (End::Sdk(ours), theirs)
}

/// Sends a message of its own size through each connection and back. The listening ends may be in any order.
async fn exchange_in_parallel(senders: Vec<End<'_>>, listeners: Vec<End<'_>>) {
    const LEAST: usize = 1_000;
    let sizes = LEAST..LEAST + senders.len();
    let asking = senders.into_iter().zip(sizes.clone()).map(|(mut end, size)| async move {
        end.send(Kind::Binary, size).await;
        assert_eq!(end.receive().await, payload::digested(&payload::message(Kind::Text, size)));
        (end, size)
    });
    let answering = listeners.into_iter().map(|mut end| async move {
        let received = end.receive().await;
        assert_eq!(received, payload::digested(&payload::message(Kind::Binary, received.size)));
        end.send(Kind::Text, received.size).await;
        (end, received.size)
    });
    let asking = futures_util::future::join_all(asking);
    let answering = futures_util::future::join_all(answering);
    let (_asked, answered) = tokio::join!(asking, answering);
    let mut seen: Vec<usize> = answered.iter().map(|(_, size)| *size).collect();
    seen.sort_unstable();
    assert_eq!(seen, sizes.collect::<Vec<_>>());
}

fn says(refused: &Value, words: &str) -> bool {
    refused["reason"].as_str().is_some_and(|reason| reason.contains(words))
}
