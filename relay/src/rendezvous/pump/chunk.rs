//! What waits to be written to a side.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hybridrelay::env::BoxSocket;
use hybridrelay::ws::FrameHeader;
use tokio::io::AsyncWrite;

use super::rewrite::Rewritten;
use crate::pool::Lease;

/// How many frames one system call writes at most.
const SLICES: usize = 64;

/// Frames that are not all written.
pub(super) enum Chunk {
    /// What one other side said, rewritten, of which `at..end` is unwritten.
    Own {
        buffer: Lease,
        at: usize,
        end: usize,
        /// A frame border; moved on to the first one at or behind `at` when somebody asks.
        border: usize,
    },
    /// Whole frames that others are sent as well: those from `first` on, of which this much of the first is written.
    Shared { frames: Vec<Bytes>, first: usize, written: usize },
}

impl Chunk {
    pub(super) fn of_one(buffer: Lease, rewritten: &Rewritten) -> Self {
        let output = rewritten.output.clone();
        Self::Own { buffer, at: output.start, end: output.end, border: rewritten.border }
    }

    pub(super) fn of_many(frames: Vec<Bytes>) -> Self {
        Self::Shared { frames, first: 0, written: 0 }
    }

    pub(super) fn is_written(&self) -> bool {
        match self {
            Self::Own { at, end, .. } => at == end,
            Self::Shared { frames, first, .. } => *first == frames.len(),
        }
    }

    /// Whether no frame is half written.
    pub(super) fn is_at_border(&mut self) -> bool {
        match self {
            Self::Own { buffer, at, end, border } => next_border(buffer, *at, *end, border) == *at,
            Self::Shared { written, .. } => *written == 0,
        }
    }

    /// Drops what stands behind the next frame border; false if no border is in reach.
    pub(super) fn end_at_border(&mut self) -> bool {
        match self {
            Self::Own { buffer, at, end, border } => {
                let border = next_border(buffer, *at, *end, border);
                let in_reach = border <= *end;
                *end = border.min(*end);
                in_reach
            }
            Self::Shared { frames, first, written } => {
                frames.truncate(*first + usize::from(*written > 0));
                true
            }
        }
    }

    /// Writes as much as the socket takes at once, or only up to the next frame border.
    pub(super) fn poll_write(
        &mut self,
        socket: &mut BoxSocket,
        cx: &mut Context<'_>,
        to_border: bool,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Own { buffer, at, end, border } => {
                let end = if to_border { next_border(buffer, *at, *end, border).min(*end) } else { *end };
                *at += ready!(write_some(socket, cx, &buffer[*at..end]))?;
            }
            Self::Shared { frames, first, written } => {
                let count = if to_border { 1 } else { SLICES };
                let mut taken = ready!(write_slices(socket, cx, &frames[*first..], *written, count))? + *written;
                while let Some(frame) = frames.get_mut(*first)
                    && taken >= frame.len()
                {
                    taken -= frame.len();
                    // Others may have written it long ago: what is written here is not kept for those that follow.
                    *frame = Bytes::new();
                    *first += 1;
                }
                *written = taken;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The first frame border at or behind the next byte to write. It lies behind `end` if the last frame is open.
fn next_border(buffer: &Lease, at: usize, end: usize, border: &mut usize) -> usize {
    while *border < at {
        let Ok(Some((header, len))) = FrameHeader::parse(&buffer[*border..end]) else {
            unreachable!("the rewriter writes whole headers, and a border before the end is followed by one");
        };
        *border += len + header.len as usize;
    }
    *border
}

/// One write of at least a byte.
pub(super) fn write_some(socket: &mut BoxSocket, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    written(ready!(Pin::new(socket).poll_write(cx, bytes))?)
}

/// One write of at least a byte of at most so many frames, the first of which is written so far.
fn write_slices(
    socket: &mut BoxSocket,
    cx: &mut Context<'_>,
    frames: &[Bytes],
    done: usize,
    count: usize,
) -> Poll<io::Result<usize>> {
    let Some((first, rest)) = frames.split_first() else { return Poll::Ready(Ok(0)) };
    if rest.is_empty() || count == 1 {
        return write_some(socket, cx, &first[done..]);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    slices[0] = IoSlice::new(&first[done..]);
    let count = frames.len().min(count);
    for (slice, frame) in slices[1..count].iter_mut().zip(rest) {
        *slice = IoSlice::new(frame);
    }
    written(ready!(Pin::new(socket).poll_write_vectored(cx, &slices[..count]))?)
}

fn written(bytes: usize) -> Poll<io::Result<usize>> {
    Poll::Ready(if bytes == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes) })
}
