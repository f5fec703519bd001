//! What goes out to one side: the other side's frames, and at their borders the relay's own control frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hybridrelay::env::BoxSocket;
use hybridrelay::ws::{ControlFrame, ControlPayload, OpCode, Unanswered, control_frame};
use tokio::io::AsyncWrite;

use super::chunk::{Chunk, write_some};
use super::rewrite::Rewritten;
use crate::pool::Lease;

/// The writing half of a side. Holds at most one chunk and a few control frames.
#[derive(Default)]
pub(super) struct Outlet {
    chunk: Option<Chunk>,
    /// Whether what was put so far ends inside a frame.
    open: bool,
    /// Boxed and mostly absent, since most pairs are idle.
    controls: Option<Box<Controls>>,
    close: Close,
    unflushed: bool,
    lost: bool,
    lost_data: bool,
}

#[derive(Default)]
struct Controls {
    /// A frame of which this much is written: nothing else may come in between.
    writing: Option<(ControlFrame, usize)>,
    pings: Unanswered,
    ping: bool,
    close: Option<ControlPayload>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Close {
    #[default]
    None,
    Pending,
    Sent,
}

impl Outlet {
    /// Whether the next buffer may be read for this side. Control frames that only wait for the end of an open frame do
    /// not stand in the way: that end has to be read.
    pub(super) fn can_take(&self) -> bool {
        self.chunk.is_none()
            && match &self.controls {
                None => true,
                Some(controls) => self.open && controls.writing.is_none(),
            }
    }

    /// Whether data waits that the side has not taken.
    pub(super) fn is_blocked(&self) -> bool {
        self.chunk.is_some()
    }

    /// Whether everything is written and flushed.
    pub(super) fn is_idle(&self) -> bool {
        self.chunk.is_none() && self.controls.is_none() && !self.unflushed
    }

    /// Whether Close was told and no frame may follow.
    pub(super) fn close_sent(&self) -> bool {
        self.close == Close::Sent
    }

    /// Whether a write failed. Everything is dropped from then on.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether data was on its way when the side was lost.
    pub(super) fn has_lost_data(&self) -> bool {
        self.lost_data
    }

    /// Whether a frame was begun whose rest was not even put here.
    pub(super) fn ends_inside_frame(&self) -> bool {
        self.open
    }

    /// Takes the output in `buffer`. The last one is written, by [`can_take`](Self::can_take).
    pub(super) fn put(&mut self, buffer: Lease, rewritten: &Rewritten) {
        debug_assert!(self.chunk.is_none(), "only one buffer per direction");
        self.open = rewritten.open;
        self.chunk = Some(Chunk::of_one(buffer, rewritten));
    }

    /// Takes whole frames that others are sent as well. The last ones are written, by [`can_take`](Self::can_take).
    pub(super) fn put_shared(&mut self, frames: Vec<Bytes>) {
        debug_assert!(self.chunk.is_none() && !self.open, "only one batch at a time");
        self.chunk = Some(Chunk::of_many(frames));
    }

    /// Answers Pings.
    pub(super) fn answer(&mut self, pings: Unanswered) {
        if !pings.is_empty()
            && let Some(controls) = self.controls()
        {
            controls.pings.extend(pings);
        }
    }

    /// Asks the side for a sign of life.
    pub(super) fn ping(&mut self) {
        if let Some(controls) = self.controls() {
            controls.ping = true;
        }
    }

    /// Tells Close behind everything that was put, as soon as no frame is open. The first Close stays.
    pub(super) fn close(&mut self, payload: ControlPayload) {
        if let Some(controls) = self.controls() {
            controls.close = Some(payload);
            self.close = Close::Pending;
        }
    }

    /// Tells Close at the next frame border and drops what stands behind it; false if no border is in reach.
    pub(super) fn close_at_next_border(&mut self, payload: ControlPayload) -> bool {
        if let Some(chunk) = &mut self.chunk
            && chunk.end_at_border()
        {
            self.open = false;
            if chunk.is_written() {
                self.chunk = None;
            }
        }
        self.close(payload);
        !self.open
    }

    /// Gives up on this side: nothing can be written any more.
    pub(super) fn lose(&mut self) {
        self.lost_data |= self.chunk.take().is_some() || self.open;
        self.lost = true;
        self.controls = None;
        self.unflushed = false;
    }

    /// Writes as much as the socket takes. Never waits for more than that: an error is the only thing to tell.
    pub(super) fn write(&mut self, socket: &mut BoxSocket, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_idle() {
            return Ok(());
        }
        if let Poll::Ready(result) = self.poll_write(socket, cx) {
            result?;
        }
        // Behind TLS what was written may still lie in a buffer. Nobody waits for it; the socket wakes us to go on.
        if self.unflushed
            && let Poll::Ready(result) = Pin::new(socket).poll_flush(cx)
        {
            result?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn poll_write(&mut self, socket: &mut BoxSocket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let wanted = self.stage_control();
            if let Some((frame, written)) = self.controls.as_mut().and_then(|controls| controls.writing.as_mut()) {
                *written += ready!(write_some(socket, cx, &frame.as_ref()[*written..]))?;
                self.unflushed = true;
                if *written == frame.as_ref().len() {
                    self.control_written();
                }
                continue;
            }
            let Some(chunk) = &mut self.chunk else { return Poll::Ready(Ok(())) };
            ready!(chunk.poll_write(socket, cx, wanted))?;
            self.unflushed = true;
            if chunk.is_written() {
                self.chunk = None;
            }
        }
    }

    /// Makes a waiting control frame the next thing to write if we are at a border; true if one waits for a border.
    fn stage_control(&mut self) -> bool {
        let Some(controls) = &mut self.controls else { return false };
        if controls.writing.is_some() {
            return false;
        }
        let at_border = match &mut self.chunk {
            Some(chunk) => chunk.is_at_border(),
            None => !self.open,
        };
        if !at_border {
            return !controls.pings.is_empty() || controls.ping;
        }
        let frame = if let Some(payload) = controls.pings.pop() {
            control_frame(OpCode::Pong, &payload, None)
        } else if std::mem::take(&mut controls.ping) {
            control_frame(OpCode::Ping, &ControlPayload::EMPTY, None)
        } else if self.chunk.is_none()
            && let Some(payload) = controls.close.take()
        {
            self.close = Close::Sent;
            control_frame(OpCode::Close, &payload, None)
        } else {
            return false;
        };
        controls.writing = Some((frame, 0));
        false
    }

    fn control_written(&mut self) {
        if let Some(controls) = &mut self.controls {
            controls.writing = None;
            if controls.pings.is_empty() && !controls.ping && controls.close.is_none() {
                self.controls = None;
            }
        }
    }

    /// Where control frames wait; `None` if none may be sent any more.
    fn controls(&mut self) -> Option<&mut Controls> {
        (self.close == Close::None && !self.lost).then(|| &mut **self.controls.get_or_insert_default())
    }
}
