//! HTTP/2, agreed on in the TLS handshake (protocol.md 10, decisions 42 and 60).

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::raw::op;
use hybridrelay_tests::wire::requests::{closed, respond};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use crate::common::{World, body};

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// A connection of a sender by HTTP/2.
async fn connect(world: &World) -> SendRequest<Body> {
    let socket = world.door.with_http2().open().await;
    assert_eq!(socket.alpn(), Some(&b"h2"[..]));
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
        .soon()
        .await
        .expect("the relay speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

fn request(world: &World, method: &str, rest: &str) -> http::request::Builder {
    let url = format!("https://{}/hyco{rest}", world.door.authority);
    Request::builder().method(method).uri(url).header("ServiceBusAuthorization", &world.token)
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

/// A body of unknown length, part by part.
fn streamed(parts: mpsc::Receiver<Bytes>) -> Body {
    let stream = futures_util::stream::unfold(parts, |mut parts| async {
        let part = parts.recv().await?;
        Some((Ok(Frame::data(part)), parts))
    });
    BodyExt::boxed(StreamBody::new(stream))
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().soon().await.expect("a whole body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn a_request_by_http_2_is_like_any_other() {
    let mut world = World::tls().await;
    let mut sender = connect(&world).await;
    let ask = request(&world, "POST", "/x?y=1").header("Cookie", "a=1").header("Cookie", "b=2");
    let answering = async {
        let asked = world.listener.request().await;
        assert_eq!((asked.field("method"), asked.field("requestTarget")), ("POST", "/hyco/x?y=1"));
        assert_eq!(asked.header("Host"), Some(&world.door.authority.as_str().into()));
        assert_eq!(asked.header("Via"), Some(&"2.0 localhost".into()));
        assert_eq!(asked.header("Cookie"), Some(&"a=1; b=2".into()));
        assert!(!asked.header_names().iter().any(|name| name.starts_with(':')), "{:?}", asked.header_names());
        let mut response = asked.response(201, true);
        response["responseHeaders"] = serde_json::json!({"Connection": "close", "Keep-Alive": "x", "X-A": "1"});
        response["statusDescription"] = "Made".into();
        world.listener.respond(response, Some(b"made")).await;
    };
    let (response, ()) = tokio::join!(sender.send_request(ask.body(whole("body")).unwrap()).soon(), answering);
    let response = response.expect("an answer");
    assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 201));
    assert_eq!(response.headers()["via"], "1.1 localhost");
    assert_eq!(response.headers()["x-a"], "1");
    assert_eq!(response.headers()["content-length"], "4");
    assert!(!response.headers().contains_key("connection") && !response.headers().contains_key("keep-alive"));
    assert_eq!(text(response).await, "made");
}

#[tokio::test]
async fn bodies_of_every_size_pass_by_http_2() {
    let mut world = World::tls().await;
    let mut sender = connect(&world).await;
    for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20] {
        for known in [true, false] {
            let sent = body(size);
            let ask = request(&world, "PUT", "");
            let ask = match known {
                true => ask.body(whole(sent.clone())),
                false => {
                    let (parts, stream) = mpsc::channel(1);
                    let (whole, parts) = (Bytes::from(sent.clone()), parts);
                    tokio::spawn(async move { parts.send(whole).await });
                    ask.body(streamed(stream))
                }
            };
            let answering = async {
                let asked = world.listener.request().await;
                assert_eq!(asked.is_marker(), !known || size > 65_536, "{size} bytes, known: {known}");
                if asked.is_marker() {
                    let (mut ws, asked) = asked.fetch().await;
                    assert!(asked.body.as_deref() == Some(&*sent));
                    respond(&mut ws, asked.response(200, true), Some(&sent)).await;
                    closed(&mut ws, 1000).await;
                } else {
                    assert!(asked.body.clone().unwrap_or_default() == sent);
                    world.listener.respond(asked.response(200, true), Some(&sent)).await;
                }
            };
            let receiving = async {
                let response = sender.send_request(ask.unwrap()).soon().await.expect("an answer");
                response.into_body().collect().soon().await.expect("a whole body").to_bytes()
            };
            let (received, ()) = tokio::join!(receiving, answering);
            assert!(received == sent, "{size} bytes, known: {known}");
        }
    }
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let mut world = World::tls().await;
    let sender = connect(&world).await;
    let asking = (0..100).map(|number| {
        let (mut sender, ask) = (sender.clone(), request(&world, "POST", &format!("/{number}")));
        let ask = ask.body(whole(number.to_string())).unwrap();
        async move { text(sender.send_request(ask).soon().await.expect("an answer")).await }
    });
    let asking: Vec<_> = asking.collect();
    let answering = async {
        let mut all = Vec::new();
        for _ in 0..100 {
            all.push(world.listener.request().await);
        }
        for asked in all.iter().rev() {
            world.listener.respond(asked.response(200, true), asked.body.as_deref()).await;
        }
    };
    let (texts, ()) = tokio::join!(futures_util::future::join_all(asking), answering);
    assert_eq!(texts, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_that_is_reset_is_a_sender_that_has_gone() {
    let mut world = World::tls().await;
    let mut sender = connect(&world).await;
    let (parts, stream) = mpsc::channel(1);
    let ask = request(&world, "POST", "").body(streamed(stream)).unwrap();
    let mut asking = Box::pin(sender.send_request(ask));
    let fetching = async {
        let (ws, _) = world.listener.request().await.fetch_head().await;
        ws
    };
    let mut ws = tokio::select! {
        ws = fetching => ws,
        _ = &mut asking => panic!("nobody answered"),
    };
    drop(asking);
    closed(&mut ws, 1001).await;
    drop(parts);

    // In the middle of the answer.
    let ask = request(&world, "GET", "").body(whole("")).unwrap();
    let answering = async {
        let asked = world.listener.request().await;
        let mut ws = asked.upgrade().await;
        respond(&mut ws, asked.response(200, true), None).await;
        ws.send(&hybridrelay_tests::wire::raw::frame(op::BINARY, b"part")).await;
        ws
    };
    let (response, mut ws) = tokio::join!(sender.send_request(ask).soon(), answering);
    let mut response = response.expect("an answer").into_body();
    let part = response.frame().soon().await.expect("a part").expect("a part").into_data().expect("data");
    assert_eq!(part, "part");
    drop(response);
    closed(&mut ws, 1001).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_its_stream_and_no_other() {
    let mut world = World::tls().await;
    let mut sender = connect(&world).await;
    let ask = request(&world, "GET", "").body(whole("")).unwrap();
    let answering = async {
        let asked = world.listener.request().await;
        let mut ws = asked.upgrade().await;
        respond(&mut ws, asked.response(200, true), None).await;
        ws.send(&hybridrelay_tests::wire::raw::frame(op::BINARY, b"part")).await;
        ws
    };
    let (response, ws) = tokio::join!(sender.send_request(ask).soon(), answering);
    let mut response = response.expect("an answer").into_body();
    response.frame().soon().await.expect("a part").expect("a part");
    ws.reset();
    assert!(response.collect().soon().await.is_err(), "a part is not the whole");

    let ask = request(&world, "GET", "").body(whole("")).unwrap();
    let answering = async {
        let asked = world.listener.request().await;
        world.listener.respond(asked.response(204, false), None).await;
    };
    let (response, ()) = tokio::join!(sender.send_request(ask).soon(), answering);
    assert_eq!(response.expect("the connection goes on").status(), 204);
}

#[tokio::test]
async fn refusals_say_why_by_http_2_as_well() {
    let world = World::tls().await;
    let mut sender = connect(&world).await;
    for (path, status, code) in
        [("/nowhere", 401, "TokenMissingOrInvalid"), ("/$hc/hyco?sb-hc-action=connect", 400, "BadRequest")]
    {
        let ask = Request::get(format!("https://{}{path}", world.door.authority)).body(whole("")).unwrap();
        let response = sender.send_request(ask).soon().await.expect("an answer");
        assert_eq!(response.status(), status);
        let id = response.headers()["trackingid"].to_str().unwrap().to_owned();
        let said: serde_json::Value = serde_json::from_str(&text(response).await).expect("JSON");
        assert_eq!(said["error"]["code"], code);
        assert!(said["error"]["message"].as_str().unwrap().contains(&id));
    }
    let large = request(&world, "GET", "").header("X-Large", "x".repeat(33 << 10)).body(whole("")).unwrap();
    assert_eq!(sender.send_request(large).soon().await.expect("an answer").status(), 431);
}

#[tokio::test]
async fn who_does_not_offer_http_2_does_not_get_it() {
    let mut world = World::tls().await;
    assert_eq!(world.door.open().await.alpn(), None);
    world.works().await;
}
