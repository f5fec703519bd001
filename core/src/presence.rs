//! Who listens on a hybrid connection, as far as the relay tells (protocol.md 7.4).

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::sync::watch;

use crate::follow::{self, Event, Follower, Heard};
use crate::http::HttpClient;
use crate::protocol::Features;
use crate::{EntityPath, Error, Result};

/// Who listens on a hybrid connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presence {
    /// How many listeners are online.
    pub count: usize,
    /// Since when there has been one without interruption; `None` if there is none.
    pub since: Option<SystemTime>,
    /// Each of them, in the order in which they came; `None` without the right to manage.
    pub listeners: Option<Vec<PresentListener>>,
}

/// A listener that is online, as whoever may manage sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresentListener {
    /// Names this life of it.
    pub id: String,
    /// The id by which senders choose it (`Microsoft-Relay-AllowedListeners`) and logs know it.
    pub tracking_id: String,
    /// Since when it is online.
    pub since: Option<SystemTime>,
    /// Where it connected from.
    pub address: Option<SocketAddr>,
    /// What it says it is.
    pub agent: Option<String>,
    /// The rule that let it in.
    pub rule: String,
    /// What it and the relay agreed on beyond the protocol.
    pub features: Vec<String>,
    /// What it says of itself; see [`ListenerBuilder::label`](crate::ListenerBuilder::label).
    pub labels: BTreeMap<String, String>,
    /// Senders and requests that it has been given and has not answered yet. Of that moment.
    pub in_flight: usize,
    /// When its last byte came. Of that moment.
    pub last_heard: Option<SystemTime>,
}

/// What happens to the listeners of a hybrid connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// Who listens. The first event, and again where it is not known what happened in between.
    Present(Presence),
    /// A listener came.
    Connected {
        /// Names this life of it.
        id: String,
        /// How many there are now.
        count: usize,
        /// When.
        at: Option<SystemTime>,
        /// Who it is; `None` without the right to manage.
        listener: Option<Box<PresentListener>>,
    },
    /// A listener went.
    Disconnected {
        /// Names this life of it.
        id: String,
        /// How many there are now.
        count: usize,
        /// When.
        at: Option<SystemTime>,
    },
    /// The relay is not heard any more, and is asked again after a while.
    Interrupted {
        /// Why.
        error: Error,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// The relay is heard again. What happened in between follows.
    Restored,
}

/// Everything that happens to the listeners of a hybrid connection, in order: each of them comes once and goes once, also over the
/// loss of the connection to the relay. Made by [`Sender::presence_events`](crate::Sender::presence_events).
///
/// The relay keeps the last 1 024 changes for whoever comes back, or reads slowly; after more of them the present state follows
/// ([`PresenceEvent::Present`]). Dropping it ends the stream.
pub struct PresenceEvents {
    follower: Follower,
    present: Presence,
}

impl PresenceEvents {
    pub(crate) fn new(client: Arc<HttpClient>, entity: &EntityPath) -> Self {
        let follower = Follower::new(client, path(entity), Features::PRESENCE);
        Self { follower, present: Presence::default() }
    }

    /// What happens next. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Only if the relay cannot be heard at first: as [`Sender::presence`](crate::Sender::presence). Later it is asked again for ever.
    /// After an error the next call tries again.
    pub async fn next(&mut self) -> Result<PresenceEvent> {
        loop {
            match self.follower.next().await? {
                Heard::Event(event) => {
                    if let Some(event) = self.read(&event)? {
                        return Ok(event);
                    }
                }
                Heard::Lost { error, retry_in } => return Ok(PresenceEvent::Interrupted { error, retry_in }),
                Heard::Back => return Ok(PresenceEvent::Restored),
            }
        }
    }

    /// Who listens, as far as the events up to now have told.
    pub fn current(&self) -> &Presence {
        &self.present
    }

    /// `None` for what is not known.
    fn read(&mut self, event: &Event) -> Result<Option<PresenceEvent>> {
        match event.name.as_str() {
            "snapshot" => {
                self.present = follow::read::<Snapshot>(&event.data)?.into();
                Ok(Some(PresenceEvent::Present(self.present.clone())))
            }
            "listener-connected" => {
                let Change { id, at, count, since, listener } = follow::read(&event.data)?;
                let listener = listener.map(PresentListener::from);
                (self.present.count, self.present.since) = (count, follow::time(since.as_deref()));
                if let (Some(known), Some(listener)) = (&mut self.present.listeners, &listener) {
                    known.push(listener.clone());
                }
                let listener = listener.map(Box::new);
                Ok(Some(PresenceEvent::Connected { id, count, at: follow::time(at.as_deref()), listener }))
            }
            "listener-disconnected" => {
                let Change { id, at, count, since, .. } = follow::read(&event.data)?;
                (self.present.count, self.present.since) = (count, follow::time(since.as_deref()));
                if let Some(known) = &mut self.present.listeners {
                    known.retain(|listener| listener.id != id);
                }
                Ok(Some(PresenceEvent::Disconnected { id, count, at: follow::time(at.as_deref()) }))
            }
            _ => Ok(None),
        }
    }
}

impl fmt::Debug for PresenceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceEvents").field("present", &self.present).finish_non_exhaustive()
    }
}

/// Follows who listens on a hybrid connection, in the background. Cheap to clone; the relay is told when the last one is dropped.
///
/// A watcher always sees the newest; what was over before it looked is skipped. [`PresenceEvents`] skips nothing.
#[derive(Clone, Debug)]
pub struct PresenceWatcher(watch::Receiver<Watched>);

#[derive(Clone, Debug, Default)]
struct Watched {
    presence: Presence,
    interruption: Option<Error>,
}

impl PresenceWatcher {
    /// Waits for the first answer, and follows from there on.
    pub(crate) async fn start(client: Arc<HttpClient>, entity: &EntityPath) -> Result<Self> {
        let env = client.reach().dialer.env().clone();
        let mut events = PresenceEvents::new(client, entity);
        events.next().await?;
        let watched = Watched { presence: events.present.clone(), interruption: None };
        let (sender, receiver) = watch::channel(watched);
        env.spawn(follow(events, sender));
        Ok(Self(receiver))
    }

    /// Who listens now, or did when the relay was heard last.
    pub fn current(&self) -> Presence {
        self.0.borrow().presence.clone()
    }

    /// Why the relay is not heard at the moment; `None` while it is.
    pub fn interruption(&self) -> Option<Error> {
        self.0.borrow().interruption.clone()
    }

    /// Waits for a change that this watcher has not seen, an interruption or its end included, and returns who listens. Never `None` while
    /// the runtime lives. Cancel-safe.
    pub async fn changed(&mut self) -> Option<Presence> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().presence.clone())
    }

    /// Waits until somebody listens. Cancel-safe.
    pub(crate) async fn listened(&mut self) -> Option<Presence> {
        self.0.wait_for(|watched| watched.presence.count > 0).await.ok().map(|watched| watched.presence.clone())
    }
}

async fn follow(mut events: PresenceEvents, watched: watch::Sender<Watched>) {
    loop {
        let event = tokio::select! {
            biased;
            () = watched.closed() => return,
            event = events.next() => event,
        };
        let interruption = match event {
            Ok(PresenceEvent::Interrupted { error, .. }) => Some(error),
            Ok(_) => None,
            // An event of a later version: what is known stays.
            Err(error) => {
                tracing::warn!(%error, "an event of the relay was left out");
                continue;
            }
        };
        watched.send_replace(Watched { presence: events.present.clone(), interruption });
    }
}

/// Asks once who listens.
pub(crate) async fn ask(client: &HttpClient, entity: &EntityPath) -> Result<Presence> {
    follow::ask::<Snapshot>(client, &path(entity), Features::PRESENCE).await.map(Presence::from)
}

fn path(entity: &EntityPath) -> String {
    format!("/$relay/presence/{entity}")
}

#[derive(Deserialize)]
struct Snapshot {
    count: usize,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    listeners: Option<Vec<Listener>>,
}

#[derive(Deserialize)]
struct Change {
    id: String,
    #[serde(default)]
    at: Option<String>,
    count: usize,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    listener: Option<Listener>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listener {
    id: String,
    tracking_id: String,
    since: Option<String>,
    address: Option<String>,
    agent: Option<String>,
    rule: String,
    features: Vec<String>,
    labels: BTreeMap<String, String>,
    in_flight: usize,
    last_heard: Option<String>,
}

impl From<Snapshot> for Presence {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { count, since, listeners } = snapshot;
        let listeners = listeners.map(|listeners| listeners.into_iter().map(PresentListener::from).collect());
        Self { count, since: follow::time(since.as_deref()), listeners }
    }
}

impl From<Listener> for PresentListener {
    fn from(listener: Listener) -> Self {
        let Listener { id, tracking_id, since, address, agent, rule, features, labels, in_flight, last_heard } =
            listener;
        Self {
            id,
            tracking_id,
            since: follow::time(since.as_deref()),
            address: address.and_then(|address| address.parse().ok()),
            agent,
            rule,
            features,
            labels,
            in_flight,
            last_heard: follow::time(last_heard.as_deref()),
        }
    }
}
