//! How a relay ends: in good order, at once, and how listeners live through it (decision 20).

use std::time::Duration;

use hybridrelay::{ErrorKind, Status, StatusWatcher};
use hybridrelay_relay::LocalRelay;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, RawEnds, RawListener};
use hybridrelay_tests::wire::raw::{Answer, Ask, Door, Seen, header, op, text};
use hybridrelay_tests::wire::setup::{self, Ends, HYCO};
use tokio::net::TcpStream;

/// Longer than any test waits: what does not need the drain time must not take it.
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn listeners_are_told_1001_although_nothing_is_relayed() {
    for relay in setup::plain_and_tls().await {
        let mut control = RawListener::open(&relay).await;
        let (_, ()) = tokio::join!(relay.shutdown(LONG).soon(), async {
            assert_eq!(control.ws.close().await, (Some(1001), "ServiceShuttingDown".to_owned()));
            control.ws.send_close(Some(1001), "").await;
            assert_eq!(control.ws.next().await, Seen::Eof);
        });
    }
}

#[tokio::test]
async fn a_listener_that_does_not_answer_does_not_hold_a_shutdown_up() {
    let relay = setup::plain().await;
    let mut control = RawListener::open(&relay).await;
    // `control_close` of 5 s is the limit of that patience.
    relay.shutdown(LONG).soon().await;
    assert_eq!(control.ws.close().await.0, Some(1001));
    assert!(matches!(control.ws.end().await, Seen::Reset | Seen::Eof));
}

#[tokio::test]
async fn relayed_connections_get_the_time_to_end_by_themselves() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        let mut status = listener.status();
        let (_, ()) = tokio::join!(relay.shutdown(LONG).soon(), async {
            let error = offline(&mut status).await;
            assert_eq!((error.kind(), error.close_code()), (ErrorKind::ConnectionLost, Some(1001)));
            assert!(error.reason().is_some_and(|reason| reason.contains("ServiceShuttingDown")));
            // The channel has gone, the connection lives and ends as ever.
            sender.send(vec![7; 1 << 20]).soon().await.unwrap();
            assert_eq!(accepted.receive().soon().await.unwrap().map(|message| message.len()), Some(1 << 20));
            let (one, other) = tokio::join!(sender.close().soon(), async {
                assert_eq!(accepted.receive().soon().await.unwrap(), None);
                accepted.close_with(3000, "done").soon().await
            });
            one.unwrap();
            other.unwrap();
            assert_eq!(sender.peer_close().flatten().map(|close| close.code), Some(3000));
        });
    }
}

/// Waits until the listener is offline and says why.
async fn offline(status: &mut StatusWatcher) -> hybridrelay::Error {
    loop {
        if let Some(Status::Offline { error, .. }) = status.changed().soon().await {
            return error;
        }
    }
}

#[tokio::test]
async fn who_stays_is_closed_with_1001_when_the_time_is_over() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        let Ends { sender: sdk_sender, accepted: sdk_accepted, .. } = setup::ends_on(&relay, "sdk").await;
        let (_, ()) = tokio::join!(relay.shutdown(Duration::from_millis(500)).soon(), async {
            for ws in [&mut sender, &mut accepted] {
                assert_eq!(ws.close().await, (Some(1001), "ServiceShuttingDown".to_owned()));
                ws.send_close(Some(1001), "").await;
            }
            assert_eq!((sender.next().await, accepted.next().await), (Seen::Eof, Seen::Eof));
            for connection in [&sdk_sender, &sdk_accepted] {
                assert_eq!(connection.receive().soon().await.unwrap(), None);
                assert_eq!(connection.peer_close().flatten().map(|close| close.code), Some(1001));
                connection.close().soon().await.unwrap();
            }
        });
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_the_end_of_a_frame_and_then_cuts() {
    let relay = setup::plain().await;
    let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
    // A short frame, which passes whole: inside it there is no border.
    sender.send(&header(0x80 | op::TEXT, 100)).await;
    sender.send(&text("x")[6..]).await;
    let mut begun = Vec::new();
    while begun.len() < 3 {
        assert!(accepted.socket().receive(&mut begun).await.unwrap() > 0);
    }
    let (_, ()) = tokio::join!(relay.shutdown(Duration::from_millis(500)).soon(), async {
        assert_eq!(sender.close().await.0, Some(1001), "this side is at a border");
        assert!(matches!(accepted.end().await, Seen::Reset), "the rest of the frame never came");
    });
}

#[tokio::test]
async fn nobody_new_is_let_in_while_a_relay_shuts_down() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let token = peers::token_of(&relay);
    let RawEnds { sender, mut control, .. } = peers::raw_ends(&relay).await;
    // A socket that was there before, with a request still to come, and a sender that waits.
    let refused = Ask::http("GET", "/nobody").send(&door).await;
    let mut waiting = door.open().await;
    peers::connect(&relay, "").write(&door, &mut waiting).await;
    control.invitation().await;
    let (_, ()) = tokio::join!(relay.shutdown(LONG).soon(), async {
        assert_eq!(control.ws.close().await.0, Some(1001));
        setup::until_ready(|| async { TcpStream::connect(door.addr).await.is_err() }).await;
        let waited = Answer::read(waiting).await;
        assert_eq!(waited.status, 504, "its listener has gone, and no other will come: {}", waited.status_line);
        let mut socket = refused.into_socket();
        let ask = Ask::websocket("/$hc/hyco").token(&token);
        // The relay may have ended the idle socket already; if it answers, then with 503.
        if let Some(answer) = ask.try_on(&door, &mut socket).await {
            assert_eq!(answer, 503);
        }
        drop(sender);
        drop(control);
    });
}

#[tokio::test]
async fn a_relay_that_is_dropped_cuts_everything_at_once() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, mut control } = peers::raw_ends(&relay).await;
        let door = Door::from(&relay);
        let mut waiting = door.open().await;
        peers::connect(&relay, "").write(&door, &mut waiting).await;
        control.invitation().await;
        drop(relay);
        assert_eq!(sender.end().await, Seen::Reset);
        assert_eq!(accepted.end().await, Seen::Reset);
        assert_eq!(control.ws.end().await, Seen::Reset);
        // Somebody who waits may be told that his listener has gone before he is cut.
        let mut last_words = Vec::new();
        while waiting.receive(&mut last_words).await.is_ok_and(|read| read > 0) {}
        assert!(last_words.is_empty() || last_words.starts_with(b"HTTP/1.1 50"));
        setup::until_ready(|| async { TcpStream::connect(door.addr).await.is_err() }).await;
    }
}

#[tokio::test]
async fn a_relay_can_be_started_again_on_its_port_as_soon_as_it_has_shut_down() {
    let relay = setup::plain().await;
    let port = relay.local_addr().port();
    let mut relay = Some(relay);
    for _ in 0..5 {
        relay.take().expect("one is running").shutdown(LONG).soon().await;
        relay = Some(LocalRelay::builder().port(port).start().soon().await.expect("the port is free"));
    }
}

#[tokio::test]
async fn a_listener_comes_back_when_its_relay_does_and_connections_are_told() {
    let relay = setup::plain().await;
    let port = relay.local_addr().port();
    let key = relay.key().to_owned();
    let Ends { sender, accepted, listener } = setup::ends(&relay).await;
    let mut status = listener.status();
    drop(relay);
    for connection in [&sender, &accepted] {
        assert_eq!(connection.receive().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    }
    assert_eq!(offline(&mut status).await.kind(), ErrorKind::ConnectionLost);
    let relay = setup::again(port, &key).await;
    while !status.changed().soon().await.is_some_and(|status| status.is_online()) {}
    let sender = hybridrelay::Sender::new(relay.connection_string(HYCO)).unwrap();
    let (sender, accepted) = setup::meet(&sender, &listener).await;
    sender.send("back again").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some("back again".into()));
}

#[tokio::test]
async fn a_dropped_control_channel_is_opened_again_and_nothing_else_happens() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        let mut status = listener.status();
        for _ in 0..3 {
            assert_eq!(relay.drop_control(HYCO), 1);
            assert_eq!(offline(&mut status).await.kind(), ErrorKind::ConnectionLost);
            while !status.changed().soon().await.is_some_and(|status| status.is_online()) {}
            sender.send("still joined").soon().await.unwrap();
            assert_eq!(accepted.receive().soon().await.unwrap(), Some("still joined".into()));
        }
        let other = setup::sender(&relay, HYCO).build().unwrap();
        setup::meet(&other, &listener).await;
    }
}

#[tokio::test]
async fn a_listener_whose_runtime_ends_says_so_to_whoever_waits_on_it() {
    let relay = setup::plain().await;
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let opening = setup::listener(&relay, HYCO).open();
    let listener = doomed.spawn(opening).soon().await.unwrap().unwrap();
    let mut status = listener.status();
    let (waiting, ()) = tokio::join!(listener.accept().soon(), async { doomed.shutdown_background() });
    // The failure comes once, to whoever waits or to whoever comes next.
    assert_eq!(waiting.unwrap_err().kind(), ErrorKind::Closed);
    assert!(listener.accept().soon().await.unwrap().is_none());
    while !matches!(status.current(), Status::Closed { .. }) {
        status.changed().soon().await.unwrap();
    }
}
