//! Takes everything that comes to a listener, and makes events of it.

use std::sync::Arc;
use std::time::Duration;

use http_body::Body as _;
use tokio::sync::{Notify, mpsc, watch};

use super::roll::{Followed, Identity, Roll};
use super::{Event, EventOrigin, EventQueue};
use crate::env::Env;
use crate::http::IncomingRequest;
use crate::listener::MissedEvents;
use crate::protocol::close;
use crate::{Connection, ErrorKind, Incoming, IncomingConnect, Listener};

/// How long a publisher that is known already may be silent before its new connection replaces the old one: less than the relay
/// waits for an invited listener.
const DOUBTFUL: Duration = Duration::from_secs(20);

/// The task behind [`Events`](super::Events).
pub(super) struct Collector {
    listener: Listener,
    shared: Arc<Shared>,
    /// Its end tells all tasks that nobody wants events any more.
    over: watch::Sender<()>,
}

/// What the collector and its tasks share.
struct Shared {
    env: Env,
    queue: Arc<EventQueue>,
    roll: Roll,
    missed: Arc<MissedEvents>,
    max_body: usize,
}

impl Collector {
    pub(super) fn new(listener: Listener, queue: Arc<EventQueue>) -> Self {
        let shared = Arc::new(Shared {
            env: listener.env().clone(),
            queue,
            roll: Roll::default(),
            missed: listener.missed_events().clone(),
            max_body: listener.max_message_size(),
        });
        Self { listener, shared, over: watch::Sender::new(()) }
    }

    /// Runs until the listener has ended, or nobody holds the events.
    pub(super) async fn run(self, mut released: watch::Receiver<()>) {
        let Self { listener, shared, over } = self;
        let mut notices = shared.missed.follow();
        // A long body that comes slowly delays no short ones, and of the long ones one at a time takes up memory.
        let (short, long) = (shared.lane(), shared.lane());
        let failure = loop {
            tokio::select! {
                biased;
                _ = released.changed() => break None,
                told = notices.next() => {
                    told.iter().for_each(|id| shared.roll.tell_missed(id, &shared.missed, &shared.queue));
                }
                incoming = listener.accept() => match incoming {
                    Ok(Some(Incoming::Connect(connect))) => {
                        shared.env.spawn(shared.clone().follow(connect, over.subscribe()));
                    }
                    Ok(Some(Incoming::Request(request))) => {
                        let lane = if request.is_complete() { &short } else { &long };
                        // A lane ends after this task.
                        let _ = lane.send(request);
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                },
            }
        };
        // Then `over` ends as well.
        shared.queue.close(failure);
    }
}

impl Shared {
    /// Follows one publisher up to its end.
    async fn follow(self: Arc<Self>, connect: IncomingConnect, mut over: watch::Receiver<()>) {
        let identity = Identity::of(&connect);
        if let Some(known) = self.roll.followed(&identity) {
            let alive = tokio::select! {
                biased;
                _ = over.changed() => return,
                alive = self.is_alive(known) => alive,
            };
            if alive {
                if let Err(error) = connect.reject(409, "The listener has this publisher already").await {
                    tracing::debug!(%error, "a second invitation to one publisher could not be declined");
                }
                return;
            }
        }
        let (id, origin) = (connect.tracking_id().to_owned(), EventOrigin::of_connect(&connect));
        let accepted = tokio::select! {
            biased;
            _ = over.changed() => return,
            accepted = connect.accept() => accepted,
        };
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => return tracing::warn!(tracking_id = id, %error, "a publisher could not be reached"),
        };
        let origin = origin.connected(&connection);
        let (hearing, heard) = watch::channel(());
        let followed = Followed { heard, replaced: Arc::new(Notify::new()) };
        self.roll.enter(&identity, &followed, &origin);
        self.roll.tell_missed(&id, &self.missed, &self.queue);
        tokio::select! {
            biased;
            _ = over.changed() => {}
            () = followed.replaced.notified() => {}
            () = self.hear(&connection, &origin, hearing) => {}
        }
        self.roll.leave(&identity, &followed);
        let closed = match connection.peer_close() {
            Some(_) => connection.close().await,
            None => connection.close_with(close::GOING_AWAY, "the subscriber has gone").await,
        };
        if let Err(error) = closed {
            tracing::debug!(tracking_id = id, %error, "a publisher has gone without a close");
        }
    }

    /// Whether a publisher is still heard on the connection that it has. Returns false when that has ended, or was given up.
    ///
    /// What it says from the new invitation on, the relay keeps for the new connection. So the old one is as good as the new one if
    /// anything comes on it, and can be given up without a loss if nothing does.
    async fn is_alive(&self, mut known: Followed) -> bool {
        known.heard.mark_unchanged();
        tokio::select! {
            biased;
            heard = known.heard.changed() => heard.is_ok(),
            () = self.env.sleep(DOUBTFUL) => {
                known.replaced.notify_one();
                false
            }
        }
    }

    /// Makes events of what a publisher says, until it has said all, or nobody wants it.
    async fn hear(&self, connection: &Connection, origin: &EventOrigin, hearing: watch::Sender<()>) {
        loop {
            let message = match connection.receive().await {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(error) if error.kind() == ErrorKind::ConnectionLost => {
                    return tracing::debug!(tracking_id = origin.tracking_id(), %error, "a publisher was lost");
                }
                Err(error) => {
                    return tracing::warn!(tracking_id = origin.tracking_id(), %error, "a publisher was given up");
                }
            };
            hearing.send_replace(());
            if !self.queue.push(Event::Message { origin: origin.clone(), message }).await {
                return;
            }
        }
    }

    /// A task that makes events of requests, one after the other.
    fn lane(self: &Arc<Self>) -> mpsc::UnboundedSender<IncomingRequest> {
        // Bounded by `max_concurrent`, like what waits to be accepted.
        let (lane, mut requests) = mpsc::unbounded_channel();
        let shared = self.clone();
        self.env.spawn(async move {
            while let Some(request) = requests.recv().await {
                shared.take(request).await;
            }
        });
        lane
    }

    async fn take(&self, request: IncomingRequest) {
        let (origin, method) = (EventOrigin::of_request(&request), request.method().clone());
        let (request, responder) = request.into_parts();
        match request.into_body().bytes(self.max_body).await {
            Ok(body) => {
                if self.queue.push(Event::Request { origin, method, body }).await {
                    responder.answer_later(202, "The listener has taken the event");
                } else {
                    responder.answer_later(503, "The listener closes");
                }
            }
            Err(error) if error.kind() == ErrorKind::MessageTooLarge => {
                tracing::warn!(tracking_id = origin.tracking_id(), %error, "a request was refused");
                responder.answer_later(413, "The event is too long");
            }
            Err(error) => {
                tracing::debug!(tracking_id = origin.tracking_id(), %error, "a request was lost");
                responder.answer_later(400, "The body of the request did not come");
            }
        }
    }
}

impl IncomingRequest {
    /// Whether all of the body is here.
    fn is_complete(&self) -> bool {
        self.body().size_hint().exact().is_some()
    }
}
