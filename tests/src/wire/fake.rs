//! A foreign relay for the SDK: every answer is the test's.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::Soon;

/// A bound port that answers nothing by itself.
#[derive(Debug)]
pub struct FakeRelay {
    listener: TcpListener,
}

impl FakeRelay {
    /// Binds a free port of loopback.
    pub async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").soon().await.expect("a free port") }
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        self.listener.local_addr().expect("it is bound").to_string()
    }

    /// A connection string that leads here.
    pub fn connection_string(&self) -> String {
        let authority = self.authority();
        format!(
            "Endpoint=sb://{authority}/;SharedAccessKeyName=r;SharedAccessKey=k;EntityPath=hyco;UseDevelopmentEmulator=true"
        )
    }

    /// The next one who comes, with the head of the request.
    pub async fn visitor(&self) -> Visitor {
        let (mut stream, _) = self.listener.accept().soon().await.expect("it is bound");
        stream.set_nodelay(true).expect("a fresh socket");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().soon().await.expect("the whole head"));
        }
        let head = String::from_utf8(head).expect("a head in ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a request line").to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Visitor { stream, target, headers }
    }

    /// Ends the next connection without a word.
    pub async fn hang_up(&self) {
        self.listener.accept().soon().await.expect("it is bound");
    }

    /// Lets the next one in.
    pub async fn admit(&self) -> Admitted {
        self.visitor().await.admit(&[]).await
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Visitor {
    stream: TcpStream,
    /// Path and query, as they stood in the request line.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Visitor {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Answers 101 with these headers beside the needed ones.
    pub async fn admit(self, headers: &[(&str, &str)]) -> Admitted {
        let target = self.target.clone();
        let stream = self.admit_raw(headers).await;
        Admitted { ws: WebSocketStream::from_raw_socket(stream, Role::Server, None).await, target }
    }

    /// The same, for whoever looks at frames and not at messages.
    pub async fn admit_raw(mut self, headers: &[(&str, &str)]) -> TcpStream {
        let accept = derive_accept_key(self.header("sec-websocket-key").expect("a handshake").as_bytes());
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n"
        );
        for (name, value) in headers {
            answer += &format!("{name}: {value}\r\n");
        }
        self.answer(&(answer + "\r\n")).await;
        self.stream
    }

    /// Sends an answer as it is.
    pub async fn answer(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).soon().await.expect("the visitor reads");
    }

    /// Waits for the visitor's end of the connection; false if bytes come instead.
    pub async fn ended(&mut self) -> bool {
        self.stream.read_u8().soon().await.is_err()
    }

    /// Answers with a status line, headers and a body, and ends the connection.
    pub async fn refuse(mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.answer(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}")).await;
    }
}

/// A visitor who was let in.
#[derive(Debug)]
pub struct Admitted {
    /// The socket.
    pub ws: WebSocketStream<TcpStream>,
    /// Path and query of the request.
    pub target: String,
}

impl Admitted {
    /// Says something.
    pub async fn send(&mut self, message: Message) {
        self.ws.send(message).soon().await.expect("the SDK reads");
    }

    /// Says a control message.
    pub async fn command(&mut self, command: Value) {
        self.send(Message::text(command.to_string())).await;
    }

    /// The next text or binary message.
    pub async fn message(&mut self) -> Message {
        loop {
            match self.ws.next().soon().await.expect("the SDK is there").expect("the SDK keeps the protocol") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// Closes with a code and reads to the end.
    pub async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.ws.close(Some(frame)).soon().await.expect("the SDK reads");
        while let Some(Ok(_)) = self.ws.next().soon().await {}
    }
}
