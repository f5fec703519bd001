//! The way that the answer to one request takes: the control channel, or a rendezvous.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::body::sender_gone;
use super::cancellation::Fate;
use super::rendezvous::Rendezvous;
use crate::listener::{AnswerContext, Outgoing};
use crate::protocol::{self, Features, JSON_LIMIT};
use crate::{Error, ErrorKind, Result};

/// What is needed to answer one request. It counts against `max_concurrent` as long as it lives.
pub(super) struct Answer {
    pub(super) context: Arc<AnswerContext>,
    pub(super) request_id: String,
    pub(super) method: Method,
    pub(super) features: Features,
    pub(super) route: Route,
    pub(super) fate: Fate,
    /// The response was handed on, its head at least: nothing else can be said any more.
    pub(super) said: bool,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Where an answer goes.
pub(super) enum Route {
    /// The control channel that delivered the request; a long or streamed answer dials the rendezvous instead.
    Control { channel: mpsc::Sender<Outgoing>, address: String },
    /// The rendezvous at which the request waited.
    Rendezvous(Arc<Rendezvous>),
}

/// How far an answer has come that goes by the control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The channel has taken it, behind the answers that wait already. They are bounded.
    Queued,
    /// It was handed to the operating system.
    Sent,
}

impl Answer {
    /// Sends a complete answer, and returns when it has come so far. Cancelled before there was a place for it, nothing is said.
    pub(super) async fn send(&mut self, response: &protocol::Response, body: Bytes, until: Until) -> Result<()> {
        let has_body = response.body;
        let text = response.to_json_for(&self.features);
        if let Route::Control { channel, .. } = &self.route
            && text.len() <= JSON_LIMIT
        {
            if self.fate.is_gone() {
                return Err(sender_gone());
            }
            let body = has_body.then_some(body);
            let place = channel.reserve().await.map_err(|_| channel_lost())?;
            self.said = true;
            return match until {
                Until::Queued => {
                    place.send(Outgoing { text, body, sent: None });
                    Ok(())
                }
                Until::Sent => {
                    let (sent, confirmed) = oneshot::channel();
                    place.send(Outgoing { text, body, sent: Some(sent) });
                    confirmed.await.map_err(|_| channel_lost())
                }
            };
        }
        let rendezvous = self.rendezvous().await?;
        rendezvous.ready().await?;
        self.said = true;
        rendezvous.start_head(text, !has_body)?;
        if has_body {
            rendezvous.ready().await?;
            rendezvous.start_body(body, true)?;
        }
        rendezvous.finish().await
    }

    /// The rendezvous, dialled if need be: a response upgrade (protocol.md 5.4).
    pub(super) async fn rendezvous(&mut self) -> Result<Arc<Rendezvous>> {
        match &self.route {
            Route::Rendezvous(rendezvous) => Ok(rendezvous.clone()),
            Route::Control { address, .. } => {
                let rendezvous = Rendezvous::dial(&self.context, address, self.fate.clone()).await?;
                rendezvous.receive(false);
                self.route = Route::Rendezvous(rendezvous.clone());
                Ok(rendezvous)
            }
        }
    }

    /// Answers in the background what the program left unanswered. Needs no runtime, so that it can be called in a drop.
    pub(super) fn refuse_later(mut self, status: u16, text: &'static str) {
        let context = self.context.clone();
        context.later(async move {
            let (response, body) = refusal(&self.request_id, &self.method, status, text);
            if let Err(error) = self.send(&response, body, Until::Sent).await {
                tracing::debug!(tracking_id = self.request_id, %error, "a request could not be refused");
            }
        });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.fate.answered();
        if let Route::Rendezvous(rendezvous) = &self.route {
            rendezvous.abort_unfinished();
        }
    }
}

/// An answer of the listener's own. 503 asks to come again in a second.
pub(super) fn refusal(request_id: &str, method: &Method, status: u16, text: &str) -> (protocol::Response, Bytes) {
    let mut response_headers = HeaderMap::new();
    response_headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == 503 {
        response_headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    let response = protocol::Response {
        request_id: request_id.to_owned(),
        status_code: status,
        status_description: Some(text.to_owned()),
        response_headers,
        body: method != Method::HEAD,
    };
    (response, format!("{text}. TrackingId:{request_id}\n").into())
}

fn channel_lost() -> Error {
    Error::new(ErrorKind::ConnectionLost, "the control channel was lost before the answer was sent")
}
