//! One-way requests: answered as soon as a listener has been handed all of one (protocol.md 5.10 and 10, decisions 61 and 66).

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hybridrelay::protocol::TrackingId;
use hybridrelay::protocol::headers::{ONE_WAY, RELAY_DELIVERY};

use super::exchange::{Came, Exchange, Given, Payload, Tried, whole};
use super::record::Outcome;
use super::rendezvous::{Task, Upload, gone};
use crate::directory::{Handover, Replies};
use crate::edge::{Body, RequestBody};
use crate::namespace::{self, HttpSettings};
use crate::refusal::{Reason, Refusal, set_tracking_id};
use crate::rendezvous::{Invitation, PendingLeg};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";

/// A request whose sender waits for no listener's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OneWay {
    /// Its sender asked for that by `Prefer`, and is told that it was heard.
    preferred: bool,
}

impl OneWay {
    /// Whether a request is one-way, by its own wish or by the hybrid connection's.
    pub(super) fn of(sent: &HeaderMap, settings: &HttpSettings) -> Result<Option<Self>, Refusal> {
        let mut asked = false;
        for value in sent.get_all(RELAY_DELIVERY) {
            if !value.as_bytes().eq_ignore_ascii_case(ONE_WAY.as_bytes()) {
                return Err(Refusal::bad_request("Relay-Delivery can only be 'one-way'"));
            }
            asked = true;
        }
        let preferred = settings.one_way != namespace::OneWay::OnRequest && prefers_async(sent);
        let is_one_way = asked || preferred || settings.one_way == namespace::OneWay::Always;
        Ok(is_one_way.then_some(Self { preferred }))
    }

    /// The answer: the relay's own, without `Via`, and marked as an answer that only our relay gives.
    pub(super) fn accepted(self, tracking_id: &TrackingId) -> Response<Body> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::ACCEPTED;
        let fields = response.headers_mut();
        fields.insert(RELAY_DELIVERY, HeaderValue::from_static(ONE_WAY));
        set_tracking_id(fields, tracking_id);
        if self.preferred {
            fields.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
        }
        response
    }
}

/// Whether `Prefer: respond-async` is among the preferences (RFC 7240).
fn prefers_async(sent: &HeaderMap) -> bool {
    let lists = sent.get_all(PREFER).iter().filter_map(|list| list.to_str().ok());
    let mut preferences = lists.flat_map(|list| list.split(','));
    preferences.any(|one| one.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(RESPOND_ASYNC)))
}

impl Exchange {
    /// Brings the request to one listener. Returns as soon as that one has been handed all of it; what it answers is swallowed.
    ///
    /// Dropping the future before that withdraws the request.
    pub(super) async fn hand_over(self, body: RequestBody) -> Result<(), Refusal> {
        let mut exchange = Self { asked: self.asked.one_way(), ..self };
        let handed = match whole(&exchange.node, &exchange.settings, body).await {
            Ok(payload) => exchange.hand_over_whole(payload).await,
            Err(refusal) => Err(refusal),
        };
        let record = &mut exchange.record;
        match handed {
            Ok(()) => {
                record.answered(StatusCode::ACCEPTED.as_u16());
                record.ended(Outcome::OneWay);
            }
            Err(_) => record.ended(Outcome::Refused),
        }
        handed
    }

    /// Tries one listener after the other until one has been given something of the request.
    async fn hand_over_whole(&mut self, payload: Payload) -> Result<(), Refusal> {
        let mut tried = Tried::otherwise(untouched());
        loop {
            let Given { invitation, mut replies, to_fetch } = self.give(&payload, &mut tried, true).await?;
            let Some(text) = to_fetch else {
                let limit = self.settings.response_timeout.min(self.node.config().timings.write_stall);
                match self.node.env.timeout(limit, replies.handed_over()).await {
                    Some(Handover::Whole) => {
                        self.swallow(invitation, replies);
                        return Ok(());
                    }
                    Some(Handover::Nothing) => continue,
                    Some(Handover::InPart) => return Err(torn()),
                    None => return Err(Refusal::not_taken()),
                }
            };
            match self.wait(invitation, replies, true).await {
                Came::Dialled(leg, replies) => {
                    return self.upload(leg, Upload { text, body: payload }, replies).await;
                }
                Came::Answered(_) => return Err(torn()),
                // Nothing of the request was given away yet.
                Came::Gone => {}
                Came::TimedOut => return Err(Refusal::no_response()),
            }
        }
    }

    /// Hands the request over at the rendezvous, where its answer is swallowed as well.
    async fn upload(&mut self, leg: PendingLeg, upload: Upload, replies: Replies) -> Result<(), Refusal> {
        let (task, mut progress) = self.task(true);
        let mut answered = task.start(leg, Some(upload), replies);
        tokio::select! {
            biased;
            Ok(_) = progress.wait_for(|delivered| *delivered) => {}
            head = &mut answered => return Err(match head {
                Ok(Err(refusal)) => refusal,
                Ok(Ok(_)) => torn(),
                Err(_) => gone(),
            }),
        }
        // A receiver that is gone would be taken for a sender that is.
        self.node.spawn(async { drop(answered.await) });
        Ok(())
    }

    /// Waits in the background for what the listener answers, so that it may answer as it likes, and as long as it may take.
    fn swallow(&mut self, invitation: Invitation, replies: Replies) {
        let (task, _) = self.task(true);
        self.node.spawn(swallow(task, invitation, replies));
    }
}

async fn swallow(task: Task, invitation: Invitation, mut replies: Replies) {
    let Invitation { mut answer, _ticket } = invitation;
    let (node, limit) = (task.node.clone(), task.settings.response_timeout);
    let dialled = tokio::select! {
        biased;
        answered = &mut answer => answered.ok().and_then(|answer| answer.accepted()),
        // It has answered, or it has gone.
        _ = replies.next() => None,
        () = node.stopped() => None,
        () = node.env.sleep(limit) => None,
    };
    if let Some(leg) = dialled {
        drop(task.start(leg, None, replies).await);
    }
}

/// Nobody has been given anything, so that the sender may safely try again.
fn untouched() -> Refusal {
    Refusal::busy(Reason::ListenerGone, "The listener has gone before it had taken anything of the request")
}

fn torn() -> Refusal {
    Refusal::bad_gateway(Reason::ListenerGone, "The listener has gone before it had taken the whole request")
}

#[cfg(test)]
mod tests {
    use super::super::fields::tests::fields;
    use super::*;

    #[test]
    fn a_request_is_one_way_by_its_header_by_a_preference_or_by_the_hybrid_connection() {
        use namespace::OneWay::{Allowed, Always, OnRequest};
        const DELIVERY: (&str, &str) = ("relay-delivery", "One-Way");
        const PREFERS: (&str, &str) = ("prefer", "wait=10, Respond-Async; x=1");
        for (one_way, sent, expected) in [
            (OnRequest, &[][..], None),
            (OnRequest, &[DELIVERY], Some(false)),
            (OnRequest, &[DELIVERY, PREFERS], Some(false)),
            (OnRequest, &[PREFERS], None),
            (Allowed, &[], None),
            (Allowed, &[DELIVERY], Some(false)),
            (Allowed, &[PREFERS], Some(true)),
            (Allowed, &[("prefer", "respond-asynchronously, x=respond-async")], None),
            (Allowed, &[("prefer", "return=minimal"), PREFERS], Some(true)),
            (Always, &[], Some(false)),
            (Always, &[DELIVERY, PREFERS], Some(true)),
        ] {
            let settings = HttpSettings { one_way, ..HttpSettings::default() };
            let is = OneWay::of(&fields(sent), &settings).expect("a good header");
            assert_eq!(is, expected.map(|preferred| OneWay { preferred }), "{one_way:?} {sent:?}");
        }
    }

    #[test]
    fn a_delivery_that_does_not_exist_is_refused() {
        for sent in [
            &[("relay-delivery", "both-ways")][..],
            &[("relay-delivery", "")],
            &[("relay-delivery", "one-way"), ("relay-delivery", "twice")],
        ] {
            assert!(OneWay::of(&fields(sent), &HttpSettings::default()).is_err(), "{sent:?}");
        }
    }
}
