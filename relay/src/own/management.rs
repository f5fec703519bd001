//! What the management client of .NET asks of a hybrid connection (protocol.md 7.1 and 10, decisions 39 and 41).

use http::{HeaderMap, Response, StatusCode, header};

use super::time::{rfc3339, ticks};
use super::xml::Xml;
use super::{answer_with, bases, exact, text};
use crate::auth;
use crate::directory::EntityKey;
use crate::edge::{Body, Visit};
use crate::namespace::{Entity, Right};
use crate::node::Node;
use crate::refusal::Refusal;

const CONNECT: &str = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";

/// Whether a request is for the relay itself. Nothing but this header tells: the address is that of a relayed request.
pub(crate) fn is_asked(fields: &HeaderMap) -> bool {
    text(fields, "x-process-at").is_some_and(|at| at.eq_ignore_ascii_case("ServiceBus"))
}

pub(super) fn answer(node: &Node, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let namespace = visit.snapshot.namespace(&visit.namespace).ok_or_else(Refusal::endpoint_not_found)?;
    let path = visit.target.path.trim_end_matches('/');
    let entity = exact(visit, path);
    let fields = visit.request.headers();
    let token = text(fields, header::AUTHORIZATION.as_str()).or(text(fields, "servicebusauthorization"));
    let wanted = auth::Request { namespace, entity, path, right: Right::Manage };
    auth::authorize_either_from(node, visit.client, wanted, Right::Listen, token)?;
    let entity = entity.ok_or_else(Refusal::endpoint_not_found)?;
    visit.permit.authorized();
    let entry = entry(node, visit, entity);
    Ok(answer_with("application/atom+xml;type=entry;charset=utf-8", entry))
}

/// A refusal as the client reads it.
pub(crate) fn error_xml(status: StatusCode, message: &str) -> String {
    Xml::document(false, |xml| {
        xml.element("Error", &[], |xml| {
            xml.text("Code", &[], status.as_str());
            xml.text("Detail", &[], message);
        });
    })
}

/// The order of the elements counts.
fn entry(node: &Node, visit: &Visit, entity: &Entity) -> String {
    let [base, _] = bases(visit);
    let key = EntityKey::new(&visit.namespace, entity.path.canonical());
    let listeners = node.directory.online(&key).listeners.len();
    let created = entity.created_at.unwrap_or(node.started_at);
    let updated = entity.updated_at.unwrap_or(created);
    Xml::document(false, |xml| {
        xml.element("entry", &[("xmlns", super::discovery::ATOM)], |xml| {
            xml.text("id", &[], &format!("{base}/{}", entity.path));
            xml.text("title", &[("type", "text")], entity.path.as_str());
            xml.text("published", &[], &rfc3339(created));
            xml.text("updated", &[], &rfc3339(updated));
            xml.element("content", &[("type", "application/xml")], |xml| {
                let namespaces = [("xmlns", CONNECT), ("xmlns:i", "http://www.w3.org/2001/XMLSchema-instance")];
                xml.element("HybridConnectionDescription", &namespaces, |xml| {
                    xml.text("CreatedAt", &[], &ticks(created));
                    xml.text("UpdatedAt", &[], &ticks(updated));
                    let authorised = entity.requires_client_authorization.to_string();
                    xml.text("RequiresClientAuthorization", &[], &authorised);
                    xml.text("UserMetadata", &[], &entity.user_metadata);
                    xml.text("ListenerCount", &[], &listeners.to_string());
                });
            });
        });
    })
}
