//! A socket that knows when it last heard from its peer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{BoxSocket, Env, Socket};

/// Wraps a socket and remembers when the last byte came: any received byte is life, not only a whole message (protocol.md 10,
/// decision 19).
pub struct Metered {
    socket: BoxSocket,
    env: Env,
    last_received: Instant,
}

impl Metered {
    /// Counts from now.
    pub fn new(env: &Env, socket: BoxSocket) -> Self {
        Self { socket, env: env.clone(), last_received: env.now() }
    }

    /// When the last byte came, or when the wrapper was made.
    pub fn last_received(&self) -> Instant {
        self.last_received
    }
}

impl Socket for Metered {
    fn abort(&mut self) {
        self.socket.abort();
    }

    fn peer_addr(&self) -> SocketAddr {
        self.socket.peer_addr()
    }

    fn set_user_timeout(&mut self, limit: Duration) {
        self.socket.set_user_timeout(limit);
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.last_received = self.env.now();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
