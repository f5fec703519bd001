//! The hub: one publisher, and every listener of the hybrid connection as a subscriber (protocol.md 11).
//!
//! A publisher is answered at once and each of its messages is an event, put together once ([`event`]) and kept once ([`log`])
//! until the last subscriber has taken it. The [`host`] invites the listeners that are online, and those that come; each has its
//! place in the log from its invitation on, so that it misses nothing while it dials. Publisher and subscribers are tasks of
//! their own, which share nothing but the log: a subscriber that is slow or vanishes is nobody else's concern.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use hybridrelay::CloseFrame;
use hybridrelay::protocol::JSON_LIMIT;
use hybridrelay::protocol::close;
use hybridrelay::protocol::headers::ListenerFilter;
use hybridrelay::ws::{ControlPayload, FrameError};

use super::pump::{self, Part, Party, PumpConfig, Say, Solo};
use super::{Attempt, Call, PendingLeg, choice, pump_config, upgraded};
use crate::edge::{Body, Handshake, Visit, offered_subprotocols};
use crate::namespace::{EventSettings, NoSubscriber, SlowSubscriber};
use crate::node::{Count, Counted, Node};
use crate::observe::{Detail, EntityMetrics, Operation, Origin};
use crate::pool::CAPACITY;
use crate::refusal::Refusal;

mod event;
mod host;
mod log;

use event::Assembler;
use host::Host;
use log::{Cursor, Log, Losses, Taken};

/// What the address of a listener may take up of an invitation, beside the sender's path and headers.
const ADDRESS: usize = 512;

/// Lets a publisher in and invites the listeners. The answer waits for none of them.
pub(super) fn publish(
    node: &Arc<Node>,
    mut visit: Visit,
    handshake: Handshake,
    attempt: Attempt,
    settings: EventSettings,
) -> Result<Response<Body>, Refusal> {
    let filter = ListenerFilter::from_headers(visit.request.headers());
    if settings.no_subscriber == NoSubscriber::NotFound {
        choice::check(node, &attempt.entity, &attempt.preference)?;
    }
    let call = Call::of(&visit);
    if call.len() + ADDRESS > JSON_LIMIT {
        return Err(Refusal::headers_too_large());
    }
    node.observer.note(&attempt.origin, Operation::NewSenderRegistering, Detail::None);
    // No listener's choice can be waited for: the publisher gets what it likes best.
    let subprotocol = offered_subprotocols(visit.request.headers()).into_iter().next();
    let response = handshake.answer(&visit.tracking_id, subprotocol.as_deref());
    let upgrade = hyper::upgrade::on(&mut visit.request);
    let leg = PendingLeg { upgrade, permit: visit.permit, subprotocol: subprotocol.clone() };

    let (log, to_tell) = Log::new(settings.queue, settings.slow_subscriber);
    let hub = Arc::new(Hub {
        node: node.clone(),
        log,
        origin: attempt.origin.clone(),
        metrics: attempt.metrics.clone(),
        publishers: Count::default(),
        subscribers: Count::default(),
        settings,
    });
    let publishing = hub.publishers.enter();
    let host = Host::new(hub.clone(), &attempt.entity, call, filter, subprotocol, to_tell);
    node.spawn(host.run());
    node.spawn(hub.carry(leg, attempt, publishing));
    Ok(response)
}

/// What the tasks around one publisher share.
struct Hub {
    node: Arc<Node>,
    settings: EventSettings,
    log: Log,
    origin: Origin,
    metrics: Arc<EntityMetrics>,
    /// One, as long as it is there.
    publishers: Count,
    /// Those that have dialled.
    subscribers: Count,
}

impl Hub {
    /// Carries the publisher's leg up to its end.
    async fn carry(self: Arc<Self>, leg: PendingLeg, attempt: Attempt, publishing: Counted) {
        let node = &self.node;
        let end = node.endings.subscribe(&attempt.entity);
        let publisher = Publisher::new(self.clone());
        let Some(Some((leg, permit))) = node.env.timeout(node.config().timings.upgrade, upgraded(leg)).await else {
            let text = "the publisher vanished during the handshake".to_owned();
            return node.observer.note(&self.origin, Operation::SenderConnectionClosed, Detail::Because(text));
        };
        let Attempt { account, place, metrics, .. } = attempt;
        let active = metrics.active(crate::observe::Party::Sender);
        let began = node.env.now();
        node.observer.note(&self.origin, Operation::SenderListenerConnectionEstablished, Detail::None);
        let config = PumpConfig { throttle: node.rates.throttle(&account, began), ..pump_config(node) };
        let solo = Solo::new(node.env.clone(), config, Party::Sender, leg, publisher);
        let hub = self.clone();
        // A task of its own, so that the room for all of the above does not stay with the connection for life.
        node.spawn(pump::drive(solo, end).map(move |(ended, published)| {
            drop(active);
            let detail = Detail::Connection {
                kind: "events",
                outcome: ended.as_str(),
                close_code: ended.close_code(),
                to_listener: published.bytes,
                to_sender: 0,
                duration: hub.node.env.now().saturating_duration_since(began),
            };
            hub.node.observer.note(&hub.origin, Operation::SenderConnectionClosed, detail);
            drop((place, permit, publishing));
        }));
    }

    fn lost(&self, Losses { dropped, cut_off }: Losses) {
        if dropped > 0 {
            self.metrics.events.dropped.inc_by(dropped);
        }
        if cut_off > 0 {
            self.metrics.events.cut_off.inc_by(cut_off);
        }
    }
}

/// What a publisher that went without Close leaves to its subscribers. All they have got is whole, so it is no abort for them.
fn gone() -> ControlPayload {
    CloseFrame { code: close::GOING_AWAY, reason: "the publisher has gone".to_owned() }.encode()
}

/// The hub as the publisher sees it. Dropping it ends the log.
struct Publisher {
    hub: Arc<Hub>,
    assembler: Assembler,
    closing: Option<ControlPayload>,
}

impl Publisher {
    fn new(hub: Arc<Hub>) -> Self {
        let assembler = Assembler::new(hub.settings.max_event);
        Self { hub, assembler, closing: None }
    }
}

impl Part for Publisher {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        ready!(self.hub.log.poll_room(cx));
        // What is read at once must not overrun those who keep up: the shortest events take up eleven times their frames.
        Poll::Ready((self.hub.settings.queue / 12).clamp(64, CAPACITY))
    }

    fn hear(&mut self, frames: &[u8]) -> Result<(), FrameError> {
        let mut events = Vec::new();
        let read = self.assembler.read(frames, &mut events);
        if !events.is_empty() {
            self.hub.metrics.events.published.inc_by(events.len() as u64);
            self.hub.lost(self.hub.log.append(events));
        }
        read
    }

    fn poll_say(&mut self, _cx: &mut Context<'_>) -> Poll<Say> {
        self.closing.take().map_or(Poll::Pending, |close| Poll::Ready(Say::Close(close)))
    }

    fn blocked(&mut self) {}

    fn cut_short(&mut self) -> Option<CloseFrame> {
        None
    }

    fn done(&mut self, close: Option<ControlPayload>) {
        self.hub.log.finish(close.unwrap_or_else(gone));
    }

    fn drain(&mut self, close: ControlPayload) {
        self.hub.log.finish(close);
        self.closing = Some(close);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.done(None);
    }
}

/// The hub as one subscriber sees it. What that one says is dropped.
struct Subscriber {
    /// `None` once it wants no more.
    cursor: Option<Cursor>,
    metrics: Arc<EntityMetrics>,
    /// Whether it may be given up for being slow.
    may_be_cut: bool,
    /// Events that were handed to the leg, and their bytes: delivered when the leg asks for the next.
    on_the_way: (u32, u64),
}

impl Subscriber {
    fn new(hub: &Hub, cursor: Cursor) -> Self {
        let may_be_cut = hub.settings.slow_subscriber == SlowSubscriber::Disconnect;
        Self { cursor: Some(cursor), metrics: hub.metrics.clone(), may_be_cut, on_the_way: (0, 0) }
    }

    fn delivered(&mut self) {
        let (events, bytes) = std::mem::take(&mut self.on_the_way);
        if events > 0 {
            self.metrics.events.delivered.inc_by(u64::from(events));
            self.metrics.meter.to_listener.inc_by(bytes);
        }
    }

    fn hand_over(&mut self, events: Vec<Bytes>) -> Say {
        let bytes = events.iter().map(|event| event::payload_len(event) as u64).sum();
        // A batch is small.
        self.on_the_way = (events.len() as u32, bytes);
        Say::Frames(events)
    }
}

impl Part for Subscriber {
    fn poll_room(&mut self, _cx: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(CAPACITY)
    }

    fn hear(&mut self, _frames: &[u8]) -> Result<(), FrameError> {
        Ok(())
    }

    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<Say> {
        self.delivered();
        let Some(cursor) = &self.cursor else { return Poll::Pending };
        match ready!(cursor.poll_take(cx)) {
            Taken::Events(events) => Poll::Ready(self.hand_over(events)),
            Taken::End(close) => Poll::Ready(Say::Close(close)),
        }
    }

    fn blocked(&mut self) {
        if let Some(cursor) = &self.cursor {
            cursor.blocked();
        }
    }

    fn cut_short(&mut self) -> Option<CloseFrame> {
        let cut = self.may_be_cut && self.cursor.as_ref().is_some_and(Cursor::is_cut_off);
        cut.then(|| CloseFrame { code: close::POLICY_VIOLATION, reason: "too slow".to_owned() })
    }

    fn done(&mut self, _close: Option<ControlPayload>) {
        self.cursor = None;
    }

    /// The log ends with the publisher, and as much of it as there is time for is still said.
    fn drain(&mut self, _close: ControlPayload) {}
}
