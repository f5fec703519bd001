//! Answers that come before the end of the request, as a program sees them that sends by HTTP/1.1.

use std::convert::Infallible;
use std::sync::mpsc;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use hybridrelay::{Body, ErrorKind, Sender};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::FakeRelay;
use hybridrelay_tests::wire::setup::{self, HYCO};

use crate::common::incoming;

/// More than the kernel's buffers take without a reader.
const LONG: usize = 6 << 20;

const TIMES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_listeners_early_answer_is_the_programs() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.expect("the listener gets online");
    let sender = setup::sender(&relay, HYCO).build().expect("the options are right");
    for _ in 0..TIMES {
        let asking = {
            let sender = sender.clone();
            tokio::spawn(async move { sender.request(Request::post("/").body(vec![7_u8; LONG]).unwrap()).await })
        };
        let mut asking = asking;
        let (_, responder) = tokio::select! {
            incoming = incoming(&listener) => incoming.into_parts(),
            early = &mut asking => panic!("{early:?}"),
        };
        let answer = Response::builder().status(413).body(Body::from("too much")).expect("a response");
        responder.send(answer).soon().await.expect("the sender waits");
        let response = asking.soon().await.expect("no panic").expect("an answer");
        assert_eq!(response.status(), 413);
        let body = response.into_body().bytes(100).soon().await.expect("the whole body");
        assert_eq!(body, "too much");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relays_early_refusal_is_the_programs() {
    let relay = setup::plain().await;
    let sender = setup::sender(&relay, HYCO).build().expect("the options are right");
    for _ in 0..TIMES {
        let request = Request::post("/").body(vec![7_u8; LONG]).expect("a request");
        let error = sender.request(request).soon().await.expect_err("nobody listens");
        assert_eq!((error.kind(), error.status()), (ErrorKind::EndpointNotFound, Some(404)), "{error}");
    }
}

/// A relay that resets the connection behind its answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_come_is_not_lost_to_a_write_that_fails() {
    let fake = FakeRelay::start().await;
    let sender = Sender::new(fake.connection_string()).expect("an address");
    // The body waits for the reset in the middle of hyper's turn: it has read before, and writes next.
    let (reset, is_reset) = mpsc::channel();
    let chunks = stream::unfold((0, is_reset), |(turn, is_reset)| async move {
        if turn == 1 {
            // Lets the first chunk go.
            tokio::task::yield_now().await;
            is_reset.recv().expect("the connection is reset");
        }
        Some((Ok::<_, Infallible>(Bytes::from_static(&[7; 1024])), (turn + 1, is_reset)))
    });
    let request = Request::post("/").body(Body::from_stream(chunks)).expect("a request");
    let asking = tokio::spawn(async move { sender.request(request).await });
    let mut visitor = fake.visitor().await;
    // Of what has come of the body the rest stays unread.
    assert!(!visitor.ended().await);
    visitor.refuse("413 Too much", "Via: 1.1 there\r\n", "too much").await;
    reset.send(()).expect("the body waits");
    let response = asking.soon().await.expect("no panic").expect("the answer");
    assert_eq!(response.status(), 413);
    assert_eq!(response.into_body().bytes(100).soon().await.expect("the whole body"), "too much");
}
