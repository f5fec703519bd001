//! What a sender says reaches the listener, and what the listener decides reaches the sender.

use std::time::Duration;

use futures_util::FutureExt;
use hybridrelay::{ErrorKind, Sender, Status};
use hybridrelay_relay::{AutoCreate, Config, LocalRelay};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, RawListener};
use hybridrelay_tests::wire::raw::Door;
use hybridrelay_tests::wire::setup::{self, Ends, HYCO};

#[tokio::test]
async fn path_query_headers_address_and_id_reach_the_listener() {
    for relay in setup::plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).header("X-Listener", "not for senders").soon().await.unwrap();
        let sender = setup::sender(&relay, HYCO).header("X-Always", "a").header("X-Once", "b").build().unwrap();
        let id = "6f6b6f6b-0000-4000-8000-123456789abc";
        let connect = sender
            .connect()
            .path("orders/a b/%2F/ü")
            .query("?region=eu&&x=%41 b&flag")
            .header("X-Once", "c")
            .header("Cookie", "a=1")
            .header("Authorization", "Basic eDp5")
            .tracking_id(id);
        let (connection, accepted) = tokio::join!(connect.soon(), async {
            let incoming = setup::incoming(&listener).await;
            assert_eq!(incoming.path(), "/orders/a%20b/%2F/%C3%BC");
            assert_eq!(incoming.mount(), "/hyco");
            assert_eq!(incoming.query(), Some("region=eu&&x=%41%20b&flag"));
            let header = |name: &str| incoming.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("x-always"), Some("a"));
            assert_eq!(header("x-once"), Some("c"));
            assert_eq!(header("cookie"), Some("a=1"));
            assert_eq!(header("authorization"), Some("Basic eDp5"));
            assert_eq!(header("host"), Some(relay.address().authority().as_str()));
            assert_eq!(header("servicebusauthorization"), None);
            assert_eq!(header("x-listener"), None);
            assert!(incoming.remote_addr().is_some_and(|remote| remote.ip().is_loopback() && remote.port() != 0));
            assert_eq!(incoming.tracking_id(), format!("{id}_G0"));
            incoming.accept().soon().await.unwrap()
        });
        assert_eq!(connection.unwrap().tracking_id(), id);
        assert_eq!(accepted.tracking_id(), format!("{id}_G0"));
    }
}

#[tokio::test]
async fn a_sender_that_says_nothing_special_reaches_the_listener_as_such() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, "a/B/c").soon().await.unwrap();
    let sender = setup::sender(&relay, "a/B/c").build().unwrap();
    let (connection, ()) = tokio::join!(sender.connect().soon(), async {
        let incoming = setup::incoming(&listener).await;
        assert_eq!((incoming.path(), incoming.query(), incoming.mount().as_str()), ("", None, "/a/B/c"));
        assert_eq!(incoming.subprotocols().count(), 0);
        let accepted = incoming.accept().soon().await.unwrap();
        assert_eq!(accepted.subprotocol(), None);
    });
    assert_eq!(connection.unwrap().subprotocol(), None);
}

#[tokio::test]
async fn a_sub_protocol_is_negotiated_end_to_end() {
    for relay in setup::plain_and_tls().await {
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        // What the listener speaks, and what comes of a sender that offers `a, b`.
        for (spoken, agreed) in [(&[][..], Some("a")), (&["c", "b", "a"], Some("b")), (&["c"], None)] {
            let listener = setup::listener(&relay, HYCO).subprotocols(spoken.iter().copied()).soon().await.unwrap();
            let (connection, accepted) =
                tokio::join!(sender.connect().subprotocol("a").subprotocol("b").soon(), async {
                    let incoming = setup::incoming(&listener).await;
                    assert_eq!(incoming.subprotocols().collect::<Vec<_>>(), ["a", "b"]);
                    incoming.accept().soon().await.unwrap()
                });
            assert_eq!((connection.unwrap().subprotocol(), accepted.subprotocol()), (agreed, agreed));
            listener.close().soon().await;
        }
    }
}

#[tokio::test]
async fn a_program_may_choose_the_sub_protocol_itself() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    for chosen in [Some("b"), None] {
        let (connection, accepted) = tokio::join!(sender.connect().subprotocol("a").subprotocol("b").soon(), async {
            let accept = setup::incoming(&listener).await.accept();
            accept.subprotocol(chosen.map(str::to_owned)).soon().await.unwrap()
        });
        assert_eq!((connection.unwrap().subprotocol(), accepted.subprotocol()), (chosen, chosen));
    }
    // One that nobody offered is the listener's mistake; the sender does not take it for an agreement.
    let (connection, _accepted) = tokio::join!(sender.connect().subprotocol("a").soon(), async {
        setup::incoming(&listener).await.accept().subprotocol("z".to_owned()).soon().await
    });
    assert_eq!(connection.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_connect_ends_with_a_timeout_of_its_own_and_the_listener_learns_that_it_came_too_late() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let error = sender.connect().timeout(Duration::from_millis(200)).soon().await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Timeout, None));
    let late = setup::incoming(&listener).await;
    assert_eq!(late.accept().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    setup::no_connection(&relay).await;
}

#[tokio::test]
async fn dropping_a_connect_withdraws_it() {
    for relay in setup::plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        let mut connecting = Box::pin(sender.connect().open());
        let incoming = tokio::select! {
            incoming = setup::incoming(&listener) => incoming,
            _ = &mut connecting => panic!("nobody has accepted"),
        };
        drop(connecting);
        let error = incoming.accept().soon().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert!(error.status() == Some(403) || error.status().is_none(), "{error}");
        setup::no_connection(&relay).await;
    }
}

#[tokio::test]
async fn a_listener_that_does_not_answer_is_told_of_by_the_relay() {
    let mut config = Config::default();
    config.timings.accept = Duration::from_millis(200);
    let relay = LocalRelay::builder().config(config).start().soon().await.unwrap();
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let error = sender.connect().soon().await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Timeout, Some(504)));
    assert!(error.reason().is_some_and(|reason| {
        reason.starts_with(
            "None of the connected listeners accepted the connections within the allowed timeout. TrackingId:",
        )
    }));
    assert!(error.is_retryable());
    let late = setup::incoming(&listener).await.accept().soon().await.unwrap_err();
    assert_eq!((late.kind(), late.status()), (ErrorKind::ConnectionLost, Some(403)));
}

#[tokio::test]
async fn senders_are_spread_over_all_listeners() {
    let relay = setup::plain().await;
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(setup::listener(&relay, HYCO).soon().await.unwrap());
    }
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let mut counts = [0; 3];
    for _ in 0..60 {
        let mut connecting = Box::pin(sender.connect().open());
        let chosen = {
            let waits = listeners.iter().map(|listener| Box::pin(setup::incoming(listener)));
            let first = futures_util::future::select_all(waits);
            tokio::select! {
                (incoming, chosen, _) = first => {
                    let (accepted, connected) = tokio::join!(incoming.accept().soon(), connecting.as_mut());
                    drop((accepted.unwrap(), connected.unwrap()));
                    chosen
                }
                _ = connecting.as_mut() => panic!("nobody has accepted"),
            }
        };
        counts[chosen] += 1;
    }
    // 3 · (2/3)^60: never, if the choice is random.
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[tokio::test]
async fn a_public_hybrid_connection_takes_senders_without_a_token() {
    let relay = LocalRelay::builder().anonymous(true).start().soon().await.unwrap();
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = Sender::new(relay.address().with_entity(HYCO.parse().unwrap())).unwrap();
    let (connection, accepted) = setup::meet(&sender, &listener).await;
    connection.send("anybody").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some("anybody".into()));

    let strict = setup::plain().await;
    let _listener = setup::listener(&strict, HYCO).soon().await.unwrap();
    let sender = Sender::new(strict.address().with_entity(HYCO.parse().unwrap())).unwrap();
    let error = sender.connect().soon().await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)));
}

#[tokio::test]
async fn a_web_applications_own_path_is_taken_as_a_connect() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let mut control = RawListener::open(&relay).await;
    let token = peers::token_of(&relay);
    let own = hybridrelay_tests::wire::raw::Ask::websocket("/hyco/ws?room=7").token(&token);
    let (answer, invitation) = tokio::join!(own.send(&door), async {
        let invitation = control.invitation().await;
        invitation.dial().await.websocket();
        invitation
    });
    answer.websocket();
    assert!(invitation.field("address").contains("/$hc/hyco/ws?room=7&sb-hc-action=accept&"));

    // As with Azure, where that is wanted.
    let policy = AutoCreate::default();
    relay.store().edit(relay.namespace(), |namespace| namespace.auto_create = Some(policy));
    let mut strict = RawListener::open_on(&relay, "strict").await;
    let own = hybridrelay_tests::wire::raw::Ask::websocket("/strict/ws").token(&token);
    let (answer, ()) = tokio::join!(own.send(&door), async {
        // An ordinary request, of which nothing says that it asked for an upgrade.
        let asked = strict.request().await;
        assert_eq!((asked.field("method"), asked.header("Upgrade")), ("GET", None));
        strict.respond(asked.response(418, false), None).await;
    });
    assert_eq!(answer.status, 418);
}

#[tokio::test]
async fn dropping_what_came_in_unanswered_rejects_it_with_503() {
    for relay in setup::plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        let (connected, ()) =
            tokio::join!(sender.connect().soon(), async { drop(listener.accept().soon().await.unwrap()) });
        let error = connected.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::ServerBusy, Some(503)));
        // A cancelled accept is unanswered as well.
        let (connected, ()) = tokio::join!(sender.connect().soon(), async {
            let mut accepting = Box::pin(setup::incoming(&listener).await.accept().into_future());
            assert!(accepting.as_mut().now_or_never().is_none());
        });
        assert_eq!(connected.unwrap_err().status(), Some(503));
    }
}

#[tokio::test]
async fn more_unanswered_senders_than_allowed_are_rejected_with_503() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).max_concurrent(2).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move { sender.connect().await })
        })
        .collect();
    let first = setup::incoming(&listener).await;
    let second = setup::incoming(&listener).await;
    let error = sender.connect().soon().await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::ServerBusy, Some(503)));
    // An answer makes room for the next.
    first.reject(404, "no").soon().await.unwrap();
    let (third, accepted) = setup::meet(&sender, &listener).await;
    drop((third, accepted));
    drop(second);
    for waiting in waiting {
        waiting.soon().await.unwrap().unwrap_err();
    }
}

#[tokio::test]
async fn closing_a_listener_wakes_every_accept_with_an_end_and_leaves_connections_alone() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        let mut accepts: Vec<_> = (0..3).map(|_| Box::pin(listener.accept())).collect();
        assert!(accepts.iter_mut().all(|accept| accept.as_mut().now_or_never().is_none()));
        let mut online = relay.watch_listeners(HYCO);
        listener.close().soon().await;
        for accept in accepts {
            assert!(accept.soon().await.unwrap().is_none());
        }
        assert!(listener.accept().soon().await.unwrap().is_none());
        assert!(matches!(listener.status().current(), Status::Closed { error: None }));
        listener.close().soon().await;
        online.wait_for(|count| *count == 0).soon().await.unwrap();
        sender.send("still here").soon().await.unwrap();
        assert_eq!(accepted.receive().soon().await.unwrap(), Some("still here".into()));
    }
}

#[tokio::test]
async fn closing_a_listener_rejects_the_sender_that_waits_unaccepted() {
    for relay in setup::plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).max_concurrent(1).soon().await.unwrap();
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        let connects = (0..2).map(|_| Box::pin(sender.connect().open()));
        // One has the only place; the other's refusal shows that it has come.
        let (refused, _, mut waiting) = futures_util::future::select_all(connects).soon().await;
        assert_eq!(refused.unwrap_err().status(), Some(503));
        let waiting = waiting.pop().unwrap();
        let (rejected, ()) = tokio::join!(waiting.soon(), listener.close().soon());
        let error = rejected.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::ServerBusy, Some(503)), "{error}");
    }
}

#[tokio::test]
async fn what_was_taken_from_a_listener_can_still_be_answered_when_it_is_closed() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let (connected, ()) = tokio::join!(sender.connect().soon(), async {
        let held = setup::incoming(&listener).await;
        listener.close().soon().await;
        drop(held);
    });
    connected.unwrap_err();
}
