//! The two sides together: who may be read, who has closed, and how it ends.

use std::task::{Context, Poll};
use std::time::Instant;

use hybridrelay::env::Env;
use hybridrelay::ws::{CloseFrame, FrameError};

use super::clock::{Alarm, Meaning};
use super::side::{Input, Quiet, Side};
use super::turn::Turn;
use super::{Driven, Ended, Ending, FAREWELL, LAST_WORDS, Leg, Outcome, Party, PumpConfig};
use crate::observe::{Reporter, Totals};
use crate::pool::CAPACITY;

pub(super) struct Pair {
    env: Env,
    config: PumpConfig,
    sender: Side,
    listener: Side,
    alarm: Alarm,
    turn: Turn,
    reporter: Reporter,
    first_close: Option<(Party, Option<u16>)>,
    first_lost: Option<Party>,
    ended: Option<Ended>,
    /// Boxed, since hardly any pair has one.
    violation: Option<Box<Violation>>,
    /// Set when the pair ends otherwise than by two Closes: whoever is still here then is aborted.
    deadline: Option<Instant>,
}

/// A side that broke the framing and was not told yet: what the other side was about to answer still reaches it.
#[derive(Clone, Copy)]
struct Violation {
    by: Party,
    error: FrameError,
    until: Instant,
}

impl Pair {
    pub(super) fn new(env: Env, config: PumpConfig, sender: Leg, listener: Leg) -> Self {
        Self {
            reporter: Reporter::new(env.now()),
            env,
            config,
            sender: Side::new(sender),
            listener: Side::new(listener),
            alarm: Alarm::default(),
            turn: Turn::default(),
            first_close: None,
            first_lost: None,
            ended: None,
            violation: None,
            deadline: None,
        }
    }
}

impl Driven for Pair {
    type Output = Outcome;

    fn end(&mut self, ending: Ending) {
        self.ended.get_or_insert(Ended::Shutdown);
        match ending {
            Ending::Cut => self.abort_both(),
            Ending::Drain { close, until } => {
                let payload = close.encode();
                for side in [&mut self.sender, &mut self.listener] {
                    side.outlet.close(payload);
                    // What the other side is in the middle of is finished, so that Close finds a border.
                    side.rewriter.stop_at_border();
                }
                self.end_by(until);
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let rounds = self.turn.begin();
        loop {
            let now = self.env.now();
            // First what has come, then what the clock says: bytes that waited for this poll are life.
            let more = self.move_data(rounds, cx, now);
            let acted = self.look_at_the_clock(now);
            let over = self.sender.is_gone() && self.listener.is_gone();
            self.report(over, now);
            if over {
                return Poll::Ready(self.outcome());
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

impl Pair {
    /// Moves what can be moved in both directions; true if there may be more.
    fn move_data(&mut self, rounds: usize, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..rounds {
            let mut moved = false;
            for from in [Party::Sender, Party::Listener] {
                moved |= self.move_from(from, cx, now);
            }
            self.end_if_nobody_listens();
            for party in [Party::Sender, Party::Listener] {
                self.settle(party, now);
                self.side(party).poll_leave(cx);
                let side = self.side(party);
                side.blocked.run(side.outlet.is_blocked(), now);
            }
            if !moved {
                return false;
            }
        }
        true
    }

    /// Writes what waits in one direction and reads more; true if something was read.
    fn move_from(&mut self, from: Party, cx: &mut Context<'_>, now: Instant) -> bool {
        let Self { config: PumpConfig { throttle, .. }, sender, listener, .. } = self;
        let (source, sink) = ordered(from, sender, listener);
        sink.write(cx);
        source.stop_waiting();
        if !source.is_readable() || !(source.closed || sink.can_take()) {
            return false;
        }
        match source.poll_input(throttle, CAPACITY, now, cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(Some(input))) => {
                if !source.closed {
                    self.relay(from, input, cx, now);
                }
            }
            Poll::Ready(Ok(None)) => self.lost(from, false),
            Poll::Ready(Err(_)) => self.lost(from, true),
        }
        true
    }

    /// Passes one buffer on.
    fn relay(&mut self, from: Party, input: Input, cx: &mut Context<'_>, now: Instant) {
        let convicting = self.violation.is_some();
        let (source, sink) = self.direction(from);
        let Input { mut buffer, end } = input;
        let mut rewritten = source.rewriter.rewrite(&mut buffer[..end]);
        source.outlet.answer(std::mem::take(&mut rewritten.pings));
        let (close, violation) = (rewritten.close, rewritten.violation);
        if !rewritten.output.is_empty() {
            if sink.outlet.is_lost() {
                return self.undeliverable(from.other());
            }
            sink.outlet.put(buffer, &rewritten);
        } else {
            drop(buffer);
        }
        if let Some(error) = violation {
            source.closed = true;
            self.violated(from, error, now);
        } else if let Some(close) = close {
            source.closed = true;
            if convicting {
                // Who broke the framing is told that instead.
                return;
            }
            sink.outlet.close(close);
            // The rewriter has checked the payload, so there is no error to lose.
            let code = close.close_code().ok().flatten();
            let (by, code) = *self.first_close.get_or_insert((from, code));
            if self.sender.closed && self.listener.closed {
                self.ended.get_or_insert(Ended::Closed { by, code });
            }
        }
        self.side(from.other()).write(cx);
    }

    /// Lets a side go that has nothing more to say or to hear.
    fn settle(&mut self, party: Party, now: Instant) {
        let side = self.side(party);
        if side.is_gone() || !side.closed {
            return;
        }
        if side.outlet.has_lost_data() {
            self.undeliverable(party);
        } else if side.outlet.is_lost() {
            side.go();
        } else if side.outlet.close_sent() && side.outlet.is_idle() {
            side.leave(now + FAREWELL);
        }
    }

    /// A side's stream has ended, or failed.
    fn lost(&mut self, party: Party, failed: bool) {
        let winding_down = self.deadline.is_some() || self.violation.is_some();
        let (side, other) = self.direction(party);
        if side.closed {
            side.end_input();
            if failed {
                side.outlet.lose();
            }
        } else if winding_down {
            side.abort();
            if other.outlet.ends_inside_frame() {
                // Its Close waits for a border that will not come any more.
                other.abort();
            }
        } else {
            self.ended = Some(Ended::Aborted(party));
            self.abort_both();
        }
    }

    /// Two sides that take nothing any more end the pair. Each would be read only once the other can be told, so neither would
    /// ever be found to have gone.
    fn end_if_nobody_listens(&mut self) {
        let lost = [Party::Sender, Party::Listener].map(|party| self.side(party).outlet.is_lost().then_some(party));
        if let Some(party) = lost[0].or(lost[1]) {
            let first = *self.first_lost.get_or_insert(party);
            if lost[0].and(lost[1]).is_some() {
                self.ended.get_or_insert(Ended::Aborted(first));
                self.abort_both();
            }
        }
    }

    /// A side closed and then vanished while the other still spoke to it: what was said is lost, and whoever said it has
    /// to know. While the relay ends the pair, it is expected.
    fn undeliverable(&mut self, to: Party) {
        if self.deadline.is_some() || self.violation.is_some() {
            return self.side(to).go();
        }
        self.ended = Some(Ended::Aborted(to));
        self.abort_both();
    }

    /// A side broke the framing. What it had said before is delivered, and answers to that have a little time to come.
    fn violated(&mut self, by: Party, error: FrameError, now: Instant) {
        self.ended.get_or_insert(Ended::Violation { by, error });
        self.violation.get_or_insert_with(|| Box::new(Violation { by, error, until: now + LAST_WORDS }));
    }

    /// The side that broke the framing is told so, the other is aborted.
    fn convict(&mut self, Violation { by, error, .. }: Violation, now: Instant) {
        self.violation = None;
        self.side(by.other()).abort();
        self.dismiss(by, CloseFrame { code: error.close_code(), reason: error.to_string() }, now);
    }

    /// Whether nothing more is said to a side that broke the framing, or it does not listen.
    fn is_said(&mut self, Violation { by, until, .. }: Violation, now: Instant) -> bool {
        let (violator, other) = self.direction(by);
        now >= until || other.closed || other.is_gone() || violator.outlet.is_lost()
    }

    /// A side did not answer the other's Close, nor say anything else (protocol.md 6.3).
    ///
    /// The side that had closed gets a Close in its place, since its own deserves an answer. The code is 1001, "going
    /// away", and never what the silent side might have said: what has come need not have been all.
    fn unanswered(&mut self, silent: Party, now: Instant) {
        self.ended.get_or_insert(Ended::Unanswered(silent));
        self.side(silent).abort();
        let reason = "the other side did not answer the close".to_owned();
        self.dismiss(silent.other(), CloseFrame { code: 1001, reason }, now);
    }

    /// Tells a side Close at the next border, listens to it no more, and gives it a little time. Without a border in
    /// reach it is aborted: nobody is left who would finish the frame.
    fn dismiss(&mut self, party: Party, close: CloseFrame, now: Instant) {
        let side = self.side(party);
        side.closed = true;
        if !side.outlet.close_at_next_border(close.encode()) {
            side.abort();
        }
        self.end_by(now + FAREWELL);
    }

    fn end_by(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    fn abort_both(&mut self) {
        self.sender.abort();
        self.listener.abort();
    }

    /// Does what is due; true if that was anything.
    fn look_at_the_clock(&mut self, now: Instant) -> bool {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.abort_both();
            return true;
        }
        if let Some(violation) = self.violation.as_deref().copied()
            && self.is_said(violation, now)
        {
            self.convict(violation, now);
            return true;
        }
        let mut acted = false;
        for party in [Party::Sender, Party::Listener] {
            if self.side(party).leaving_until().is_some_and(|until| now >= until) {
                self.side(party).stop_leaving();
                acted = true;
            }
        }
        // Both are judged before anything is done about either: a Ping that waits for one side would excuse the other.
        for party in [Party::Sender, Party::Listener] {
            let meaning = self.meaning_of_silence(party);
            self.side(party).silence.judge(meaning, now);
        }
        for party in [Party::Sender, Party::Listener] {
            if self.side_ref(party).silence_due(&self.config).is_some_and(|due| now >= due) {
                self.silent_until_due(party, now);
                acted = true;
            }
        }
        acted
    }

    fn silent_until_due(&mut self, party: Party, now: Instant) {
        let (side, config) = match party {
            Party::Sender => (&mut self.sender, &self.config),
            Party::Listener => (&mut self.listener, &self.config),
        };
        match side.silent_until_due(config, now) {
            Some(Quiet::Unanswered) => self.unanswered(party, now),
            Some(Quiet::Silent) => {
                self.ended.get_or_insert(Ended::Silent(party));
                self.abort_both();
            }
            None => {}
        }
    }

    fn meaning_of_silence(&mut self, party: Party) -> Meaning {
        let winding_down = self.deadline.is_some();
        let (side, other) = self.direction(party);
        if winding_down || side.closed || !side.is_readable() || !side.outlet.is_idle() {
            Meaning::Nothing
        } else if other.can_take() && side.throttled_until().is_none() {
            Meaning::Silent
        } else if side.outlet.close_sent() {
            // No Ping may follow a Close.
            Meaning::Nothing
        } else {
            Meaning::Stalled
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let mut due = self.violation.as_ref().map(|violation| violation.until).into_iter().chain(self.deadline).min();
        for party in [Party::Sender, Party::Listener] {
            let side = self.side_ref(party);
            let dues = [side.silence_due(&self.config), side.leaving_until(), side.throttled_until(), due];
            due = dues.into_iter().flatten().min();
        }
        due
    }

    /// Adds to the metrics what has gone through since the last time, when it is worth it.
    fn report(&mut self, over: bool, now: Instant) {
        let (sender, listener) = (&self.sender, &self.listener);
        let (to_listener, to_sender) = (sender.rewriter.traffic().bytes, listener.rewriter.traffic().bytes);
        if over || self.reporter.is_due(to_listener, to_sender, now) {
            let totals = Totals {
                to_listener,
                to_sender,
                listener_blocked: listener.blocked.read(now),
                sender_blocked: sender.blocked.read(now),
                throttled: sender.throttled_for() + listener.throttled_for(),
            };
            self.reporter.report(&self.config.meter, totals, now);
        }
        if over {
            let unused = [&mut self.sender, &mut self.listener].into_iter().filter_map(Side::take_grant);
            unused.for_each(|grant| self.config.throttle.give_back(grant.bytes));
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            sender_to_listener: self.sender.rewriter.traffic(),
            listener_to_sender: self.listener.rewriter.traffic(),
            // Whoever goes without a reason noted went after two Closes, which are noted. There is no other way.
            ended: self.ended.unwrap_or(Ended::Shutdown),
        }
    }

    fn side_ref(&self, party: Party) -> &Side {
        match party {
            Party::Sender => &self.sender,
            Party::Listener => &self.listener,
        }
    }

    fn side(&mut self, party: Party) -> &mut Side {
        match party {
            Party::Sender => &mut self.sender,
            Party::Listener => &mut self.listener,
        }
    }

    /// Whom a direction comes from and whom it goes to.
    fn direction(&mut self, from: Party) -> (&mut Side, &mut Side) {
        ordered(from, &mut self.sender, &mut self.listener)
    }
}

/// The side that speaks and the side that listens.
fn ordered<'a>(from: Party, sender: &'a mut Side, listener: &'a mut Side) -> (&'a mut Side, &'a mut Side) {
    match from {
        Party::Sender => (sender, listener),
        Party::Listener => (listener, sender),
    }
}
