//! An ordinary web application: whoever serves it, and by whatever way it is reached, it behaves the same.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{AppendHeaders, IntoResponse, Response as Answer};
use axum::routing::{any, get, post};
use futures_util::{SinkExt, StreamExt, stream};
use http::{Request, Response, StatusCode};
use hybridrelay::{Body, Connection, ErrorKind, Message, Mount, RemoteAddr, Sender};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::plain_and_tls;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::common::LIMIT;
use super::round::pair;

/// The application.
pub(crate) fn application() -> Router {
    let greet = |Path(name): Path<String>, Query(query): Query<Vec<(String, String)>>| async move {
        format!("hello {name} {query:?}")
    };
    let upload = |mut form: Multipart| async move {
        let mut seen = String::new();
        while let Some(field) = form.next_field().await.expect("a form") {
            let name = field.name().unwrap_or_default().to_owned();
            let file = field.file_name().unwrap_or_default().to_owned();
            seen += &format!("{name} {file} {};", field.bytes().await.expect("a field").len());
        }
        seen
    };
    let events = || async {
        let ticks =
            stream::iter(1..=3).map(|tick| Ok::<_, std::convert::Infallible>(Event::default().data(tick.to_string())));
        Sse::new(ticks)
    };
    let login = || async { (AppendHeaders([("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2")]), "welcome") };
    let who = |headers: HeaderMap| async move { format!("{:?}", headers.get("cookie")) };
    let moved = || async { (StatusCode::FOUND, [("location", "/hello/you")]) };
    let mount = |request: Request<axum::body::Body>| async move {
        let extensions = request.extensions();
        let remote = extensions.get::<RemoteAddr>().is_some();
        format!("{:?} {remote}", extensions.get::<Mount>().map(Mount::as_str))
    };
    Router::new()
        .route("/hello/{name}", get(greet))
        .route("/upload", post(upload))
        .route("/echo", any(|body: axum::body::Body| async move { body }))
        .route("/events", get(events))
        .route("/login", get(login))
        .route("/who", get(who))
        .route("/moved", get(moved))
        .route("/mount", get(mount))
        .route("/panic", get(|| async { panic!("a program's fault") as &'static str }))
        .route("/ws", any(chat))
        .route("/ws/closed", any(|| async { (StatusCode::FORBIDDEN, "not for you") }))
        .layer(DefaultBodyLimit::disable())
}

async fn chat(upgrade: WebSocketUpgrade) -> Answer {
    upgrade.protocols(["chat.v2"]).on_upgrade(echo).into_response()
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let answered = match message {
            Frame::Text(text) if text.as_str() == "bye" => {
                let frame = CloseFrame { code: 4001, reason: "you said bye".into() };
                socket.send(Frame::Close(Some(frame))).await
            }
            Frame::Text(_) | Frame::Binary(_) => socket.send(message).await,
            _ => Ok(()),
        };
        if answered.is_err() {
            return;
        }
    }
}

/// The application on a port of its own.
pub(crate) async fn serve_directly() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").soon().await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, application()).await });
    address
}

/// A way to the application.
pub(crate) enum Way {
    Direct(SocketAddr),
    Relayed(Sender),
}

/// A WebSocket to the application.
enum Socket {
    Direct(Box<WebSocketStream<TcpStream>>),
    Relayed(Connection),
}

impl Way {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        match self {
            Self::Relayed(sender) => sender.request(request).soon().await.expect("an answer"),
            Self::Direct(address) => {
                let stream = TcpStream::connect(address).soon().await.expect("it listens");
                let (mut client, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).soon().await.expect("HTTP");
                tokio::spawn(connection);
                let mut request = request;
                request.headers_mut().insert("host", address.to_string().parse().expect("a host"));
                client.send_request(request).soon().await.expect("an answer").map(Body::new)
            }
        }
    }

    async fn get(&self, target: &str) -> (StatusCode, String) {
        let response = self.send(Request::get(target).body(Body::empty()).expect("a request")).await;
        let status = response.status();
        (status, text(response).await)
    }

    async fn websocket(&self, subprotocol: &str) -> (Socket, Option<String>) {
        match self {
            Self::Relayed(sender) => {
                let connection = sender.connect().path("/ws").subprotocol(subprotocol).soon().await.expect("upgraded");
                let chosen = connection.subprotocol().map(str::to_owned);
                (Socket::Relayed(connection), chosen)
            }
            Self::Direct(address) => {
                let stream = TcpStream::connect(address).soon().await.expect("it listens");
                let mut request = format!("ws://{address}/ws").into_client_request().expect("a request");
                request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().expect("a name"));
                let (socket, answer) = tokio_tungstenite::client_async(request, stream).soon().await.expect("upgraded");
                let chosen = answer.headers().get("sec-websocket-protocol");
                let chosen = chosen.map(|name| name.to_str().expect("a name").to_owned());
                (Socket::Direct(Box::new(socket)), chosen)
            }
        }
    }
}

impl Socket {
    async fn echo(&mut self, message: Message) -> Message {
        match self {
            Self::Relayed(connection) => {
                connection.send(message).soon().await.expect("it is open");
                connection.receive().soon().await.expect("it is open").expect("an answer")
            }
            Self::Direct(socket) => {
                let frame = match message {
                    Message::Text(text) => tungstenite::Message::text(text),
                    Message::Binary(data) => tungstenite::Message::binary(data),
                };
                socket.send(frame).soon().await.expect("it is open");
                match socket.next().soon().await.expect("it is open").expect("an answer") {
                    tungstenite::Message::Text(text) => Message::Text(text.to_string()),
                    other => Message::Binary(other.into_data()),
                }
            }
        }
    }

    /// Says bye, and returns the code and reason of the application's close.
    async fn bye(self) -> (u16, String) {
        match self {
            Self::Relayed(connection) => {
                connection.send("bye").soon().await.expect("it is open");
                assert_eq!(connection.receive().soon().await.expect("a close"), None);
                let frame = connection.peer_close().flatten().expect("a code");
                connection.close().soon().await.expect("a close in good order");
                (frame.code, frame.reason)
            }
            Self::Direct(mut socket) => {
                socket.send(tungstenite::Message::text("bye")).soon().await.expect("it is open");
                match socket.next().soon().await {
                    Some(Ok(tungstenite::Message::Close(Some(frame)))) => (frame.code.into(), frame.reason.to_string()),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().bytes(LIMIT).soon().await.expect("a whole body");
    String::from_utf8(body.to_vec()).expect("text")
}

/// What the application does, whatever the way to it.
pub(crate) async fn behaves(way: &Way) {
    let (status, greeting) = way.get("/hello/a%20b?x=1&x=%262").await;
    assert_eq!((status, greeting.as_str()), (StatusCode::OK, r#"hello a b [("x", "1"), ("x", "&2")]"#));
    assert_eq!(way.get("/nowhere").await.0, StatusCode::NOT_FOUND);
    assert_eq!(way.get("/moved").await.0, StatusCode::FOUND);
    let wrong = Request::delete("/login").body(Body::empty()).unwrap();
    let wrong = way.send(wrong).await;
    assert_eq!(
        (wrong.status(), &wrong.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET,HEAD".parse().unwrap())
    );

    let form = "--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nv\r\n--b\r\nContent-Disposition: form-data; \
                name=\"f\"; filename=\"x.bin\"\r\n\r\n";
    let form = [form.as_bytes(), &vec![0; 100_000], b"\r\n--b--\r\n"].concat();
    let upload = Request::post("/upload").header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(text(way.send(upload.body(form.into()).unwrap()).await).await, "n  1;f x.bin 100000;");

    for size in [0, 1, 65_536, 65_537, 300_000] {
        let body = vec![5; size];
        let echoed = way.send(Request::put("/echo").body(body.clone().into()).unwrap()).await;
        assert!(echoed.into_body().bytes(LIMIT).soon().await.unwrap() == body, "{size}");
    }

    let events = way.send(Request::get("/events").body(Body::empty()).unwrap()).await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    assert_eq!(text(events).await, "data: 1\n\ndata: 2\n\ndata: 3\n\n");

    let login = way.send(Request::get("/login").body(Body::empty()).unwrap()).await;
    let cookies: Vec<_> = login.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2"]);
    let known = Request::get("/who").header("cookie", "a=1; b=2").body(Body::empty()).unwrap();
    assert_eq!(text(way.send(known).await).await, r#"Some("a=1; b=2")"#);

    let head = way.send(Request::head("/hello/x").body(Body::empty()).unwrap()).await;
    assert_eq!((head.status(), &head.headers()["content-length"]), (StatusCode::OK, &"10".parse().unwrap()));
    assert_eq!(text(head).await, "");

    let (mut socket, chosen) = way.websocket("chat.v2").await;
    assert_eq!(chosen.as_deref(), Some("chat.v2"));
    for message in ["", "text", &"long".repeat(50_000)] {
        assert_eq!(socket.echo(message.into()).await, message.into());
    }
    let binary = Message::from(vec![0xff; 200_000]);
    assert_eq!(socket.echo(binary.clone()).await, binary);
    assert_eq!(socket.bye().await, (4001, "you said bye".to_owned()));
}

#[tokio::test]
async fn it_behaves_the_same_directly_and_through_the_relay() {
    behaves(&Way::Direct(serve_directly().await)).await;
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        let serving = tokio::spawn(listener.serve(application()).into_future());
        behaves(&Way::Relayed(sender)).await;
        listener.close().soon().await;
        serving.soon().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_service_sees_where_it_is_mounted_and_its_faults_are_500() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        tokio::spawn(listener.serve(application()).into_future());
        let way = Way::Relayed(sender.clone());
        assert_eq!(way.get("/mount").await.1, r#"Some("/hyco") true"#);
        assert_eq!(way.get("/panic").await.0, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(way.get("/hello/again").await.0, StatusCode::OK, "the next request is served");

        let refused = sender.connect().path("/ws/closed").soon().await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.status(), refused.reason()),
            (ErrorKind::Unauthorized, Some(403), Some("Forbidden"))
        );
        let unknown = sender.connect().path("/ws").subprotocol("unknown.v1").soon().await.unwrap();
        assert_eq!(unknown.subprotocol(), None, "the application chose none");
        let refused = sender.connect().path("/hello/x").soon().await.unwrap_err();
        assert_eq!((refused.kind(), refused.status()), (ErrorKind::Rejected, Some(400)), "a page is no WebSocket");
    }
}

#[tokio::test]
async fn a_graceful_stop_finishes_what_is_under_way_and_refuses_what_comes() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        let (asked, is_asked) = tokio::sync::watch::channel(0);
        let (release, released) = tokio::sync::watch::channel(false);
        let slow = move || {
            let (asked, mut released) = (asked.clone(), released.clone());
            async move {
                asked.send_modify(|count| *count += 1);
                released.wait_for(|released| *released).await.expect("the test is there");
                "finished"
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let application = Router::new().route("/slow", get(slow)).route("/ws", any(chat));
        let serving = listener.serve(application).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let serving = tokio::spawn(serving.into_future());
        let ask =
            |sender: Sender| tokio::spawn(async move { sender.request(Request::get("/slow").body(()).unwrap()).await });
        let under_way = ask(sender.clone());
        let (mut socket, _) = Way::Relayed(sender.clone()).websocket("chat.v2").await;
        is_asked.clone().wait_for(|count| *count == 1).soon().await.unwrap();
        stop.send(()).unwrap();
        // The stop is seen by and by: what comes before it is served.
        loop {
            let late = ask(sender.clone());
            tokio::select! {
                answer = late => {
                    let answer = answer.unwrap().unwrap();
                    assert_eq!((answer.status(), &answer.headers()["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
                    break;
                }
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
        assert_eq!(sender.connect().path("/slow").soon().await.unwrap_err().status(), Some(503));
        release.send(true).unwrap();
        assert_eq!(text(under_way.soon().await.unwrap().unwrap()).await, "finished");
        serving.soon().await.unwrap().unwrap();
        assert!(listener.accept().soon().await.unwrap().is_none(), "the listener has closed");
        assert_eq!(socket.echo("still here".into()).await, "still here".into());
    }
}
