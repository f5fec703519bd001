//! Those who wait for what they delivered to one listener, and how they are found again.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::directory::{Reply, ReplyTo};

/// The deliveries of one control channel that have no answer yet. Dropping it tells everybody that the listener has gone.
#[derive(Default)]
pub(super) struct Waiting {
    entries: HashMap<u64, Entry>,
    requests: HashMap<String, u64>,
    endings: FuturesUnordered<Ending>,
    next: u64,
}

struct Entry {
    request_id: Option<String>,
    replies: mpsc::Sender<Reply>,
    one_way: bool,
}

impl Waiting {
    /// One more, and the id of the request if it is one.
    pub(super) fn add(&mut self, request_id: Option<String>, reply_to: ReplyTo, one_way: bool) {
        let ReplyTo { replies, settled, .. } = reply_to;
        let key = self.next;
        self.next += 1;
        if let Some(id) = &request_id {
            self.requests.insert(id.clone(), key);
        }
        self.entries.insert(key, Entry { request_id, replies, one_way });
        self.endings.push(Ending { key, settled });
    }

    /// Whoever waits for the response with this id, and does so no longer.
    pub(super) fn take(&mut self, request_id: &str) -> Option<mpsc::Sender<Reply>> {
        let key = self.requests.remove(request_id)?;
        Some(self.entries.remove(&key)?.replies)
    }

    /// The next who stops waiting; the id if it was a request that was withdrawn, and not one that nobody waited for. Never completes
    /// while there is nobody. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Option<String> {
        loop {
            let Some((key, withdrawn)) = poll_fn(|cx| self.endings.poll_next_unpin(cx)).await else {
                return pending().await;
            };
            // One that was answered is not there any more.
            let Some(entry) = self.entries.remove(&key) else { continue };
            if let Some(id) = &entry.request_id {
                self.requests.remove(id);
            }
            return entry.request_id.filter(|_| withdrawn && !entry.one_way);
        }
    }

    /// Whether a request has no answer yet.
    pub(super) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Completes when a delivery is not waited for any more, and says whether it was withdrawn.
struct Ending {
    key: u64,
    settled: oneshot::Receiver<()>,
}

impl Future for Ending {
    type Output = (u64, bool);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(u64, bool)> {
        let key = self.key;
        Pin::new(&mut self.settled).poll(cx).map(|settled| (key, settled.is_err()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::directory::Replies;

    #[test]
    fn only_requests_that_were_withdrawn_unanswered_are_to_be_cancelled() {
        let mut waiting = Waiting::default();
        let mut add = |id: Option<&str>, one_way| {
            let (reply_to, replies) = Replies::channel(one_way);
            waiting.add(id.map(str::to_owned), reply_to, one_way);
            replies
        };
        let [settled, withdrawn, answered] = ["s", "w", "a"].map(|id| add(Some(id), false));
        let [accept, one_way] = [add(None, false), add(Some("o"), true)];
        assert!(waiting.ended().now_or_never().is_none());

        assert!(waiting.take("a").is_some());
        assert!(waiting.take("a").is_none(), "a request is answered once");
        drop(answered);
        settled.settle();
        assert_eq!(waiting.ended().now_or_never(), Some(None));
        drop(accept);
        assert_eq!(waiting.ended().now_or_never(), Some(None));
        drop(one_way);
        assert_eq!(waiting.ended().now_or_never(), Some(None));
        drop(withdrawn);
        assert_eq!(waiting.ended().now_or_never(), Some(Some("w".to_owned())));
        assert!(waiting.take("w").is_none() && waiting.take("s").is_none());
        assert_eq!(waiting.len(), 0);
        assert!(waiting.ended().now_or_never().is_none());
    }
}
