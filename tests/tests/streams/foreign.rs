//! The SDK against a service that is not ours: everything that protocol.md 9.2 asks it to tolerate.

use std::time::Duration;

use hybridrelay::token::{SasToken, TokenProvider};
use hybridrelay::{Connection, ErrorKind, Listener, Sender, Status};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::{Admitted, FakeRelay};
use hybridrelay_tests::wire::setup;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A listener that is online at a foreign relay.
async fn online(fake: &FakeRelay) -> (Listener, Admitted) {
    let (listener, control) = tokio::join!(Listener::builder(fake.connection_string()).soon(), fake.admit());
    (listener.unwrap(), control)
}

/// A connection to a foreign relay.
async fn connected(
    fake: &FakeRelay,
    edit: impl FnOnce(hybridrelay::SenderBuilder) -> hybridrelay::SenderBuilder,
) -> (Connection, Admitted) {
    let sender = edit(Sender::builder(fake.connection_string())).build().unwrap();
    let (connection, admitted) = tokio::join!(sender.connect().soon(), fake.admit());
    (connection.unwrap(), admitted)
}

#[tokio::test]
async fn unknown_commands_and_missing_fields_do_not_disturb_a_listener() {
    let fake = FakeRelay::start().await;
    let (listener, mut control) = online(&fake).await;
    control.command(json!({"teleport": {"x": 1}})).await;
    control.command(json!({"accept": {"id": "no address"}})).await;
    control.command(json!({"accept": 7})).await;
    control.command(json!([])).await;
    control.send(Message::text("no JSON at all")).await;
    control.send(Message::binary(b"a body of nothing".to_vec())).await;
    control.send(Message::Ping(b"are you there"[..].into())).await;
    let address = format!("ws://{}/$hc/hyco?sb-hc-action=accept&sb-hc-id=7", fake.authority()).replace('/', "\\/");
    control.send(Message::text(format!(r#"{{"new":[],"accept":{{"x":1,"address":"{address}"}}}}"#))).await;
    let connect = setup::incoming(&listener).await;
    assert_eq!((connect.remote_addr(), connect.headers().len(), connect.path(), connect.query()), (None, 0, "", None));
    let (connection, mut peer) = tokio::join!(connect.accept().soon(), fake.admit());
    connection.unwrap().send("let in").soon().await.unwrap();
    assert_eq!(peer.message().await, Message::text("let in"));
    assert!(listener.status().current().is_online());
}

#[tokio::test]
async fn a_rendezvous_on_another_host_is_dialled_byte_for_byte_and_without_a_token() {
    let (fake, gateway) = (FakeRelay::start().await, FakeRelay::start().await);
    let (listener, mut control) = online(&fake).await;
    let target =
        "/$hc/hyco/a%2Fb/%7Ec;d/%20?z=%41&&a=b=c&sb-hc-action=accept&sb-hc-id=not-a-guid_G1_G2_G3&sb-hc-new=1&=";
    let address = format!("ws://{}{target}", gateway.authority());
    control.command(json!({"accept": {"address": address, "id": "not-a-guid_G1_G2_G3", "connectHeaders": {}}})).await;
    let connect = setup::incoming(&listener).await;
    assert_eq!((connect.path(), connect.query()), ("/a%2Fb/%7Ec;d/%20", Some("z=%41&&a=b=c&=")));
    assert_eq!(connect.tracking_id(), "not-a-guid_G1_G2_G3");
    let (_connection, visitor) = tokio::join!(connect.accept().soon(), async {
        let visitor = gateway.visitor().await;
        assert_eq!(visitor.target, target);
        for absent in ["servicebusauthorization", "authorization", "relay-features", "sec-websocket-protocol"] {
            assert_eq!(visitor.header(absent), None, "{absent}");
        }
        visitor.admit(&[]).await
    });
    drop(visitor);

    control.command(json!({"accept": {"address": address, "id": "x"}})).await;
    let connect = setup::incoming(&listener).await;
    let (rejected, ()) = tokio::join!(connect.reject(451, "Not for +you & me").soon(), async {
        let visitor = gateway.visitor().await;
        let more = "&sb-hc-statusCode=451&sb-hc-statusDescription=Not%20for%20%2Byou%20%26%20me";
        assert_eq!(visitor.target, format!("{target}{more}"));
        visitor.refuse("410 Gone", "", "").await;
    });
    rejected.unwrap();
}

#[tokio::test]
async fn every_answer_but_101_finishes_a_reject() {
    let fake = FakeRelay::start().await;
    let (listener, mut control) = online(&fake).await;
    let address = format!("ws://{}/$hc/hyco?sb-hc-id=1", fake.authority());
    for status in ["410 Gone", "200 OK", "400 Bad Request", "500 Oops"] {
        control.command(json!({"accept": {"address": address}})).await;
        let connect = setup::incoming(&listener).await;
        let (rejected, ()) = tokio::join!(connect.reject(404, "").soon(), async {
            fake.visitor().await.refuse(status, "", "").await;
        });
        rejected.unwrap();
    }
    control.command(json!({"accept": {"address": address}})).await;
    let connect = setup::incoming(&listener).await;
    let (rejected, _peer) = tokio::join!(connect.reject(404, "").soon(), fake.admit());
    assert_eq!(rejected.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn an_http_request_that_the_program_does_not_look_at_is_answered_501_where_it_came() {
    let fake = FakeRelay::start().await;
    let (listener, mut control) = online(&fake).await;
    let full = |address: &str| {
        json!({"request": {
            "address": address, "id": "b1f3c0de-0000-4000-8000-000000000000_G7", "requestTarget": "/hyco/x", "method": "POST",
            "remoteEndpoint": {"address": "203.0.113.7", "port": 1}, "requestHeaders": {"Host": "x"}, "body": true,
        }})
    };
    let check = |response: Message, body: Message| {
        let response: Value = serde_json::from_str(response.to_text().unwrap()).unwrap();
        let response = &response["response"];
        assert_eq!(response["statusCode"], 501);
        assert_eq!(response["requestId"], "b1f3c0de-0000-4000-8000-000000000000_G7");
        assert_eq!(response["body"], true);
        assert!(matches!(body, Message::Binary(_)) && !body.is_empty());
    };
    let address = format!("ws://{}/$hc/hyco?sb-hc-action=request&sb-hc-id=b1f3c0de", fake.authority());
    for _ in 0..2 {
        control.command(full(&address)).await;
        control.send(Message::binary(b"the body".to_vec())).await;
        drop(listener.accept().soon().await);
        check(control.message().await, control.message().await);
    }

    // A request that waits at a rendezvous is fetched and answered there.
    control.command(json!({"request": {"address": address}})).await;
    let mut rendezvous = fake.admit().await;
    assert!(rendezvous.target.ends_with("?sb-hc-action=request&sb-hc-id=b1f3c0de"));
    rendezvous.command(full(&address)).await;
    rendezvous.send(Message::binary(b"the body".to_vec())).await;
    drop(listener.accept().soon().await);
    check(rendezvous.message().await, rendezvous.message().await);
    assert!(matches!(rendezvous.message().await, Message::Close(Some(_))));
    assert!(listener.status().current().is_online());
}

#[tokio::test]
async fn the_explanation_of_a_refusal_is_found_wherever_it_stands() {
    let fake = FakeRelay::start().await;
    let sender = Sender::new(fake.connection_string()).unwrap();
    let json =
        r#"{"error":{"code":"X","message":"There are no listeners connected for the endpoint. TrackingId:77_G1, y"}}"#;
    for (status, headers, body, kind, reason, id) in [
        (
            "404 Endpoint does not exist. TrackingId:5_G0, z",
            "",
            "",
            ErrorKind::EndpointNotFound,
            Some("Endpoint does not"),
            Some("5_G0"),
        ),
        ("404 Not Found", "", json, ErrorKind::NoListeners, Some("There are no listeners"), Some("77_G1")),
        ("502 Bad Gateway", "", json, ErrorKind::NoListeners, Some("There are no listeners"), Some("77_G1")),
        ("404 ", "", "", ErrorKind::EndpointNotFound, None, None),
        ("401 Unauthorized", "", "", ErrorKind::Unauthorized, Some("Unauthorized"), None),
        ("403 Forbidden", "TrackingId: abc\r\n", "", ErrorKind::Unauthorized, Some("Forbidden"), Some("abc")),
        ("408 Request Timeout", "", "", ErrorKind::Timeout, Some("Request Timeout"), None),
        ("504 Gateway Timeout", "", "", ErrorKind::Timeout, Some("Gateway Timeout"), None),
        ("429 Slow down", "Retry-After: 7\r\n", "", ErrorKind::ServerBusy, Some("Slow down"), None),
        ("503 Busy", "", "<html>", ErrorKind::ServerBusy, Some("Busy"), None),
        ("451 Not for you", "", "", ErrorKind::Rejected, Some("Not for you"), None),
        ("200 OK", "", "a web site", ErrorKind::Rejected, Some("a web site"), None),
    ] {
        let (connected, ()) = tokio::join!(sender.connect().soon(), async {
            fake.visitor().await.refuse(status, headers, body).await;
        });
        let error = connected.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(error.status().map(|status| status.to_string()).as_deref(), status.split(' ').next());
        assert_eq!(error.tracking_id(), id, "{status}");
        match reason {
            Some(reason) => assert!(error.reason().is_some_and(|text| text.starts_with(reason)), "{error:?}"),
            None => assert_eq!(error.reason(), None),
        }
        if status.starts_with("429") {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_websocket_handshake_is_a_protocol_error() {
    let fake = FakeRelay::start().await;
    let sender = Sender::new(fake.connection_string()).unwrap();
    let wrong_key =
        "HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n";
    for answer in ["SSH-2.0-OpenSSH_9\r\n", "220 mail.example.net\r\n", wrong_key] {
        let (connected, visitor) = tokio::join!(sender.connect().soon(), async {
            let mut visitor = fake.visitor().await;
            visitor.answer(answer).await;
            visitor
        });
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::Protocol, "{answer}");
        drop(visitor);
    }
    for headers in [("Sec-WebSocket-Protocol", "never-offered"), ("Sec-WebSocket-Extensions", "permessage-deflate")] {
        let (connected, _admitted) =
            tokio::join!(sender.connect().soon(), async { fake.visitor().await.admit(&[headers]).await });
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::Protocol, "{headers:?}");
    }
    let (connected, ()) = tokio::join!(sender.connect().soon(), async { drop(fake.visitor().await) });
    assert_eq!(connected.unwrap_err().kind(), ErrorKind::Network);
}

#[tokio::test]
async fn a_listener_comes_back_after_every_kind_of_loss() {
    let fake = FakeRelay::start().await;
    let (listener, mut control) = online(&fake).await;
    let mut status = listener.status();
    assert!(status.changed().soon().await.is_some_and(|status| status.is_online()));
    for (code, reason) in [(Some(1008), "ExpiredToken"), (Some(1011), "NameRenewalFailed"), (None, "")] {
        match code {
            Some(code) => control.close(code, reason).await,
            None => drop(control),
        }
        let Some(Status::Offline { error, retry_in }) = status.changed().soon().await else { panic!("still online") };
        assert_eq!((error.kind(), error.close_code()), (ErrorKind::ConnectionLost, code));
        assert!(error.reason().unwrap_or_default().contains(reason));
        assert!(retry_in.is_some());
        control = fake.admit().await;
        assert!(status.changed().soon().await.is_some_and(|status| status.is_online()));
    }
    // The same id for the relay's logs, over all reconnects.
    assert!(control.target.starts_with("/$hc/hyco?sb-hc-action=listen&sb-hc-id="));
}

#[tokio::test]
async fn a_new_ready_made_token_is_sent_at_once() {
    let fake = FakeRelay::start().await;
    let sign = |key: &str| {
        let end = std::time::SystemTime::now() + Duration::from_secs(3600);
        SasToken::create("http://127.0.0.1/hyco/", "r", key, end).to_text()
    };
    let provider = TokenProvider::ready_made(sign("old")).unwrap();
    let address = format!("http://{}/hyco", fake.authority());
    let builder = Listener::builder(address).credential(provider.clone());
    let (listener, mut control) = tokio::join!(builder.soon(), async {
        let visitor = fake.visitor().await;
        assert_eq!(visitor.header("ServiceBusAuthorization"), Some(sign("old").as_str()));
        assert!(visitor.header("relay-user-agent").is_some_and(|agent| agent.starts_with("hybridrelay-rust/")));
        visitor.admit(&[]).await
    });
    let listener = listener.unwrap();
    assert!(listener.features().is_empty(), "a foreign relay has none of ours");
    assert!(matches!(listener.status().current(), Status::Online { expires_at: Some(_) }));
    provider.set_token(sign("new")).unwrap();
    let renewal: Value = serde_json::from_str(control.message().await.to_text().unwrap()).unwrap();
    assert_eq!(renewal, json!({"renewToken": {"token": sign("new")}}));
}

#[tokio::test]
async fn a_frame_that_breaks_the_protocol_fails_the_connection_and_the_relay_is_told() {
    let fake = FakeRelay::start().await;
    for (bytes, code) in
        [(&b"\x82\x81\0\0\0\0x"[..], 1002), (b"\xC1\x01x", 1002), (b"\x88\x02\x03\xED", 1002), (b"\x81\x01\xFF", 1007)]
    {
        // With this interval nothing but the violation itself makes the library speak.
        let (connection, mut admitted) = connected(&fake, |sender| sender.keep_alive(Duration::from_secs(3600))).await;
        tokio::io::AsyncWriteExt::write_all(admitted.ws.get_mut(), bytes).soon().await.unwrap();
        assert_eq!(connection.receive().soon().await.unwrap_err().kind(), ErrorKind::Protocol);
        let Message::Close(Some(close)) = admitted.message().await else { panic!("no Close for {bytes:?}") };
        assert_eq!(u16::from(close.code), code);
        assert_eq!(connection.send("x").soon().await.unwrap_err().kind(), ErrorKind::Protocol);
    }
}

#[tokio::test]
async fn every_ping_is_answered_ahead_of_what_is_said_after_it() {
    let fake = FakeRelay::start().await;
    let (connection, mut admitted) = connected(&fake, |sender| sender.keep_alive(None)).await;
    let stream = admitted.ws.get_mut();
    tokio::io::AsyncWriteExt::write_all(stream, b"\x89\x01a\x89\x01b\x01\x01q\x89\x01c\x80\x01?").soon().await.unwrap();
    assert_eq!(connection.receive().soon().await.unwrap(), Some("q?".into()));
    connection.send("answer").soon().await.unwrap();
    let pong = |payload: &'static [u8]| Message::Pong(payload.into());
    for expected in [pong(b"a"), pong(b"b"), pong(b"c"), Message::text("answer")] {
        let said = futures_util::StreamExt::next(&mut admitted.ws).soon().await;
        assert_eq!(said.expect("the connection is open").expect("valid frames"), expected);
    }
}

#[tokio::test]
async fn what_came_before_a_violation_is_received_and_can_be_answered() {
    let fake = FakeRelay::start().await;
    for (bytes, code) in [(&b"\x81\x01q\xC1\x01x"[..], 1002), (b"\x81\x01q\x88\x02\x03\xED", 1002)] {
        let (connection, mut admitted) = connected(&fake, |sender| sender.keep_alive(Duration::from_secs(3600))).await;
        tokio::io::AsyncWriteExt::write_all(admitted.ws.get_mut(), bytes).soon().await.unwrap();
        assert_eq!(connection.receive().soon().await.unwrap(), Some("q".into()));
        connection.send("answer").soon().await.unwrap();
        assert_eq!(connection.receive().soon().await.unwrap_err().kind(), ErrorKind::Protocol);
        assert_eq!(admitted.message().await, Message::text("answer"));
        let Message::Close(Some(close)) = admitted.message().await else { panic!("no Close for {bytes:?}") };
        assert_eq!(u16::from(close.code), code);
    }
}

#[tokio::test]
async fn a_peer_that_was_told_of_its_violation_is_not_waited_for_long() {
    let fake = FakeRelay::start().await;
    let (connection, mut admitted) = connected(&fake, |sender| sender.close_timeout(Duration::from_secs(3600))).await;
    // In the middle of a frame: a Close of the peer's could not even be seen.
    let stream = admitted.ws.get_mut();
    tokio::io::AsyncWriteExt::write_all(stream, b"\x81\x7E\x10\x00\xFF").soon().await.unwrap();
    assert_eq!(connection.receive().soon().await.unwrap_err().kind(), ErrorKind::Protocol);
    let Message::Close(Some(close)) = admitted.message().await else { panic!("no Close") };
    assert_eq!(u16::from(close.code), 1007);
    // The answer of the library that plays the peer is part of that frame.
    let _ = futures_util::SinkExt::flush(&mut admitted.ws).soon().await;
    let end = tokio::io::AsyncReadExt::read_u8(admitted.ws.get_mut()).soon().await.unwrap_err();
    assert!(matches!(end.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset), "{end}");
}

#[tokio::test]
async fn nothing_follows_a_half_close_not_even_a_ping() {
    let fake = FakeRelay::start().await;
    let (connection, mut admitted) = connected(&fake, |sender| sender.keep_alive(Duration::from_millis(5))).await;
    connection.shutdown().soon().await.unwrap();
    assert!(matches!(admitted.message().await, Message::Close(_)));
    // Many times the interval; a machine that is slow makes this test weaker, never wrong.
    let mut byte = [0];
    let reading = tokio::io::AsyncReadExt::read(admitted.ws.get_mut(), &mut byte);
    assert!(tokio::time::timeout(Duration::from_millis(200), reading).await.is_err(), "a frame behind the Close");
    tokio::io::AsyncWriteExt::write_all(admitted.ws.get_mut(), b"\x81\x01x").soon().await.unwrap();
    assert_eq!(connection.receive().soon().await.unwrap(), Some("x".into()));
}

#[tokio::test]
async fn a_connection_that_was_closed_gives_its_socket_back_although_the_program_keeps_it() {
    let fake = FakeRelay::start().await;
    for we_close_first in [true, false] {
        // With this interval nothing but the second Close makes the library look after the socket.
        let (connection, mut admitted) = connected(&fake, |sender| sender.keep_alive(Duration::from_secs(3600))).await;
        if we_close_first {
            connection.shutdown().soon().await.unwrap();
            assert!(matches!(admitted.message().await, Message::Close(_)));
        } else {
            admitted.ws.close(None).soon().await.unwrap();
            assert_eq!(connection.receive().soon().await.unwrap(), None);
            connection.shutdown().soon().await.unwrap();
            assert!(matches!(admitted.message().await, Message::Close(_)));
        }
        let (received, end) = tokio::join!(connection.receive().soon(), async {
            let _ = futures_util::SinkExt::flush(&mut admitted.ws).soon().await;
            let stream = admitted.ws.get_mut();
            tokio::io::AsyncWriteExt::shutdown(stream).soon().await.unwrap();
            tokio::io::AsyncReadExt::read_u8(stream).soon().await
        });
        assert_eq!(received.unwrap(), None);
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        drop(connection);
    }
}
