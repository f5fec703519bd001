//! What a program gets of a request, whatever way it came.

use bytes::Bytes;
use http::{Method, Response};
use hybridrelay::{ErrorKind, Mount, RemoteAddr};
use hybridrelay_tests::wire::Soon;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::common::{FEATURES, LIMIT, Stage, ends_well, message, response};

#[tokio::test]
async fn a_request_is_seen_behind_its_mount_point() {
    let mut stage = Stage::set(FEATURES).await;
    for (target, mount, path, query, uri) in [
        ("/hyco/orders/7?x=1&&y", "/hyco", "/orders/7", Some("x=1&&y"), "/orders/7?x=1&&y"),
        ("/HyCo", "/HyCo", "", None, "/"),
        ("/hyco/a%2Fb%20c/%c3%a9", "/hyco", "/a%2Fb%20c/%c3%a9", None, "/a%2Fb%20c/%c3%a9"),
        // As Azure sends it: decoded.
        ("/hyco/extra Path/é", "/hyco", "/extra%20Path/%C3%A9", None, "/extra%20Path/%C3%A9"),
    ] {
        stage.ask("PROPFIND", target).await;
        let incoming = stage.incoming().await;
        assert_eq!((incoming.mount(), incoming.path(), incoming.query()), (mount, path, query), "{target}");
        assert_eq!(incoming.remote_addr(), Some("203.0.113.7:4711".parse().unwrap()));
        let shown = format!("{incoming:?}");
        assert!(!shown.contains("x=1") && !shown.contains("s3cret"), "{shown}");
        let (request, responder) = incoming.into_parts();
        assert_eq!(request.uri(), uri);
        assert_eq!(request.method(), Method::from_bytes(b"PROPFIND").unwrap());
        assert_eq!(Mount::of(&request).unwrap().as_str(), mount);
        assert_eq!(request.extensions().get::<RemoteAddr>().unwrap().0.port(), 4711);
        assert_eq!(
            (&request.headers()["host"], &request.headers()["x-own"]),
            (&"relay.example.net".parse().unwrap(), &"1".parse().unwrap())
        );
        assert_eq!(request.into_body().bytes(0).soon().await.unwrap(), "");
        let (sent, _) = tokio::join!(responder.send(Response::new(())).soon(), response(&mut stage.control));
        sent.unwrap();
    }
}

#[tokio::test]
async fn a_body_on_the_control_channel_has_a_length() {
    let mut stage = Stage::set(FEATURES).await;
    for size in [0, 1, 65_535, 65_536] {
        stage.ask_with("/hyco", &vec![3; size]).await;
        let (request, _responder) = stage.taken().await;
        assert_eq!(request.headers()["content-length"], size.to_string());
        assert_eq!(http_body_util_len(&request), Some(size as u64));
        assert_eq!(request.into_body().bytes(LIMIT).soon().await.unwrap(), vec![3; size]);
        drop(_responder);
        response(&mut stage.control).await;
    }
}

fn http_body_util_len(request: &http::Request<hybridrelay::Body>) -> Option<u64> {
    axum::body::HttpBody::size_hint(request.body()).exact()
}

#[tokio::test]
async fn a_body_at_a_rendezvous_streams_in_whatever_fragments_it_comes() {
    let mut stage = Stage::set(FEATURES).await;
    let mut rendezvous = stage.invite("/hyco/up").await;
    let (request, responder) = stage.taken().await;
    assert_eq!(request.uri(), "/up");
    let mut body = request.into_body();
    let fragment = |opcode: Data, last: bool, data: &'static [u8]| {
        Message::Frame(Frame::message(Bytes::from_static(data), OpCode::Data(opcode), last))
    };
    rendezvous.send(fragment(Data::Binary, false, b"one")).await;
    assert_eq!(body.chunk().soon().await.unwrap().unwrap(), "one");
    rendezvous.send(fragment(Data::Continue, false, b"")).await;
    rendezvous.send(fragment(Data::Continue, false, b"two")).await;
    assert_eq!(body.chunk().soon().await.unwrap().unwrap(), "two");
    rendezvous.send(fragment(Data::Continue, true, b"")).await;
    assert_eq!(body.chunk().soon().await.unwrap(), None);
    let (sent, seen) = tokio::join!(responder.send(Response::new("done")).soon(), response(&mut rendezvous));
    sent.unwrap();
    assert_eq!(seen.body.unwrap(), "done");
    assert!(ends_well(&mut rendezvous).await, "one request per rendezvous");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_whole_body() {
    let mut stage = Stage::set(FEATURES).await;
    let mut rendezvous = stage.invite("/hyco").await;
    rendezvous.send(Message::Frame(Frame::message("half", OpCode::Data(Data::Binary), false))).await;
    let (request, responder) = stage.taken().await;
    let mut body = request.into_body();
    assert_eq!(body.chunk().soon().await.unwrap().unwrap(), "half");
    drop(rendezvous);
    assert_eq!(body.chunk().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    assert_eq!(responder.send(Response::new("too late")).soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
}

#[tokio::test]
async fn a_slow_program_slows_the_sender_of_a_body_down() {
    let mut stage = Stage::set(FEATURES).await;
    let mut rendezvous = stage.invite("/hyco").await;
    let (request, _responder) = stage.taken().await;
    let piece = vec![1; 256 * 1024];
    let mut sent = 0;
    let mut pushing = Box::pin(async {
        let mut first = true;
        loop {
            let opcode = OpCode::Data(if std::mem::take(&mut first) { Data::Binary } else { Data::Continue });
            rendezvous.ws.send_piece(Frame::message(piece.clone(), opcode, false)).await;
            sent += piece.len();
            assert!(sent < 256 << 20, "nothing slows the sender down");
        }
    });
    let stuck = tokio::time::timeout(std::time::Duration::from_millis(1500), &mut pushing).await;
    assert!(stuck.is_err());
    drop(pushing);
    drop(request);
}

/// Sends one frame.
trait SendPiece {
    async fn send_piece(&mut self, frame: Frame);
}

impl SendPiece for tokio_tungstenite::WebSocketStream<tokio::net::TcpStream> {
    async fn send_piece(&mut self, frame: Frame) {
        use futures_util::SinkExt;
        self.send(Message::Frame(frame)).await.expect("the SDK is there");
    }
}

#[tokio::test]
async fn a_request_that_is_answered_before_its_body_was_read_is_answered_in_full() {
    let mut stage = Stage::set(FEATURES).await;
    let mut rendezvous = stage.invite("/hyco").await;
    rendezvous.send(Message::Frame(Frame::message(vec![1; 200_000], OpCode::Data(Data::Binary), false))).await;
    let (request, responder) = stage.taken().await;
    let answer = Response::builder().status(413).body(vec![2; 100_000]).unwrap();
    let (sent, seen) = tokio::join!(responder.send(answer).soon(), response(&mut rendezvous));
    sent.unwrap();
    assert_eq!((seen.status(), seen.body.unwrap().len()), (413, 100_000));
    assert!(ends_well(&mut rendezvous).await);
    // The relay may go on for a while: nothing is reset under its feet.
    for _ in 0..10 {
        rendezvous.ws.get_mut().writable().soon().await.unwrap();
        let more = Frame::message(vec![1; 100_000], OpCode::Data(Data::Continue), false);
        let _ = futures_util::SinkExt::send(&mut rendezvous.ws, Message::Frame(more)).soon().await;
    }
    drop(request);
}

#[tokio::test]
async fn what_the_relay_gets_wrong_spoils_that_request_only() {
    let mut stage = Stage::set(FEATURES).await;
    // An announced body that does not come.
    let announced = message(&stage.address(), "POST", "/hyco", true);
    stage.control.command(announced.clone()).await;
    stage.ask("GET", "/hyco/next").await;
    assert_eq!(response(&mut stage.control).await.status(), 400);
    let (request, responder) = stage.taken().await;
    assert_eq!(request.uri(), "/next");
    let (sent, _) = tokio::join!(responder.send(Response::new(())).soon(), response(&mut stage.control));
    sent.unwrap();
    // A body that belongs to nothing, commands that nobody knows, and a marker that leads nowhere.
    stage.control.send(Message::binary(vec![1])).await;
    stage.control.command(json!({"teleport": {}})).await;
    stage.control.command(json!({"request": {}})).await;
    stage.control.command(json!({"request": {"address": "nonsense"}})).await;
    stage.ask("GET", "/hyco/last").await;
    assert_eq!(stage.taken().await.0.uri(), "/last");
    assert!(stage.listener.status().current().is_online());
}
