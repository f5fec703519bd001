//! The socket of a control channel: reads, and meanwhile writes what is to be said.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::masks::Masks;
use crate::env::Env;

/// Answers that wait for the channel; each is at most 128 KiB.
const WAITING: usize = 16;

/// Messages of the listener's own that may wait; beyond it the relay is not read, since it does not read either.
const QUEUE_LIMIT: usize = 256;

/// The answer to a request: the text and the binary message behind it (protocol.md 5.5).
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) text: String,
    pub(crate) body: Option<Bytes>,
    /// Told when both were handed to the operating system; dropped if the channel ends before.
    pub(crate) sent: Option<oneshot::Sender<()>>,
}

/// Reading and writing never wait for one another: a relay that writes while it does not read must not bring both ends to a halt.
pub(super) struct Pipe {
    env: Env,
    pub(super) ws: WebSocketStream<Masks>,
    answers: mpsc::Receiver<Outgoing>,
    sender: mpsc::Sender<Outgoing>,
    queue: VecDeque<Message>,
    /// Who is told when everything was flushed.
    confirmations: Vec<oneshot::Sender<()>>,
    unflushed: bool,
    /// How many answers were taken since the last flush.
    taken: usize,
    /// Since when the relay has not taken what waits.
    waiting_since: Option<Instant>,
}

impl Pipe {
    pub(super) fn new(env: &Env, ws: WebSocketStream<Masks>) -> Self {
        let (sender, answers) = mpsc::channel(WAITING);
        Self {
            env: env.clone(),
            ws,
            answers,
            sender,
            queue: VecDeque::new(),
            confirmations: Vec::new(),
            unflushed: false,
            taken: 0,
            waiting_since: None,
        }
    }

    /// A way to say something on this channel.
    pub(super) fn answers(&self) -> mpsc::Sender<Outgoing> {
        self.sender.clone()
    }

    /// Says something with the next poll.
    pub(super) fn push(&mut self, message: Message) {
        self.queue.push_back(message);
    }

    /// Says an answer with the next poll.
    pub(super) fn push_answer(&mut self, answer: Outgoing) {
        let Outgoing { text, body, sent } = answer;
        self.queue.push_back(Message::text(text));
        self.queue.extend(body.map(Message::binary));
        self.confirmations.extend(sent);
    }

    /// Since when the relay has not taken what waits for it; `None` if nothing does.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// The next message of the relay; writes on the way.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, WsError>>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        if self.queue.len() > QUEUE_LIMIT {
            return Poll::Pending;
        }
        self.ws.poll_next_unpin(cx)
    }

    /// Writes everything that waits; ready when that was done.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        let outcome = self.poll_write_all(cx);
        self.waiting_since = match outcome {
            Poll::Pending if self.unflushed || !self.queue.is_empty() => {
                self.waiting_since.or_else(|| Some(self.env.now()))
            }
            _ => None,
        };
        outcome
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        loop {
            // Answers that wait leave in one piece, and no more of them than may wait at a time: those behind them wait for that.
            if self.queue.is_empty() && self.taken < WAITING {
                match self.answers.poll_recv(cx) {
                    Poll::Ready(Some(answer)) => {
                        self.taken += 1;
                        self.push_answer(answer);
                    }
                    // The sending end is in `self`.
                    Poll::Ready(None) | Poll::Pending if !self.unflushed => return Poll::Ready(Ok(())),
                    Poll::Ready(None) | Poll::Pending => {}
                }
            }
            if self.ws.poll_ready_unpin(cx)?.is_pending() {
                return Poll::Pending;
            }
            if let Some(message) = self.queue.pop_front() {
                self.unflushed = true;
                // What was taken is progress.
                self.waiting_since = None;
                self.ws.start_send_unpin(message)?;
                continue;
            }
            if self.ws.poll_flush_unpin(cx)?.is_pending() {
                return Poll::Pending;
            }
            self.unflushed = false;
            self.taken = 0;
            for confirmation in self.confirmations.drain(..) {
                let _ = confirmation.send(());
            }
        }
    }
}
