//! A leg whose other end is the relay itself: at a hub, whoever publishes and whoever subscribes.
//!
//! It is read, pinged, given up and closed by the same rules as a side of a pair. What it says goes to its [`Part`], and what it
//! is told comes from there.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hybridrelay::env::Env;
use hybridrelay::ws::{CloseFrame, ControlPayload, FrameError};

use super::clock::{Alarm, Meaning};
use super::side::{Input, Quiet, Side};
use super::turn::Turn;
use super::{Driven, Ended, Ending, FAREWELL, Leg, Party, PumpConfig, Traffic};
use crate::pool::CAPACITY;

/// What stands behind a lone leg.
pub(crate) trait Part: Send {
    /// Whether the leg may be read now, and how much at once; otherwise the task is woken when it may.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<usize>;

    /// Takes what the leg said: its data frames, unmasked, in pieces that follow each other without a gap.
    fn hear(&mut self, frames: &[u8]) -> Result<(), FrameError>;

    /// What the leg is told next. Everything before is written.
    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<Say>;

    /// The leg takes nothing at the moment: whoever waits until it had its turn waits no longer.
    fn blocked(&mut self);

    /// A Close that ends the leg although there was more to say to it, as soon as there is one.
    fn cut_short(&mut self) -> Option<CloseFrame>;

    /// The leg says no more: with its Close, or without one.
    fn done(&mut self, close: Option<ControlPayload>);

    /// The relay ends the leg with this Close. What is still to be said is for the part to decide.
    fn drain(&mut self, close: ControlPayload);
}

/// Something to say.
#[derive(Debug)]
pub(crate) enum Say {
    /// Whole frames, which others are sent as well.
    Frames(Vec<Bytes>),
    /// Nothing more than Close.
    Close(ControlPayload),
}

/// A leg and its part.
pub(crate) struct Solo<P> {
    env: Env,
    config: PumpConfig,
    party: Party,
    side: Side,
    part: P,
    alarm: Alarm,
    turn: Turn,
    /// Whether it may be read.
    has_room: bool,
    /// Whether Close was the last thing said to it.
    said_all: bool,
    ended: Option<Ended>,
    /// Set when it ends otherwise than by two Closes: then it is aborted.
    deadline: Option<Instant>,
}

impl<P: Part> Solo<P> {
    pub(crate) fn new(env: Env, config: PumpConfig, party: Party, leg: Leg, part: P) -> Self {
        Self {
            env,
            config,
            party,
            side: Side::new(leg),
            part,
            alarm: Alarm::default(),
            turn: Turn::default(),
            has_room: false,
            said_all: false,
            ended: None,
            deadline: None,
        }
    }
}

impl<P: Part> Driven for Solo<P> {
    /// How it ended, and what it said.
    type Output = (Ended, Traffic);

    fn end(&mut self, ending: Ending) {
        self.ended.get_or_insert(Ended::Shutdown);
        match ending {
            Ending::Cut => self.side.abort(),
            Ending::Drain { close, until } => {
                self.part.drain(close.encode());
                self.side.rewriter.stop_at_border();
                self.end_by(until);
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Ended, Traffic)> {
        let rounds = self.turn.begin();
        loop {
            let now = self.env.now();
            // First what has come, then what the clock says: bytes that waited for this poll are life.
            let more = self.move_data(rounds, cx, now);
            let acted = self.look_at_the_clock(now);
            if self.side.is_gone() {
                self.part.done(None);
                if let Some(unused) = self.side.take_grant() {
                    self.config.throttle.give_back(unused.bytes);
                }
                let ended = self.ended.unwrap_or(Ended::Aborted(self.party));
                return Poll::Ready((ended, self.side.rewriter.traffic()));
            }
            if acted {
                continue;
            }
            if more {
                self.turn.give_way(cx);
                return Poll::Pending;
            }
            let due = self.next_due();
            if self.alarm.poll_at(due, &self.env, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<P: Part> Solo<P> {
    /// Moves what can be moved both ways; true if there may be more.
    fn move_data(&mut self, rounds: usize, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..rounds {
            if !self.said_all
                && let Some(close) = self.part.cut_short()
            {
                self.ended.get_or_insert(Ended::Shutdown);
                self.dismiss(close, now);
            }
            let said = self.say(cx);
            let heard = self.listen(cx, now);
            self.settle(now);
            self.side.poll_leave(cx);
            if !said && !heard {
                return false;
            }
        }
        true
    }

    /// Writes what waits, and what the part says next; true if it was something new.
    fn say(&mut self, cx: &mut Context<'_>) -> bool {
        self.side.write(cx);
        if self.side.outlet.is_lost() || self.side.is_gone() {
            return false;
        }
        if self.said_all {
            return false;
        }
        if !self.side.outlet.can_take() {
            // Be it that only Pongs wait: who asks for them and does not take them must hold up nobody.
            self.part.blocked();
            return false;
        }
        let Poll::Ready(say) = self.part.poll_say(cx) else { return false };
        match say {
            Say::Frames(frames) => self.side.outlet.put_shared(frames),
            Say::Close(payload) => self.say_close(payload),
        }
        self.side.write(cx);
        true
    }

    fn say_close(&mut self, payload: ControlPayload) {
        self.said_all = true;
        self.side.outlet.close(payload);
        if !self.side.closed {
            let code = payload.close_code().ok().flatten();
            self.ended.get_or_insert(Ended::Closed { by: self.party.other(), code });
        }
    }

    /// Reads; true if something came.
    fn listen(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.side.stop_waiting();
        if !self.side.is_readable() {
            return false;
        }
        let room = if self.side.closed { Poll::Ready(CAPACITY) } else { self.part.poll_room(cx) };
        self.has_room = room.is_ready();
        let Poll::Ready(most) = room else { return false };
        match self.side.poll_input(&self.config.throttle, most, now, cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(Some(_))) if self.side.closed => {}
            Poll::Ready(Ok(Some(input))) => self.hear(input, now),
            Poll::Ready(Ok(None)) if self.side.closed => self.side.end_input(),
            Poll::Ready(_) => self.lost(),
        }
        true
    }

    fn hear(&mut self, Input { mut buffer, end }: Input, now: Instant) {
        let mut rewritten = self.side.rewriter.rewrite(&mut buffer[..end]);
        self.side.outlet.answer(std::mem::take(&mut rewritten.pings));
        let heard = self.part.hear(&buffer[rewritten.output.clone()]);
        // What the part refuses came before what breaks the framing, or before the Close.
        if let Some(error) = heard.err().or(rewritten.violation) {
            self.ended.get_or_insert(Ended::Violation { by: self.party, error });
            self.part.done(None);
            self.dismiss(CloseFrame { code: error.close_code(), reason: error.to_string() }, now);
        } else if let Some(close) = rewritten.close {
            let code = close.close_code().ok().flatten();
            self.ended.get_or_insert(Ended::Closed { by: self.party, code });
            self.side.closed = true;
            self.part.done(Some(close));
            // Where Close was said before, this is its answer; the outlet keeps the first.
            self.said_all = true;
            self.side.outlet.close(close);
        }
    }

    /// Its stream has ended, or failed.
    fn lost(&mut self) {
        self.ended.get_or_insert(Ended::Aborted(self.party));
        self.side.abort();
    }

    /// Lets it go when it has nothing more to say or to hear.
    fn settle(&mut self, now: Instant) {
        if self.side.is_gone() {
            return;
        }
        if self.side.outlet.is_lost() {
            self.lost();
        } else if self.side.closed && self.side.outlet.close_sent() && self.side.outlet.is_idle() {
            self.side.leave(now + FAREWELL);
        }
    }

    /// Tells it Close at the next border, listens to it no more, and gives it a little time.
    fn dismiss(&mut self, close: CloseFrame, now: Instant) {
        self.said_all = true;
        self.side.closed = true;
        // Only whole frames are put into this outlet, so there is a border.
        self.side.outlet.close_at_next_border(close.encode());
        self.end_by(now + FAREWELL);
    }

    fn end_by(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    /// Does what is due; true if that was anything.
    fn look_at_the_clock(&mut self, now: Instant) -> bool {
        if self.side.is_gone() {
            return false;
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.side.abort();
            return true;
        }
        if self.side.leaving_until().is_some_and(|until| now >= until) {
            self.side.stop_leaving();
            return true;
        }
        let meaning = self.meaning_of_silence();
        self.side.silence.judge(meaning, now);
        if self.side.silence_due(&self.config).is_none_or(|due| now < due) {
            return false;
        }
        if let Some(quiet) = self.side.silent_until_due(&self.config, now) {
            // Whoever was told Close ended in the sense of that Close, unless it does not even answer.
            self.ended = Some(match quiet {
                Quiet::Unanswered => Ended::Unanswered(self.party),
                Quiet::Silent => Ended::Silent(self.party),
            });
            self.side.abort();
        }
        true
    }

    fn meaning_of_silence(&self) -> Meaning {
        let side = &self.side;
        if self.deadline.is_some() || side.closed || !side.is_readable() || !side.outlet.is_idle() {
            Meaning::Nothing
        } else if self.has_room && side.throttled_until().is_none() {
            Meaning::Silent
        } else if side.outlet.close_sent() {
            // No Ping may follow a Close.
            Meaning::Nothing
        } else {
            Meaning::Stalled
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let side = &self.side;
        let dues = [side.silence_due(&self.config), side.leaving_until(), side.throttled_until(), self.deadline];
        dues.into_iter().flatten().min()
    }
}
