//! A listener dials a rendezvous address: to accept, to reject (protocol.md 4.2 to 4.5), or for a request (5.4).

use std::sync::Arc;

use http::Response;
use hybridrelay::protocol::uri::{Action, Rejection};

use super::junction::{Answer, PendingLeg};
use crate::directory::EntityKey;
use crate::edge::{Body, Handshake, Visit, offered_subprotocols};
use crate::node::Node;
use crate::observe::{Detail, Operation};
use crate::refusal::{Reason, Refusal};

/// The same for unknown, used, expired and foreign tickets, so that nothing needs to be remembered of dead ones.
const BAD_TICKET: &str = "The rendezvous address is not valid, was used before, or has expired";

/// Answers a listener's dial.
pub(crate) fn dial(node: &Arc<Node>, mut visit: Visit, handshake: Handshake) -> Result<Response<Body>, Refusal> {
    let bad_ticket = || Refusal::forbidden(Reason::BadTicket, BAD_TICKET);
    let ticket = visit.target.ticket.clone().ok_or_else(bad_ticket)?;
    let path_and_query = visit.request.uri().path_and_query().map_or("/", |target| target.as_str());
    let (junction, follows) = node.tickets.find(&ticket, path_and_query).ok_or_else(bad_ticket)?;
    let changed = || Refusal::bad_request("The rendezvous address was changed");
    let follows = follows.ok_or_else(changed)?;
    let accept = visit.target.action() == Action::Accept;
    // A request is refused by a response.
    let rejection = accept.then(|| Rejection::parse(follows)).flatten();
    if rejection.is_none() && !follows.is_empty() {
        return Err(changed());
    }
    if !node.tickets.redeem(&ticket) {
        return Err(bad_ticket());
    }
    visit.permit.authorized();
    if let Some(rejection) = rejection {
        let is_valid = rejection.is_valid;
        if !junction.answer(Answer::Rejected(rejection)) {
            return Err(bad_ticket());
        }
        // What the listener expects: 410, unless its status was none (decision 34).
        return Err(if is_valid { Refusal::rejection_taken() } else { Refusal::bad_rejection() });
    }
    let subprotocol = junction.subprotocol(&offered_subprotocols(visit.request.headers()));
    let upgrade = hyper::upgrade::on(&mut visit.request);
    let leg = PendingLeg { upgrade, permit: visit.permit.clone(), subprotocol: subprotocol.clone() };
    if !junction.answer(Answer::Accepted(leg)) {
        return Err(bad_ticket());
    }
    if !accept {
        return Ok(handshake.answer(&visit.tracking_id, subprotocol.as_deref()));
    }
    let entity = visit.entity().map(|(entity, _)| EntityKey::new(&visit.namespace, entity.path.canonical()));
    node.observer.note(&visit.origin(entity.as_ref(), None), Operation::ListenerAcceptingConnection, Detail::None);
    Ok(handshake.answer(&visit.tracking_id, subprotocol.as_deref()))
}
