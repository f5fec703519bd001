//! Door 3: relayed HTTP requests. They are refused plainly after the checks that every sender passes.

use http::{HeaderMap, Response, header};
use hybridrelay::protocol::headers;

use crate::auth;
use crate::edge::Visit;
use crate::namespace::Right;
use crate::node::Node;
use crate::refusal::{Body, Refusal};

/// Answers a request that is no WebSocket handshake.
pub(crate) fn request(node: &Node, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let namespace = visit.snapshot.namespace(&visit.namespace).ok_or_else(Refusal::endpoint_not_found)?;
    let entity = visit.entity().map(|(entity, _)| entity);
    if visit.target.path.is_empty() {
        // Nothing is said about the namespace (protocol.md 10, decision 44).
        return Err(Refusal::endpoint_not_found());
    }
    if entity.is_none_or(|entity| entity.requires_client_authorization) {
        let path = &visit.target.path;
        let wanted = auth::Request { namespace, entity, path, right: Right::Send };
        auth::authorize_from(node, visit.client, wanted, token(visit))?;
    }
    if entity.is_none() {
        return Err(Refusal::endpoint_not_found());
    }
    visit.permit.authorized();
    Err(Refusal::not_implemented("This relay does not relay HTTP requests yet, only WebSocket connections"))
}

/// The token of an HTTP request: query, then the service's own header, then `Authorization` (protocol.md 2.5).
fn token(visit: &Visit) -> Option<&str> {
    let fields: &HeaderMap = visit.request.headers();
    let field = |name: header::HeaderName| fields.get(name).and_then(|token| token.to_str().ok());
    visit
        .target
        .token
        .as_deref()
        .or_else(|| field(headers::SERVICE_BUS_AUTHORIZATION))
        .or_else(|| field(header::AUTHORIZATION))
}
