//! What a forwarder tells of its work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use crate::env::Env;
use crate::http::Traffic;
use crate::{Error, IncomingConnect, IncomingRequest};

/// What happened: what the function given to [`Forwarder::observe`](crate::Forwarder::observe) is called with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ForwardEvent {
    /// The server has answered a request, whatever the status, or has taken a connection.
    ServerAnswered,
    /// The server could not be reached, or broke the exchange off before it answered: the sender gets 502 and the reason.
    ServerFailed(Error),
    /// A sender and the server are connected, and [`Ended`](Self::Ended) will tell when they no longer are.
    Connected,
    /// A request was answered, or could not be; a connection has ended, or was refused. Comes once for every sender.
    Ended(Forwarded),
}

/// One sender, from its arrival to its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Forwarded {
    /// The id under which the relay's logs know it.
    pub tracking_id: String,
    /// The method of a request; `None` for a connection.
    pub method: Option<Method>,
    /// The path behind the hybrid connection's name, at least `/`, percent-encoded as the sender wrote it. The query is nobody else's.
    pub path: String,
    /// The sender's address as the relay saw it.
    pub remote_addr: Option<SocketAddr>,
    /// What the sender was answered: 101 for a connection that came to be. `None` if it went before that.
    pub status: Option<StatusCode>,
    /// How many bytes came from the sender: of its request's body, or over its connection.
    pub received: u64,
    /// How many bytes went to the sender: of the response's body, or over its connection.
    pub sent: u64,
    /// From its arrival to its end.
    pub took: Duration,
    /// Why it ended early, if it did.
    pub error: Option<Error>,
}

pub(super) type Observer = Arc<dyn Fn(ForwardEvent) + Send + Sync>;

/// Follows one sender; the drop is its end.
pub(super) struct Record {
    env: Env,
    observer: Option<Observer>,
    begun: Instant,
    forwarded: Option<Forwarded>,
    traffic: Arc<Traffic>,
}

impl Record {
    pub(super) fn of_request(env: &Env, observer: Option<&Observer>, request: &IncomingRequest) -> Self {
        let (id, path) = (request.tracking_id(), request.path());
        Self::new(env, observer, id, Some(request.method().clone()), path, request.remote_addr())
    }

    pub(super) fn of_connect(env: &Env, observer: Option<&Observer>, connect: &IncomingConnect) -> Self {
        Self::new(env, observer, connect.tracking_id(), None, connect.path(), connect.remote_addr())
    }

    fn new(
        env: &Env,
        observer: Option<&Observer>,
        tracking_id: &str,
        method: Option<Method>,
        path: &str,
        remote_addr: Option<SocketAddr>,
    ) -> Self {
        let forwarded = observer.map(|_| Forwarded {
            tracking_id: tracking_id.to_owned(),
            method,
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            remote_addr,
            status: None,
            received: 0,
            sent: 0,
            took: Duration::ZERO,
            error: None,
        });
        Self { env: env.clone(), observer: observer.cloned(), begun: env.now(), forwarded, traffic: Arc::default() }
    }

    /// Whether anybody wants to know.
    pub(super) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Where to count what passes.
    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    pub(super) fn server_answered(&self) {
        self.tell(ForwardEvent::ServerAnswered);
    }

    /// The sender gets 502. Where nobody observes, the log tells.
    pub(super) fn server_failed(&mut self, tracking_id: &str, error: &Error) {
        match &self.observer {
            Some(_) => self.tell(ForwardEvent::ServerFailed(error.clone())),
            None => tracing::warn!(tracking_id, %error, "a sender could not be forwarded; it is answered 502"),
        }
        self.broke_off(error);
        self.answered(StatusCode::BAD_GATEWAY);
    }

    pub(super) fn connected(&mut self) {
        self.answered(StatusCode::SWITCHING_PROTOCOLS);
        self.tell(ForwardEvent::Connected);
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some(forwarded) = &mut self.forwarded {
            forwarded.status = Some(status);
        }
    }

    /// The first reason counts.
    pub(super) fn broke_off(&mut self, error: &Error) {
        if let Some(forwarded) = &mut self.forwarded {
            forwarded.error.get_or_insert_with(|| error.clone());
        }
    }

    fn tell(&self, event: ForwardEvent) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(forwarded) = self.forwarded.take() {
            self.tell(ForwardEvent::Ended(Forwarded {
                received: self.traffic.received(),
                sent: self.traffic.sent(),
                took: self.env.now().saturating_duration_since(self.begun),
                ..forwarded
            }));
        }
    }
}
