//! What a [`Connection`](crate::Connection) sits on: something that carries pieces of messages both ways.
//!
//! A relayed WebSocket is the first link; browsers, encrypted, resumable or multiplexed streams are others. Every method takes
//! `&self` and never blocks, so that the two halves of a connection work independently; one task reads and one task writes at
//! a time, which the connection sees to.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::Result;
use crate::ws::{CloseFrame, MessageKind};

mod fan;
mod websocket;

pub(crate) use websocket::{WebSocketLink, WebSocketSettings};

/// A part of a message, as it came: message boundaries are kept, pieces are not.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: MessageKind,
    pub(crate) data: Bytes,
    /// Whether the message ends here. An empty message is one empty piece that ends.
    pub(crate) end: bool,
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({:?}, {} bytes, end: {})", self.kind, self.data.len(), self.end)
    }
}

/// A bidirectional carrier of messages with half-close. Dropping the last handle is [`release`](Link::release).
pub(crate) trait Link: Send + Sync + fmt::Debug + 'static {
    /// The next piece; `None` once the peer has closed its direction. An abort is an error, never `None`.
    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>>>;

    /// Ready when [`start_write`](Link::start_write) and [`start_close`](Link::start_close) may be called.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Takes over a piece whole. It leaves in the background even if nobody flushes.
    fn start_write(&self, piece: Piece) -> Result<()>;

    /// Ready when everything taken over has been handed to the transport.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Closes our direction behind what was taken over; the peer's goes on. A second close is without effect.
    fn start_close(&self, frame: Option<CloseFrame>) -> Result<()>;

    /// The peer's close: `None` while it has not closed, `Some(None)` if it gave no code.
    fn peer_close(&self) -> Option<Option<CloseFrame>>;

    /// Breaks the link because the peer broke a rule: it is told `close`, both halves fail with `error` from now on.
    fn fail(&self, error: crate::Error, close: CloseFrame);

    /// Ends both directions at once; unsent data is discarded and the peer sees an error.
    fn abort(&self);

    /// A number that grows with everything that moves either way for the program: pieces of messages, not pings.
    fn progress(&self) -> u64;

    /// The program has let go of the link: an abort if its direction was never closed, else what was taken over still leaves.
    fn release(&self);
}
