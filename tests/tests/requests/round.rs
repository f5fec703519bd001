//! Sender, relay and listener together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, Version};
use hybridrelay::token::{Token, TokenProvider};
use hybridrelay::{Body, Error, ErrorKind, Listener, ReasonPhrase, RemoteAddr, Responder, Sender};
use hybridrelay_relay::LocalRelay;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::{self, HYCO, plain, plain_and_tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::common::{LIMIT, incoming};

/// A listener and a sender on a relay.
pub(crate) async fn pair(relay: &LocalRelay) -> (Listener, Sender) {
    let listener = setup::listener(relay, HYCO).soon().await.expect("the listener gets online");
    (listener, setup::sender(relay, HYCO).build().expect("the options are right"))
}

/// Answers every request in a task of its own.
pub(crate) fn answer<F>(listener: &Listener, handle: impl Fn(Request<Body>, Responder) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listener.clone();
    tokio::spawn(async move {
        while let Ok(Some(hybridrelay::Incoming::Request(request))) = listener.accept().await {
            let (request, responder) = request.into_parts();
            tokio::spawn(handle(request, responder));
        }
    });
}

/// Bytes that are not all the same.
fn payload(size: usize) -> Bytes {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// The same bytes in pieces, whose number nobody knows before.
fn pieces(payload: &Bytes) -> Body {
    let pieces: Vec<_> = payload.chunks(10_000).map(|piece| Ok::<_, Error>(piece.to_vec())).collect();
    Body::from_stream(stream::iter(pieces))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_comes_through_both_ways_with_and_without_a_length() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        answer(&listener, |request, responder| async move {
            let chunked = request.headers().contains_key("x-chunked");
            let body = request.into_body().bytes(LIMIT).soon().await.unwrap();
            let body = if chunked { pieces(&body) } else { body.into() };
            responder.send(Response::new(body)).soon().await.unwrap();
        });
        for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20] {
            for (chunked_request, chunked_response) in [(false, false), (true, false), (false, true), (true, true)] {
                let payload = payload(size);
                let body = if chunked_request { pieces(&payload) } else { payload.clone().into() };
                let mut request = Request::post("/echo").body(body).unwrap();
                if chunked_response {
                    request.headers_mut().insert("x-chunked", "1".parse().unwrap());
                }
                let response = sender.request(request).soon().await.unwrap();
                assert_eq!(response.status(), 200);
                let echoed = response.into_body().bytes(LIMIT).soon().await.unwrap();
                assert!(echoed == payload, "{size} {chunked_request} {chunked_response}: {}", echoed.len());
            }
        }
    }
}

#[tokio::test]
async fn head_and_headers_come_through_as_they_were_written() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        answer(&listener, |request, responder| async move {
            assert_eq!(request.uri(), "/a%2Fb/c%20d/%c3%A9?x=1&&y=%2B+z&");
            assert_eq!(request.method(), "PROPFIND");
            assert_eq!(request.headers().get_all("x-own").iter().collect::<Vec<_>>(), ["a", "b"]);
            assert!(request.headers().get("servicebusauthorization").is_none());
            assert!(request.extensions().get::<RemoteAddr>().is_some());
            let response = Response::builder()
                .status(418)
                .extension(ReasonPhrase("Short and stout".into()))
                .header("set-cookie", "a=1; Expires=Wed, 21 Oct 2065 07:28:00 GMT")
                .header("set-cookie", "b=2")
                .header("x-own", "c");
            responder.send(response.body("tea").unwrap()).soon().await.unwrap();
        });
        let request = Request::builder()
            .method(Method::from_bytes(b"PROPFIND").unwrap())
            .uri("/a%2Fb/c%20d/%c3%A9?x=1&&y=%2B+z&")
            .header("x-own", "a")
            .header("x-own", "b")
            .body(())
            .unwrap();
        let response = sender.request(request).soon().await.unwrap();
        assert_eq!(response.status(), 418);
        assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().0, "Short and stout");
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1; Expires=Wed, 21 Oct 2065 07:28:00 GMT", "b=2"]);
        assert_eq!(response.headers()["x-own"], "c");
        assert_eq!(response.into_body().bytes(LIMIT).soon().await.unwrap(), "tea");
    }
}

#[tokio::test]
async fn a_request_body_streams_while_it_is_made() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        let (piece, made) = mpsc::channel::<Result<&'static str, Error>>(1);
        let body = Body::from_stream(stream::unfold(made, |mut made| async { Some((made.recv().await?, made)) }));
        let serving = async {
            let (request, responder) = incoming(&listener).await.into_parts();
            let mut body = request.into_body();
            for one in ["first", "second"] {
                piece.send(Ok(one)).soon().await.unwrap();
                assert_eq!(body.chunk().soon().await.unwrap().unwrap(), one);
            }
            drop(piece);
            assert_eq!(body.chunk().soon().await.unwrap(), None);
            responder.send(Response::new(())).soon().await.unwrap();
        };
        let (response, ()) = tokio::join!(sender.request(Request::put("/up").body(body).unwrap()).soon(), serving);
        assert_eq!(response.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_sender_that_gives_up_is_seen_on_both_ways_of_delivery() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        assert!(listener.features().has(hybridrelay::Features::CANCEL));
        for body in [Body::empty(), Body::from("short"), pieces(&payload(1 << 17))] {
            let sender = sender.clone();
            let asking = tokio::spawn(async move { sender.request(Request::post("/").body(body).unwrap()).await });
            let (request, responder) = incoming(&listener).await.into_parts();
            request.into_body().bytes(LIMIT).soon().await.unwrap();
            let cancellation = responder.cancellation();
            assert!(!cancellation.is_cancelled());
            asking.abort();
            cancellation.cancelled().soon().await;
            assert!(responder.send(Response::new("nobody waits")).soon().await.is_err());
        }
        // Behind the head, while the body streams.
        let (response, mut writer) = tokio::join!(sender.request(Request::get("/").body(()).unwrap()).soon(), async {
            let (_, responder) = incoming(&listener).await.into_parts();
            let mut writer = responder.start(Response::new(())).unwrap();
            writer.write("begun").soon().await.unwrap();
            writer.flush().soon().await.unwrap();
            writer
        });
        drop(response.unwrap());
        writer.cancellation().unwrap().cancelled().soon().await;
        assert_eq!(writer.write("more").soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_an_error_and_not_an_end() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        let (response, writer) = tokio::join!(sender.request(Request::get("/").body(()).unwrap()).soon(), async {
            let (_, responder) = incoming(&listener).await.into_parts();
            let mut writer = responder.start(Response::new(())).unwrap();
            writer.write("half of it").soon().await.unwrap();
            writer.flush().soon().await.unwrap();
            writer
        });
        let mut body = response.unwrap().into_body();
        assert_eq!(body.chunk().soon().await.unwrap().unwrap(), "half of it");
        drop(writer);
        let error = body.chunk().soon().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    }
}

#[tokio::test]
async fn what_the_relay_refuses_is_an_error_and_what_the_listener_answers_a_response() {
    for relay in plain_and_tls().await {
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        let ask = |sender: Sender| async move { sender.request(Request::get("/x").body(()).unwrap()).soon().await };
        let unknown = ask(sender.clone()).await.unwrap_err();
        assert_eq!((unknown.kind(), unknown.status()), (ErrorKind::EndpointNotFound, Some(404)));
        let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        for status in [404, 401, 502, 503, 504, 599] {
            let (response, ()) = tokio::join!(ask(sender.clone()), async {
                let (_, responder) = incoming(&listener).await.into_parts();
                responder.send(Response::builder().status(status).body("mine").unwrap()).soon().await.unwrap();
            });
            let response = response.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.into_body().bytes(LIMIT).soon().await.unwrap(), "mine");
        }
        listener.close().soon().await;
        relay.watch_listeners(HYCO).wait_for(|count| *count == 0).soon().await.unwrap();
        let nobody = ask(sender.clone()).await.unwrap_err();
        assert_eq!((nobody.kind(), nobody.is_retryable()), (ErrorKind::NoListeners, true));
        assert!(nobody.tracking_id().is_some() && nobody.reason().unwrap().contains("no listeners"), "{nobody:?}");
        let head = sender.request(Request::head("/x").body(()).unwrap()).soon().await.unwrap_err();
        assert_eq!((head.kind(), head.is_retryable()), (ErrorKind::NoListeners, true));
        assert!(head.reason().unwrap().contains("no listeners"), "{head:?}");

        let wrong = TokenProvider::shared_access_key(relay.key_name(), "wrong");
        let stranger = setup::sender(&relay, HYCO).credential(wrong).build().unwrap();
        let refused = ask(stranger).await.unwrap_err();
        assert_eq!((refused.kind(), refused.status()), (ErrorKind::Unauthorized, Some(401)));
        assert!(!format!("{refused} {refused:?}").contains("sig="));
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_before_anything_is_dialled() {
    let sender = Sender::new("http://127.0.0.1:1/hyco").unwrap();
    for request in [
        Request::get("http://elsewhere/x").body(()).unwrap(),
        Request::get("/x?y=1&SB-hc-token=t").body(()).unwrap(),
        Request::builder().method("CONNECT").uri("/x").body(()).unwrap(),
    ] {
        assert_eq!(sender.request(request).soon().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let error = sender.request(Request::get("/x").body(()).unwrap()).soon().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Network, true));
}

#[tokio::test]
async fn requests_share_connections_and_tokens() {
    for relay in plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, key, rule) = (asked.clone(), relay.key().to_owned(), relay.key_name().to_owned());
        let provider = TokenProvider::from_fn(move |audience| {
            counter.fetch_add(1, Ordering::SeqCst);
            let token = hybridrelay_tests::wire::peers::token(&audience, &rule, &key);
            async move { Ok(Token::new(token, None)) }
        });
        let sender = setup::sender(&relay, HYCO).credential(provider).build().unwrap();
        let mut ports = std::collections::BTreeSet::new();
        for _ in 0..5 {
            let (response, port) = tokio::join!(sender.request(Request::get("/").body(()).unwrap()).soon(), async {
                let (request, responder) = incoming(&listener).await.into_parts();
                responder.send(Response::new("x")).soon().await.unwrap();
                request.extensions().get::<RemoteAddr>().unwrap().0.port()
            });
            assert_eq!(response.unwrap().into_body().bytes(9).soon().await.unwrap(), "x");
            ports.insert(port);
        }
        assert_eq!((ports.len(), asked.load(Ordering::SeqCst)), (1, 1));
    }
}

#[tokio::test]
async fn small_requests_travel_alone_or_share_a_connection() {
    for relay in plain_and_tls().await {
        let together = if relay.ca_pem().is_some() { Version::HTTP_2 } else { Version::HTTP_11 };
        let (listener, sender) = pair(&relay).await;
        // An answer, and the port that the sender came from.
        let ask = async |body: Body, answer: Body| {
            let (response, port) = tokio::join!(sender.request(Request::post("/").body(body).unwrap()).soon(), async {
                let (request, responder) = incoming(&listener).await.into_parts();
                let port = request.extensions().get::<RemoteAddr>().unwrap().0.port();
                request.into_body().bytes(LIMIT).soon().await.unwrap();
                // Nobody need be left who reads it.
                let _ = responder.send(Response::new(answer)).soon().await;
                port
            });
            let response = response.unwrap();
            (response.version(), port, response.into_body())
        };
        let (version, alone, body) = ask(Body::empty(), Body::empty()).await;
        assert_eq!(version, Version::HTTP_11);
        drop(body);

        // It is alone until its answer was read.
        let (version, port, mut slow) = ask("small".into(), "an answer".into()).await;
        assert_eq!((version, port), (Version::HTTP_11, alone));
        let (version, first, body) = ask("beside it".into(), "another".into()).await;
        assert_eq!(version, together);
        assert_ne!(first, alone);
        let (version, second, beside) = ask("beside both".into(), "a third".into()).await;
        assert_eq!(version, together);
        assert!(together == Version::HTTP_11 || first == second, "any number shares it");
        drop((body, beside));
        assert_eq!(slow.chunk().soon().await.unwrap().unwrap(), "an answer");
        assert_eq!(slow.chunk().soon().await.unwrap(), None);
        let (version, port, _body) = ask("alone again".into(), Body::empty()).await;
        assert_eq!((version, port), (Version::HTTP_11, alone));

        // What may be long does not, nor holds up what is small.
        for body in [pieces(&"of no known length".into()), vec![0; 65_537].into()] {
            let (version, port, _body) = ask(body, "read".into()).await;
            assert_eq!(version, together);
            assert_ne!(port, alone);
            let (version, port, _body) = ask(vec![0; 65_536].into(), Body::empty()).await;
            assert_eq!((version, port), (Version::HTTP_11, alone));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_at_its_limit_says_so_to_the_sender() {
    let relay = plain().await;
    let listener = setup::listener(&relay, HYCO).max_concurrent(1).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let first = tokio::spawn({
        let sender = sender.clone();
        async move { sender.request(Request::get("/").body(()).unwrap()).soon().await }
    });
    let (_, responder) = incoming(&listener).await.into_parts();
    for body in [Body::empty(), "short".into(), pieces(&payload(1 << 17))] {
        let response = sender.request(Request::post("/").body(body).unwrap()).soon().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    }
    responder.send(Response::new("x")).soon().await.unwrap();
    assert_eq!(first.soon().await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn requests_go_through_the_proxy() {
    for relay in plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        answer(&listener, |_, responder| async move {
            responder.send(Response::new("through")).soon().await.unwrap();
        });
        let proxy = TcpListener::bind("127.0.0.1:0").soon().await.unwrap();
        let url = format!("http://user:s3cret@{}", proxy.local_addr().unwrap());
        let tunnels = Arc::new(AtomicUsize::new(0));
        let (counter, to) = (tunnels.clone(), relay.local_addr());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = proxy.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().soon().await.unwrap());
                }
                assert!(
                    head.starts_with(b"CONNECT ")
                        && head.to_ascii_lowercase().windows(26).any(|at| at == b"proxy-authorization: basic")
                );
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").soon().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let mut server = TcpStream::connect(to).soon().await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
            }
        });
        let sender = setup::sender(&relay, HYCO).proxy(hybridrelay::Proxy::url(url).unwrap()).build().unwrap();
        for _ in 0..3 {
            let response = sender.request(Request::get("/").body(()).unwrap()).soon().await.unwrap();
            assert_eq!(response.into_body().bytes(99).soon().await.unwrap(), "through");
        }
        assert_eq!(tunnels.load(Ordering::SeqCst), 1, "one connection for all of them");
    }
}
