//! Requests as text, and what is answered.

use std::collections::BTreeSet;

use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Door, RawWebSocket, Socket, Soon};

/// The handshake key of all raw peers (RFC 6455 1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request that is being written.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    target: String,
    version: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Ask {
    /// A WebSocket handshake for this path and query, as a plain client sends it.
    pub fn websocket(target: impl Into<String>) -> Self {
        let handshake = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        handshake.into_iter().fold(Self::http("GET", target), |ask, (name, value)| ask.header(name, value))
    }

    /// A request that is no handshake.
    pub fn http(method: &str, target: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            version: "HTTP/1.1".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header line; a `Host` given here stands instead of the door's.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Writes another protocol version.
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Adds a body and its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    /// Adds a body in chunks of this size.
    pub fn chunked(mut self, body: &[u8], size: usize) -> Self {
        for chunk in body.chunks(size) {
            self.body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            self.body.extend(chunk);
            self.body.extend(b"\r\n");
        }
        self.body.extend(b"0\r\n\r\n");
        self.header("Transfer-Encoding", "chunked")
    }

    /// Adds a token in the header that official clients use.
    pub fn token(self, token: &str) -> Self {
        self.header("ServiceBusAuthorization", token)
    }

    /// Sends it and reads the answer's head; the whole body too, unless it is a 101.
    pub async fn send(self, door: &Door) -> Answer {
        let mut socket = door.open().await;
        self.write(door, &mut socket).await;
        Answer::read(socket).await
    }

    /// Sends it on a socket that may have ended, and returns the status if there is an answer.
    pub async fn try_on(&self, door: &Door, socket: &mut Socket) -> Option<u16> {
        let mut bytes = Vec::new();
        socket.write_all(&self.bytes(door)).soon().await.ok()?;
        while bytes.len() < 12 {
            if socket.receive(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        Some(String::from_utf8_lossy(&bytes[9..12]).parse().expect("a status line"))
    }

    /// Sends it and reads nothing.
    pub async fn write(&self, door: &Door, socket: &mut Socket) {
        socket.send(&self.bytes(door)).await;
    }

    /// What is sent.
    pub fn bytes(&self, door: &Door) -> Vec<u8> {
        let Self { method, target, version, headers, body } = self;
        let mut text = format!("{method} {target} {version}\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += &format!("Host: {}\r\n", door.authority);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        [text.as_bytes(), body].concat()
    }
}

/// What was answered, as it stood on the wire.
#[derive(Debug)]
pub struct Answer {
    /// The whole status line.
    pub status_line: String,
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The body; empty behind a 101.
    pub body: String,
    socket: Socket,
    rest: Vec<u8>,
}

impl Answer {
    /// Reads an answer from a socket on which a request was sent.
    pub async fn read(mut socket: Socket) -> Self {
        let mut bytes = Vec::new();
        let head_len = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let read = socket.receive(&mut bytes).await.expect("the relay answers before it ends");
            assert!(read > 0, "the relay ended the connection: {:?}", String::from_utf8_lossy(&bytes));
        };
        let mut rest = bytes.split_off(head_len);
        let head = String::from_utf8(bytes).expect("an answer in ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        let mut parts = status_line.splitn(3, ' ').skip(1);
        let status = parts.next().and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{status_line:?}"));
        let reason = parts.next().unwrap_or_default().to_owned();
        let length: usize = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, length)| length.parse().expect("a length"));
        while status != 101 && rest.len() < length {
            let read = socket.receive(&mut rest).await.expect("the whole body");
            assert!(read > 0, "the body is shorter than announced");
        }
        let body = if status == 101 { String::new() } else { String::from_utf8(rest.clone()).expect("text") };
        Self { status_line, status, reason, headers, body, socket, rest }
    }

    /// The only value of a header; panics if it stands twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands twice: {:?}", self.headers);
        value
    }

    /// The names of all headers.
    pub fn header_names(&self) -> BTreeSet<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The text in front of TrackingId, SystemTracker and Timestamp.
    pub fn text(&self) -> &str {
        self.reason.split(". TrackingId:").next().unwrap_or_default()
    }

    /// Takes the socket, for the next request.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// The WebSocket behind a 101; panics on a refusal.
    #[track_caller]
    pub fn websocket(self) -> RawWebSocket {
        assert_eq!(self.status, 101, "{} {}", self.status_line, self.body);
        assert_eq!(self.header("sec-websocket-accept"), Some(derive_accept_key(KEY.as_bytes()).as_str()));
        RawWebSocket::new(self.socket, self.rest)
    }
}

/// What stands behind the authority of an address.
pub fn path_and_query(address: &str) -> String {
    let (_, rest) = address.split_once("://").unwrap_or_else(|| panic!("no scheme in an address"));
    let (_, rest) = rest.split_once('/').unwrap_or_else(|| panic!("no path in an address"));
    format!("/{rest}")
}
