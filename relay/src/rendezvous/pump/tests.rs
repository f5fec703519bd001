//! What a pair holds while nothing moves. How it carries frames and ends is tested on real sockets, outside.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hybridrelay::env::{Env, Socket};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::watch;

use super::pool::leased;
use super::{Leg, PumpConfig, run};

/// A pipe in memory with little room: what is not read soon stops the writer.
struct Pipe(DuplexStream);

const ROOM: usize = 1024;

const LONG: usize = 2 * ROOM + ROOM / 2;

#[tokio::test]
async fn a_pair_holds_a_buffer_only_while_one_side_does_not_take_what_came() {
    let (mut sender, sender_leg) = leg();
    let (mut listener, listener_leg) = leg();
    let (_end, ending) = watch::channel(None);
    let env = Env::system();
    let pair = env.spawn({
        let env = env.clone();
        async move { _ = run(&env, sender_leg, listener_leg, &PumpConfig::default(), ending).await }
    });

    let scenario = async {
        sender.write_all(&masked(100)).await.unwrap();
        listener.read_exact(&mut [0; 2 + 100]).await.unwrap();
        assert_eq!(leased::count(), 0, "an idle pair holds buffers");

        // More than both pipes hold: when the sender is through with it, the pair has what the listener does not take.
        sender.write_all(&masked(LONG)).await.unwrap();
        assert_eq!(leased::count(), 1);
        let mut frame = vec![0; 4 + LONG];
        listener.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[..4], [0x82, 126, (LONG >> 8) as u8, LONG as u8]);
        assert_eq!(leased::count(), 0, "the buffer was not given back");
    };
    env.timeout(Duration::from_secs(30), scenario).await.expect("the pair stands still");
    pair.abort();
}

/// The far end of a leg, and the leg.
fn leg() -> (DuplexStream, Leg) {
    let (far, near) = io::duplex(ROOM);
    (far, Leg { socket: Box::new(Pipe(near)), read_buf: Bytes::new() })
}

/// A binary frame of zeros, masked with zeros.
fn masked(length: usize) -> Vec<u8> {
    let mut frame = match length {
        0..=125 => vec![0x82, 0x80 | length as u8],
        _ => vec![0x82, 0x80 | 126, (length >> 8) as u8, length as u8],
    };
    frame.resize(frame.len() + 4 + length, 0);
    frame
}

impl Socket for Pipe {
    fn abort(&mut self) {}

    fn peer_addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 1).into()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
