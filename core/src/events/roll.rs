//! The publishers that are connected, and those that were until a moment ago.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use http::header::SEC_WEBSOCKET_KEY;
use tokio::sync::{Notify, watch};

use super::{EventOrigin, EventQueue};
use crate::IncomingConnect;
use crate::listener::MissedEvents;

/// How many publishers that have gone are remembered: the relay may tell a little later what was missed of them.
const REMEMBERED: usize = 256;

/// Who is connected, and what was told of each.
#[derive(Debug, Default)]
pub(super) struct Roll(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    followed: HashMap<Identity, Followed>,
    /// By the id of the accept.
    told: HashMap<String, Told>,
    gone: VecDeque<String>,
}

/// What tells a publisher from every other: the relay invites a listener that was offline for a moment to those that it has already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    tracking_id: String,
    /// Made by the publisher for this one handshake. Several may have asked for the same id.
    key: Option<HeaderValue>,
}

/// A publisher that is connected, as others see it.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    /// Changes with every message; its sender goes with the connection.
    pub(super) heard: watch::Receiver<()>,
    /// Another connection takes over.
    pub(super) replaced: Arc<Notify>,
}

#[derive(Debug)]
struct Told {
    origin: EventOrigin,
    missed: u64,
}

impl Identity {
    pub(super) fn of(connect: &IncomingConnect) -> Self {
        Self { tracking_id: connect.tracking_id().to_owned(), key: connect.headers().get(SEC_WEBSOCKET_KEY).cloned() }
    }
}

impl Roll {
    /// The connection that this publisher has already.
    pub(super) fn followed(&self, identity: &Identity) -> Option<Followed> {
        self.lock().followed.get(identity).cloned()
    }

    /// A publisher is connected.
    pub(super) fn enter(&self, identity: &Identity, followed: &Followed, origin: &EventOrigin) {
        let mut entries = self.lock();
        entries.followed.insert(identity.clone(), followed.clone());
        let id = origin.tracking_id();
        entries.gone.retain(|gone| gone != id);
        entries.told.entry(id.to_owned()).or_insert_with(|| Told { origin: origin.clone(), missed: 0 });
    }

    /// A publisher has gone, unless another connection took over.
    pub(super) fn leave(&self, identity: &Identity, followed: &Followed) {
        let mut entries = self.lock();
        let is_ours = |entry: &Followed| Arc::ptr_eq(&entry.replaced, &followed.replaced);
        if entries.followed.get(identity).is_some_and(is_ours) {
            entries.followed.remove(identity);
            entries.gone.push_back(identity.tracking_id.clone());
            if entries.gone.len() > REMEMBERED
                && let Some(oldest) = entries.gone.pop_front()
            {
                entries.told.remove(&oldest);
            }
        }
    }

    /// Passes on what the relay has told of a publisher and its subscriber has not heard yet.
    pub(super) fn tell_missed(&self, id: &str, missed: &MissedEvents, queue: &EventQueue) {
        let mut entries = self.lock();
        // Looked up here, where numbers cannot overtake each other.
        if let Some(told) = entries.told.get_mut(id) {
            let now = missed.of(id);
            let before = std::mem::replace(&mut told.missed, now);
            // A number that has shrunk is that of a new connection, which began again.
            let more = if now >= before { now - before } else { now };
            if more > 0 {
                queue.missed(&told.origin, more);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
