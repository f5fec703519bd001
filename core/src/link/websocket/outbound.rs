//! The writing side of a WebSocket link: pieces in, masked frames out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::Piece;
use crate::env::{BoxSocket, Env};
use crate::mask_keys::MaskKeys;
use crate::output::take_written;
use crate::ws::{self, CloseFrame, ControlPayload, FrameHeader, Mask, MessageKind, OpCode, Unanswered};

/// New pieces are taken while fewer bytes than this wait.
const HIGH_WATER: usize = 64 * 1024;

/// Pieces up to this size are copied into the output buffer, so that several leave in one write; longer ones are masked in
/// place if their buffer is ours alone.
const COPY_LIMIT: usize = 16 * 1024;

pub(super) struct Outbound {
    /// Encoded bytes: whole frames, or the header of the frame whose payload is `body`.
    output: BytesMut,
    /// The payload that follows `output`.
    body: Body,
    /// A message was begun and not ended, so the next data frame is a continuation.
    in_message: bool,
    /// Pings of the peer.
    pings: Unanswered,
    /// The claim of a ping that was not sent yet.
    ping: Option<u64>,
    closed: bool,
    /// Our Close, while it waits for a frame border.
    pending_close: Option<Option<CloseFrame>>,
    /// The socket was written to since its last flush.
    unflushed: bool,
    written: u64,
    /// How much of what waits is messages and not control frames, about.
    waiting: u64,
    sent: u64,
    masks: MaskKeys,
}

enum Body {
    None,
    /// Masked already.
    Owned(BytesMut),
    /// Shared with the caller: masked a slice at a time while it is copied to `output`.
    Shared(Bytes, Mask),
}

impl Outbound {
    pub(super) fn new(env: Env) -> Self {
        Self {
            output: BytesMut::new(),
            body: Body::None,
            in_message: false,
            pings: Unanswered::default(),
            ping: None,
            closed: false,
            pending_close: None,
            unflushed: false,
            written: 0,
            waiting: 0,
            sent: 0,
            masks: MaskKeys::new(env),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        matches!(self.body, Body::None) && self.output.len() < HIGH_WATER
    }

    pub(super) fn is_flushed(&self) -> bool {
        !self.unflushed
            && matches!(self.body, Body::None)
            && self.output.is_empty()
            && self.pings.is_empty()
            && self.ping.is_none()
            && self.pending_close.is_none()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// All bytes that the socket took.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Those of them that were messages: what a program would call progress.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Gives an idle link's buffer back.
    pub(super) fn release_memory(&mut self) {
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
    }

    /// Takes over one frame's worth of a message. Only while [`has_room`](Self::has_room).
    pub(super) fn push(&mut self, piece: Piece) {
        // An answer goes ahead of what was said after its ping came.
        self.queue_pongs();
        let opcode = match (self.in_message, piece.kind) {
            (true, _) => OpCode::Continuation,
            (false, MessageKind::Text) => OpCode::Text,
            (false, MessageKind::Binary) => OpCode::Binary,
        };
        self.in_message = !piece.end;
        let key = self.masks.next();
        let header = FrameHeader { fin: piece.end, opcode, mask: Some(key), len: piece.data.len() as u64 };
        let mut bytes = [0; FrameHeader::MAX_LEN];
        let header_len = header.encode(&mut bytes);
        self.output.extend_from_slice(&bytes[..header_len]);
        self.waiting += (header_len + piece.data.len()) as u64;

        let mut mask = Mask::new(key);
        if piece.data.len() <= COPY_LIMIT {
            append_masked(&mut self.output, &piece.data, &mut mask);
            return;
        }
        self.body = match piece.data.try_into_mut() {
            Ok(mut owned) => {
                mask.apply(&mut owned);
                Body::Owned(owned)
            }
            Err(shared) => Body::Shared(shared, mask),
        };
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, ping: ControlPayload) {
        self.pings.push(ping);
    }

    /// Queues a ping that carries a claim.
    pub(super) fn ping(&mut self, claim: u64) {
        self.ping = Some(claim);
    }

    /// Queues our Close behind everything taken over. Nothing else is taken afterwards.
    pub(super) fn close(&mut self, frame: Option<CloseFrame>) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.pending_close = Some(frame);
    }

    /// Writes and flushes everything queued.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, socket: &mut BoxSocket) -> Poll<io::Result<()>> {
        while self.refill() {
            let written = match &self.body {
                Body::Owned(body) if socket.is_write_vectored() && !self.output.is_empty() => {
                    let slices = [IoSlice::new(&self.output), IoSlice::new(body)];
                    ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &slices))?
                }
                Body::Owned(body) if self.output.is_empty() => ready!(Pin::new(&mut *socket).poll_write(cx, body))?,
                _ => ready!(Pin::new(&mut *socket).poll_write(cx, &self.output))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        if self.unflushed {
            ready!(Pin::new(socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Makes the next bytes to write available; false when there are none.
    fn refill(&mut self) -> bool {
        if let Body::Shared(rest, mask) = &mut self.body
            && self.output.len() < HIGH_WATER / 2
        {
            let slice = rest.split_to(rest.len().min(HIGH_WATER));
            append_masked(&mut self.output, &slice, mask);
            if rest.is_empty() {
                self.body = Body::None;
            }
        }
        if matches!(self.body, Body::None) {
            self.queue_control();
        }
        !self.output.is_empty() || matches!(self.body, Body::Owned(_))
    }

    /// Control frames join at a frame border: `output` holds whole frames and no payload follows it.
    fn queue_control(&mut self) {
        self.queue_pongs();
        if let Some(claim) = self.ping.take() {
            // Eight bytes always fit.
            let payload = ControlPayload::new(&claim.to_be_bytes()).unwrap_or_default();
            self.push_control(OpCode::Ping, &payload);
        }
        if let Some(frame) = self.pending_close.take() {
            self.push_control(OpCode::Close, &frame.map_or(ControlPayload::EMPTY, |frame| frame.encode()));
        }
    }

    /// While there is room: a peer that does not take the answers gets fewer of them.
    fn queue_pongs(&mut self) {
        while self.output.len() < HIGH_WATER
            && let Some(ping) = self.pings.pop()
        {
            self.push_control(OpCode::Pong, &ping);
        }
    }

    fn push_control(&mut self, opcode: OpCode, payload: &ControlPayload) {
        let key = self.masks.next();
        self.output.extend_from_slice(ws::control_frame(opcode, payload, Some(key)).as_ref());
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        // A control frame that leaves ahead of a message counts in its place, once.
        let sent = self.waiting.min(written as u64);
        self.waiting -= sent;
        self.sent += sent;
        self.unflushed = true;
        let from_output = written.min(self.output.len());
        take_written(&mut self.output, from_output);
        if let Body::Owned(body) = &mut self.body {
            body.advance(written - from_output);
            if body.is_empty() {
                self.body = Body::None;
            }
        }
    }
}

fn append_masked(output: &mut BytesMut, data: &[u8], mask: &mut Mask) {
    let start = output.len();
    output.extend_from_slice(data);
    mask.apply(&mut output[start..]);
}
