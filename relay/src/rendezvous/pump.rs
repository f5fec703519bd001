//! The pump joins two upgraded sockets, the sender's and the listener's, until both are done (protocol.md 6.2, 6.3).
//!
//! One future per pair, polled by hand: no lock, no allocation per frame, no buffer while nothing moves. Each direction
//! reads into a buffer that the thread lends ([`pool`](crate::pool)), rewrites the masked frames in place into unmasked ones
//! ([`rewrite`]) and writes the result out in one piece, with the relay's own control frames put in at frame borders
//! ([`outlet`]). A side is read only when the other has taken everything that was read before, so a slow reader slows the
//! other side by TCP, and at most one buffer per direction is held meanwhile.
//!
//! Closing. A side's Close travels to the other side, with its payload, and is not answered by the relay: the other
//! direction lives on until its own Close comes. When a side has sent its Close and been sent one, the relay shuts its
//! socket down, reads to the end for a bounded time and drops it. Everything else is an abort, which the other side sees
//! as an error and never as an end of stream.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hybridrelay::env::{BoxSocket, Env};
use hybridrelay::ws::{CloseFrame, FrameError};
use tokio::sync::watch;
use tokio::task::coop;

use crate::limits::Throttle;
use crate::observe::Meter;

mod chunk;
mod clock;
mod outlet;
mod pair;
mod rewrite;
mod side;
mod solo;
#[cfg(test)]
mod tests;
mod turn;

use pair::Pair;
pub(crate) use solo::{Part, Say, Solo};

/// One end of a pair: a socket behind its WebSocket handshake.
pub(crate) struct Leg {
    /// The upgraded socket.
    pub(crate) socket: BoxSocket,
    /// The bytes that came together with the handshake and belong to the frames.
    pub(crate) read_buf: Bytes,
}

/// The bound of what is only courtesy: telling a violator why, shutting down a socket, reading it to its end.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a side that broke the framing still gets what the other one says, before it is told.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How long the pump is patient. Every pair has its own, so what never differs is no part of it.
#[derive(Clone, Debug)]
pub(crate) struct PumpConfig {
    /// A side from which no byte came for this long is asked by a Ping (protocol.md 10, decision 19).
    pub(crate) ping_after: Duration,
    /// A side from which no byte came for this long is gone; the Ping's answer would have been one.
    pub(crate) dead_after: Duration,
    /// How long a side that was told Close may send nothing before the pair is finished (protocol.md 6.3).
    pub(crate) half_close_guard: Duration,
    /// How fast may be read, both directions together.
    pub(crate) throttle: Throttle,
    /// Where it is counted what goes through.
    pub(crate) meter: Meter,
}

impl Default for PumpConfig {
    fn default() -> Self {
        Self {
            ping_after: Duration::from_secs(60),
            dead_after: Duration::from_secs(150),
            half_close_guard: Duration::from_secs(60),
            throttle: Throttle::default(),
            meter: Meter::default(),
        }
    }
}

/// The relay's own wish to end a pair.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// Tell both sides Close at their next frame border and wait for theirs; abort what is left at `until`.
    Drain {
        /// What to tell.
        close: CloseFrame,
        /// When patience ends.
        until: Instant,
    },
    /// Abort both sides at once.
    Cut,
}

/// A side of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// Whoever connected.
    Sender,
    /// Whoever accepted.
    Listener,
}

impl Party {
    fn other(self) -> Self {
        match self {
            Self::Sender => Self::Listener,
            Self::Listener => Self::Sender,
        }
    }
}

/// What went through in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Payload bytes of data frames, as they were read.
    pub(crate) bytes: u64,
    /// Data frames as they were read; the other side may have got them in other pieces.
    pub(crate) frames: u64,
}

/// How a pair ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both sides sent Close.
    Closed {
        /// Who began.
        by: Party,
        /// With which code, if any.
        code: Option<u16>,
    },
    /// A side vanished without Close: reset, end of file, failed write.
    Aborted(Party),
    /// A side broke the framing.
    Violation {
        /// Which side.
        by: Party,
        /// In which way.
        error: FrameError,
    },
    /// A side was told Close and then sent nothing for `half_close_guard`. The side that had closed got Close 1001 in its
    /// place, so that it can tell this from an orderly end; the silent one was aborted.
    Unanswered(Party),
    /// A side sent nothing for `dead_after`, not even a Pong.
    Silent(Party),
    /// The relay ended the pair by an [`Ending`].
    Shutdown,
}

impl Ended {
    /// A word that never changes.
    pub(crate) fn as_str(self) -> &'static str {
        use Party::{Listener, Sender};
        match self {
            Self::Closed { by: Sender, .. } => "closed_by_sender",
            Self::Closed { by: Listener, .. } => "closed_by_listener",
            Self::Aborted(Sender) => "sender_aborted",
            Self::Aborted(Listener) => "listener_aborted",
            Self::Violation { by: Sender, .. } => "sender_violated_protocol",
            Self::Violation { by: Listener, .. } => "listener_violated_protocol",
            Self::Unanswered(Sender) => "sender_did_not_answer_close",
            Self::Unanswered(Listener) => "listener_did_not_answer_close",
            Self::Silent(Sender) => "sender_silent",
            Self::Silent(Listener) => "listener_silent",
            Self::Shutdown => "ended_by_relay",
        }
    }

    /// The code of the first Close, if it had one.
    pub(crate) fn close_code(self) -> Option<u16> {
        if let Self::Closed { code, .. } = self { code } else { None }
    }
}

/// What is left of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the sender said.
    pub(crate) sender_to_listener: Traffic,
    /// What the listener said.
    pub(crate) listener_to_sender: Traffic,
    /// How it ended.
    pub(crate) ended: Ended,
}

/// Joins two sockets until both are done, or until `end` says so.
///
/// Dropping the future drops both sockets without Close, as a cut: each is aborted.
///
/// It holds the pair in the place where it is polled from: an `async fn` would keep room for what it is given, and for the pair
/// that is made of it.
pub(crate) fn run(
    env: Env,
    sender: Leg,
    listener: Leg,
    config: PumpConfig,
    end: watch::Receiver<Option<Ending>>,
) -> impl Future<Output = Outcome> + Send {
    drive(Pair::new(env, config, sender, listener), end)
}

/// What lives on sockets, is polled by hand, and can be told to end.
pub(crate) trait Driven {
    /// What is left of it.
    type Output;

    /// Begins what the relay wishes.
    fn end(&mut self, ending: Ending);

    /// Goes on as far as it can.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output>;
}

/// Drives it until it is done, or until `end` says so.
pub(crate) fn drive<D: Driven + Send>(
    mut driven: D,
    end: watch::Receiver<Option<Ending>>,
) -> impl Future<Output = D::Output> + Send {
    // One `watch` is shared by very many pairs, and polling it takes a lock: so its future is polled to register this
    // task, and then only if something has changed, which an atomic tells.
    let changes = end.clone();
    async move {
        let mut ending = pin!(wait_for_ending(end));
        let mut registered: Option<Waker> = None;
        let mut waiting = true;
        poll_fn(|cx| {
            let woken = !matches!(changes.has_changed(), Ok(false));
            if waiting && (woken || !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))) {
                // Without budget the future would not register.
                registered = coop::has_budget_remaining().then(|| cx.waker().clone());
                if let Poll::Ready(ending) = ending.as_mut().poll(cx) {
                    waiting = false;
                    if let Some(ending) = ending {
                        driven.end(ending);
                    }
                }
            }
            driven.poll(cx)
        })
        .await
    }
}

/// `None` if there is nobody left who could end the pair.
async fn wait_for_ending(mut end: watch::Receiver<Option<Ending>>) -> Option<Ending> {
    end.wait_for(Option::is_some).await.ok()?.clone()
}
