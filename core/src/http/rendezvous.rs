//! The socket at which a request waits, or a response streams (protocol.md 5.4).

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};

use super::body::{Body, sender_gone};
use super::cancellation::Fate;
use crate::dial::DialError;
use crate::env::Env;
use crate::link::{Link, Piece, WebSocketLink};
use crate::listener::AnswerContext;
use crate::protocol::{self, FromRelay, close};
use crate::ws::{CloseFrame, MessageKind};
use crate::{Error, ErrorKind, Result};

/// The longest message with a request's head: headers are 32 kB, a target can be longer.
const HEAD_LIMIT: usize = 256 * 1024;

/// Chunks of a request's body that wait for the program; each is at most 64 KiB.
const CHUNKS: usize = 2;

/// How long the relay may take to close after the answer; until then what it still sends is read, since a reset could overtake the
/// answer.
const FAREWELL: Duration = Duration::from_secs(30);

/// A rendezvous of one request. Dropping the last handle aborts an answer that was not finished.
pub(super) struct Rendezvous {
    env: Env,
    link: WebSocketLink,
    fate: Fate,
    /// Whether the answer is complete.
    finished: watch::Sender<bool>,
}

impl Rendezvous {
    /// Dials the address of a `request` message.
    pub(super) async fn dial(context: &AnswerContext, address: &str, fate: Fate) -> Result<Arc<Self>> {
        if !context.may_dial(address) {
            return Err(Error::new(ErrorKind::Protocol, "the relay named an unprotected rendezvous"));
        }
        let env = context.dialer.env();
        let dialled = context.dialer.to_rendezvous(address)?.open(context.accept_timeout).await;
        let upgraded = dialled.map_err(|error| match error {
            DialError::Failed(error) => error,
            DialError::Refused(refused) => sender_gone().with_status(refused.status),
        })?;
        fate.moved_to_rendezvous();
        let link = WebSocketLink::start(env, upgraded.socket, upgraded.read_buf, context.link);
        Ok(Arc::new(Self { env: env.clone(), link, fate, finished: watch::Sender::new(false) }))
    }

    /// The request's head, which the relay sends first.
    pub(super) async fn head(&self) -> Result<protocol::Request> {
        let mut text = BytesMut::new();
        loop {
            let Some(piece) = poll_fn(|cx| self.link.poll_read(cx)).await? else { return Err(sender_gone()) };
            text.extend_from_slice(&piece.data);
            if text.len() > HEAD_LIMIT {
                return Err(Error::new(ErrorKind::Protocol, "the head of a request is too long"));
            }
            if piece.end {
                break;
            }
        }
        match FromRelay::parse(&text) {
            Ok(FromRelay::Request(request)) => Ok(request),
            Ok(_) => Err(Error::new(ErrorKind::Protocol, "a rendezvous began with something else than a request")),
            Err(error) => {
                Err(Error::new(ErrorKind::Protocol, "a rendezvous began with no readable request").with_source(error))
            }
        }
    }

    /// Reads from now on in the background: the body, if one follows, and then whether the sender still waits.
    pub(super) fn receive(self: &Arc<Self>, has_body: bool) -> Body {
        if !has_body {
            self.env.spawn(self.clone().watch(None));
            return Body::empty();
        }
        let (sender, chunks) = mpsc::channel(CHUNKS);
        self.env.spawn(self.clone().watch(Some(sender)));
        Body::received(chunks)
    }

    async fn watch(self: Arc<Self>, body: Option<mpsc::Sender<Bytes>>) {
        let mut finished = self.finished.subscribe();
        // The sending end is in `self`.
        let finished = async { drop(finished.wait_for(|finished| *finished).await) };
        tokio::select! {
            biased;
            () = self.read(body) => {}
            () = finished => drop(self.env.timeout(FAREWELL, self.read(None)).await),
        }
        // Behind a complete answer the relay closes, which says nothing of the sender.
        if !*self.finished.borrow() {
            self.fate.gone();
        }
    }

    /// Hands the body on, then reads to the end of the link.
    async fn read(&self, mut body: Option<mpsc::Sender<Bytes>>) {
        while let Ok(Some(piece)) = poll_fn(|cx| self.link.poll_read(cx)).await {
            let Some(chunks) = &body else { continue };
            let taken = piece.data.is_empty() || chunks.send(piece.data).await.is_ok();
            if piece.end {
                let _ = chunks.send(Bytes::new()).await;
            }
            if piece.end || !taken {
                body = None;
            }
        }
    }

    /// Completes when the next message or piece may be written. Cancel-safe.
    pub(super) async fn ready(&self) -> Result<()> {
        let cancellation = self.fate.cancellation();
        tokio::select! {
            biased;
            () = cancellation.cancelled() => Err(sender_gone()),
            ready = poll_fn(|cx| self.link.poll_ready(cx)) => ready,
        }
    }

    /// Writes the response's head; `whole` says that no body follows.
    pub(super) fn start_head(&self, text: String, whole: bool) -> Result<()> {
        self.complete_if(whole);
        self.link.start_write(Piece { kind: MessageKind::Text, data: text.into(), end: true })
    }

    /// Writes a part of the response's body.
    pub(super) fn start_body(&self, data: Bytes, end: bool) -> Result<()> {
        self.complete_if(end);
        self.link.start_write(Piece { kind: MessageKind::Binary, data, end })
    }

    /// Before the last of an answer can leave: the relay may close as soon as it has it, and that is no sender that goes.
    fn complete_if(&self, last: bool) {
        if last {
            self.finished.send_replace(true);
        }
    }

    pub(super) async fn flush(&self) -> Result<()> {
        let cancellation = self.fate.cancellation();
        tokio::select! {
            biased;
            () = cancellation.cancelled() => Err(sender_gone()),
            flushed = poll_fn(|cx| self.link.poll_flush(cx)) => flushed,
        }
    }

    /// Ends the answer in good order: everything was written.
    pub(super) async fn finish(&self) -> Result<()> {
        self.link.start_close(Some(CloseFrame { code: close::NORMAL, reason: "NormalClosure".into() }))?;
        self.complete_if(true);
        // The relay may close first, since it has everything.
        let flushed = poll_fn(|cx| self.link.poll_flush(cx)).await;
        if self.link.peer_close().is_some() { Ok(()) } else { flushed }
    }

    /// Ends an answer that is not complete where it is: the sender sees that it broke off.
    pub(super) fn abort_unfinished(&self) {
        if !*self.finished.borrow() {
            self.link.abort();
        }
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        self.link.release();
    }
}

impl fmt::Debug for Rendezvous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rendezvous")
    }
}
