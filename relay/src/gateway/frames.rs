//! The WebSocket at the rendezvous of one request, frame by frame: a body passes as it comes, whatever its size.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use hybridrelay::env::{BoxSocket, Env};
use hybridrelay::ws::{
    ControlPayload, Decoder, Event, FrameError, FrameHeader, MessageKind, OpCode, Role, control_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;

use crate::node::lock;

/// How much is read at once: little from a listener that says little, since the room is there while nothing comes, and more as long as
/// reads fill it.
const READ: std::ops::RangeInclusive<usize> = 8 * 1024..=64 * 1024;

/// Up to this size a payload leaves in one piece with its header.
const SMALL: usize = 4 * 1024;

/// What a listener says.
#[derive(Debug)]
pub(super) enum Piece {
    /// A part of a message. It may be empty where the message is, or ends so.
    Data {
        kind: MessageKind,
        bytes: Bytes,
        ends: bool,
    },
    Ping(ControlPayload),
    /// Nothing came for a while.
    Silent,
    Close(Option<u16>),
    /// The transport ended without a Close, or there was no sign of life.
    Gone,
    Broken(FrameError),
}

/// How long a silent listener is taken for alive (protocol.md 10, decision 19).
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) ping_after: Duration,
    pub(super) dead_after: Duration,
}

pub(super) struct Reader {
    env: Env,
    io: ReadHalf<BoxSocket>,
    decoder: Decoder,
    input: BytesMut,
    /// How much the next read may bring.
    room: usize,
    /// Of the frame that has begun.
    kind: MessageKind,
    patience: Patience,
    quiet_since: Instant,
    pinged: bool,
    /// The last piece was given away: the time that its taker needed is no silence of the listener.
    resumes: bool,
    /// A Close has come: nothing more is said.
    closed: bool,
}

impl Reader {
    pub(super) fn new(env: Env, io: ReadHalf<BoxSocket>, read_buf: &[u8], patience: Patience) -> Self {
        Self {
            quiet_since: env.now(),
            env,
            io,
            decoder: Decoder::new(Role::Server),
            input: BytesMut::from(read_buf),
            room: *READ.start(),
            kind: MessageKind::Binary,
            patience,
            pinged: false,
            resumes: false,
            closed: false,
        }
    }

    /// What comes next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Piece {
        if std::mem::take(&mut self.resumes) {
            self.heard();
        }
        loop {
            match self.decode() {
                Ok(None) => {}
                Ok(Some(piece)) => {
                    self.resumes = true;
                    return piece;
                }
                Err(error) => return Piece::Broken(error),
            }
            let wait = if self.pinged { self.patience.dead_after } else { self.patience.ping_after };
            self.input.reserve(self.room);
            tokio::select! {
                biased;
                read = self.io.read_buf(&mut self.input) => match read {
                    Ok(read @ 1..) => {
                        // The buffer may have more room than was asked for.
                        let room = if read >= self.room { self.room * 2 } else { read.next_power_of_two() };
                        self.room = room.clamp(*READ.start(), *READ.end());
                        self.heard();
                    }
                    Ok(0) | Err(_) => return Piece::Gone,
                },
                () = self.env.sleep_until(self.quiet_since + wait) => {
                    if std::mem::replace(&mut self.pinged, true) {
                        return Piece::Gone;
                    }
                    // Asked late, as by a relay that slept, the listener has as long for its answer as ever.
                    self.quiet_since += self.env.now().saturating_duration_since(self.quiet_since + wait);
                    return Piece::Silent;
                }
            }
        }
    }

    fn heard(&mut self) {
        self.quiet_since = self.env.now();
        self.pinged = false;
    }

    fn decode(&mut self) -> Result<Option<Piece>, FrameError> {
        loop {
            let decoded = self.decoder.decode(&self.input)?;
            let mut taken = self.input.split_to(decoded.consumed);
            return Ok(Some(match decoded.event {
                None => return Ok(None),
                Some(Event::Frame { kind, len, fin, .. }) => {
                    self.kind = kind;
                    // Its payload follows, if it has one; an empty frame counts only as the end of its message.
                    if len > 0 || !fin {
                        continue;
                    }
                    Piece::Data { kind, bytes: Bytes::new(), ends: true }
                }
                Some(Event::Payload { range, mask, frame_remaining, fin }) => {
                    if let Some(mut mask) = mask {
                        mask.apply(&mut taken[range.clone()]);
                    }
                    let bytes = taken.freeze().slice(range);
                    Piece::Data { kind: self.kind, bytes, ends: fin && frame_remaining == 0 }
                }
                Some(Event::Ping(payload)) => Piece::Ping(payload),
                Some(Event::Pong(_)) => continue,
                Some(Event::Close(payload)) => {
                    self.closed = true;
                    Piece::Close(payload.close_code()?)
                }
            }));
        }
    }

    /// Reads up to the listener's Close, if it has not come yet, or the end of its bytes, and drops what comes.
    pub(super) async fn drain(&mut self) {
        while !self.closed && !matches!(self.next().await, Piece::Gone | Piece::Broken(_)) {}
    }

    /// The socket again.
    pub(super) fn unsplit(self, writer: Writer) -> BoxSocket {
        self.io.unsplit(writer.io)
    }
}

/// Writes frames. Whoever stops waiting leaves the rest of a frame to the next write.
pub(super) struct Writer {
    io: WriteHalf<BoxSocket>,
    unwritten: VecDeque<Bytes>,
}

impl Writer {
    pub(super) fn new(io: WriteHalf<BoxSocket>) -> Self {
        Self { io, unwritten: VecDeque::new() }
    }

    pub(super) async fn frame(&mut self, opcode: OpCode, fin: bool, payload: Bytes) -> io::Result<()> {
        let mut header = [0; FrameHeader::MAX_LEN];
        let len = FrameHeader { fin, opcode, mask: None, len: payload.len() as u64 }.encode(&mut header);
        let mut front = BytesMut::with_capacity(len + if payload.len() <= SMALL { payload.len() } else { 0 });
        front.put_slice(&header[..len]);
        if payload.len() <= SMALL {
            front.put_slice(&payload);
            self.unwritten.push_back(front.freeze());
        } else {
            self.unwritten.extend([front.freeze(), payload]);
        }
        self.flush().await
    }

    pub(super) async fn control(&mut self, opcode: OpCode, payload: &ControlPayload) -> io::Result<()> {
        let frame = control_frame(opcode, payload, None);
        self.unwritten.push_back(Bytes::copy_from_slice(frame.as_ref()));
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        while let Some(front) = self.unwritten.front_mut() {
            if front.is_empty() {
                self.unwritten.pop_front();
            } else if self.io.write_buf(front).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.io.flush().await
    }

    pub(super) async fn shutdown(&mut self) {
        // The other side may have gone.
        let _ = self.io.shutdown().await;
    }
}

/// Ping and Pong on their way to whoever writes next: the newest of each.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<(Option<ControlPayload>, bool)>,
    filled: Notify,
}

impl Outbox {
    pub(super) fn pong(&self, payload: ControlPayload) {
        lock(&self.waiting).0 = Some(payload);
        self.filled.notify_one();
    }

    pub(super) fn ping(&self) {
        lock(&self.waiting).1 = true;
        self.filled.notify_one();
    }

    /// Writes what is put in, between the frames of others, until that fails.
    pub(super) async fn serve(&self, writer: &tokio::sync::Mutex<Writer>) {
        loop {
            self.filled.notified().await;
            let mut writer = writer.lock().await;
            let (pong, ping) = std::mem::take(&mut *lock(&self.waiting));
            let frames = [(pong, OpCode::Pong), (ping.then_some(ControlPayload::EMPTY), OpCode::Ping)];
            for (payload, opcode) in frames.into_iter().filter_map(|(payload, opcode)| Some((payload?, opcode))) {
                if writer.control(opcode, &payload).await.is_err() {
                    return;
                }
            }
        }
    }
}
