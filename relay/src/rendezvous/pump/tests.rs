//! The pump between two simulated sockets, frame by frame.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::time::Duration;

use hybridrelay::env::BoxSocket;
use hybridrelay::env::sim::{self, Sim};
use hybridrelay::ws::{CloseFrame, FrameError, FrameHeader, Mask, OpCode};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::pool;

const SECOND: Duration = Duration::from_secs(1);

/// What the simulated network holds in each direction.
const WINDOW: usize = 64 * 1024;

/// The far end of a leg.
struct Peer(BoxSocket);

/// A frame as a peer gets it.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    fin: bool,
    opcode: OpCode,
    payload: Vec<u8>,
}

impl Peer {
    /// Sends a masked frame.
    async fn send(&mut self, fin: bool, opcode: OpCode, payload: &[u8]) {
        self.write(&masked(fin, opcode, payload)).await;
    }

    async fn text(&mut self, payload: &str) {
        self.send(true, OpCode::Text, payload.as_bytes()).await;
    }

    async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code, reason: reason.to_owned() };
        self.send(true, OpCode::Close, &frame.encode()).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the pump reads");
    }

    /// The next frame, which must be whole and unmasked.
    async fn frame(&mut self) -> Frame {
        self.try_frame().await.expect("the pump writes a frame")
    }

    async fn try_frame(&mut self) -> io::Result<Frame> {
        let mut bytes = Vec::new();
        loop {
            bytes.push(self.0.read_u8().await?);
            if let Some((header, _)) = FrameHeader::parse(&bytes).expect("the pump writes valid frames") {
                assert_eq!(header.mask, None, "a server does not mask");
                let mut payload = vec![0; header.len as usize];
                self.0.read_exact(&mut payload).await?;
                return Ok(Frame { fin: header.fin, opcode: header.opcode, payload });
            }
        }
    }

    async fn expect(&mut self, opcode: OpCode, payload: impl AsRef<[u8]>) {
        assert_eq!(self.frame().await, Frame { fin: true, opcode, payload: payload.as_ref().to_vec() });
    }

    async fn expect_close(&mut self, code: u16) -> String {
        let frame = self.frame().await;
        assert_eq!(frame.opcode, OpCode::Close);
        let close = CloseFrame::parse(&frame.payload).expect("a valid Close").expect("a code");
        assert_eq!(close.code, code, "{}", close.reason);
        close.reason
    }

    /// The stream ends in good order.
    async fn expect_end(&mut self) {
        assert_eq!(self.0.read(&mut [0; 16]).await.expect("no reset"), 0);
    }

    /// The stream is reset, before anything else can be read.
    async fn expect_reset(&mut self) {
        let error = self.0.read(&mut [0; 16]).await.expect_err("a reset and no end of the stream");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    /// Nothing comes for a while.
    async fn expect_silence(&mut self, sim: &Sim) {
        let silence = sim.env("relay").timeout(SECOND, self.0.read_u8()).await;
        assert!(silence.is_none(), "{silence:?}");
    }

    fn abort(mut self) {
        self.0.abort();
    }
}

fn masked(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let key = [0x3A, 0xC5, 0x17, 0xE8];
    let mut header = [0; FrameHeader::MAX_LEN];
    let len = FrameHeader { fin, opcode, mask: Some(key), len: payload.len() as u64 }.encode(&mut header);
    let mut frame = [&header[..len], payload].concat();
    Mask::new(key).apply(&mut frame[len..]);
    frame
}

/// A running pump and the far ends of its legs.
struct Running {
    sender: Peer,
    listener: Peer,
    pump: JoinHandle<Outcome>,
    ending: watch::Sender<Option<Ending>>,
}

async fn start(sim: &Sim) -> Running {
    let relay = sim.env("relay");
    let mut acceptor = relay.bind(([0, 0, 0, 0], 80).into()).await.expect("the port is free");
    let mut ends = Vec::new();
    for host in ["sender", "listener"] {
        let dialled = sim.env(host).dial(acceptor.local_addr()).await.expect("the relay listens");
        let socket = acceptor.accept().await.expect("somebody dialled");
        ends.push((Peer(dialled), Leg { socket, read_buf: Bytes::new() }));
    }
    let (ending, end) = watch::channel(None);
    let mut ends = ends.into_iter();
    let (Some((sender, sender_leg)), Some((listener, listener_leg))) = (ends.next(), ends.next()) else {
        unreachable!("two were made")
    };
    let pump = tokio::spawn(run(relay, sender_leg, listener_leg, PumpConfig::default(), end));
    Running { sender, listener, pump, ending }
}

/// Plays a scenario with a running pump; nothing may be lent out any more when it is over.
fn play(scenario: impl AsyncFnOnce(Sim, Running)) {
    sim::run(1, async |sim| {
        let running = start(&sim).await;
        scenario(sim, running).await;
    });
    assert_eq!(pool::leased::count(), 0, "every buffer came back");
}

async fn ended(pump: JoinHandle<Outcome>) -> Ended {
    pump.await.expect("the pump does not panic").ended
}

mod closing;
mod ending;
mod flow;
mod frames;

/// Most pairs are idle, and there are very many: what one of them rarely needs is boxed.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_pair_takes_little_room() {
    let size = size_of::<super::pair::Pair>();
    assert!(size <= 816, "a pair takes {size} bytes");
}
