//! One side of a pair: its socket, what is read from it and what is written to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use hybridrelay::env::BoxSocket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::{Silence, Stopwatch};
use super::outlet::Outlet;
use super::rewrite::Rewriter;
use super::{Leg, PumpConfig};
use crate::limits::{Grant, Throttle};
use crate::pool::{self, CAPACITY, HEADROOM, Lease};

/// Behind TLS a read returns one record. Reading goes on while a whole one has room, so that records leave together.
const RECORD: usize = 16 * 1024;

/// How many reads fill one buffer at most: a peer's tiny records must not hold the thread.
const READS: usize = 8;

/// A side. Dropping it aborts its socket, unless it left in good order.
pub(super) struct Side {
    /// `None` once the side is gone.
    socket: Option<BoxSocket>,
    /// What came together with the handshake. Boxed and mostly absent, since it is read at once.
    early: Option<Box<Bytes>>,
    pub(super) rewriter: Rewriter,
    pub(super) outlet: Outlet,
    pub(super) silence: Silence,
    /// Boxed and there only once a rate has held it up: most connections have none to keep.
    throttled: Option<Box<Throttled>>,
    pub(super) blocked: Stopwatch,
    /// Its Close came, or nothing it says counts any more. It is still read, so that its end is seen.
    pub(super) closed: bool,
    input_ended: bool,
    leaving: Option<Leaving>,
}

/// How a rate holds a side up.
#[derive(Default)]
struct Throttled {
    /// What it may read, if that was asked before it was its turn.
    grant: Option<Grant>,
    /// Until then it is not read.
    until: Option<Instant>,
    time: Stopwatch,
}

/// A silence that ends a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quiet {
    /// It does not answer a Close.
    Unanswered,
    /// It gives no sign of life.
    Silent,
}

/// Everything is said: the socket is shut down and read to its end, so that no reset overtakes our last words.
struct Leaving {
    until: Instant,
    shut_down: bool,
}

/// What was read, behind the headroom of a buffer.
pub(super) struct Input {
    pub(super) buffer: Lease,
    pub(super) end: usize,
}

impl Side {
    pub(super) fn new(leg: Leg) -> Self {
        Self {
            socket: Some(leg.socket),
            // An empty rest would still hold the buffer of the handshake.
            early: (!leg.read_buf.is_empty()).then(|| Box::new(leg.read_buf)),
            rewriter: Rewriter::new(),
            outlet: Outlet::default(),
            silence: Silence::default(),
            throttled: None,
            blocked: Stopwatch::default(),
            closed: false,
            input_ended: false,
            leaving: None,
        }
    }

    /// Whatever holds it up from here on, it is not a rate.
    pub(super) fn stop_waiting(&mut self) {
        if let Some(throttled) = &mut self.throttled {
            throttled.until = None;
        }
    }

    /// The grant for which it waited, if it did.
    pub(super) fn take_grant(&mut self) -> Option<Grant> {
        self.throttled.as_mut()?.grant.take()
    }

    /// Waits for its turn.
    fn keep_grant(&mut self, grant: Grant, now: Instant) {
        let throttled = self.throttled.get_or_insert_default();
        throttled.until = Some(grant.from);
        throttled.grant = Some(grant);
        throttled.time.run(true, now);
    }

    /// It had its turn. If it had nothing to say, there was nothing to be held up.
    fn had_turn(&mut self, spoke: bool, now: Instant) {
        match &mut self.throttled {
            Some(throttled) if spoke => throttled.time.run(false, now),
            Some(throttled) => throttled.time.forget(),
            None => {}
        }
    }

    /// When a rate lets it be read again, if one holds it up.
    pub(super) fn throttled_until(&self) -> Option<Instant> {
        self.throttled.as_ref()?.until
    }

    /// How long rates have held it up, the times that are over.
    pub(super) fn throttled_for(&self) -> Duration {
        self.throttled.as_ref().map_or(Duration::ZERO, |throttled| throttled.time.over())
    }

    /// Whether nothing is left to do for this side.
    pub(super) fn is_gone(&self) -> bool {
        self.socket.is_none()
    }

    /// Whether the pair reads from this side. A side that leaves reads for itself.
    pub(super) fn is_readable(&self) -> bool {
        self.socket.is_some() && !self.input_ended && self.leaving.is_none()
    }

    /// Whether the other side may be read for this one.
    pub(super) fn can_take(&self) -> bool {
        if self.outlet.is_lost() {
            // Nothing can be delivered. Before its Close is found, or its end, nothing must be read either; after it only
            // the other side's Close is of interest.
            self.closed
        } else {
            self.outlet.can_take()
        }
    }

    /// Reads what there is, at most so many bytes and as fast as the rate allows. `None` is the end of the stream.
    pub(super) fn poll_input(
        &mut self,
        throttle: &Throttle,
        most: usize,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Input>>> {
        let grant = self.take_grant().unwrap_or_else(|| throttle.grant(now, most));
        if grant.from > now {
            self.keep_grant(grant, now);
            return Poll::Pending;
        }
        let input = self.poll_read(grant.bytes, cx);
        let read = if let Poll::Ready(Ok(Some(input))) = &input { input.end - HEADROOM } else { 0 };
        throttle.give_back(grant.bytes - read);
        self.had_turn(read > 0, now);
        if read > 0 {
            self.silence.heard(now);
        }
        input
    }

    fn poll_read(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<io::Result<Option<Input>>> {
        let Some(socket) = &mut self.socket else { return Poll::Pending };
        let mut buffer = pool::lease();
        let mut room = ReadBuf::new(&mut buffer[HEADROOM..HEADROOM + most.min(CAPACITY)]);
        if let Some(early) = &mut self.early {
            let len = early.len().min(room.remaining());
            early.copy_to_slice(room.initialize_unfilled_to(len));
            room.advance(len);
            if early.is_empty() {
                self.early = None;
            }
        } else {
            for _ in 0..READS {
                let before = room.filled().len();
                match Pin::new(&mut *socket).poll_read(cx, &mut room) {
                    // What was read goes first; an end or an error shows again in the next read.
                    _ if before > 0 && room.filled().len() == before => break,
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) if room.filled().is_empty() => return Poll::Ready(Ok(None)),
                    Poll::Ready(Ok(())) if room.remaining() < RECORD => break,
                    Poll::Ready(Ok(())) => {}
                }
            }
        }
        let end = HEADROOM + room.filled().len();
        Poll::Ready(Ok(Some(Input { buffer, end })))
    }

    /// Notes that the stream of this side, which has closed, ended as well. It can still be written to.
    pub(super) fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// Writes what waits for this side, as far as it takes it.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) {
        if let Some(socket) = &mut self.socket
            && self.outlet.write(socket, cx).is_err()
        {
            self.outlet.lose();
        }
    }

    /// When its silence has a consequence, if it goes on.
    pub(super) fn silence_due(&self, config: &PumpConfig) -> Option<Instant> {
        let limit = match () {
            () if self.outlet.close_sent() => config.half_close_guard,
            () if self.silence.pinged() => config.dead_after,
            () => config.ping_after,
        };
        Some(self.silence.since()? + limit)
    }

    /// It was silent for that long: either that is its end, or it is asked for a sign of life.
    pub(super) fn silent_until_due(&mut self, config: &PumpConfig, now: Instant) -> Option<Quiet> {
        if self.outlet.close_sent() {
            Some(Quiet::Unanswered)
        } else if self.silence.pinged() {
            Some(Quiet::Silent)
        } else {
            self.silence.set_pinged(config.ping_after, now);
            self.outlet.ping();
            None
        }
    }

    /// Begins to leave, in good order.
    pub(super) fn leave(&mut self, until: Instant) {
        self.leaving.get_or_insert(Leaving { until, shut_down: false });
    }

    /// When leaving has to be over, if it has begun.
    pub(super) fn leaving_until(&self) -> Option<Instant> {
        self.leaving.as_ref().filter(|_| self.socket.is_some()).map(|leaving| leaving.until)
    }

    /// Goes on with leaving.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) {
        let (Some(leaving), Some(socket)) = (&mut self.leaving, &mut self.socket) else { return };
        if !leaving.shut_down {
            match Pin::new(&mut *socket).poll_shutdown(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => leaving.shut_down = true,
                Poll::Ready(Err(_)) => return self.go(),
            }
        }
        if self.input_ended {
            return self.go();
        }
        let mut buffer = pool::lease();
        for _ in 0..READS {
            let mut room = ReadBuf::new(&mut buffer);
            match Pin::new(&mut *socket).poll_read(cx, &mut room) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {}
                Poll::Ready(_) => return self.go(),
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Ends leaving, at its time limit.
    pub(super) fn stop_leaving(&mut self) {
        match &self.leaving {
            Some(Leaving { shut_down: true, .. }) => self.go(),
            _ => self.abort(),
        }
    }

    /// Closes the socket in its ordinary way.
    pub(super) fn go(&mut self) {
        self.socket = None;
        self.outlet.lose();
    }

    /// Resets the socket. What was not sent is discarded.
    pub(super) fn abort(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.abort();
        }
        self.go();
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.abort();
    }
}
