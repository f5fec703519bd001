//! Which way an answer takes, and what it says.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{Response, StatusCode};
use hybridrelay::{Body, ErrorKind, ReasonPhrase};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::Admitted;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::common::{FEATURES, LIMIT, Seen, Stage, ends_well, response};

#[tokio::test]
async fn a_short_answer_takes_the_control_channel_and_says_what_the_program_said() {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco/orders?x=1").await;
    let (_, responder) = stage.taken().await;
    let answer = Response::builder()
        .status(418)
        .extension(ReasonPhrase("Short \"and\" stout".into()))
        .header("content-type", "text/plain")
        .header("content-length", "3")
        .header("connection", "keep-alive, x-own")
        .header("x-own", "1")
        .header("set-cookie", "a=1, 2")
        .header("set-cookie", "b=2")
        .body("tea");
    let (sent, seen) = tokio::join!(responder.send(answer.unwrap()).soon(), response(&mut stage.control));
    sent.unwrap();
    assert_eq!(seen.status(), 418);
    assert_eq!(seen.head["statusDescription"], "Short \"and\" stout");
    assert_eq!(
        seen.head["responseHeaders"],
        json!({"Content-Type": "text/plain", "Set-Cookie": ["a=1, 2", "b=2"]}),
        "the connection's headers do not travel"
    );
    assert_eq!(seen.body.unwrap(), "tea");
}

#[tokio::test]
async fn a_foreign_relay_gets_joined_cookies_and_a_content_type() {
    let mut stage = Stage::set("").await;
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let answer = Response::builder().header("set-cookie", "a=1").header("set-cookie", "b=2").body("x").unwrap();
    let (sent, seen) = tokio::join!(responder.send(answer).soon(), response(&mut stage.control));
    sent.unwrap();
    assert_eq!(seen.header("Set-Cookie"), "a=1, b=2");
    assert_eq!(seen.header("Content-Type"), "application/octet-stream");
    assert_eq!(seen.head["statusDescription"], "OK");
}

/// Answers with a body of this size, and tells whether a rendezvous was dialled for it.
async fn answer_of(size: usize, whole: bool) -> (bool, Bytes) {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let body = vec![7; size];
    let body = match whole {
        true => Body::from(body),
        false => Body::from_stream(stream::iter(
            body.chunks(1000).map(|piece| Ok::<_, hybridrelay::Error>(piece.to_vec())).collect::<Vec<_>>(),
        )),
    };
    let receiving = async {
        let Stage { fake, control, .. } = &mut stage;
        let (rendezvous, seen): (Option<Admitted>, Seen) = tokio::select! {
            seen = response(control) => (None, seen),
            mut rendezvous = fake.admit() => {
                let seen = response(&mut rendezvous).await;
                (Some(rendezvous), seen)
            }
        };
        let dialled = rendezvous.is_some();
        if let Some(mut rendezvous) = rendezvous {
            assert!(ends_well(&mut rendezvous).await);
        }
        (dialled, seen.body.unwrap_or_default())
    };
    let (sent, received) = tokio::join!(responder.send(Response::new(body)).soon(), receiving);
    sent.unwrap();
    received
}

#[tokio::test]
async fn more_than_64_kib_take_a_rendezvous() {
    for whole in [true, false] {
        for (size, dials) in [(0, false), (1, false), (65_536, false), (65_537, true), (1 << 20, true)] {
            let (dialled, body) = answer_of(size, whole).await;
            assert_eq!((dialled, body.len()), (dials, size), "whole: {whole}");
            assert!(body.iter().all(|byte| *byte == 7));
        }
    }
}

#[tokio::test]
async fn what_is_flushed_leaves_at_once_and_every_piece_behind_it() {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let mut writer = responder.start(Response::new(())).unwrap();
    writer.write("one").soon().await.unwrap();
    let (flushed, visitor) = tokio::join!(writer.flush().soon(), async {
        let visitor = stage.fake.visitor().await;
        assert!(visitor.target.contains("sb-hc-action=request"));
        visitor.admit_raw(&[]).await
    });
    flushed.unwrap();
    // Frames and not messages: the body is one message that does not end.
    let mut ws = visitor;
    let (whole, head) = frame(&mut ws).await;
    assert!(whole && String::from_utf8(head).unwrap().contains("\"body\":true"));
    assert_eq!(frame(&mut ws).await, (false, b"one".to_vec()));
    for piece in ["two", "three"] {
        writer.write(piece).soon().await.unwrap();
        assert_eq!(frame(&mut ws).await, (false, piece.as_bytes().to_vec()));
    }
    writer.finish().soon().await.unwrap();
    assert_eq!(frame(&mut ws).await, (true, Vec::new()));
}

/// Reads a masked frame of less than 64 KiB: whether it is final, and its payload.
async fn frame(socket: &mut tokio::net::TcpStream) -> (bool, Vec<u8>) {
    use tokio::io::AsyncReadExt;
    let mut head = [0; 2];
    socket.read_exact(&mut head).soon().await.unwrap();
    let len = match head[1] & 0x7f {
        126 => socket.read_u16().soon().await.unwrap(),
        short => short.into(),
    };
    let mut key = [0; 4];
    socket.read_exact(&mut key).soon().await.unwrap();
    let mut payload = vec![0; len.into()];
    socket.read_exact(&mut payload).soon().await.unwrap();
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[at % 4];
    }
    (head[0] & 0x80 != 0, payload)
}

#[tokio::test]
async fn a_body_that_is_made_while_it_is_sent_streams() {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let (ticks, made) = mpsc::channel::<Result<&'static str, hybridrelay::Error>>(1);
    let body = Body::from_stream(stream::unfold(made, |mut made| async { Some((made.recv().await?, made)) }));
    let receiving = async {
        let mut ws = stage.fake.visitor().await.admit_raw(&[]).await;
        assert!(frame(&mut ws).await.0, "the head comes before any tick");
        for tick in ["1", "2"] {
            ticks.send(Ok(tick)).soon().await.unwrap();
            assert_eq!(frame(&mut ws).await, (false, tick.as_bytes().to_vec()));
        }
        drop(ticks);
        assert_eq!(frame(&mut ws).await, (true, Vec::new()));
    };
    let (sent, ()) = tokio::join!(responder.send(Response::new(body)).soon(), receiving);
    sent.unwrap();
}

#[tokio::test]
async fn answers_without_a_body_say_so() {
    let mut stage = Stage::set(FEATURES).await;
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 200)] {
        stage.ask(method, "/hyco").await;
        let (_, responder) = stage.taken().await;
        let body = if method == "GET" && status == 200 { "" } else { "never sent" };
        let answer = Response::builder().status(status).header("content-length", "10").body(body).unwrap();
        let (sent, seen) = tokio::join!(responder.send(answer).soon(), response(&mut stage.control));
        sent.unwrap();
        assert_eq!((seen.status(), seen.body.is_none()), (status.into(), true), "{method} {status}");
        assert_eq!(seen.header("Content-Length").as_str(), (method == "HEAD").then_some("10"));
    }
}

#[tokio::test]
async fn what_the_program_leaves_unanswered_is_answered_for_it() {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco").await;
    drop(stage.incoming().await);
    assert_eq!(response(&mut stage.control).await.status(), 501, "the program does not look at requests");

    stage.ask_with("/hyco", b"body").await;
    drop(stage.taken().await);
    let seen = response(&mut stage.control).await;
    assert_eq!(seen.status(), 500);
    assert!(seen.header("Content-Type").as_str().unwrap().starts_with("text/plain"));

    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let failing = Body::from_stream(stream::iter([Ok("begun"), Err(std::io::Error::other("the disk is gone"))]));
    let (sent, seen) = tokio::join!(responder.send(Response::new(failing)).soon(), response(&mut stage.control));
    assert_eq!(sent.unwrap_err().reason(), Some("the disk is gone"));
    assert_eq!(seen.status(), 500, "nothing was sent before the body broke off");

    let mut rendezvous = stage.invite("/hyco").await;
    drop(stage.taken().await);
    assert_eq!(response(&mut rendezvous).await.status(), 500);
    assert!(ends_well(&mut rendezvous).await);

    // An interim status is no answer.
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).body("").unwrap();
    let (sent, seen) = tokio::join!(responder.send(answer).soon(), response(&mut stage.control));
    assert_eq!((sent.unwrap_err().kind(), seen.status()), (ErrorKind::InvalidArgument, 500));
}

#[tokio::test]
async fn a_body_that_breaks_off_behind_its_head_breaks_the_rendezvous_off() {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let long = stream::iter([Ok(vec![1; 100_000]), Err(std::io::Error::other("the disk is gone"))]);
    let receiving = async {
        let mut rendezvous = stage.fake.admit().await;
        assert!(rendezvous.message().await.is_text());
        let ended = rendezvous.ws.next().soon().await;
        assert!(!matches!(ended, Some(Ok(_))), "no end of the message, and no Close: {ended:?}");
    };
    let (sent, ()) = tokio::join!(responder.send(Response::new(Body::from_stream(long))).soon(), receiving);
    assert!(sent.is_err());
}

#[tokio::test]
async fn a_relay_that_writes_while_it_does_not_read_brings_nothing_to_a_halt() {
    const REQUESTS: usize = 400;
    let mut stage = Stage::set(FEATURES).await;
    let listener = stage.listener.clone();
    let echoing = tokio::spawn(async move {
        let mut answering = Vec::new();
        for _ in 0..REQUESTS {
            let (request, responder) = super::common::incoming(&listener).await.into_parts();
            answering.push(tokio::spawn(async move {
                let body = request.into_body().bytes(LIMIT).soon().await.unwrap();
                responder.send(Response::new(body)).soon().await
            }));
        }
        for answered in answering {
            answered.soon().await.unwrap().unwrap();
        }
    });
    // Far more than both sockets' buffers hold, in both directions.
    let body = vec![9; 65_536];
    for _ in 0..REQUESTS {
        stage.ask_with("/hyco", &body).await;
    }
    for _ in 0..REQUESTS {
        assert_eq!(response(&mut stage.control).await.body.unwrap().len(), body.len());
    }
    echoing.soon().await.unwrap();
}

/// Answers requests until an answer waits for its turn, since the relay takes nothing. Returns how many do not wait, and the one.
async fn fill(
    stage: &mut Stage,
    body: &Bytes,
) -> (usize, Pin<Box<impl Future<Output = hybridrelay::Result<()>> + use<>>>) {
    let mut queued = 0;
    loop {
        stage.ask("GET", "/hyco").await;
        let (_, responder) = stage.taken().await;
        let mut enqueuing = Box::pin(responder.enqueue(Response::new(body.clone())));
        match tokio::time::timeout(Duration::from_millis(500), &mut enqueuing).await {
            Ok(done) => done.unwrap(),
            Err(_) => return (queued, enqueuing),
        }
        queued += 1;
        assert!(queued < 1_000, "nothing slows the program down");
    }
}

#[tokio::test]
async fn an_answer_that_is_cancelled_while_it_waits_for_its_turn_is_500() {
    let mut stage = Stage::set(FEATURES).await;
    let body = Bytes::from(vec![9; 65_536]);
    let (queued, waits) = fill(&mut stage, &body).await;
    drop(waits);
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    assert!(responder.send(Response::new("short")).now_or_never().is_none(), "it has no place");
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let mut writer = responder.start(Response::new(())).unwrap();
    writer.write("short").await.unwrap();
    assert!(writer.finish().now_or_never().is_none(), "it has no place");

    for _ in 0..queued {
        assert_eq!(response(&mut stage.control).await.body.unwrap(), body);
    }
    for _ in 0..3 {
        // Pings of the listener do not count as an answer that comes.
        let seen = response(&mut stage.control).soon().await;
        assert_eq!(
            (seen.status(), &seen.head["statusDescription"]),
            (500, &json!("The listener broke off its response"))
        );
    }
}

#[tokio::test]
async fn answers_that_need_not_have_left_wait_for_a_relay_that_takes_nothing() {
    let mut stage = Stage::set(FEATURES).await;
    let body = Bytes::from(vec![9; 65_536]);
    let (queued, mut waits) = fill(&mut stage, &body).await;
    for _ in 0..queued {
        assert_eq!(response(&mut stage.control).await.body.unwrap(), body);
    }
    (&mut waits).soon().await.unwrap();
    assert_eq!(response(&mut stage.control).await.body.unwrap(), body);
    // Of an answer without a body, and of a long one, all of it comes as well.
    stage.ask("HEAD", "/hyco").await;
    let (_, responder) = stage.taken().await;
    responder.enqueue(Response::new(body.clone())).soon().await.unwrap();
    assert_eq!(response(&mut stage.control).await.body, None);
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let long = Bytes::from(vec![9; 65_537]);
    let receiving = async {
        let mut rendezvous = stage.fake.admit().await;
        let answer = response(&mut rendezvous).await;
        assert!(ends_well(&mut rendezvous).await);
        answer
    };
    let (sent, answer) = tokio::join!(responder.enqueue(Response::new(long.clone())).soon(), receiving);
    sent.unwrap();
    assert_eq!(answer.body.unwrap(), long);
}

#[tokio::test]
async fn an_unpolled_relay_slows_an_answer_down() {
    let mut stage = Stage::set(FEATURES).await;
    let mut rendezvous = stage.invite("/hyco").await;
    rendezvous.send(Message::binary(Vec::new())).await;
    let (_, responder) = stage.taken().await;
    let mut writer = responder.start(Response::new(())).unwrap();
    let mut written = 0;
    while let Ok(wrote) = tokio::time::timeout(Duration::from_millis(500), writer.write(vec![1; 256 * 1024])).await {
        wrote.unwrap();
        written += 256 * 1024;
        assert!(written < 256 << 20, "nothing slows the program down");
    }
    drop(writer);
}
