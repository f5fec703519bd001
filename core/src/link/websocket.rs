//! A [`Link`] over one relayed WebSocket.
//!
//! All state is in one place behind a mutex that is held for one poll and never across an await. Program tasks read and write
//! through it directly, without a hop through another task; a small keeper task does what must happen while the program does
//! neither: answering and sending pings, flushing what is left, and ending a socket that was closed (protocol.md 6.3 and 10,
//! decision 19).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::fan::{Fan, Waiter};
use super::{Link, Piece};
use crate::env::{BoxSocket, Env};
use crate::ws::CloseFrame;
use crate::{Error, ErrorKind, Result};

mod inbound;
mod keeper;
mod outbound;

use inbound::Inbound;
use outbound::Outbound;

#[derive(Clone, Copy, Debug)]
pub(crate) struct WebSocketSettings {
    /// Ping after this long without a received byte; `None` never pings.
    pub(crate) keep_alive: Option<Duration>,
    /// How long a ping may go unanswered while we read.
    pub(crate) keep_alive_deadline: Duration,
    /// How long a released link may make no progress before it is aborted.
    pub(crate) close_timeout: Duration,
}

/// A handle to the link; [`release`](Link::release) must be called by whoever owns the last one.
pub(crate) struct WebSocketLink(Arc<Shared>);

struct Shared {
    env: Env,
    settings: WebSocketSettings,
    state: Mutex<State>,
    /// Wakes whoever polls the socket.
    fan: Arc<Fan>,
    fan_waker: Waker,
    /// Wakes the keeper to look at the state again, without making it wait on the socket.
    keeper: AtomicWaker,
}

struct State {
    /// `None` once the link has ended.
    socket: Option<BoxSocket>,
    inbound: Inbound,
    outbound: Outbound,
    /// Why the link broke, if it did: what both halves answer from then on.
    failure: Option<Error>,
    last_received: Instant,
    last_sent: Instant,
    /// When the ping that awaits a sign of life was sent.
    ping_sent: Option<Instant>,
    /// The keeper waits for a sign of life and so reads ahead.
    watching: bool,
    /// The ping left, and an answer would have been heard since then.
    listening: bool,
    /// No handle is left.
    released: bool,
}

impl WebSocketLink {
    /// Takes over an upgraded client socket; `read_buf` are bytes that came behind the 101.
    pub(crate) fn start(env: &Env, socket: BoxSocket, read_buf: Bytes, settings: WebSocketSettings) -> Self {
        let fan = Arc::new(Fan::default());
        let shared = Arc::new(Shared {
            env: env.clone(),
            settings,
            state: Mutex::new(State {
                socket: Some(socket),
                inbound: Inbound::new(read_buf),
                outbound: Outbound::new(env.clone()),
                failure: None,
                last_received: env.now(),
                last_sent: env.now(),
                ping_sent: None,
                watching: false,
                listening: false,
                released: false,
            }),
            fan_waker: Waker::from(fan.clone()),
            fan,
            keeper: AtomicWaker::new(),
        });
        env.spawn(keeper::keep(shared.clone()));
        Self(shared)
    }
}

impl fmt::Debug for WebSocketLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSocketLink")
    }
}

impl Link for WebSocketLink {
    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>>> {
        let shared = &*self.0;
        let mut state = shared.lock();
        loop {
            if let Some(piece) = state.inbound.pop() {
                return Poll::Ready(Ok(Some(piece)));
            }
            if state.inbound.closed().is_some() {
                return Poll::Ready(Ok(None));
            }
            if let Some(failure) = &state.failure {
                return Poll::Ready(Err(failure.clone()));
            }
            shared.fan.register(Waiter::Reader, cx.waker());
            match state.poll_fill(shared) {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    // Answers to pings leave with the next flush of anyone; nobody else may be writing now.
                    let _ = state.poll_output(shared);
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_outbound(cx, Outbound::has_room)
    }

    fn start_write(&self, piece: Piece) -> Result<()> {
        let shared = &*self.0;
        let mut state = shared.lock();
        state.writable()?;
        state.outbound.push(piece);
        state.push_out(shared);
        Ok(())
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_outbound(cx, Outbound::is_flushed)
    }

    fn start_close(&self, frame: Option<CloseFrame>) -> Result<()> {
        let shared = &*self.0;
        let mut state = shared.lock();
        if state.outbound.is_closed() {
            return Ok(());
        }
        state.writable()?;
        state.outbound.close(frame);
        state.push_out(shared);
        shared.keeper.wake();
        Ok(())
    }

    fn peer_close(&self) -> Option<Option<CloseFrame>> {
        self.0.lock().inbound.closed().cloned()
    }

    fn fail(&self, error: Error, close: CloseFrame) {
        let mut state = self.0.lock();
        state.violated(error, Some(close));
        state.push_out(&self.0);
        drop(state);
        self.0.wake_everybody();
    }

    fn abort(&self) {
        self.0.lock().end(Error::new(ErrorKind::Closed, "the connection was aborted by this program"));
        self.0.wake_everybody();
    }

    fn progress(&self) -> u64 {
        self.0.lock().progress()
    }

    fn release(&self) {
        let mut state = self.0.lock();
        state.released = true;
        if !state.outbound.is_closed() {
            state.end(Error::new(ErrorKind::Closed, "the connection was dropped"));
        }
        drop(state);
        self.0.wake_everybody();
    }
}

impl WebSocketLink {
    fn poll_outbound(&self, cx: &mut Context<'_>, done: impl Fn(&Outbound) -> bool) -> Poll<Result<()>> {
        let shared = &*self.0;
        let mut state = shared.lock();
        if let Some(failure) = &state.failure {
            return Poll::Ready(Err(failure.clone()));
        }
        if done(&state.outbound) {
            return Poll::Ready(Ok(()));
        }
        shared.fan.register(Waiter::Writer, cx.waker());
        let _ = state.poll_output(shared);
        match &state.failure {
            Some(failure) => Poll::Ready(Err(failure.clone())),
            None if done(&state.outbound) => {
                if !state.outbound.is_flushed() {
                    shared.keeper.wake();
                }
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside one poll leaves a state that is at worst incomplete, which the next I/O turns into an error.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_everybody(&self) {
        self.fan.wake_all();
        self.keeper.wake();
    }
}

impl State {
    /// Grows with whatever moves for the program; a peer that only answers pings makes no progress.
    fn progress(&self) -> u64 {
        self.inbound.delivered() + self.outbound.sent()
    }

    fn writable(&self) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.outbound.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the sending direction of the connection is closed"));
        }
        Ok(())
    }

    /// Reads and decodes until a piece is queued, the peer closes, or the link breaks (all `Ready`), or nothing has come.
    fn poll_fill(&mut self, shared: &Shared) -> Poll<()> {
        let mut cx = Context::from_waker(&shared.fan_waker);
        let Some(socket) = &mut self.socket else { return Poll::Ready(()) };
        let before = self.inbound.received();
        let was_closed = self.inbound.closed().is_some();
        let outcome = self.inbound.poll_fill(&mut cx, socket, &mut self.outbound);
        if self.inbound.received() > before {
            self.last_received = shared.env.now();
            self.ping_sent = None;
            self.watching = false;
        }
        if !was_closed && self.inbound.closed().is_some() {
            // The keeper gives the socket back if that was the second Close, also while the program keeps its handle. Once only:
            // it is the keeper itself that looks, for as long as the other direction lives.
            shared.keeper.wake();
        }
        match outcome {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(inbound::Broken::Io(error))) => {
                self.end(error);
                Poll::Ready(())
            }
            Poll::Ready(Err(inbound::Broken::Frame(error))) => {
                let close = CloseFrame { code: error.close_code(), reason: error.to_string() };
                self.violated(
                    Error::new(ErrorKind::Protocol, "the peer broke the WebSocket protocol").with_source(error),
                    Some(close),
                );
                self.push_out(shared);
                // The keeper sees to the rest: nobody has to call again.
                shared.keeper.wake();
                Poll::Ready(())
            }
        }
    }

    /// Writes what is queued as far as the socket takes it.
    fn poll_output(&mut self, shared: &Shared) -> Poll<()> {
        let mut cx = Context::from_waker(&shared.fan_waker);
        let Some(socket) = &mut self.socket else { return Poll::Ready(()) };
        let before = self.outbound.written();
        let outcome = self.outbound.poll_write(&mut cx, socket);
        if self.outbound.written() > before {
            self.last_sent = shared.env.now();
        }
        match outcome {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                self.end(lost("the connection broke while sending", error));
                Poll::Ready(())
            }
        }
    }

    /// Sends what was just queued at once; the keeper takes over what the socket does not take.
    fn push_out(&mut self, shared: &Shared) {
        if self.poll_output(shared).is_pending() {
            shared.keeper.wake();
        }
    }

    /// Breaks the link for the program, while the peer is still told why.
    fn violated(&mut self, error: Error, close: Option<CloseFrame>) {
        self.failure.get_or_insert(error);
        self.outbound.close(close);
        self.released = true;
    }

    /// Ends the link at once. Pieces that have already come stay readable.
    fn end(&mut self, error: Error) {
        if let Some(mut socket) = self.socket.take() {
            socket.abort();
        }
        self.failure.get_or_insert(error);
    }
}

fn lost(what: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::ConnectionLost, what).with_reason(error.to_string()).with_source(error)
}
