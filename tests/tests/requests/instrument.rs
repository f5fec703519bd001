//! What a test does to HTTP requests at its relay: it holds them up and cuts them, however they travel.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::future::poll_immediate;
use futures_util::stream;
use http::{Request, Response};
use hybridrelay::{Body, ErrorKind, Listener, Sender};
use hybridrelay_relay::{ConnectionId, LocalRelay};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::{self, HYCO};
use tokio::sync::mpsc;

use crate::common::incoming;

/// What fits the control channel, and what needs a rendezvous.
const SIZES: [usize; 2] = [10_000, 1 << 20];

async fn ends(relay: &LocalRelay) -> (Listener, Sender) {
    let listener = setup::listener(relay, HYCO).soon().await.expect("the listener gets online");
    (listener, setup::sender(relay, HYCO).build().expect("the options are right"))
}

fn asking(sender: &Sender, body: Body) -> tokio::task::JoinHandle<hybridrelay::Result<Response<Body>>> {
    let (sender, request) = (sender.clone(), Request::post("/").body(body).expect("a request"));
    tokio::spawn(async move { sender.request(request).await })
}

fn answer(size: usize) -> Response<Body> {
    Response::new(vec![7; size].into())
}

/// The request that is under way.
fn only(relay: &LocalRelay) -> ConnectionId {
    let open = relay.open_connections();
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((open[0].method.as_deref(), open[0].entity.path()), (Some("POST"), HYCO));
    open[0].id
}

/// There and back: what was let through before has come.
async fn another(listener: &Listener, sender: &Sender) {
    let asking = asking(sender, Body::empty());
    incoming(listener).await.into_parts().1.send(answer(1)).soon().await.expect("the sender waits");
    asking.soon().await.expect("no panic").expect("a response");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_response_comes_when_it_goes_on() {
    for relay in setup::plain_and_tls().await {
        let (listener, sender) = ends(&relay).await;
        for size in SIZES {
            let mut asking = asking(&sender, Body::empty());
            let (_, responder) = incoming(&listener).await.into_parts();
            let id = only(&relay);
            assert!(relay.stall(id));
            let sending = tokio::spawn(async move { responder.send(answer(size)).await });
            another(&listener, &sender).await;
            assert!(poll_immediate(&mut asking).await.is_none(), "{size} bytes came through");
            assert!(relay.open_connections()[0].stalled && relay.resume(id));
            let body = asking.soon().await.expect("no panic").expect("a response").into_body();
            assert_eq!(body.bytes(size).soon().await.expect("the whole body").len(), size);
            sending.soon().await.expect("no panic").expect("it was taken");
            assert!(!relay.stall(id), "it has ended");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_body_stops_on_its_way_to_the_listener() {
    for relay in setup::plain_and_tls().await {
        let (listener, sender) = ends(&relay).await;
        let (chunks, more) = mpsc::channel::<Bytes>(1);
        let body =
            stream::unfold(more, |mut more| async move { Some((Ok::<_, Infallible>(more.recv().await?), more)) });
        let asking = asking(&sender, Body::from_stream(body));
        chunks.send(Bytes::from_static(b"one")).soon().await.expect("the body is read");
        let (request, responder) = incoming(&listener).await.into_parts();
        let mut body = request.into_body();
        assert_eq!(body.chunk().soon().await.expect("a body"), Some(Bytes::from_static(b"one")));
        let id = only(&relay);
        assert!(relay.stall(id));
        chunks.send(Bytes::from_static(b"two")).soon().await.expect("the body is read");
        another(&listener, &sender).await;
        assert!(poll_immediate(Box::pin(body.chunk())).await.is_none());
        assert!(relay.resume(id));
        assert_eq!(body.chunk().soon().await.expect("a body"), Some(Bytes::from_static(b"two")));
        assert_eq!(relay.open_connections()[0].from_sender, 6);
        drop(chunks);
        assert_eq!(body.chunk().soon().await.expect("an end"), None);
        responder.send(answer(3)).soon().await.expect("the sender waits");
        assert_eq!(asking.soon().await.expect("no panic").expect("a response").status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cut_is_lost_to_its_sender_and_known_to_the_listener() {
    for relay in setup::plain_and_tls().await {
        let (listener, sender) = ends(&relay).await;
        for is_stalled in [false, true] {
            let asking = asking(&sender, Body::empty());
            let request = incoming(&listener).await;
            let gone = request.cancellation();
            let id = only(&relay);
            if is_stalled {
                assert!(relay.stall(id));
            }
            assert!(relay.cut_after(id, 0));
            let error = asking.soon().await.expect("no panic").expect_err("it is cut");
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error:?}");
            gone.cancelled().soon().await;
            assert!(!relay.cut_after(id, 0), "it has ended");
        }
        another(&listener, &sender).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_cut_after_so_many_bytes() {
    // With TLS what was on the way may be lost as well.
    for (relay, is_exact) in setup::plain_and_tls().await.into_iter().zip([true, false]) {
        let (listener, sender) = ends(&relay).await;
        for size in SIZES {
            relay.cut_next_after(1_000);
            let asking = asking(&sender, Body::empty());
            let (_, responder) = incoming(&listener).await.into_parts();
            let sending = tokio::spawn(async move { responder.send(answer(size)).await });
            let mut got = 0;
            let reading = async {
                let mut body = asking.await.expect("no panic")?.into_body();
                while let Some(chunk) = body.chunk().await? {
                    got += chunk.len();
                }
                Ok::<_, hybridrelay::Error>(())
            };
            let error = reading.soon().await.expect_err("a part is not the whole");
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error:?}");
            assert!(got == 1_000 || got < 1_000 && !is_exact, "{got} bytes came");
            // A long one is not taken to its end, a short one was.
            let _ = sending.soon().await.expect("no panic");
        }
        another(&listener, &sender).await;
    }
}
