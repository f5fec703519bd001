//! Door 2: senders, the rendezvous addresses at which listeners meet them, and what joins both: the pump between two
//! (protocol.md 4, 6), or the [`hub`] from one to many (protocol.md 11).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use http::{HeaderMap, Response};
use hybridrelay::protocol::headers::connect_headers;
use hybridrelay::protocol::uri::{Rejection, accept_address};
use hybridrelay::protocol::{Accept, JSON_LIMIT, TrackingId};
use tokio::sync::{oneshot, watch};

use crate::auth;
use crate::directory::{DeliverError, Delivery, EntityKey, ListenerId, Occupied, Replies};
use crate::edge::{Body, Handshake, SocketPermit, Visit, offered_subprotocols, take_socket};
use crate::instrument::Tapped;
use crate::limits::{Account, Permit, Resource};
use crate::namespace::{Distribution, Right};
use crate::node::{Counted, Node};
use crate::observe::{Detail, EntityMetrics, Operation, Origin, Party};
use crate::refusal::{Reason, Refusal, set_reason, set_tracking_id};

pub(crate) mod choice;
mod dial;
mod hub;
mod junction;
mod pump;
mod tickets;

pub(crate) use choice::{Preference, choose};
pub(crate) use dial::dial;
pub(crate) use pump::Ending;
pub(crate) use tickets::Tickets;

pub(crate) use junction::{Answer, PendingLeg};
use junction::{Junction, Pair};
pub(crate) use pump::Leg;
use pump::PumpConfig;

/// Takes a sender in: checks it, invites a listener, and answers only when that one has dialled or refused. Where every listener
/// gets everything, nobody is waited for.
///
/// Dropping the future, as when the sender goes away, withdraws the invitation.
pub(crate) async fn connect(
    node: &Arc<Node>,
    mut visit: Visit,
    handshake: Handshake,
) -> Result<Response<Body>, Refusal> {
    let attempt = admit(node, &visit)?;
    if let Distribution::All(settings) = &attempt.distribution {
        let settings = settings.clone();
        return hub::publish(node, visit, handshake, attempt, settings);
    }
    let waiting = node.quotas.take(Resource::Waiting, attempt.account.scopes())?;
    node.observer.note(&attempt.origin, Operation::NewSenderRegistering, Detail::None);
    let (answer, occupied) = invite(node, &visit, &attempt).await?;
    drop(waiting);
    match answer {
        Answer::Accepted(leg) => {
            let sender = PendingLeg {
                upgrade: hyper::upgrade::on(&mut visit.request),
                permit: visit.permit,
                subprotocol: leg.subprotocol.clone(),
            };
            let response = handshake.answer(&visit.tracking_id, leg.subprotocol.as_deref());
            let tapped = node.instrument.as_ref();
            let tapped = tapped.map(|instrument| instrument.tap(&attempt.entity, visit.tracking_id.to_string(), None));
            let open = Open { _counted: node.open.enter(), _occupied: occupied, tapped };
            node.spawn(join(node.clone(), attempt, sender, leg, open));
            Ok(response)
        }
        Answer::Rejected(rejection) => {
            let detail = Detail::Rejected { status: rejection.status };
            node.observer.note(&attempt.origin, Operation::ListenerRejectedConnection, detail);
            Ok(rejected(&visit.tracking_id, &rejection))
        }
    }
}

/// A sender that was let in, on its way to a listener and while it is joined to one.
struct Attempt {
    entity: EntityKey,
    distribution: Distribution,
    origin: Origin,
    account: Account,
    preference: Preference,
    metrics: Arc<EntityMetrics>,
    place: Permit,
}

/// What a relayed connection is, as long as it is open.
struct Open {
    _counted: Counted,
    _occupied: Occupied,
    /// Where tests find it.
    tapped: Option<Tapped>,
}

/// Checks a sender: authorization, then existence (protocol.md 3.2), then what it and those it belongs to may use.
fn admit(node: &Node, visit: &Visit) -> Result<Attempt, Refusal> {
    let namespace = visit.snapshot.namespace(&visit.namespace).ok_or_else(Refusal::endpoint_not_found)?;
    let entity = visit.entity().map(|(entity, _)| entity);
    let mut key = None;
    if entity.is_none_or(|entity| entity.requires_client_authorization) {
        let wanted = auth::Request { namespace, entity, path: &visit.target.path, right: Right::Send };
        key = Some(auth::authorize_from(node, visit.client, wanted, visit.token())?.key);
    }
    let entity = entity.ok_or_else(Refusal::endpoint_not_found)?;
    visit.permit.authorized();
    let preference = Preference::of(visit, &entity.settings.choice);
    let distribution = entity.settings.distribution.clone();
    let entity = EntityKey::new(&visit.namespace, entity.path.canonical());
    let account = visit.account(&entity, key.as_ref());
    let place = node.quotas.take(Resource::Connection, account.scopes())?;
    node.rates.connect(&account, node.env.now())?;
    Ok(Attempt {
        origin: visit.origin(Some(&entity), key.as_ref()),
        metrics: node.observer.metrics.entity(&visit.namespace, Some(&entity)),
        entity,
        distribution,
        account,
        preference,
        place,
    })
}

/// Invites one listener after the other until one answers or the time is over (protocol.md 10, decisions 5 and 17). With the answer
/// comes what keeps its listener busy.
async fn invite(node: &Arc<Node>, visit: &Visit, attempt: &Attempt) -> Result<(Answer, Occupied), Refusal> {
    let call = Call::of(visit);
    let deadline = node.env.now() + node.config().timings.accept;
    let mut tried: Vec<ListenerId> = Vec::new();
    loop {
        let Some((listener, occupied)) = choose(node, &attempt.entity, &attempt.preference, &tried)? else {
            // Listeners are or were online, but none is left to ask.
            return Err(Refusal::timed_out());
        };
        tried.push(listener.id);
        let (pair, answer) = Pair::new(offered_subprotocols(visit.request.headers()));
        let Some((invitation, message)) = call.prepare(node, &listener.base, Arc::new(pair), answer) else {
            return Err(Refusal::headers_too_large());
        };
        let delivery = Delivery { text: message, body: None, request_id: None, one_way: false };
        match node.directory.deliver(listener.id, delivery).await {
            Ok(replies) => {
                node.observer.note(&attempt.origin, Operation::MessageSentToListener, Detail::None);
                let sent = node.env.now();
                match wait(node, invitation, replies, deadline).await {
                    Waited::Answered(answer) => {
                        let taken = node.env.now().saturating_duration_since(sent);
                        attempt.metrics.rendezvous.observe(taken.as_secs_f64());
                        return Ok((answer, occupied));
                    }
                    Waited::ListenerGone => {}
                    Waited::TimedOut => return Err(Refusal::timed_out()),
                }
            }
            Err(DeliverError::Gone) => {}
            Err(DeliverError::Busy) => {
                return Err(Refusal::busy(Reason::ListenerBusy, "The listener does not take more connections now"));
            }
        }
    }
}

/// An invitation that is open: its ticket is void when this is dropped.
pub(crate) struct Invitation {
    pub(crate) answer: oneshot::Receiver<Answer>,
    pub(crate) _ticket: tickets::Issued,
}

/// Issues a ticket for a rendezvous at `base` (`ws[s]://authority`), whose address `address` makes of it.
pub(crate) fn invitation(
    node: &Node,
    base: &str,
    subprotocols: Vec<String>,
    address: impl FnOnce(&str) -> String,
) -> Option<(Invitation, String)> {
    let (pair, answer) = Pair::new(subprotocols);
    Invitation::issue(node, base, Arc::new(pair), answer, address)
}

impl Invitation {
    /// Issues a ticket that leads to `junction`, which gives what the listener does to `answer`.
    fn issue(
        node: &Node,
        base: &str,
        junction: Arc<dyn Junction>,
        answer: oneshot::Receiver<Answer>,
        address: impl FnOnce(&str) -> String,
    ) -> Option<(Self, String)> {
        let ticket = tickets::Ticket::new(&node.env);
        let address = address(ticket.as_str());
        // What the listener must dial, byte for byte: everything behind the authority.
        let path_and_query = address.get(base.len()..)?.to_owned();
        let issued = node.tickets.issue(ticket, path_and_query, junction);
        Some((Self { answer, _ticket: issued }, address))
    }
}

/// What listeners are told of a sender (protocol.md 4.1).
struct Call {
    id: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    peer: SocketAddr,
}

impl Call {
    fn of(visit: &Visit) -> Self {
        Self {
            id: visit.tracking_id.to_string(),
            path: visit.target.path.clone(),
            query: visit.target.user_query.clone(),
            headers: connect_headers(visit.request.headers()),
            peer: visit.peer,
        }
    }

    /// The message with this address.
    fn message(&self, address: String) -> String {
        Accept { address, id: self.id.clone(), connect_headers: self.headers.clone(), remote_endpoint: Some(self.peer) }
            .to_json()
    }

    fn address(&self, base: &str, ticket: &str) -> String {
        accept_address(base, &self.path, self.query.as_deref(), &self.id, ticket)
    }

    /// How long the message is, beside what is the listener's own in it.
    fn len(&self) -> usize {
        self.message(self.address("", "")).len()
    }

    /// Issues a ticket and writes the message. `None` if that does not fit a control message.
    fn prepare(
        &self,
        node: &Node,
        base: &str,
        junction: Arc<dyn Junction>,
        answer: oneshot::Receiver<Answer>,
    ) -> Option<(Invitation, String)> {
        let (invitation, address) =
            Invitation::issue(node, base, junction, answer, |ticket| self.address(base, ticket))?;
        let message = self.message(address);
        (message.len() <= JSON_LIMIT).then_some((invitation, message))
    }
}

enum Waited {
    Answered(Answer),
    /// The control channel was lost before the listener dialled.
    ListenerGone,
    TimedOut,
}

async fn wait(node: &Node, invitation: Invitation, mut replies: Replies, deadline: Instant) -> Waited {
    let Invitation { mut answer, _ticket } = invitation;
    // An accept is answered by a dial: what comes as a reply says nothing, only the end of the replies does.
    let gone = async { while replies.next().await.is_some() {} };
    tokio::select! {
        biased;
        answered = &mut answer => match answered {
            Ok(answered) => Waited::Answered(answered),
            Err(_) => Waited::ListenerGone,
        },
        () = gone => Waited::ListenerGone,
        () = node.env.sleep_until(deadline) => Waited::TimedOut,
    }
}

/// The sender's answer when the listener refused: its status and reason phrase, exactly (protocol.md 4.4).
fn rejected(tracking_id: &TrackingId, rejection: &Rejection) -> Response<Body> {
    let mut response = Response::new(Body::default());
    // Validated when it was read: 200 to 999.
    if let Ok(status) = http::StatusCode::from_u16(rejection.status) {
        *response.status_mut() = status;
    }
    set_reason(&mut response, &rejection.reason);
    set_tracking_id(response.headers_mut(), tracking_id);
    response
}

/// Joins both sides once both handshakes are through.
async fn join(node: Arc<Node>, attempt: Attempt, sender: PendingLeg, listener: PendingLeg, open: Open) {
    let end = node.endings.subscribe(&attempt.entity);
    let limit = node.config().timings.upgrade;
    let both = async { tokio::join!(upgraded(sender), upgraded(listener)) };
    match node.env.timeout(limit, both).await {
        // A task of its own, so that the room for all of the above does not stay with the connection for life.
        Some((Some(sender), Some(listener))) => {
            node.spawn(relay(node.clone(), attempt, sender, listener, end, open));
        }
        came => {
            // A side that vanished between its request and its 101 takes the other with it.
            let (sender, listener) = came.unwrap_or_default();
            for (mut leg, _) in [sender, listener].into_iter().flatten() {
                leg.socket.abort();
            }
            let text = "a side vanished during the handshake".to_owned();
            node.observer.note(&attempt.origin, Operation::SenderConnectionClosed, Detail::Because(text));
        }
    }
}

/// Relays between two sides until both are done.
///
/// There are very many of these, most of them idle: whatever is not needed until the end is dropped at the beginning.
fn relay(
    node: Arc<Node>,
    attempt: Attempt,
    (sender, sender_permit): (Leg, SocketPermit),
    (listener, listener_permit): (Leg, SocketPermit),
    end: watch::Receiver<Option<Ending>>,
    open: Open,
) -> impl Future<Output = ()> + Send {
    let Attempt { origin, account, metrics, place, .. } = attempt;
    let active = metrics.active(Party::Sender);
    let began = node.env.now();
    node.observer.note(&origin, Operation::SenderListenerConnectionEstablished, Detail::None);
    let config = PumpConfig {
        throttle: node.rates.throttle(&account, began),
        meter: metrics.meter.clone(),
        ..pump_config(&node)
    };
    let (sender, listener) = match &open.tapped {
        Some(tapped) => tapped.onto(sender, listener),
        None => (sender, listener),
    };
    let held = (place, sender_permit, listener_permit, open);
    // An `async` block would keep room for the pump twice: where it is captured and where it is awaited.
    pump::run(node.env.clone(), sender, listener, config, end).map(move |outcome| {
        drop(active);
        let detail = Detail::Connection {
            kind: "websocket",
            outcome: outcome.ended.as_str(),
            close_code: outcome.ended.close_code(),
            to_listener: outcome.sender_to_listener.bytes,
            to_sender: outcome.listener_to_sender.bytes,
            duration: node.env.now().saturating_duration_since(began),
        };
        node.observer.note(&origin, Operation::SenderConnectionClosed, detail);
        drop(held);
    })
}

/// How patient a relayed connection is.
fn pump_config(node: &Node) -> PumpConfig {
    let timings = &node.config().timings;
    PumpConfig {
        ping_after: timings.relayed_ping,
        dead_after: timings.relayed_gone,
        half_close_guard: timings.half_close,
        ..PumpConfig::default()
    }
}

/// Waits for the socket behind a handshake.
pub(crate) async fn upgraded(leg: PendingLeg) -> Option<(Leg, SocketPermit)> {
    let PendingLeg { upgrade, permit, .. } = leg;
    let (socket, read_buf) = take_socket(upgrade.await.ok()?)?;
    Some((Leg { socket, read_buf }, permit))
}
