//! Connections in memory that behave like TCP at its worst: a reset overtakes what is under way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::ReadBuf;

use super::network::{HostId, State, World};
use super::trace::{Event, hash};

/// The end of a connection that dialled.
pub(super) const DIALLER: usize = 0;

/// The end of a connection that was dialled.
pub(super) const ACCEPTOR: usize = 1;

/// A connection between two hosts. Its ends are numbered, and so are its directions, by the end that they come from.
pub(super) struct Connection {
    pub(super) ends: [HostId; 2],
    pipes: [Pipe; 2],
    /// Which ends have a socket that lives.
    open: [bool; 2],
    cut: bool,
    stranded: bool,
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// What was written and not read yet, each with the time of its arrival.
    segments: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// When the end of the stream arrives, behind the segments.
    end: Option<Instant>,
    /// The end that it comes from has reset the connection.
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Connection {
    pub(super) fn new(ends: [HostId; 2]) -> Self {
        Self { ends, pipes: Default::default(), open: [true; 2], cut: false, stranded: false }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    pub(super) fn cut(&mut self, wakers: &mut Vec<Waker>) {
        self.cut = true;
        for pipe in &mut self.pipes {
            pipe.clear();
        }
        self.wake(wakers);
    }

    pub(super) fn strand(&mut self) {
        self.stranded = true;
    }

    pub(super) fn wake(&mut self, wakers: &mut Vec<Waker>) {
        for pipe in &mut self.pipes {
            wakers.extend(pipe.reader.take());
            wakers.extend(pipe.writer.take());
        }
    }
}

impl Pipe {
    fn clear(&mut self) {
        self.segments.clear();
        self.bytes = 0;
    }

    /// Moves what has arrived by `now` into `buf`; false if nothing has.
    fn take(&mut self, now: Instant, buf: &mut ReadBuf<'_>) -> bool {
        let before = buf.filled().len();
        while buf.remaining() > 0
            && let Some((_, segment)) = self.segments.front_mut().filter(|(arrival, _)| *arrival <= now)
        {
            let len = segment.len().min(buf.remaining());
            buf.put_slice(&segment[..len]);
            segment.advance(len);
            self.bytes -= len;
            if segment.is_empty() {
                self.segments.pop_front();
            }
        }
        buf.filled().len() > before
    }
}

/// What a read found.
pub(super) enum Found {
    Done(io::Result<()>),
    /// Nothing yet; something arrives then, if that is known.
    Nothing(Option<Instant>),
}

impl World {
    pub(super) fn read(&self, id: u64, end: usize, buf: &mut ReadBuf<'_>, waker: &Waker) -> Found {
        self.with(|state, wakers| {
            let now = tokio::time::Instant::now().into_std();
            let held = is_held(state, id, 1 - end);
            let Some(connection) = state.connections.get_mut(&id) else { return Found::Done(Err(reset())) };
            let pipe = &mut connection.pipes[1 - end];
            if connection.cut || (pipe.reset && !held) {
                return Found::Done(Err(reset()));
            }
            let mut due = None;
            if !held {
                if pipe.take(now, buf) {
                    wakers.extend(pipe.writer.take());
                    return Found::Done(Ok(()));
                }
                due = pipe.segments.front().map(|(arrival, _)| *arrival).or(pipe.end);
                if due.is_some_and(|end| end <= now) {
                    return Found::Done(Ok(()));
                }
            }
            pipe.reader = Some(waker.clone());
            Found::Nothing(due)
        })
    }

    pub(super) fn write(&self, id: u64, end: usize, bufs: &[IoSlice<'_>], waker: &Waker) -> Poll<io::Result<usize>> {
        self.with(|state, wakers| {
            let arrival = tokio::time::Instant::now().into_std() + state.latency;
            let window = state.window;
            let (held, back_held) = (is_held(state, id, end), is_held(state, id, 1 - end));
            let Some(connection) = state.connections.get_mut(&id) else { return Poll::Ready(Err(reset())) };
            if connection.cut || (connection.pipes[1 - end].reset && !back_held) {
                return Poll::Ready(Err(reset()));
            }
            let pipe = &mut connection.pipes[end];
            if pipe.end.is_some() {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            let room = window.saturating_sub(pipe.bytes);
            let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
            if room == 0 && wanted > 0 {
                pipe.writer = Some(waker.clone());
                return Poll::Pending;
            }
            let mut written = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>();
            written.truncate(room);
            let (len, hash) = (written.len(), hash(&written));
            if len > 0 {
                pipe.bytes += len;
                pipe.segments.push_back((arrival, written.into()));
                wakers.extend(pipe.reader.take());
            }
            let by = state.name(connection_end(state, id, end));
            self.record(state, Event::Sent { connection: id, by, bytes: len, hash });
            if !held {
                self.answer_unread(state, id, end, wakers);
            }
            Poll::Ready(Ok(len))
        })
    }

    /// No socket is there to read what comes from `end`: its host answers with a reset.
    fn answer_unread(&self, state: &mut State, id: u64, end: usize, wakers: &mut Vec<Waker>) {
        let Some(connection) = state.connections.get(&id) else { return };
        if !connection.open[1 - end] && !connection.pipes[end].segments.is_empty() {
            self.reset(state, id, 1 - end, wakers);
        }
    }

    /// One end resets: everything under way from it is lost, and what comes to it as well.
    fn reset(&self, state: &mut State, id: u64, by: usize, wakers: &mut Vec<Waker>) {
        let Some(connection) = state.connections.get_mut(&id) else { return };
        if std::mem::replace(&mut connection.pipes[by].reset, true) {
            return;
        }
        connection.pipes.iter_mut().for_each(Pipe::clear);
        connection.wake(wakers);
        let by = state.name(connection_end(state, id, by));
        self.record(state, Event::Reset { connection: id, by });
    }

    pub(super) fn end(&self, state: &mut State, id: u64, by: usize, wakers: &mut Vec<Waker>) {
        let arrival = tokio::time::Instant::now().into_std() + state.latency;
        let Some(connection) = state.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[by];
        if pipe.end.is_some() || pipe.reset || connection.cut {
            return;
        }
        pipe.end = Some(arrival);
        wakers.extend(pipe.reader.take());
        let by = state.name(connection_end(state, id, by));
        self.record(state, Event::Ended { connection: id, by });
    }

    /// A socket was dropped.
    pub(super) fn close(&self, id: u64, end: usize, abort: bool) {
        self.with(|state, wakers| {
            let held = is_held(state, id, 1 - end);
            let Some(connection) = state.connections.get_mut(&id) else { return };
            connection.open[end] = false;
            let over = connection.open == [false; 2];
            // As a system does it: what was sent here and never read is answered by a reset.
            let unread = !held && !connection.pipes[1 - end].segments.is_empty();
            if abort || unread {
                self.reset(state, id, end, wakers);
            } else {
                self.end(state, id, end, wakers);
            }
            if over {
                state.connections.remove(&id);
            }
        });
    }

    /// The path between the ends of a connection is open again.
    pub(super) fn healed(&self, state: &mut State, id: u64, wakers: &mut Vec<Waker>) {
        for end in [DIALLER, ACCEPTOR] {
            if !is_held(state, id, end) {
                self.answer_unread(state, id, end, wakers);
            }
        }
        if let Some(connection) = state.connections.get_mut(&id) {
            connection.wake(wakers);
        }
    }
}

fn is_held(state: &State, id: u64, from: usize) -> bool {
    let Some(connection) = state.connections.get(&id) else { return false };
    connection.stranded || state.is_held(connection.ends[from], connection.ends[1 - from])
}

fn connection_end(state: &State, id: u64, end: usize) -> HostId {
    state.connections.get(&id).map_or(0, |connection| connection.ends[end])
}

fn reset() -> io::Error {
    ErrorKind::ConnectionReset.into()
}
