//! From a request that was let in to the head of its response: a listener, the delivery, and the wait for the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hybridrelay::protocol::JSON_LIMIT;
use hyper::body::Body as _;
use tokio::sync::watch;

use super::message::Asked;
use super::no_listener;
use super::record::{AtListener, Outcome, Record};
use super::rendezvous::{Task, Upload, gone};
use super::response::{Head, Source};
use crate::directory::{DeliverError, Delivery, EntityKey, ListenerId, ListenerRecord, Occupied, Replies};
use crate::edge::RequestBody;
use crate::limits::{Resource, Scope};
use crate::namespace::HttpSettings;
use crate::node::Node;
use crate::refusal::{Reason, Refusal};
use crate::rendezvous::{Answer, Invitation, PendingLeg, Preference, choose, invitation};

/// The longest body that travels on a control channel (protocol.md 5.3).
pub(super) const CONTROL_BODY: u64 = 65_536;

/// How long a sender may take for such a body (protocol.md 10, decision 30).
const CONTROL_BODY_TIME: Duration = Duration::from_secs(60);

/// One request on its way.
pub(super) struct Exchange {
    pub(super) node: Arc<Node>,
    pub(super) entity: EntityKey,
    pub(super) settings: HttpSettings,
    pub(super) asked: Asked,
    pub(super) preference: Preference,
    pub(super) record: Record,
}

/// A request's body.
pub(super) enum Payload {
    None,
    /// Short enough for the control channel, unless it is of a one-way request.
    Whole(Bytes),
    /// To be fetched at a rendezvous, as it comes.
    Streamed {
        body: RequestBody,
        length: Option<u64>,
    },
}

/// The listeners that were asked, and what the sender is told if nobody is left.
pub(super) struct Tried {
    listeners: Vec<ListenerId>,
    otherwise: Refusal,
}

/// A request, or its address, on its way to a listener.
pub(super) struct Given {
    pub(super) invitation: Invitation,
    pub(super) replies: Replies,
    /// The request message, if the listener has to fetch it.
    pub(super) to_fetch: Option<String>,
}

/// What a listener did with what it was given.
pub(super) enum Came {
    Dialled(PendingLeg, Replies),
    Answered(Head),
    /// Its control channel was lost.
    Gone,
    TimedOut,
}

impl Exchange {
    /// Brings the request to a listener, and back the head of its response.
    pub(super) async fn run(mut self, body: RequestBody) -> Result<(Record, Head), Refusal> {
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
    async fn payload(&self, body: RequestBody) -> Result<Payload, Refusal> {
        let hint = body.size_hint();
        // Of a known length both bounds are the same.
        if hint.upper().is_some() && hint.lower() <= CONTROL_BODY {
            whole(&self.node, &self.settings, body).await
        } else if body.is_end_stream() {
            Ok(Payload::None)
        } else {
            Ok(Payload::Streamed { body, length: hint.exact() })
        }
    }

    /// Asks one listener after the other until one has been given something of the request (protocol.md 10, decision 17).
    async fn ask(&mut self, payload: Payload) -> Result<Head, Refusal> {
        let mut tried = Tried::otherwise(gone());
        loop {
            let Given { invitation, replies, to_fetch } = self.give(&payload, &mut tried, false).await?;
            match self.wait(invitation, replies, to_fetch.is_some()).await {
                Came::Dialled(leg, replies) => {
                    let upload = to_fetch.map(|text| Upload { text, body: payload });
                    let (task, _) = self.task(false);
                    return task.start(leg, upload, replies).await.unwrap_or_else(|_| Err(gone()));
                }
                Came::Answered(head) => return Ok(head),
                // Nothing of the request was given away yet.
                Came::Gone if to_fetch.is_some() => {}
                Came::Gone => return Err(gone()),
                Came::TimedOut => return Err(Refusal::no_response()),
            }
        }
    }

    /// Gives the request, or its address, to the next listener.
    pub(super) async fn give(&mut self, payload: &Payload, tried: &mut Tried, one_way: bool) -> Result<Given, Refusal> {
        let node = self.node.clone();
        loop {
            let (listener, occupied) = match choose(&node, &self.entity, &self.preference, &tried.listeners) {
                Ok(Some(chosen)) => chosen,
                Ok(None) => return Err(tried.otherwise.clone()),
                Err(refusal) => return Err(no_listener(refusal, &self.settings)),
            };
            tried.listeners.push(listener.id);
            if let Err(refusal) = self.take_place(listener.id, occupied) {
                tried.otherwise = refusal;
                continue;
            }
            let issued = invitation(&node, &listener.base, Vec::new(), |ticket| self.asked.address(&listener, ticket));
            let Some((invitation, address)) = issued else { return Err(Refusal::headers_too_large()) };
            let (delivery, to_fetch) = self.delivery(&listener, &address, payload, one_way);
            if let Some(body) = &delivery.body {
                self.record.moved().to_listener(&node, body.len()).await;
            }
            match node.directory.deliver(listener.id, delivery).await {
                Ok(replies) => return Ok(Given { invitation, replies, to_fetch }),
                Err(DeliverError::Gone) => {}
                Err(DeliverError::Busy) => {
                    let text = "The listener does not take more requests now";
                    return Err(Refusal::busy(Reason::ListenerBusy, text));
                }
            }
        }
    }

    fn take_place(&mut self, listener: ListenerId, occupied: Occupied) -> Result<(), Refusal> {
        let place = self.node.quotas.take(Resource::Request, [Scope::Listener(listener)]).map_err(Refusal::full)?;
        self.record.at_listener(AtListener { _place: place, _occupied: occupied });
        Ok(())
    }

    /// What is sent on the control channel; and the request message itself if the listener has to fetch it (protocol.md 5.3).
    fn delivery(
        &self,
        listener: &ListenerRecord,
        address: &str,
        payload: &Payload,
        one_way: bool,
    ) -> (Delivery, Option<String>) {
        let full = self.asked.full(listener, address, !matches!(payload, Payload::None));
        let request_id = Some(self.asked.id.clone());
        let (fits, body) = match payload {
            Payload::None => (true, None),
            Payload::Whole(body) => (body.len() as u64 <= CONTROL_BODY, Some(body.clone())),
            Payload::Streamed { .. } => (false, None),
        };
        if fits && full.len() <= JSON_LIMIT {
            return (Delivery { text: full, body, request_id, one_way }, None);
        }
        (Delivery { text: Asked::marker(address), body: None, request_id, one_way }, Some(full))
    }

    /// Waits for whatever the listener does first. With the end of this the address is void.
    pub(super) async fn wait(&self, invitation: Invitation, mut replies: Replies, marker: bool) -> Came {
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

    /// What becomes of the request at a rendezvous, and whether all of it has been handed over there. What a one-way request takes up at
    /// its listener goes there, too.
    pub(super) fn task(&mut self, one_way: bool) -> (Task, watch::Receiver<bool>) {
        let (delivered, progress) = watch::channel(false);
        let task = Task {
            node: self.node.clone(),
            request_id: self.asked.id.clone(),
            method: self.asked.method.clone(),
            settings: self.settings.clone(),
            moved: self.record.moved().clone(),
            endings: self.node.endings.subscribe(&self.entity),
            one_way,
            delivered,
            _held: if one_way { self.record.leave_listener() } else { None },
        };
        (task, progress)
    }
}

impl Tried {
    /// Nobody yet.
    pub(super) fn otherwise(refusal: Refusal) -> Self {
        Self { listeners: Vec::new(), otherwise: refusal }
    }
}

/// Takes a body in, up to the longest that is allowed.
pub(super) async fn whole(node: &Node, settings: &HttpSettings, mut body: RequestBody) -> Result<Payload, Refusal> {
    let most = settings.max_body.unwrap_or(CONTROL_BODY);
    let expected = body.size_hint().lower().min(CONTROL_BODY);
    // At most 64 KiB, so it fits a size.
    let mut whole = BytesMut::with_capacity(expected as usize);
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::bad_request("The request's body broke off"))?;
            let data = frame.into_data().unwrap_or_default();
            if (whole.len() + data.len()) as u64 > most {
                return Err(Refusal::body_too_large());
            }
            whole.extend_from_slice(&data);
        }
        Ok(())
    };
    let in_time = node.env.timeout(CONTROL_BODY_TIME, reading).await;
    in_time.unwrap_or_else(|| Err(Refusal::slow_sender()))?;
    Ok(if whole.is_empty() { Payload::None } else { Payload::Whole(whole.freeze()) })
}
