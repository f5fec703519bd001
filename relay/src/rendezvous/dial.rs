//! A listener dials a rendezvous address: to accept, or to reject (protocol.md 4.2 to 4.5).

use std::sync::Arc;

use http::Response;
use hybridrelay::protocol::uri::{Action, Rejection};

use super::junction::{Answer, PendingLeg};
use crate::edge::{Handshake, SocketPermit, Visit, offered_subprotocols};
use crate::node::Node;
use crate::refusal::{Body, Refusal};

/// The same for unknown, used, expired and foreign tickets, so that nothing needs to be remembered of dead ones.
const BAD_TICKET: &str = "The rendezvous address is not valid, was used before, or has expired";

/// Answers a listener's dial.
pub(crate) fn dial(
    node: &Arc<Node>,
    mut visit: Visit,
    handshake: Handshake,
    permit: SocketPermit,
) -> Result<Response<Body>, Refusal> {
    let bad_ticket = || Refusal::forbidden(BAD_TICKET);
    if visit.target.action() != Action::Accept {
        // No rendezvous of a request was ever issued.
        return Err(bad_ticket());
    }
    let ticket = visit.target.ticket.clone().ok_or_else(bad_ticket)?;
    let path_and_query = visit.request.uri().path_and_query().map_or("/", |target| target.as_str());
    let (junction, follows) = node.tickets.find(&ticket, path_and_query).ok_or_else(bad_ticket)?;
    let changed = || Refusal::bad_request("The rendezvous address was changed");
    let follows = follows.ok_or_else(changed)?;
    let rejection = Rejection::parse(follows);
    if rejection.is_none() && !follows.is_empty() {
        return Err(changed());
    }
    if !node.tickets.redeem(&ticket) {
        return Err(bad_ticket());
    }
    if let Some(rejection) = rejection {
        let is_valid = rejection.is_valid;
        if !junction.answer(Answer::Rejected(rejection)) {
            return Err(bad_ticket());
        }
        // What the listener expects: 410, unless its status was none (decision 34).
        return Err(if is_valid {
            Refusal::gone("The connection was rejected as asked")
        } else {
            Refusal::bad_request("A sender can be rejected with a status from 200 to 999")
        });
    }
    let subprotocol = junction.subprotocol(&offered_subprotocols(visit.request.headers()));
    let upgrade = hyper::upgrade::on(&mut visit.request);
    let leg = PendingLeg { upgrade, permit, subprotocol: subprotocol.clone() };
    if !junction.answer(Answer::Accepted(leg)) {
        return Err(bad_ticket());
    }
    tracing::debug!(operation = "ListenerAcceptingConnection", tracking_id = %visit.tracking_id, peer = %visit.peer);
    Ok(handshake.answer(&visit.tracking_id, subprotocol.as_deref()))
}
