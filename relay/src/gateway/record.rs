//! One relayed request from its admission to its end: what it takes up, what it moved, and the line that tells of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::Method;

use crate::directory::Occupied;
use crate::instrument::{Tap, Tapped};
use crate::limits::{Permit, Throttle};
use crate::node::{Counted, Node};
use crate::observe::{Active, Detail, Meter, Operation, Origin};

/// Told of when it is dropped, unless it was refused: that has a line of its own.
pub(super) struct Record {
    node: Arc<Node>,
    origin: Origin,
    method: Method,
    path: String,
    began: Instant,
    moved: Arc<Moved>,
    _tapped: Option<Tapped>,
    status: Option<u16>,
    outcome: Outcome,
    /// Its places among the connections and the requests in flight.
    _places: [Permit; 2],
    at_listener: Option<AtListener>,
    _active: Active,
    _busy: Counted,
}

/// What a request takes up at one listener.
pub(super) struct AtListener {
    /// Its place among the listener's requests.
    pub(super) _place: Permit,
    pub(super) _occupied: Occupied,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nobody is left to be answered, or to take the rest of the answer.
    SenderGone,
    /// The listener's answer was cut off.
    ListenerGone,
    Completed,
    /// Its sender waited for no answer, and a listener has it.
    OneWay,
    Refused,
}

/// The bytes of a request and of its response.
pub(super) struct Moved {
    meter: Meter,
    throttle: Throttle,
    /// Of a test.
    tap: Option<Arc<Tap>>,
    to_listener: AtomicU64,
    to_sender: AtomicU64,
}

/// What a record is made of.
pub(super) struct Admission {
    pub(super) origin: Origin,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) throttle: Throttle,
    pub(super) meter: Meter,
    pub(super) active: Active,
    pub(super) places: [Permit; 2],
    pub(super) tapped: Option<Tapped>,
}

impl Record {
    pub(super) fn new(node: &Arc<Node>, admission: Admission) -> Self {
        let Admission { origin, method, path, throttle, meter, active, places, tapped } = admission;
        let tap = tapped.as_ref().map(Tapped::tap);
        let moved = Moved { meter, throttle, tap, to_listener: AtomicU64::default(), to_sender: AtomicU64::default() };
        node.observer.note(&origin, Operation::SenderSentHttpRequest, Detail::None);
        Self {
            node: node.clone(),
            origin,
            method,
            path,
            began: node.env.now(),
            moved: Arc::new(moved),
            _tapped: tapped,
            status: None,
            outcome: Outcome::SenderGone,
            _places: places,
            at_listener: None,
            _active: active,
            _busy: node.busy.enter(),
        }
    }

    pub(super) fn moved(&self) -> &Arc<Moved> {
        &self.moved
    }

    /// Where a test holds it up and cuts it.
    pub(super) fn tap(&self) -> Option<&Arc<Tap>> {
        self.moved.tap.as_ref()
    }

    /// Goes to a listener, instead of the one before.
    pub(super) fn at_listener(&mut self, place: AtListener) {
        self.at_listener = Some(place);
    }

    /// What it takes up at its listener, where that goes on longer.
    pub(super) fn leave_listener(&mut self) -> Option<AtListener> {
        self.at_listener.take()
    }

    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Moved {
    /// Counts bytes of a request, as soon as the rates allow them.
    pub(super) async fn to_listener(&self, node: &Node, bytes: usize) {
        self.pay(node, bytes).await;
        if let Some(tap) = &self.tap {
            tap.move_up(bytes).await;
        }
        self.to_listener.fetch_add(bytes as u64, Ordering::Relaxed);
        self.meter.to_listener.inc_by(bytes as u64);
    }

    /// Counts bytes of a response, as soon as the rates allow them.
    pub(super) async fn to_sender(&self, node: &Node, bytes: usize) {
        self.pay(node, bytes).await;
        self.to_sender.fetch_add(bytes as u64, Ordering::Relaxed);
        self.meter.to_sender.inc_by(bytes as u64);
    }

    /// Waits until the rates allow so many bytes more.
    pub(super) async fn pay(&self, node: &Node, mut bytes: usize) {
        while bytes > 0 {
            let now = node.env.now();
            let grant = self.throttle.grant(now, bytes);
            if grant.from > now {
                self.meter.throttled.inc_by((grant.from - now).as_secs_f64());
                node.env.sleep_until(grant.from).await;
            }
            bytes = bytes.saturating_sub(grant.bytes.max(1));
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let operation = match self.outcome {
            Outcome::Refused => return,
            Outcome::Completed | Outcome::OneWay => Operation::ListenerReturningHttpResponse,
            Outcome::SenderGone | Outcome::ListenerGone => Operation::ListenerReturningHttpResponseFailed,
        };
        let detail = Detail::Request {
            method: self.method.as_str().to_owned(),
            path: std::mem::take(&mut self.path),
            status: self.status,
            outcome: self.outcome.as_str(),
            to_listener: self.moved.to_listener.load(Ordering::Relaxed),
            to_sender: self.moved.to_sender.load(Ordering::Relaxed),
            duration: self.node.env.now().saturating_duration_since(self.began),
        };
        self.node.observer.note(&self.origin, operation, detail);
    }
}

impl Outcome {
    /// A word that never changes.
    fn as_str(self) -> &'static str {
        match self {
            Self::SenderGone => "sender_gone",
            Self::ListenerGone => "listener_gone",
            Self::Completed => "completed",
            Self::OneWay => "one_way",
            Self::Refused => "refused",
        }
    }
}
