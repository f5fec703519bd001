//! The keeper: what must happen on a link while the program neither reads nor writes.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Shared, State};
use crate::link::fan::Waiter;
use crate::{Error, ErrorKind};

/// How long a ping may go unanswered while the other side may not be taking our messages: then the relay does not read from us
/// either, and only shows from time to time that it lives. With the silence before it, the relay's own patience.
const STALL_PATIENCE: Duration = Duration::from_secs(130);

/// After both sides have closed, or the peer was told that it broke a rule, how long we wait for the server to close TCP first.
const TCP_CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The keeper task: one for each link, asleep unless something is left to do.
pub(super) async fn keep(shared: Arc<Shared>) {
    let period = shared.settings.keep_alive.unwrap_or(Duration::from_secs(20));
    let mut next = shared.env.now() + period;
    let mut ending: Option<Ending> = None;
    loop {
        let sleep = shared.env.sleep_until(next);
        tokio::select! {
            biased;
            step = poll_fn(|cx| shared.poll_background(cx, &mut ending)) => match step {
                Step::Finished => return,
                Step::Deadline(deadline) => next = deadline,
            },
            () = sleep => {
                next = match &mut ending {
                    Some(ending) => match shared.check_ending(ending) {
                        Some(deadline) => deadline,
                        None => return,
                    },
                    None => shared.check_life(period),
                };
            }
        }
    }
}

/// What the keeper does next.
enum Step {
    Finished,
    Deadline(Instant),
}

/// The keeper finishes a closed socket; `progress` at the last look tells whether the peer still moves.
struct Ending {
    progress: u64,
    /// Both sides have closed, or the peer was told why we do not listen any more: only TCP's own end is awaited.
    over: bool,
}

impl Shared {
    fn poll_background(&self, cx: &mut Context<'_>, ending: &mut Option<Ending>) -> Poll<Step> {
        self.keeper.register(cx.waker());
        let mut state = self.lock();
        if state.socket.is_none() {
            return Poll::Ready(Step::Finished);
        }
        let over = state.outbound.is_closed() && (state.inbound.closed().is_some() || state.failure.is_some());
        if (over || (state.released && state.outbound.is_closed()))
            && ending.as_ref().is_none_or(|ending| ending.over != over)
        {
            let progress = state.progress();
            *ending = Some(Ending { progress, over });
            let limit = if over { TCP_CLOSE_LIMIT } else { self.settings.close_timeout };
            return Poll::Ready(Step::Deadline(self.env.now() + limit));
        }
        if ending.is_some() || state.watching || !state.outbound.is_flushed() {
            self.fan.register(Waiter::Keeper, cx.waker());
            let _ = state.poll_output(self);
        }
        if ending.is_some() {
            if state.poll_end(self).is_ready() {
                drop(state);
                self.fan.wake_all();
                return Poll::Ready(Step::Finished);
            }
        } else if state.watching && state.poll_fill(self).is_ready() {
            // The reader may be waiting for what has just come.
            self.fan.wake(Waiter::Reader);
            let _ = state.poll_output(self);
        }
        Poll::Pending
    }

    /// Asks a silent peer for a sign of life and judges one that gave none (protocol.md 10, decision 19). Returns when to look
    /// again.
    fn check_life(&self, period: Duration) -> Instant {
        let now = self.env.now();
        let mut state = self.lock();
        let state = &mut *state;
        state.inbound.release_memory();
        state.outbound.release_memory();
        // Behind our Close nobody has to answer a ping any more: the relay watches the side that is still to close.
        if self.settings.keep_alive.is_none() || state.socket.is_none() || state.outbound.is_closed() {
            return now + period;
        }
        let mut deadline = self.settings.keep_alive_deadline;
        if state.may_be_stalled() {
            deadline = deadline.max(STALL_PATIENCE);
        }
        if let Some(sent) = state.ping_sent.filter(|_| state.listening) {
            if now < sent + deadline {
                return (sent + deadline).min(now + period);
            }
            let error = Error::new(ErrorKind::ConnectionLost, "the peer gave no sign of life")
                .with_reason(format!("no answer to a ping for {} s", deadline.as_secs_f32()));
            state.end(error);
            self.fan.wake_all();
            return now;
        }
        // Whoever only receives, or does not even read, has to give a sign of life too: the relay cannot know how far away from
        // the program lies what it has written.
        let due = state.last_received.min(state.last_sent) + period;
        if now < due && state.ping_sent.is_none() {
            return due;
        }
        let claim = state.claim();
        state.outbound.ping(claim);
        state.ping_sent = Some(now);
        state.watching = true;
        state.push_out(self);
        state.listening = state.can_hear(self);
        // What was waiting in the socket may be what the reader waits for.
        self.fan.wake(Waiter::Reader);
        self.keeper.wake();
        now + if state.listening { deadline.min(period) } else { period }
    }

    /// Gives a closed socket more time while it makes progress. `None` when it was ended.
    fn check_ending(&self, ending: &mut Ending) -> Option<Instant> {
        let mut state = self.lock();
        let progress = state.progress();
        if progress == ending.progress || ending.over {
            if ending.over && state.outbound.is_flushed() {
                state.socket = None;
            } else {
                state.end(Error::new(ErrorKind::Timeout, "the peer did not close the connection in time"));
            }
            drop(state);
            self.fan.wake_all();
            return None;
        }
        ending.progress = progress;
        Some(self.env.now() + self.settings.close_timeout)
    }
}

impl State {
    /// What the next ping says, for its answer to say it back: how much was sent, and whether an answer has confirmed that much.
    fn claim(&self) -> u64 {
        let sent = self.outbound.sent() * 2;
        sent + u64::from(self.inbound.confirmed() >= sent)
    }

    /// Whether the relay may have stopped reading from us because the other side does not take our messages: until two pings
    /// behind the last of them were answered, one after the other. The first answer shows that the relay has the message, the
    /// second that it went on reading.
    fn may_be_stalled(&self) -> bool {
        self.outbound.sent() > 0 && self.inbound.confirmed() <= self.outbound.sent() * 2
    }

    /// Whether a peer that lives can tell us so: everything has left for it, and everything that came from it was read. One that
    /// is not read, or does not take our bytes, is stalled and not dead; one that has closed owes us nothing.
    fn can_hear(&mut self, shared: &Shared) -> bool {
        self.outbound.is_flushed() && self.inbound.has_room() && self.poll_fill(shared).is_pending()
    }

    /// Brings a closed socket to its end: everything sent, the peer's Close received, TCP closed by the server.
    fn poll_end(&mut self, shared: &Shared) -> Poll<()> {
        loop {
            if self.socket.is_none() {
                return Poll::Ready(());
            }
            if self.inbound.closed().is_some() {
                let mut cx = Context::from_waker(&shared.fan_waker);
                let Some(socket) = &mut self.socket else { return Poll::Ready(()) };
                if !self.outbound.is_flushed() {
                    return Poll::Pending;
                }
                if self.inbound.poll_eof(&mut cx, socket).is_pending() {
                    return Poll::Pending;
                }
                self.socket = None;
                return Poll::Ready(());
            }
            if !self.released {
                return Poll::Pending;
            }
            // The program has gone. As with TCP, what still comes for it is answered by a reset; after a violation it is
            // discarded until our Close has left.
            if self.inbound.pop().is_some() && self.failure.is_none() {
                self.end(Error::new(ErrorKind::Closed, "the connection was dropped"));
                return Poll::Ready(());
            }
            if self.failure.is_some() {
                let mut cx = Context::from_waker(&shared.fan_waker);
                let Some(socket) = &mut self.socket else { return Poll::Ready(()) };
                if !self.outbound.is_flushed() || self.inbound.poll_eof(&mut cx, socket).is_pending() {
                    return Poll::Pending;
                }
                self.socket = None;
                return Poll::Ready(());
            }
            if self.poll_fill(shared).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
