//! A way for a sender of ours to a WebSocket server that is no relay.
//!
//! A sender asks for `/$hc/ENTITY`; servers elsewhere know nothing of the protocol's prefix. The environment is where the network
//! comes in, so it is here that the prefix is left out: the product is used as it is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use hybridrelay::env::{Acceptor, BoxFuture, BoxSocket, Env, Environment, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;

/// Where the prefix stands in what is sent first.
const PREFIX: std::ops::Range<usize> = {
    let start = "GET ".len();
    start..start + "/$hc".len()
};

/// The system's environment, whose sockets send the first request without `/$hc`.
#[derive(Debug, Default)]
pub struct Anywhere(Env);

impl Anywhere {
    /// On the system's network.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Environment for Anywhere {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall_clock(&self) -> SystemTime {
        self.0.wall_clock()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(16) {
            piece.copy_from_slice(&self.0.random::<16>()[..piece.len()]);
        }
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        self.0.sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<()>) -> AbortHandle {
        self.0.spawn(task)
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let (env, host) = (self.0.clone(), host.to_owned());
        Box::pin(async move { env.resolve(&host, port).await })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        let env = self.0.clone();
        Box::pin(async move {
            let socket = env.dial(address).await?;
            Ok(Box::new(WithoutPrefix { socket, at: 0 }) as BoxSocket)
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>> {
        let env = self.0.clone();
        Box::pin(async move { env.bind(address).await })
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
