//! The requests of one control channel: what it delivers becomes an [`IncomingRequest`], or is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::answer::{Answer, Route, refusal};
use super::body::Body;
use super::cancellation::Fate;
use super::rendezvous::Rendezvous;
use super::request::{Head, IncomingRequest};
use crate::listener::{AnswerContext, Incoming, IncomingQueue, Outgoing};
use crate::protocol::{Features, Request};
use crate::{Error, ErrorKind, Result};

const TOO_MANY: &str = "The listener has too many unanswered requests";

/// Requests over the limit that are fetched from their rendezvous to be refused there, at most; beyond it the relay's own timeout
/// answers them.
const REFUSALS: usize = 256;

/// The table of requests is tidied up when it has grown to this size, or to twice what was left of it.
const TIDY_AT: usize = 64;

/// Owned by the listener's task for as long as its channel lives. With it every request that the channel delivered is lost, since
/// nothing can be answered any more (protocol.md 10, decision 35).
pub(crate) struct Intake {
    context: Arc<AnswerContext>,
    queue: Arc<IncomingQueue>,
    answers: mpsc::Sender<Outgoing>,
    features: Features,
    /// A request whose body is the next binary message; without a permit it was refused already.
    awaiting: Option<(Head, Option<OwnedSemaphorePermit>)>,
    /// What is known of the senders of those that are not answered yet, and of some that are.
    outstanding: BTreeMap<String, Fate>,
    tidy_at: usize,
}

impl Intake {
    pub(crate) fn new(
        context: Arc<AnswerContext>,
        queue: Arc<IncomingQueue>,
        answers: mpsc::Sender<Outgoing>,
        features: Features,
    ) -> Self {
        let (awaiting, outstanding, tidy_at) = (None, BTreeMap::new(), TIDY_AT);
        Self { context, queue, answers, features, awaiting, outstanding, tidy_at }
    }

    /// The relay has told its features in a message.
    pub(crate) fn on_features(&mut self, features: Features) {
        self.features = features;
    }

    /// A request has come, in full or as a marker. Returns what is to be said to it at once.
    pub(crate) fn on_request(&mut self, request: Request, permit: Option<OwnedSemaphorePermit>) -> Option<Outgoing> {
        self.give_up_awaiting();
        let Some(head) = Head::read(&request) else {
            self.fetch(request, permit);
            return None;
        };
        let refused = permit.is_none().then(|| {
            tracing::warn!(tracking_id = head.id, "too many requests wait for an answer; one is refused with 503");
            let (response, body) = refusal(&head.id, &head.method, 503, TOO_MANY);
            let text = response.to_json_for(&self.features);
            Outgoing { text, body: response.body.then_some(body), sent: None }
        });
        match (head.has_body, permit) {
            (true, permit) => self.awaiting = Some((head, permit)),
            (false, Some(permit)) => self.deliver(head, Body::empty(), permit),
            (false, None) => {}
        }
        refused
    }

    /// A binary message has come: the body of the request before it.
    pub(crate) fn on_body(&mut self, body: Bytes) {
        match self.awaiting.take() {
            Some((head, Some(permit))) => self.deliver(head.with_length(&body), body.into(), permit),
            Some((_, None)) => {}
            None => tracing::debug!("the relay sent a body that belongs to no request"),
        }
    }

    /// The sender of a request has gone (protocol.md 3.10).
    pub(crate) fn on_cancel(&mut self, request_id: &str) {
        if let Some(fate) = self.outstanding.remove(request_id) {
            fate.gone();
        }
    }

    /// The body that was to come next did not.
    fn give_up_awaiting(&mut self) {
        if let Some((head, Some(permit))) = self.awaiting.take() {
            tracing::warn!(tracking_id = head.id, "the relay announced a body and sent something else");
            self.control_answer(&head, permit).refuse_later(400, "The body of the request did not come");
        }
    }

    fn deliver(&mut self, head: Head, body: Body, permit: OwnedSemaphorePermit) {
        let answer = self.control_answer(&head, permit);
        push(&self.queue, head, body, answer);
    }

    fn control_answer(&mut self, head: &Head, permit: OwnedSemaphorePermit) -> Answer {
        let fate = Fate::new();
        self.tidy();
        self.outstanding.insert(head.id.clone(), fate.clone());
        let route = Route::Control { channel: self.answers.clone(), address: head.address.clone() };
        answer(&self.context, &self.features, head, route, fate, permit)
    }

    /// Forgets the requests that are over.
    fn tidy(&mut self) {
        if self.outstanding.len() >= self.tidy_at {
            self.outstanding.retain(|_, fate| !fate.is_over());
            self.tidy_at = TIDY_AT.max(self.outstanding.len() * 2);
        }
    }

    /// Fetches a request from its rendezvous, in the background.
    fn fetch(&self, marker: Request, permit: Option<OwnedSemaphorePermit>) {
        let (context, queue, features) = (self.context.clone(), self.queue.clone(), self.features.clone());
        let env = context.dialer.env().clone();
        let Some(permit) = permit else {
            tracing::warn!("too many requests wait for an answer; one is refused with 503");
            if context.refusals() < REFUSALS {
                let refusing = context.clone();
                context.later(async move {
                    if let Err(error) = refuse_at_rendezvous(&refusing, &marker, &features).await {
                        tracing::debug!(%error, "a request could not be refused");
                    }
                });
            }
            return;
        };
        env.spawn(async move {
            let fetched = async {
                let fate = Fate::new();
                let (rendezvous, head) = fetch(&context, &marker, fate.clone()).await?;
                let body = rendezvous.receive(head.has_body);
                let answer = answer(&context, &features, &head, Route::Rendezvous(rendezvous), fate, permit);
                push(&queue, head, body, answer);
                Ok::<_, Error>(())
            };
            if let Err(error) = fetched.await {
                tracing::debug!(%error, "a request could not be fetched from its rendezvous");
            }
        });
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        for fate in self.outstanding.values() {
            fate.channel_lost();
        }
    }
}

fn answer(
    context: &Arc<AnswerContext>,
    features: &Features,
    head: &Head,
    route: Route,
    fate: Fate,
    permit: OwnedSemaphorePermit,
) -> Answer {
    Answer {
        context: context.clone(),
        request_id: head.id.clone(),
        method: head.method.clone(),
        features: features.clone(),
        route,
        fate,
        said: false,
        _permit: permit,
    }
}

fn push(queue: &IncomingQueue, head: Head, body: Body, answer: Answer) {
    let entity = answer.context.entity.clone();
    match IncomingRequest::new(head, body, answer, &entity) {
        Ok(request) => queue.push(Incoming::Request(request)),
        Err(refused) => {
            let (error, answer) = *refused;
            tracing::warn!(%error, "a request that cannot be read is refused with 400");
            answer.refuse_later(400, "The request cannot be read");
        }
    }
}

/// Dials a rendezvous and reads the head of the request that waits there.
async fn fetch(context: &AnswerContext, marker: &Request, fate: Fate) -> Result<(Arc<Rendezvous>, Head)> {
    let rendezvous = Rendezvous::dial(context, &marker.address, fate).await?;
    let env = context.dialer.env();
    let request = env.timeout(context.accept_timeout, rendezvous.head()).await.unwrap_or_else(|| {
        Err(Error::new(ErrorKind::Timeout, "the relay did not send the request that waits at a rendezvous"))
    })?;
    let head = Head::read_at_rendezvous(&request)
        .ok_or_else(|| Error::new(ErrorKind::Protocol, "the request at a rendezvous is not complete"))?;
    Ok((rendezvous, head))
}

async fn refuse_at_rendezvous(context: &AnswerContext, marker: &Request, features: &Features) -> Result<()> {
    let (rendezvous, head) = fetch(context, marker, Fate::new()).await?;
    rendezvous.receive(false);
    let (response, body) = refusal(&head.id, &head.method, 503, TOO_MANY);
    rendezvous.start_head(response.to_json_for(features), !response.body)?;
    if response.body {
        rendezvous.ready().await?;
        rendezvous.start_body(body, true)?;
    }
    rendezvous.finish().await
}
