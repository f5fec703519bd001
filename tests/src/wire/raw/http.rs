//! HTTP/1.1 by hand: several requests on one socket, and answers as they stood on the wire.

use super::{Ask, Door, Socket};

/// A connection to a relay.
#[derive(Debug)]
pub struct RawHttp {
    socket: Socket,
    input: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResponse {
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// How an answer says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By a length.
    Length(usize),
    /// In chunks.
    Chunked,
    /// By neither.
    None,
}

impl RawHttp {
    /// Opens a connection.
    pub async fn open(door: &Door) -> Self {
        Self::on(door.open().await)
    }

    /// Takes a socket.
    pub fn on(socket: Socket) -> Self {
        Self { socket, input: Vec::new() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.send(bytes.as_ref()).await;
    }

    /// Sends a request.
    pub async fn ask(&mut self, door: &Door, ask: &Ask) {
        ask.write(door, &mut self.socket).await;
    }

    /// The next answer to a request that was no HEAD; interim ones are dropped.
    pub async fn response(&mut self) -> RawResponse {
        loop {
            let response = self.head().await;
            if response.status >= 200 {
                return self.whole(response).await;
            }
        }
    }

    /// The next answer without its body, interim ones included: to a HEAD, or where the body comes in pieces.
    pub async fn head(&mut self) -> RawResponse {
        let head = self.until(b"\r\n\r\n").await;
        let head = String::from_utf8(head).expect("a head in ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let mut parts = line.splitn(3, ' ');
        assert_eq!(parts.next(), Some("HTTP/1.1"), "{line:?}");
        let status = parts.next().and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        let reason = parts.next().unwrap_or_else(|| panic!("{line:?}")).to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        RawResponse { status, reason, headers: lines.map(header).collect(), body: Vec::new() }
    }

    /// The next chunk of a body in chunks; empty for the last.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let size = String::from_utf8(self.until(b"\r\n").await).expect("a size");
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        let mut chunk = self.exactly(size + 2).await;
        assert!(chunk.ends_with(b"\r\n"), "a chunk is as long as it says");
        chunk.truncate(size);
        chunk
    }

    /// Whether the relay ends the connection now, orderly or not; what else comes fails the test.
    pub async fn ended(&mut self) {
        assert_eq!(self.input, b"", "something came instead of the end");
        if let Ok(read @ 1..) = self.socket.receive(&mut self.input).await {
            panic!("{read} bytes instead of the end: {:?}", String::from_utf8_lossy(&self.input));
        }
    }

    /// Whether the relay ends the connection now, and orderly.
    pub async fn eof(&mut self) {
        let read = self.socket.receive(&mut self.input).await.expect("an end in order");
        assert!(read == 0 && self.input.is_empty(), "something came instead of the end");
    }

    /// Whether the connection ends before the last chunk of a body.
    pub async fn breaks_off(&mut self) -> Vec<u8> {
        while let Ok(1..) = self.socket.receive(&mut self.input).await {}
        assert!(!self.input.ends_with(b"0\r\n\r\n"), "the body has an end");
        std::mem::take(&mut self.input)
    }

    /// The socket below.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    async fn whole(&mut self, mut response: RawResponse) -> RawResponse {
        match response.framing() {
            Framing::Length(length) => response.body = self.exactly(length).await,
            Framing::Chunked => loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                response.body.extend(chunk);
            },
            Framing::None => {}
        }
        response
    }

    async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.input.windows(end.len()).position(|window| window == end) {
                return self.input.drain(..at + end.len()).collect();
            }
            self.more().await;
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.input.len() < length {
            self.more().await;
        }
        self.input.drain(..length).collect()
    }

    async fn more(&mut self) {
        let read = self.socket.receive(&mut self.input).await.expect("the relay goes on");
        assert!(read > 0, "the relay ended the connection: {:?}", String::from_utf8_lossy(&self.input));
    }
}

impl RawResponse {
    /// The only value of a header; panics if it stands twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands twice: {:?}", self.headers);
        value
    }

    /// All values of a header.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// How the body is framed.
    pub fn framing(&self) -> Framing {
        match (self.header("content-length"), self.header("transfer-encoding")) {
            (Some(length), None) => Framing::Length(length.parse().expect("a length")),
            (None, Some("chunked")) => Framing::Chunked,
            (None, None) => Framing::None,
            both => panic!("{both:?}"),
        }
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}
