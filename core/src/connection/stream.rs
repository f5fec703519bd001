//! A connection as bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Connection;
use crate::link::Piece;
use crate::ws::{CloseFrame, MessageKind};
use crate::{Error, ErrorKind};

/// How much one write takes over at once.
const WRITE_SIZE: usize = 64 * 1024;

/// A [`Connection`] as a byte stream: [`AsyncRead`] and [`AsyncWrite`], usable with [`tokio::io::copy_bidirectional`] and
/// [`tokio::io::split`].
///
/// Reading ends (0 bytes) when the peer has closed its direction; an abort is an error. `shutdown` closes ours. Written bytes
/// leave even without a flush. Dropping the stream before `shutdown` aborts the connection, after it what was written still
/// reaches the peer.
#[derive(Debug)]
pub struct ByteStream {
    connection: Connection,
    current: Bytes,
}

impl ByteStream {
    pub(super) fn new(connection: Connection, begun: Bytes) -> Self {
        Self { connection, current: begun }
    }

    /// The connection below: its sub-protocol, tracking id and the peer's close, or to abort it.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.connection.0.link.poll_read(cx)).map_err(to_io)? {
                Some(piece) => self.current = piece.data,
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = self.current.len().min(buf.remaining());
        buf.put_slice(&self.current[..len]);
        self.current.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let link = &self.connection.0.link;
        ready!(link.poll_ready(cx)).map_err(to_io)?;
        let taken = &buf[..buf.len().min(WRITE_SIZE)];
        if !taken.is_empty() {
            let piece = Piece { kind: MessageKind::Binary, data: Bytes::copy_from_slice(taken), end: true };
            link.start_write(piece).map_err(to_io)?;
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.0.link.poll_flush(cx).map_err(to_io)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = &self.connection.0.link;
        ready!(link.poll_ready(cx)).map_err(to_io)?;
        link.start_close(Some(CloseFrame { code: 1000, reason: String::new() })).map_err(to_io)?;
        link.poll_flush(cx).map_err(to_io)
    }
}

fn to_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::ConnectionLost => io::ErrorKind::ConnectionReset,
        ErrorKind::Closed => io::ErrorKind::BrokenPipe,
        ErrorKind::Timeout => io::ErrorKind::TimedOut,
        ErrorKind::Protocol => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
