//! The reading side of a WebSocket link: bytes in, pieces out.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use super::outbound::Outbound;
use super::{Piece, lost};
use crate::env::BoxSocket;
use crate::ws::{CloseFrame, Decoder, Event, FrameError, MessageKind, Role};
use crate::{Error, ErrorKind};

/// How much one read asks for.
const READ_SIZE: usize = 64 * 1024;

/// Pieces wait up to this many bytes (with their bookkeeping); then the socket is not read, and TCP slows the peer down.
const QUEUE_LIMIT: usize = 64 * 1024;

/// What a queued piece costs beside its data.
const PIECE_COST: usize = 64;

/// Pieces up to this size are copied out, so that a short message does not hold a whole read buffer.
const COPY_LIMIT: usize = 2 * 1024;

pub(super) struct Inbound {
    decoder: Decoder,
    input: BytesMut,
    /// The kind of the message in progress.
    kind: MessageKind,
    pieces: VecDeque<Piece>,
    queued: usize,
    closed: Option<Option<CloseFrame>>,
    /// A rule that the peer broke behind the pieces that wait.
    broken: Option<FrameError>,
    received: u64,
    delivered: u64,
    confirmed: u64,
}

/// Why reading cannot go on.
pub(super) enum Broken {
    Io(Error),
    Frame(FrameError),
}

impl Inbound {
    pub(super) fn new(read_buf: Bytes) -> Self {
        Self {
            decoder: Decoder::new(Role::Client),
            input: BytesMut::from(&read_buf[..]),
            kind: MessageKind::Binary,
            pieces: VecDeque::new(),
            queued: 0,
            closed: None,
            broken: None,
            received: 0,
            delivered: 0,
            confirmed: 0,
        }
    }

    pub(super) fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.queued -= piece.data.len() + PIECE_COST;
        Some(piece)
    }

    pub(super) fn closed(&self) -> Option<&Option<CloseFrame>> {
        self.closed.as_ref()
    }

    /// All bytes that came: each is life.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// A number that grows with every piece of a message that came: what a program would call progress.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The highest claim of a ping that the peer has answered.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    pub(super) fn has_room(&self) -> bool {
        self.queued < QUEUE_LIMIT
    }

    /// Gives an idle link's buffers back.
    pub(super) fn release_memory(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.pieces.is_empty() {
            self.pieces = VecDeque::new();
        }
    }

    /// Reads until at least one piece is queued or the peer has closed; pongs to send go to `outbound`.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut BoxSocket,
        outbound: &mut Outbound,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let before = self.pieces.len();
            self.decode(outbound);
            if let Some(error) = self.broken
                && self.pieces.is_empty()
            {
                return Poll::Ready(Err(Broken::Frame(error)));
            }
            if self.pieces.len() > before || self.broken.is_some() || self.closed.is_some() || !self.has_room() {
                return Poll::Ready(Ok(()));
            }
            if self.input.capacity() - self.input.len() < READ_SIZE / 4 {
                self.input.reserve(READ_SIZE);
            }
            match ready!(pin!(socket.read_buf(&mut self.input)).poll(cx)) {
                Ok(0) => {
                    // End of file without a Close frame is an abort (protocol.md 6.3).
                    let error =
                        Error::new(ErrorKind::ConnectionLost, "the peer ended the connection without closing it");
                    return Poll::Ready(Err(Broken::Io(error)));
                }
                Ok(n) => self.received += n as u64,
                Err(error) => return Poll::Ready(Err(Broken::Io(lost("the connection broke while receiving", error)))),
            }
        }
    }

    /// Reads and discards until the end of the transport.
    pub(super) fn poll_eof(&mut self, cx: &mut Context<'_>, socket: &mut BoxSocket) -> Poll<()> {
        loop {
            self.input.clear();
            self.input.reserve(1024);
            match ready!(pin!(socket.read_buf(&mut self.input)).poll(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    /// Decodes what is in `input`, as far as there is room for pieces and no rule is broken.
    fn decode(&mut self, outbound: &mut Outbound) {
        if self.broken.is_none() {
            self.broken = self.try_decode(outbound).err();
        }
    }

    fn try_decode(&mut self, outbound: &mut Outbound) -> Result<(), FrameError> {
        while self.closed.is_none() && self.has_room() && !self.input.is_empty() {
            let decoded = self.decoder.decode(&self.input)?;
            let Some(event) = decoded.event else {
                self.input.advance(decoded.consumed);
                return Ok(());
            };
            match event {
                Event::Payload { range, frame_remaining, fin, .. } => {
                    let mut data = self.input.split_to(decoded.consumed);
                    data.advance(range.start);
                    data.truncate(range.len());
                    let data = if data.len() <= COPY_LIMIT { Bytes::copy_from_slice(&data) } else { data.freeze() };
                    self.queue(Piece { kind: self.kind, data, end: fin && frame_remaining == 0 });
                    continue;
                }
                Event::Frame { kind, fin, len, .. } => {
                    self.kind = kind;
                    // An empty frame has no payload event; it matters only where it ends a message.
                    if len == 0 && fin {
                        self.queue(Piece { kind, data: Bytes::new(), end: true });
                    }
                }
                Event::Ping(payload) => outbound.pong(payload),
                Event::Pong(payload) => {
                    if let Ok(claim) = payload.as_ref().try_into() {
                        self.confirmed = self.confirmed.max(u64::from_be_bytes(claim));
                    }
                }
                Event::Close(payload) => self.closed = Some(CloseFrame::parse(payload.as_ref())?),
            }
            self.input.advance(decoded.consumed);
        }
        Ok(())
    }

    fn queue(&mut self, piece: Piece) {
        self.queued += piece.data.len() + PIECE_COST;
        self.delivered += 1;
        self.pieces.push_back(piece);
    }
}
