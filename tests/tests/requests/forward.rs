//! The forwarder in front of servers that look at every byte.

use std::future::IntoFuture;

use http::{Method, Request, StatusCode};
use hybridrelay::{Body, ErrorKind, ForwardEvent, Forwarded, Forwarder, Message, ReasonPhrase, Sender};
use hybridrelay_relay::LocalRelay;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::{self, HYCO, plain, plain_and_tls, tls};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::application::{Way, behaves, serve_directly};
use super::common::LIMIT;
use super::round::pair;

/// A server that answers nothing by itself.
struct Server(TcpListener);

impl Server {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").soon().await.expect("a free port"))
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.0.local_addr().expect("it is bound"))
    }

    async fn visitor(&self) -> BufReader<TcpStream> {
        BufReader::new(self.0.accept().soon().await.expect("it is bound").0)
    }
}

/// The lines of a head.
async fn head(stream: &mut BufReader<TcpStream>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).soon().await.expect("a head");
        match line.trim_end() {
            "" => return lines,
            line => lines.push(line.to_owned()),
        }
    }
}

/// Forwards to a target, and a way to it.
async fn forwarding(relay: &LocalRelay, target: &str, options: impl FnOnce(Forwarder) -> Forwarder) -> Sender {
    let (listener, sender) = pair(relay).await;
    tokio::spawn(options(listener.forward(target)).into_future());
    sender
}

fn get(target: &str) -> Request<Body> {
    Request::get(target).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn a_head_reaches_the_server_byte_for_byte_and_comes_back_as_the_server_wrote_it() {
    for relay in plain_and_tls().await {
        let server = Server::start().await;
        let sender = forwarding(&relay, &server.url("http"), |forwarder| forwarder).await;
        let request = Request::get("/a%2Fb//c/%c3%A9?x=%41&&y=+z&")
            .header("accept-encoding", "br, gzip")
            .header("x-own", "one")
            .header("x-own", "two")
            .header("forwarded", "for=198.51.100.1")
            .body(Body::empty())
            .unwrap();
        let serving = async {
            let mut visitor = server.visitor().await;
            let head = head(&mut visitor).await;
            assert_eq!(head[0], "GET /a%2Fb//c/%c3%A9?x=%41&&y=+z& HTTP/1.1");
            let mut fields: Vec<_> = head[1..].to_vec();
            fields.sort();
            let host = relay.address().authority();
            let mut expected = vec![
                "accept-encoding: br, gzip".to_owned(),
                "forwarded: for=198.51.100.1".to_owned(),
                format!("host: {host}"),
                format!("via: 1.1 {}", relay.address().host()),
                "x-own: one".to_owned(),
                "x-own: two".to_owned(),
                format!("relay-user-agent: hybridrelay-rust/{}", env!("CARGO_PKG_VERSION")),
            ];
            expected.sort();
            assert_eq!(fields, expected);
            let answer = "HTTP/1.1 302 Over There\r\nLocation: /login\r\nContent-Encoding: gzip\r\nSet-Cookie: a=1; Path=/\r\n\
                          Set-Cookie: b=2\r\nContent-Length: 3\r\n\r\n\x1f\u{0}x";
            visitor.write_all(answer.as_bytes()).soon().await.unwrap();
            visitor
        };
        let (response, _visitor) = tokio::join!(sender.request(request).soon(), serving);
        let response = response.unwrap();
        assert_eq!(response.status(), 302, "nobody follows it");
        if relay.ca_pem().is_none() {
            assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().0, "Over There");
        }
        assert_eq!(response.headers()["location"], "/login");
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1; Path=/", "b=2"]);
        assert_eq!(response.into_body().bytes(LIMIT).soon().await.unwrap(), "\x1f\0x");
    }
}

#[tokio::test]
async fn on_request_responses_move_below_the_mount_point_and_the_server_is_told_who_asks() {
    let relay = plain().await;
    let server = Server::start().await;
    let sender =
        forwarding(&relay, &server.url("http"), |forwarder| forwarder.rewrite(true).forwarded_headers(true)).await;
    let serving = async {
        let mut visitor = server.visitor().await;
        let head = head(&mut visitor).await;
        let host = format!("x-forwarded-host: {}", relay.address().authority());
        for field in ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-forwarded-prefix: /hyco", &host] {
            assert!(head.iter().any(|line| line == field), "{field}: {head:?}");
        }
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: {}/login\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n",
            server.url("http")
        );
        visitor.write_all(answer.as_bytes()).soon().await.unwrap();
        visitor
    };
    let (response, _visitor) = tokio::join!(sender.request(get("/")).soon(), serving);
    let response = response.unwrap();
    assert_eq!(response.headers()["location"], "/hyco/login");
    assert_eq!(response.headers()["set-cookie"], "a=1; Path=/hyco/");
}

#[tokio::test]
async fn the_hybrid_connections_name_stays_where_that_is_wanted() {
    let relay = plain().await;
    let server = Server::start().await;
    let base = format!("{}/base", server.url("http"));
    let sender = forwarding(&relay, &base, |forwarder| forwarder.strip(false)).await;
    let serving = async {
        let mut visitor = server.visitor().await;
        assert_eq!(head(&mut visitor).await[0], "GET /base/hyco/x?y HTTP/1.1");
        visitor.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").soon().await.unwrap();
        visitor
    };
    let (response, _visitor) = tokio::join!(sender.request(get("/x?y")).soon(), serving);
    assert_eq!(response.unwrap().status(), 204);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    for relay in plain_and_tls().await {
        let server = Server::start().await;
        let sender = forwarding(&relay, &server.url("http"), |forwarder| forwarder).await;
        let (piece, made) = tokio::sync::mpsc::channel::<Result<&'static str, hybridrelay::Error>>(1);
        let body = futures_util::stream::unfold(made, |mut made| async { Some((made.recv().await?, made)) });
        let request = Request::post("/").body(Body::from_stream(body)).unwrap();
        let (response, mut visitor) = tokio::join!(sender.request(request).soon(), async {
            let mut visitor = server.visitor().await;
            assert!(head(&mut visitor).await.iter().any(|line| line == "transfer-encoding: chunked"));
            let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            visitor.write_all(answer).soon().await.unwrap();
            visitor
        });
        let mut response = response.unwrap().into_body();
        for one in ["first", "second"] {
            piece.send(Ok(one)).soon().await.unwrap();
            let chunk = format!("{:x}\r\n{one}\r\n", one.len());
            let mut received = vec![0; chunk.len()];
            visitor.read_exact(&mut received).soon().await.unwrap();
            assert_eq!(String::from_utf8(received).unwrap().to_lowercase(), chunk);
            visitor.write_all(chunk.as_bytes()).soon().await.unwrap();
            assert_eq!(response.chunk().soon().await.unwrap().unwrap(), one);
        }
        // A server that breaks off breaks the response off.
        drop(visitor);
        assert_eq!(response.chunk().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    }
}

#[tokio::test]
async fn a_sender_that_goes_takes_its_request_to_the_server_along() {
    let relay = plain().await;
    let server = Server::start().await;
    let sender = forwarding(&relay, &server.url("http"), |forwarder| forwarder).await;
    let asking = tokio::spawn(async move { sender.request(get("/")).await });
    let mut visitor = server.visitor().await;
    head(&mut visitor).await;
    asking.abort();
    assert!(matches!(visitor.read_u8().soon().await, Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_502_with_the_reason() {
    let relay = plain().await;
    let gone = Server::start().await.url("http");
    let sender = forwarding(&relay, &gone, |forwarder| forwarder).await;
    let response = sender.request(get("/")).soon().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let reason = response.extensions().get::<ReasonPhrase>().unwrap().0.clone();
    assert!(reason.contains("cannot connect to 127.0.0.1") && reason.contains("refused"), "{reason}");
    let error = sender.connect().soon().await.unwrap_err();
    assert_eq!(error.status(), Some(502));
    assert!(error.reason().unwrap().contains("cannot connect"), "{error}");

    // One that says nothing sensible.
    let server = Server::start().await;
    let other = plain().await;
    let sender = forwarding(&other, &server.url("http"), |forwarder| forwarder).await;
    let (response, ()) = tokio::join!(sender.request(get("/")).soon(), async {
        let mut visitor = server.visitor().await;
        visitor.write_all(b"SSH-2.0-nonsense\r\n\r\n").soon().await.unwrap();
    });
    assert_eq!(response.unwrap().status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn an_observer_learns_how_the_server_does_and_what_became_of_every_sender() {
    let relay = plain().await;
    let server = Server::start().await;
    let url = server.url("http");
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    let observer = move |event| events.send(event).expect("the test listens");
    let sender = forwarding(&relay, &url, |forwarder| forwarder.observe(observer)).await;

    let request = Request::put("/a%2Fb?secret").body(Body::from("12345")).unwrap();
    let (response, visitor) = tokio::join!(sender.request(request).soon(), async {
        let mut visitor = server.visitor().await;
        head(&mut visitor).await;
        visitor.read_exact(&mut [0; 5]).soon().await.unwrap();
        let answer = b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
        visitor.write_all(answer).soon().await.unwrap();
        visitor
    });
    assert_eq!(response.unwrap().into_body().bytes(LIMIT).soon().await.unwrap(), "abc");
    assert!(matches!(happened.recv().soon().await, Some(ForwardEvent::ServerAnswered)));
    let ended = ended(happened.recv().soon().await);
    assert_eq!((ended.method, ended.path.as_str()), (Some(Method::PUT), "/a%2Fb"));
    assert_eq!((ended.status, ended.received, ended.sent), (Some(StatusCode::CREATED), 5, 3));
    assert!(ended.error.is_none() && ended.remote_addr.is_some() && !ended.tracking_id.is_empty());
    drop(visitor);

    // Who goes before the answer has none.
    let asking = tokio::spawn({
        let sender = sender.clone();
        async move { sender.request(get("/")).await }
    });
    // The server still has it then.
    let mut left = server.visitor().soon().await;
    head(&mut left).await;
    asking.abort();
    assert_eq!(self::ended(happened.recv().soon().await).status, None);

    drop((server, left));
    let response = sender.request(get("/")).soon().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let Some(ForwardEvent::ServerFailed(error)) = happened.recv().soon().await else { panic!("the server is gone") };
    assert_eq!(error.kind(), ErrorKind::Network);
    let ended = self::ended(happened.recv().soon().await);
    assert_eq!(
        (ended.status, ended.error.map(|error| error.kind())),
        (Some(StatusCode::BAD_GATEWAY), Some(error.kind()))
    );
}

fn ended(event: Option<ForwardEvent>) -> Forwarded {
    match event {
        Some(ForwardEvent::Ended(forwarded)) => forwarded,
        other => panic!("an end was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn an_application_behaves_the_same_behind_it() {
    let address = serve_directly().await;
    for relay in plain_and_tls().await {
        let sender = forwarding(&relay, &format!("http://{address}"), |forwarder| forwarder).await;
        behaves(&Way::Relayed(sender.clone())).await;
        let refused = sender.connect().path("/ws/closed").soon().await.unwrap_err();
        assert_eq!((refused.status(), refused.reason()), (Some(403), Some("Forbidden")));
    }
}

#[tokio::test]
async fn a_server_with_tls_is_trusted_by_its_certificate() {
    // A second relay is a server with a certificate of its own authority; it asks whoever comes for a token.
    let server = tls().await;
    let url = format!("https://{}", server.address().authority());
    let pem = server.ca_pem().unwrap().to_owned();
    let relay = plain().await;
    let sender = forwarding(&relay, &url, |forwarder| forwarder.extra_ca_pem(pem)).await;
    let response = sender.request(get("/x")).soon().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let explanation = response.into_body().bytes(LIMIT).soon().await.unwrap();
    assert!(String::from_utf8_lossy(&explanation).contains("TokenMissingOrInvalid"));
    assert_eq!(sender.connect().path("/x").soon().await.unwrap_err().status(), Some(401));

    let relay = plain().await;
    let sender = forwarding(&relay, &url, |forwarder| forwarder).await;
    let response = sender.request(get("/x")).soon().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(response.extensions().get::<ReasonPhrase>().unwrap().0.contains("TLS handshake"));
}

#[tokio::test]
async fn a_websocket_is_bridged_to_a_server_with_tls() {
    // A second relay that lets every sender in is that server.
    let server = LocalRelay::builder().tls(true).anonymous(true).start().soon().await.unwrap();
    let (served, _) = pair(&server).await;
    let url = format!("https://{}/{HYCO}", server.address().authority());
    let pem = server.ca_pem().unwrap().to_owned();
    for relay in plain_and_tls().await {
        let sender = forwarding(&relay, &url, |forwarder| forwarder.extra_ca_pem(pem.clone())).await;
        let connecting = sender.connect().path("/chat").query("room=7").subprotocol("chat.v1").into_future();
        let (sent, accepted) = tokio::join!(connecting, async {
            let connect = setup::incoming(&served).await;
            assert_eq!((connect.path(), connect.query()), ("/chat", Some("room=7")));
            assert_eq!(connect.subprotocols().collect::<Vec<_>>(), ["chat.v1"]);
            connect.accept().soon().await.unwrap()
        });
        let sent = sent.unwrap();
        assert_eq!((sent.subprotocol(), accepted.subprotocol()), (Some("chat.v1"), Some("chat.v1")));
        for message in [Message::from("text"), Message::from(Vec::new()), Message::from(vec![7; 200_000])] {
            sent.send(message.clone()).soon().await.unwrap();
            assert!(accepted.receive().soon().await.unwrap().as_ref() == Some(&message));
            accepted.send(message.clone()).soon().await.unwrap();
            assert!(sent.receive().soon().await.unwrap() == Some(message));
        }
        let (closed, ()) = tokio::join!(sent.close_with(4001, "enough").soon(), async {
            assert!(accepted.receive().soon().await.unwrap().is_none());
            assert_eq!(accepted.peer_close().flatten().map(|close| close.code), Some(4001));
            accepted.close().soon().await.unwrap();
        });
        closed.unwrap();
    }
}

/// Reads to the end and answers behind it.
async fn count(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).soon().await.unwrap();
    stream.write_all(format!("{} bytes", all.len()).as_bytes()).soon().await.unwrap();
    stream.shutdown().soon().await.unwrap();
}

async fn is_counted(sender: &Sender) {
    let mut stream = sender.connect().soon().await.unwrap().into_stream().unwrap();
    stream.write_all(&vec![1; 300_000]).soon().await.unwrap();
    stream.shutdown().soon().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).soon().await.unwrap();
    assert_eq!(answer, "300000 bytes");
    let response = sender.request(get("/")).soon().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn bytes_go_to_tcp_and_unix_sockets_and_each_ends_by_itself() {
    let relay = plain().await;
    let server = Server::start().await;
    let sender = forwarding(&relay, &server.url("tcp"), |forwarder| forwarder).await;
    let serving = async { count(server.visitor().await).await };
    tokio::join!(is_counted(&sender), serving);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let server = UnixListener::bind(&path).unwrap();
    let relay = plain().await;
    let sender = forwarding(&relay, &format!("unix:{}", path.display()), |forwarder| forwarder).await;
    let serving = async { count(server.accept().soon().await.unwrap().0).await };
    tokio::join!(is_counted(&sender), serving);
    drop(server);
    let error = sender.connect().soon().await.unwrap_err();
    assert!(error.status() == Some(502) && error.reason().unwrap().contains("server.sock"), "{error}");
}

#[tokio::test]
async fn an_unusable_target_is_reported() {
    let relay = plain().await;
    let (listener, _) = pair(&relay).await;
    for target in ["", "ftp://h", "tcp://h", "http://user:s3cret@h"] {
        let error = listener.forward(target).soon().await.unwrap_err();
        assert_eq!(Forwarder::check(target).unwrap_err().to_string(), error.to_string());
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{target}");
        assert!(!error.to_string().contains("s3cret"));
    }
}
