//! Reading ahead of TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hybridrelay::env::{BoxSocket, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pool::{self, Lease};

/// A socket of which as much is read at once as there is.
///
/// rustls asks for 4 KiB at a time, which would be four or five system calls for each record: here one call brings a record and more.
/// They lie in a buffer that the thread lends, and only what rustls was not asked to take yet keeps it: one buffer for a direction
/// that is stalled, none for an idle one.
pub(super) struct ReadAhead {
    socket: BoxSocket,
    ahead: Option<Ahead>,
}

/// What was read and not taken: `at..end`, never empty.
struct Ahead {
    buffer: Lease,
    at: usize,
    end: usize,
}

impl ReadAhead {
    pub(super) fn new(socket: BoxSocket) -> Self {
        Self { socket, ahead: None }
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut ahead = match this.ahead.take() {
            Some(ahead) => ahead,
            None => {
                let mut buffer = pool::lease_ahead();
                let mut room = ReadBuf::new(&mut buffer);
                ready!(Pin::new(&mut this.socket).poll_read(cx, &mut room))?;
                let end = room.filled().len();
                Ahead { buffer, at: 0, end }
            }
        };
        let len = buf.remaining().min(ahead.end - ahead.at);
        buf.put_slice(&ahead.buffer[ahead.at..ahead.at + len]);
        ahead.at += len;
        if ahead.at < ahead.end {
            this.ahead = Some(ahead);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Socket for ReadAhead {
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

#[cfg(test)]
mod tests {
    use hybridrelay::env::sim;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn what_came_is_handed_out_in_pieces_and_only_the_rest_of_it_keeps_a_buffer() {
        sim::run(1, async |sim| {
            let (near, far) = (sim.env("near"), sim.env("far"));
            let mut acceptor = far.bind(([0, 0, 0, 0], 443).into()).await.expect("a free port");
            let address = near.resolve("far", 443).await.expect("a known host")[0];
            let mut peer = near.dial(address).await.expect("a listening host");
            let mut socket = ReadAhead::new(acceptor.accept().await.expect("a connection"));
            let leased = pool::leased::count();

            let sent: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
            peer.write_all(&sent).await.expect("an open connection");
            let mut got = vec![0; 4096];
            socket.read_exact(&mut got).await.expect("what was sent");
            assert_eq!(pool::leased::count() - leased, 1, "the rest is held");
            got.resize(sent.len(), 0);
            socket.read_exact(&mut got[4096..]).await.expect("what was sent");
            assert_eq!(got, sent);
            assert_eq!(pool::leased::count() - leased, 0, "nothing is held any more");

            let silence = far.timeout(Duration::from_secs(1), socket.read_u8()).await;
            assert!(silence.is_none(), "nothing more was sent");
            assert_eq!(pool::leased::count() - leased, 0, "an idle connection holds nothing");

            drop(peer);
            assert_eq!(socket.read(&mut got).await.expect("the end and no error"), 0);
        });
    }
}
