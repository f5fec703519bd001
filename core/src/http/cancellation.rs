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
pub struct Cancellation(watch::Receiver<bool>);

impl Cancellation {
    /// Waits until the sender has gone, or the answer was finished or dropped. Cancel-safe.
    pub async fn cancelled(&self) {
        // An error means that nothing is left which could still be given up.
        let _ = self.0.clone().wait_for(|gone| *gone).await;
    }

    /// Whether the sender has gone.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }
}

/// What is known about the sender of one request: told by the control channel or the rendezvous, read by the program.
#[derive(Clone, Debug)]
pub(super) struct Fate(Arc<Known>);

#[derive(Debug)]
struct Known {
    gone: watch::Sender<bool>,
    /// The rendezvous knows better than the control channel from now on.
    at_rendezvous: AtomicBool,
}

impl Fate {
    pub(super) fn new() -> Self {
        Self(Arc::new(Known { gone: watch::Sender::new(false), at_rendezvous: AtomicBool::new(false) }))
    }

    pub(super) fn cancellation(&self) -> Cancellation {
        Cancellation(self.0.gone.subscribe())
    }

    /// The sender has gone.
    pub(super) fn gone(&self) {
        self.0.gone.send_replace(true);
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
