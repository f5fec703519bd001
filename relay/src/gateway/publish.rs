//! A request to a hybrid connection at which every listener gets everything: one-way, to all of them (protocol.md 11.4).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use hybridrelay::protocol::JSON_LIMIT;
use hybridrelay::protocol::headers::{ListenerFilter, ONE_WAY, RELAY_DELIVERED, RELAY_DELIVERY};
use tokio::sync::{mpsc, watch};

use super::exchange::{CONTROL_BODY, Payload, whole};
use super::message::Asked;
use super::record::{Moved, Outcome};
use super::rendezvous::{Task, Upload};
use super::{Admitted, check, no_listener, own_name};
use crate::directory::{Delivery, EntityKey, Handover, ListenerRecord, Replies};
use crate::edge::{Body, Visit};
use crate::namespace::{EventSettings, HttpSettings, NoSubscriber};
use crate::node::Node;
use crate::observe::EntityMetrics;
use crate::refusal::{Refusal, set_tracking_id};
use crate::rendezvous::{Answer, Invitation, PendingLeg, choice, invitation};

/// Hands a request to everybody who is online, and answers 202 with the number of those who have it.
///
/// Whoever has not got it when the limit of a listener's queue is over is not counted, and still gets it. Dropping the future while
/// the request's body comes withdraws the request.
pub(super) async fn publish(
    node: &Arc<Node>,
    visit: Visit,
    mut admitted: Admitted,
    events: &EventSettings,
) -> Result<Response<Body>, Refusal> {
    let longest = events.max_event as u64;
    let http = &mut admitted.settings;
    http.max_body = Some(http.max_body.map_or(longest, |most| most.min(longest)));
    check(&visit.request, &visit.target.path, http)?;
    let filter = ListenerFilter::from_headers(visit.request.headers());
    if events.no_subscriber == NoSubscriber::NotFound {
        choice::check(node, &admitted.entity, &admitted.preference)
            .map_err(|refusal| no_listener(refusal, &admitted.settings))?;
    }
    let mut record = admitted.record(node, &visit, None)?;
    let asked = Asked::new(&visit, &admitted, &own_name(&visit)).one_way();
    let metrics = node.observer.metrics.entity(&visit.namespace, Some(&admitted.entity));
    let Admitted { entity, settings, .. } = admitted;
    let tracking_id = visit.tracking_id;
    let body = match whole(node, &settings, visit.request.into_body()).await {
        Ok(Payload::Whole(body)) => body,
        Ok(_) => Bytes::new(),
        Err(refusal) => {
            record.ended(Outcome::Refused);
            return Err(refusal);
        }
    };
    record.moved().pay(node, body.len()).await;
    metrics.events.published.inc();
    let moved = record.moved().clone();
    let publication = Publication { node: node.clone(), entity, settings, asked, body, moved, metrics };
    let delivered = Arc::new(publication).to_all(&filter).await;

    record.answered(StatusCode::ACCEPTED.as_u16());
    record.ended(Outcome::Completed);
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = StatusCode::ACCEPTED;
    let fields = answer.headers_mut();
    fields.insert(RELAY_DELIVERY, HeaderValue::from_static(ONE_WAY));
    fields.insert(RELAY_DELIVERED, HeaderValue::from(delivered));
    set_tracking_id(fields, &tracking_id);
    Ok(answer)
}

/// A request that has come whole, with one body for all who get it.
struct Publication {
    node: Arc<Node>,
    entity: EntityKey,
    settings: HttpSettings,
    asked: Asked,
    body: Bytes,
    moved: Arc<Moved>,
    metrics: Arc<EntityMetrics>,
}

impl Publication {
    /// Hands it to everybody who is online and says how many have it.
    async fn to_all(self: Arc<Self>, filter: &ListenerFilter) -> u64 {
        let node = self.node.clone();
        let (handed, mut handed_over) = mpsc::unbounded_channel();
        for listener in node.directory.listeners(&self.entity) {
            if filter.allows(&listener.tracking_id) {
                node.spawn(self.clone().to_one(listener, handed.clone()));
            }
        }
        drop(handed);
        let mut delivered = 0;
        let counting = async {
            while handed_over.recv().await.is_some() {
                delivered += 1;
            }
        };
        node.env.timeout(node.config().timings.queue_full, counting).await;
        delivered
    }

    /// Hands it to one listener. What that one answers is of no interest.
    async fn to_one(self: Arc<Self>, listener: ListenerRecord, handed: mpsc::UnboundedSender<()>) {
        let node = &self.node;
        let issued = invitation(node, &listener.base, Vec::new(), |ticket| self.asked.address(&listener, ticket));
        let Some((invitation, address)) = issued else { return };
        let text = self.asked.full(&listener, &address, !self.body.is_empty());
        let request_id = Some(self.asked.id.clone());
        if text.len() <= JSON_LIMIT && self.body.len() as u64 <= CONTROL_BODY {
            let body = Some(self.body.clone()).filter(|body| !body.is_empty());
            let delivery = Delivery { text, body, request_id, one_way: true };
            let Ok(mut replies) = node.directory.deliver(listener.id, delivery).await else { return };
            if replies.handed_over().await == Handover::Whole {
                self.metrics.meter.to_listener.inc_by(self.body.len() as u64);
                self.delivered(&handed);
            }
            // With this its address is void: whoever dials to answer learns that nobody waits.
            replies.settle();
            return;
        }
        let marker = Delivery { text: Asked::marker(&address), body: None, request_id, one_way: false };
        let Ok(replies) = node.directory.deliver(listener.id, marker).await else { return };
        if let Some((leg, replies)) = self.dialled(invitation, replies).await {
            self.upload(leg, replies, text, handed).await;
        }
    }

    fn delivered(&self, handed: &mpsc::UnboundedSender<()>) {
        self.metrics.events.delivered.inc();
        // The answer may have been given.
        let _ = handed.send(());
    }

    /// Waits for the dial of a listener that has to fetch the request.
    async fn dialled(&self, invitation: Invitation, mut replies: Replies) -> Option<(PendingLeg, Replies)> {
        let Invitation { mut answer, _ticket } = invitation;
        tokio::select! {
            biased;
            answered = &mut answer => match answered {
                Ok(Answer::Accepted(leg)) => Some((leg, replies)),
                Ok(Answer::Rejected(_)) | Err(_) => None,
            },
            // An answer without the request, or the listener has gone.
            _ = replies.next() => None,
            () = self.node.stopped() => None,
            () = self.node.env.sleep(self.node.config().timings.request_dial) => None,
        }
    }

    /// Hands it over at the rendezvous, and swallows the answer.
    async fn upload(&self, leg: PendingLeg, replies: Replies, text: String, handed: mpsc::UnboundedSender<()>) {
        let (delivered, mut progress) = watch::channel(false);
        let task = Task {
            node: self.node.clone(),
            request_id: self.asked.id.clone(),
            method: self.asked.method.clone(),
            settings: self.settings.clone(),
            moved: self.moved.clone(),
            endings: self.node.endings.subscribe(&self.entity),
            one_way: true,
            delivered,
            _held: None,
        };
        let body = if self.body.is_empty() { Payload::None } else { Payload::Whole(self.body.clone()) };
        let answered = task.start(leg, Some(Upload { text, body }), replies);
        if progress.wait_for(|delivered| *delivered).await.is_ok() {
            self.delivered(&handed);
        }
        drop(handed);
        // Whoever lets go of the answer before it comes is taken for a sender that has gone.
        drop(answered.await);
    }
}
