//! Door 2: senders, the rendezvous addresses at which listeners meet them, and the pump that joins both (protocol.md 4, 6).

use std::sync::Arc;
use std::time::Instant;

use http::Response;
use hybridrelay::env::BoxSocket;
use hybridrelay::protocol::headers::{ListenerFilter, connect_headers};
use hybridrelay::protocol::refusal::{ENDPOINT_DOES_NOT_EXIST, NO_ALLOWED_LISTENER, NO_LISTENERS, NOT_ACCEPTED};
use hybridrelay::protocol::uri::{Rejection, accept_address};
use hybridrelay::protocol::{Accept, JSON_LIMIT, TrackingId};
use hyper_util::rt::TokioIo;

use crate::auth;
use crate::directory::{DeliverError, Delivery, EntityKey, ListenerId, ListenerRecord, Replies};
use crate::edge::{Handshake, SocketPermit, Visit, offered_subprotocols};
use crate::namespace::Right;
use crate::node::{Counted, Node};
use crate::refusal::{Body, Refusal, set_reason, set_tracking_id};

mod dial;
mod junction;
mod pump;
mod tickets;

pub(crate) use dial::dial;
pub(crate) use pump::Ending;
pub(crate) use tickets::Tickets;

use junction::{Answer, Pair, PendingLeg};
use pump::{Leg, PumpConfig};

/// Takes a sender in: checks it, invites a listener, and answers only when that one has dialled or refused.
///
/// Dropping the future, as when the sender goes away, withdraws the invitation.
pub(crate) async fn connect(
    node: &Arc<Node>,
    mut visit: Visit,
    handshake: Handshake,
    permit: SocketPermit,
) -> Result<Response<Body>, Refusal> {
    let (key, sender_rule) = admit(node, &visit)?;
    let place = node.waiting.enter(&node.config, &key, visit.peer.ip().to_canonical());
    let Some(_place) = place else {
        return Err(Refusal::busy("Too many senders wait for a listener"));
    };
    tracing::debug!(
        operation = "NewSenderRegistering",
        entity = %key,
        tracking_id = %visit.tracking_id,
        key = sender_rule,
        peer = %visit.peer,
    );
    match invite(node, &visit, &key).await? {
        Answer::Accepted(leg) => {
            let sender = PendingLeg {
                upgrade: hyper::upgrade::on(&mut visit.request),
                permit,
                subprotocol: leg.subprotocol.clone(),
            };
            let response = handshake.answer(&visit.tracking_id, leg.subprotocol.as_deref());
            node.spawn(join(node.clone(), key, visit.tracking_id, sender, leg, node.open.enter()));
            Ok(response)
        }
        Answer::Rejected(rejection) => {
            tracing::info!(
                operation = "ListenerRejectedConnection",
                entity = %key,
                tracking_id = %visit.tracking_id,
                status = rejection.status,
            );
            Ok(rejected(&visit.tracking_id, &rejection))
        }
    }
}

/// Checks a sender: authorization, then existence (protocol.md 3.2). Returns the hybrid connection and the rule that let it in.
fn admit(node: &Node, visit: &Visit) -> Result<(EntityKey, Option<String>), Refusal> {
    let does_not_exist = || Refusal::not_found(ENDPOINT_DOES_NOT_EXIST);
    let namespace = visit.snapshot.namespace(&visit.namespace).ok_or_else(does_not_exist)?;
    let entity = visit.entity().map(|(entity, _)| entity);
    let mut rule = None;
    if entity.is_none_or(|entity| entity.requires_client_authorization) {
        let wanted = auth::Request { namespace, entity, path: &visit.target.path, right: Right::Send };
        let grant = auth::authorize(&node.env, &node.config, wanted, visit.token())?;
        rule = Some(grant.key.rule);
    }
    let entity = entity.ok_or_else(does_not_exist)?;
    Ok((EntityKey::new(&visit.namespace, entity.path.canonical()), rule))
}

/// Invites one listener after the other until one answers or the time is over (protocol.md 10, decisions 5 and 17).
async fn invite(node: &Arc<Node>, visit: &Visit, key: &EntityKey) -> Result<Answer, Refusal> {
    let filter = ListenerFilter::from_headers(visit.request.headers());
    let deadline = node.env.now() + node.config.timings.accept;
    let mut tried: Vec<ListenerId> = Vec::new();
    loop {
        let Some(listener) = choose(node, key, &filter, &tried)? else {
            // Listeners are or were online, but none is left to ask.
            return Err(Refusal::timed_out(NOT_ACCEPTED));
        };
        tried.push(listener.id);
        let Some((invitation, message)) = prepare(node, visit, &listener) else {
            return Err(Refusal::headers_too_large());
        };
        let delivery = Delivery { text: message, body: None };
        match node.directory.deliver(listener.id, delivery).await {
            Ok(replies) => {
                tracing::debug!(operation = "MessageSentToListener", entity = %key, tracking_id = %visit.tracking_id);
                match wait(node, invitation, replies, deadline).await {
                    Waited::Answered(answer) => return Ok(answer),
                    Waited::ListenerGone => {}
                    Waited::TimedOut => {
                        tracing::info!(operation = "ListenerAcceptingConnectionTimeout", entity = %key, tracking_id = %visit.tracking_id);
                        return Err(Refusal::timed_out(NOT_ACCEPTED));
                    }
                }
            }
            Err(DeliverError::Gone) => {}
            Err(DeliverError::Busy) => return Err(Refusal::busy("The listener does not take more connections now")),
        }
    }
}

/// A listener that may be asked, uniformly at random; `None` if all have been asked.
fn choose(
    node: &Node,
    key: &EntityKey,
    filter: &ListenerFilter,
    tried: &[ListenerId],
) -> Result<Option<ListenerRecord>, Refusal> {
    let online = node.directory.listeners(key);
    if online.is_empty() && tried.is_empty() {
        return Err(Refusal::not_found(NO_LISTENERS));
    }
    let mut allowed: Vec<_> = online.into_iter().filter(|listener| filter.allows(&listener.tracking_id)).collect();
    if allowed.is_empty() && tried.is_empty() {
        return Err(Refusal::not_found(NO_ALLOWED_LISTENER));
    }
    allowed.retain(|listener| !tried.contains(&listener.id));
    if allowed.is_empty() {
        return Ok(None);
    }
    let chosen = node.env.random_below(allowed.len());
    Ok(Some(allowed.swap_remove(chosen)))
}

/// An invitation that is open: its ticket is void when this is dropped.
struct Invitation {
    answer: tokio::sync::oneshot::Receiver<Answer>,
    _ticket: tickets::Issued,
}

/// Issues a ticket and writes the message. `None` if the message does not fit a control message.
fn prepare(node: &Arc<Node>, visit: &Visit, listener: &ListenerRecord) -> Option<(Invitation, String)> {
    let id = visit.tracking_id.to_string();
    let ticket = tickets::Ticket::new(&node.env);
    let address =
        accept_address(&listener.base, &visit.target.path, visit.target.user_query.as_deref(), &id, ticket.as_str());
    let (pair, answer) = Pair::new(offered_subprotocols(visit.request.headers()));
    // What the listener must dial, byte for byte: everything behind the authority.
    let path_and_query = address.get(listener.base.len()..)?.to_owned();
    let issued = node.tickets.issue(ticket, path_and_query, Arc::new(pair));
    let message = Accept {
        address,
        id,
        connect_headers: connect_headers(visit.request.headers()),
        remote_endpoint: Some(visit.peer),
    }
    .to_json();
    (message.len() <= JSON_LIMIT).then_some((Invitation { answer, _ticket: issued }, message))
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

/// Joins both sides once both handshakes are through, until both are done.
async fn join(
    node: Arc<Node>,
    key: EntityKey,
    tracking_id: TrackingId,
    sender: PendingLeg,
    listener: PendingLeg,
    _open: Counted,
) {
    let end = node.endings.subscribe(&key);
    let limit = node.config.timings.upgrade;
    let both = async { tokio::join!(upgraded(sender), upgraded(listener)) };
    let ((sender, _sender_permit), (listener, _listener_permit)) = match node.env.timeout(limit, both).await {
        Some((Some(sender), Some(listener))) => (sender, listener),
        came => {
            // A side that vanished between its request and its 101 takes the other with it.
            let (sender, listener) = came.unwrap_or_default();
            for (mut leg, _) in [sender, listener].into_iter().flatten() {
                leg.socket.abort();
            }
            return tracing::debug!(entity = %key, %tracking_id, "a side vanished during the handshake");
        }
    };
    tracing::info!(operation = "SenderListenerConnectionEstablished", entity = %key, %tracking_id);
    let timings = &node.config.timings;
    let config = PumpConfig {
        ping_after: timings.relayed_ping,
        dead_after: timings.relayed_gone,
        half_close_guard: timings.half_close,
        ..PumpConfig::default()
    };
    let outcome = pump::run(&node.env, sender, listener, &config, end).await;
    tracing::info!(operation = "SenderConnectionClosed", entity = %key, %tracking_id, ?outcome);
}

/// Waits for the socket behind a handshake.
async fn upgraded(leg: PendingLeg) -> Option<(Leg, SocketPermit)> {
    let PendingLeg { upgrade, permit, .. } = leg;
    let parts = upgrade.await.ok()?.downcast::<TokioIo<BoxSocket>>().ok()?;
    Some((Leg { socket: parts.io.into_inner(), read_buf: parts.read_buf }, permit))
}
