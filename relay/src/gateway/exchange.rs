//! From a request that was let in to the head of its response: a listener, the delivery, and the wait for the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hybridrelay::protocol::JSON_LIMIT;
use hybridrelay::protocol::headers::ListenerFilter;
use hyper::body::{Body as _, Incoming};
use tokio::sync::oneshot;

use super::message::Asked;
use super::no_listener;
use super::record::{Outcome, Record};
use super::rendezvous::{Task, Upload, gone};
use super::response::{Head, Source};
use crate::directory::{DeliverError, Delivery, EntityKey, ListenerId, ListenerRecord, Replies};
use crate::limits::{Resource, Scope};
use crate::namespace::HttpSettings;
use crate::node::Node;
use crate::refusal::{Reason, Refusal};
use crate::rendezvous::{Answer, Invitation, PendingLeg, choose, invitation};

/// The longest body that travels on a control channel (protocol.md 5.3).
const CONTROL_BODY: u64 = 65_536;

/// How long a sender may take for such a body (protocol.md 10, decision 30).
const CONTROL_BODY_TIME: Duration = Duration::from_secs(60);

/// One request on its way.
pub(super) struct Exchange {
    pub(super) node: Arc<Node>,
    pub(super) entity: EntityKey,
    pub(super) settings: HttpSettings,
    pub(super) asked: Asked,
    pub(super) filter: ListenerFilter,
    pub(super) record: Record,
}

/// A request's body.
pub(super) enum Payload {
    None,
    /// Short enough for the control channel.
    Whole(Bytes),
    /// To be fetched at a rendezvous, as it comes.
    Streamed {
        body: Incoming,
        length: Option<u64>,
    },
}

/// What a listener did with what it was given.
enum Came {
    Dialled(PendingLeg, Replies),
    Answered(Head),
    /// Its control channel was lost.
    Gone,
    TimedOut,
}

impl Exchange {
    /// Brings the request to a listener, and back the head of its response.
    pub(super) async fn run(mut self, body: Incoming) -> Result<(Record, Head), Refusal> {
        let answered = match self.payload(body).await {
            Ok(payload) => self.ask(payload).await,
            Err(refusal) => Err(refusal),
        };
        match answered {
            Ok(head) => {
                if let Source::Whole(bytes) = &head.body {
                    self.record.moved().to_sender(&self.node, bytes.len()).await;
                }
                Ok((self.record, head))
            }
            Err(refusal) => {
                self.record.ended(Outcome::Refused);
                Err(refusal)
            }
        }
    }

    /// Takes a short body in; leaves any other where it is.
    async fn payload(&self, mut body: Incoming) -> Result<Payload, Refusal> {
        if body.is_end_stream() {
            return Ok(Payload::None);
        }
        let length = body.size_hint().exact();
        let Some(short @ ..=CONTROL_BODY) = length else { return Ok(Payload::Streamed { body, length }) };
        // At most 64 KiB, so it fits a size.
        let mut whole = BytesMut::with_capacity(short as usize);
        let reading = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Refusal::bad_request("The request's body broke off"))?;
                whole.extend_from_slice(&frame.into_data().unwrap_or_default());
            }
            Ok(())
        };
        let in_time = self.node.env.timeout(CONTROL_BODY_TIME, reading).await;
        in_time.unwrap_or_else(|| Err(Refusal::slow_sender()))?;
        Ok(if whole.is_empty() { Payload::None } else { Payload::Whole(whole.freeze()) })
    }

    /// Asks one listener after the other until one has been given something of the request (protocol.md 10, decision 17).
    async fn ask(&mut self, payload: Payload) -> Result<Head, Refusal> {
        let node = self.node.clone();
        let mut tried = Vec::new();
        let mut otherwise = gone();
        loop {
            let listener = match choose(&node, &self.entity, &self.filter, &tried) {
                Ok(Some(listener)) => listener,
                Ok(None) => return Err(otherwise),
                Err(refusal) => return Err(no_listener(refusal, &self.settings)),
            };
            tried.push(listener.id);
            if let Err(refusal) = self.take_place(listener.id) {
                otherwise = refusal;
                continue;
            }
            let issued = invitation(&node, &listener.base, Vec::new(), |ticket| self.asked.address(&listener, ticket));
            let Some((invitation, address)) = issued else { return Err(Refusal::headers_too_large()) };
            let (delivery, to_fetch) = self.delivery(&listener, &address, &payload);
            if let Some(body) = &delivery.body {
                self.record.moved().to_listener(&node, body.len()).await;
            }
            let replies = match node.directory.deliver(listener.id, delivery).await {
                Ok(replies) => replies,
                Err(DeliverError::Gone) => continue,
                Err(DeliverError::Busy) => {
                    let text = "The listener does not take more requests now";
                    return Err(Refusal::busy(Reason::ListenerBusy, text));
                }
            };
            match self.wait(invitation, replies, to_fetch.is_some()).await {
                Came::Dialled(leg, replies) => {
                    let upload = to_fetch.map(|text| Upload { text, body: payload });
                    return self.carry(leg, upload, replies).await;
                }
                Came::Answered(head) => return Ok(head),
                // Nothing of the request was given away yet.
                Came::Gone if to_fetch.is_some() => {}
                Came::Gone => return Err(gone()),
                Came::TimedOut => return Err(Refusal::no_response()),
            }
        }
    }

    fn take_place(&mut self, listener: ListenerId) -> Result<(), Refusal> {
        let place = self.node.quotas.take(Resource::Request, [Scope::Listener(listener)]).map_err(Refusal::full)?;
        self.record.at_listener(place);
        Ok(())
    }

    /// What is sent on the control channel; and the request message itself if the listener has to fetch it (protocol.md 5.3).
    fn delivery(&self, listener: &ListenerRecord, address: &str, payload: &Payload) -> (Delivery, Option<String>) {
        let full = self.asked.full(listener, address, !matches!(payload, Payload::None));
        let request_id = Some(self.asked.id.clone());
        let body = match payload {
            Payload::None => None,
            Payload::Whole(body) => Some(body.clone()),
            Payload::Streamed { .. } => {
                return (Delivery { text: Asked::marker(address), body: None, request_id }, Some(full));
            }
        };
        if full.len() > JSON_LIMIT {
            return (Delivery { text: Asked::marker(address), body: None, request_id }, Some(full));
        }
        (Delivery { text: full, body, request_id }, None)
    }

    /// Waits for whatever the listener does first. With the end of this the address is void.
    async fn wait(&self, invitation: Invitation, mut replies: Replies, marker: bool) -> Came {
        let Invitation { mut answer, _ticket } = invitation;
        let limit = self.settings.response_timeout;
        let limit = if marker { limit.min(self.node.config().timings.request_dial) } else { limit };
        tokio::select! {
            biased;
            answered = &mut answer => match answered {
                Ok(Answer::Accepted(leg)) => Came::Dialled(leg, replies),
                Ok(Answer::Rejected(_)) | Err(_) => Came::Gone,
            },
            reply = replies.next() => match reply {
                Some(reply) => Came::Answered(Head::from(reply)),
                None => Came::Gone,
            },
            () = self.node.env.sleep(limit) => Came::TimedOut,
        }
    }

    /// Leaves the rest to the rendezvous, up to the head of the response.
    async fn carry(&self, leg: PendingLeg, upload: Option<Upload>, replies: Replies) -> Result<Head, Refusal> {
        let (head, answered) = oneshot::channel();
        let task = Task {
            node: self.node.clone(),
            request_id: self.asked.id.clone(),
            method: self.asked.method.clone(),
            settings: self.settings.clone(),
            moved: self.record.moved().clone(),
            endings: self.node.endings.subscribe(&self.entity),
        };
        self.node.spawn(task.carry(leg, upload, replies, head));
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}
