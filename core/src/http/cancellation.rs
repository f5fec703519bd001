//! Whether the sender of a request still waits for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Tells when nobody waits for an answer any more. Cheap to clone; also an extension of the request.
///
/// A request that came by the control channel is known to be given up where the relay offers the feature `cancel` (ours does, Azure
/// Relay does not), or with the channel. One that came by a rendezvous is given up with it; while a body of more than a few hundred
/// KiB is not read, that is not seen.
#[derive(Clone, Debug)]
pub struct Cancellation(watch::Receiver<Standing>);

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    /// The sender went before the answer was complete.
    Gone,
    /// The answer was finished or dropped.
    Answered,
}

impl Cancellation {
    /// Waits until the sender has gone, or the answer was finished or dropped. Cancel-safe.
    pub async fn cancelled(&self) {
        // An error means that nothing is left which could still be given up.
        let _ = self.0.clone().wait_for(|standing| *standing != Standing::Open).await;
    }

    /// Whether the sender has gone, before its answer was complete.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow() == Standing::Gone
    }
}

/// What is known about the sender of one request: told by the control channel or the rendezvous, read by the program.
#[derive(Clone, Debug)]
pub(super) struct Fate(Arc<Known>);

#[derive(Debug)]
struct Known {
    standing: watch::Sender<Standing>,
    /// The rendezvous knows better than the control channel from now on.
    at_rendezvous: AtomicBool,
}

impl Fate {
    pub(super) fn new() -> Self {
        let standing = watch::Sender::new(Standing::Open);
        Self(Arc::new(Known { standing, at_rendezvous: AtomicBool::new(false) }))
    }

    pub(super) fn cancellation(&self) -> Cancellation {
        Cancellation(self.0.standing.subscribe())
    }

    /// Whether the sender has gone, before its answer was complete.
    pub(super) fn is_gone(&self) -> bool {
        *self.0.standing.borrow() == Standing::Gone
    }

    /// The sender has gone.
    pub(super) fn gone(&self) {
        self.end(Standing::Gone);
    }

    /// The answer was finished or dropped.
    pub(super) fn answered(&self) {
        self.end(Standing::Answered);
    }

    /// Whatever came first holds.
    fn end(&self, end: Standing) {
        self.0.standing.send_if_modified(|standing| {
            let was_open = *standing == Standing::Open;
            if was_open {
                *standing = end;
            }
            was_open
        });
    }

    /// The answer goes by a rendezvous, whose end is the sender's.
    pub(super) fn moved_to_rendezvous(&self) {
        self.0.at_rendezvous.store(true, Ordering::Release);
    }

    /// The control channel is lost, and with it every request that it delivered and that did not move.
    pub(super) fn channel_lost(&self) {
        if !self.0.at_rendezvous.load(Ordering::Acquire) {
            self.gone();
        }
    }

    /// Whether nobody but the caller cares any more.
    pub(super) fn is_over(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}
