//! Who comes to a hub: the listeners that are online, and those that get online while the publisher is there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hybridrelay::env::BoxFuture;
use hybridrelay::protocol::Features;
use hybridrelay::protocol::control::events_json;
use hybridrelay::protocol::headers::ListenerFilter;
use tokio::sync::{mpsc, watch};

use super::log::{Cursor, Missed};
use super::{Call, Hub, PendingLeg, Subscriber};
use crate::directory::{DeliverError, Delivery, EntityKey, ListenerId, ListenerRecord};
use crate::node::{Counted, Node};
use crate::observe::{Detail, Operation};
use crate::rendezvous::junction::{Answer, Seat};
use crate::rendezvous::pump::{self, Ending, Party, Solo};
use crate::rendezvous::{Waited, pump_config, upgraded, wait};

/// How often a subscriber is told what it missed, at most.
const TOLD_AGAIN: Duration = Duration::from_secs(1);

/// The task that invites.
pub(super) struct Host {
    hub: Arc<Hub>,
    entity: EntityKey,
    guests: Guests,
    /// Everybody who has been invited and is still online.
    known: HashSet<ListenerId>,
    invited: FuturesUnordered<BoxFuture<()>>,
    to_tell: mpsc::UnboundedReceiver<Arc<Missed>>,
    telling: FuturesUnordered<BoxFuture<()>>,
    online: watch::Receiver<usize>,
    end: watch::Receiver<Option<Ending>>,
    open: Counted,
}

/// What an invitation is made of.
#[derive(Clone)]
struct Guests {
    call: Arc<Call>,
    filter: Arc<ListenerFilter>,
    subprotocol: Option<String>,
}

impl Host {
    /// Invites those who are online: whatever the publisher says from here on is for them.
    pub(super) fn new(
        hub: Arc<Hub>,
        entity: &EntityKey,
        call: Call,
        filter: ListenerFilter,
        subprotocol: Option<String>,
        to_tell: mpsc::UnboundedReceiver<Arc<Missed>>,
    ) -> Self {
        let node = hub.node.clone();
        let mut host = Self {
            hub,
            entity: entity.clone(),
            guests: Guests { call: Arc::new(call), filter: Arc::new(filter), subprotocol },
            known: HashSet::new(),
            invited: FuturesUnordered::new(),
            to_tell,
            telling: FuturesUnordered::new(),
            online: node.directory.watch(entity),
            end: node.endings.subscribe(entity),
            open: node.open.enter(),
        };
        host.invite();
        host
    }

    /// Runs until publisher and subscribers have gone.
    pub(super) async fn run(mut self) {
        let hub = self.hub.clone();
        let mut end = self.end.clone();
        let mut published = hub.publishers.none().boxed();
        let mut publishing = true;
        loop {
            let over = !publishing && self.invited.is_empty();
            tokio::select! {
                biased;
                () = ended(&mut end) => {
                    // Whoever has not dialled needs not come any more.
                    self.invited.clear();
                    tokio::join!(hub.publishers.none(), hub.subscribers.none());
                    break;
                }
                () = &mut published, if publishing => publishing = false,
                Some(()) = self.invited.next(), if !self.invited.is_empty() => {}
                Some(()) = self.telling.next(), if !self.telling.is_empty() => {}
                Some(missed) = self.to_tell.recv() => self.telling.push(tell(hub.clone(), missed).boxed()),
                changed = self.online.changed(), if publishing => {
                    if changed.is_err() {
                        self.online = hub.node.directory.watch(&self.entity);
                    }
                    self.invite();
                }
                () = hub.subscribers.none(), if over => break,
            }
        }
        let Self { open, telling, .. } = self;
        drop(open);
        // The last numbers may be told a little later.
        tokio::select! {
            biased;
            () = hub.node.stopped() => {}
            () = telling.collect() => {}
        }
    }

    /// Invites everybody who came.
    fn invite(&mut self) {
        self.online.mark_unchanged();
        let online = self.hub.node.directory.listener_ids(&self.entity);
        for id in online.iter().filter(|id| !self.known.contains(id)) {
            let Some(listener) = self.hub.node.directory.listener(*id) else { continue };
            if self.guests.filter.allows(&listener.tracking_id) {
                let wants_to_know = listener.features.iter().any(|feature| feature == Features::EVENTS);
                let cursor = self.hub.log.join(wants_to_know.then(|| Arc::new(Missed::new(*id))));
                let (hub, guests, end) = (self.hub.clone(), self.guests.clone(), self.end.clone());
                self.invited.push(receive(hub, guests, listener, cursor, end).boxed());
            }
        }
        self.known = online.into_iter().collect();
    }
}

/// Invites one listener, and lets it in if it comes.
async fn receive(
    hub: Arc<Hub>,
    guests: Guests,
    listener: ListenerRecord,
    cursor: Cursor,
    end: watch::Receiver<Option<Ending>>,
) {
    let node = &hub.node;
    let (seat, answer) = Seat::new(guests.subprotocol);
    // Whether it fits was looked at before, but for a base of unheard-of length.
    let Some((invitation, text)) = guests.call.prepare(node, &listener.base, Arc::new(seat), answer) else { return };
    let deadline = node.env.now() + node.config().timings.accept;
    let delivery = Delivery { text, body: None, request_id: None, one_way: false };
    let Ok(replies) = node.directory.deliver(listener.id, delivery).await else { return };
    node.observer.note(&hub.origin, Operation::MessageSentToListener, Detail::None);
    let sent = node.env.now();
    match wait(node, invitation, replies, deadline).await {
        Waited::Answered(Answer::Accepted(leg)) => {
            let taken = node.env.now().saturating_duration_since(sent);
            hub.metrics.rendezvous.observe(taken.as_secs_f64());
            node.spawn(seated(hub.clone(), leg, cursor, end));
        }
        Waited::Answered(Answer::Rejected(rejection)) => {
            let detail = Detail::Rejected { status: rejection.status };
            node.observer.note(&hub.origin, Operation::ListenerRejectedConnection, detail);
        }
        // It is left out, and may come to the next publisher.
        Waited::ListenerGone | Waited::TimedOut => {}
    }
}

/// Waits for a subscriber's socket, and leaves it to a task of its own.
///
/// There are very many of those, most of them idle: it holds nothing that is not needed.
fn seated(
    hub: Arc<Hub>,
    leg: PendingLeg,
    cursor: Cursor,
    end: watch::Receiver<Option<Ending>>,
) -> impl Future<Output = ()> + Send {
    let seat = hub.subscribers.enter();
    async move {
        let limit = hub.node.config().timings.upgrade;
        let Some(Some((leg, permit))) = hub.node.env.timeout(limit, upgraded(leg)).await else { return };
        cursor.seated();
        let (env, config) = (hub.node.env.clone(), pump_config(&hub.node));
        let solo = Solo::new(env, config, Party::Listener, leg, Subscriber::new(&hub, cursor));
        hub.node.spawn(pump::drive(solo, end).map(move |_| drop((permit, seat))));
    }
}

/// Completes when the relay ends everything, or nobody is left who could.
async fn ended(end: &mut watch::Receiver<Option<Ending>>) {
    let _ = end.wait_for(Option::is_some).await;
}

/// Tells a subscriber how many events it has missed: at once, and again as long as the number grows.
async fn tell(hub: Arc<Hub>, missed: Arc<Missed>) {
    let node: &Node = &hub.node;
    loop {
        let count = missed.count();
        let text = events_json(&hub.origin.tracking_id.to_string(), count);
        let delivery = Delivery { text, body: None, request_id: None, one_way: false };
        match node.directory.deliver(missed.listener, delivery).await {
            Ok(replies) => replies.settle(),
            Err(DeliverError::Busy) => {}
            Err(DeliverError::Gone) => return,
        }
        node.env.sleep(TOLD_AGAIN).await;
        if missed.is_told(count) {
            return;
        }
    }
}
