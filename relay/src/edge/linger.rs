//! The end of an HTTP/1.1 connection that the relay closes (protocol.md 10, decision 76).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hybridrelay::env::{BoxSocket, Env};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

/// How long the end of what the client sends is waited for, and how much of it is taken until then.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
pub(super) const MOST: usize = 8 << 20;

/// What is read at once.
const PIECE: usize = 8 * 1024;

/// A socket that is closed in stages (RFC 9112 9.6): first the relay's direction ends, then what the client still sends is read and
/// dropped until it has ended, too.
///
/// A system that closes a socket on which something unread lies, or comes, resets the connection, and with it goes an answer that the
/// client has not taken yet: of all answers that to a request whose body was not wanted.
pub(super) struct Lingering {
    io: TokioIo<BoxSocket>,
    env: Env,
    /// Since the relay's direction has ended.
    rest: Option<Rest>,
}

/// What the client may still send.
struct Rest {
    until: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    dropped: usize,
}

impl Lingering {
    pub(super) fn new(env: Env, socket: BoxSocket) -> Self {
        Self { io: TokioIo::new(socket), env, rest: None }
    }
}

/// The socket that a handshake has given free, and the bytes that came behind the request. `None` for one that was not served here.
pub(crate) fn take_socket(upgraded: Upgraded) -> Option<(BoxSocket, Bytes)> {
    let parts = upgraded.downcast::<Lingering>().ok()?;
    Some((parts.io.io.into_inner(), parts.read_buf))
}

impl Rest {
    /// Completes when the client has ended or has had time enough.
    fn poll_end(&mut self, io: &mut TokioIo<BoxSocket>, cx: &mut Context<'_>) -> Poll<()> {
        while self.dropped < MOST && self.until.as_mut().poll(cx).is_pending() {
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut *io).poll_read(cx, piece.unfilled())) {
                Ok(()) if !piece.filled().is_empty() => self.dropped += piece.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl Read for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, env, rest } = self.get_mut();
        let rest = match rest {
            Some(rest) => rest,
            None => {
                ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
                rest.insert(Rest { until: Box::pin(env.sleep(PATIENCE)), dropped: 0 })
            }
        };
        rest.poll_end(io, cx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
