//! Whether a listener is online.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::Error;

/// The state of a [`Listener`](crate::Listener).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// The first connection is being made.
    Connecting,
    /// Senders reach the listener.
    Online {
        /// Set when the credential is a ready-made token that the library cannot renew: the listener goes offline at this time
        /// unless the program sets a new one.
        expires_at: Option<SystemTime>,
    },
    /// The control channel was lost; the next attempt comes after `retry_in`.
    Offline {
        /// Why.
        error: Error,
        /// How long until the next attempt; `None` when the listener waits for a new token.
        retry_in: Option<Duration>,
    },
    /// The listener has ended for good.
    Closed {
        /// The final failure; `None` after the program's own close.
        error: Option<Error>,
    },
}

impl Status {
    /// Whether senders reach the listener.
    pub fn is_online(&self) -> bool {
        matches!(self, Self::Online { .. })
    }
}

/// Follows a listener's [`Status`]. A watcher always sees the newest; what was over before it looked is skipped.
#[derive(Clone, Debug)]
pub struct StatusWatcher(pub(super) watch::Receiver<Status>);

impl StatusWatcher {
    /// The status now.
    pub fn current(&self) -> Status {
        self.0.borrow().clone()
    }

    /// Waits for a change that this watcher has not seen and returns the newest status; `None` once the listener has ended and its
    /// end was seen. Cancel-safe.
    pub async fn changed(&mut self) -> Option<Status> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}
