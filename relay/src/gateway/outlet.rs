//! The ends of an exchange beside the rendezvous: the sender that waits, and the control channel, on which a response may come as well.

use std::future::pending;

use tokio::sync::{mpsc, oneshot};

use super::response::{Chunk, Head};
use crate::directory::{Replies, Reply};
use crate::refusal::Refusal;

/// Where the response goes: first its head, then its body.
pub(super) struct Outlet {
    head: Option<oneshot::Sender<Result<Head, Refusal>>>,
    pub(super) body: Option<mpsc::Sender<Chunk>>,
}

impl Outlet {
    pub(super) fn new(head: oneshot::Sender<Result<Head, Refusal>>) -> Self {
        Self { head: Some(head), body: None }
    }

    /// Hands the head over; `false` if the sender has gone.
    pub(super) fn head(&mut self, head: Head) -> bool {
        self.head.take().is_some_and(|sender| sender.send(Ok(head)).is_ok())
    }

    /// Completes when the sender does not wait for the head any more.
    pub(super) async fn gone(&mut self) {
        match &mut self.head {
            Some(head) => head.closed().await,
            None => pending().await,
        }
    }

    /// Tells the sender what went wrong. A body that has begun ends without its end.
    pub(super) fn fail(&mut self, refusal: Refusal) {
        self.body = None;
        if let Some(head) = self.head.take() {
            // The sender may have gone.
            let _ = head.send(Err(refusal));
        }
    }
}

/// Replies of which the first is wanted; whatever happens, the listener is not to be told to cancel: it learns by the Close.
pub(super) struct ReplyOrSettle(Option<Replies>);

impl ReplyOrSettle {
    pub(super) fn new(replies: Replies) -> Self {
        Self(Some(replies))
    }

    /// The first, if there will be one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Reply {
        if let Some(replies) = &mut self.0 {
            match replies.next().await {
                Some(reply) => return reply,
                // What was fetched goes on without the control channel (protocol.md 10, decision 35).
                None => self.0 = None,
            }
        }
        pending().await
    }
}

impl Drop for ReplyOrSettle {
    fn drop(&mut self) {
        if let Some(replies) = self.0.take() {
            replies.settle();
        }
    }
}
