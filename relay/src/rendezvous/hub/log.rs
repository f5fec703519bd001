//! The events of one publisher that some subscriber has not taken yet: kept once, however many wait for them.
//!
//! Each subscriber reads at its own pace. An event goes when the last of those who were there when it came has taken it, or when
//! more waits than may wait: so what a stalled subscriber costs is bounded, and many of them cost no more than one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hybridrelay::ws::ControlPayload;
use tokio::sync::mpsc;

use crate::directory::ListenerId;
use crate::namespace::SlowSubscriber;
use crate::node::lock;

/// What an event takes up beside its bytes, so that a queue of short or empty ones is bounded as well.
const OVERHEAD: usize = 64;

/// How much one subscriber is given at once at most, unless a single event is longer.
const BATCH_BYTES: usize = 64 * 1024;
const BATCH_EVENTS: usize = 64;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Log(Arc<Mutex<State>>);

struct State {
    /// How many bytes may wait for one subscriber.
    most: usize,
    policy: SlowSubscriber,
    /// The events that wait, in order; none without somebody to wait for it.
    slots: VecDeque<Slot>,
    /// The number of the first of them, counted from the publisher's first event.
    first: u64,
    /// What they take up.
    bytes: usize,
    readers: Vec<Option<Reader>>,
    vacant: Vec<usize>,
    /// Readers that get what comes next.
    present: usize,
    /// Those of them that were woken and have neither taken everything nor found their sockets full.
    awake: usize,
    /// Waits for room, or for those readers.
    publisher: Option<Waker>,
    /// What follows the last event.
    end: Option<ControlPayload>,
    losses: Losses,
    /// Where those go who are to be told that they missed something.
    told: mpsc::UnboundedSender<Arc<Missed>>,
}

struct Slot {
    frame: Bytes,
    /// How many readers have not taken it.
    waiting: usize,
}

/// Where a subscriber is.
struct Reader {
    /// The number of the event that it gets next.
    next: u64,
    pace: Pace,
    waker: Option<Waker>,
    missed: Option<Arc<Missed>>,
}

/// How a reader stands to the events that wait for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// It has taken all.
    Waiting,
    /// It was woken to take more.
    Awake,
    /// Its socket takes no more, or it is not there yet.
    Blocked,
    /// It was too slow.
    CutOff,
}

/// What subscribers did not get because they were too slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Events, each as often as there were subscribers that missed it.
    pub(super) dropped: u64,
    /// Subscribers that were given up.
    pub(super) cut_off: u64,
}

/// How many events a subscriber missed that wants to be told.
pub(super) struct Missed {
    pub(super) listener: ListenerId,
    count: AtomicU64,
    /// Whether somebody is about to tell it, or it is not there yet.
    pending: AtomicBool,
}

/// A subscriber's place in the log. Dropping it gives up what waits for it.
pub(super) struct Cursor {
    log: Log,
    index: usize,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Events(Vec<Bytes>),
    /// There will be no more.
    End(ControlPayload),
}

impl Log {
    /// An empty log, and where those come out who are to be told that they missed something.
    pub(super) fn new(most: usize, policy: SlowSubscriber) -> (Self, mpsc::UnboundedReceiver<Arc<Missed>>) {
        // At most one entry for each reader.
        let (told, to_tell) = mpsc::unbounded_channel();
        let state = State {
            most,
            policy,
            slots: VecDeque::new(),
            first: 0,
            bytes: 0,
            readers: Vec::new(),
            vacant: Vec::new(),
            present: 0,
            awake: 0,
            publisher: None,
            end: None,
            losses: Losses::default(),
            told,
        };
        (Self(Arc::new(Mutex::new(state))), to_tell)
    }

    /// A place for one who gets everything from now on.
    pub(super) fn join(&self, missed: Option<Arc<Missed>>) -> Cursor {
        let mut state = lock(&self.0);
        state.present += 1;
        let reader = Some(Reader { next: state.next(), pace: Pace::Blocked, waker: None, missed });
        let index = match state.vacant.pop() {
            Some(index) => {
                state.readers[index] = reader;
                index
            }
            None => {
                state.readers.push(reader);
                state.readers.len() - 1
            }
        };
        Cursor { log: self.clone(), index }
    }

    /// Ready when the publisher may go on: everybody whose socket takes what there is has had a turn, and, if nobody may miss
    /// anything, there is room for more.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.has_room() {
            return Poll::Ready(());
        }
        remember(&mut state.publisher, cx);
        Poll::Pending
    }

    /// Adds events for everybody who is there, and tells what was lost for that.
    pub(super) fn append(&self, events: impl IntoIterator<Item = Bytes>) -> Losses {
        let mut state = lock(&self.0);
        let mut woken = Vec::new();
        for frame in events {
            let size = frame.len() + OVERHEAD;
            while state.policy != SlowSubscriber::Block && !state.slots.is_empty() && state.bytes + size > state.most {
                state.drop_oldest(&mut woken);
            }
            if state.end.is_none() && state.present > 0 {
                let waiting = state.present;
                state.bytes += size;
                state.slots.push_back(Slot { frame, waiting });
            }
        }
        let State { slots, readers, awake, losses, .. } = &mut *state;
        let waiting = |reader: &&mut Reader| reader.pace == Pace::Waiting;
        for reader in readers.iter_mut().flatten().filter(waiting).filter(|_| !slots.is_empty()) {
            reader.pace = Pace::Awake;
            *awake += 1;
            woken.extend(reader.waker.clone());
        }
        let losses = std::mem::take(losses);
        wake(state, woken);
        losses
    }

    /// Says what follows the last event. The first that is said stays.
    pub(super) fn finish(&self, end: ControlPayload) {
        let mut state = lock(&self.0);
        if state.end.is_none() {
            state.end = Some(end);
            let woken = state.readers.iter().flatten().filter_map(|reader| reader.waker.clone()).collect();
            wake(state, woken);
        }
    }
}

impl State {
    /// The number that the next event will have.
    fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    fn has_room(&self) -> bool {
        self.awake == 0 && (self.policy != SlowSubscriber::Block || self.bytes < self.most)
    }

    /// Makes room at the cost of those who are behind: they miss the event that has waited longest, or are given up for it.
    fn drop_oldest(&mut self, woken: &mut Vec<Waker>) {
        let number = self.first;
        self.let_go_of_oldest();
        let Self { slots, readers, present, awake, losses, .. } = self;
        for reader in readers.iter_mut().flatten().filter(|reader| reader.pace != Pace::CutOff) {
            if reader.next > number {
                continue;
            }
            reader.next = number + 1;
            if self.policy == SlowSubscriber::Disconnect {
                *awake -= usize::from(reader.pace == Pace::Awake);
                *present -= 1;
                reader.pace = Pace::CutOff;
                slots.iter_mut().for_each(|slot| slot.waiting -= 1);
                losses.cut_off += 1;
                woken.extend(reader.waker.clone());
            } else {
                losses.dropped += 1;
                if let Some(missed) = reader.missed.as_ref().filter(|missed| missed.one_more()) {
                    // Nobody tells any more once everything ends.
                    let _ = self.told.send(missed.clone());
                }
            }
        }
        self.tidy();
    }

    fn let_go_of_oldest(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.bytes -= slot.frame.len() + OVERHEAD;
            self.first += 1;
        }
    }

    /// Lets go of what everybody has taken.
    fn tidy(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.waiting == 0) {
            self.let_go_of_oldest();
        }
        if self.slots.is_empty() && self.slots.capacity() > BATCH_EVENTS {
            // A burst leaves nothing behind.
            self.slots = VecDeque::new();
        }
    }

    /// A reader has had its turn.
    fn rest(&mut self, index: usize, pace: Pace) {
        if let Some(reader) = &mut self.readers[index]
            && reader.pace != Pace::CutOff
        {
            self.awake -= usize::from(reader.pace == Pace::Awake);
            reader.pace = pace;
        }
    }
}

impl Cursor {
    /// What comes next; waits for it.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut state = lock(&self.log.0);
        let (first, next, end) = (state.first, state.next(), state.end);
        let State { slots, readers, .. } = &mut *state;
        let Some(reader) = &mut readers[self.index] else { return Poll::Pending };
        remember(&mut reader.waker, cx);
        if reader.pace == Pace::CutOff {
            return Poll::Pending;
        }
        if reader.next == next {
            state.rest(self.index, Pace::Waiting);
            wake_publisher(state);
            return end.map_or(Poll::Pending, |end| Poll::Ready(Taken::End(end)));
        }
        let (mut events, mut bytes) = (Vec::new(), 0);
        for slot in slots.range_mut((reader.next - first) as usize..).take(BATCH_EVENTS) {
            bytes += slot.frame.len();
            if !events.is_empty() && bytes > BATCH_BYTES {
                break;
            }
            slot.waiting -= 1;
            events.push(slot.frame.clone());
        }
        reader.next += events.len() as u64;
        state.tidy();
        wake_publisher(state);
        Poll::Ready(Taken::Events(events))
    }

    /// The subscriber is there: from now on it is told what it misses, and what it has missed so far. Had it declined, that would
    /// concern it as little as the rest.
    pub(super) fn seated(&self) {
        let state = lock(&self.log.0);
        let missed = state.readers[self.index].as_ref().and_then(|reader| reader.missed.as_ref());
        if let Some(missed) = missed.filter(|missed| !missed.is_told(0)) {
            let _ = state.told.send(missed.clone());
        }
    }

    /// The socket takes no more at the moment.
    pub(super) fn blocked(&self) {
        let mut state = lock(&self.log.0);
        state.rest(self.index, Pace::Blocked);
        wake_publisher(state);
    }

    /// Whether so much waited that it was given up.
    pub(super) fn is_cut_off(&self) -> bool {
        lock(&self.log.0).readers[self.index].as_ref().is_some_and(|reader| reader.pace == Pace::CutOff)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut state = lock(&self.log.0);
        state.rest(self.index, Pace::Blocked);
        let Some(reader) = state.readers[self.index].take() else { return };
        state.vacant.push(self.index);
        if reader.pace != Pace::CutOff {
            state.present -= 1;
            let from = (reader.next - state.first) as usize;
            state.slots.range_mut(from..).for_each(|slot| slot.waiting -= 1);
            state.tidy();
        }
        wake_publisher(state);
    }
}

impl Missed {
    pub(super) fn new(listener: ListenerId) -> Self {
        Self { listener, count: AtomicU64::new(0), pending: AtomicBool::new(true) }
    }

    /// Counts an event; true if nobody is about to tell yet.
    fn one_more(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        !self.pending.swap(true, Ordering::AcqRel)
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// So many were told; true if there is no more to tell.
    pub(super) fn is_told(&self, count: u64) -> bool {
        self.pending.store(false, Ordering::Release);
        // One that came meanwhile and found somebody about to tell relied on that.
        self.count() == count || self.pending.swap(true, Ordering::AcqRel)
    }
}

fn remember(waker: &mut Option<Waker>, cx: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}

/// Wakes the publisher, if it waits and may go on.
fn wake_publisher(mut state: MutexGuard<'_, State>) {
    if state.has_room() {
        let publisher = state.publisher.take();
        wake(state, publisher.into_iter().collect());
    }
}

/// Wakes tasks when the lock is free again.
fn wake(state: MutexGuard<'_, State>, woken: Vec<Waker>) {
    drop(state);
    woken.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use hybridrelay::CloseFrame;
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1000;

    fn take(cursor: &Cursor) -> Poll<Taken> {
        cursor.poll_take(&mut Context::from_waker(Waker::noop()))
    }

    fn has_room(log: &Log) -> bool {
        log.poll_room(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn bytes(log: &Log) -> usize {
        lock(&log.0).bytes
    }

    /// An event that names itself.
    fn event(number: u32, len: usize) -> Bytes {
        let mut event = vec![0; len.max(4)];
        event[..4].copy_from_slice(&number.to_be_bytes());
        event.into()
    }

    fn end(code: u16) -> ControlPayload {
        CloseFrame { code, reason: String::new() }.encode()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        Join,
        Take(usize),
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..600_usize).prop_map(Step::Append),
            1 => Just(Step::Join),
            4 => (0..8_usize).prop_map(Step::Take),
            1 => (0..8_usize).prop_map(Step::Leave),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn every_reader_gets_what_a_queue_of_its_own_would_give_it(steps in steps()) {
            for policy in [SlowSubscriber::DropOldest, SlowSubscriber::Disconnect, SlowSubscriber::Block] {
                let (log, _to_tell) = Log::new(MOST, policy);
                // A reader, its own queue, and whether it was given up.
                let mut readers: Vec<(Cursor, VecDeque<Bytes>, bool)> = Vec::new();
                let (mut number, mut lost, mut expected) = (0, Losses::default(), Losses::default());
                for step in &steps {
                    match *step {
                        Step::Append(len) => {
                            if policy == SlowSubscriber::Block && bytes(&log) >= MOST {
                                continue;
                            }
                            let event = event(number, len);
                            number += 1;
                            for (_, queue, cut) in readers.iter_mut().filter(|(_, _, cut)| !cut) {
                                let size = |queue: &VecDeque<Bytes>| queue.iter().map(|e| e.len() + OVERHEAD).sum::<usize>();
                                while policy != SlowSubscriber::Block
                                    && !*cut && !queue.is_empty() && size(queue) + event.len() + OVERHEAD > MOST
                                {
                                    queue.pop_front();
                                    if policy == SlowSubscriber::Disconnect {
                                        queue.clear();
                                        *cut = true;
                                        expected.cut_off += 1;
                                    } else {
                                        expected.dropped += 1;
                                    }
                                }
                                if !*cut {
                                    queue.push_back(event.clone());
                                }
                            }
                            let more = log.append([event]);
                            lost.dropped += more.dropped;
                            lost.cut_off += more.cut_off;
                        }
                        Step::Join => readers.push((log.join(None), VecDeque::new(), false)),
                        Step::Take(index) => {
                            let Some((cursor, queue, cut)) = readers.get_mut(index) else { continue };
                            prop_assert_eq!(cursor.is_cut_off(), *cut);
                            match take(cursor) {
                                Poll::Ready(taken) => {
                                    prop_assert_eq!(taken, Taken::Events(std::mem::take(queue).into()));
                                }
                                Poll::Pending => prop_assert!(queue.is_empty()),
                            }
                        }
                        Step::Leave(index) => {
                            if index < readers.len() {
                                readers.remove(index);
                            }
                        }
                    }
                    let longest = readers.iter().map(|(_, queue, _)| queue.iter().map(|e| e.len() + OVERHEAD).sum()).max();
                    prop_assert_eq!(bytes(&log), longest.unwrap_or(0), "only what somebody waits for is kept");
                }
                prop_assert_eq!(lost, expected);
                readers.clear();
                prop_assert_eq!(bytes(&log), 0);
            }
        }
    }

    #[test]
    fn the_publisher_goes_on_when_everybody_had_a_turn_or_does_not_take() {
        let (log, _to_tell) = Log::new(MOST, SlowSubscriber::DropOldest);
        let (quick, slow) = (log.join(None), log.join(None));
        assert!(has_room(&log), "who has not dialled is not waited for");
        assert!(take(&quick).is_pending() && take(&slow).is_pending());
        log.append([event(1, 10)]);
        assert!(!has_room(&log));
        assert!(take(&quick).is_ready() && take(&quick).is_pending());
        assert!(!has_room(&log));
        slow.blocked();
        assert!(has_room(&log));
        log.append([event(2, 10)]);
        drop(quick);
        assert!(has_room(&log));
        drop(slow);
        assert_eq!(bytes(&log), 0);
    }

    #[test]
    fn the_end_comes_behind_the_last_event_and_the_first_one_stays() {
        let (log, _to_tell) = Log::new(MOST, SlowSubscriber::DropOldest);
        let cursor = log.join(None);
        log.append([event(1, 10), event(2, 10)]);
        log.finish(end(1000));
        log.finish(end(1001));
        log.append([event(3, 10)]);
        assert_eq!(take(&cursor), Poll::Ready(Taken::Events(vec![event(1, 10), event(2, 10)])));
        assert_eq!(take(&cursor), Poll::Ready(Taken::End(end(1000))));
        assert_eq!(take(&log.join(None)), Poll::Ready(Taken::End(end(1000))));
    }

    #[test]
    fn who_misses_something_is_to_be_told_once_at_a_time() {
        let (log, mut to_tell) = Log::new(MOST, SlowSubscriber::DropOldest);
        let cursor = log.join(Some(Arc::new(Missed::new(ListenerId(7)))));
        log.append((0..5).map(|number| event(number, 500)));
        assert!(to_tell.try_recv().is_err(), "it is not there yet");
        cursor.seated();
        let missed = to_tell.try_recv().expect("it missed something");
        assert_eq!((missed.listener, missed.count()), (ListenerId(7), 4));
        log.append([event(5, 500)]);
        assert!(to_tell.try_recv().is_err(), "somebody is about to tell it");
        assert!(!missed.is_told(4), "it has missed more meanwhile");
        assert!(missed.is_told(5));
        log.append([event(6, 500)]);
        assert_eq!(to_tell.try_recv().expect("again").count(), 6);
    }
}
