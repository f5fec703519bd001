//! Server-sent events: each arrives before the next is made, whatever way the request came and whatever HTTP the sender speaks.

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use hybridrelay::{Body, Error, ResponseWriter};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::plain_and_tls;
use tokio::sync::mpsc;

use super::common::incoming;
use super::round::pair;

/// How a program makes its events.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// Written and flushed one by one.
    Written,
    /// A body that is a stream.
    Streamed,
}

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_made() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        // A request on the control channel, and one that has to be fetched at a rendezvous.
        for request_size in [0, 200_000] {
            for made in [Made::Written, Made::Streamed] {
                let case = format!("{request_size} {made:?} tls {}", relay.ca_pem().is_some());
                let (event, events) = mpsc::channel::<&'static str>(1);
                let via = if relay.ca_pem().is_some() && request_size > 65_536 { "2.0 " } else { "1.1 " };
                let listener = listener.clone();
                let serving = tokio::spawn(async move {
                    let (request, responder) = incoming(&listener).await.into_parts();
                    assert!(request.headers()["via"].to_str().unwrap().starts_with(via), "the sender speaks {via}");
                    let response = Response::builder().header("content-type", "text/event-stream");
                    match made {
                        Made::Written => write(responder.start(response.body(()).unwrap()).unwrap(), events).await,
                        Made::Streamed => {
                            let next = |mut events: mpsc::Receiver<_>| async {
                                Some((Ok::<_, Error>(Bytes::from_static(str::as_bytes(events.recv().await?))), events))
                            };
                            let body = Body::from_stream(stream::unfold(events, next));
                            responder.send(response.body(body).unwrap()).soon().await.unwrap();
                        }
                    }
                });
                let request = Request::post("/events").body(vec![1; request_size]).unwrap();
                let response = sender.request(request).soon().await.unwrap();
                assert_eq!(response.headers()["content-type"], "text/event-stream");
                let mut body = response.into_body();
                for one in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
                    event.send(one).soon().await.unwrap();
                    assert_eq!(body.chunk().soon().await.unwrap().unwrap(), one, "{case}");
                }
                drop(event);
                assert_eq!(body.chunk().soon().await.unwrap(), None, "{case}");
                serving.soon().await.unwrap();
            }
        }
    }
}

async fn write(mut writer: ResponseWriter, mut events: mpsc::Receiver<&'static str>) {
    writer.flush().soon().await.unwrap();
    while let Some(event) = events.recv().await {
        writer.write(event).soon().await.unwrap();
        writer.flush().soon().await.unwrap();
    }
    writer.finish().soon().await.unwrap();
}
