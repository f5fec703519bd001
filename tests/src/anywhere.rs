//! A way for a sender of ours to a WebSocket server that is no relay.
//!
//! A sender asks for `/$hc/ENTITY`; servers elsewhere know nothing of the protocol's prefix. The environment is where the network
//! comes in, so it is here that the prefix is left out: the product is used as it is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hybridrelay::env::{BoxFuture, BoxSocket, Env, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::detour::{self, Way};

/// Where the prefix stands in what is sent first.
const PREFIX: std::ops::Range<usize> = {
    let start = "GET ".len();
    start..start + "/$hc".len()
};

/// The system's environment, whose sockets send the first request without `/$hc`.
pub fn anywhere() -> Env {
    detour::by(Anywhere(Env::default()))
}

struct Anywhere(Env);

impl Way for Anywhere {
    fn ordinary(&self) -> &Env {
        &self.0
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        let env = self.0.clone();
        Box::pin(async move {
            let socket = env.dial(address).await?;
            Ok(Box::new(WithoutPrefix { socket, at: 0 }) as BoxSocket)
        })
    }
}

struct WithoutPrefix {
    socket: BoxSocket,
    /// How much the program has sent, as far as that matters.
    at: usize,
}

impl Socket for WithoutPrefix {
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

impl AsyncRead for WithoutPrefix {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for WithoutPrefix {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.at >= PREFIX.end {
            return Pin::new(&mut self.socket).poll_write(cx, buf);
        }
        let taken = if self.at < PREFIX.start {
            let until = buf.len().min(PREFIX.start - self.at);
            ready!(Pin::new(&mut self.socket).poll_write(cx, &buf[..until]))?
        } else {
            buf.len().min(PREFIX.end - self.at)
        };
        self.at += taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
