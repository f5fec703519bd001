//! The real environment. The only place that may name the system's clock, randomness, tasks and network.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::{Acceptor, BoxFuture, BoxSocket, Environment, Socket};

#[cfg(any(target_os = "linux", target_os = "android"))]
use {std::task::ready, tokio::io::Interest};

#[cfg(unix)]
mod unix;

pub(super) struct System;

impl Environment for System {
    fn now(&self) -> Instant {
        // tokio's clock and not the system's, so that a paused test clock moves both timers and readings.
        tokio::time::Instant::now().into_std()
    }

    fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system provides randomness");
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }

    fn spawn(&self, task: BoxFuture<()>) -> AbortHandle {
        tokio::spawn(task).abort_handle()
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        Box::pin(async move { TcpSocket::boxed(TcpStream::connect(address).await?, address) })
    }

    #[cfg(unix)]
    fn dial_unix(&self, path: &std::path::Path) -> BoxFuture<io::Result<BoxSocket>> {
        let path = path.to_owned();
        Box::pin(async move { Ok(unix::UnixSocket::boxed(tokio::net::UnixStream::connect(path).await?)) })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let local = listener.local_addr()?;
            Ok(Box::new(TcpAcceptor { listener, local }) as Box<dyn Acceptor>)
        })
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

struct TcpAcceptor {
    listener: TcpListener,
    local: SocketAddr,
}

impl Acceptor for TcpAcceptor {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn accept(&mut self) -> Pin<Box<dyn Future<Output = io::Result<BoxSocket>> + Send + '_>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            TcpSocket::boxed(stream, peer)
        })
    }
}

struct TcpSocket {
    stream: TcpStream,
    peer: SocketAddr,
}

impl TcpSocket {
    fn boxed(stream: TcpStream, peer: SocketAddr) -> io::Result<BoxSocket> {
        // Relayed bytes leave when they come: no Nagle delay. TCP's own keep-alive notices a peer that vanished while
        // neither side has anything to say, also where WebSocket pings must not judge: after 150 s (protocol.md 10, decision 19).
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(6);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Box::new(Self { stream, peer }))
    }
}

impl Socket for TcpSocket {
    fn abort(&mut self) {
        // A zero linger turns the close into RST. Failure leaves an ordinary close, the best that is left.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn set_user_timeout(&mut self, limit: Duration) {
        // Failure leaves the system's retransmission limit, a quarter of an hour.
        let _ = SockRef::from(&self.stream).set_tcp_user_timeout(Some(limit));
    }
}

impl AsyncRead for TcpSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    /// As the standard library does for a single buffer: a peer that has gone is an error and raises no SIGPIPE, which would end a
    /// host program whose threads poll this.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = SockRef::from(&self.stream);
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let send = || socket.send_vectored_with_flags(bufs, libc::MSG_NOSIGNAL);
            match self.stream.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    /// Elsewhere the socket itself raises none.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::env::Env;

    /// Two ends of one TCP connection over loopback.
    async fn pair() -> (BoxSocket, BoxSocket) {
        let env = Env::system();
        let mut acceptor = env.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let dialled = env.dial(acceptor.local_addr()).await.unwrap();
        (dialled, acceptor.accept().await.unwrap())
    }

    /// Writes until the socket breaks; counts what it took.
    async fn write_until_broken(socket: &mut BoxSocket, taken: &mut u64) -> io::Error {
        let chunk = vec![7; 64 << 10];
        loop {
            match socket.write(&chunk).await {
                Ok(count) => *taken += count as u64,
                Err(error) => return error,
            }
        }
    }

    /// Linux counts a closed window against the user timeout even while the peer acknowledges every probe: hence only sockets on
    /// which nothing may stall have one.
    #[tokio::test]
    async fn a_peer_that_does_not_read_is_cut_only_where_a_user_timeout_is_set() {
        let (mut patient, mut reader) = pair().await;
        let mut taken = 0;
        // The patient one stalls for the whole time, so for at least twice the limit.
        for _ in 0..2 {
            let (mut limited, _silent) = pair().await;
            limited.set_user_timeout(Duration::from_secs(1));
            let mut ignored = 0;
            let broken = tokio::select! {
                broken = write_until_broken(&mut limited, &mut ignored) => broken,
                broken = write_until_broken(&mut patient, &mut taken) => panic!("the patient socket broke: {broken}"),
                () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the user timeout does not work"),
            };
            assert_eq!(broken.kind(), io::ErrorKind::TimedOut);
        }
        let received = tokio::spawn(async move {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.map(|_| all.len() as u64)
        });
        drop(patient);
        assert_eq!(received.await.unwrap().unwrap(), taken);
    }
}
