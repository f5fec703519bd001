//! What clients of other libraries and ours are measured against: relay and listener in one, at the least cost, so that the client is
//! what takes the time.
//!
//! A GET is answered with a short body, by HTTP/2 if the client offers it. A WebSocket is told what to do by text messages, whose words are divided by spaces:
//!
//! - `send COUNT`: takes so many binary messages, and says `done` when it has them;
//! - `receive COUNT SIZE`: sends so many binary messages of so many bytes;
//! - `echo COUNT`: sends so many binary messages back, each before it reads the next.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use hybridrelay::Body;
use hybridrelay::ws::{ControlPayload, FrameHeader, Mask, OpCode, control_frame};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tungstenite::handshake::derive_accept_key;

use super::{Tls, announce, answers};

/// What is read at once, and about what is written at once.
const ROOM: usize = 256 * 1024;

pub(super) async fn start(tls: Tls) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    announce(listener.local_addr()?, None)?;
    let acceptor = tls.map(TlsAcceptor::from);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                socket.set_nodelay(true)?;
                let Some(acceptor) = acceptor else { return serve(socket).await };
                let socket = acceptor.accept(socket).await?;
                if socket.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let connection = http2::Builder::new(TokioExecutor::new());
                    return Ok(connection.serve_connection(TokioIo::new(socket), service_fn(answer)).await?);
                }
                serve(socket).await
            });
        }
    });
    Ok(())
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<()> {
    let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer));
    Ok(connection.with_upgrades().await?)
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Body>> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else { return Ok(answers::answer(request).await?) };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match converse(TokioIo::new(upgrade.await?)).await {
            // Clients end as they like, some without a word.
            Err(error) if error.downcast_ref::<std::io::Error>().is_none() => eprintln!("endpoint: {error:#}"),
            _ => {}
        }
        Ok::<_, hyper::Error>(())
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response.body(Body::empty())?)
}

/// What the client has been told to do, and what is left of it.
enum Doing {
    Nothing,
    Send(u64),
    Echo(u64),
}

async fn converse(socket: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let mut client = Client { socket, buffer: vec![0; ROOM], start: 0, end: 0 };
    let mut doing = Doing::Nothing;
    loop {
        let Some(header) = client.header().await? else { return Ok(()) };
        match header.opcode {
            OpCode::Text if header.fin => {
                let command = client.payload(&header).await?;
                let command = String::from_utf8(command)?;
                let mut words = command.split(' ');
                let verb = words.next().unwrap_or_default();
                let mut number = || words.next().context("a number is missing")?.parse::<u64>().context("no number");
                doing = match verb {
                    "send" => Doing::Send(number()?),
                    "echo" => Doing::Echo(number()?),
                    "receive" => {
                        client.send_many(number()?, usize::try_from(number()?)?).await?;
                        Doing::Nothing
                    }
                    other => bail!("{other:?} is no command"),
                };
            }
            OpCode::Ping | OpCode::Close => {
                let payload = client.payload(&header).await?;
                let payload = ControlPayload::new(&payload).context("a long control frame")?;
                let is_close = header.opcode == OpCode::Close;
                let answer = control_frame(if is_close { OpCode::Close } else { OpCode::Pong }, &payload, None);
                client.socket.write_all(answer.as_ref()).await?;
                client.socket.flush().await?;
                if is_close {
                    return Ok(client.socket.shutdown().await?);
                }
            }
            OpCode::Pong => client.skip(header.len).await?,
            OpCode::Text | OpCode::Binary | OpCode::Continuation => match &mut doing {
                Doing::Echo(left) => {
                    let payload = client.payload(&header).await?;
                    *left -= u64::from(header.fin);
                    client.send(header.opcode, header.fin, &payload).await?;
                }
                Doing::Send(left) => {
                    client.skip(header.len).await?;
                    *left -= u64::from(header.fin);
                    if *left == 0 {
                        doing = Doing::Nothing;
                        client.send(OpCode::Text, true, b"done").await?;
                    }
                }
                Doing::Nothing => bail!("a message that was not announced"),
            },
        }
    }
}

/// The server's end of a WebSocket.
struct Client<S> {
    socket: S,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Reads more; false at the end.
    async fn fill(&mut self) -> Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let read = self.socket.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        Ok(read > 0)
    }

    async fn header(&mut self) -> Result<Option<FrameHeader>> {
        loop {
            if let Some((header, len)) = FrameHeader::parse(&self.buffer[self.start..self.end])? {
                self.start += len;
                return Ok(Some(header));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Passes over so many bytes.
    async fn skip(&mut self, mut len: u64) -> Result<()> {
        loop {
            let here = len.min((self.end - self.start) as u64);
            // At most what the buffer holds.
            self.start += here as usize;
            len -= here;
            if len == 0 {
                return Ok(());
            }
            if !self.fill().await? {
                bail!("the stream ended inside of a frame");
            }
        }
    }

    async fn payload(&mut self, header: &FrameHeader) -> Result<Vec<u8>> {
        let len = usize::try_from(header.len)?;
        if len > ROOM / 2 {
            bail!("a frame of {len} bytes is too long for this");
        }
        while self.end - self.start < len {
            if !self.fill().await? {
                bail!("the stream ended inside of a frame");
            }
        }
        let mut payload = self.buffer[self.start..self.start + len].to_vec();
        self.start += len;
        Mask::new(header.mask.context("a client masks")?).apply(&mut payload);
        Ok(payload)
    }

    async fn send(&mut self, opcode: OpCode, fin: bool, payload: &[u8]) -> Result<()> {
        self.socket.write_all(&frame(opcode, fin, payload)).await?;
        Ok(self.socket.flush().await?)
    }

    async fn send_many(&mut self, count: u64, size: usize) -> Result<()> {
        let frame = frame(OpCode::Binary, true, &vec![7; size]);
        let at_once = (ROOM / 2 / frame.len()).max(1);
        let block = frame.repeat(at_once);
        let mut left = count;
        while left > 0 {
            // At most `at_once`.
            let frames = left.min(at_once as u64) as usize;
            self.socket.write_all(&block[..frames * frame.len()]).await?;
            left -= frames as u64;
        }
        Ok(self.socket.flush().await?)
    }
}

/// An unmasked frame.
fn frame(opcode: OpCode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; FrameHeader::MAX_LEN];
    let len = FrameHeader { fin, opcode, mask: None, len: payload.len() as u64 }.encode(&mut header);
    [&header[..len], payload].concat()
}
